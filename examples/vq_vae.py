"""A VQ-VAE: discrete codes from a codebook, and a second model of the codes to draw new ones."""

import keras

from tfp_vae import VAE, data, layers, networks, plots, priors

keras.utils.set_random_seed(0)
digits = data.load("digits")
x, x_test = data.binarized(digits.train), data.binarized(digits.test)

# z: 4 vectors of dimension 8, each one of the 32 of the codebook.
posterior = layers.VectorQuantized((4, 8), num_codes=32)
vae = VAE(
    networks.encoder(digits.shape, posterior, widths=(256,)),
    networks.decoder((4, 8), layers.IndependentBernoulli(digits.shape), widths=(256,)),
)
vae.compile(keras.optimizers.Adam(2e-3))
vae.fit(x, batch_size=64, epochs=40, verbose=0)
before = vae.evaluate(x_test, verbose=0, return_dict=True)
print(f"codes alike: nll {before['nll']:.2f}, kl {before['kl']:.2f} nats (4 log 32)")

# -log p(codes) is the KL: a prior that knows the codes makes it smaller, and draws what is likely.
fitted = vae.fit_prior(x, priors.AutoregressiveCodes(64), epochs=30, seed=0, verbose=0)
fitted.compile()
after = fitted.evaluate(x_test, verbose=0, return_dict=True)
print(f"codes one after another: kl {after['kl']:.2f} nats")
figure = plots.image_grid(fitted.sample(64, seed=1), 16, "codes drawn one after another, decoded")
figure.savefig("vq.png", dpi=120)
