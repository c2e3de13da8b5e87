"""Distribution layers: `tfp.layers`, native to Keras 3."""

from tfp_vae.layers.categorical import Categorical, OneHotCategorical
from tfp_vae.layers.categorical_mixture import CategoricalMixtureOfOneHotCategorical
from tfp_vae.layers.counts import NegativeBinomial, ZeroInflatedNegativeBinomial
from tfp_vae.layers.deterministic import Deterministic
from tfp_vae.layers.discrete import ContinuousBernoulli, IndependentBernoulli, IndependentPoisson
from tfp_vae.layers.distribution_lambda import DistributionLambda
from tfp_vae.layers.kl import KLDivergenceAddLoss, KLDivergenceRegularizer
from tfp_vae.layers.location_scale import (
    IndependentLogistic,
    IndependentNormal,
    Laplace,
    StudentT,
)
from tfp_vae.layers.mixture import MixtureLogistic, MixtureNormal, MixtureSameFamily
from tfp_vae.layers.multivariate import MultivariateNormalDiag, MultivariateNormalTriL
from tfp_vae.layers.quantized import QuantizedLogisticMixture
from tfp_vae.layers.relaxed import RelaxedOneHotCategorical
from tfp_vae.layers.spherical import PowerSpherical, VonMisesFisher

__all__ = [
    "Categorical",
    "CategoricalMixtureOfOneHotCategorical",
    "ContinuousBernoulli",
    "Deterministic",
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
    "NegativeBinomial",
    "OneHotCategorical",
    "PowerSpherical",
    "QuantizedLogisticMixture",
    "RelaxedOneHotCategorical",
    "StudentT",
    "VonMisesFisher",
    "ZeroInflatedNegativeBinomial",
]
