"""Checks that run before any work: one clear error, naming what was expected and what was given."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError
from tfp_vae.layers.distribution_lambda import DistributionLayer
from tfp_vae.layers.kl import KLDivergenceAddLoss
from tfp_vae.wiring import Wiring, outline


def final_operation(network: keras.Model, role: str) -> Any:
    """The layer that makes what a functional or Sequential network puts out.

    Raises:
      InputError: the network has not been given its input, or ends in a layer of Keras' own, which
        puts out a tensor and not a distribution.
    """
    if not isinstance(network, keras.Model) or not getattr(network, "outputs", None):
        raise InputError(
            f"The {role} is expected to be a functional or Sequential keras.Model that starts with "
            "keras.Input(shape) (wrap another kind: keras.Model(x, network(x))).",
            network,
        )
    operation = network.outputs[0]._keras_history.operation
    if getattr(operation, "outputs", None) and isinstance(operation, keras.Model):
        return final_operation(operation, role)
    while isinstance(operation, KLDivergenceAddLoss):  # puts out the distribution that it is given
        operation = operation.input._keras_history.operation
    if type(operation).__module__.startswith("keras."):
        raise InputError(
            f"The {role} is expected to end in a distribution layer, such as tfp_vae.layers."
            f"{'IndependentNormal' if role == 'encoder' else 'IndependentBernoulli'}.",
            f"a last layer {operation.name} ({type(operation).__name__})",
        )
    return operation


def kl_regularizers(network: keras.Model) -> list[tuple[keras.layers.Layer, Any]]:
    """The layers of the network that add a KL term, each with its regularizer."""
    found = []
    for layer in network._flatten_layers():
        if isinstance(layer, KLDivergenceAddLoss):
            found.append((layer, layer.regularizer))
        elif isinstance(layer, DistributionLayer) and layer.kl_regularizer is not None:
            found.append((layer, layer.kl_regularizer))
    return found


def latent_sizes_match(encoder: keras.Model, wiring: Wiring) -> None:
    """Raises `InputError` unless the decoder takes what the encoder puts out."""
    out, into = encoder.output_shape[1:], wiring.decoder.main.shape[1:]
    if any(a is not None and b is not None and a != b for a, b in zip(out, into, strict=False)) or (
        len(out) != len(into)
    ):
        raise InputError(
            f"The decoder is expected to take what the encoder puts out: latent shape {out}.",
            f"a decoder that takes {into}",
        )


def gradients_go_through(posterior: tfd.Distribution, layer: Any) -> None:
    """Raises `InputError` where a draw from the posterior carries no gradient to the encoder.

    A `convert_to_tensor_fn` of the user's own, such as a straight-through draw, may carry one.
    """
    drawn = getattr(layer, "convert_to_tensor_fn", "sample") == "sample"
    if drawn and posterior.reparameterization_type != tfd.FULLY_REPARAMETERIZED:
        raise InputError(
            "The encoder is expected to end in a distribution whose draws are reparameterized, "
            "such as IndependentNormal: no gradient goes through z otherwise.",
            f"{layer.name}, which makes a {posterior.name}",
        )


@dataclasses.dataclass(frozen=True)
class DataChecks:
    """What a model expects of its data, and the checks that these are it.

    Attributes:
      wiring: what the networks take.
      target_shape: of one thing that the likelihood is over.
      support: (low, high) of the likelihood, or None where any number will do.
    """

    wiring: Wiring
    target_shape: tuple[int | None, ...]
    support: tuple[float, float] | None

    def data(self, x: Any, y: Any, what: str) -> Any:
        """x with nothing lost, once a look at its first batch (all of an array) finds no fault.

        Args:
          x: what `fit` takes: an array, a data set, a generator.
          y: targets given beside x, or None.
          what: how the message calls x.

        Raises:
          InputError: see `batch`.
        """
        inputs, target, x = _first_batch(x)
        if inputs is None:
            raise InputError(f"Expected at least one example in {what}.", "none")
        target = y if target is None else target
        self.batch(inputs, what)
        if target is not None:
            _check(target, self.target_shape, self.support, f"the targets of {what}")
        return x

    def batch(self, data: Any, what: str = "x") -> None:
        """Raises `InputError` unless these are a batch of at least one x, with its conditions."""
        x, conditions = self.wiring.split(data)
        _check(x, tuple(self.wiring.encoder.main.shape[1:]), self.support, what)
        for name, tensor in self.wiring.conditions.items():
            _check(conditions[name], tuple(tensor.shape[1:]), None, f"{name} of {what}")
            counts = {np.shape(x)[0], np.shape(conditions[name])[0]} - {None}
            if len(counts) > 1:
                raise InputError(f"Expected as many rows of {name} as of x.", outline(data))


def _check(x: Any, shape: tuple[int | None, ...], support: Any, what: str) -> None:
    if not tf.is_tensor(x):
        x = np.asarray(x)
    received = tuple(x.shape)
    if len(received) != len(shape) + 1 or any(
        want not in (None, got) for want, got in zip(shape, received[1:], strict=True)
    ):
        expected = ", ".join(["batch", *("any" if size is None else str(size) for size in shape)])
        raise InputError(f"Expected {what} of shape ({expected}).", received)
    if received[0] == 0:
        raise InputError(f"Expected at least one example in {what}.", f"shape {received}")
    if tf.is_tensor(x) and not hasattr(x, "numpy"):  # in a graph there are no values to look at
        return
    values = np.asarray(x)
    if values.dtype.kind not in "biuf":
        raise InputError(f"Expected numbers in {what}.", f"dtype {values.dtype}")
    low, high = values.min(), values.max()  # NaN spreads through both
    if not np.isfinite([float(low), float(high)]).all():
        bad = int((~np.isfinite(values)).any(axis=tuple(range(1, values.ndim))).sum())
        raise InputError(f"Expected finite numbers in {what}.", f"{bad} examples with NaN or inf")
    if support is not None and (low < support[0] or high > support[1]):
        hint = " Divide pixels by 255 first." if support[1] == 1 and 1 < high <= 255 else ""
        raise InputError(
            f"Expected {what} within the likelihood's support, {support[0]:g} to "
            f"{support[1]:g}.{hint}",
            f"values from {low:g} to {high:g}",
        )


def _first_batch(x: Any) -> tuple[Any, Any, Any]:
    """Inputs and targets of the first batch of what `fit` takes, and the same with nothing lost."""
    if isinstance(x, tf.data.Dataset):
        batch = next(iter(x.take(1)), None)
    elif isinstance(x, keras.utils.PyDataset):
        batch = x[0] if len(x) else None
    elif isinstance(x, Iterator):
        batch = next(x, None)
        x = _again(batch, x)
    else:
        return x, None, x
    inputs, target, _ = keras.utils.unpack_x_y_sample_weight(batch)
    return inputs, target, x


def _again(first: Any, rest: Iterator) -> Iterator:
    """The iterator before its first batch was taken, as a generator: Keras takes no other kind."""
    yield first
    yield from rest
