"""Objectives: how posterior, prior, z and log-likelihood make a loss for each example."""

from tfp_vae.objectives.base import Objective, Terms
from tfp_vae.objectives.elbo import ELBO
from tfp_vae.objectives.forward import ForwardPass
from tfp_vae.objectives.importance_weighted import CIWAE, IWAE, MIWAE, PIWAE
from tfp_vae.objectives.penalties import DIP, MMD, SlicedWasserstein
from tfp_vae.objectives.regularized_ae import RegularizedAE
from tfp_vae.objectives.total_correlation import BetaTC

__all__ = [
    "CIWAE",
    "DIP",
    "ELBO",
    "IWAE",
    "MIWAE",
    "MMD",
    "PIWAE",
    "BetaTC",
    "ForwardPass",
    "Objective",
    "RegularizedAE",
    "SlicedWasserstein",
    "Terms",
]
