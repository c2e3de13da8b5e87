"""Priors over the codes of a posterior such as `VectorQuantized`."""

from __future__ import annotations

import abc
from collections.abc import Callable

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.bridge.marginals import Prior
from tfp_vae.distributions.categorical import Categories
from tfp_vae.distributions.code_space import CodeSpace
from tfp_vae.distributions.codes import CodeVectors
from tfp_vae.errors import InputError


class CodePrior(Prior):
    """p(z) = p(codes): a subclass says how the codes are distributed, in `over_codes`.

    The codes' vectors, and the numbers of codes and positions, are those of the encoder of the
    prior's model.

    Attributes:
      num_codes: k, known once the prior has its model.
      positions: the shape of the codes of one z, likewise.

    Raises:
      InputError: the encoder has no single layer of codes, or the prior is used without a model.
    """

    _space: Callable[[], CodeSpace] | None = None
    num_codes: int
    positions: tuple[int, ...]

    def bind(self, encoder: keras.Model) -> None:
        self._space = space_of(encoder, self.name)
        self.num_codes = self._space().num_codes
        self.positions = tuple(encoder.output_shape[1:-1])

    @abc.abstractmethod
    def over_codes(self, dtype: tf.DType) -> tfd.Distribution:
        """Returns p(codes), batch `[]`, event `positions`; its log_prob is of `dtype`."""

    def distribution(self) -> CodeVectors:
        if self._space is None:
            raise InputError(
                f"{self.name}, a prior over codes, takes the codebook of an encoder: expected "
                f"VAE(encoder, decoder, prior={type(self).__name__}(...)).",
                "one without a VAE",
            )
        space = self._space()
        return CodeVectors(self.over_codes(space.dtype), space)


def space_of(encoder: keras.Model, name: str) -> Callable[[], CodeSpace]:
    """Returns a function that gives the codes' vectors of the posterior that ends the encoder.

    It is a function, since Keras would track the layer itself as a part of its holder.

    Raises:
      InputError: the encoder has no layer of codes, or several.
    """
    coded = [layer for layer in encoder._flatten_layers() if hasattr(layer, "code_space")]
    if len(coded) != 1:
        raise InputError(
            f"{name}, a prior over codes: expected an encoder that ends in a "
            "VectorQuantized layer or another one of codes, the only one.",
            f"{len(coded)} of them",
        )
    return lambda: coded[0].code_space()


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
