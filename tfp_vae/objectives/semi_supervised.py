"""The bound of a model whose labels are known for some examples, and its classifier's loss."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError
from tfp_vae.objectives.base import Objective, Terms
from tfp_vae.objectives.draw_axis import mean_of_draws
from tfp_vae.objectives.forward import Forward
from tfp_vae.objectives.weights import is_one, is_zero, now, of_variable, weighted
from tfp_vae.schedules import Scheduled


@keras.saving.register_keras_serializable(package="tfp_vae")
class SemiSupervised(Objective):
    """The negative ELBO with each label tried in turn, and `-alpha log q(y|x)` where y is known.

    Where y is not known the bound is exact in y, `sum_y q(y|x) (L(x, y) + log q(y|x))` with
    `L(x, y) = -E_q[log p(x|y, z)] - log p(y) + beta KL[q(z|x, y) || p(z)]`; one z is drawn for each
    y. Where y is known the loss is `L(x, y) - alpha log q(y|x)`. In nats; the labels y are one-hot
    vectors, and a row of NaN is a label that is not known.

    Kingma et al., arXiv:1406.5298, whose alpha is a tenth of the number of all examples for each
    labelled one. There the two losses are sums over all examples, so that alpha here, for losses
    that are means, is `0.1 * examples / labelled examples`.

    Args:
      labels: the name of the latent variable that is known for some examples; or several names.
      alpha: the weight of the classifier's loss: a number, a variable or a schedule.
      beta: of the KL, likewise, or a dict of one for each latent variable.
      enumerated: False draws the labels: for a posterior with more values than can be tried, which
        has a gradient through its draws, such as `layers.RelaxedOneHotCategorical`.
      num_samples_each: how many draws there are of the other latent variables for each label.
      trust: how much of the gradient of the bound q(y|x) follows, likewise: at 0 the classifier
        learns from known labels alone, and the rest of the model from what the classifier says. A
        bound that is followed from the start makes a classifier sure of wrong classes.

    Raises:
      InputError: a label is none of the model's latent variables, or is no one-hot vector; or a
        trust is given for labels that are drawn.

    Example:
      >>> objective = SemiSupervised("y", alpha=10.0)
      >>> objective.bind({"y": (3,), "z": (2,)})
      >>> objective.num_samples
      3
    """

    takes_several = True

    @functools.partial(checked, beta="beta_by_variable")
    def __init__(
        self,
        labels: str | Sequence[str] = "y",
        alpha: Scheduled = 1.0,
        beta: Scheduled | dict[str, Scheduled] = 1.0,
        enumerated: bool = True,
        num_samples_each: int = 1,
        trust: Scheduled = 1.0,
    ) -> None:
        if not enumerated and not is_one(trust):
            raise InputError("Expected enumerated labels with a trust.", "enumerated=False")
        self.labels = labels if isinstance(labels, str) else list(labels)
        self.alpha, self.beta, self.trust = alpha, beta, trust
        self.enumerated, self.num_samples_each = bool(enumerated), int(num_samples_each)
        self.num_samples = self.num_samples_each

    @property
    def _names(self) -> list[str]:
        return [self.labels] if isinstance(self.labels, str) else list(self.labels)

    @property
    def enumerates(self) -> Sequence[str]:  # type: ignore[override]
        """The labels, unless these are drawn."""
        return self._names if self.enumerated else ()

    def bind(self, latents: Mapping[str, Sequence[int | None]]) -> None:
        unknown = set(self._names) - set(latents)
        vectors = {n: s for n, s in latents.items() if n in self._names and len(s) == 1}
        if unknown or len(vectors) != len(self._names):
            raise InputError(
                f"Expected labels to name one-hot vectors among {', '.join(latents)}.", self.labels
            )
        if isinstance(self.beta, dict) and set(self.beta) != set(latents):
            raise InputError(
                f"Expected beta for each latent variable: {', '.join(latents)}.",
                ", ".join(map(str, self.beta)),
            )
        counts = math.prod(int(shape[0] or 1) for shape in vectors.values())
        self.num_samples = self.num_samples_each * (counts if self.enumerated else 1)

    def __call__(self, forward: Forward) -> Terms:
        nll = forward.nll
        followed = self._followed(forward)
        shares = None if forward.shares is None else followed(forward.shares)
        loss = mean_of_draws(-forward.log_likelihood, shares)
        for name in forward.kls:
            kl = forward.latent[name].kl_of_draws()
            kl = followed(kl) if name in self._names else kl
            kl = mean_of_draws(kl, shares) if kl.shape.rank == 2 else kl
            loss += weighted(kl, of_variable(self.beta, name), forward.step)
        if not is_zero(self.alpha):
            alpha = now(self.alpha, forward.step, nll.dtype)
            for name in self._names:
                log_q = forward.latent[name].log_q_of_known()
                loss -= alpha * mean_of_draws(log_q, forward.shares)
        return Terms(loss, nll, forward.kl)

    def _followed(self, forward: Forward) -> Callable[[tf.Tensor], tf.Tensor]:
        """Returns what passes a value on, and of its gradient as much as the trust says."""
        if is_one(self.trust):
            return lambda value: value
        trust = now(self.trust, forward.step, forward.nll.dtype)
        return lambda value: trust * value + (1 - trust) * tf.stop_gradient(value)
