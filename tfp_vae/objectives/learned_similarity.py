"""Reconstructions held to x by what a critic sees in both: three players."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import Terms
from tfp_vae.objectives.batch import seed_of_step
from tfp_vae.objectives.critic import WithCritic
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.perceptual import observed_and_mean
from tfp_vae.objectives.weights import is_zero, now, weighted
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class LearnedSimilarity(WithCritic):
    """VAE-GAN: encoder `S + beta KL`, decoder `gamma S + G`, critic `C`, each of its own weights.

    `S = 1/2 |f(x) - f(x')|^2`, f a hidden layer of the critic D and x' = E[x|z] the reconstruction;
    with x'' = E[x|z'] of a draw z' from the prior, `G = softplus(-D(x')) + softplus(-D(x''))` and
    `C = softplus(-D(x)) + softplus(D(x')) + softplus(D(x''))`. The decoder so makes what the critic
    takes for data, and balances that by gamma with the similarity; the encoder is not told of G.
    `similarity` (S, in place of the nll) and `critic` (C) are metrics. There is no log p(x).

    Args:
      critic: a network from x to one number, D(x); None: two convolutions, or two dense layers of
        data that are no images, and a dense layer.
      gamma: the weight of S in the decoder's loss: a number, a variable or a schedule.
      beta: of the KL, likewise.
      layer: the name of the critic's layer whose output is f; None: the last but one.

    Raises:
      InputError: the critic does not take x, does not give one number or has no such layer.

    Source: Larsen et al., arXiv:1512.09300. The decoder's loss has softplus(-D) for the paper's
    `-softplus(D)`, whose slope ends where the critic is sure.

    Example:
      >>> objective = LearnedSimilarity()
      >>> objective.bind_data({"x": (8, 8, 1)})
      >>> objective.critic.output_shape
      (None, 1)
    """

    metric_names = ("similarity", "critic")

    @checked
    def __init__(
        self,
        critic: keras.Model | None = None,
        gamma: Scheduled = 1.0,
        beta: Scheduled = 1.0,
        layer: str | None = None,
    ) -> None:
        self.critic = critic
        self.gamma = gamma
        self.beta = beta
        self.layer = layer
        self._sees: Any = None

    @property
    def needs_density(self) -> bool:
        """Not where the KL has no weight."""
        return not is_zero(self.beta)

    @property
    def no_likelihood(self) -> str:
        return "x is held to its reconstruction by a critic, whose measure is no density"

    def bind_data(self, observed: Mapping[str, Sequence[int | None]]) -> None:
        shape = tuple(next(iter(observed.values())))
        if self.critic is None:
            self.critic = _critic(shape)
        critic = self.critic
        if critic.input_shape != (None, *shape) or critic.output_shape != (None, 1):
            raise InputError(
                f"Expected a critic from x of shape {shape} to one number.",
                f"from {critic.input_shape} to {critic.output_shape}",
            )
        names = [layer.name for layer in critic.layers]
        name = names[-2] if self.layer is None else self.layer
        if name not in names:
            raise InputError(f"Expected a layer of the critic: {', '.join(names)}.", name)
        self._sees = keras.Model(critic.inputs, [critic.get_layer(name).output, critic.outputs[0]])

    def __call__(self, forward: Forward) -> Terms:
        assert forward.decode is not None
        nll, kl, step = forward.nll, forward.kl, forward.step
        x, again = observed_and_mean(forward)
        x = tf.cast(x, again.dtype)
        z = forward.z[0]
        drawn = forward.only.draws_from_p(seed_of_step(forward, 7))[0]
        # Of these the decoder alone is told.
        of_decoder = forward.decode(tf.stop_gradient(z)).mean()
        generated = forward.decode(tf.stop_gradient(drawn)).mean()

        of_players, own = self.judges(forward, self._sees)
        seen = tf.stop_gradient(of_players(x)[0])

        def unlike(features: tf.Tensor) -> tf.Tensor:
            difference = keras.layers.Flatten()(seen - features)
            return tf.reduce_sum(tf.square(difference), axis=-1) / 2

        softplus = tf.math.softplus
        similarity = unlike(of_players(again)[0])
        features, logit = of_players(of_decoder)
        deceives = softplus(-logit) + softplus(-of_players(generated)[1])
        # S of the pass reaches encoder and decoder once each; the decoder is to have gamma of it.
        gamma = now(self.gamma, step, similarity.dtype)
        loss = similarity + (gamma - 1) * unlike(features) + deceives[:, 0]
        its = softplus(-own(x)[1]) + softplus(own(of_decoder)[1]) + softplus(own(generated)[1])
        its = its[:, 0]
        loss = tf.cast(loss + its, nll.dtype) + weighted(kl, self.beta, step)
        return Terms(loss, nll, kl, {"similarity": similarity, "critic": its})


def _critic(shape: Sequence[int | None]) -> keras.Model:
    """Returns the usual critic of x."""
    chain: list[keras.layers.Layer] = []
    for width in (32, 64):
        if len(shape) == 3:
            layer = keras.layers.Conv2D(width, 3, 2, padding="same", activation="silu")
        else:
            layer = keras.layers.Dense(width, activation="silu")
        chain.append(layer)
    chain += [keras.layers.Flatten(), keras.layers.Dense(64, activation="silu")]
    start = keras.Input(tuple(shape))
    return keras.Sequential([start, *chain, keras.layers.Dense(1)], name="critic")
