"""The data of a model of named variables: arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from tfp_vae.bridge import sparse
from tfp_vae.errors import InputError
from tfp_vae.model.ancestral import Variables
from tfp_vae.wiring import as_array, outline


class NamedData:
    """What a model of named variables takes: a dict of arrays by name, or the one that there is.

    These are the values of all observed variables and what else the networks take. The values of
    latent variables may be there too: a row without a NaN is known.

    Args:
      variables: of the model.
      ports: all that is needed, by name, each a `keras.KerasTensor`; None: what the networks take.

    Attributes:
      observed: the names of the observed variables.
      main: the name of the first observed variable.
      ports: as given.
      latents: the latent variables that `decode` takes, likewise.
      optional: the latent variables whose values may be there, likewise.
      given_names: the names of the data that `decode` takes.
      drawn_given: the names of the data that `sample` takes.
    """

    def __init__(
        self, variables: Variables, ports: Mapping[str, keras.KerasTensor] | None = None
    ) -> None:
        self.variables = variables
        self.observed = list(variables.likelihoods)
        self.main = self.observed[0]
        self.ports = _needed(variables) if ports is None else dict(ports)
        self.latents = {name: one.output for name, one in variables.posteriors.items()}
        self.optional = self.latents
        generative = [*variables.priors.values(), *variables.likelihoods.values()]
        taken = {name for one in generative for name in one.inputs}
        features = variables.features
        if features is not None and taken & set(features.network._outputs_struct):
            taken |= {tensor.name for tensor in features.tensors}
        self.given_names = [name for name in self.ports if name in taken]
        self.drawn_given = [name for name in self.ports if name not in self.observed]

    @property
    def conditions(self) -> dict[str, keras.KerasTensor]:
        """All that may be there beside the main variable."""
        found = {**self.ports, **self.optional}
        del found[self.main]
        return found

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of one value of the main variable."""
        return tuple(self.ports[self.main].shape[1:])

    def split(self, data: Any) -> tuple[Any, dict[str, Any]]:
        """Returns the main variable, and all else by name.

        Raises:
          InputError: a name is not there, or not known.
        """
        names = list(self.ports)
        if not isinstance(data, Mapping) or sparse.is_sparse(data):
            data = {self.main: the_one_array(data)} if len(names) == 1 else data
        if not isinstance(data, Mapping) or not set(names) <= set(data):
            raise InputError(f"Expected a dict of {', '.join(names)}.", outline(data))
        if set(data) - set(names) - set(self.optional):
            more = f", and known values of {', '.join(self.optional)} if there are any"
            raise InputError(f"Expected a dict of {', '.join(names)}{more}.", outline(dict(data)))
        return data[self.main], {name: data[name] for name in data if name != self.main}

    def by_name(self, data: Any) -> dict[str, Any]:
        """Returns all data by name."""
        main, others = self.split(data)
        return {self.main: main, **others}

    def own_targets(self, data: Any) -> Any:
        """Returns the observed values in the data: by name where there are several."""
        found = self.targets(data, None)
        return found if len(found) > 1 else found[self.main]

    def targets(self, data: Any, y: Any) -> dict[str, Any]:
        """Returns the observed values by name: of the data, or y, by name or the only one."""
        if y is None:
            given = self.by_name(data)
            return {name: given[name] for name in self.observed}
        if isinstance(y, Mapping) and set(y) == set(self.observed):
            return dict(y)
        if isinstance(y, Mapping) or len(self.observed) > 1:
            raise InputError(f"Expected targets by name: {', '.join(self.observed)}.", outline(y))
        return {self.main: y}


def the_one_array(data: Any) -> Any:
    """Returns the one array, which may be in a list."""
    if sparse.is_sparse(data):  # some of SciPy's are dicts
        return data
    alone = isinstance(data, (list, tuple)) and len(data) == 1 and hasattr(data[0], "shape")
    return data[0] if alone else as_array(data)


def _needed(variables: Variables) -> dict[str, keras.KerasTensor]:
    """Returns the observed variables, and what networks take that no network makes."""
    ports = {name: one.output for name, one in variables.likelihoods.items()}
    taken = [one.inputs for one in variables.conditionals]
    if variables.features is not None:
        taken.append({tensor.name: tensor for tensor in variables.features.tensors})
    for inputs in taken:
        for name, tensor in inputs.items():
            if name not in variables.made and name not in variables.posteriors:
                ports[name] = tensor
    return ports
