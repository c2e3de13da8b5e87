"""Distribution layers: `tfp.layers`, native to Keras 3."""

from tfp_vae.layers import rescaled, util  # noqa: F401  (files name `Rescaled`)
from tfp_vae.layers.autoregressive import AutoregressiveTransform
from tfp_vae.layers.bayesian.convolution import (
    Conv1DFlipout,
    Conv1DReparameterization,
    Conv2DFlipout,
    Conv2DReparameterization,
    Conv3DFlipout,
    Conv3DReparameterization,
    Convolution1DFlipout,
    Convolution1DReparameterization,
    Convolution2DFlipout,
    Convolution2DReparameterization,
    Convolution3DFlipout,
    Convolution3DReparameterization,
)
from tfp_vae.layers.bayesian.dense import (
    DenseFlipout,
    DenseLocalReparameterization,
    DenseReparameterization,
)
from tfp_vae.layers.bayesian.variational_dense import DenseVariational
from tfp_vae.layers.bayesian.weight_distributions import (
    default_loc_scale_fn,
    default_mean_field_normal_fn,
    default_multivariate_normal_fn,
)
from tfp_vae.layers.categorical import Categorical, OneHotCategorical
from tfp_vae.layers.columns import Columns, ShowColumns
from tfp_vae.layers.counts import NegativeBinomial, ZeroInflatedNegativeBinomial
from tfp_vae.layers.coupling import CouplingNetwork
from tfp_vae.layers.deterministic import Deterministic
from tfp_vae.layers.discrete import ContinuousBernoulli, IndependentBernoulli, IndependentPoisson
from tfp_vae.layers.distribution_lambda import DistributionLambda
from tfp_vae.layers.fill_unknown import FillUnknown
from tfp_vae.layers.finite_scalar_quantized import FiniteScalarQuantized
from tfp_vae.layers.gamma import Gamma
from tfp_vae.layers.gaussian_process import VariationalGaussianProcess
from tfp_vae.layers.gyroplanes import Gyroplanes
from tfp_vae.layers.initializers import BlockwiseInitializer
from tfp_vae.layers.inverse_autoregressive_flow import InverseAutoregressiveFlow
from tfp_vae.layers.joint import Joint
from tfp_vae.layers.kl_divergence import KLDivergenceAddLoss, KLDivergenceRegularizer
from tfp_vae.layers.location_scale import IndependentLogistic, IndependentNormal, Laplace, StudentT
from tfp_vae.layers.lookup_free_quantized import LookupFreeQuantized
from tfp_vae.layers.made import AutoregressiveNetwork
from tfp_vae.layers.mixture import MixtureLogistic, MixtureNormal, MixtureSameFamily
from tfp_vae.layers.multivariate import MultivariateNormalDiag, MultivariateNormalTriL
from tfp_vae.layers.one_hot_mixture import CategoricalMixtureOfOneHotCategorical
from tfp_vae.layers.planar_flow import PlanarFlow
from tfp_vae.layers.poincare import WrappedNormal
from tfp_vae.layers.quantized_logistic_mixture import QuantizedLogisticMixture
from tfp_vae.layers.relative_normal import PrecisionWeightedNormal, ResidualNormal
from tfp_vae.layers.relaxed import RelaxedOneHotCategorical
from tfp_vae.layers.residual_quantized import ResidualQuantized
from tfp_vae.layers.riemannian import RiemannianNormal
from tfp_vae.layers.self_masking import SelfMasking
from tfp_vae.layers.shared_scale import SharedScale
from tfp_vae.layers.spherical import PowerSpherical, VonMisesFisher
from tfp_vae.layers.steps import PreviousStep, WordDropout
from tfp_vae.layers.stepwise import RecurrentNormal
from tfp_vae.layers.sum_of_levels import SumOfLevels
from tfp_vae.layers.variable import VariableLayer
from tfp_vae.layers.vector_quantized import VectorQuantized
from tfp_vae.layers.weight_norm import WeightNorm

__all__ = [
    "AutoregressiveNetwork",
    "AutoregressiveTransform",
    "BlockwiseInitializer",
    "Categorical",
    "CategoricalMixtureOfOneHotCategorical",
    "Columns",
    "ContinuousBernoulli",
    "Conv1DFlipout",
    "Conv1DReparameterization",
    "Conv2DFlipout",
    "Conv2DReparameterization",
    "Conv3DFlipout",
    "Conv3DReparameterization",
    "Convolution1DFlipout",
    "Convolution1DReparameterization",
    "Convolution2DFlipout",
    "Convolution2DReparameterization",
    "Convolution3DFlipout",
    "Convolution3DReparameterization",
    "CouplingNetwork",
    "DenseFlipout",
    "DenseLocalReparameterization",
    "DenseReparameterization",
    "DenseVariational",
    "Deterministic",
    "DistributionLambda",
    "FillUnknown",
    "FiniteScalarQuantized",
    "Gamma",
    "Gyroplanes",
    "IndependentBernoulli",
    "IndependentLogistic",
    "IndependentNormal",
    "IndependentPoisson",
    "InverseAutoregressiveFlow",
    "Joint",
    "KLDivergenceAddLoss",
    "KLDivergenceRegularizer",
    "Laplace",
    "LookupFreeQuantized",
    "MixtureLogistic",
    "MixtureNormal",
    "MixtureSameFamily",
    "MultivariateNormalDiag",
    "MultivariateNormalTriL",
    "NegativeBinomial",
    "OneHotCategorical",
    "PlanarFlow",
    "PowerSpherical",
    "PrecisionWeightedNormal",
    "PreviousStep",
    "QuantizedLogisticMixture",
    "RecurrentNormal",
    "RelaxedOneHotCategorical",
    "ResidualNormal",
    "ResidualQuantized",
    "RiemannianNormal",
    "SelfMasking",
    "SharedScale",
    "ShowColumns",
    "StudentT",
    "SumOfLevels",
    "VariableLayer",
    "VariationalGaussianProcess",
    "VectorQuantized",
    "VonMisesFisher",
    "WeightNorm",
    "WordDropout",
    "WrappedNormal",
    "ZeroInflatedNegativeBinomial",
    "default_loc_scale_fn",
    "default_mean_field_normal_fn",
    "default_multivariate_normal_fn",
    "util",
]
