"""Discrete latents, two ways: relaxed to carry a gradient, and as they are, by VIMCO."""

import keras

from tfp_vae import ELBO, IWAE, VAE, data, layers, networks, plots, schedules
from tfp_vae.objectives import Objective

keras.utils.set_random_seed(0)
digits = data.load("digits")
x, x_test = data.binarized(digits.train), data.binarized(digits.test)


def fitted(posterior: keras.layers.Layer, objective: Objective) -> VAE:
    """A VAE of some categorical variables."""
    encoder = networks.encoder(digits.shape, posterior, widths=(256,))
    size = encoder.output_shape[1]
    decoder = networks.decoder(size, layers.IndependentBernoulli(digits.shape), widths=(256,))
    vae = VAE(encoder, decoder, objective=objective)
    vae.compile(keras.optimizers.Adam(5e-3))
    vae.fit(x, batch_size=64, epochs=60, verbose=0)
    return vae


# A draw of the relaxed distribution is nearly one-hot, the more so the lower the temperature, and
# its gradient reaches the encoder. The KL comes in slowly: the codes would never be used otherwise.
relaxed = fitted(
    layers.RelaxedOneHotCategorical(10, num_variables=5, temperature=0.67),
    ELBO(beta=schedules.warm_up(700)),
)
logs = relaxed.evaluate(x_test, verbose=0, return_dict=True)
print(f"five relaxed variables of ten values: nll {logs['nll']:.2f}, kl {logs['kl']:.2f} nats")

# A one-hot draw has no gradient: VIMCO weighs log q(z|x) by what a draw did better than the others.
exact = fitted(layers.OneHotCategorical(10), IWAE(8, estimator="vimco"))
logs = exact.evaluate(x_test, verbose=0, return_dict=True)
print(f"one exact variable of ten values: nll {logs['nll']:.2f}, kl {logs['kl']:.2f} nats")
clusters = exact.decode(keras.ops.eye(10)).mean()
plots.image_grid(clusters, 10, "E[x|z] of the ten values of z").savefig("discrete.png", dpi=120)
