"""Counts: which likelihood suits them is a question of nats."""

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from tfp_vae import VAE, layers, networks

keras.utils.set_random_seed(0)
# Each number counts the black pixels of a 4x4 block of a scanned digit: 0 to 16.
counts = load_digits().data.astype("float32")
x, x_test = counts[:1500], counts[1500:]

for likelihood in ("IndependentPoisson", "NegativeBinomial", "ZeroInflatedNegativeBinomial"):
    vae = VAE(
        networks.encoder((64,), layers.IndependentNormal(8), widths=(128,)),
        networks.decoder(8, getattr(layers, likelihood)(64), widths=(128,)),
    )
    # Logarithms of the rates are what the decoder puts out: no division of the data is needed.
    vae.compile(keras.optimizers.Adam(2e-3))
    vae.fit(x, batch_size=64, epochs=40, verbose=0)
    nats = vae.evaluate(x_test, verbose=0, return_dict=True)["loss"]
    print(f"negative test ELBO, {likelihood}: {nats:.1f} nats")

drawn = vae.sample(1000, mean=False, seed=1).numpy()
figure = Figure(figsize=(6, 3.5), layout="constrained")
axis = figure.subplots()
levels = np.arange(20)
for name, values, shift in (("test set", x_test, -0.2), ("drawn", drawn, 0.2)):
    share = [np.mean(values == level) for level in levels]
    axis.bar(levels + shift, share, width=0.4, label=name)
axis.set(
    xlabel="count of one pixel", ylabel="share", title="counts, and those that the model draws"
)
axis.set_xticks(levels[::2])
axis.legend()
figure.savefig("counts.png", dpi=120)
