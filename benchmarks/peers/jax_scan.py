"""JAX and optax: an epoch is one `lax.scan` under `jax.jit`, its state donated."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from benchmarks.peers import jax_models as models
from benchmarks.peers import jax_training as training
from benchmarks.work import Work, since_start


def mlp(work: Work) -> None:
    """Trains the perceptron, an epoch at a time."""
    parameters, *networks = models.perceptrons(work)
    loss = models.negative_elbo(*networks)
    parameters = training.train(loss, parameters, _images(work), work)
    work.found["negative_elbo"] = training.evaluate(loss, parameters, _test(work))


def conv(work: Work) -> None:
    """Trains the convolutional VAE of TFP's tutorial; no scan: see `training.loop`."""
    parameters, *networks = models.convolutional(work.latent_size)
    loss = models.negative_elbo_tril(*networks, work.latent_size)
    x, x_test = (images.reshape(-1, 28, 28, 1) for images in (_images(work), _test(work)))
    parameters = training.train(loss, parameters, x, work, training.loop)
    work.found["negative_elbo"] = training.evaluate(loss, parameters, x_test, 1000)


def iwae(work: Work) -> None:
    """Trains the perceptron on the importance-weighted bound."""
    parameters, *networks = models.perceptrons(work)
    loss = models.negative_bound(*networks, work.num_samples)
    parameters = training.train(loss, parameters, _images(work), work)
    work.found["negative_bound"] = training.evaluate(loss, parameters, _test(work), 100)


def likelihood(work: Work) -> None:
    """Estimates log p(x) after an epoch of training, image after image."""
    parameters, encoder, decoder = models.perceptrons(work)
    optimizer = optax.adam(1e-3)
    epoch = training.scan(models.negative_elbo(encoder, decoder), optimizer, work.batch_size)
    state = (parameters, optimizer.init(parameters))
    parameters, _ = epoch(state, jnp.asarray(_images(work)), jax.random.key(1))
    weights = models.log_weights(decoder, work.num_samples)

    @jax.jit
    def run(parameters: models.Parameters, x: Array, key: Array) -> Array:
        means, log_variances = jnp.split(encoder(parameters, x), 2, -1)
        each = (x, means, log_variances, jax.random.split(key, len(x)))
        of_one = lax.map(lambda one: jax.nn.logsumexp(weights(parameters, *one)), each)
        return of_one - math.log(work.num_samples)

    arguments = (parameters, _test(work), jax.random.key(2))
    compiled = run.lower(*arguments).compile()
    values = work.repeat(lambda: np.asarray(compiled(*arguments)), 1, first=True)
    work.found["log_likelihood"] = float(values.mean())


def encode(work: Work) -> None:
    """The posterior means of all training images."""
    parameters, encoder, _ = models.perceptrons(work)
    means = jax.jit(lambda x: encoder(parameters, x)[:, : work.latent_size])
    x = _images(work)
    work.repeat(lambda: np.asarray(means(x)))


def sample(work: Work) -> None:
    """Means of p(x|z), z from the prior."""
    parameters, _, decoder = models.perceptrons(work)
    keys = iter(jax.random.split(jax.random.key(1), 6))

    @jax.jit
    def images(key: Array) -> Array:
        z = jax.random.normal(key, (10_000, work.latent_size))
        return jax.nn.sigmoid(decoder(parameters, z))

    work.repeat(lambda: np.asarray(images(next(keys))), 5)


def serve(work: Work) -> None:
    """Reconstructions by a compiled function: JAX has no saved model of its own."""
    parameters, encoder, decoder = models.perceptrons(work)

    @jax.jit
    def reconstruct(x: Array) -> Array:
        z = encoder(parameters, x)[:, : work.latent_size]
        return jax.nn.sigmoid(decoder(parameters, z))

    x = _test(work)[: work.batch_size]
    work.repeat(lambda: np.asarray(reconstruct(x)), 300)


def start(work: Work) -> None:
    """One epoch from a cold process; there is no first step to see before its end."""
    parameters, *networks = models.perceptrons(work)
    training.train(models.negative_elbo(*networks), parameters, _images(work), work)
    work.seconds[:] = [since_start()]
    work.found["first_step"] = work.seconds[0]


def goal(work: Work) -> None:
    """Trains until the test ELBO is good."""
    parameters, *networks = models.perceptrons(work, jax.nn.silu)
    loss = models.negative_elbo(*networks)
    x, x_test = jnp.asarray(_images(work)), _test(work)
    steps = len(x) // work.batch_size * work.epochs
    rate = optax.warmup_cosine_decay_schedule(0.0, work.rate, max(steps // 10, 1), steps)
    optimizer = optax.adam(rate)
    epoch, evaluate = training.scan(loss, optimizer, work.batch_size), jax.jit(loss)
    state = (parameters, optimizer.init(parameters))
    for number, key in enumerate(jax.random.split(jax.random.key(1), work.epochs), 1):
        state = epoch(state, x, key)
        if evaluate(state[0], x_test, key) < 95:
            work.seconds.append(since_start())
            work.found["epochs"] = number
            return


def _images(work: Work) -> np.ndarray:
    return work.train.reshape(-1, work.pixels) / np.float32(255)


def _test(work: Work) -> np.ndarray:
    return work.test.reshape(-1, work.pixels)
