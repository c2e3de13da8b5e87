"""A layer with random weights; the ways to draw are in `draws`."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.coercible import TensorCoercible
from tfp_vae.bridge.random_state import Seeded
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.errors import InputError, InputTypeError
from tfp_vae.layers.base.checks import ChecksArguments
from tfp_vae.layers.base.conversion import by_name, concretize
from tfp_vae.layers.base.docstrings import DocumentsArguments
from tfp_vae.layers.bayesian.default_divergence import exact_kl
from tfp_vae.layers.bayesian.tracked_distribution import TrackedDistribution
from tfp_vae.layers.bayesian.weight_distributions import (
    default_mean_field_normal_fn,
    default_multivariate_normal_fn,
)
from tfp_vae.layers.bayesian.weight_losses import WeightLosses

MakeDistribution = Callable[..., tfd.Distribution]
Divergence = Callable[[Any, Any, Any], Any]

NORMAL = default_mean_field_normal_fn()
POINT = default_mean_field_normal_fn(is_singular=True)
UNIT_NORMAL = default_multivariate_normal_fn


class BayesianLayer(
    ChecksArguments,
    DocumentsArguments,
    Seeded,
    WeightLosses,
    ConfigFromSignature,
    keras.layers.Layer,
    abc.ABC,
):
    """`activation(W x + b)` with W and b drawn from `q(W)` and `q(b)` at each call.

    Adds `KL[q(W) || p(W)]` and, where b has a prior, `KL[q(b) || p(b)]` to the losses: one scalar
    each, in nats, for the whole data set, however often the layer is called in one pass. Keras'
    losses are means over examples: divide by the number of training examples n,
    `kernel_divergence_fn=lambda q, p, _: tfd.kl_divergence(q, p) / n`. Weights and divergences are
    kept in float32 under mixed precision.

    A subclass has `W x` (`affine`) and the draw of W (`estimate`).

    Args:
      activation: as for `keras.layers.Dense`.
      activity_regularizer: as for any Keras layer.
      kernel_posterior_fn: makes q(W): `fn(dtype, shape, name, trainable, add_variable_fn)` returns
        a distribution over a tensor of `shape`; see `default_mean_field_normal_fn`, the default.
      kernel_posterior_tensor_fn: gives the W to compute with: a function of the distribution, or
        the name of a method, such as "sample" or "mean".
      kernel_prior_fn: makes p(W), a unit Normal by default; None: no prior and no loss.
      kernel_divergence_fn: `fn(q, p, w)`, by default their KL in closed form; None: no loss.
      bias_posterior_fn: makes q(b), by default one value (`tfd.Deterministic`); None: no bias.
      bias_posterior_tensor_fn: as for the kernel.
      bias_prior_fn: as for the kernel, but by default None.
      bias_divergence_fn: as for the kernel.
      seed: see `DistributionLambda`; it serves W, b and random signs.
      **kwargs: as for any Keras layer.
    """

    needs_normal = False
    draws_kernel = True
    channel_axis = -1
    input_spec: Any
    kernel_posterior_tensor: tf.Tensor | None = None  # of the last eager call, as in tfp.layers
    bias_posterior_tensor: tf.Tensor | None = None

    def __init__(
        self,
        activation: Any,
        kernel_functions: Sequence[Any],
        bias_functions: Sequence[Any],
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.seed_with(seed)
        for of, functions in (("kernel", kernel_functions), ("bias", bias_functions)):
            for what, function in zip(_FUNCTIONS, functions, strict=True):
                self._keep(f"{of}_{what}_fn", function, what, (of, what) != ("kernel", "posterior"))

    def _keep(self, name: str, function: Any, what: str, optional: bool) -> None:
        if what == "posterior_tensor":
            function = by_name(function, name)
        elif not (callable(function) or (function is None and optional)):
            wanted = "a function or None" if optional else "a function"
            raise InputError(f"{self.name}: expected {name} to be {wanted}.", repr(function))
        setattr(self, name, function)

    @property
    @abc.abstractmethod
    def num_outputs(self) -> int:
        """The size of the bias and of the output's channel axis."""

    @abc.abstractmethod
    def kernel_shape(self, channels: int) -> tuple[int, ...]:
        """Returns the shape of W for an input of that many channels."""

    @abc.abstractmethod
    def affine(self, inputs: Any, kernel: Any) -> Any:
        """Returns `W x`, by `keras.ops`: Keras computes shapes by it too."""

    @abc.abstractmethod
    def sign_shape(self, tensor: tf.Tensor) -> Any:
        """Returns the shape of Flipout's signs for an input or output."""

    @abc.abstractmethod
    def estimate(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns `W x` with W drawn, and W (None where no W is drawn)."""

    def build(self, input_shape: Any) -> None:
        self.make_state()
        channels = self._channels(input_shape)
        spec = self.input_spec
        self.input_spec = keras.layers.InputSpec(
            ndim=spec.ndim, min_ndim=spec.min_ndim, axes={self.channel_axis: channels}
        )
        for of, shape in (("kernel", self.kernel_shape(channels)), ("bias", (self.num_outputs,))):
            for name in (f"{of}_posterior", f"{of}_prior"):
                setattr(self, f"_{name}", self._track(getattr(self, f"{name}_fn"), shape, name))
        q = self.kernel_posterior
        if self.needs_normal and not (
            isinstance(q, tfd.Independent) and isinstance(q.distribution, tfd.Normal)
        ):
            raise InputTypeError(
                f"{self.name}: expected the kernel_posterior_fn of a {type(self).__name__} to "
                f"make a tfd.Independent(tfd.Normal(...)).",
                q,
            )

    def _channels(self, input_shape: Any) -> int:
        if len(input_shape) < 2 or input_shape[self.channel_axis] is None:
            raise InputError(
                f"{self.name}: expected an input whose channel axis ({self.channel_axis}) has a "
                "known size.",
                f"shape {tuple(input_shape)}",
            )
        return int(input_shape[self.channel_axis])

    def _track(self, fn: Any, shape: tuple[int, ...], name: str) -> TrackedDistribution | None:
        if fn is None:
            return None
        made = TrackedDistribution(self, fn, tf.as_dtype(self._weight_dtype), shape, name)
        drawn = made.current().batch_shape.concatenate(made.current().event_shape)
        if name.endswith("posterior") and not drawn.is_compatible_with(shape):
            raise InputError(
                f"{self.name}: expected {name}_fn to make a distribution over a tensor of shape "
                f"{shape}.",
                f"draws of shape {tuple(drawn)}",
            )
        return made

    @property
    def _weight_dtype(self) -> str:
        stored = self.variable_dtype
        return "float32" if stored in ("float16", "bfloat16") else stored

    def call(self, inputs: Any) -> tf.Tensor:
        inputs = tf.cast(tf.convert_to_tensor(inputs), self.compute_dtype)
        outputs, kernel = self.estimate(inputs)
        self._add_divergence("kernel", kernel)
        bias = None
        if self.bias_posterior is not None:
            bias = self.drawn(self.bias_posterior, self.bias_posterior_tensor_fn)
            self._add_divergence("bias", bias)
            shape = [1] * len(outputs.shape)
            shape[self.channel_axis] = self.num_outputs
            outputs += tf.reshape(tf.cast(bias, outputs.dtype), shape)
        if tf.executing_eagerly():  # a tensor of a graph is of no use outside it
            self.kernel_posterior_tensor, self.bias_posterior_tensor = kernel, bias
        return self.activation(outputs)

    def drawn(self, distribution: tfd.Distribution, tensor_fn: Any) -> tf.Tensor:
        """Returns what `tensor_fn` makes of the distribution, with this layer's seeds."""
        return self._seeded(distribution, tensor_fn).value()

    def _seeded(self, distribution: Any, tensor_fn: Any = "sample") -> TensorCoercible:
        convert = functools.partial(concretize, tensor_fn)
        return TensorCoercible(distribution, convert, self.next_seed)

    def _add_divergence(self, of: str, sample: tf.Tensor | None) -> None:
        if getattr(self, f"{of}_prior") is None or getattr(self, f"{of}_divergence_fn") is None:
            return
        closed_form = getattr(self, f"{of}_divergence_fn") is exact_kl
        self.add_weight_loss(
            of,
            lambda: self._divergence(of, sample),
            lambda: self._divergence(of, None if closed_form else self._draw_of(of)),
            varies=not closed_form,
        )

    def _divergence(self, of: str, sample: tf.Tensor | None) -> tf.Tensor:
        posterior, prior = getattr(self, f"{of}_posterior"), getattr(self, f"{of}_prior")
        divergence = getattr(self, f"{of}_divergence_fn")(self._seeded(posterior), prior, sample)
        # A posterior that is not an Independent has a value for each weight.
        return tf.cast(tf.reduce_sum(divergence), keras.config.floatx())

    def _draw_of(self, of: str) -> tf.Tensor | None:
        if of == "kernel" and not self.draws_kernel:
            return None
        posterior = getattr(self, f"{of}_posterior")
        return self.drawn(posterior, getattr(self, f"{of}_posterior_tensor_fn"))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        kernel = keras.KerasTensor(self.kernel_shape(self._channels(input_shape)))
        return tuple(self.affine(keras.KerasTensor(input_shape), kernel).shape)


def _current(name: str, doc: str) -> property:
    def current(self: BayesianLayer) -> tfd.Distribution | None:
        if f"_{name}" not in vars(self):
            raise AttributeError(f"{self.name} has no {name} before it is built.")
        tracked = vars(self)[f"_{name}"]
        return None if tracked is None else tracked.current()

    return property(current, doc=doc)


for _name, _symbol in {
    "kernel_posterior": "q(W)",
    "kernel_prior": "p(W)",
    "bias_posterior": "q(b)",
    "bias_prior": "p(b)",
}.items():
    _doc = f"{_symbol} at the current weights; None where there is none."
    setattr(BayesianLayer, _name, _current(_name, _doc))

_FUNCTIONS = ("posterior", "posterior_tensor", "prior", "divergence")
