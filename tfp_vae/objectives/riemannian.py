"""The Hamiltonian bound in a latent space whose metric is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.hamiltonian import Hamiltonian
from tfp_vae.objectives.leapfrog import Values
from tfp_vae.objectives.metric import LearnedMetric, Metric


@keras.saving.register_keras_serializable(package="tfp_vae")
class RiemannianHamiltonian(Hamiltonian):
    """`-E log w` of `Hamiltonian`, with momenta from N(0, G(z)), G a metric that is learned.

    `G(z)^-1 = sum_i L_i L_i' exp(-|z - c_i|^2 / T^2) + lambda I`, c_i the means of q(z|x_i) and
    L_i, lower triangular, what a network makes of x_i. While training, i goes over the batch; else
    over the `num_centroids` examples seen last, whose c_i and L_i are kept and saved. A step is the
    generalized leapfrog's of `H(z, m) = U(z) + log det G(z) / 2 + m' G(z)^-1 m / 2`:
    `m' = m - e/2 H_z(z, m')`, `z' = z + e/2 (H_m(z, m') + H_m(z', m'))`, both by `num_iterations`
    of a fixed point, and `m'' = m' - e/2 H_z(z', m')`; then the tempering. It keeps the volume, and
    `E w = p(x)` holds, as nearly as these iterations solve the two equations.
    `log w = log p(x, z_K) - log q(z_0|x) + log N(m_K; G(z_K)) - log N(m_0; G(z_0))`, m_0 before
    the tempering.

    Chadebec et al., arXiv:2010.11518. z is one vector.

    Args:
      num_steps: K.
      step_size: e at first.
      largest_step_size: e stays below.
      inverse_temperature: as of `Hamiltonian`.
      num_samples: how many chains there are for each example.
      width: T.
      least: lambda.
      num_iterations: of each fixed point.
      num_centroids: how many examples the metric has after training.
      metric: a network from all values of x, one vector, to the `d (d + 1) / 2` entries of L,
        before the exponential of its diagonal; None: one hidden layer of 64.

    Raises:
      InputError: as of `Hamiltonian`; z is no one vector, x has no one size, or the network does
        not go from x to L.

    Example:
      >>> from tfp_vae import VAE, networks, layers
      >>> encoder = networks.encoder((4,), layers.IndependentNormal(2), widths=(8,))
      >>> decoder = networks.decoder(2, layers.IndependentBernoulli(4), widths=(8,))
      >>> vae = VAE(encoder, decoder, objective=RiemannianHamiltonian(num_steps=1))
      >>> vae.compile("adam")
      >>> sorted(vae.fit(tf.ones([8, 4]), verbose=0).history)
      ['kl', 'loss', 'nll']
    """

    takes_several = False
    sees_whole_batch = True

    @checked
    def __init__(
        self,
        num_steps: int = 3,
        step_size: float = 0.01,
        largest_step_size: float = 0.1,
        inverse_temperature: float = 0.3,
        num_samples: int = 1,
        width: float = 1.5,
        least: float = 0.01,
        num_iterations: int = 3,
        num_centroids: int = 200,
        metric: keras.Model | None = None,
    ) -> None:
        super().__init__(num_steps, step_size, largest_step_size, inverse_temperature, num_samples)
        self.width, self.least, self.metric = width, least, metric
        self.num_iterations, self.num_centroids = int(num_iterations), int(num_centroids)
        self.learned: LearnedMetric | None = None

    @property
    def state(self) -> Mapping[str, keras.layers.Layer]:
        own = {} if self.learned is None else {"metric": self.learned}
        return {**super().state, **own}

    def bind(self, latents: Mapping[str, Sequence[int | None]]) -> None:
        super().bind(latents)
        (shape,) = latents.values()
        if len(shape) != 1:
            raise InputError("Expected z to be one vector.", f"values of shape {tuple(shape)}")

    def bind_data(self, observed: Mapping[str, Sequence[int | None]]) -> None:
        assert self.steps is not None
        (size,) = next(iter(self.steps.shapes.values()))
        if self.learned is None or self.learned.size != size:
            self.learned = LearnedMetric(observed, size, self.metric, self.num_centroids)

    def space(self, forward: Forward) -> Curved:
        assert self.learned is not None
        found: tuple[tf.Tensor, tf.Tensor]
        if forward.training:
            x = [term.filled() for term in forward.observed.values()]
            found = self.learned.of_batch(x, forward.posterior.mean(), forward.training)
        else:
            kept = self.learned.centroids, self.learned.squares
            dtype = forward.z.dtype
            found = tuple(tf.cast(tf.convert_to_tensor(each), dtype) for each in kept)
        return Curved(Metric(*found, self.width, self.least), self.num_iterations)


class Curved(NamedTuple):
    """The space of a metric, of the one variable that there is."""

    metric: Metric
    num_iterations: int

    def momentum(self, z: Values, noise: Values) -> Values:
        return {name: self.metric.momentum(z[name], each) for name, each in noise.items()}

    def energy(self, z: Values, momentum: Values) -> tf.Tensor:
        ((name, each),) = z.items()
        return self.metric.energy(each, momentum[name])

    def step(
        self,
        z: Values,
        momentum: Values,
        slope: Values,
        sizes: Values,
        slope_at: Callable[[Values], Values],
    ) -> tuple[Values, Values, Values]:
        """Returns z, momentum and the slope of U after a step of the generalized leapfrog."""
        ((name, start),) = z.items()
        metric, half_size, m = self.metric, sizes[name] / 2, momentum[name]
        half = m
        for _ in range(self.num_iterations):
            half = m - half_size * (slope[name] + metric.slope(start, half))
        speed, end = metric.velocity(start, half), start
        for _ in range(self.num_iterations):
            end = start + half_size * (speed + metric.velocity(end, half))
        slope = slope_at({name: end})
        half -= half_size * (slope[name] + metric.slope(end, half))
        return {name: end}, {name: half}, slope
