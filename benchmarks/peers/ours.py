"""`tfp_vae`, as its README has it: `compile("adam")` and `fit`, with no option for speed."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import tfp_vae
from benchmarks.work import Work, since_start
from tfp_vae import data, layers, networks, objectives

SHAPE = (28, 28, 1)


def mlp(work: Work) -> None:
    """Trains the perceptron, an epoch at a time."""
    vae = perceptron(work)
    _train(vae, work)
    work.found["negative_elbo"] = _negative_elbo(vae, work.test)


def conv(work: Work) -> None:
    """Trains the convolutional VAE of TFP's tutorial."""
    k = keras.layers
    activation = "leaky_relu"
    posterior = layers.MultivariateNormalTriL(work.latent_size)
    encoder = keras.Sequential(
        [
            keras.Input(SHAPE),
            k.Rescaling(1.0, offset=-0.5),
            k.Conv2D(32, 5, 1, "same", activation=activation),
            k.Conv2D(32, 5, 2, "same", activation=activation),
            k.Conv2D(64, 5, 1, "same", activation=activation),
            k.Conv2D(64, 5, 2, "same", activation=activation),
            k.Conv2D(64, 7, 1, "valid", activation=activation),
            k.Flatten(),
            k.Dense(posterior.num_parameters),
            posterior,
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((work.latent_size,)),
            k.Reshape((1, 1, work.latent_size)),
            k.Conv2DTranspose(64, 7, 1, "valid", activation=activation),
            k.Conv2DTranspose(64, 5, 1, "same", activation=activation),
            k.Conv2DTranspose(64, 5, 2, "same", activation=activation),
            k.Conv2DTranspose(32, 5, 1, "same", activation=activation),
            k.Conv2DTranspose(32, 5, 2, "same", activation=activation),
            k.Conv2DTranspose(32, 5, 1, "same", activation=activation),
            k.Conv2D(1, 5, 1, "same"),
            k.Flatten(),
            layers.IndependentBernoulli(SHAPE),
        ]
    )
    vae = tfp_vae.VAE(encoder, decoder)
    vae.compile("adam")
    _train(vae, work)
    work.found["negative_elbo"] = _negative_elbo(vae, work.test)


def iwae(work: Work) -> None:
    """Trains the perceptron on the importance-weighted bound."""
    vae = perceptron(work, objectives.IWAE(work.num_samples))
    _train(vae, work)
    found = vae.evaluate(work.test[..., np.newaxis], batch_size=100, verbose=0, return_dict=True)
    work.found["negative_bound"] = found["loss"]


def likelihood(work: Work) -> None:
    """Estimates log p(x) after an epoch of training."""
    vae = perceptron(work)
    _epochs(vae, work)
    x = work.test[..., np.newaxis]
    vae.log_likelihood(x, max(1, work.num_samples // 10))  # enough draws for what is timed then
    values = work.repeat(lambda: vae.log_likelihood(x, work.num_samples).numpy(), 1, first=True)
    work.found["log_likelihood"] = float(values.mean())


def encode(work: Work) -> None:
    """The posterior means of all training images."""
    vae = perceptron(work)
    x = _floats(work)
    work.repeat(lambda: vae.encode(x).mean().numpy())


def sample(work: Work) -> None:
    """Means of p(x|z), z from the prior."""
    vae = perceptron(work)
    work.repeat(lambda: vae.sample(10_000).numpy())


def serve(work: Work) -> None:
    """Reconstructions by an exported SavedModel."""
    with TemporaryDirectory() as folder:
        perceptron(work).export(Path(folder) / "model")
        served = tf.saved_model.load(str(Path(folder) / "model"))
        x = work.test[: work.batch_size, ..., np.newaxis]
        work.repeat(lambda: served.serve(x).numpy(), 300)


def start(work: Work) -> None:
    """One epoch from a cold process."""
    vae = perceptron(work)
    first = _First()
    vae.fit(
        _batches(work),
        steps_per_epoch=len(work.train) // work.batch_size,
        verbose=0,
        callbacks=[first],
    )
    work.found["first_step"] = first.seconds
    work.seconds.append(since_start())


def goal(work: Work) -> None:
    """Trains until the test ELBO is good."""
    steps = len(work.train) // work.batch_size * work.epochs
    warm_up = steps // 10
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=work.rate, warmup_steps=warm_up
    )
    vae = perceptron(work, activation="silu", optimizer=keras.optimizers.Adam(rate))
    vae.fit(
        _batches(work),
        steps_per_epoch=len(work.train) // work.batch_size,
        epochs=work.epochs,
        validation_data=(work.test[..., np.newaxis],),
        validation_batch_size=500,
        verbose=0,
        callbacks=[_Goal(work)],
    )


def perceptron(
    work: Work, objective: Any = None, activation: str = "relu", optimizer: Any = "adam"
) -> tfp_vae.VAE:
    """The perceptron of most cases, compiled."""
    widths = work.widths
    shape = (work.side, work.side, 1)
    vae = tfp_vae.VAE(
        networks.encoder(shape, work.latent_size, widths=widths, activation=activation),
        networks.decoder(
            work.latent_size,
            layers.IndependentBernoulli(shape),
            widths=widths,
            activation=activation,
        ),
        objective=objective,
    )
    vae.compile(optimizer)
    return vae


def _batches(work: Work) -> tf.data.Dataset:
    return data.batches(work.train[..., np.newaxis], work.batch_size)


def _train(vae: tfp_vae.VAE, work: Work) -> None:
    for seconds in _epochs(vae, work):
        work.seconds.append(seconds)


def _epochs(vae: tfp_vae.VAE, work: Work) -> list[float]:
    """Trains, and gives the seconds of each epoch."""
    watch = _Watch(work.epochs)
    vae.fit(
        _batches(work),
        steps_per_epoch=len(work.train) // work.batch_size,
        epochs=work.planned_epochs or work.epochs,
        verbose=0,
        callbacks=[watch],
    )
    return watch.seconds


class _Watch(keras.callbacks.Callback):
    """The seconds of each epoch; stops after so many."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self.begun)
        self.model.stop_training = epoch + 1 >= self.epochs


class _Goal(keras.callbacks.Callback):
    """Stops when the test ELBO is good enough."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs["val_loss"] < 95:
            self.work.seconds.append(since_start())
            self.work.found["epochs"] = epoch + 1
            self.model.stop_training = True


class _First(keras.callbacks.Callback):
    """When the first steps were done."""

    each_batch = False
    seconds = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seconds = self.seconds or since_start()


def _negative_elbo(vae: tfp_vae.VAE, x: np.ndarray) -> float:
    found = vae.evaluate(x[..., np.newaxis], batch_size=500, verbose=0, return_dict=True)
    return found["nll"] + found["kl"]


def _floats(work: Work) -> np.ndarray:
    return work.train[..., np.newaxis].astype(np.float32) / 255
