"""A variational autoencoder in plain Keras: two networks, each ending in a distribution layer."""

import keras

import tfp_vae
from tfp_vae import data, layers, plots, priors

keras.utils.set_random_seed(0)
digits = data.load("digits")
x, x_test = data.binarized(digits.train), data.binarized(digits.test)

prior = priors.unit_normal(8)
encoder = keras.Sequential(
    [
        keras.Input((8, 8, 1)),
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="silu"),
        keras.layers.Dense(layers.IndependentNormal.params_size(8)),
        layers.IndependentNormal(8, activity_regularizer=layers.KLDivergenceRegularizer(prior)),
    ]
)
decoder = keras.Sequential(
    [
        keras.Input((8,)),
        keras.layers.Dense(128, activation="silu"),
        keras.layers.Dense(layers.IndependentBernoulli.params_size((8, 8, 1))),
        layers.IndependentBernoulli((8, 8, 1)),
    ]
)

# The encoder's output is a distribution; the decoder takes it as a tensor, a draw of z.
vae = keras.Model(encoder.inputs[0], decoder(encoder.outputs[0]))
vae.compile(keras.optimizers.Adam(2e-3), loss=tfp_vae.NegativeLogLikelihood())
vae.fit(x, x, batch_size=64, epochs=60, verbose=0)
print(f"negative test ELBO: {vae.evaluate(x_test, x_test, verbose=0):.2f} nats")

likelihood = vae(x_test[:10])  # p(x|z), a tfd.Distribution
print(f"log p(x|z) of the first test digit: {likelihood.log_prob(x_test[:10])[0]:.2f} nats")
figure = plots.reconstructions(x_test[:10], likelihood.mean(), "digits, reconstructed")
figure.savefig("quickstart.png", dpi=120)
