"""Objectives: how posterior, prior, z and log-likelihood make a loss for each example."""

from tfp_vae.objectives.adversarial import Adversarial
from tfp_vae.objectives.base import Objective, Terms
from tfp_vae.objectives.ciwae import CIWAE
from tfp_vae.objectives.code_entropy import CodeEntropy
from tfp_vae.objectives.deep_features import DeepFeatures
from tfp_vae.objectives.dip import DIP
from tfp_vae.objectives.elbo import ELBO
from tfp_vae.objectives.factor_tc import FactorTC
from tfp_vae.objectives.forward import Forward, ForwardPass
from tfp_vae.objectives.hamiltonian import Hamiltonian
from tfp_vae.objectives.iwae import IWAE
from tfp_vae.objectives.label_characteristics import LabelCharacteristics
from tfp_vae.objectives.learned_similarity import LearnedSimilarity
from tfp_vae.objectives.miwae import MIWAE
from tfp_vae.objectives.mmd import MMD
from tfp_vae.objectives.ms_ssim import MSSSIM
from tfp_vae.objectives.piwae import PIWAE
from tfp_vae.objectives.regularized_ae import RegularizedAE
from tfp_vae.objectives.riemannian import RiemannianHamiltonian
from tfp_vae.objectives.semi_supervised import SemiSupervised
from tfp_vae.objectives.sliced_wasserstein import SlicedWasserstein
from tfp_vae.objectives.term import Term
from tfp_vae.objectives.total_correlation import BetaTC

__all__ = [
    "CIWAE",
    "DIP",
    "ELBO",
    "IWAE",
    "MIWAE",
    "MMD",
    "MSSSIM",
    "PIWAE",
    "Adversarial",
    "BetaTC",
    "CodeEntropy",
    "DeepFeatures",
    "FactorTC",
    "Forward",
    "ForwardPass",
    "Hamiltonian",
    "LabelCharacteristics",
    "LearnedSimilarity",
    "Objective",
    "RegularizedAE",
    "RiemannianHamiltonian",
    "SemiSupervised",
    "SlicedWasserstein",
    "Term",
    "Terms",
]
