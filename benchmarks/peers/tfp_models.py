"""The models of `tfp_layers`, as TFP's tutorial on VAEs with probabilistic layers has them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # read when TensorFlow is imported

import tensorflow as tf
import tensorflow_probability as tfp

from benchmarks.work import Work

tfk = tf.keras
tfkl = tf.keras.layers
tfpl = tfp.layers
tfd = tfp.distributions

SHAPE = (28, 28, 1)


def prior(size: int) -> tfd.Distribution:
    """A unit normal."""
    return tfd.Independent(tfd.Normal(tf.zeros(size), 1.0), reinterpreted_batch_ndims=1)


def regularizer(size: int, exact: bool) -> tfpl.KLDivergenceRegularizer:
    """Half of the KL, as Keras adds it twice: once for the layer and once for its model."""
    return tfpl.KLDivergenceRegularizer(prior(size), use_exact_kl=exact, weight=0.5)


def perceptrons(
    work: Work, activation: str = "relu", regularized: bool = True
) -> tuple[tfk.Model, tfk.Model]:
    """Encoder and decoder; the KL is the closed form."""
    tfk.utils.set_random_seed(0)
    size = work.latent_size
    kl = regularizer(size, exact=True) if regularized else None
    encoder = tfk.Sequential(
        [
            tfkl.InputLayer(input_shape=SHAPE),
            tfkl.Flatten(),
            *[tfkl.Dense(width, activation) for width in work.widths],
            tfkl.Dense(tfpl.IndependentNormal.params_size(size)),
            tfpl.IndependentNormal(size, activity_regularizer=kl),
        ]
    )
    decoder = tfk.Sequential(
        [
            tfkl.InputLayer(input_shape=(size,)),
            *[tfkl.Dense(width, activation) for width in reversed(work.widths)],
            tfkl.Dense(tfpl.IndependentBernoulli.params_size(SHAPE)),
            tfpl.IndependentBernoulli(SHAPE, tfd.Bernoulli.logits),
        ]
    )
    return encoder, decoder


def convolutional(size: int) -> tuple[tfk.Model, tfk.Model]:
    """Those of the tutorial; the KL is what it has there: an estimate at z."""
    tfk.utils.set_random_seed(0)
    leaky = tf.nn.leaky_relu
    encoder = tfk.Sequential(
        [
            tfkl.InputLayer(input_shape=SHAPE),
            tfkl.Lambda(lambda x: tf.cast(x, tf.float32) - 0.5),
            tfkl.Conv2D(32, 5, strides=1, padding="same", activation=leaky),
            tfkl.Conv2D(32, 5, strides=2, padding="same", activation=leaky),
            tfkl.Conv2D(64, 5, strides=1, padding="same", activation=leaky),
            tfkl.Conv2D(64, 5, strides=2, padding="same", activation=leaky),
            tfkl.Conv2D(64, 7, strides=1, padding="valid", activation=leaky),
            tfkl.Flatten(),
            tfkl.Dense(tfpl.MultivariateNormalTriL.params_size(size)),
            tfpl.MultivariateNormalTriL(size, activity_regularizer=regularizer(size, exact=False)),
        ]
    )
    decoder = tfk.Sequential(
        [
            tfkl.InputLayer(input_shape=(size,)),
            tfkl.Reshape([1, 1, size]),
            tfkl.Conv2DTranspose(64, 7, strides=1, padding="valid", activation=leaky),
            tfkl.Conv2DTranspose(64, 5, strides=1, padding="same", activation=leaky),
            tfkl.Conv2DTranspose(64, 5, strides=2, padding="same", activation=leaky),
            tfkl.Conv2DTranspose(32, 5, strides=1, padding="same", activation=leaky),
            tfkl.Conv2DTranspose(32, 5, strides=2, padding="same", activation=leaky),
            tfkl.Conv2DTranspose(32, 5, strides=1, padding="same", activation=leaky),
            tfkl.Conv2D(1, 5, strides=1, padding="same"),
            tfkl.Flatten(),
            tfpl.IndependentBernoulli(SHAPE, tfd.Bernoulli.logits),
        ]
    )
    return encoder, decoder


def vae(encoder: tfk.Model, decoder: tfk.Model, rate: Any = 1e-3) -> tfk.Model:
    """One model of both, whose loss is the negative ELBO."""
    model = tfk.Model(inputs=encoder.inputs, outputs=decoder(encoder.outputs[0]))
    model.compile(tf.optimizers.Adam(rate), loss=lambda x, rv_x: -rv_x.log_prob(x))
    return model


def negative_elbo(
    encoder: tfk.Model, decoder: tfk.Model, prior: tfd.Distribution
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Of images, their mean, with the KL's closed form."""

    @tf.function
    def mean(x: tf.Tensor) -> tf.Tensor:
        posterior = encoder(x)
        nll = -decoder(posterior.sample()).log_prob(x)
        return tf.reduce_mean(nll + tfd.kl_divergence(posterior, prior))

    return mean


class IWAE(tfk.Model):
    """There is no layer for the importance-weighted bound: a training step of one's own."""

    def __init__(self, encoder: tfk.Model, decoder: tfk.Model, num_samples: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.num_samples = encoder, decoder, num_samples

    def negative_bound(self, x: tf.Tensor) -> tf.Tensor:
        """Its mean over the images."""
        log_weight = log_weights(self.encoder(x), self.decoder, x, self.num_samples)
        return -tf.reduce_mean(tfp.math.reduce_logmeanexp(log_weight, axis=0))

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = self.negative_bound(data[0])
        self.optimizer.minimize(loss, self.trainable_variables, tape)
        return {"loss": loss}


def log_weights(
    posterior: tfd.Distribution, decoder: tfk.Model, x: tf.Tensor, num_samples: int
) -> tf.Tensor:
    """`log p(x, z) - log q(z|x)` of each sample, `[num_samples, batch]`."""
    z = posterior.sample(num_samples)
    flat, tiled = tf.reshape(z, [-1, z.shape[-1]]), tf.tile(x, [num_samples, 1, 1, 1])
    log_p = tf.reshape(decoder(flat).log_prob(tiled), [num_samples, -1])
    return log_p + prior(z.shape[-1]).log_prob(z) - posterior.log_prob(z)
