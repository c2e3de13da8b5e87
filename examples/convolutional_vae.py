"""A convolutional VAE in plain Keras, after TFP's tutorial. Argument: a data set, such as mnist."""

import sys

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import data, layers, plots

tfd, tfk = tfp.distributions, keras.layers
keras.utils.set_random_seed(0)
images = data.load(sys.argv[1] if len(sys.argv) > 1 else "digits")
x, x_test = data.binarized(images.train), data.binarized(images.test)
shape, size = x.shape[1:], 16
small = (shape[0] // 4, shape[1] // 4, 32)
epochs = 60 if images.name == "digits" else 5

prior = tfd.Independent(tfd.Normal(loc=tf.zeros(size), scale=1.0), reinterpreted_batch_ndims=1)
encoder = keras.Sequential(
    [
        keras.Input(shape),
        tfk.Conv2D(16, 3, strides=2, padding="same", activation="leaky_relu"),
        tfk.Conv2D(32, 3, strides=2, padding="same", activation="leaky_relu"),
        tfk.Flatten(),
        tfk.Dense(layers.MultivariateNormalTriL.params_size(size)),
        layers.MultivariateNormalTriL(
            size, activity_regularizer=layers.KLDivergenceRegularizer(prior)
        ),
    ]
)
decoder = keras.Sequential(
    [
        keras.Input((size,)),
        tfk.Dense(small[0] * small[1] * small[2], activation="leaky_relu"),
        tfk.Reshape(small),
        tfk.Conv2DTranspose(32, 3, strides=2, padding="same", activation="leaky_relu"),
        tfk.Conv2DTranspose(16, 3, strides=2, padding="same", activation="leaky_relu"),
        tfk.Conv2D(shape[-1], 3, padding="same"),
        tfk.Flatten(),
        layers.IndependentBernoulli(shape, tfd.Bernoulli.logits),
    ]
)
vae = keras.Model(inputs=encoder.inputs[0], outputs=decoder(encoder.outputs[0]))
# On a CPU TensorFlow's own convolutions are faster than XLA's.
vae.compile(keras.optimizers.Adam(3e-3), loss=lambda x, rv_x: -rv_x.log_prob(x), jit_compile=False)
vae.fit(x, x, batch_size=64, epochs=epochs, verbose=0)
print(f"negative test ELBO: {vae.evaluate(x_test, x_test, verbose=0):.2f} nats")

z = prior.sample(64, seed=0)
xhat = decoder(z)  # a distribution over images
plots.image_grid(xhat.mean(), title="means of p(x|z), z from the prior").savefig(
    "samples.png", dpi=120
)
