"""Examples from three sources, and batches of them as a function of the training step."""

from tfp_vae.data.batching import batches
from tfp_vae.data.examples import Examples
from tfp_vae.data.pixels import binarized, training_images
from tfp_vae.data.sources import load
from tfp_vae_cli.options import Binarize

__all__ = ["Binarize", "Examples", "batches", "binarized", "load", "training_images"]
