"""Regression that knows what it does not know: noise, weights, or the function as distributions."""

import keras
import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import NegativeLogLikelihood, layers, priors

keras.utils.set_random_seed(0)
keras.config.set_floatx("float64")  # for the Gaussian process' matrices
rng = np.random.default_rng(0)
x = rng.uniform(-2, 2, [300, 1])  # the noise grows to the right
y = np.sin(2 * x) + 0.5 * x + (0.15 + 0.1 * (x + 2)) * rng.normal(size=x.shape)
x_new = np.linspace(-3.5, 3.5, 200)[:, None]


def posterior(kernel_size: int, bias_size: int, dtype: object) -> keras.Model:
    """Independent Normals over a layer's weights."""
    n = kernel_size + bias_size
    start = layers.BlockwiseInitializer(["random_normal", keras.initializers.Constant(-4)], [n, n])
    return keras.Sequential(
        [layers.VariableLayer(2 * n, dtype, initializer=start), layers.IndependentNormal(n)]
    )


def prior(kernel_size: int, bias_size: int, dtype: object) -> object:
    """A unit Normal over them."""
    return priors.unit_normal(kernel_size + bias_size)


class Kernel(keras.layers.Layer):
    """Of the Gaussian process: its amplitude and length scale are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.logs = self.add_weight(shape=(2,), initializer="zeros")

    @property
    def kernel(self) -> object:
        """The kernel at the present weights."""
        return tfp.math.psd_kernels.ExponentiatedQuadratic(*tf.unstack(tf.exp(self.logs)))


def bayesian(units: int, activation: str | None = None) -> keras.layers.Layer:
    """A dense layer whose weights are distributions."""
    return layers.DenseVariational(units, posterior, prior, 1 / len(x), activation=activation)


dense, normal = keras.layers.Dense, layers.IndependentNormal
spots = keras.initializers.Constant(np.linspace(-2, 2, 10)[:, None])
models = {
    "noise": [dense(32, "tanh"), dense(2), normal(1)],
    "noise and weights": [bayesian(32, "tanh"), bayesian(2), normal(1)],
    "functions": [layers.VariationalGaussianProcess(10, Kernel(), 1, spots, "zeros")],
}
figure, axes = plt.subplots(1, 3, figsize=(12, 3.5), sharey=True, layout="constrained")
for axis, (name, stack) in zip(axes, models.items(), strict=True):
    model = keras.Sequential([keras.Input((1,)), *stack])
    loss: object = NegativeLogLikelihood()
    if name == "functions":
        loss = lambda y, f: f.variational_loss(y, kl_weight=100 / 300) / 100  # noqa: E731
    model.compile(keras.optimizers.Adam(0.03), loss)
    losses = model.fit(x, y, batch_size=100, epochs=200, verbose=0).history["loss"]
    print(f"{name}: {np.mean(losses[-10:]):.3f} nats for each example, with the KL")
    for _ in range(8 if name == "noise and weights" else 1):
        p = model(x_new)  # with other weights each time
        mean, spread = p.mean().numpy()[:, 0], 2 * p.stddev().numpy()[:, 0]
        axis.plot(x_new, mean, "C1", lw=1)
        shade = 0.15 if name != "noise and weights" else 0.04
        axis.fill_between(x_new[:, 0], mean - spread, mean + spread, color="C1", alpha=shade)
    axis.plot(x, y, "C0.", ms=3)
    axis.set(title=name, xlabel="x", ylim=(-4, 4))
axes[0].set_ylabel("y")
figure.savefig("regression.png", dpi=120)
