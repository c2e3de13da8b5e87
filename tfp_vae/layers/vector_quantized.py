"""The posterior of a VQ-VAE: vectors of a learned codebook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.replicas import after_pass
from tfp_vae.distributions.code_space import Table
from tfp_vae.distributions.codebook import Codebook
from tfp_vae.distributions.codes import CodePoint
from tfp_vae.layers.base.conversion import ConvertToTensor
from tfp_vae.layers.base.parametric import to_event_shape
from tfp_vae.layers.coded import CodedLayer


@keras.saving.register_keras_serializable(package="tfp_vae")
class VectorQuantized(CodedLayer):
    """`z_i = e_k, k = argmin_j |t_i - e_j|`: at each position i the nearest vector of a codebook.

    A point mass on integer codes: `log_prob` is 0 nats at these vectors, -inf elsewhere; `codes`
    are the integers, `perplexity()` is the effective number of codes in use. The prior is one over
    codes (`default_prior`: uniform), and the KL, exact, is `-log p(codes)`. The loss of a `VAE` is
    a bound on -log p(x), in nats, plus `commitment sum_i |t_i - sg(z_i)|^2`, averaged over the
    batch, which the layer adds to the model's losses (sg: without gradient).

    In training (`training=True`, and the layer trainable) the codebook follows the t of each code
    by moving averages. The codebook moves at the beginning of the next step: one step, prior
    included, sees one codebook. A code that falls out of use starts anew at one of the batch's t,
    see `Codebook`. `decay=None` trains the codebook by gradient: the layer adds
    `sum_i |sg(t_i) - z_i|^2` too.

    Shapes: input `[..., n d]`, all positions' vectors on the last axis, as from `Dense`, or
    `Flatten` of a map `[batch, height, width, d]`; batch `[...]`, event `event_shape` =
    `[*positions, d]`; as a tensor z, whose gradient goes straight through to t.

    Args:
      event_shape: (*positions, d), such as (height, width, d); `(d,)` or `d` for one position.
      num_codes: the number of vectors.
      commitment: the weight of the commitment loss.
      decay: of the moving averages; None: the codebook is trained by gradient.
      restart: the part of the mean use below which a code starts anew; 0: never. None: 0.1, or
        0 where `decay=None`.
      epsilon: smooths the counts of the moving averages.
      validate_args: as for the other layers; there is nothing to check.
      seed: of the first codebook and of the restarts; None takes one from Keras' global seed.
      revive_after: a code that nothing has been nearest to for so many training steps starts anew
        at one of the last batch's t, also where `decay=None`; None: never.
      **kwargs: as for any Keras layer, without a `KLDivergenceRegularizer`: the prior needs the
        codebook, which `VAE(prior=...)` gives it.

    Raises:
      InputError: an argument is out of its range, or a `KLDivergenceRegularizer` is given.

    Source: van den Oord et al., arXiv:1711.00937; moving averages: its appendix A.1.

    Example:
      >>> layer = VectorQuantized((4, 2), num_codes=16, seed=1)
      >>> q = layer(tf.random.normal([3, VectorQuantized.params_size((4, 2))]))
      >>> q.codes.shape.as_list(), q.log_prob(q.value()).numpy().tolist()
      ([3, 4], [0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        event_shape: int | Sequence[int],
        num_codes: int = 512,
        commitment: float = 0.25,
        decay: float | None = 0.99,
        restart: float | None = None,
        epsilon: float = 1e-5,
        convert_to_tensor_fn: ConvertToTensor = "sample",
        validate_args: bool = False,
        seed: int | None = None,
        revive_after: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(event_shape, convert_to_tensor_fn, validate_args, seed, **kwargs)
        self.num_codes, self.commitment = int(num_codes), float(commitment)
        self.decay, self.restart, self.epsilon = decay, restart, epsilon
        self.revive_after = revive_after
        self.codebook = Codebook(
            num_codes,
            self.event_shape[-1],
            decay,
            restart if restart is not None else 0.0 if decay is None else 0.1,
            epsilon,
            seed,
            revive_after,
            dtype=self.dtype_policy,
        )

    def make_distribution(self, inputs: Any, *args: Any, **kwargs: Any) -> tfd.Distribution:
        t = to_event_shape(tf.convert_to_tensor(inputs), self.event_shape)
        moves = kwargs.get("training") and self.trainable
        if moves:
            self.codebook.refresh()
        q = CodePoint(t, self.code_space(), len(self.event_shape), validate_args=self.validate_args)
        if moves and self.codebook.follows:
            rows = tf.stop_gradient(tf.reshape(t, [-1, self.event_shape[-1]]))
            found = rows, tf.reshape(q.codes, [-1]), self.next_seed(of_all=True)
            after_pass(lambda: self.codebook.follow(*found))
        loss = self.commitment * self.distance(t, q.mean())
        if self.decay is None:
            vectors = tf.gather(tf.convert_to_tensor(self.codebook.vectors), q.codes)
            loss += self.distance(tf.stop_gradient(t), vectors)
        self.add_to_losses(loss)
        return q

    def code_space(self) -> Table:
        return Table(self.codebook.vectors)
