"""An autoregressive prior over the codes of a posterior such as `VectorQuantized`."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.precision import full_precision
from tfp_vae.errors import InputError
from tfp_vae.layers.code_prior import CodePrior
from tfp_vae.priors.causal import CausalNetwork
from tfp_vae.priors.sequence import CodeSequence


@keras.saving.register_keras_serializable(package="tfp_vae")
class AutoregressiveCodes(CodePrior):
    """`p(codes) = prod_i p(c_i | c_1, ..., c_{i - 1})`, row by row, by a causal network.

    `log_prob` is exact, and takes one pass of a `CausalNetwork`; a draw takes one for each
    position. `VAE.fit_prior` fits the prior to the codes of a trained VQ-VAE by cross-entropy: the
    second stage of van den Oord et al., arXiv:1711.00937.

    Args:
      hidden_units: the size of the network.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: the encoder has no single layer of codes, or an earlier model of the prior had
        another number of codes or positions.

    Example:
      >>> from tfp_vae import VAE, layers
      >>> encoder = keras.Sequential([keras.Input((8,)), layers.VectorQuantized((4, 2), 16)])
      >>> decoder = keras.Sequential([keras.Input((4, 2)), keras.layers.Flatten(),
      ...                             layers.IndependentBernoulli(8)])
      >>> vae = VAE(encoder, decoder)
      >>> x = np.random.default_rng(0).normal(size=[64, 8]).astype("float32") > 0
      >>> vae = vae.fit_prior(x.astype("float32"), AutoregressiveCodes(), epochs=1, verbose=0)
      >>> vae.sample(3).shape
      TensorShape([3, 8])
    """

    @functools.partial(checked, hidden_units="units")
    def __init__(self, hidden_units: int = 128, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.hidden_units = int(hidden_units)
        self.network: Any = None

    def bind(self, encoder: keras.Model) -> None:
        super().bind(encoder)
        length = math.prod(self.positions)
        if self.network is None:
            self.network = CausalNetwork(
                length, self.num_codes, self.hidden_units, dtype=full_precision()
            )
        if (self.network.length, self.network.num_codes) != (length, self.num_codes):
            raise InputError(
                f"{self.name}: expected an encoder of {self.network.length} positions and "
                f"{self.network.num_codes} codes, as that of its first VAE.",
                f"{length} positions and {self.num_codes} codes",
            )

    def over_codes(self, dtype: tf.DType) -> tfd.Distribution:
        return CodeSequence(self.network, self.positions, dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden_units": self.hidden_units}
