"""The end of a run: the prior that is fitted afterwards, the table, the results and the figures."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from tensorflow_probability import distributions as tfd

from tfp_vae import data, recipes
from tfp_vae.app import history
from tfp_vae.app.figures import figures
from tfp_vae.app.inputs import inputs, some
from tfp_vae.app.training import Training
from tfp_vae.bridge.writing import replacing
from tfp_vae.callbacks import ProgressBar, say
from tfp_vae.evaluation import estimates, measures, summary
from tfp_vae.evaluation.columns import MOST_VALUES
from tfp_vae.evaluation.estimates import EXAMPLES
from tfp_vae.model import main_variable
from tfp_vae.model.conditional import is_network
from tfp_vae.recipes.base import priors_after
from tfp_vae.steps.interrupt import BetweenSteps

FOR_PRIOR = 20_000  # examples that a prior is fitted to afterwards, at most


def finish(training: Training) -> str:
    """Evaluates, draws the figures and returns the table; the run's folder holds both too.

    A recipe whose prior comes after the rest gets its prior here, and the run a second model.
    """
    vae, run = training.vae, training.run
    if training.recipe.prior_after is not None:
        vae = with_fitted_prior(training)
        run.save(vae, run.fitted)
    say("evaluating, and drawing the figures")
    _warn_of_overfitting(history.column(run.history, "val_loss"))
    text, results = assess(vae, training.images, training.x_test, training.binarize)
    for name, figure in figures(vae, training.images, training.x_test, training.seed).items():
        with replacing(run.figures / f"{name}.png") as new:
            figure.savefig(new, dpi=120)
    # The last of all: the results say that the run is complete.
    run.write_results({"steps": training.step, **results})
    return text


def assess(
    vae: Any, images: data.Examples, x_test: np.ndarray, binarize: data.Binarize, **kwargs: Any
) -> tuple[str, dict[str, Any]]:
    """Returns the table for people, and its numbers: see `summary.report`."""
    few = inputs(vae, x_test[:2], some(images.test_labels, slice(2)))
    each = measures.scalar(estimates.some_likelihood(vae, few))
    train = images.train
    if not (isinstance(each, tfd.Bernoulli) and train.dtype == np.uint8):
        # A Bernoulli takes means, which bytes have without noise; others take what was trained on.
        most = max(2, MOST_VALUES // math.prod(train.shape[1:]))
        train = data.binarized(train[estimates.chosen(len(train), most)], binarize)
    given = inputs(vae, x_test, images.test_labels)
    padded = images.shape[0] is None  # a baseline would count the padding
    text, results = summary.report(vae, given, None if padded else train, **kwargs)
    if images.num_tokens is not None:
        text, results = with_tokens(text, results, images, kwargs.get("examples", EXAMPLES))
    if images.test_labels is None or not main_variable.labels_that_are_values(vae):
        return text, results
    (name,) = main_variable.labels_that_are_values(vae)
    right = float(np.mean(main_variable.codes(vae, x_test)[name].argmax(1) == images.test_labels))
    text += f"\nlabels found, of {len(x_test):,} test examples: {100 * right:.2f} %"
    return text, {**results, "accuracy": right}


def with_tokens(
    text: str, results: dict[str, Any], images: data.Examples, examples: int | None
) -> tuple[str, dict[str, Any]]:
    """Adds the nats and the perplexity of a token to a report of sequences of tokens.

    Perplexity is `exp(-sum log p(x) / number of tokens)`; the baseline knows how often each token
    comes in training, and counts each once more.
    """
    rows = images.test[estimates.chosen(len(images.test), examples)]
    tokens = rows[rows != 0]
    counts = np.bincount(images.train[images.train != 0], minlength=images.num_tokens or 0) + 1.0
    nats = -results["log_likelihood"] * len(rows) / len(tokens)
    alone = -np.log(counts / counts[1:].sum())[tokens].mean()
    text += (
        f"\n  per token, of {len(tokens):,}: {nats:.3f} nats, perplexity {np.exp(nats):,.1f}"
        f" (by frequency alone: {alone:.3f}, {np.exp(alone):,.1f})"
    )
    return text, {
        **results,
        "nats_per_token": nats,
        "token_perplexity": float(np.exp(nats)),
        "nats_per_token_by_frequency": float(alone),
    }


def with_fitted_prior(training: Training) -> Any:
    """Returns the trained model with the priors of its recipe, fitted to some of the rows."""
    rows = estimates.chosen(len(training.train), FOR_PRIOR, training.seed)
    x, how = training.train, (training.binarize, training.seed)
    if training.binarize == "fixed":  # the same pixels that the rest was trained on
        x = data.training_images(x, *how)[rows]
    else:
        x = data.training_images(x[rows], *how)
    vae = training.vae
    size = next(iter(vae.graph.posteriors.values())).shape
    setting = recipes.Setting(tuple(size), len(x), latent_size=size[-1])
    keras.utils.set_random_seed(training.seed)  # the same prior for a run that went on
    epochs = max(5, min(50, 1500 * 128 // len(x)))
    given = inputs(vae, x, some(training.train_labels, rows))
    for name, prior in priors_after(training.recipe, vae, setting).items():
        kind = prior.layers[-1] if is_network(prior) else prior
        say(f"fitting the prior, {type(kind).__name__}, to {name} of {len(x)} rows")
        with BetweenSteps() as between_steps:
            vae = vae.fit_prior(
                given,
                prior,
                latent=name,
                epochs=epochs,
                seed=training.seed,
                callbacks=[ProgressBar(epochs * math.ceil(len(x) / 128)), between_steps],
                verbose=0,
            )
    return vae


def _warn_of_overfitting(losses: dict[int, float]) -> None:
    """Says where the held-out rows did better, if that was by more than a nat, and a tenth."""
    if not losses:
        return
    best, last = min(losses, key=lambda epoch: losses[epoch]), losses[max(losses)]
    if last - losses[best] > max(1.0, 0.1 * abs(losses[best])):
        say(
            f"note: the held-out rows did best in epoch {best + 1}, val_loss "
            f"{losses[best]:.2f}, at the end {last:.2f}: fewer --epochs may serve better"
        )
