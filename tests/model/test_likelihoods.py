"""The further layers as likelihoods and posteriors of a VAE, on real digits of 0 to 16."""

import keras
import numpy as np
import pytest
import tensorflow_probability as tfp

from tfp_vae import VAE, layers, networks

tfd = tfp.distributions
SHAPE = (8, 8, 1)

LIKELIHOODS = {
    "categorical": lambda: layers.Categorical(SHAPE, 17),
    "quantized": lambda: layers.QuantizedLogisticMixture(SHAPE, 2, high=16),
    "negative-binomial": lambda: layers.NegativeBinomial(SHAPE),
    "zero-inflated": lambda: layers.ZeroInflatedNegativeBinomial(SHAPE),
    "student-t": lambda: layers.StudentT(SHAPE, min_scale=0.1),
}
POSTERIORS = {
    "von-mises-fisher": (layers.VonMisesFisher, 3, tfd.SphericalUniform),
    "power-spherical": (layers.PowerSpherical, 5, tfd.SphericalUniform),
    "relaxed": (
        layers.RelaxedOneHotCategorical,
        10,
        lambda d: tfd.RelaxedOneHotCategorical(0.5, logits=np.zeros(d, "float32")),
    ),
}


@pytest.fixture(scope="module")
def counts(digits):
    """512 digits as scikit-learn has them."""
    return np.round(digits.train[:512] * (16 / 255)).astype("float32")


def trained(vae, counts):
    vae.compile(keras.optimizers.Adam(3e-3), jit_compile=False)
    history = vae.fit(counts, batch_size=64, epochs=5, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history == sorted(history, reverse=True)


def error(vae, counts):
    reconstructed = np.asarray(vae.reconstruct(counts))
    assert reconstructed.shape == counts.shape
    assert np.isfinite(reconstructed).all()
    return np.mean((reconstructed - counts) ** 2)


@pytest.mark.one
@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS.keys())
def test_as_the_likelihood_of_digits(likelihood, counts):
    layer = likelihood()
    encoder = networks.encoder(SHAPE, layers.IndependentNormal(4), widths=(64,))
    vae = VAE(encoder, networks.decoder(4, layer, widths=(64,)))
    before = error(vae, counts)
    trained(vae, counts)
    assert error(vae, counts) < before
    low, high = layer.support or (-np.inf, np.inf)
    new = vae.sample(3, mean=False, seed=1).numpy()
    assert ((new >= low) & (new <= high)).all()
    assert np.isfinite(vae.log_likelihood(counts[:4], num_samples=5)).all()


@pytest.mark.one
@pytest.mark.parametrize(("kind", "d", "prior"), POSTERIORS.values(), ids=POSTERIORS.keys())
def test_as_the_posterior_of_digits(kind, d, prior, counts, tmp_path):
    encoder = networks.encoder(SHAPE, kind(d), widths=(64,))
    decoder = networks.decoder(d, layers.Categorical(SHAPE, 17), widths=(64,))
    vae = VAE(encoder, decoder, prior=prior(d))
    trained(vae, counts)
    assert np.isfinite(vae.log_likelihood(counts[:4], num_samples=5)).all()
    if kind is not layers.RelaxedOneHotCategorical:  # which has no mean to reconstruct from
        assert np.isfinite(error(vae, counts))
    vae.save(tmp_path / "vae.keras")
    again = keras.models.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(again.encode(counts[:3]).value(), vae.encode(counts[:3]).value())
