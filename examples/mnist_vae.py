"""The VAE class: train, evaluate, sample, save, export. `mnist_vae.py mnist` for MNIST."""

import sys

import keras
import tensorflow as tf

import tfp_vae
from tfp_vae import data, layers, networks, plots
from tfp_vae.evaluation import report

keras.utils.set_random_seed(0)
images = data.load(sys.argv[1] if len(sys.argv) > 1 else "digits")
x_test = data.binarized(images.test)
steps = len(images.train) // 128

vae = tfp_vae.VAE(
    networks.encoder(images.shape, posterior=16, widths=(256, 256)),
    networks.decoder(16, layers.IndependentBernoulli(images.shape), widths=(256, 256)),
    objective=tfp_vae.ELBO(beta=tfp_vae.schedules.warm_up(200)),
)
vae.compile(keras.optimizers.Adam(1e-3))
vae.fit(
    data.batches(images.train, batch_size=128),  # binarized afresh each epoch
    epochs=max(5, 1500 // steps),
    steps_per_epoch=steps,
    shuffle=False,  # the batches come shuffled
    verbose=0,
)
text, results = report(vae, x_test, images.train, num_samples=100)
print(text)

plots.image_grid(vae.sample(64, seed=0), title="drawn from the prior").savefig("samples.png")

vae.save("vae.keras")
again = keras.models.load_model("vae.keras")  # wherever tfp_vae is imported
vae.export("saved_model")
served = tf.saved_model.load("saved_model")  # wherever TensorFlow is
difference = tf.reduce_max(tf.abs(served.serve(x_test[:8]) - again.reconstruct(x_test[:8])))
print(f"reloaded and served, the same to {difference:.0e}")
