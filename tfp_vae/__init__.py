"""TensorFlow Probability's distribution layers and variational autoencoders, native to Keras 3."""

from tfp_vae.bridge import backend as _backend  # noqa: F401, I001  (first: it checks)
from tfp_vae import layers, objectives, priors, schedules
from tfp_vae.errors import InputError
from tfp_vae.model.latent_model import LatentModel
from tfp_vae.losses import NegativeLogLikelihood
from tfp_vae.objectives import ELBO, IWAE
from tfp_vae.objectives.frozen import frozen
from tfp_vae.objectives.players import ByPlayer
from tfp_vae.model.vae import VAE
from tfp_vae_cli import __version__

__all__ = [
    "ELBO",
    "IWAE",
    "VAE",
    "ByPlayer",
    "InputError",
    "LatentModel",
    "NegativeLogLikelihood",
    "__version__",
    "frozen",
    "layers",
    "objectives",
    "priors",
    "schedules",
]
