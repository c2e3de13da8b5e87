"""Programs as people have them for `tfp.layers`, with the import changed and nothing else.

Each is trained until it meets a bar that is known in advance. A masked autoregressive flow as a
density model is in test_autoregressive.py, a Gaussian process in test_gaussian_process.py.
"""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import data
from tfp_vae import layers as tfpl

tfk, tfkl = keras, keras.layers
tfd, tfb = tfp.distributions, tfp.bijectors


def negloglik(y, rv_y):
    return -rv_y.log_prob(y)


@pytest.mark.again
def test_regression_whose_noise_is_learned():
    """y | x ~ N(2 x, (0.1 + x)^2)."""
    rng = np.random.default_rng(0)
    x, x_test = (rng.uniform(0, 1, [n, 1]).astype("float32") for n in (1000, 5000))
    y, y_test = (2 * v + (0.1 + v) * rng.normal(size=v.shape) for v in (x, x_test))
    model = tfk.Sequential(
        [
            tfk.Input((1,)),
            tfkl.Dense(1 + 1),
            tfpl.DistributionLambda(
                lambda t: tfd.Normal(loc=t[..., :1], scale=1e-3 + tf.math.softplus(t[..., 1:]))
            ),
        ]
    )
    model.compile(tfk.optimizers.Adam(learning_rate=0.05), loss=negloglik)
    model.fit(x, y, epochs=40, batch_size=100, verbose=0)
    exact = scipy.stats.norm(scale=0.1 + x_test).entropy().mean()
    assert model.evaluate(x_test, y_test, verbose=0) < exact + 0.1
    np.testing.assert_allclose(model(x_test).stddev(), 0.1 + x_test, atol=0.2)


def dense_variational():
    """The two functions of TFP's tutorial, in which a closure makes each model."""

    def posterior_mean_field(kernel_size, bias_size=0, dtype=None):
        n = kernel_size + bias_size
        c = np.log(np.expm1(1.0))
        return tfk.Sequential(
            [
                tfpl.VariableLayer(2 * n, dtype=dtype),
                tfpl.DistributionLambda(
                    lambda t: tfd.Independent(
                        tfd.Normal(
                            loc=t[..., :n], scale=1e-5 + 0.01 * tf.nn.softplus(c + t[..., n:])
                        ),
                        reinterpreted_batch_ndims=1,
                    )
                ),
            ]
        )

    def prior_trainable(kernel_size, bias_size=0, dtype=None):
        n = kernel_size + bias_size
        return tfk.Sequential(
            [
                tfpl.VariableLayer(n, dtype=dtype),
                tfpl.DistributionLambda(
                    lambda t: tfd.Independent(
                        tfd.Normal(loc=t, scale=1), reinterpreted_batch_ndims=1
                    )
                ),
            ]
        )

    return posterior_mean_field, prior_trainable


@pytest.mark.again
def test_regression_whose_weights_are_distributions():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, [400, 1]).astype("float32")
    y = 3 * x - 1 + 0.1 * rng.normal(size=x.shape)
    model = tfk.Sequential(
        [
            tfk.Input((1,)),
            tfpl.DenseVariational(1, *dense_variational(), kl_weight=1 / x.shape[0]),
            tfpl.DistributionLambda(lambda t: tfd.Normal(loc=t, scale=0.1)),
        ]
    )
    assert len(model.trainable_weights) == 2
    model.compile(tfk.optimizers.Adam(learning_rate=0.05), loss=negloglik)
    model.fit(x, y, epochs=60, batch_size=50, verbose=0)
    lines = [model(np.array([[0.0], [1.0]])).mean().numpy()[:, 0] for _ in range(50)]
    np.testing.assert_allclose(np.mean(lines, axis=0), [-1, 2], atol=0.05)
    assert (np.std(lines, axis=0) > 1e-3).all()


@pytest.mark.again
@pytest.mark.parametrize("layer", [tfpl.MixtureNormal, tfpl.MixtureLogistic])
def test_a_mixture_density_network(layer):
    """y | x is x or -x with equal chances, give or take 0.1."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 2, [1500, 1]).astype("float32")
    y = x * rng.choice([-1, 1], x.shape) + 0.1 * rng.normal(size=x.shape)
    model = tfk.Sequential(
        [
            tfk.Input((1,)),
            tfkl.Dense(16, activation="relu"),
            tfkl.Dense(layer.params_size(2, [1])),
            layer(2, [1]),
        ]
    )
    model.compile(tfk.optimizers.Adam(learning_rate=0.02), loss=negloglik)
    model.fit(x, y, epochs=50, batch_size=100, verbose=0)
    exact = np.log(2) + scipy.stats.norm(scale=0.1).entropy()
    assert model.evaluate(x, y, verbose=0) < exact + 0.15
    rv = model(np.array([[1.5]], "float32"))
    np.testing.assert_allclose(rv.mixture_distribution.probs_parameter(), [[0.5, 0.5]], atol=0.1)
    means = np.sort(rv.components_distribution.mean().numpy().ravel())
    np.testing.assert_allclose(means, [-1.5, 1.5], atol=0.1)


@pytest.mark.again
def test_a_vae_of_full_covariance_with_a_trainable_mixture_prior():
    """Two clusters in four dimensions: the components of the prior part, one for each cluster."""
    rng = np.random.default_rng(0)
    which = rng.integers(0, 2, 600)
    centers = np.array([[2.0, 2, -2, -2], [-2, 2, 2, -2]])
    x = (centers[which] + 0.5 * rng.normal(size=[600, 4])).astype("float32")
    encoded_size = 2
    prior = tfd.MixtureSameFamily(
        mixture_distribution=tfd.Categorical(logits=tf.Variable([0.0, 0.0])),
        components_distribution=tfd.MultivariateNormalDiag(
            loc=tf.Variable([[0.5, 0.0], [-0.5, 0.0]]),
            scale_diag=tfp.util.TransformedVariable(tf.ones([2, 2]), tfb.Softplus()),
        ),
    )
    encoder = tfk.Sequential(
        [
            tfk.Input((4,)),
            tfkl.Dense(32, activation="relu"),
            tfkl.Dense(tfpl.MultivariateNormalTriL.params_size(encoded_size), activation=None),
            tfpl.MultivariateNormalTriL(
                encoded_size,
                activity_regularizer=tfpl.KLDivergenceRegularizer(prior, weight=1.0),
            ),
        ]
    )
    decoder = tfk.Sequential(
        [
            tfk.Input((encoded_size,)),
            tfkl.Dense(32, activation="relu"),
            tfkl.Dense(tfpl.IndependentNormal.params_size(4)),
            tfpl.IndependentNormal(4, tfd.Normal.mean),
        ]
    )
    vae = tfk.Model(inputs=encoder.inputs, outputs=decoder(encoder.outputs[0]))
    vae.compile(optimizer=tfk.optimizers.Adam(learning_rate=0.01), loss=negloglik)
    losses = vae.fit(x, x, epochs=60, batch_size=128, verbose=0).history["loss"]
    entropy = np.log(2) + 4 * scipy.stats.norm(scale=0.5).entropy()  # no model does better
    assert entropy - 0.1 < losses[-1] < entropy + 1.0
    new = decoder(prior.sample(1000, seed=1)).sample().numpy()
    far = np.linalg.norm(new[:, None] - centers, axis=-1)
    assert far.min(axis=1).mean() < 1.5  # 0.94 for the data, 2.9 from one center to the middle
    np.testing.assert_allclose(np.mean(far.argmin(axis=1)), np.mean(which), atol=0.1)
    start = [[0.0, 0.0], [[0.5, 0.0], [-0.5, 0.0]], np.full([2, 2], np.log(np.expm1(1.0)))]
    for variable, value in zip(prior.trainable_variables, start, strict=True):
        assert np.abs(variable.numpy() - value).max() > 0.01


@pytest.mark.again
def test_a_bayesian_classifier_of_flipout_convolutions():
    digits = data.load("digits")
    x, x_test = (v.astype("float32") / 255 for v in (digits.train, digits.test))
    y, y_test = digits.train_labels, digits.test_labels
    kl = lambda q, p, _: tfd.kl_divergence(q, p) / len(x)  # noqa: E731
    model = tfk.Sequential(
        [
            tfk.Input((8, 8, 1)),
            tfpl.Convolution2DFlipout(
                16, kernel_size=3, padding="SAME", activation=tf.nn.relu, kernel_divergence_fn=kl
            ),
            tfkl.MaxPooling2D(2),
            tfpl.Convolution2DFlipout(
                32, kernel_size=3, padding="SAME", activation=tf.nn.relu, kernel_divergence_fn=kl
            ),
            tfkl.Flatten(),
            tfpl.DenseFlipout(10, kernel_divergence_fn=kl, activation=tf.nn.softmax),
        ]
    )
    model(x[:1])
    assert len(model.losses) == 3
    model.compile(
        tfk.optimizers.Adam(learning_rate=0.01),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(x, y, epochs=25, batch_size=128, verbose=0)
    draws = np.stack([model(x_test) for _ in range(20)])
    assert np.mean(draws.mean(axis=0).argmax(axis=1) == y_test) > 0.93
    noise = np.random.default_rng(0).uniform(size=x_test.shape).astype("float32")
    of_noise = np.stack([model(noise) for _ in range(20)])
    disagreement = [d.std(axis=0).mean() for d in (draws, of_noise)]
    assert disagreement[1] > 2 * disagreement[0]  # it knows what it has not seen


@pytest.mark.again
def test_a_trainable_normal_of_a_variable_layer():
    x = np.random.default_rng(0).normal([1, -2], [0.5, 2], [2000, 2])
    model = tfk.Sequential(
        [
            tfpl.VariableLayer(
                shape=[2, 2],
                initializer=tfpl.BlockwiseInitializer(
                    ["zeros", tfk.initializers.Constant(np.log(np.expm1(1.0)))], sizes=[1, 1]
                ),
            ),
            tfpl.DistributionLambda(
                lambda t: tfd.Independent(
                    tfd.Normal(loc=t[..., 0], scale=tf.math.softplus(t[..., 1])),
                    reinterpreted_batch_ndims=1,
                )
            ),
        ]
    )
    model.compile(optimizer=tfk.optimizers.Adam(0.05), loss=negloglik)
    model.fit(np.zeros([2000, 1]), x, batch_size=200, epochs=60, verbose=0)
    normal = model(np.zeros([1, 1]))
    np.testing.assert_allclose(normal.mean(), x.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(normal.stddev(), x.std(axis=0), atol=0.1)
