"""Distribution layers: `tfp.layers`, native to Keras 3."""

from tfp_vae.layers.autoregressive import AutoregressiveTransform
from tfp_vae.layers.categorical import OneHotCategorical
from tfp_vae.layers.coupling import CouplingNetwork
from tfp_vae.layers.discrete import ContinuousBernoulli, IndependentBernoulli, IndependentPoisson
from tfp_vae.layers.distribution_lambda import DistributionLambda
from tfp_vae.layers.gaussian_process import VariationalGaussianProcess
from tfp_vae.layers.kl import KLDivergenceAddLoss, KLDivergenceRegularizer
from tfp_vae.layers.location_scale import IndependentLogistic, IndependentNormal, Laplace
from tfp_vae.layers.made import AutoregressiveNetwork
from tfp_vae.layers.mixture import MixtureLogistic, MixtureNormal, MixtureSameFamily
from tfp_vae.layers.multivariate import MultivariateNormalDiag, MultivariateNormalTriL

__all__ = [
    "AutoregressiveNetwork",
    "AutoregressiveTransform",
    "ContinuousBernoulli",
    "CouplingNetwork",
    "DistributionLambda",
    "IndependentBernoulli",
    "IndependentLogistic",
    "IndependentNormal",
    "IndependentPoisson",
    "KLDivergenceAddLoss",
    "KLDivergenceRegularizer",
    "Laplace",
    "MixtureLogistic",
    "MixtureNormal",
    "MixtureSameFamily",
    "MultivariateNormalDiag",
    "MultivariateNormalTriL",
    "OneHotCategorical",
    "VariationalGaussianProcess",
]
