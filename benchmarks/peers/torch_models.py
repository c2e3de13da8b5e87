"""The networks and losses of `pytorch`, `pytorch_compiled` and, in part, `pythae_trainer`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.work import Work


class VAE(nn.Module):
    """Called with images of zeros and ones it gives the negative ELBO, their mean."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def draw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One z for each image, and the sum of the KLs."""
        mean, log_variance = self.encoder(x).chunk(2, -1)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        return z, (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2

    def forward(self, x: Tensor) -> Tensor:
        z, kl = self.draw(x)
        nll = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        return (nll + kl) / len(x)


class TriLVAE(VAE):
    """The same with a full covariance."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent_size: int) -> None:
        super().__init__(encoder, decoder)
        self.sizes = [latent_size, latent_size, latent_size * (latent_size - 1) // 2]
        self.below: Tensor
        self.register_buffer("below", torch.tril_indices(latent_size, latent_size, -1))

    def draw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, diagonal, below = self.encoder(x).split(self.sizes, -1)
        diagonal = F.softplus(diagonal) + 1e-5
        scale = torch.diag_embed(diagonal)
        scale[:, self.below[0], self.below[1]] = below
        z = mean + (scale @ torch.randn_like(mean)[..., None])[..., 0]
        kl = ((mean**2).sum() + (scale**2).sum() - mean.numel()) / 2 - diagonal.log().sum()
        return z, kl


class IWAE(VAE):
    """The negative importance-weighted bound of several samples instead."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, num_samples: int) -> None:
        super().__init__(encoder, decoder)
        self.num_samples = num_samples

    def forward(self, x: Tensor) -> Tensor:
        mean, log_variance = self.encoder(x).chunk(2, -1)
        noise = torch.randn(self.num_samples, *mean.shape)
        z = mean + torch.exp(log_variance / 2) * noise
        logits = self.decoder(z)
        nll = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
        log_weight = (noise**2 + log_variance - z**2).sum(-1) / 2 - nll.sum(-1)
        return math.log(self.num_samples) - torch.logsumexp(log_weight, 0).mean()


class LogLikelihood(VAE):
    """Gives the importance-weighted log p(x) of one image, from all its samples at once."""

    def forward(self, x: Tensor, mean: Tensor, log_variance: Tensor, num_samples: int) -> Tensor:
        noise = torch.randn(num_samples, len(mean))
        z = mean + torch.exp(log_variance / 2) * noise
        logits = self.decoder(z)
        log_p = logits @ x - F.softplus(logits).sum(-1)
        log_weight = log_p + (noise**2 + log_variance - z**2).sum(-1) / 2
        return torch.logsumexp(log_weight, 0) - math.log(num_samples)


class Reconstruct(VAE):
    """Gives the images' reconstructions."""

    def forward(self, x: Tensor) -> Tensor:
        mean, _ = self.encoder(x).chunk(2, -1)
        return torch.sigmoid(self.decoder(mean))


def perceptrons(
    work: Work, activation: type[nn.Module] = nn.ReLU
) -> tuple[nn.Sequential, nn.Sequential]:
    """An encoder, to means and log variances, and a decoder, to logits."""
    torch.manual_seed(0)
    encoder = dense([work.pixels, *work.widths, 2 * work.latent_size], activation)
    return encoder, dense([work.latent_size, *reversed(work.widths), work.pixels], activation)


def dense(sizes: Iterable[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers with the activation between them, initialized as those of all the others."""
    layers: list[nn.Module] = []
    for size, following in itertools.pairwise(sizes):
        layers += [nn.Linear(size, following), activation()]
        nn.init.xavier_uniform_(layers[-2].weight)
        nn.init.zeros_(layers[-2].bias)
    return nn.Sequential(*layers[:-1])


class Shift(nn.Module):
    """Grey becomes zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x - 0.5


def convolutional(latent_size: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder and decoder of TFP's tutorial."""
    torch.manual_seed(0)
    encoder: list[nn.Module] = [Shift()]
    for inputs, filters, stride in [(1, 32, 1), (32, 32, 2), (32, 64, 1), (64, 64, 2)]:
        encoder += [nn.Conv2d(inputs, filters, 5, stride, padding=2), nn.LeakyReLU(0.2)]
    encoder += [nn.Conv2d(64, 64, 7), nn.LeakyReLU(0.2), nn.Flatten()]
    encoder.append(nn.Linear(64, latent_size * (latent_size + 3) // 2))
    decoder: list[nn.Module] = [nn.Unflatten(1, (latent_size, 1, 1))]
    decoder += [nn.ConvTranspose2d(latent_size, 64, 7), nn.LeakyReLU(0.2)]
    sizes = [(64, 64, 1), (64, 64, 2), (64, 32, 1), (32, 32, 2), (32, 32, 1)]
    for inputs, filters, stride in sizes:
        transposed = nn.ConvTranspose2d(inputs, filters, 5, stride, 2, output_padding=stride - 1)
        decoder += [transposed, nn.LeakyReLU(0.2)]
    return nn.Sequential(*encoder), nn.Sequential(*decoder, nn.Conv2d(32, 1, 5, padding=2))
