"""PyTorch: modules, batches by a permutation instead of a DataLoader, the fused Adam."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers import torch_models as models
from benchmarks.peers import torch_training as training
from benchmarks.peers.torch_training import Compile, eager
from benchmarks.work import Work, since_start


def mlp(work: Work, compiled: Compile = eager) -> None:
    """Trains the perceptron, an epoch at a time."""
    vae = models.VAE(*models.perceptrons(work))
    training.train(vae, _images(work), work, compiled)
    work.found["negative_elbo"] = training.evaluate(vae, _test(work))


def conv(work: Work, compiled: Compile = eager) -> None:
    """Trains the convolutional VAE of TFP's tutorial; channels last, as suits CPUs."""
    vae = models.TriLVAE(*models.convolutional(work.latent_size), work.latent_size)
    vae.to(memory_format=torch.channels_last)
    training.train(vae, _images(work).view(-1, 1, 28, 28), work, compiled)
    work.found["negative_elbo"] = training.evaluate(vae, _test(work).view(-1, 1, 28, 28))


def iwae(work: Work, compiled: Compile = eager) -> None:
    """Trains the perceptron on the importance-weighted bound."""
    vae = models.IWAE(*models.perceptrons(work), work.num_samples)
    training.train(vae, _images(work), work, compiled)
    work.found["negative_bound"] = training.evaluate(vae, _test(work), 100)


def likelihood(work: Work, compiled: Compile = eager) -> None:
    """Estimates log p(x) after an epoch of training."""
    encoder, decoder = models.perceptrons(work)
    vae = models.VAE(encoder, decoder)
    for _ in training.epoch(
        training.noisy(vae, compiled), training.adam(vae), _images(work), work.batch_size
    ):
        pass
    estimate = compiled(models.LogLikelihood(encoder, decoder))
    x = _test(work)

    @torch.no_grad()
    def run(x: Tensor) -> np.ndarray:
        posteriors = zip(x, *encoder(x).chunk(2, -1), strict=True)
        return torch.stack([estimate(*each, work.num_samples) for each in posteriors]).numpy()

    run(x[:3])
    work.found["log_likelihood"] = float(work.repeat(lambda: run(x), 1, first=True).mean())


def encode(work: Work, compiled: Compile = eager) -> None:
    """The posterior means of all training images, some thousands at a time."""
    encoder = compiled(models.perceptrons(work)[0])
    x = _images(work).numpy()

    @torch.inference_mode()
    def run() -> np.ndarray:
        parts = torch.from_numpy(x).split(5000)
        return torch.cat([encoder(part)[:, : work.latent_size] for part in parts]).numpy()

    work.repeat(run)


def sample(work: Work, compiled: Compile = eager) -> None:
    """Means of p(x|z), z from the prior."""
    decoder = compiled(nn.Sequential(models.perceptrons(work)[1], nn.Sigmoid()))

    @torch.inference_mode()
    def run() -> np.ndarray:
        return decoder(torch.randn(10_000, work.latent_size)).numpy()

    work.repeat(run)


def serve(work: Work) -> None:
    """Reconstructions by a TorchScript model, saved and loaded."""
    model = models.Reconstruct(*models.perceptrons(work)).eval()
    x = _test(work)[: work.batch_size].numpy()
    file = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.trace(model, torch.from_numpy(x))), file)
    file.seek(0)
    served = torch.jit.load(file)
    with torch.inference_mode():
        work.repeat(lambda: served(torch.from_numpy(x)).numpy(), 300)


def start(work: Work, compiled: Compile = eager) -> None:
    """One epoch from a cold process."""
    vae = models.VAE(*models.perceptrons(work))
    optimizer = training.adam(vae)
    for _ in training.epoch(
        training.noisy(vae, compiled), optimizer, _images(work), work.batch_size
    ):
        work.found.setdefault("first_step", since_start())
    work.seconds.append(since_start())


def goal(work: Work, compiled: Compile = eager) -> None:
    """Trains until the test ELBO is good."""
    vae = models.VAE(*models.perceptrons(work, nn.SiLU))
    x, x_test = _images(work), _test(work)
    steps = len(x) // work.batch_size * work.epochs
    warm_up = max(steps // 10, 1)
    loss, optimizer = training.noisy(vae, compiled), training.adam(vae, work.rate)
    schedulers = torch.optim.lr_scheduler
    rate = schedulers.SequentialLR(
        optimizer,
        [
            schedulers.LinearLR(optimizer, 1 / warm_up, total_iters=warm_up),
            schedulers.CosineAnnealingLR(optimizer, steps - warm_up),
        ],
        [warm_up],
    )
    for epoch in range(1, work.epochs + 1):
        for _ in training.epoch(loss, optimizer, x, work.batch_size):
            rate.step()
        if training.evaluate(vae, x_test) < 95:
            work.seconds.append(since_start())
            work.found["epochs"] = epoch
            return


def _images(work: Work) -> Tensor:
    return torch.from_numpy(work.train).flatten(1).float() / 255


def _test(work: Work) -> Tensor:
    return torch.from_numpy(work.test).flatten(1)
