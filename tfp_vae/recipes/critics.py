"""Published models with a critic, or with a measure of likeness that is no likelihood."""

from __future__ import annotations

import math
from typing import Any

from tfp_vae import layers
from tfp_vae.model.vae import VAE
from tfp_vae.objectives import MSSSIM, Adversarial, DeepFeatures, FactorTC, LearnedSimilarity
from tfp_vae.recipes.base import Setting, recipe
from tfp_vae.recipes.published import autoencoder

__all__: list[str] = []  # `RECIPES` has them


def _means(s: Setting) -> Any:
    """Returns a likelihood whose mean is in 0..1, of images: nothing else of it is trained."""
    return layers.IndependentBernoulli if len(s.shape) == 3 else None


@recipe(
    "adversarial autoencoder",
    "Makhzani et al., arXiv:1511.05644",
    "any prior that can be drawn from, matched by a critic",
)
def adversarial_autoencoder(s: Setting) -> VAE:
    return s.vae(layers.Deterministic(s.latent_size), objective=Adversarial())


@recipe(
    "WAE-GAN", "Tolstikhin et al., arXiv:1711.01558", "as the WAE-MMD, with a critic for the kernel"
)
def wae_gan(s: Setting) -> VAE:
    return autoencoder(s, Adversarial(weight=10.0))


@recipe(
    "FactorVAE",
    "Kim and Mnih, arXiv:1802.05983",
    "independent latents, by a critic of their total correlation",
)
def factor_vae(s: Setting) -> VAE:
    return s.vae(objective=FactorTC(weight=10.0))


@recipe(
    "VAE-GAN",
    "Larsen et al., arXiv:1512.09300",
    "samples that a critic takes for data, and a likeness that is learned",
)
def vae_gan(s: Setting) -> VAE:
    return s.vae(likelihood=_means(s), objective=LearnedSimilarity())


@recipe(
    "deep-feature-consistent VAE",
    "Hou et al., arXiv:1610.00291",
    "reconstructions alike in what a network sees",
)
def deep_feature_vae(s: Setting) -> VAE:
    network = None if s.features is None else s.features()
    objective = DeepFeatures(network, weight=float(math.prod(s.shape)))
    return s.vae(likelihood=_means(s), objective=objective)


@recipe("MS-SSIM VAE", "Snell et al., arXiv:1511.06409", "images alike in structure, not in pixels")
def ms_ssim_vae(s: Setting) -> VAE:
    objective = MSSSIM(weight=float(math.prod(s.shape)))
    return s.vae(likelihood=_means(s), objective=objective)
