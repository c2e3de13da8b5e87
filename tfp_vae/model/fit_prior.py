"""A prior fitted to the latent values of a trained model, for new x to be drawn from it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge import sparse
from tfp_vae.bridge.marginals import Prior, as_prior
from tfp_vae.distributions.estimated import fitted_mixture, is_mixture
from tfp_vae.errors import InputError
from tfp_vae.layers.code_prior import CodePrior
from tfp_vae.layers.vector_quantized import VectorQuantized
from tfp_vae.model.choosers import drawing
from tfp_vae.model.passes import ForwardModel
from tfp_vae.model.total_loss import total_loss
from tfp_vae.priors.second_stage import VAEPrior
from tfp_vae.wiring import rows


@functools.partial(checked, num_draws="num_samples")
def fit_prior(
    model: ForwardModel,
    x: Any,
    prior: Any,
    epochs: int = 100,
    batch_size: int = 128,
    optimizer: Any = "adam",
    num_draws: int = 1,
    seed: int | None = None,
    verbose: Any = "auto",
    validation_data: Any = None,
    latent: str = "z",
    **kwargs: Any,
) -> Prior:
    """Returns a prior of a latent variable, fitted to its values at x: see `VAE.fit_prior`."""
    q = model.graph.posteriors[latent]
    shape = q.shape
    if isinstance(q.layer, VectorQuantized) and not isinstance(prior, CodePrior):
        raise InputError(
            f"Expected a prior over the codes of {q.layer.name}, such as AutoregressiveCodes.",
            prior,
        )
    if is_mixture(prior):
        if len(shape) != 1:
            raise InputError("Expected z to be vectors, for a mixture of scikit-learn.", shape)
        return as_prior(fitted_mixture(prior, draws(model, x, num_draws, seed, latent=latent)))
    prior = as_prior(prior)
    prior.bind(q.network)
    event, wanted = tuple(prior.distribution().event_shape), q.event_shape or shape
    if event != wanted:
        raise InputError(f"Expected a prior over z of shape {wanted}.", f"one over {event}")
    if not prior.trainable_weights:
        raise InputError("Expected a prior with weights to be trained.", prior)
    z = draws(model, x, num_draws, seed, latent=latent)
    batches = tf.data.Dataset.from_tensor_slices(z).shuffle(len(z), seed).batch(batch_size)
    if validation_data is not None:
        others = draws(model, validation_data, num_draws, seed, latent=latent)
        validation_data = tf.data.Dataset.from_tensor_slices(others).batch(batch_size)
    second = isinstance(prior, VAEPrior)
    trained = prior.second_vae() if second else MaximumLikelihood(prior)
    if not (second and trained.compiled):
        trained.compile(optimizer)
    trained.fit(
        batches,
        epochs=epochs,
        verbose=verbose,
        validation_data=validation_data,
        shuffle=False,  # by Keras: the data set does
        **kwargs,
    )
    return prior


def draws(
    model: ForwardModel,
    x: Any,
    num_draws: int,
    seed: int | None,
    batch_size: int = 256,
    latent: str = "z",
) -> np.ndarray:
    """Returns z drawn from q(z|x), `num_draws` for each x: `[num_draws * n, ...]`.

    Args:
      model: the model.
      x: an array, with the conditions if there are any; or a data set or generator of batches,
        which ends, of x or of tuples that begin with it.
      num_draws: for each x.
      seed: an integer gives the same draws each time; None goes on with the posterior's own seed.
      batch_size: how many x of an array are encoded at a time.
      latent: the name of the latent variable.
    """
    if isinstance(x, tf.data.Dataset) and x.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise InputError("Expected a data set that ends.", "one that repeats for ever")
    batches: Iterable[Any]
    if isinstance(x, (tf.data.Dataset, Iterator)):
        batches = x
    elif isinstance(x, keras.utils.PyDataset):
        batches = (x[number] for number in range(len(x)))
    else:
        data = sparse.by_row(x)
        count = sparse.count(model.wiring.split(data))
        batches = ((rows(data, i, batch_size),) for i in range(0, count, batch_size))
    found = []
    for number, batch in enumerate(batches):
        inputs = keras.utils.unpack_x_y_sample_weight(batch)[0]
        pair = None if seed is None else tf.constant([seed, number])
        outset = model.graph.infer(model.wiring.by_name(sparse.dense(inputs)), with_priors=False)
        terms, _ = model.graph.encode(outset, drawing(num_draws, pair), num_draws)
        z = terms[latent].value.numpy()
        found.append(z.reshape(-1, *z.shape[2:]))
    return np.concatenate(found)


class MaximumLikelihood(keras.Model):
    """A model that fits a prior to z: the loss is the mean of `-log p(z)`, in nats.

    Args:
      prior: a `Prior` with trainable weights.
    """

    @checked
    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior
        self.built = True

    def call(self, z: Any, training: bool | None = None) -> Any:
        """Returns z as it is: the loss is all there is."""
        del training
        return z

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Returns the mean of `-log p(z)`, z in x, and what regularizers within the prior add."""
        loss = -tf.reduce_mean(self.prior.distribution().log_prob(x))
        return total_loss(loss, self.losses, tf.shape(x)[0])
