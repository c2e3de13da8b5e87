"""Priors p(z): what the posterior is held against, and what new z are drawn from."""

from tfp_vae.prior import (
    DeferredPrior,
    DistributionPrior,
    LayerPrior,
    Prior,
    as_prior,
    unit_normal,
)
from tfp_vae.priors.vamp import VampPrior

__all__ = [
    "DeferredPrior",
    "DistributionPrior",
    "LayerPrior",
    "Prior",
    "VampPrior",
    "as_prior",
    "unit_normal",
]
