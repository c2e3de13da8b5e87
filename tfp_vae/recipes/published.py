"""Published models, each a few choices on the four axes with its paper's defaults.

A recipe is a function from a `Setting` (the data and the networks) to a `VAE`, and a row of
`docs/variants.md`. `tfp-vae train --recipe NAME` trains it.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from sklearn.mixture import GaussianMixture

from tfp_vae import layers, networks, priors, schedules
from tfp_vae.model.vae import VAE
from tfp_vae.objectives import (
    CIWAE,
    DIP,
    ELBO,
    IWAE,
    MIWAE,
    MMD,
    PIWAE,
    BetaTC,
    Objective,
    RegularizedAE,
    SlicedWasserstein,
)
from tfp_vae.recipes.base import Setting, recipe

# A Normal of variance 1/2: the squared error itself, up to a constant.
_squared_error = functools.partial(layers.SharedScale, scale=0.5**0.5)
_learned_scale = functools.partial(layers.SharedScale, trainable_scale=True)


def autoencoder(s: Setting, objective: Objective) -> VAE:
    """Returns a model without noise in z, of the squared error."""
    posterior = layers.Deterministic(s.latent_size)
    return s.vae(posterior, likelihood=_squared_error, objective=objective)


def _mixture(s: Setting) -> GaussianMixture:
    return GaussianMixture(min(10, s.num_examples), covariance_type="full", reg_covar=1e-4)


# -- one posterior, one prior: the objective makes the model ---------------------------------------


@recipe("VAE", "Kingma and Welling, arXiv:1312.6114", "the one to start from")
def vae(s: Setting) -> VAE:
    return s.vae()


@recipe(
    "Conditional VAE",
    "Sohn et al., NeurIPS 2015",
    "samples of a class that is asked for",
    conditional=True,
)
def conditional_vae(s: Setting) -> VAE:
    assert s.num_classes is not None
    return s.vae(prior=networks.prior(s.latent_size, s.num_classes))


@recipe("beta-VAE", "Higgins et al., ICLR 2017", "latents that vary one by one")
def beta_vae(s: Setting) -> VAE:
    return s.vae(objective=ELBO(beta=4.0))


@recipe(
    "capacity beta-VAE",
    "Burgess et al., arXiv:1804.03599",
    "separate latents, with as many nats of information as are asked for",
)
def capacity_beta_vae(s: Setting) -> VAE:
    return s.vae(objective=ELBO(beta=1000.0, capacity=schedules.warm_up(s.steps, 25.0)))


@recipe(
    "beta-TC-VAE",
    "Chen et al., arXiv:1802.04942",
    "independent latents, without paying in mutual information",
)
def beta_tc_vae(s: Setting) -> VAE:
    return s.vae(objective=BetaTC(s.num_examples, beta=6.0))


@recipe("DIP-VAE I", "Kumar et al., arXiv:1711.00848", "uncorrelated posterior means")
def dip_vae(s: Setting) -> VAE:
    return s.vae(objective=DIP(weight=10.0, diagonal=10.0, kind=1))


@recipe("DIP-VAE II", "Kumar et al., arXiv:1711.00848", "uncorrelated z")
def dip_vae_ii(s: Setting) -> VAE:
    return s.vae(objective=DIP(weight=10.0, diagonal=1.0, kind=2))


@recipe("InfoVAE", "Zhao et al., arXiv:1706.02262", "z that a strong decoder cannot leave unused")
def info_vae(s: Setting) -> VAE:
    # alpha = 0, lambda = 1000: the KL weighs 1 - alpha, the MMD alpha + lambda - 1.
    return s.vae(objective=MMD(weight=999.0, kernel="rbf", beta=1.0))


@recipe(
    "WAE-MMD (IMQ)", "Tolstikhin et al., arXiv:1711.01558", "sharp reconstructions, and sampling"
)
def wae_mmd_imq(s: Setting) -> VAE:
    return autoencoder(s, MMD(weight=10.0, kernel="imq"))


@recipe("WAE-MMD (RBF)", "Tolstikhin et al., arXiv:1711.01558", "as the IMQ's, with lighter tails")
def wae_mmd_rbf(s: Setting) -> VAE:
    return autoencoder(s, MMD(weight=10.0, kernel="rbf"))


@recipe("SWAE", "Kolouri et al., arXiv:1804.01947", "any prior that can be drawn from")
def swae(s: Setting) -> VAE:
    return s.vae(layers.Deterministic(s.latent_size), objective=SlicedWasserstein(weight=10.0))


@recipe("IWAE", "Burda et al., arXiv:1509.00519", "better likelihood, richer use of z")
def iwae(s: Setting) -> VAE:
    return s.vae(objective=IWAE(50))


@recipe("MIWAE", "Rainforth et al., arXiv:1802.04537", "IWAE with a calmer gradient")
def miwae(s: Setting) -> VAE:
    return s.vae(objective=MIWAE(8, 8))


@recipe("CIWAE", "Rainforth et al., arXiv:1802.04537", "between VAE and IWAE")
def ciwae(s: Setting) -> VAE:
    return s.vae(objective=CIWAE(64, beta=0.5))


@recipe("PIWAE", "Rainforth et al., arXiv:1802.04537", "IWAE's decoder with MIWAE's encoder")
def piwae(s: Setting) -> VAE:
    return s.vae(objective=PIWAE(8, 8))


# -- other likelihoods -----------------------------------------------------------------------------


@recipe(
    "log-cosh VAE",
    "Chen et al., Log hyperbolic cosine loss improves VAE (2019)",
    "real-valued data with outliers",
)
def log_cosh_vae(s: Setting) -> VAE:
    # log cosh(a t) / a is this Logistic's -log p over 2 a, up to a constant; so the KL weighs 2 a.
    a = 10.0
    likelihood = functools.partial(layers.SharedScale, family="logistic", scale=1 / (2 * a))
    return s.vae(likelihood=likelihood, objective=ELBO(beta=2 * a))


@recipe("sigma-VAE", "Rybkin et al., arXiv:2006.13202", "real-valued data whose noise is not known")
def sigma_vae(s: Setting) -> VAE:
    return s.vae(likelihood=_learned_scale)


# -- other posteriors ------------------------------------------------------------------------------


@recipe("Gamma VAE", "Naesseth et al., arXiv:1610.05683", "positive, sparse latents")
def gamma_vae(s: Setting) -> VAE:
    return s.vae(layers.Gamma(s.latent_size))


@recipe(
    "categorical VAE",
    "Jang et al., arXiv:1611.01144; Maddison et al., arXiv:1611.00712",
    "discrete latents",
)
def categorical_vae(s: Setting) -> VAE:
    # The KL is that of the relaxed densities; it comes in slowly, or the codes are never used.
    posterior = layers.RelaxedOneHotCategorical(10, 0.67, num_variables=s.latent_size)
    return s.vae(posterior, objective=ELBO(beta=schedules.warm_up(max(1, s.steps // 2))))


@recipe("joint VAE", "Dupont, arXiv:1804.00104", "classes and styles apart, without labels")
def joint_vae(s: Setting) -> VAE:
    posterior = layers.Joint(
        [layers.IndependentNormal(s.latent_size), layers.RelaxedOneHotCategorical(10, 0.67)]
    )
    # Ten categories hold log 10 nats, and no more.
    capacities = (schedules.warm_up(s.steps, 5.0), schedules.warm_up(s.steps, math.log(10)))
    return s.vae(posterior, objective=ELBO(beta=30.0, capacity=capacities))


@recipe(
    "hyperspherical VAE",
    "Davidson et al., arXiv:1804.00891; De Cao and Aziz, arXiv:2006.04437",
    "directions: z without a centre that everything is pulled to",
)
def hyperspherical_vae(s: Setting) -> VAE:
    return s.vae(layers.PowerSpherical(s.latent_size))


@recipe("VAE with planar flow", "Rezende and Mohamed, arXiv:1505.05770", "bent posteriors, cheaply")
def planar_flow_vae(s: Setting) -> VAE:
    return s.vae(layers.PlanarFlow(s.latent_size, num_flows=10))


@recipe("VAE with IAF", "Kingma et al., arXiv:1606.04934", "posteriors of many dimensions")
def iaf_vae(s: Setting) -> VAE:
    return s.vae(layers.InverseAutoregressiveFlow(s.latent_size, num_flows=2))


# -- other priors ----------------------------------------------------------------------------------


@recipe(
    "VampPrior VAE",
    "Tomczak and Welling, arXiv:1705.07120",
    "a prior as rich as the posteriors themselves",
)
def vamp_prior_vae(s: Setting) -> VAE:
    return s.vae(prior=vamp_prior(s))


def vamp_prior(s: Setting) -> priors.VampPrior:
    """Returns a mixture of 500 posteriors, or of a third as many as there are examples."""
    count = max(1, min(500, s.num_examples // 3))
    pixels = (0.0, 1.0) if len(s.shape) == 3 else None
    labels = None if s.num_classes is None else {"label": np.arange(count) % s.num_classes}
    start: int | np.ndarray = count
    if s.scale is not None:  # pseudo-inputs are of the unit of x
        noise = np.random.default_rng(0).uniform(-1, 1, [count, *s.shape])
        start = np.asarray(s.scale.loc) + np.asarray(s.scale.scale) * noise
    return priors.VampPrior(start, pixels, labels)


@recipe("mixture-prior VAE", "Tomczak and Welling, arXiv:1705.07120, section 2", "clustered z")
def mixture_prior_vae(s: Setting) -> VAE:
    return s.vae(prior=priors.MixturePrior(s.latent_size, 10))


# -- a prior that is fitted after the training -----------------------------------------------------


@recipe(
    "AE",
    "Rumelhart et al., Nature 1986",
    "reconstruction and nothing else",
    prior_after=_mixture,
)
def ae(s: Setting) -> VAE:
    return autoencoder(s, RegularizedAE(z_weight=0.0))


@recipe(
    "RAE-L2",
    "Ghosh et al., arXiv:1903.12436",
    "sharp samples without noise",
    prior_after=_mixture,
)
def rae_l2(s: Setting) -> VAE:
    # The paper chooses the weights anew for each data set.
    return autoencoder(s, RegularizedAE(z_weight=1e-2, l2=1e-3))


@recipe(
    "RAE-GP",
    "Ghosh et al., arXiv:1903.12436",
    "a decoder that is smooth in z",
    prior_after=_mixture,
)
def rae_gp(s: Setting) -> VAE:
    return autoencoder(s, RegularizedAE(z_weight=1e-2, gradient_penalty=1e-2))


@recipe(
    "VQ-VAE",
    "van den Oord et al., arXiv:1711.00937",
    "discrete codes for a second model",
    prior_after=lambda s: priors.AutoregressiveCodes(),
)
def vq_vae(s: Setting) -> VAE:
    return s.vae(layers.VectorQuantized((s.latent_size, 8), num_codes=64))


@recipe(
    "two-stage VAE",
    "Dai and Wipf, arXiv:1903.05789",
    "samples where the posteriors are, whatever the prior",
    prior_after=lambda s: priors.VAEPrior(_second_stage(s)),
)
def two_stage_vae(s: Setting) -> VAE:
    return s.vae(likelihood=_learned_scale)


def _second_stage(s: Setting) -> VAE:
    shape = (s.latent_size,)
    own = Setting(shape, s.num_examples, latent_size=s.latent_size, widths=s.widths)
    return own.vae(likelihood=_learned_scale)
