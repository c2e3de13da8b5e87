"""The default divergence that Bayesian layers add to the losses."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.distributions.divergence import closed_form
from tfp_vae.errors import InputError


@keras.saving.register_keras_serializable(package="tfp_vae")
def exact_kl(q: tfd.Distribution, p: tfd.Distribution, sample: Any) -> tf.Tensor:
    """Returns KL[q || p] in nats, in closed form; the draw is not used.

    Raises:
      InputError: there is no closed form for the pair.

    Example:
      >>> float(exact_kl(tfd.Normal(1., 1.), tfd.Normal(0., 1.), None))
      0.5
    """
    try:
        return closed_form(q, p)
    except NotImplementedError as error:
        raise InputError(
            "KL[q || p] has no closed form for this posterior and prior: expected a divergence "
            "function of your own, such as lambda q, p, w: q.log_prob(w) - p.log_prob(w).",
            f"q = {q}, p = {p}",
        ) from error
