"""Objectives whose reconstructions are held to x by a measure that is no likelihood."""

from __future__ import annotations

import abc

import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import Objective, Terms
from tfp_vae.objectives.draw_axis import unfolded
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.weights import is_zero, now, weighted
from tfp_vae.schedules import Scheduled
from tfp_vae.wiring import tile


class Perceptual(Objective):
    """`weight distance(x, E[x|z]) + beta KL`; a subclass says which distance.

    Attributes:
      weight: of the distance: a number, a variable or a schedule over training steps.
      beta: of the KL, likewise.
    """

    @checked
    def __init__(self, weight: Scheduled, beta: Scheduled) -> None:
        self.weight = weight
        self.beta = beta

    @property
    def needs_density(self) -> bool:
        """Not where the KL has no weight."""
        return not is_zero(self.beta)

    @property
    def no_likelihood(self) -> str:
        return f"{type(self).__name__} holds reconstructions to x by a measure that is no density"

    @abc.abstractmethod
    def distance(self, x: tf.Tensor, again: tf.Tensor) -> tf.Tensor:
        """Returns `[n]` for x and its reconstructions, `[n, ...]` each."""

    def __call__(self, forward: Forward) -> Terms:
        nll, kl = forward.nll, forward.kl
        x, again = observed_and_mean(forward)
        samples = tf.shape(again)[0] // tf.shape(x)[0]
        distance = self.distance(tf.cast(tile(x, samples), again.dtype), again)
        distance = tf.reduce_mean(unfolded(distance, samples), axis=0)
        loss = now(self.weight, forward.step, distance.dtype) * distance
        loss = tf.cast(loss, nll.dtype) + weighted(kl, self.beta, forward.step)
        return Terms(loss, nll, kl)


def observed_and_mean(forward: Forward) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the values of the one observed variable, `[batch, ...]`, and its mean given z.

    The mean is there for each draw of z, `[samples * batch, ...]`.

    Raises:
      InputError: there are several observed variables.
    """
    if len(forward.observed) != 1:
        raise InputError("Expected one observed variable.", ", ".join(forward.observed))
    (term,) = forward.observed.values()
    return tf.convert_to_tensor(term.value), term.p.mean()
