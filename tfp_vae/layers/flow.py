"""A posterior that is a normalizing flow: a diagonal Normal, and maps that bend it."""

from __future__ import annotations

import abc
from typing import Any

import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.floors import softplus_at_least
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.multivariate import VectorLayer, of_any_batch


class FlowLayer(VectorLayer):
    """`z = f_K(... f_1(loc + scale * eps))`; a subclass makes the maps f.

    TFP remembers the eps of a draw, so that `log_prob` of that very tensor inverts nothing and has
    no gradient with respect to z. `log_prob` of any other tensor inverts the maps.

    Args:
      event_size: d.
      num_flows: K, at least 1.
      min_scale: scales of the base below it are raised to it.
    """

    def __init__(
        self,
        event_size: int,
        num_flows: int,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        min_scale: float = 1e-6,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_size, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.num_flows = int(num_flows)
        self.min_scale = min_scale

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        params, d = tf.convert_to_tensor(inputs), self.event_size
        scale = softplus_at_least(params[..., d : 2 * d], self.min_scale)
        base = tfd.MultivariateNormalDiag(params[..., :d], scale, validate_args=self.validate_args)
        bent = tfb.Chain(self.maps(params[..., 2 * d :])[::-1])
        flow = tfd.TransformedDistribution(of_any_batch(base), bent, name=type(self).__name__)
        return of_any_batch(flow)

    @abc.abstractmethod
    def maps(self, params: tf.Tensor) -> list[tfb.Bijector]:
        """Returns f_1, ..., f_K, from the parameters after those of the base."""

    def representative(self, distribution: tfd.Distribution) -> tf.Tensor:
        return distribution.bijector.forward(distribution.distribution.mean())
