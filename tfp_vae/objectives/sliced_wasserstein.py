"""The ELBO with the sliced Wasserstein distance of a batch's z to the prior."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.replicas import global_batch
from tfp_vae.objectives.batch import seed_of_step
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.penalized import Penalized, as_rows, at_least, from_prior
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class SlicedWasserstein(Penalized):
    """The ELBO `+ weight SW^2` of the batch's z and draws from the prior.

    `SW^2` is the squared Wasserstein distance in one dimension, of sorted projections, averaged
    over random directions. Kolouri et al., arXiv:1804.01947. Two batches of one distribution are
    apart too, the more the fewer rows they have: the distance of two batches of the prior is
    subtracted. So the mean is 0 at any batch size where z is distributed as the prior, and the
    gradient is the published one. The penalty of a batch of one example is 0.

    Args:
      weight: of SW^2: a number, a variable or a schedule.
      num_projections: the number of directions.
      beta: the weight of the KL.

    Example:
      >>> from tfp_vae.objectives import ForwardPass
      >>> z = tf.random.stateless_normal([1, 500, 1], [0, 1])
      >>> prior = tfd.MultivariateNormalDiag(tf.zeros(1))
      >>> far = ForwardPass(prior, prior, z + 3., tf.zeros([1, 500]))
      >>> abs(float(SlicedWasserstein().penalty(far)) - 9.) < 0.5
      True
    """

    @checked
    def __init__(
        self, weight: Scheduled = 10.0, num_projections: int = 50, beta: Scheduled = 0.0
    ) -> None:
        super().__init__(beta, weight)
        self.num_projections = int(num_projections)

    def penalty(self, forward: Forward) -> tf.Tensor:
        drawn = global_batch(forward.z, axis=1)
        z, p, again = map(as_rows, (drawn, *(from_prior(forward, drawn, i) for i in (0, 4))))
        shape = [tf.shape(z)[-1], self.num_projections]
        seed = seed_of_step(forward, 1, of_all=True)
        normal = tf.random.stateless_normal(shape, seed, dtype=z.dtype)
        directions = tf.math.l2_normalize(normal, axis=0)
        one, two, three = (tf.sort(tf.matmul(a, directions), axis=0) for a in (z, p, again))
        apart = tf.math.squared_difference
        value = tf.reduce_mean(apart(one, two) - tf.stop_gradient(apart(two, three)))
        return at_least(2, tf.shape(drawn)[1], value)
