"""The distribution of one variable given the values of others: p(v | values), or q(v | values)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge import sparse
from tfp_vae.bridge.coercible import TensorCoercible
from tfp_vae.bridge.marginals import Prior, as_prior
from tfp_vae.bridge.masks import mask_of
from tfp_vae.distributions.unknown import apart
from tfp_vae.errors import InputError
from tfp_vae.layers.kl_divergence import without_kl_terms
from tfp_vae.model.checks import networks
from tfp_vae.model.inference import Inference, in_parts
from tfp_vae.wiring import Ports, tile


class Value(NamedTuple):
    """The value of a variable, or a state that a network hands on.

    Attributes:
      tensor: `[batch, ...]`; of several draws `[samples * batch, ...]`, samples first.
      is_drawn: whether there is one row for each draw, and not one for each example.
      has_unknown: whether entries may be NaN, which are not known.
    """

    tensor: tf.Tensor
    is_drawn: bool = False
    has_unknown: bool = False


class Emitted(NamedTuple):
    """What a conditional gives: a distribution, and deterministic values by name.

    Attributes:
      distribution: with a batch of rows as in `Value`, or none where it is a prior.
      is_drawn: as of a `Value`.
      more: what else the network puts out.
    """

    distribution: tfd.Distribution
    is_drawn: bool = False
    more: Mapping[str, Value] = {}


class Conditional:
    """A variable's distribution: a network of values by name, or a prior without inputs.

    A network is a functional or Sequential model that puts out a distribution, or a dict of a
    distribution under the variable's name and of tensors under names of their own.

    Args:
      given: the network; or what `as_prior` takes.
      variable: the name of the variable.
      role: what messages call it.
      names: from the names of the network's inputs to those of the values; None: the same.
      is_posterior: the objective counts the KL: a KL term that the network carries is not added.

    Attributes:
      network: the network, or None.
      prior: the `Prior`, or None.
      inputs: of a network, the `keras.KerasTensor` of each value that it takes, by name.
      layer: of a network, the layer that makes the distribution.
      puts_out: the names of the deterministic values, each with its `keras.KerasTensor`.
      takes_unknown: whether the network has a layer for entries that are NaN.

    Raises:
      InputError: the network does not put out a distribution for the variable.
    """

    def __init__(
        self,
        given: Any,
        variable: str,
        role: str,
        names: Mapping[str, str] | None = None,
        is_posterior: bool = False,
    ) -> None:
        self.variable, self.role, self.is_posterior = variable, role, is_posterior
        self.network: keras.Model | None = None
        self.prior: Prior | None = None
        self.layer: Any = None
        self.takes_unknown = False
        self.inputs: dict[str, keras.KerasTensor] = {}
        self.puts_out: dict[str, keras.KerasTensor] = {}
        if not is_network(given):
            self.prior = as_prior(given)
            return
        self.network, self.ports = given, Ports(given)
        own = {tensor.name: tensor for tensor in self.ports.tensors}
        self.names = {name: (names or {}).get(name, name) for name in own}
        self.inputs = {ours: own[theirs] for theirs, ours in self.names.items()}
        outputs: Any = getattr(given, "_outputs_struct", None)
        if isinstance(outputs, Mapping):
            if variable not in outputs:
                raise InputError(
                    f"Expected the {role} to put out a dict with {variable!r}, the distribution.",
                    f"a dict of {', '.join(map(repr, outputs))}",
                )
            self.puts_out = {name: out for name, out in outputs.items() if name != variable}
        self.layer = networks.final_operation(given, role, self.output)
        self.takes_unknown = any(
            getattr(each, "takes_unknown", False) for each in given._flatten_layers()
        )

    def bind(self, posterior: keras.Model) -> None:
        """Tells a prior of the posterior of its variable: a `Prior`, or a network's last layer."""
        of: Any = self.prior if self.network is None else self.layer
        if hasattr(of, "bind"):
            of.bind(posterior)

    def __call__(
        self, values: Mapping[str, Value], samples: Any = 1, training: bool | None = None
    ) -> Emitted:
        """Returns the distribution given the values; data are tiled beside drawn values."""
        if self.network is None:
            assert self.prior is not None
            return Emitted(self.prior.at_step(training))
        given, is_drawn = self._given(values, samples)
        with without_kl_terms() if self.is_posterior else contextlib.nullcontext():
            out = self.network(self.ports.pack(given), training=training)
        if not isinstance(out, Mapping):
            return Emitted(as_distribution(out, self.role), is_drawn)
        more = {name: Value(out[name], is_drawn) for name in self.puts_out}
        return Emitted(as_distribution(out[self.variable], self.role), is_drawn, more)

    def infer(self, values: Mapping[str, Value], samples: Any = 1) -> Emitted:
        """Returns the same outside of training: nothing is drawn, large batches are compiled."""
        if self.network is None or self.puts_out:
            return self(values, samples, training=False)
        given, is_drawn = self._given(values, samples)
        found = self.inference.of_batches(map(self.ports.pack, in_parts(given)))
        return Emitted(as_distribution(found, self.role), is_drawn)

    def arranged(self, values: Mapping[str, Any]) -> Any:
        """Returns values by name in the structure of the network's inputs."""
        return self.ports.arranged({theirs: values[ours] for theirs, ours in self.names.items()})

    @functools.cached_property
    def inference(self) -> Inference:
        """The network as a compiled function."""
        return Inference(self.network, self.ports.structure)

    def _given(self, values: Mapping[str, Value], samples: Any) -> tuple[dict[str, Any], bool]:
        """Returns values by the names of the network's inputs, and whether rows are of draws."""
        lacking = [ours for ours in self.names.values() if ours not in values]
        if lacking:
            raise InputError(
                f"The {self.role} takes {', '.join(lacking)}: expected these to be given, or to be "
                "variables before it.",
                f"values of {', '.join(values)}",
            )
        given = {theirs: values[ours] for theirs, ours in self.names.items()}
        if not self.takes_unknown:
            given = {name: filled(value) for name, value in given.items()}
        is_drawn = any(value.is_drawn for value in given.values())
        return {
            name: value.tensor if value.is_drawn or not is_drawn else tiled(value.tensor, samples)
            for name, value in given.items()
        }, is_drawn

    @functools.cached_property
    def outline(self) -> Any:
        """A network's distribution for a batch of any size, of known shapes; None: not known."""
        return self.inference.outline()

    @property
    def event_shape(self) -> tuple[int, ...] | None:
        """The shape of one event of a network's distribution, where it is known."""
        event = None if self.outline is None else self.outline.event_shape
        return tuple(event) if event is not None and event.is_fully_defined() else None

    @property
    def has_density(self) -> bool:
        """Whether values are draws from a density: no point mass, and no means."""
        gives_draws = getattr(self.layer, "gives_draws", True)
        return gives_draws and getattr(self.layer, "has_density", True)

    @property
    def of_steps(self) -> bool:
        """Whether a network puts out sequences of any number of steps."""
        return self.network is not None and len(self.shape) > 0 and self.shape[0] is None

    @property
    def output(self) -> keras.KerasTensor:
        """What a network puts out for the variable."""
        assert self.network is not None
        outputs: Any = getattr(self.network, "_outputs_struct", None)
        if isinstance(outputs, Mapping):
            return outputs[self.variable]
        return self.network.outputs[0]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape of one value, of a network."""
        return tuple(self.output.shape[1:])


def filled(value: Value) -> Value:
    """Returns the value with 0 in place of what is not known."""
    if not value.has_unknown:
        return value
    return value._replace(tensor=apart(sparse.dense(value.tensor))[0], has_unknown=False)


def is_network(given: Any) -> bool:
    """Tells whether it is a model of inputs, one row for each example; a prior has none."""
    inputs: Any = getattr(given, "inputs", None) if isinstance(given, keras.Model) else None
    return bool(inputs) and all(len(tensor.shape) > 0 for tensor in inputs)


def as_distribution(output: Any, role: str) -> TensorCoercible:
    """Returns what a network puts out, as a distribution that is a tensor too."""
    if isinstance(output, TensorCoercible):
        return output
    if isinstance(output, tfd.Distribution):
        return TensorCoercible(output)
    raise InputError(f"The {role} is expected to end in a distribution layer.", repr(output))


def tiled(value: tf.Tensor, samples: Any) -> tf.Tensor:
    """Returns the batch `samples` times, one after the other, with its mask."""
    if isinstance(samples, int) and samples == 1:
        return value
    found, mask = tile(tf.convert_to_tensor(value), samples), mask_of(value)
    if mask is not None:
        found._keras_mask = tile(tf.convert_to_tensor(mask), samples)
    return found
