"""A dense layer with one distribution over its kernel and bias together."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import schedules
from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.closures import Holding
from tfp_vae.bridge.coercible import TensorCoercible
from tfp_vae.bridge.random_state import Seeded
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.distributions.divergence import kl_divergence
from tfp_vae.errors import InputError, InputTypeError
from tfp_vae.layers.base.tfp_attributes import Theirs
from tfp_vae.layers.bayesian.weight_losses import WeightLosses
from tfp_vae.layers.kl_weight import KLWeight


@keras.saving.register_keras_serializable(package="tfp_vae")
class DenseVariational(Seeded, WeightLosses, Holding, ConfigFromSignature, keras.layers.Layer):
    """`activation(x W + b)`, where `w = (W, b)` flattened is drawn from q(w) at each call.

    Input `[..., in]`, output `[..., units]`; w has `in * units` values for W, then `units` for b.
    Adds `kl_weight * KL[q(w) || p(w)]`, in nats, to the losses: closed form where TFP registers one
    for the pair, else `log q(w) - log p(w)` at the w that is computed with. Blundell et al.,
    arXiv:1505.05424.

    Args:
      units: the size of the output's last axis.
      make_posterior_fn: `fn(kernel_size, bias_size, dtype)` returns q(w), or a Keras model, layer
        or function from the input to q(w); its variables and layers are trained and saved.
      make_prior_fn: likewise for p(w).
      kl_weight: a number; None: 1. Keras' losses are means over examples: give 1 / n for n training
        examples. For KL annealing: a variable (saved by its value), a tensor, or a schedule over
        training steps (see `tfp_vae.schedules`).
      kl_use_exact: True: closed form, an error where there is none; False: Monte Carlo; None (the
        default): closed form where there is one. (`tfp.layers` has False.)
      activation: as for `keras.layers.Dense`.
      use_bias: False: `bias_size` is 0.
      activity_regularizer: as for any Keras layer.
      seed: of draws from a q(w) that is a plain distribution; see `DistributionLambda`.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the size of the input's last axis is unknown, an argument cannot be used, or a
        draw is not one vector of `kernel_size + bias_size`.
      TypeError: a function gives no distribution.
      ValueError: `kl_use_exact` is True and the pair has no closed form.

    Example:
      >>> from tfp_vae import layers
      >>> def posterior(kernel_size, bias_size, dtype):
      ...     n = kernel_size + bias_size
      ...     return keras.Sequential([
      ...         layers.VariableLayer(2 * n, dtype=dtype), layers.IndependentNormal(n)])
      >>> def prior(kernel_size, bias_size, dtype):
      ...     n = kernel_size + bias_size
      ...     return tfd.Independent(tfd.Normal(tf.zeros(n, dtype), 1.), 1)
      >>> layer = DenseVariational(3, posterior, prior, kl_weight=1 / 1000)
      >>> layer(tf.ones([8, 4])).shape.as_list(), len(layer.losses), layer.count_params()
      ([8, 3], 1, 30)
    """

    @checked
    def __init__(
        self,
        units: int,
        make_posterior_fn: Callable[..., Any],
        make_prior_fn: Callable[..., Any],
        kl_weight: Any = None,
        kl_use_exact: bool | None = None,
        activation: Any = None,
        use_bias: bool = True,
        activity_regularizer: Any = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = int(units)
        self.make_posterior_fn = make_posterior_fn
        self.make_prior_fn = make_prior_fn
        self._weight_of_kl = KLWeight(kl_weight, f"{self.name}'s kl_weight")
        self._step = self._weight_of_kl.step
        self.kl_use_exact = kl_use_exact
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.seed_with(seed)
        self.input_spec = keras.layers.InputSpec(min_ndim=2)
        self.supports_masking = True

    @property
    def kl_weight(self) -> Any:
        """The weight as given."""
        return self._weight_of_kl.given

    _posterior, _prior = Theirs("posterior"), Theirs("prior")
    _make_posterior_fn, _make_prior_fn = Theirs("make_posterior_fn"), Theirs("make_prior_fn")

    def build(self, input_shape: Any) -> None:
        self.make_state()
        size = input_shape[-1]
        if size is None:
            raise InputError(
                f"{self.name}: expected an input whose last axis has a known size.",
                f"shape {tuple(input_shape)}",
            )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: size})
        self.kernel_shape = (size, self.units)
        self._one_input = [1 if axis is None else axis for axis in input_shape]
        stored = self.variable_dtype
        dtype = tf.as_dtype("float32" if stored in ("float16", "bfloat16") else stored)
        sizes = (size * self.units, self.units if self.use_bias else 0, dtype)
        self.posterior = self._made("posterior", sizes, input_shape)
        self.prior = self._made("prior", sizes, input_shape)
        self.hold(self.posterior, self.prior)

    def _made(self, name: str, sizes: tuple[int, int, tf.DType], input_shape: Any) -> Any:
        with keras.name_scope(name):  # for the paths of the variables
            with tf.init_scope():  # a constant of the present graph is of no use in another
                made = getattr(self, f"make_{name}_fn")(*sizes)
            if isinstance(made, keras.layers.Layer) and not made.built:
                made.build(input_shape)
        return made

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        inputs = tf.cast(tf.convert_to_tensor(inputs), self.compute_dtype)
        q, p = self._distributions(inputs)
        w = tf.convert_to_tensor(q)
        kernel_size = self.kernel_shape[0] * self.units
        expected = kernel_size + (self.units if self.use_bias else 0)
        if not w.shape.is_compatible_with([expected]):
            raise InputError(
                f"{self.name}: expected make_posterior_fn to give draws of shape ({expected},).",
                f"shape {tuple(w.shape)}",
            )
        if training:
            self._weight_of_kl.advance()
        self.add_weight_loss(
            "kl", lambda: self._weighted_kl(q, p), lambda: self._weighted_kl(*self._anew()), True
        )
        w = tf.cast(w, inputs.dtype)
        outputs = keras.ops.matmul(inputs, tf.reshape(w[:kernel_size], self.kernel_shape))
        return self.activation(outputs + w[kernel_size:] if self.use_bias else outputs)

    def _distributions(self, inputs: tf.Tensor) -> tuple[TensorCoercible, tfd.Distribution]:
        with self.reading():
            q = self._distribution(self.posterior, inputs, "make_posterior_fn")
            p = self._distribution(self.prior, inputs, "make_prior_fn")
        if not isinstance(q, TensorCoercible):
            q = TensorCoercible(q, next_seed=self.next_seed)
        return q, p

    def _anew(self) -> tuple[TensorCoercible, tfd.Distribution]:
        return self._distributions(tf.zeros(self._one_input, self.compute_dtype))

    def _weighted_kl(self, q: TensorCoercible, p: tfd.Distribution) -> tf.Tensor:
        points = functools.partial(tf.convert_to_tensor, q)
        kl = tf.reduce_sum(kl_divergence(q, p, points=points, exact=self.kl_use_exact))
        return self._weight_of_kl.times(tf.cast(kl, keras.config.floatx()))

    def _clear_losses(self) -> None:
        super()._clear_losses()
        self._weight_of_kl.begin()

    def _distribution(self, made: Any, inputs: tf.Tensor, argument: str) -> tfd.Distribution:
        distribution = made if isinstance(made, tfd.Distribution) else made(inputs)
        if not isinstance(distribution, tfd.Distribution):
            raise InputTypeError(
                f"{self.name}: expected what {argument} returns to give a "
                f"tfp.distributions.Distribution.",
                repr(distribution),
            )
        return distribution

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    def config_of(self, name: str) -> Any:
        return (
            schedules.to_config(self.kl_weight) if name == "kl_weight" else super().config_of(name)
        )
