"""How good a model is, in nats, on data that it has not seen."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.errors import InputError
from tfp_vae.evaluation import measures
from tfp_vae.evaluation.codes import use_of_codes
from tfp_vae.model import main_variable
from tfp_vae.model.base import ProbabilisticModel
from tfp_vae.wiring import rows

EXAMPLES = 1000  # how many rows an evaluation is of, unless it is told
_STREAM = 101  # of the draws of rows, apart from what else is drawn with the same seed


def evaluate(
    vae: Any,
    x: np.ndarray,
    num_samples: int = 500,
    examples: int | None = EXAMPLES,
    batch_size: int = 256,
    seed: int = 0,
) -> dict[str, float]:
    """Returns the ELBO, its parts and the importance-weighted log-likelihood of the same rows.

    On these rows `negative_elbo >= -log_likelihood`, within the standard errors.

    Args:
      vae: the model.
      x: the examples, as the model takes them.
      num_samples: draws of z for each example, for the log-likelihood.
      examples: the number of rows that are evaluated, drawn at random; None: all.
      batch_size: examples at a time.
      seed: of the draw of rows.

    Returns:
      Means over the rows in nats, whatever the model's objective: `negative_elbo` = `nll` + `kl`
      (one z for each example), `log_likelihood`, and of bytes `bits_per_dim` = `-log_likelihood /
      (D log 2)`; of several latent variables `kl_<name>` of each; the standard errors, `nll_error`
      and so on, if there are several rows; and `rows`, their number. A model without a density has
      `nll` alone, and `kl` if it is its objective that is no likelihood. A log p(x|z) that is no
      likelihood, such as a Bernoulli's at grey pixels, gives `cross_entropy`, `kl` and their sum
      `cross_entropy_plus_kl`. Of codes `codes_used`, `num_codes` and `perplexity`, see
      `tfp_vae.evaluation.codes`.

    Raises:
      InputError: a number is below 1, `seed` below 0, x is not what the model takes, or there are
        observed variables beside x and the mask of what of x is known.

    Source: Burda et al., arXiv:1509.00519, for the log-likelihood.

    Example:
      >>> from tfp_vae import VAE, data, layers, networks
      >>> x = data.binarized(data.load("digits").test)
      >>> vae = VAE(networks.encoder((8, 8, 1), 2),
      ...           networks.decoder(2, layers.IndependentBernoulli((8, 8, 1))))
      >>> found = evaluate(vae, x, num_samples=5, examples=100)
      >>> [key for key in found if not key.endswith("_error")]
      ['negative_elbo', 'nll', 'kl', 'log_likelihood', 'rows']
      >>> found["rows"], found["negative_elbo"] > -found["log_likelihood"]
      (100, True)
    """
    if not isinstance(vae, ProbabilisticModel):
        raise InputError("Expected a VAE, or a LatentModel.", type(vae).__name__)
    main = vae.wiring.main
    if not set(vae.graph.likelihoods) <= {main, f"{main}_known"}:
        raise InputError(
            "Expected one observed variable; of several, model.evaluate(x) and "
            "model.log_likelihood(x).",
            ", ".join(vae.graph.likelihoods),
        )
    if num_samples < 1 or batch_size < 1:
        raise InputError(
            "Expected num_samples >= 1 and batch_size >= 1.",
            f"num_samples={num_samples}, batch_size={batch_size}",
        )
    data = taken(x, chosen(len(vae.wiring.split(x)[0]), examples, seed))
    vae.check(data)
    values = _values(vae, data, num_samples, batch_size)
    count = len(vae.wiring.split(data)[0])
    batches = (rows(data, i, batch_size) for i in range(0, count, batch_size))
    return {**means(values), **use_of_codes(vae, batches), "rows": count}


def _values(vae: Any, data: Any, num_samples: int, batch_size: int) -> dict[str, np.ndarray]:
    """Returns the numbers of each row, by name."""
    target, _ = vae.wiring.split(data)
    likelihood = some_likelihood(vae, data)
    kind = measures.measure(likelihood, target)
    terms = tf.function(lambda batch: _terms(vae, batch), autograph=False)
    batches = [rows(data, i, batch_size) for i in range(0, len(target), batch_size)]
    parts = [terms(keras.tree.map_structure(tf.convert_to_tensor, batch)) for batch in batches]
    each = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    kls = {name: value.astype(np.float64) for name, value in each.items()}
    nll = kls.pop("nll")
    if not kls or vae.objective.no_likelihood:
        return {kind.key or "nll": nll, **kls}
    total = nll + kls["kl"]
    if not kind.is_likelihood:
        return {f"{kind.key}_plus_kl": total, kind.key: nll, **kls}
    log_p = vae.log_likelihood(data, num_samples, batch_size).numpy().astype(np.float64)
    values = {"negative_elbo": total, "nll": nll, **kls, "log_likelihood": log_p}
    if measures.is_of_bytes(likelihood):
        dimensions = int(np.prod(target.shape[1:]))
        values["bits_per_dim"] = measures.bits_per_dimension(log_p, dimensions)
    return values


def chosen(count: int, examples: int | None, seed: int = 0) -> np.ndarray | slice:
    """Returns which of `count` rows are looked at: all, or some drawn at random, in order.

    Raises:
      InputError: `examples` is below 1, or `seed` below 0.
    """
    if examples is not None and examples < 1:
        raise InputError("Expected examples >= 1, or None for all rows.", examples)
    if seed < 0:
        raise InputError("Expected seed >= 0.", seed)
    if examples is None or examples >= count:
        return slice(None)
    rng = np.random.default_rng([_STREAM, seed])
    return np.sort(rng.choice(count, examples, replace=False))


def taken(x: Any, index: np.ndarray | slice) -> Any:
    """Returns rows of data in any structure."""
    return keras.tree.map_structure(lambda value: np.asarray(value)[index], x)


def means(values: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns the mean of each value, and as `..._error` the standard error of this mean.

    One row, and rows of probability 0, have no error.
    """
    found = {}
    for key, each in values.items():
        found[key] = float(each.mean())
        if len(each) > 1 and np.isfinite(each).all():
            found[f"{key}_error"] = float(each.std(ddof=1) / np.sqrt(len(each)))
    return found


def some_likelihood(vae: Any, data: Any) -> Any:
    """Returns p(x|z) at eight z of the prior, always the same, to tell the likelihood's family.

    The model's own draws go on as if this had not been.
    """
    x, conditions = vae.wiring.split(data)
    given = taken(conditions, np.arange(8) % len(x))
    length = np.shape(x)[1] if np.ndim(x) > 1 else None
    return main_variable.at_prior_draws(vae, 8, tf.constant([_STREAM, 0]), given, length)


def _terms(vae: Any, data: Any) -> dict[str, tf.Tensor]:
    """Returns the nll and the KL, and the KL of each of several latent variables."""
    forward = vae.forward(data)
    forward.fits()
    found = {"nll": forward.nll}
    if forward.kl is not None:
        found["kl"] = forward.kl
    if len(forward.latent) > 1:
        found |= {f"kl_{name}": kl for name, kl in forward.kls.items()}
    return found
