"""Several distributions over vectors as one over the vectors end to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tensorflow_probability import random as tfp_random
from tensorflow_probability import util as tfp_util

from tfp_vae.bridge.origins import blocks_of, end_to_end
from tfp_vae.distributions.construction import settings
from tfp_vae.distributions.containers import Blockwise


class SideBySide(tfd.Distribution):
    """`prod_b p_b(z_b)`: a `tfd.Blockwise`, quick to make, whose draws know their blocks.

    TFP makes a joint distribution, which takes longer than the rest of a posterior. The blocks of a
    draw are the tensors that were drawn: a flow, which caches its draws, is not inverted.

    Args:
      distributions: each over vectors, of one batch shape.

    Example:
      >>> q = SideBySide([tfd.MultivariateNormalDiag(tf.zeros(d)) for d in (2, 3)])
      >>> q.event_shape.as_list(), q.mean().numpy().tolist()
      ([5], [0.0, 0.0, 0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        distributions: Sequence[tfd.Distribution],
        validate_args: bool = False,
        name: str = "SideBySide",
    ) -> None:
        parameters = dict(locals())
        self.distributions = list(distributions)
        full = tfd.FULLY_REPARAMETERIZED
        carried = all(q.reparameterization_type == full for q in self.distributions)
        super().__init__(**settings(parameters, self.distributions[0].dtype, carried))

    @classmethod
    def _parameter_properties(cls, dtype: Any, num_classes: Any = None) -> dict[str, Any]:
        each = tfp_util.BatchedComponentProperties(event_ndims=lambda d: [0] * len(d.distributions))
        return {"distributions": each}

    def _sizes(self) -> list[int]:
        return [q.event_shape[-1] for q in self.distributions]

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape([sum(self._sizes())])

    def _event_shape_tensor(self) -> tf.Tensor:
        return tf.constant([sum(self._sizes())], tf.int32)

    def apart(self, z: Any) -> list[tf.Tensor]:
        """Returns the blocks of z; of a draw the tensors that were drawn."""
        return blocks_of(z, self._sizes())

    def _call_sample_n(self, sample_shape: Any, seed: Any, **kwargs: Any) -> tf.Tensor:
        seeds = tf.unstack(tfp_random.split_seed(seed, len(self.distributions), salt="SideBySide"))
        pairs = zip(self.distributions, seeds, strict=True)
        return end_to_end([q.sample(sample_shape, seed=own) for q, own in pairs])

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        pairs = zip(self.distributions, self.apart(z), strict=True)
        return sum(q.log_prob(block) for q, block in pairs)

    def _entropy(self) -> tf.Tensor:
        return sum(q.entropy() for q in self.distributions)

    def _mean(self) -> tf.Tensor:
        return tf.concat([q.mean() for q in self.distributions], axis=-1)

    def _mode(self) -> tf.Tensor:
        return tf.concat([q.mode() for q in self.distributions], axis=-1)

    def _variance(self) -> tf.Tensor:
        return tf.concat([q.variance() for q in self.distributions], axis=-1)


def parts(distribution: tfd.Distribution) -> list[tfd.Distribution]:
    """Returns the distributions of the blocks; the distribution itself, where it has none."""
    distribution = getattr(distribution, "tensor_distribution", distribution)
    several = isinstance(distribution, (SideBySide, Blockwise))
    return list(distribution.distributions) if several else [distribution]


def alike(q: tfd.Distribution, p: tfd.Distribution) -> bool:
    """Returns whether the blocks of both are of the same event shapes, one by one."""
    shapes = [[part.event_shape.as_list() for part in parts(d)] for d in (q, p)]
    return shapes[0] == shapes[1]


@tfd.RegisterKL(SideBySide, Blockwise)
@tfd.RegisterKL(SideBySide, SideBySide)
def _kl(q: Any, p: Any, name: Any = None) -> tf.Tensor:
    if not alike(q, p):
        raise NotImplementedError("The blocks are of other sizes.")
    return sum(tfd.kl_divergence(a, b, name=name) for a, b in zip(parts(q), parts(p), strict=True))
