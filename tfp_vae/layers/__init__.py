"""Distribution layers: `tfp.layers`, native to Keras 3."""

from tfp_vae.layers.distribution_lambda import DistributionLambda
from tfp_vae.layers.independent_bernoulli import IndependentBernoulli
from tfp_vae.layers.independent_normal import IndependentNormal
from tfp_vae.layers.kl import KLDivergenceAddLoss, KLDivergenceRegularizer

__all__ = [
    "DistributionLambda",
    "IndependentBernoulli",
    "IndependentNormal",
    "KLDivergenceAddLoss",
    "KLDivergenceRegularizer",
]
