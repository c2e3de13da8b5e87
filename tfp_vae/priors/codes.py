"""An autoregressive prior over the codes of a `VectorQuantized` posterior."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.precision import full_precision
from tfp_vae.errors import InputError
from tfp_vae.layers.code_prior import CodePrior
from tfp_vae.priors.causal import CausalNetwork


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
      InputError: the encoder has no single `VectorQuantized` layer, or an earlier `VAE` of the
        prior had another number of codes or positions.

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


class CodeSequence(tfd.Distribution):
    """`prod_i softmax(logits_i(c_1, ..., c_{i - 1}))[c_i]` over arrays of integers.

    Args:
      network: from `[n, length]` to logits `[n, length, k]`, each of those before it.
      positions: the shape of a draw, in order row by row.
      of: the dtype of the log_prob.

    Example:
      >>> p = CodeSequence(lambda c: tf.zeros([*c.shape, 3]), (2, 2))
      >>> p.sample(5).shape.as_list(), round(float(p.prob(tf.zeros([2, 2], "int32"))) * 81, 4)
      ([5, 2, 2], 1.0)
    """

    def __init__(
        self,
        network: Callable[[Any], Any],
        positions: tuple[int, ...],
        of: Any = tf.float32,
    ) -> None:
        parameters = dict(locals())
        self._network = network
        self._positions = tf.TensorShape(positions)
        self._of = of
        super().__init__(
            dtype=tf.int32,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name="CodeSequence",
        )

    @property
    def _length(self) -> int:
        return math.prod(self._positions)

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _batch_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.zeros([0], tf.int32)

    def _event_shape(self) -> tf.TensorShape:
        return self._positions

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.constant(self._positions.as_list(), tf.int32)

    def _log_prob(self, codes: tf.Tensor) -> tf.Tensor:
        rows = tf.reshape(codes, [-1, self._length])
        logits = tf.cast(self._network(rows), self._of)
        each = -tf.nn.sparse_softmax_cross_entropy_with_logits(rows, logits)
        leading = tf.shape(codes)[: tf.rank(codes) - self._positions.rank]
        return tf.reshape(tf.reduce_sum(each, axis=-1), leading)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        seeds = tfp.random.split_seed(seed, n=self._length)

        def draw(place: tf.Tensor, codes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            logits = self._network(codes)[:, place]
            drawn = tfd.Categorical(logits).sample(seed=tf.gather(seeds, place))
            here = tf.range(self._length) == place
            return place + 1, tf.where(here, drawn[:, tf.newaxis], codes)

        start = tf.zeros([n, self._length], tf.int32)
        _, codes = tf.while_loop(
            lambda place, _: place < self._length, draw, (0, start), maximum_iterations=self._length
        )
        return tf.reshape(codes, tf.concat([[n], self.event_shape_tensor()], axis=0))
