"""Pythae: its models, its trainer, its `get_nll`, its sampler, with networks of the same sizes."""

from __future__ import annotations

import contextlib
import logging
import os
from tempfile import TemporaryDirectory

os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported, which torch does

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import IWAE, VAE, IWAEConfig, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.samplers import NormalSampler
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor, nn

from benchmarks.peers import torch_models as models
from benchmarks.peers import torch_training as training
from benchmarks.work import Work, since_start

logging.disable(logging.INFO)


class Encoder(BaseEncoder):
    """Its last layer is cut in two."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> ModelOutput:
        mean, log_variance = self.network(x).chunk(2, -1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """Gives probabilities: Pythae's cross entropy takes no logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))


class Timer(TrainingCallback):
    """Times the epochs and notes when the first step was over."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.block = contextlib.ExitStack()

    def on_epoch_begin(self, training_config: BaseTrainerConfig, **kwargs: object) -> None:
        self.block.enter_context(self.work.timed())

    def on_train_step_end(self, training_config: BaseTrainerConfig, **kwargs: object) -> None:
        if "first_step" not in self.work.found:
            self.work.found["first_step"] = since_start()

    def on_epoch_end(self, training_config: BaseTrainerConfig, **kwargs: object) -> None:
        self.block.close()


def mlp(work: Work) -> None:
    """Trains the perceptron, an epoch at a time."""
    vae = _perceptron(work)
    _train(vae, work)
    loss = models.VAE(vae.encoder.network, vae.decoder.network)
    work.found = {"negative_elbo": training.evaluate(loss, _test(work))}


def iwae(work: Work) -> None:
    """Trains the perceptron on the importance-weighted bound."""
    vae = _perceptron(work, work.num_samples)
    _train(vae, work)
    # What the model calls its loss has the bound's gradient, not its value.
    loss = models.IWAE(vae.encoder.network, vae.decoder.network, work.num_samples)
    work.found = {"negative_bound": training.evaluate(loss, _test(work), 100)}


def likelihood(work: Work) -> None:
    """Estimates log p(x) after an epoch of training."""
    vae = _perceptron(work)
    work.epochs = 1
    _train(vae, work)
    x, chunk = _test(work), min(work.num_samples, 1000)
    with torch.inference_mode():
        vae.get_nll(x[:3], work.num_samples, chunk)
        work.seconds.clear()
        value = work.repeat(lambda: vae.get_nll(x, work.num_samples, chunk), 1, first=True)
    work.found = {"log_likelihood": float(value)}


def encode(work: Work) -> None:
    """The posterior means of all training images; the model's `embed` draws, and decodes too."""
    vae = _perceptron(work)
    x = work.train.reshape(-1, 784) / np.float32(255)
    with torch.inference_mode():
        work.repeat(lambda: vae.encoder(torch.from_numpy(x)).embedding.numpy())


def sample(work: Work) -> None:
    """Means of p(x|z), z from the prior."""
    sampler = NormalSampler(_perceptron(work))
    with torch.inference_mode():
        work.repeat(lambda: sampler.sample(10_000).numpy())


def start(work: Work) -> None:
    """One epoch from a cold process."""
    _train(_perceptron(work), work)
    work.seconds[:] = [since_start()]


def _perceptron(work: Work, num_samples: int = 0) -> VAE:
    sizes = {"input_dim": (784,), "latent_dim": work.latent_size, "reconstruction_loss": "bce"}
    encoder, decoder = models.perceptrons(work)
    networks = {"encoder": Encoder(encoder), "decoder": Decoder(decoder)}
    if num_samples:
        return IWAE(IWAEConfig(number_samples=num_samples, **sizes), **networks)
    return VAE(VAEConfig(**sizes), **networks)


def _train(vae: VAE, work: Work) -> None:
    # Binarized once: the loader takes images one at a time, and to draw there would slow it.
    x = torch.from_numpy(work.train).flatten(1) / 255
    x = torch.bernoulli(x[: len(x) // work.batch_size * work.batch_size])
    with TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=work.batch_size,
            num_epochs=work.epochs,
            learning_rate=1e-3,
        )
        data = BaseDataset(x, torch.zeros(len(x)))
        BaseTrainer(vae, data, training_config=config, callbacks=[Timer(work)]).train()


def _test(work: Work) -> Tensor:
    return torch.from_numpy(work.test).flatten(1)
