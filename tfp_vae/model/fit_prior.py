"""A prior fitted to the latent values of a trained model, for new x to be drawn from it."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
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
from tfp_vae.layers.coded import CodedLayer
from tfp_vae.model.choosers import drawing
from tfp_vae.model.conditional import Conditional, Value, is_network, tiled
from tfp_vae.model.passes import ForwardModel
from tfp_vae.model.total_loss import total_loss
from tfp_vae.priors.conditional_codes import ConditionalCodes
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
) -> Prior | keras.Model:
    """Returns a prior of a latent variable, fitted to its values at x: see `VAE.fit_prior`."""
    q = model.graph.posteriors[latent]
    shape = q.shape
    ends = Conditional(prior, latent, f"prior of {latent}").layer if is_network(prior) else prior
    if isinstance(q.layer, CodedLayer) and not isinstance(ends, (CodePrior, ConditionalCodes)):
        raise InputError(
            f"Expected a prior over the codes of {q.layer.name}, such as AutoregressiveCodes.",
            prior,
        )
    if is_mixture(prior):
        if len(shape) != 1:
            raise InputError("Expected z to be vectors, for a mixture of scikit-learn.", shape)
        return as_prior(fitted_mixture(prior, draws(model, x, num_draws, seed, latent=latent)))
    given = Conditional(prior, latent, f"prior of {latent}")
    given.bind(q.network)
    fitted: Any = given.network or given.prior
    wanted = q.event_shape or shape
    event = given.event_shape if given.prior is None else fitted.distribution().event_shape
    event = wanted if event is None else tuple(event)
    if event != wanted:
        raise InputError(f"Expected a prior over z of shape {wanted}.", f"one over {event}")
    if not fitted.trainable_weights:
        raise InputError("Expected a prior with weights to be trained.", prior)

    def drawn(data: Any) -> tf.data.Dataset:
        found = draws(model, data, num_draws, seed, latent=latent, beside=tuple(given.inputs))
        return tf.data.Dataset.from_tensor_slices(found)

    batches = drawn(x)
    batches = batches.shuffle(len(batches), seed).batch(batch_size)
    if validation_data is not None:
        validation_data = drawn(validation_data).batch(batch_size)
    second = isinstance(fitted, VAEPrior)
    trained = fitted.second_vae() if second else MaximumLikelihood(given)
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
    return fitted


def draws(
    model: ForwardModel,
    x: Any,
    num_draws: int,
    seed: int | None,
    batch_size: int = 256,
    latent: str = "z",
    beside: Sequence[str] = (),
) -> Any:
    """Returns z drawn from q(z|x), `num_draws` for each x: `[num_draws * n, ...]`.

    Args:
      model: the model.
      x: an array, with the conditions if there are any; or a data set or generator of batches,
        which ends, of x or of tuples that begin with it.
      num_draws: for each x.
      seed: an integer gives the same draws each time; None goes on with the posterior's own seed.
      batch_size: how many x of an array are encoded at a time.
      latent: the name of the latent variable.
      beside: the names of other values that are wanted too: the result is then a tuple of a tuple
        of z and a dict of these, row by row.
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
    found: list[Any] = []
    others: dict[str, list[Any]] = {name: [] for name in beside}
    for number, batch in enumerate(batches):
        inputs = keras.utils.unpack_x_y_sample_weight(batch)[0]
        pair = None if seed is None else tf.constant([seed, number])
        outset = model.graph.infer(model.wiring.by_name(sparse.dense(inputs)), with_priors=False)
        terms, values = model.graph.encode(outset, drawing(num_draws, pair), num_draws)
        z = terms[latent].value.numpy()
        found.append(z.reshape(-1, *z.shape[2:]))
        for name, kept in others.items():
            value = values[name]
            rows_of = value.tensor if value.is_drawn else tiled(value.tensor, num_draws)
            kept.append(keras.ops.convert_to_numpy(rows_of))
    z = np.concatenate(found)
    return ((z, {n: np.concatenate(kept) for n, kept in others.items()}),) if beside else z


class MaximumLikelihood(keras.Model):
    """A model that fits a prior to z: the loss is the mean of `-log p(z | values)`, in nats.

    Data are z; of a network z and a dict of the values that the network takes.

    Args:
      given: a `Prior` or a network, with trainable weights.
    """

    def __init__(self, given: Conditional) -> None:
        super().__init__()
        self._given = given
        self.prior: Any = given.network or given.prior
        self.built = True

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Returns x as it is: the loss is all there is."""
        del training
        return x

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Returns the mean of `-log p(z)`, z in x, and what regularizers within the prior add."""
        z, values = (x, {}) if self._given.network is None else x
        p = self._given({name: Value(value) for name, value in values.items()}, training=training)
        loss = -tf.reduce_mean(p.distribution.log_prob(z))
        return total_loss(loss, self.losses, tf.shape(z)[0])
