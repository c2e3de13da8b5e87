"""A second VAE, over the latent values of the first, as its prior."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import distributions as tfd

from tfp_vae.arguments.rules import checked
from tfp_vae.bridge.loading import loaded
from tfp_vae.bridge.marginals import Prior
from tfp_vae.distributions.density import log_density
from tfp_vae.errors import InputError


@keras.saving.register_keras_serializable(package="tfp_vae")
class VAEPrior(Prior):
    """`p(z) = E_{p(u)} p(z|u)`: a second VAE, with latents u, generates z.

    A draw is exact. The density has no closed form: `log_prob` is the importance-weighted estimate
    `log 1/K sum_k p(z|u_k) p(u_k) / q(u_k|z)` with fresh u_k from the second encoder at each call.
    `p` is estimated without bias, so that `VAE.log_likelihood` is a lower bound of log p(x), and
    the loss of a VAE an upper bound of -log p(x). Dai and Wipf, arXiv:1903.05789; the estimate:
    Burda et al., arXiv:1509.00519.

    Args:
      vae: a `VAE` whose x are the z of the first, with a likelihood over real numbers, such as
        `IndependentNormal`. `VAE.fit_prior` trains the second `VAE`, by its own `fit`.
      num_samples: K.
      **kwargs: as for any Keras layer.

    Raises:
      InputError: `vae` is no `VAE`, or num_samples is below 1.

    Example:
      >>> from tfp_vae import VAE, layers
      >>> normal = layers.IndependentNormal
      >>> second = VAE(keras.Sequential([keras.Input((2,)), keras.layers.Dense(4), normal(2)]),
      ...              keras.Sequential([keras.Input((2,)), keras.layers.Dense(4), normal(2)]))
      >>> p = VAEPrior(second).distribution()
      >>> p.sample(5).shape.as_list(), p.log_prob(tf.zeros([5, 2])).shape.as_list()
      ([5, 2], [5])
    """

    @checked
    def __init__(self, vae: keras.Model, num_samples: int = 10, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not all(hasattr(vae, name) for name in ("encoder", "decoder", "prior")):
            raise InputError("Expected a tfp_vae.VAE over the z of the first.", vae)
        self.num_samples = int(num_samples)
        # Keras would report the metrics of an attribute that is a VAE as those of the first.
        self.parts = [vae.encoder, vae.decoder, vae.prior]
        self._vae = lambda: vae

    def second_vae(self) -> keras.Model:
        """Returns the second VAE."""
        return self._vae()

    def distribution(self) -> SecondStage:
        return SecondStage(self._vae(), self.num_samples)

    def get_config(self) -> dict[str, Any]:
        vae = keras.saving.serialize_keras_object(self._vae())
        return {**super().get_config(), "vae": vae, "num_samples": self.num_samples}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> VAEPrior:
        return cls(**{**config, "vae": loaded(config["vae"])})


class SecondStage(tfd.Distribution):
    """The z that a VAE generates, with a lower bound as `log_prob`: see `VAEPrior`.

    Args:
      vae: the second VAE.
      num_samples: of the estimate.
    """

    def __init__(self, vae: Any, num_samples: int) -> None:
        parameters = dict(locals())
        self._vae, self._num_samples = vae, num_samples
        super().__init__(
            dtype=vae.decoder.outputs[0].dtype,
            reparameterization_type=tfd.NOT_REPARAMETERIZED,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name="SecondStage",
        )

    def _batch_shape(self) -> tf.TensorShape:
        return tf.TensorShape([])

    def _batch_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.zeros([0], tf.int32)

    def _event_shape(self) -> tf.TensorShape:
        return tf.TensorShape(self._vae.decoder.output_shape[1:])

    def _event_shape_tensor(self, **parameters: Any) -> tf.Tensor:
        return tf.constant(self.event_shape.as_list(), tf.int32)

    def _sample_n(self, n: Any, seed: Any = None) -> tf.Tensor:
        u_seed, z_seed = tfp.random.split_seed(seed)
        u = self._vae.prior.distribution().sample(n, seed=u_seed)
        return self._vae.decode(u).sample(seed=z_seed)

    def _log_prob(self, z: tf.Tensor) -> tf.Tensor:
        event, k = self.event_shape, self._num_samples
        rows = tf.ensure_shape(tf.reshape(z, [-1, *event]), [None, *event])
        posterior = self._vae.encode(rows)
        u = posterior.sample(k)
        flat = tf.reshape(u, tf.concat([[-1], tf.shape(u)[2:]], axis=0))
        likelihood = self._vae.decode(tf.ensure_shape(flat, [None, *u.shape[2:]]))
        tiled = tf.tile(rows, [k] + [1] * event.rank)
        log_p_z = tf.reshape(likelihood.log_prob(tiled), [k, -1])
        log_w = log_p_z + log_density(self._vae.prior.distribution(), u) - posterior.log_prob(u)
        # The losses that its layers have added are no part of the first VAE's loss.
        self._vae._clear_losses()
        values = tf.reduce_logsumexp(log_w, axis=0) - math.log(k)
        return tf.reshape(values, tf.shape(z)[: tf.rank(z) - event.rank])
