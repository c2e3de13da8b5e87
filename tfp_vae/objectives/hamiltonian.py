"""The bound whose latent values move along the gradient of the model's own density."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import Objective, Terms
from tfp_vae.objectives.batch import seed_of_step
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.leapfrog import Flat, LeapfrogSteps, Space, Values


@keras.saving.register_keras_serializable(package="tfp_vae")
class Hamiltonian(Objective):
    """`-E log w`, z moved from q(z|x) by K leapfrog steps along the gradient of log p(x, z).

    z_0 is drawn from q(z|x) and a momentum `m_0 = g / sqrt(b_0)` with g from N(0, I). With
    `U(z) = -log p(x, z)`, a step k is `m' = m_{k-1} - e/2 U'(z_{k-1})`, `z_k = z_{k-1} + e m'`,
    `m'' = m' - e/2 U'(z_k)`, then `m_k = sqrt(b_{k-1} / b_k) m''`: the tempering, from b_0 < 1 to
    b_K = 1 by `1 / sqrt(b_k) = (1 - 1 / sqrt(b_0)) k^2 / K^2 + 1 / sqrt(b_0)`. The volume changes
    by the tempering alone: `log w = log p(x, z_K) - |m_K|^2 / 2 - log q(z_0|x) + |g|^2 / 2`, where
    `E w = p(x)`. In nats. The step sizes e, one for each dimension, and b_0 are learned.
    `nll` is `-log p(x|z_K)`, and `kl` what else is in the loss.

    Caterini et al., arXiv:1805.11328. `log_likelihood` draws from q(z|x), without the steps.

    Args:
      num_steps: K.
      step_size: e at first.
      largest_step_size: e stays below.
      inverse_temperature: b_0 at first, in 0..1; 1: no tempering, and none is learned.
      num_samples: how many chains there are for each example.

    Raises:
      InputError: the latent variables are sequences of any length, the step size is not below the
        largest, or the inverse temperature is not in 0..1.

    Example:
      >>> from tfp_vae import VAE, networks, layers
      >>> encoder = networks.encoder((4,), layers.IndependentNormal(2), widths=(8,))
      >>> decoder = networks.decoder(2, layers.IndependentBernoulli(4), widths=(8,))
      >>> vae = VAE(encoder, decoder, objective=Hamiltonian(num_steps=2))
      >>> vae.compile("adam")
      >>> sorted(vae.fit(tf.ones([8, 4]), verbose=0).history)
      ['kl', 'loss', 'nll']
    """

    takes_several = True

    @checked
    def __init__(
        self,
        num_steps: int = 3,
        step_size: float = 0.05,
        largest_step_size: float = 0.5,
        inverse_temperature: float = 0.3,
        num_samples: int = 1,
    ) -> None:
        if not step_size < largest_step_size:
            raise InputError(
                "Expected step_size < largest_step_size.", f"{step_size} and {largest_step_size}"
            )
        self.num_steps, self.num_samples = int(num_steps), int(num_samples)
        self.step_size, self.largest_step_size = step_size, largest_step_size
        self.inverse_temperature = inverse_temperature
        self.steps: LeapfrogSteps | None = None

    @property
    def state(self) -> Mapping[str, keras.layers.Layer]:
        return {} if self.steps is None else {"steps": self.steps}

    def bind(self, latents: Mapping[str, Sequence[int | None]]) -> None:
        shapes = {name: list(shape) for name, shape in latents.items()}
        if any(None in shape for shape in shapes.values()):
            raise InputError("Expected latent values of one size, not sequences.", shapes)
        if self.steps is None or self.steps.shapes != shapes:
            self.steps = LeapfrogSteps(
                cast(Any, shapes), self.step_size, self.largest_step_size, self.inverse_temperature
            )

    def __call__(self, forward: Forward) -> Terms:
        log_w, end = self.moved(forward)
        loss = -tf.reduce_mean(log_w, axis=0)
        return Terms(loss, end.nll, loss - end.nll)

    def log_weights(self, forward: Forward) -> tf.Tensor:
        """Returns log w, `[samples, batch]`, in nats: the mean of w is p(x)."""
        return self.moved(forward)[0]

    def moved(self, forward: Forward) -> tuple[tf.Tensor, Forward]:
        """Returns log w, `[samples, batch]`, and the pass at the z where the chains end."""
        assert self.steps is not None
        start = {name: term.value for name, term in forward.latent.items()}
        free = {name: _of_unknown(term, start[name]) for name, term in forward.latent.items()}
        noise = {
            name: free[name] * _noise(forward, z, number)
            for number, (name, z) in enumerate(start.items())
        }
        sizes = {name: free[name] * self.steps.sizes(name) for name in start}
        roots = self.steps.inverse_roots(self.num_steps)
        slope = functools.partial(_slope, forward)
        space = self.space(forward)
        z, drawn = start, space.momentum(start, noise)
        momentum, gradient = {name: roots[0] * m for name, m in drawn.items()}, slope(z)
        for k in range(self.num_steps):
            z, momentum, gradient = space.step(z, momentum, gradient, sizes, slope)
            momentum = {name: m * roots[k + 1] / roots[k] for name, m in momentum.items()}
        end = forward.at(z)
        lost = space.energy(start, drawn) - space.energy(z, momentum)
        return end.log_joint - forward.log_q + lost, end

    def space(self, forward: Forward) -> Space:
        """Returns how momenta are drawn, and how these move z."""
        del forward
        return Flat()


def _slope(forward: Forward, z: Values) -> Values:
    """Returns the gradient of -log p(x, z) with respect to z."""
    with tf.GradientTape() as tape:
        tape.watch(z)
        total = -tf.reduce_sum(forward.at(z).log_joint)
    return tape.gradient(total, z, unconnected_gradients="zero")


def _noise(forward: Forward, z: tf.Tensor, number: int) -> tf.Tensor:
    """Returns a unit normal for each entry of z, another one at each step."""
    seed = tf.random.experimental.stateless_fold_in(seed_of_step(forward, 6), number)
    return tf.random.stateless_normal(tf.shape(z), seed, dtype=z.dtype)


def _of_unknown(term: Any, z: tf.Tensor) -> tf.Tensor:
    """Returns 1 where a value may move, 0 where it is known, to go with z."""
    if term.known is None:
        return tf.ones([], z.dtype)
    free = tf.cast(~term.known, z.dtype)
    return tf.reshape(free, tf.concat([[1, -1], tf.ones([z.shape.rank - 2], tf.int32)], axis=0))
