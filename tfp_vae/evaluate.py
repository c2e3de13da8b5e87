"""How good a model is, in nats on data it has not seen."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae import importance
from tfp_vae.objectives import ForwardPass
from tfp_vae.objectives.base import nll_and_kl
from tfp_vae.origins import moved
from tfp_vae.vae import VAE
from tfp_vae.wiring import rows


def evaluate(
    vae: VAE,
    x: np.ndarray,
    num_samples: int = 500,
    examples: int = 1000,
    batch_size: int = 256,
) -> dict[str, float]:
    """The ELBO and its parts on all of x, and the importance-weighted log-likelihood on some.

    Args:
      vae: the model.
      x: the examples, as the model takes them.
      num_samples: draws of z for each example, for the log-likelihood.
      examples: how many of x, from the front, the log-likelihood is estimated on.
      batch_size: how many examples are worked on at a time.

    Returns:
      Means over the examples in nats: `negative_elbo` = `nll` + `kl` (one z for each example),
      whatever the objective that the model was trained with; `log_likelihood`, and
      `log_likelihood_error`, the standard error of that mean over the examples. Of a model without
      a density, `nll` alone.

    Example:
      >>> import keras
      >>> from tfp_vae import data, layers, networks
      >>> x = data.binarized(data.load("digits").test)
      >>> vae = VAE(networks.encoder((8, 8, 1), 2),
      ...           networks.decoder(2, layers.IndependentBernoulli((8, 8, 1))))
      >>> sorted(evaluate(vae, x, num_samples=5))
      ['kl', 'log_likelihood', 'log_likelihood_error', 'negative_elbo', 'nll']
    """
    terms = tf.function(lambda batch: _terms(vae, batch), autograph=False)
    count = len(vae.wiring.split(x)[0])
    batches = [rows(x, i, batch_size) for i in range(0, count, batch_size)]
    parts = [terms(keras.tree.map_structure(tf.convert_to_tensor, batch)) for batch in batches]
    means = [float(np.mean(np.concatenate(values))) for values in zip(*parts, strict=True)]
    if not vae.has_density:
        return {"nll": means[0]}
    nll, kl = means
    values = vae.log_likelihood(rows(x, 0, examples), num_samples, batch_size).numpy()
    return {
        "negative_elbo": nll + kl,
        "nll": nll,
        "kl": kl,
        "log_likelihood": float(values.mean()),
        "log_likelihood_error": float(values.std() / np.sqrt(len(values))),
    }


def independent_pixels(train: np.ndarray, x: np.ndarray) -> float:
    """The mean negative log-likelihood in nats of x under one Bernoulli for each pixel.

    Each pixel's probability is its mean over `train` (uint8), with one white and one black image
    added. What a model is worth is what it gains over this.

    Example:
      >>> round(independent_pixels(np.zeros([2, 1, 1, 1], np.uint8), np.zeros([1, 1, 1, 1])), 4)
      0.2877
    """
    p = (train.sum(axis=0, dtype=np.float64) / 255 + 1) / (len(train) + 2)
    axes = tuple(range(1, x.ndim))
    return float(-(x * np.log(p) + (1 - x) * np.log1p(-p)).sum(axis=axes).mean())


def table(results: dict[str, float], baseline: float | None = None) -> str:
    """The results as a short table for people."""
    rows: list[tuple[str, Any]] = [("  nll  -E_q[log p(x|z)]", results["nll"])]
    if "kl" in results:
        rows.insert(0, ("negative ELBO", results["negative_elbo"]))
        rows.append(("  kl   KL[q(z|x) || p(z)]", results["kl"]))
        rows.append(("importance-weighted -log p(x)", -results["log_likelihood"]))
    if baseline is not None:
        rows.append(("baseline: independent pixels", baseline))
    lines = [f"  {name:<31}{value:9.2f}" for name, value in rows]
    return "\n".join(["on the test set, in nats (less is better)", *lines])


def _terms(vae: VAE, data: Any) -> tuple[tf.Tensor, ...]:
    x, conditions = vae.wiring.split(data)
    posterior = vae.encode(data)
    z = tf.convert_to_tensor(posterior)
    forward = ForwardPass(
        posterior=posterior,
        prior=vae.prior.distribution(),
        z=moved(lambda t: t[tf.newaxis], z),
        log_likelihood=importance.log_likelihood(vae.decode(z, conditions), x, 1),
        log_posterior=lambda: posterior.log_prob(z)[tf.newaxis],
        has_density=vae.has_density,
    )
    nll, kl = nll_and_kl(forward)
    return (nll,) if kl is None else (nll, kl)
