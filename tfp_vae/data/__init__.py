"""Examples from three sources, and batches of them as a function of the training step."""

from tfp_vae.data.examples import Binarize, Examples, batches, binarized, load, training_images

__all__ = ["Binarize", "Examples", "batches", "binarized", "load", "training_images"]
