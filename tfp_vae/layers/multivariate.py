"""Normals over a vector: diagonal and full covariance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import math as tfm

from tfp_vae.distributions.floors import softplus_above, softplus_at_least
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import ParametricLayer


def of_any_batch(made: tfd.TransformedDistribution) -> tfd.TransformedDistribution:
    """Returns `made`, whose base has all of the batch, able to draw at a batch of 0 too.

    TFP divides by the size of an unknown batch to give the base the same one.

    Example:
      >>> of_any_batch(tfd.MultivariateNormalDiag(tf.zeros([0, 2]))).sample().shape.as_list()
      [0, 2]
    """
    base = made.distribution
    made._maybe_broadcast_distribution_batch_shape = lambda: base
    return made


class VectorLayer(ParametricLayer):
    """A distribution over vectors of `event_size`; a subclass says which in `each`."""

    each: ClassVar[Callable[..., tfd.Distribution]]

    def __init__(
        self,
        event_size: int,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(convert_to_tensor_fn, seed, **kwargs)
        self.event_size = int(event_size)
        self.validate_args = validate_args

    @classmethod
    def new(
        cls,
        params: Any,
        event_size: int,
        validate_args: bool = False,
        name: str | None = None,
        **options: Any,
    ) -> tfd.Distribution:
        """Returns the distribution of a tensor `[..., params_size(event_size)]`."""
        with tf.name_scope(name or cls.__name__):
            return cls.each(tf.convert_to_tensor(params), event_size, validate_args, **options)


@keras.saving.register_keras_serializable(package="tfp_vae")
class MultivariateNormalTriL(VectorLayer):
    """`N(x; loc, L L')` with any covariance: d locations, then the d (d + 1) / 2 entries of L.

    The entries fill L as `tfp.math.fill_triangular` does; its diagonal is `softplus(.) + 1e-5`.
    Shapes: input `[..., d + d (d + 1) / 2]`, batch `[...]`, event `[d]`; as a tensor a draw
    `loc + L eps`. The layer trains under XLA with any batch; that of `tfp.layers` does not.

    Source: Kingma and Welling, arXiv:1906.02691, section 2.5.1.

    Example:
      >>> q = MultivariateNormalTriL(2)(tf.zeros([1, MultivariateNormalTriL.params_size(2)]))
      >>> np.round(q.covariance().numpy().astype(float), 3).tolist()  # log(2)^2 on the diagonal
      [[[0.48, 0.0], [0.0, 0.48]]]
    """

    @classmethod
    def each(cls, params: tf.Tensor, event_size: int, validate_args: bool) -> tfd.Distribution:
        # TFP's FillScaleTriL has no gradient under XLA where the batch is dynamic.
        lower = tfm.fill_triangular(params[..., event_size:])
        eye = tf.eye(event_size, dtype=params.dtype)
        scale = lower * (1 - eye) + eye * softplus_above(lower, 1e-5)
        loc = params[..., :event_size]
        normal = tfd.MultivariateNormalTriL(loc, scale, validate_args=validate_args)
        return of_any_batch(normal)

    @staticmethod
    def params_size(event_size: int, name: str | None = None) -> int:
        return int(event_size + event_size * (event_size + 1) // 2)


@keras.saving.register_keras_serializable(package="tfp_vae")
class MultivariateNormalDiag(VectorLayer):
    """`N(x; loc, diag(scale)^2)`: d locations, then d scales before their softplus.

    The density of `IndependentNormal`, as a `tfd.MultivariateNormalDiag`. Shapes: input
    `[..., 2 d]`, batch `[...]`, event `[d]`; as a tensor a draw. Scales are at least 1e-6.

    Source: `tfd.MultivariateNormalDiag`.

    Example:
      >>> q = MultivariateNormalDiag(2)(tf.constant([[1., -1., .5413, .5413]]))
      >>> q.stddev().numpy().round(3).tolist()
      [[1.0, 1.0]]
    """

    @classmethod
    def each(cls, params: tf.Tensor, event_size: int, validate_args: bool) -> tfd.Distribution:
        scale = softplus_at_least(params[..., event_size:], 1e-6)
        loc = params[..., :event_size]
        normal = tfd.MultivariateNormalDiag(loc, scale, validate_args=validate_args)
        return of_any_batch(normal)

    @staticmethod
    def params_size(event_size: int, name: str | None = None) -> int:
        return 2 * int(event_size)
