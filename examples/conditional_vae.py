"""Digits on demand: encoder and decoder are given the label, and new digits are drawn by label."""

import keras
import numpy as np

from tfp_vae import VAE, data, layers, networks, plots

keras.utils.set_random_seed(0)
digits = data.load("digits")
x, x_test = data.binarized(digits.train), data.binarized(digits.test)

vae = VAE(
    networks.encoder(digits.shape, layers.IndependentNormal(8), widths=(256,), num_classes=10),
    networks.decoder(8, layers.IndependentBernoulli(digits.shape), widths=(256,), num_classes=10),
)
vae.compile(keras.optimizers.Adam(2e-3))
# x and its conditions, as a list or by the names of the networks' inputs.
vae.fit({"x": x, "label": digits.train_labels}, batch_size=64, epochs=60, verbose=0)
test = {"x": x_test, "label": digits.test_labels}
elbo = -vae.evaluate(test, verbose=0, return_dict=True)["loss"]
print(f"negative test ELBO: {-elbo:.2f} nats")

# What do the labels know? log p(x|label) for each label, and the largest of them.
every = [
    vae.log_likelihood([x_test, np.full(len(x_test), label, "int32")], num_samples=30)
    for label in range(10)
]
accuracy = np.mean(np.argmax(every, axis=0) == digits.test_labels)
print(f"digits told apart by their likelihood: {accuracy:.0%}")

images = vae.sample(80, seed=1, conditions=np.arange(80) % 10)
plots.image_grid(images, 10, "drawn from the prior, a column for each label").savefig(
    "conditional.png", dpi=120
)
