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
      features: a network of data, or None.

    Attributes:
      observed: the names of the observed variables, the main one first.
      ports: all that is needed, by name, each a `keras.KerasTensor`.
      optional: the values of latent variables, likewise.

    Raises:
      InputError: a network takes something under a name of its own that another variable has.
    """

    def __init__(self, variables: Variables, features: keras.Model | None) -> None:
        self.variables = variables
        self.observed = list(variables.likelihoods)
        self.main = self.observed[0]
        made = {name for one in variables.conditionals for name in one.puts_out}
        if features is not None:
            made |= set(features._outputs_struct)
        ports = {name: one.output for name, one in variables.likelihoods.items()}
        taken = [one.inputs for one in variables.conditionals]
        if features is not None:
            taken.append({tensor.name: tensor for tensor in features.inputs})
        for inputs in taken:
            for name, tensor in inputs.items():
                if name not in made and name not in variables.posteriors:
                    ports[name] = tensor
        self.ports = ports
        self.optional = {name: one.output for name, one in variables.posteriors.items()}
        self.all_ports = {**self.ports, **self.optional}
        self.conditions = dict(self.all_ports)
        del self.conditions[self.main]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of one value of the main variable."""
        return tuple(self.ports[self.main].shape[1:])

    @property
    def networks(self) -> list[tuple[keras.Model, Mapping[str, str]]]:
        """The networks that data go into, with the data's names of their inputs."""
        of = self.variables
        found: list[tuple[keras.Model, Mapping[str, str]]] = [
            (one.network, one.names) for one in of.conditionals if one.network is not None
        ]
        return found if of.features is None else [*found, (of.features.network, {})]

    def split(self, data: Any) -> tuple[Any, dict[str, Any]]:
        """The main variable, and all else by name.

        Raises:
          InputError: a name is not there, or not known.
        """
        names = list(self.ports)
        if not isinstance(data, Mapping) or sparse.is_sparse(data):
            alone = isinstance(data, (list, tuple)) and len(data) == 1 and hasattr(data[0], "shape")
            data = {self.main: data[0] if alone else as_array(data)} if len(names) == 1 else data
        if not isinstance(data, Mapping) or not set(names) <= set(data):
            raise InputError(f"Expected a dict of {', '.join(names)}.", outline(data))
        unknown = set(data) - set(names) - set(self.optional)
        if unknown:
            more = f", and known values of {', '.join(self.optional)} if there are any"
            raise InputError(f"Expected a dict of {', '.join(names)}{more}.", outline(dict(data)))
        return data[self.main], {name: data[name] for name in data if name != self.main}

    def by_name(self, data: Any) -> dict[str, Any]:
        """All data by name."""
        main, others = self.split(data)
        return {self.main: main, **others}

    def own_targets(self, data: Any) -> Any:
        """The values of the observed variables in the data: by name where there are several."""
        found = self.targets(data, None)
        return found if len(found) > 1 else found[self.main]

    def targets(self, data: Any, y: Any) -> dict[str, Any]:
        """The values of the observed variables: of the data, or y, by name or the only one."""
        if y is None:
            given = self.by_name(data)
            return {name: given[name] for name in self.observed}
        if isinstance(y, Mapping) and set(y) == set(self.observed):
            return dict(y)
        if isinstance(y, Mapping) or len(self.observed) > 1:
            raise InputError(f"Expected targets by name: {', '.join(self.observed)}.", outline(y))
        return {self.main: y}
