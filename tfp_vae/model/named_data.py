"""The data of a model of named variables: arrays by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

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
        names, masks = list(self.ports), {f"{name}_known" for name in self.observed}
        if not isinstance(data, Mapping) or sparse.is_sparse(data):
            alone = len(set(names) - masks) == 1  # what is known follows from x
            data = {self.main: the_one_array(data)} if alone else data
        data = self.with_masks(data)
        if not isinstance(data, Mapping) or not set(names) <= set(data):
            raise InputError(f"Expected a dict of {', '.join(names)}.", outline(data))
        if set(data) - set(names) - set(self.optional):
            more = f", and known values of {', '.join(self.optional)} if there are any"
            raise InputError(f"Expected a dict of {', '.join(names)}{more}.", outline(dict(data)))
        return data[self.main], {name: data[name] for name in data if name != self.main}

    def with_masks(self, data: Any) -> Any:
        """Returns data by name with NaN where the mask of a variable says that it is not known.

        The mask of x is `x_known` beside it, of x's shape. Where the model takes `x_known` itself,
        as what is observed, it is made of x if it is not given.
        """
        if not isinstance(data, Mapping) or sparse.is_sparse(data):
            return data
        data, masks = dict(data), {f"{name}_known": name for name in self.maskable}
        for mask, name in masks.items():
            if mask in self.ports and mask not in data and name in data:
                data[mask] = known_entries(data[name])
            elif mask in data and name in data:
                data[name] = with_unknown(data[name], data[mask])
                if mask not in self.ports:
                    del data[mask]
        return data

    def given_entries(self, x: Any, given: Any) -> tuple[dict[str, Any], np.ndarray]:
        """Returns the data with NaN where entries are not given, and the rows without any that is.

        Raises:
          InputError: a mask is of no observed variable, or of another shape.
        """
        data = dict(self.by_name(x))
        masks = given if isinstance(given, Mapping) else {self.main: given}
        if not set(masks) <= set(self.observed):
            raise InputError(f"Expected masks of {', '.join(self.observed)}.", outline(dict(given)))
        empty: Any = True
        for name in self.observed:
            mask = np.asarray(masks.get(name, np.ones(np.shape(data[name]), bool)), bool)
            data[name] = with_unknown(sparse.dense(data[name]), mask)
            empty &= np.isnan(data[name]).all(axis=tuple(range(1, mask.ndim)))
        return data, empty

    @property
    def maskable(self) -> list[str]:
        """The names that observed variables go by in data."""
        return self.observed

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


def with_unknown(x: Any, known: Any) -> Any:
    """Returns x with NaN where it is not known.

    Raises:
      InputError: the mask is of another shape.

    Example:
      >>> with_unknown(np.ones([1, 2]), [[True, False]]).tolist()
      [[1.0, nan]]
    """
    if tuple(np.shape(known)) != tuple(np.shape(x)):
        raise InputError(
            "Expected a mask of the shape of what it is of, True where that is known.",
            outline({"x": x, "mask": known}),
        )
    if tf.is_tensor(x) or tf.is_tensor(known):
        x = tf.convert_to_tensor(x)
        x = x if x.dtype.is_floating else tf.cast(x, "float32")
        return tf.where(tf.cast(known, tf.bool), x, tf.constant(np.nan, x.dtype))
    x = np.asarray(x)
    x = x if x.dtype.kind == "f" else x.astype(np.float32)
    return np.where(np.asarray(known, bool), x, np.asarray(np.nan, x.dtype))


def known_entries(x: Any) -> Any:
    """Returns 1 where x is known, 0 where it is NaN."""
    if tf.is_tensor(x):
        return tf.cast(~tf.math.is_nan(x) if x.dtype.is_floating else tf.ones_like(x), "float32")
    x = np.asarray(x)
    return (~np.isnan(x) if x.dtype.kind == "f" else np.ones_like(x)).astype(np.float32)


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
