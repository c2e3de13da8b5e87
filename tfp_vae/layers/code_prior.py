"""Priors over the codes of a `VectorQuantized` posterior."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.marginals import Prior
from tfp_vae.distributions.categorical import Categories
from tfp_vae.distributions.codebook import Codebook
from tfp_vae.distributions.codes import CodeVectors
from tfp_vae.errors import InputError


class CodePrior(Prior):
    """p(z) = p(codes): a subclass says how the codes are distributed, in `over_codes`.

    The codebook is that of the encoder of the prior's `VAE`.

    Attributes:
      num_codes: k, known once the prior has its `VAE`.
      positions: the shape of the codes of one z, likewise.

    Raises:
      InputError: the encoder has no single `VectorQuantized` layer, or the prior is used without a
        `VAE`.
    """

    _vectors: Callable[[], Any] | None = None
    num_codes: int
    positions: tuple[int, ...]

    def bind(self, encoder: keras.Model) -> None:
        codebooks = [layer for layer in encoder._flatten_layers() if isinstance(layer, Codebook)]
        if len(codebooks) != 1:
            raise InputError(
                f"{self.name}, a prior over codes: expected an encoder that ends in a "
                "VectorQuantized layer, the only one.",
                f"{len(codebooks)} codebooks",
            )
        # A function: Keras would track the codebook itself as a part of the prior.
        self._vectors = lambda: codebooks[0].vectors
        self.num_codes = codebooks[0].num_codes
        self.positions = tuple(encoder.output_shape[1:-1])

    @abc.abstractmethod
    def over_codes(self, dtype: tf.DType) -> tfd.Distribution:
        """Returns p(codes), batch `[]`, event `positions`; its log_prob is of `dtype`."""

    def distribution(self) -> CodeVectors:
        if self._vectors is None:
            raise InputError(
                f"{self.name}, a prior over codes, takes the codebook of an encoder: expected "
                f"VAE(encoder, decoder, prior={type(self).__name__}(...)).",
                "one without a VAE",
            )
        vectors = tf.convert_to_tensor(self._vectors())
        return CodeVectors(self.over_codes(vectors.dtype), vectors)


@keras.saving.register_keras_serializable(package="tfp_vae")
class UniformCodes(CodePrior):
    """`p(codes) = num_codes^(-positions)`: the uniform prior of a VQ-VAE in training.

    The KL is `positions log(num_codes)` nats, whatever the codes. Van den Oord et al.,
    arXiv:1711.00937.

    Example:
      >>> from tfp_vae import VAE, layers
      >>> encoder = keras.Sequential([keras.Input((8,)), layers.VectorQuantized((4, 2), 16)])
      >>> decoder = keras.Sequential([keras.Input((4, 2)), keras.layers.Flatten(),
      ...                             layers.IndependentBernoulli(8)])
      >>> vae = VAE(encoder, decoder, prior=UniformCodes())
      >>> p = vae.prior.distribution()
      >>> round(float(p.log_prob(p.sample()) / np.log(16)), 4)
      -4.0
    """

    def over_codes(self, dtype: tf.DType) -> tfd.Distribution:
        logits = tf.zeros([*self.positions, self.num_codes], dtype)
        return tfd.Independent(Categories(logits), len(self.positions))
