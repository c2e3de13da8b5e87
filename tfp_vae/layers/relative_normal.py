"""Posteriors of a hierarchy that are made of the prior of the same variable."""

from __future__ import annotations

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.fast import Normal
from tfp_vae.distributions.floors import softplus_at_least
from tfp_vae.layers.location_scale import LocationScaleLayer

_MOST = 5.0  # log-ratio of two scales


def _product(
    loc: tf.Tensor, scale: tf.Tensor, other_loc: tf.Tensor, other: tf.Tensor, validate_args: bool
) -> tfd.Distribution:
    other_scale = softplus_at_least(other, 1e-6)
    both = tf.sqrt(tf.square(scale) + tf.square(other_scale))
    # Shares of the two precisions, without the square of a small number.
    share, rest = tf.square(other_scale / both), tf.square(scale / both)
    return Normal(
        share * loc + rest * other_loc, scale * (other_scale / both), validate_args=validate_args
    )


@keras.saving.register_keras_serializable(package="tfp_vae")
class PrecisionWeightedNormal(LocationScaleLayer):
    """`q(z) = N(z; mu, s^2)`, proportional to `N(z; m_p, s_p^2) N(z; m_d, s_d^2)`: of a ladder.

    The product of the prior and of what the data say, each weighed by its precision:
    `1/s^2 = 1/s_p^2 + 1/s_d^2` and `mu = s^2 (m_p/s_p^2 + m_d/s_d^2)`. Input `[..., 4 n]`,
    n = prod(event_shape): the 2 n parameters of the prior, as an `IndependentNormal` takes them,
    then those of the data, likewise; batch `[...]`, event `event_shape`; as a tensor a draw.

    Args:
      event_shape: the shape of one draw: an int, or a sequence of ints.
      convert_to_tensor_fn: see `DistributionLambda`.
      validate_args: TFP checks values at run time (slow).
      min_scale: scales below it are raised to it.
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the last axis of the input is not `params_size(event_shape)`.

    Source: Sonderby et al., arXiv:1602.02282, equations 12 and 13.

    Example:
      >>> one = .5413  # softplus of it is 1
      >>> q = PrecisionWeightedNormal(1)(tf.constant([[0., one, 4., one]]))
      >>> q.mean().numpy().round(3).tolist(), q.variance().numpy().round(3).tolist()
      ([[2.0]], [[0.5]])
    """

    family = staticmethod(_product)
    parameters_per_value = 4
    fast_under_xla = True


def _moved(
    loc: tf.Tensor, scale: tf.Tensor, shift: tf.Tensor, ratio: tf.Tensor, validate_args: bool
) -> tfd.Distribution:
    ratio = tf.exp(_MOST * tf.tanh(ratio / _MOST))
    return Normal(loc + shift, scale * ratio, validate_args=validate_args)


@keras.saving.register_keras_serializable(package="tfp_vae")
class ResidualNormal(LocationScaleLayer):
    """`q(z) = N(z; m_p + d_m, (s_p d_s)^2)`: a posterior relative to the prior N(m_p, s_p^2).

    `KL[q || p] = sum_i 1/2 (d_m^2 / s_p^2 + d_s^2 - log d_s^2 - 1)`: 0 where the data add nothing.
    Input `[..., 4 n]`, n = prod(event_shape): the 2 n parameters of the prior, as an
    `IndependentNormal` takes them, then d_m and r, `log d_s = 5 tanh(r / 5)`; batch `[...]`, event
    `event_shape`; as a tensor a draw.

    Args:
      event_shape: the shape of one draw: an int, or a sequence of ints.
      convert_to_tensor_fn: see `DistributionLambda`.
      validate_args: TFP checks values at run time (slow).
      min_scale: scales of the prior below it are raised to it.
      seed: see `DistributionLambda`.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the last axis of the input is not `params_size(event_shape)`.

    Source: Vahdat and Kautz, arXiv:2007.03898, section 3.2.

    Example:
      >>> q = ResidualNormal(1)(tf.constant([[3., .5413, 0.5, 0.]]))
      >>> q.mean().numpy().tolist(), q.stddev().numpy().round(3).tolist()
      ([[3.5]], [[1.0]])
    """

    family = staticmethod(_moved)
    parameters_per_value = 4
    fast_under_xla = True
