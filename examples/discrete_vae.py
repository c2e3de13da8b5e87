"""Discrete latents, two ways: relaxed to carry a gradient, and as they are, by VIMCO."""

import keras

from tfp_vae import IWAE, VAE, data, layers, networks, plots

keras.utils.set_random_seed(0)
digits = data.load("digits")
x, x_test = data.binarized(digits.train), data.binarized(digits.test)


def fitted(posterior, objective=None):
    """A VAE whose z are 20 categorical variables, or one, of 10 categories each."""
    encoder = networks.encoder(digits.shape, posterior, widths=(256,))
    size = encoder.output_shape[1]
    decoder = networks.decoder(size, layers.IndependentBernoulli(digits.shape), widths=(256,))
    vae = VAE(encoder, decoder, objective=objective)
    vae.compile(keras.optimizers.Adam(2e-3))
    vae.fit(x, batch_size=64, epochs=40, verbose=0)
    return vae


# A draw of the relaxed distribution is nearly one-hot, the more so the lower the temperature, which
# falls from 1 to 0.5 here. Its gradient reaches the encoder through the draw.
cooling = keras.optimizers.schedules.ExponentialDecay(1.0, 1000, 0.5)
relaxed = fitted(
    layers.RelaxedOneHotCategorical(10, num_variables=20, temperature=cooling),
)
print(f"20 relaxed variables, nll: {relaxed.evaluate(x_test, verbose=0, return_dict=True)['nll']:.2f}")

# A one-hot draw has no gradient: VIMCO weighs log q(z|x) by what a draw did better than the others.
exact = fitted(layers.OneHotCategorical(10), IWAE(8, estimator="vimco"))
logs = exact.evaluate(x_test, verbose=0, return_dict=True)
print(f"negative test ELBO of one exact variable: {logs['nll'] + logs['kl']:.2f} nats")
clusters = exact.decode(keras.ops.eye(10)).mean()
plots.image_grid(clusters, 10, "E[x|z] of the ten values of z").savefig("discrete.png", dpi=120)
