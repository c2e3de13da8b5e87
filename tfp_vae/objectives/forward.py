"""What an objective is given: all that a model made of one batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.density import log_density


class Gate:
    """The identity, whose gradient an objective may weigh when it knows all that came of z.

    An objective that wants other gradients for the encoder than for the decoder sets `weights`
    after the decoder ran; they multiply what flows back through z, once, draw by draw.
    """

    def __init__(self) -> None:
        self.weights: tf.Tensor | None = None  # [num_samples, batch]

    def __call__(self, z: tf.Tensor) -> tf.Tensor:
        """z, `[num_samples, batch, ...]`, itself."""

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            if self.weights is None:
                return upstream
            ones = [1] * (upstream.shape.rank - 2)
            shape = tf.concat([tf.shape(upstream)[:2], tf.constant(ones, tf.int32)], axis=0)
            return upstream * tf.cast(tf.reshape(self.weights, shape), upstream.dtype)

        return tf.custom_gradient(lambda value: (tf.identity(value), gradient))(z)


@dataclasses.dataclass(frozen=True)
class ForwardPass:
    """What a model made of one batch: all that an objective is given.

    Attributes:
      posterior: q(z|x), batch `[batch]`.
      prior: p(z), batch `[]`.
      z: draws from q, `[num_samples, batch, ...]`.
      log_likelihood: `log p(x|z)`, `[num_samples, batch]`, in nats.
      step: training steps so far, for schedules and for draws of the objective's own.
      log_posterior: gives `log q(z|x)` at z, `[num_samples, batch]`.
      has_density: False where the posterior is a point mass: there is no log q(z|x), no KL.
      decode: z `[batch, ...]` -> p(x|z), for an objective that wants the decoder elsewhere.
      decoder: the network itself.
      gate: what z went through, if the objective `weighs_gradients`.
    """

    posterior: tfd.Distribution
    prior: tfd.Distribution
    z: tf.Tensor
    log_likelihood: tf.Tensor
    step: Any = 0
    log_posterior: Callable[[], tf.Tensor] = None  # type: ignore[assignment]
    has_density: bool = True
    decode: Callable[[tf.Tensor], tfd.Distribution] | None = None
    decoder: Any = None
    gate: Gate | None = None

    def __post_init__(self) -> None:
        if self.log_posterior is None:
            object.__setattr__(self, "log_posterior", lambda: log_density(self.posterior, self.z))
