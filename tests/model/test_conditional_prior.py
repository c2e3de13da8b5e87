"""VAE(encoder, decoder, prior=network): p(z | label), as in the conditional recipe."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_vae import VAE, InputError, layers, networks, priors, recipes

X = (np.random.default_rng(0).random([48, 6]) < 0.4).astype("float32")
LABEL = (np.arange(48) % 3).astype("int32")
DATA = {"x": X, "label": LABEL}


def vae(posterior=None, **kwargs):
    keras.utils.set_random_seed(0)
    return VAE(
        networks.encoder(
            (6,), posterior or layers.IndependentNormal(2), widths=(8,), num_classes=3
        ),
        networks.decoder(2, layers.IndependentNormal(6), widths=(8,), num_classes=3),
        prior=networks.prior(2, num_classes=3),
        **kwargs,
    )


def with_means(model, means):
    """Sets p(z | label) to N(mean of the label, 0.01^2)."""
    dense = model.prior.layers[-2]
    width = np.log(np.expm1(0.01))
    dense.set_weights([
        np.concatenate([means, np.full([3, 2], width)], axis=1), np.zeros(4)
    ])  # fmt: skip
    return model


def test_z_is_drawn_from_the_prior_of_its_label():
    means = np.array([[-3.0, 0.0], [0.0, 3.0], [3.0, 0.0]], "float32")
    model = with_means(vae(), means)
    labels = np.array([2, 0, 1, 1])
    decoded = model.decode(means[labels], labels).mean()
    np.testing.assert_allclose(model.sample(4, conditions=labels, seed=1), decoded, atol=0.1)


def test_the_kl_is_against_the_prior_of_the_label():
    means = np.array([[-3.0, 0.0], [0.0, 3.0], [3.0, 0.0]], "float32")
    model = with_means(vae(), means)
    q = model.encode(DATA)
    m, s = (np.asarray(each) for each in (q.mean(), q.stddev()))
    ratio = (s / 0.01) ** 2
    apart = ((m - means[LABEL]) / 0.01) ** 2
    by_hand = 0.5 * (ratio + apart - 1 - np.log(ratio)).sum(axis=1)
    np.testing.assert_allclose(model.forward(DATA).kls["z"], by_hand, rtol=1e-3)


def test_it_is_trained_saved_and_exported(tmp_path):
    model = vae()
    model.compile("adam")
    before = [w.copy() for w in model.prior.get_weights()]
    model.fit(DATA, epochs=2, verbose=0)
    assert all((b != w).any() for b, w in zip(before, model.prior.get_weights(), strict=True))
    model.save(tmp_path / "vae.keras")
    again = keras.models.load_model(tmp_path / "vae.keras")
    for ours, theirs in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    assert served.sample(tf.constant([0, 1, 2])).shape == (3, 6)
    exact = model.log_likelihood(DATA, 3000)
    found = served.log_likelihood(tf.constant(X), tf.constant(LABEL), tf.constant(3000))
    assert np.mean(found) == pytest.approx(np.mean(exact), abs=0.06)  # by importance sampling


def test_a_prior_may_take_a_condition_that_nobody_else_takes():
    keras.utils.set_random_seed(0)
    model = VAE(
        networks.encoder((6,), layers.IndependentNormal(2), widths=(8,)),
        networks.decoder(2, layers.IndependentNormal(6), widths=(8,)),
        prior=networks.prior(2, num_classes=3),
    )
    model.compile("adam")
    model.fit(DATA, verbose=0)
    assert model.sample(3, conditions=[0, 1, 2]).shape == (3, 6)
    assert model.decode(np.zeros([2, 2], "float32")).mean().shape == (2, 6)
    with pytest.raises(InputError, match="label"):
        model.sample(3)


def test_the_conditional_recipe_has_one():
    setting = recipes.Setting((8, 8, 1), 100, widths=(8,), latent_size=2, num_classes=4)
    model = recipes.build("conditional_vae", setting)
    assert model.prior.input_shape == (None,)
    assert model.sample(4, conditions=np.arange(4)).shape == (4, 8, 8, 1)


WRONG = {
    "a KL in the encoder": (
        lambda: vae(
            layers.IndependentNormal(
                2, activity_regularizer=layers.KLDivergenceRegularizer(priors.unit_normal(2))
            )
        ),
        "in one place",
    ),
    "of another size": (
        lambda: VAE(
            networks.encoder((6,), layers.IndependentNormal(2), widths=(8,)),
            networks.decoder(2, layers.IndependentNormal(6), widths=(8,)),
            prior=networks.prior(3, num_classes=3),
        ),
        r"prior is expected to be .*event shape \(2,\)",
    ),
    "no distribution": (
        lambda: VAE(
            networks.encoder((6,), layers.IndependentNormal(2), widths=(8,)),
            networks.decoder(2, layers.IndependentNormal(6), widths=(8,)),
            prior=keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]),
        ),
        "prior is expected to end in a distribution layer",
    ),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_refused_when_the_model_is_made(make, message):
    with pytest.raises(InputError, match=message):
        make()
