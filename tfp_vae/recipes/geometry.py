"""Published models whose latent space is curved, and one whose z follow the model's own slope."""

from __future__ import annotations

from tfp_vae import layers
from tfp_vae.model.vae import VAE
from tfp_vae.objectives import Hamiltonian, RiemannianHamiltonian
from tfp_vae.recipes.base import Setting, recipe

__all__: list[str] = []  # `RECIPES` has them


@recipe(
    "von Mises-Fisher VAE",
    "Davidson et al., arXiv:1804.00891",
    "directions in any dimension, with the paper's own distribution",
)
def von_mises_fisher_vae(s: Setting) -> VAE:
    return s.vae(layers.VonMisesFisher(max(2, s.latent_size)))


@recipe(
    "Poincare VAE",
    "Mathieu et al., arXiv:1901.06033",
    "trees in the data, laid out in few dimensions",
)
def poincare_vae(s: Setting, curvature: float = 1.0, riemannian: bool = False) -> VAE:
    planes = layers.Gyroplanes(s.widths[-1] if s.widths else 64, curvature)
    normal = layers.RiemannianNormal if riemannian else layers.WrappedNormal
    return s.vae(normal(s.latent_size, curvature), first=planes)


@recipe(
    "Hamiltonian VAE",
    "Caterini et al., arXiv:1805.11328",
    "posteriors that a simple encoder does not reach",
)
def hamiltonian_vae(s: Setting) -> VAE:
    return s.vae(objective=Hamiltonian(num_steps=3))


@recipe(
    "Riemannian Hamiltonian VAE",
    "Chadebec et al., arXiv:2010.11518",
    "few examples: z moves along where these lie, by a metric that is learned",
)
def riemannian_hamiltonian_vae(s: Setting) -> VAE:
    return s.vae(objective=RiemannianHamiltonian(num_steps=3))
