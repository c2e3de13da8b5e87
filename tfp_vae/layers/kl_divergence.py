"""KL[q || p] as a term of the loss: on the layer that makes q, or as a layer behind it."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae import schedules
from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.coercible import draw
from tfp_vae.bridge.marginals import Prior, as_prior
from tfp_vae.bridge.masks import along, mask_of, masked_mean
from tfp_vae.bridge.signatures import ConfigFromSignature
from tfp_vae.distributions.divergence import kl_divergence
from tfp_vae.errors import InputTypeError
from tfp_vae.layers.base.loops import RefusesLoops
from tfp_vae.layers.base.symbolic import DistributionTensor
from tfp_vae.layers.base.tfp_attributes import Theirs
from tfp_vae.layers.kl_weight import KLWeight, TrainingStep

_ADDED = contextvars.ContextVar("_ADDED", default=True)


@contextlib.contextmanager
def without_kl_terms() -> Iterator[None]:
    """Lets no layer add a KL term to the losses: the objective of a model counts the KL.

    Example:
      >>> from tfp_vae import layers, priors
      >>> layer = layers.IndependentNormal(
      ...     2, activity_regularizer=KLDivergenceRegularizer(priors.unit_normal(2)))
      >>> with without_kl_terms():
      ...     q = layer(tf.zeros([1, 4]))
      >>> layer.losses
      []
    """
    token = _ADDED.set(False)
    try:
        yield
    finally:
        _ADDED.reset(token)


def adds_kl_terms() -> bool:
    """Returns whether a layer adds its KL term to the losses."""
    return _ADDED.get()


@keras.saving.register_keras_serializable(package="tfp_vae")
class KLDivergenceRegularizer(ConfigFromSignature, keras.regularizers.Regularizer):
    """Adds `weight * mean over the batch of KL[q(z|x) || p(z)]`, in nats, to the model's loss.

    The `activity_regularizer` of a distribution layer. The KL is in closed form where TFP registers
    one for the pair, else `log q(z) - log p(z)` at the z that the next layer sees, or at a draw
    where that z is none (`convert_to_tensor_fn="mean"`). Kingma and Welling, arXiv:1312.6114.

    Args:
      distribution_b: p(z): a `tfd.Distribution`, a `tfp_vae.priors.Prior` (trained and saved with
        the model), or a function without arguments that returns a distribution.
      use_exact_kl: True: closed form, an error where there is none; False: Monte Carlo; None (the
        default): closed form where there is one (`tfp.layers` has False); with a `test_points_fn`
        None means Monte Carlo.
      test_points_reduce_axis: axes to average over first, as in `tfp.layers`; the result is the
        mean over all axes either way.
      test_points_fn: gives the points for Monte Carlo from q.
      weight: None for 1, a number, a variable (yours to assign during training; saved by its
        value), or a schedule over training steps (see `tfp_vae.schedules`): a pass through the
        model is one step, however often the layer is called in it.

    Called with a distribution it returns that scalar. (`tfp.layers` returns the batch's sum.)

    Example:
      >>> from tfp_vae import layers, priors
      >>> layer = layers.IndependentNormal(
      ...     2, activity_regularizer=KLDivergenceRegularizer(priors.unit_normal(2)))
      >>> q = layer(tf.constant([[1., 0., .5413, .5413]]))  # mean (1, 0), deviation 1
      >>> [round(float(loss), 3) for loss in layer.losses]
      [0.5]
    """

    @checked
    def __init__(
        self,
        distribution_b: Any,
        use_exact_kl: bool | None = None,
        test_points_reduce_axis: Any = (),
        test_points_fn: Callable[[Any], Any] = tf.convert_to_tensor,
        weight: Any = None,
    ) -> None:
        self.distribution_b = distribution_b
        self.use_exact_kl = use_exact_kl
        axes = test_points_reduce_axis  # a list, from a config
        self.test_points_reduce_axis = tuple(axes) if isinstance(axes, list) else axes
        self.test_points_fn = test_points_fn
        self.prior: Prior = as_prior(distribution_b)
        self.kl_weight = KLWeight(weight)

    @property
    def weight(self) -> Any:
        """The weight as given."""
        return self.kl_weight.given

    _weight, _use_exact_kl = Theirs("weight"), Theirs("use_exact_kl")
    _distribution_b, _test_points_fn = Theirs("distribution_b"), Theirs("test_points_fn")
    _test_points_reduce_axis = Theirs("test_points_reduce_axis")

    @property
    def step(self) -> TrainingStep | None:
        """The count of training steps, where `weight` is a schedule."""
        return self.kl_weight.step

    @property
    def state(self) -> list[keras.layers.Layer]:
        """The layers that the layer of this regularizer has to track."""
        return [self.prior] if self.step is None else [self.prior, self.step]

    def __call__(self, distribution_a: tfd.Distribution, mask: Any = None) -> tf.Tensor:
        """Returns `weight * mean KL[distribution_a || distribution_b]`, a scalar in nats.

        `mask`: of Keras, over the first axes of the batch: masked entries count nothing.
        """
        if not isinstance(distribution_a, tfd.Distribution):
            raise InputTypeError(
                "Expected the output of a distribution layer, such as IndependentNormal: a KL "
                "divergence is between distributions.",
                distribution_a,
            )
        exact, points = self.use_exact_kl, self.test_points_fn
        if points is tf.convert_to_tensor:
            points = draw
        elif exact is None:
            exact = False
        kl = kl_divergence(
            distribution_a,
            self.prior.distribution(),
            points=lambda: points(distribution_a),
            exact=exact,
        )
        if mask is None:
            kl = tf.reduce_mean(tf.reduce_mean(kl, axis=self.test_points_reduce_axis))
        else:
            kl = masked_mean(kl, _behind_samples(mask, kl, distribution_a))
        kl = tf.cast(kl, keras.config.floatx())  # as all of Keras' losses
        return self.kl_weight.times(kl)

    def saved_arguments(self) -> list[str]:
        default = self.test_points_fn is tf.convert_to_tensor
        return [n for n in super().saved_arguments() if not (default and n == "test_points_fn")]

    def config_of(self, name: str) -> Any:
        if name == "distribution_b":
            return keras.saving.serialize_keras_object(self.prior)
        return schedules.to_config(self.weight) if name == "weight" else super().config_of(name)


@keras.saving.register_keras_serializable(package="tfp_vae")
class KLDivergenceAddLoss(RefusesLoops, ConfigFromSignature, keras.layers.Layer):
    """A layer that passes a distribution on and adds its KL term to the model's loss.

    The term, the arguments and the defaults are those of `KLDivergenceRegularizer`.

    Example:
      >>> from tfp_vae import layers, priors
      >>> add_kl = KLDivergenceAddLoss(priors.unit_normal(2), weight=0.5)
      >>> q = add_kl(layers.IndependentNormal(2)(tf.constant([[1., 0., .5413, .5413]])))
      >>> [round(float(loss), 3) for loss in add_kl.losses]
      [0.25]
    """

    @checked
    def __init__(
        self,
        distribution_b: Any,
        use_exact_kl: bool | None = None,
        test_points_reduce_axis: Any = None,
        test_points_fn: Callable[[Any], Any] = tf.convert_to_tensor,
        weight: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._convert_input_args = False  # a cast would leave a tensor
        self.supports_masking = True
        self.regularizer = KLDivergenceRegularizer(
            distribution_b, use_exact_kl, test_points_reduce_axis, test_points_fn, weight
        )
        self._regularizer_state = self.regularizer.state

    _regularizer = Theirs("regularizer")

    def call(self, distribution_a: Any, training: bool | None = None) -> Any:
        if not adds_kl_terms():
            return distribution_a
        if training:
            self.regularizer.kl_weight.advance()
        self.add_loss(self.regularizer(distribution_a, mask_of(distribution_a)))
        return distribution_a

    def _clear_losses(self) -> None:
        super()._clear_losses()
        self.regularizer.kl_weight.begin()

    def compute_output_spec(self, distribution_a: Any, training: bool | None = None) -> Any:
        # Keras would trace `call` with a placeholder, which is no distribution.
        given = distribution_a
        if not isinstance(given, DistributionTensor):
            return keras.KerasTensor(given.shape, given.dtype)
        return DistributionTensor(given.shape, given.dtype, given.layer, given.args, given.kwargs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.regularizer.get_config()}


def _behind_samples(mask: Any, kl: tf.Tensor, q: tfd.Distribution) -> tf.Tensor:
    """Returns the mask for values that may have axes of samples before those of the batch."""
    mask = along(tf.ones(tf.shape(kl)[kl.shape.rank - q.batch_shape.rank :]), mask)
    return tf.broadcast_to(mask, tf.shape(kl))
