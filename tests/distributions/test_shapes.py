"""Distributions that do not fit each other or the data are refused, not broadcast."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfp_vae import IWAE, VAE, InputError, layers
from tfp_vae.evaluation import estimates
from tfp_vae.objectives import MMD, BetaTC, SlicedWasserstein

N = 6  # the batch, the latent size and the size of x: where sizes agree, TensorFlow broadcasts
X = np.ones([N, N], "float32")


def encoder(posterior=None):
    posterior = posterior or layers.IndependentNormal(N)
    size = getattr(posterior, "num_parameters", N)
    return keras.Sequential([keras.Input((N,)), keras.layers.Dense(size), posterior])


def decoder(likelihood=None, size=N, shape=None):
    hidden = [keras.layers.Dense(size), *([keras.layers.Reshape(shape)] if shape else [])]
    last = likelihood or layers.IndependentBernoulli(N)
    return keras.Sequential([keras.Input((N,)), *hidden, last])


def normals(*shape, dtype="float32"):
    return tfd.Normal(tf.zeros(shape, dtype), tf.ones(shape, dtype))


PRIORS = {
    "one number": (lambda: tfd.Normal(0.0, 1.0), r"tfd\.Sample\(prior, \[6\]\)"),
    "separate numbers": (lambda: normals(N), r"tfd\.Independent\(.*ndims=1\)"),
    "of another size": (lambda: tfd.Independent(normals(3), 1), r"event shape \(6,\).*\(3,\)"),
    "several": (lambda: tfd.Independent(normals(N, N), 1), r"batch shape \(\).*batch shape \(6,\)"),
    "a matrix": (lambda: tfd.Independent(normals(N, 1), 2), r"event shape \(6,\).*\(6, 1\)"),
    "in float64": (lambda: tfd.Independent(normals(N, dtype="float64"), 1), "dtype.*float64"),
    "a mixture of numbers": (
        lambda: tfd.MixtureSameFamily(tfd.Categorical([0.0, 0.0]), normals(2)),
        r"tfd\.Sample",
    ),
    "a function": (lambda: lambda: normals(N), r"tfd\.Independent"),
}


@pytest.mark.parametrize(("make", "message"), PRIORS.values(), ids=PRIORS)
def test_a_prior_over_something_else_is_refused_when_the_model_is_made(make, message):
    with pytest.raises(InputError, match=f"prior is expected to be .*{message}"):
        VAE(encoder(), decoder(), make())


@pytest.mark.parametrize("name", ["one number", "separate numbers"])
def test_so_is_one_that_the_encoders_regularizer_has(name):
    make, _ = PRIORS[name]
    regularizer = layers.KLDivergenceRegularizer(make())
    with pytest.raises(ValueError, match="event shape"):
        VAE(encoder(layers.IndependentNormal(N, activity_regularizer=regularizer)), decoder())


@pytest.mark.one
@pytest.mark.parametrize("objective", [None, IWAE(2), MMD(beta=1.0)], ids=["ELBO", "IWAE", "MMD"])
def test_an_encoder_that_ends_in_a_model_is_looked_at_at_the_first_batch(objective):
    inner = keras.Sequential([keras.Input((N,)), keras.layers.Dense(2 * N)])
    inner.add(layers.IndependentNormal(N))
    outer = keras.Sequential([keras.Input((N,)), inner])
    vae = VAE(outer, decoder(), tfd.Normal(0.0, 1.0), objective)
    vae.compile("adam")
    with pytest.raises(InputError, match=r"prior is expected to be .*tfd\.Sample"):
        vae.fit(X, verbose=0)


FITTING = {
    "wrapped": lambda: tfd.Independent(normals(N), 1),
    "drawn several times": lambda: tfd.Sample(tfd.Normal(0.0, 1.0), [N]),
    "multivariate": lambda: tfd.MultivariateNormalDiag(tf.zeros(N)),
    "flow": lambda: tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag(tf.zeros(N)), tfb.Scale(2.0)
    ),
    "a function": lambda: lambda: tfd.Independent(normals(N), 1),
}


@pytest.mark.parametrize("make", FITTING.values(), ids=FITTING)
@pytest.mark.one
def test_a_prior_over_z_is_taken(make):
    vae = VAE(encoder(), decoder(), make())
    assert np.isfinite(vae.log_likelihood(X, 3)).all()


def test_a_posterior_of_separate_numbers_is_refused_when_the_model_is_made():
    posterior = layers.DistributionLambda(lambda t: tfd.Normal(t, 1.0))
    with pytest.raises(InputError, match=r"batch shape \(batch,\).*tfd\.Independent\(.*ndims=1\)"):
        VAE(encoder(posterior), decoder())


LIKELIHOODS = {  # the decoder's last layer, and what of it says so
    "of one column": (
        lambda: decoder(layers.IndependentNormal(1), 2),
        r"shape \(batch, 1\).*\(6, 6\)",
    ),
    "of one pixel": (lambda: decoder(layers.IndependentBernoulli(1), 1), r"shape \(batch, 1\)"),
    "of more channels": (
        lambda: decoder(layers.IndependentBernoulli((N, 3)), 3 * N),
        r"shape \(batch, 6, 3\)",
    ),
    "of separate pixels": (
        lambda: decoder(layers.DistributionLambda(lambda t: tfd.Bernoulli(logits=t))),
        r"tfd\.Independent\(.*ndims=1\)",
    ),
    "of rows": (
        lambda: decoder(layers.IndependentBernoulli(3), N, (2, 3)),
        r"tfd\.Independent\(.*ndims=1\)|shape",
    ),
    "whose value is broadcast": (
        lambda: decoder(
            layers.DistributionLambda(
                lambda t: tfd.Independent(tfd.Bernoulli(logits=t[:, :1]), 1),
                lambda d: tf.repeat(d.mean(), N, axis=-1),
            )
        ),
        r"event shape of the decoder's.*\(6,\).*event shape \(1,\)",
    ),
}
USES = {
    "fit": lambda vae: vae.fit(X, verbose=0),
    "evaluate": lambda vae: vae.evaluate(X, verbose=0),
    "log_likelihood": lambda vae: vae.log_likelihood(X, 2),
    "the report": lambda vae: estimates.evaluate(vae, X, num_samples=2),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize(("make", "message"), LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_a_likelihood_over_something_else_is_refused(make, message, use):
    """When the model is made, or at the first batch."""

    def run():
        vae = VAE(encoder(), make())
        vae.compile("adam")
        use(vae)

    with pytest.raises(InputError, match=f"{message}|event shape of the decoder's"):
        run()


@pytest.mark.again
@pytest.mark.parametrize(
    "objective",
    [None, MMD(), BetaTC(33), SlicedWasserstein(), IWAE(3, "dreg")],
    ids=["ELBO", "MMD", "BetaTC", "SlicedWasserstein", "DReG"],
)
def test_under_a_policy_of_float64_all_is_of_float64(objective):
    keras.config.set_dtype_policy("float64")
    vae = VAE(encoder(), decoder(), objective=objective)
    vae.compile("adam")
    assert np.isfinite(vae.fit(X, verbose=0).history["loss"]).all()
    assert vae(X).latents.z.dtype == tf.float64


def test_a_likelihood_of_another_dtype_is_refused_at_the_first_batch():
    def function(t):
        return tfd.Independent(tfd.Bernoulli(logits=tf.cast(t, tf.float64)), 1)

    vae = VAE(encoder(), decoder(layers.DistributionLambda(function)))
    vae.compile("adam")
    for use in (USES["fit"], USES["log_likelihood"]):
        with pytest.raises(InputError, match=r"posterior's dtype, float32.*dtype float64"):
            use(vae)


def test_what_is_reconstructed_may_be_of_another_shape_than_x():
    vae = VAE(encoder(), decoder(layers.IndependentBernoulli((N, 3)), 3 * N))
    vae.compile("adam")
    targets = np.ones([N, N, 3], "float32")
    assert np.isfinite(vae.fit(X, targets, verbose=0).history["loss"]).all()
    with pytest.raises(InputError, match=r"targets of x of shape \(batch, 6, 3\)"):
        vae.fit(X, X, verbose=0)


NOISY = np.random.default_rng(0).normal(size=X.shape).astype("float32")
DENOISING = {
    "fit": lambda vae: vae.fit(NOISY, X, verbose=0),
    "pairs": lambda vae: vae.fit(tf.data.Dataset.from_tensors((NOISY, X)), verbose=0),
    "evaluate": lambda vae: vae.evaluate(NOISY, X, verbose=0),
    "validation": lambda vae: vae.fit(NOISY, X, validation_data=(NOISY, X), verbose=0),
    "reconstruct": lambda vae: vae.reconstruct(NOISY),
    "encode": lambda vae: vae.encode(NOISY).mean(),
    "predict": lambda vae: vae.predict(NOISY, verbose=0),
}


@pytest.mark.parametrize("use", DENOISING.values(), ids=DENOISING)
@pytest.mark.one
def test_x_with_noise_is_taken(use):
    vae = VAE(encoder(), decoder())
    vae.compile("adam")
    use(vae)


REFUSED = {
    "targets outside of the support": lambda vae: vae.fit(NOISY, NOISY, verbose=0),
    "x as its own target": lambda vae: vae.fit(NOISY, verbose=0),
    "validation": lambda vae: vae.fit(NOISY, X, validation_data=(NOISY,), verbose=0),
    "log p of x with noise": lambda vae: vae.log_likelihood(NOISY, 2),
}


@pytest.mark.parametrize("use", REFUSED.values(), ids=REFUSED)
def test_what_the_likelihood_is_over_is_held_against_its_support(use):
    vae = VAE(encoder(), decoder())
    vae.compile("adam")
    with pytest.raises(InputError, match="within the likelihood's support, 0 to 1"):
        use(vae)


def test_a_model_that_rescales_takes_pixels_and_gives_them_on_the_scale_of_its_targets():
    rescaling = keras.Sequential([keras.Input((N,)), keras.layers.Rescaling(1 / 255)])
    rescaling.add(keras.layers.Dense(2 * N))
    rescaling.add(layers.IndependentNormal(N))
    vae = VAE(rescaling, decoder())
    vae.compile("adam")
    vae.fit(255 * X, X, verbose=0)
    assert vae.reconstruct(255 * X).shape == X.shape
    with pytest.raises(InputError, match="Divide pixels by 255"):
        VAE(encoder(), decoder()).reconstruct(255 * X)
