"""Priors p(z): the other side of the KL, and the source of new z."""

from tfp_vae.bridge.marginals import (
    DeferredPrior,
    DistributionPrior,
    LayerPrior,
    Prior,
    as_prior,
    unit_normal,
)
from tfp_vae.layers.code_prior import CodePrior, UniformCodes
from tfp_vae.layers.poincare import WrappedNormalPrior
from tfp_vae.layers.riemannian import RiemannianNormalPrior
from tfp_vae.priors.codes import AutoregressiveCodes
from tfp_vae.priors.conditional_codes import ConditionalCodes
from tfp_vae.priors.flow import FlowPrior
from tfp_vae.priors.mixture import MixturePrior
from tfp_vae.priors.second_stage import VAEPrior
from tfp_vae.priors.vamp import VampPrior

__all__ = [
    "AutoregressiveCodes",
    "CodePrior",
    "ConditionalCodes",
    "DeferredPrior",
    "DistributionPrior",
    "FlowPrior",
    "LayerPrior",
    "MixturePrior",
    "Prior",
    "RiemannianNormalPrior",
    "UniformCodes",
    "VAEPrior",
    "VampPrior",
    "WrappedNormalPrior",
    "as_prior",
    "unit_normal",
]
