"""The bound of a model whose labels are told by the latent variables alone (CCVAE)."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import Terms
from tfp_vae.objectives.batch import draws_of_its_own
from tfp_vae.objectives.draw_axis import mean_of_draws
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.semi_supervised import SemiSupervised
from tfp_vae.objectives.weights import now, of_variable
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class LabelCharacteristics(SemiSupervised):
    """The negative ELBO with q(y|z) for a label, whose known values weigh the draws of z.

    The posterior of z given the label too is `q(z|x, y) = q(y|z) q(z|x) / q(y|x)`, with
    `q(y|x) = E_q(z|x)[q(y|z)]`. So where y is known the bound is
    `E_q(z|x)[w log p(x|z) p(z|y) / (q(y|z) q(z|x))] + log q(y|x) + log p(y)` with
    `w = q(y|z) / q(y|x)`. Where y is not known it is exact in y, as in `SemiSupervised`. In nats;
    the labels y are one-hot vectors, and a row of NaN is a label that is not known.

    q(y|x) is the mean over the draws of the pass and over further ones, as many as there are
    labels, which the decoder does not see. With the former in it the mean of w is 1, and the bound
    a bound, however few the draws are.

    Joy et al., arXiv:2006.10102, equation 4; q(y|x) is of 100 further draws there.

    Args:
      labels: the name of the latent variable that is known for some examples.
      alpha: the weight of `-log q(y|x)` where y is known, beside the bound: a number, a variable or
        a schedule. The bound itself, alpha = 0, is loose about the classifier: where all labels are
        known a q(y|z) that tells nothing is as good as any, and its gradient is noisy.
      beta: of the KL: a number, a variable, a schedule, or a dict of one for each latent
        variable.
      num_samples_each: how many draws there are of the other latent variables for each label.

    Raises:
      InputError: the label is none of the model's latent variables, or does not depend on another.

    Example:
      >>> objective = LabelCharacteristics("y")
      >>> objective.bind({"y": (3,), "z": (2,)})
      >>> objective.num_samples
      3
    """

    @functools.partial(checked, beta="beta_by_variable")
    def __init__(
        self,
        labels: str = "y",
        alpha: Scheduled = 0.0,
        beta: Scheduled | dict[str, Scheduled] = 1.0,
        num_samples_each: int = 1,
    ) -> None:
        super().__init__(labels, alpha, beta, num_samples_each=num_samples_each)

    def __call__(self, forward: Forward) -> Terms:
        terms, (name,) = super().__call__(forward), self._names
        known = forward.latent[name].known
        if known is None:
            return terms
        return terms._replace(loss=tf.where(known, self._loss_of_known(forward), terms.loss))

    def _loss_of_known(self, forward: Forward) -> tf.Tensor:
        latents = {n: term for n, term in forward.latent.items() if n not in self._names}
        alone = {n: term for n, term in latents.items() if not term.q_is_drawn}
        y = forward.latent[self._names[0]]
        if not (alone and y.q_is_drawn):
            raise InputError("Expected a label whose posterior depends on others.", self.labels)
        moved = {n: draws_of_its_own(forward, t, 8 + i) for i, (n, t) in enumerate(alone.items())}
        others = forward.at(moved).latent[self._names[0]].log_q_of_known()
        log_q = y.log_q_of_known()
        every = tf.concat([log_q[:: self.num_samples // self.num_samples_each], others], axis=0)
        log_q_x = tf.reduce_logsumexp(every, axis=0) - tf.math.log(
            tf.cast(tf.shape(every)[0], every.dtype)
        )
        log_p_y = y.log_known()
        inside = forward.log_likelihood - log_p_y - log_q
        for n, term in latents.items():
            beta = now(of_variable(self.beta, n), forward.step, inside.dtype)
            inside += beta * (term.log_p() - term.log_q())
        alpha = now(self.alpha, forward.step, inside.dtype)
        return -(1 + alpha) * log_q_x - mean_of_draws(tf.exp(log_q - log_q_x) * inside + log_p_y)
