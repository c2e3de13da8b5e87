"""Published models of integer codes, each with an autoregressive prior that is fitted afterwards.

z has as many positions as the setting's latent size; the numbers of codes suit small images.
"""

from __future__ import annotations

from tfp_vae import layers, priors
from tfp_vae.model.vae import VAE
from tfp_vae.objectives import CodeEntropy
from tfp_vae.recipes.base import Setting, recipe

__all__: list[str] = []  # `RECIPES` has them


def _over_codes(s: Setting) -> priors.AutoregressiveCodes:
    return priors.AutoregressiveCodes()


@recipe(
    "RQ-VAE",
    "Lee et al., arXiv:2203.01941",
    "many codes from a small codebook, coarse to fine",
    prior_after=_over_codes,
)
def rq_vae(s: Setting) -> VAE:
    posterior = layers.ResidualQuantized((s.latent_size, 4, 8), num_codes=64)
    return s.vae(posterior, first=layers.SumOfLevels())


@recipe(
    "HRQ-VAE",
    "Hosking et al., arXiv:2203.03463",
    "codes whose first levels alone say the most",
    prior_after=_over_codes,
)
def hrq_vae(s: Setting, temperature: float = 1.0) -> VAE:
    posterior = layers.ResidualQuantized(
        (s.latent_size, 3, 8), num_codes=16, shared=False, decay=None, temperature=temperature
    )
    return s.vae(posterior, first=layers.SumOfLevels(dropout=0.3))


@recipe(
    "FSQ",
    "Mentzer et al., arXiv:2309.15505",
    "codes without a codebook that could fall out of use",
    prior_after=_over_codes,
)
def fsq_vae(s: Setting) -> VAE:
    return s.vae(layers.FiniteScalarQuantized((s.latent_size, 3), levels=(8, 6, 5)))


@recipe(
    "LFQ",
    "Yu et al., arXiv:2310.05737",
    "codes of bits, of which there may be very many",
    prior_after=_over_codes,
)
def lfq_vae(s: Setting) -> VAE:
    posterior = layers.LookupFreeQuantized((s.latent_size, 8))
    return s.vae(posterior, objective=CodeEntropy(weight=0.1))
