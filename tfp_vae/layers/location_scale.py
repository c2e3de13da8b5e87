"""A location and a scale for each value: Normal, Logistic, Laplace, Student's t."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.fast import Normal
from tfp_vae.distributions.floors import softplus_at_least
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import IndependentLayer


class LocationScaleLayer(IndependentLayer):
    """`prod_i f((x_i - loc_i) / scale_i) / scale_i`; a subclass names the `family` of f.

    Shapes: input `[..., 2 n]`, n = prod(event_shape): locations, then scales before their softplus;
    batch `[...]`, event `event_shape`; as a tensor a draw `loc + scale eps`.
    """

    family: ClassVar[Callable[..., tfd.Distribution]]
    parameters_per_value = 2

    def __init__(
        self,
        event_shape: int | Sequence[int] = (),
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        min_scale: float = 1e-6,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.min_scale = min_scale

    @classmethod
    def new(  # type: ignore[override]  # an option more
        cls,
        params: Any,
        event_shape: Any = (),
        validate_args: bool = False,
        name: str | None = None,
        min_scale: float = 1e-6,
    ) -> tfd.Independent:
        """Returns the distribution of a tensor `[..., params_size(event_shape)]`."""
        return cls._new(params, event_shape, validate_args, name, min_scale=min_scale)

    @classmethod
    def each(
        cls,
        loc: tf.Tensor,
        scale: tf.Tensor,
        *others: tf.Tensor,
        validate_args: bool,
        min_scale: float = 1e-6,
    ) -> tfd.Distribution:
        scale = softplus_at_least(scale, min_scale)
        return cls.family(loc, scale, *others, validate_args=validate_args)


@keras.saving.register_keras_serializable(package="tfp_vae")
class IndependentNormal(LocationScaleLayer):
    """`prod_i N(x_i; loc_i, scale_i^2)`: the posterior of most VAEs, and real-valued data.

    Source: Kingma and Welling, arXiv:1312.6114.

    Example:
      >>> q = IndependentNormal(2)(tf.constant([[1., -1., .5413, .5413]]))
      >>> q.mean().numpy().tolist(), q.stddev().numpy().round(3).tolist()
      ([[1.0, -1.0]], [[1.0, 1.0]])
    """

    family = Normal
    fast_under_xla = True


@keras.saving.register_keras_serializable(package="tfp_vae")
class IndependentLogistic(LocationScaleLayer):
    """`prod_i sech^2((x_i - loc_i) / (2 scale_i)) / (4 scale_i)`: heavier tails than a Normal's.

    Source: Kingma et al., arXiv:1606.04934.

    Example:
      >>> p = IndependentLogistic(1)(tf.constant([[0., .5413]]))
      >>> round(float(p.log_prob([[0.]])[0]), 4)  # log 1/4
      -1.3863
    """

    family = tfd.Logistic


@keras.saving.register_keras_serializable(package="tfp_vae")
class Laplace(LocationScaleLayer):
    """`prod_i exp(-|x_i - loc_i| / scale_i) / (2 scale_i)`: an absolute instead of a squared error.

    Source: `tfd.Laplace`.

    Example:
      >>> p = Laplace(1)(tf.constant([[0., .5413]]))
      >>> round(float(p.log_prob([[0.]])[0]), 3)  # log 1/2
      -0.693
    """

    family = tfd.Laplace


def _student_t(
    loc: tf.Tensor, scale: tf.Tensor, df: tf.Tensor, validate_args: bool
) -> tfd.Distribution:
    # In float32 2 + softplus(-17) is 2, where there is no variance.
    df = 2 + softplus_at_least(df, 1e-3)
    return tfd.StudentT(df, loc, scale, validate_args=validate_args)


@keras.saving.register_keras_serializable(package="tfp_vae")
class StudentT(LocationScaleLayer):
    """`prod_i t(x_i; df_i, loc_i, scale_i)`: a Normal with heavy tails, for data with outliers.

    The density is proportional to `(1 + ((x - loc) / scale)^2 / df)^(-(df + 1) / 2)`. Input
    `[..., 3 n]`, n = prod(event_shape): locations, scales before their softplus, then the degrees
    of freedom, `df = 2 + softplus(t[..., 2n:])` (at least 2.001), so that there is a variance,
    `scale^2 df / (df - 2)`. Batch `[...]`, event `event_shape`; as a tensor a draw.

    Source: Takahashi et al., "Student-t Variational Autoencoder for Robust Density Estimation",
    IJCAI 2018.

    Example:
      >>> p = StudentT(1)(tf.constant([[0., .5413, .5413]]))  # df 3
      >>> p.variance().numpy().round(2).tolist()
      [[3.0]]
    """

    family = staticmethod(_student_t)
    parameters_per_value = 3
