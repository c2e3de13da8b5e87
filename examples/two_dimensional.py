"""A latent plane: the manifold of digits and where the test set lies on it."""

import sys

import keras

from tfp_vae import VAE, data, layers, networks, plots

keras.utils.set_random_seed(0)
images = data.load(sys.argv[1] if len(sys.argv) > 1 else "digits")
x_test = data.binarized(images.test)
steps = len(images.train) // 100

vae = VAE(
    networks.encoder(images.shape, posterior=2, widths=(256, 256)),
    networks.decoder(2, layers.IndependentBernoulli(images.shape), widths=(256, 256)),
)
vae.compile(keras.optimizers.Adam(1e-3))
batches = data.batches(images.train, batch_size=100)
vae.fit(batches, epochs=max(5, 2000 // steps), steps_per_epoch=steps, shuffle=False, verbose=0)
logs = vae.evaluate(x_test, verbose=0, return_dict=True)
print(f"negative test ELBO {logs['loss']:.2f} = nll {logs['nll']:.2f} + kl {logs['kl']:.2f} nats")

plots.manifold(vae).savefig("manifold.png", dpi=120)
plots.latent_space(vae.encode(x_test).mean(), images.test_labels).savefig("latent.png", dpi=120)
