"""A model's numbers beside a baseline, as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorflow_probability import distributions as tfd

from tfp_vae.errors import InputError
from tfp_vae.evaluation import baselines, estimates, measures
from tfp_vae.model import main_variable
from tfp_vae.model.checks import networks

_USED = "codes_used"


def report(
    vae: Any, x: Any, train: np.ndarray | None = None, **kwargs: Any
) -> tuple[str, dict[str, Any]]:
    """Returns the table, and its numbers by name; all are of the same rows of x.

    Args:
      vae: the model.
      x: the examples, as the model takes them, conditions and all.
      train: the training data without conditions, for the baseline: as the model takes them, for
        a Bernoulli also uint8, pixels times 255; None: no baseline.
      **kwargs: `num_samples`, `examples`, `batch_size` and `seed`, as `estimates.evaluate`.

    Returns:
      The table, and the numbers of `estimates.evaluate` with `of_rows`, the number of rows of x;
      `measure`, the kind of log p(x|z) ("log p(x)", "log density", "cross-entropy", "score");
      `baseline`, a mean negative log-likelihood, `baseline_error` and `baseline_name`, if there is
      one; `loss_of_batches`, an objective whose loss depends on the batch size; and
      `no_likelihood`, why there is no log p(x), if the objective is no likelihood.

    Raises:
      InputError: as `estimates.evaluate`; or `train` is of another shape or range than x.

    Example:
      >>> from tfp_vae import VAE, data, layers, networks
      >>> digits = data.load("digits")
      >>> vae = VAE(networks.encoder((8, 8, 1), 2),
      ...           networks.decoder(2, layers.IndependentBernoulli((8, 8, 1))))
      >>> text, found = report(vae, data.binarized(digits.test), digits.train, num_samples=5)
      >>> found["measure"], found["baseline_name"], round(found["baseline"])
      ('log p(x)', 'independent Bernoullis', 27)
    """
    results: dict[str, Any] = estimates.evaluate(vae, x, **kwargs)
    of_rows = len(vae.wiring.split(x)[0])
    examples, seed = kwargs.get("examples", estimates.EXAMPLES), kwargs.get("seed", 0)
    data = estimates.taken(x, estimates.chosen(of_rows, examples, seed))
    target, conditions = vae.wiring.split(data)
    likelihood = estimates.some_likelihood(vae, data)
    kind = measures.measure(likelihood, target)
    results |= {"of_rows": of_rows, "measure": kind.name}
    if vae.objective.no_likelihood:
        results["no_likelihood"] = vae.objective.no_likelihood
    if vae.objective.sees_whole_batch:
        results["loss_of_batches"] = type(vae.objective).__name__
    if train is not None and len(vae.graph.likelihoods) == 1:  # else the mask's nats are in it too
        _check(train, target, likelihood)
        layer = networks.final_operation(main_variable.likelihood(vae), "decoder")
        found = baselines.baseline(likelihood, train, layer)
        values = {} if found is None else {"baseline": found.nll(target)}
        if found is not None and np.isfinite(values["baseline"]).all():
            results |= {**estimates.means(values), "baseline_name": found.name}
    of = [name for name in conditions if name in main_variable.conditions(vae)]
    return table(results, of), results


def _check(train: np.ndarray, x: Any, likelihood: Any) -> None:
    if np.shape(train)[1:] != np.shape(x)[1:]:
        raise InputError(f"Expected train of shape (n, *{np.shape(x)[1:]}), as x.", np.shape(train))
    if isinstance(measures.scalar(likelihood), tfd.Bernoulli) and train.dtype == np.uint8:
        return
    if np.max(x) <= 1 and train.dtype.kind in "iu" and np.max(train) > 100:
        raise InputError(
            "Expected train as the model takes x, which is in 0..1: data.binarized(train, ...).",
            f"{train.dtype} up to {np.max(train)}",
        )


def table(results: dict[str, Any], conditions: Sequence[str] = ()) -> str:
    """Returns the results of `report` as a short table for people.

    Args:
      results: the numbers of `report`, or of `estimates.evaluate` alone.
      conditions: names of what the model is conditioned on.

    Example:
      >>> print(table({"nll": 2.0, "nll_error": 0.25, "rows": 50, "of_rows": 100}))
      on 50 of 100 test rows, drawn at random, in nats (less is better), +- standard error
        nll  -log p(x|z)       2.00 +- 0.25
        (z is a code without noise: what it takes is not counted, and this is no bound on log p(x))
    """
    names, notes = _names(results, conditions)
    count, of_rows = results["rows"], results.get("of_rows", results["rows"])
    where = f"all {count:,} test rows"
    if count < of_rows:
        where = f"{count:,} of {of_rows:,} test rows, drawn at random"
    error = ", +- standard error" if any(f"{key}_error" in results for key in names) else ""
    width = max(map(len, names.values())) + 1
    lines = [_line(results, key, name, width) for key, name in names.items()]
    lines += [_codes(results, key[len(_USED) :]) for key in results if key.startswith(_USED)]
    notes = [f"  ({note})" for note in notes]
    return "\n".join([f"on {where}, in nats (less is better){error}", *lines, *notes])


def _line(results: dict[str, Any], key: str, name: str, width: int) -> str:
    digits = 3 if key == "bits_per_dim" else 2
    sign = -1 if key == "log_likelihood" else 1
    line = f"  {name:<{width}}{sign * results[key]:10.{digits}f}"
    error = results.get(f"{key}_error")
    return line if error is None else f"{line} +- {error:.{digits}f}"


def _codes(results: dict[str, Any], after: str) -> str:
    """Returns the line of the codes in use, of the latent variable that the names end in."""
    used, count = results[_USED + after], results[f"num_codes{after}"]
    of = f" of {after[1:]}" if after else ""
    perplexity = results[f"perplexity{after}"]
    return f"  codes{of} in use: {used:,.4g} of {count:,}, perplexity {perplexity:,.1f}"


def _is_of_one(name: str) -> bool:
    """Returns whether a number is the KL of one of several latent variables."""
    return name.startswith("kl_") and not name.endswith("_error")


def _names(results: dict[str, Any], conditions: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Returns the table's names of the numbers that are there, and the notes below them."""
    kinds = (measures.DENSITY, measures.CROSS_ENTROPY, measures.SCORE)
    name = results.get("measure")
    kind = next((each for each in kinds if name == each.name or each.key in results), None)
    kind = kind or measures.PROBABILITY
    given = ", ".join(conditions)
    log_p = "-log density" if kind is measures.DENSITY else f"-log p(x{given and '|'}{given})"
    if kind is measures.DENSITY and given:
        log_p += f" given {given}"
    main = "  nll  -E_q[log p(x|z)]" if "kl" in results else "nll  -log p(x|z)"
    names = {
        "negative_elbo": "negative ELBO",
        f"{kind.key}_plus_kl": f"{kind.name} + kl",
        "nll": main,
        kind.key: f"{'  ' * ('kl' in results)}{kind.name}, not a log-likelihood",
        "kl": "  kl   KL[q(z|x) || p(z)]",
        **{name: f"    {name}" for name in results if _is_of_one(name)},
        "log_likelihood": f"importance-weighted {log_p}",
        "bits_per_dim": "  in bits per dimension",
        "baseline": f"baseline: {results.get('baseline_name')}",
    }
    notes = [kind.note] if kind.note else []
    if "no_likelihood" in results:
        notes.append(f"there is no log p(x): {results['no_likelihood']}")
    elif "kl" not in results:
        notes.append(
            "z is a code without noise: what it takes is not counted, and this is no bound on "
            "log p(x)"
        )
    if "loss_of_batches" in results:
        notes.append(
            f"the loss of {results['loss_of_batches']}, which is none of these numbers, depends on "
            "how many rows are in a batch"
        )
    return {key: name for key, name in names.items() if key in results}, notes
