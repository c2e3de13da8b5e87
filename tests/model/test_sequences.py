"""Sequences of any length: steps are summed, hidden steps count nothing, causal networks draw."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from latent_models import sequence

from tfp_vae import IWAE, VAE, InputError, LatentModel, layers

tfd = tfp.distributions
L = keras.layers
Normal = layers.IndependentNormal
LENGTHS = np.array([2, 5, 3, 4])


def padded(fill=0.0):
    x = np.random.default_rng(0).normal(size=[4, 5, 2]).astype("float32")
    hidden = np.arange(5) >= LENGTHS[:, None]
    x[hidden] = fill
    return x, hidden


def vae(objective=None, masked=True):
    keras.utils.set_random_seed(0)
    first = [L.Masking()] if masked else []
    encoder = keras.Sequential(
        [keras.Input((None, 2)), *first, L.GRU(8, return_sequences=True), L.Dense(6), Normal(3)]
    )
    decoder = keras.Sequential(
        [keras.Input((None, 3)), L.GRU(8, return_sequences=True), L.Dense(4), Normal(2)]
    )
    return VAE(encoder, decoder, objective=objective)


@pytest.mark.parametrize("samples", [1, 3])
def test_the_terms_are_sums_over_the_steps_that_are_there(samples):
    model, (x, hidden) = vae(), padded()
    forward = model.forward(x, samples, seed=tf.constant([1, 2]))
    q, z = forward.posterior, forward.z
    each = tfd.kl_divergence(q, tfd.MultivariateNormalDiag(tf.zeros(3))).numpy()
    np.testing.assert_allclose(forward.kls["z"], np.where(hidden, 0, each).sum(1), rtol=1e-4)
    for s in range(samples):
        z_s = z[s]
        z_s._keras_mask = tf.constant(~hidden)
        log_p = model.decoder(z_s).log_prob(x).numpy()
        expected = np.where(hidden, 0, log_p).sum(1)
        np.testing.assert_allclose(forward.log_likelihood[s], expected, rtol=1e-4)


def test_what_stands_in_hidden_steps_changes_nothing():
    """Whatever is there; a masked GRU passes its state on."""
    model, (x, hidden) = vae(), padded()
    mask_of_x = L.Masking()(x)._keras_mask
    np.testing.assert_array_equal(mask_of_x, ~hidden)
    longer = np.concatenate([x, np.zeros([4, 3, 2], "float32")], axis=1)
    one, other = (model.encode(each) for each in (x, longer))
    short = np.asarray(one.mean())
    np.testing.assert_allclose(
        np.where(hidden[..., None], 0, short - other.mean()[:, :5]), 0, atol=1e-5
    )
    kl = [model.forward(each).kls["z"] for each in (x, longer)]
    np.testing.assert_allclose(*kl, rtol=1e-5)
    many = [np.asarray(model.log_likelihood(each, 3000)) for each in (x, longer)]
    np.testing.assert_allclose(*many, atol=0.7)


@pytest.mark.again
@pytest.mark.parametrize(
    "objective", [None, IWAE(3), IWAE(3, "dreg")], ids=["ELBO", "IWAE", "DReG"]
)
def test_it_trains_at_any_length_and_draws(objective):
    model, (x, _) = vae(objective), padded()
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(x, epochs=60, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    model.fit(x[:, :3], verbose=0)
    assert model.sample(3, length=7).shape == (3, 7, 2)
    assert model.log_likelihood(x, 5).shape == (4,)
    with pytest.raises(InputError, match="expected length="):
        model.sample(3)


@pytest.mark.again
def test_a_vae_of_sequences_is_exported(tmp_path):
    model = vae()
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    assert served.sample(tf.constant(3), tf.constant(6)).shape == (3, 6, 2)
    x = tf.constant(padded()[0])
    np.testing.assert_allclose(served.serve(x), model.reconstruct(x), rtol=1e-4, atol=1e-5)


def test_a_fixed_length_has_its_usual_prior_too():
    encoder = keras.Sequential([keras.Input((5, 2)), L.Dense(6), Normal(3)])
    decoder = keras.Sequential([keras.Input((5, 3)), L.Dense(4), Normal(2)])
    model = VAE(encoder, decoder)
    model.compile("adam")
    model.fit(padded()[0], verbose=0)
    assert model.sample(2).shape == (2, 5, 2)


@pytest.mark.again
def test_a_causal_decoder_of_one_z_is_drawn_and_exported(tmp_path):
    """p(x_t | x_<t, z): the draws feed back."""
    z, (x, before) = keras.Input((2,), name="z"), shifted("x", 1)
    h = L.GRU(4, return_sequences=True)(before, initial_state=L.Dense(4)(z))
    p = keras.Model({"z": z, "x": x}, Normal(1)(L.Dense(2)(h)))
    seen = keras.Input((None, 1), name="x")
    q = keras.Model(seen, Normal(2)(L.Dense(4)(L.GRU(4)(seen))))
    model = LatentModel({"z": (q, None)}, {"x": p})
    model.compile("adam")
    data = np.random.default_rng(0).normal(size=[16, 5, 1]).astype("float32")
    model.fit(data, verbose=0)
    assert model.sample(3, length=4)["x"].shape == (3, 4, 1)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    assert served.sample(tf.constant(3), tf.constant(4))["x"].shape == (3, 4, 1)


def test_states_of_a_causal_prior_reach_the_likelihood():
    """A VRNN: the prior hands its state on; and a variable behind the sequence is drawn once."""
    x, before = shifted("x", 1)
    h = L.GRU(4, return_sequences=True)(before)
    prior = keras.Model(x, {"z": Normal(2)(L.Dense(4)(h)), "h": h})
    seen = keras.Input((None, 1), name="x")
    q = keras.Model(seen, Normal(2)(L.Dense(4)(seen)))
    z, state = keras.Input((None, 2), name="z"), keras.Input((None, 4), name="h")
    p = keras.Model({"z": z, "h": state}, Normal(1)(L.Dense(2)(L.Concatenate()([z, state]))))
    of = keras.Input((None, 2), name="z")
    y = keras.Model(of, Normal(3)(L.Dense(6)(L.GlobalAveragePooling1D()(of))))
    model = LatentModel({"z": (q, prior)}, {"x": p, "y": y})
    found = model.sample(3, length=5, mean=False)
    assert {name: value.shape.as_list() for name, value in found.items()} == {
        "z": [3, 5, 2], "x": [3, 5, 1], "y": [3, 3]
    }  # fmt: skip


def test_tokens_are_hidden_by_their_embedding():
    tokens = np.array([[1, 2, 0, 0], [3, 1, 2, 3]], "int32")
    x = keras.Input((None,), dtype="int32", name="x")
    h = L.GRU(4, return_sequences=True)(L.Embedding(4, 3, mask_zero=True)(x))
    z = keras.Input((None, 2), name="z")
    make = layers.DistributionLambda(lambda t: tfd.Categorical(logits=t))
    model = LatentModel(
        {"z": (keras.Model(x, Normal(2)(L.Dense(4)(h))), None)},
        {"x": keras.Model(z, make(L.Dense(4)(z)))},
    )
    forward = model.forward(tokens)
    log_p = forward["x"].p.log_prob(tokens).numpy()
    np.testing.assert_allclose(forward.log_likelihood[0, 0], log_p[0, :2].sum(), rtol=1e-5)
    np.testing.assert_allclose(forward.log_likelihood[0, 1], log_p[1].sum(), rtol=1e-5)


def shifted(name, size):
    """A network's input one step late: what a causal network sees."""
    given = keras.Input((None, size), name=name)
    late = L.ZeroPadding1D((1, 0))(given)
    return given, L.Cropping1D((0, 1))(late)


def autoregressive(rho=0.8, scale=0.6):
    """p(z_t | z_<t) = N(rho z_(t-1), scale^2), x_t = z_t + noise of 0.1."""
    z, before = shifted("z", 1)
    normal = lambda t: tfd.Independent(tfd.Normal(rho * t, scale), 1)  # noqa: E731
    prior = keras.Model(z, layers.DistributionLambda(normal)(before))
    x, again = keras.Input((None, 1), name="x"), keras.Input((None, 1), name="z")
    near = layers.DistributionLambda(lambda t: tfd.Independent(tfd.Normal(t, 0.1), 1))
    q = layers.DistributionLambda(lambda t: tfd.Independent(tfd.Normal(t, 0.1), 1))
    return LatentModel(
        {"z": (keras.Model(x, q(L.Identity()(x))), prior)},
        {"x": keras.Model(again, near(L.Identity()(again)))},
    )


def test_a_causal_prior_draws_step_by_step():
    found = autoregressive().sample(20_000, length=4, seed=1)["z"].numpy()[..., 0]
    exact = np.zeros([4, 4])
    for i in range(4):
        for j in range(4):
            exact[i, j] = sum(0.8 ** (i - k) * 0.8 ** (j - k) * 0.36 for k in range(min(i, j) + 1))
    np.testing.assert_allclose(np.cov(found.T), exact, atol=0.04)


def test_its_likelihood_is_that_of_the_gaussian_process():
    """x = z + noise, z an AR(1): a Normal, with q near enough for importance sampling."""
    model = autoregressive()
    x = model.sample(8, length=3, mean=False, seed=2)["x"]
    cov = np.array([
        [sum(0.8 ** (i + j - 2 * k) * 0.36 for k in range(min(i, j) + 1)) for j in range(3)]
        for i in range(3)
    ])  # fmt: skip
    exact = tfd.MultivariateNormalFullCovariance(np.zeros(3), cov + 0.01 * np.eye(3))
    expected = exact.log_prob(x.numpy()[..., 0].astype("float64"))
    np.testing.assert_allclose(model.log_likelihood(x, 20_000), expected, atol=0.05)


def test_a_prior_of_the_data_before_draws_both_together():
    """p(z_t | x_<t) and p(x_t | z_t): x_t = x_(t-1) / 2 + noise in z and x."""
    x, before = shifted("x", 1)
    half = layers.DistributionLambda(lambda t: tfd.Independent(tfd.Normal(0.5 * t, 0.5), 1))
    prior = keras.Model(x, half(before))
    z = keras.Input((None, 1), name="z")
    near = layers.DistributionLambda(lambda t: tfd.Independent(tfd.Normal(t, 0.3), 1))
    q = layers.DistributionLambda(lambda t: tfd.Independent(tfd.Normal(t, 0.3), 1))
    seen = keras.Input((None, 1), name="x")
    model = LatentModel(
        {"z": (keras.Model(seen, q(L.Identity()(seen))), prior)},
        {"x": keras.Model(z, near(L.Identity()(z)))},
    )
    found = model.sample(20_000, length=3, mean=False, seed=1)["x"].numpy()[..., 0]
    noise = 0.25 + 0.09
    exact = np.array([[noise, 0.5 * noise], [0.5 * noise, 1.25 * noise]])
    np.testing.assert_allclose(np.cov(found[:, :2].T), exact, atol=0.02)


def test_what_a_mask_hides_of_a_known_sequence_may_be_anything():
    """A row is known if all its steps are known that are there."""
    (x, hidden), model = padded(), sequence()
    known = np.ones([4, 5, 3], "float32")
    known[hidden] = np.nan
    known[3, 0] = np.nan
    term = model.forward({"x": x, "z": known}).latent["z"]
    assert term.known.numpy().tolist() == [True, True, True, False]
    assert np.isfinite(term.value).all()
    np.testing.assert_array_equal(term.value[0, 1], np.ones([5, 3]))


def test_a_vector_may_depend_on_its_own_numbers_before():
    """A fixed number of single numbers: x_i given x_<i, and z."""
    z, x = keras.Input((2,), name="z"), keras.Input((4,), name="x")
    before = L.Cropping1D((0, 1))(L.ZeroPadding1D((1, 0))(L.Reshape((4, 1))(x)))
    mean = L.Add()([0.5 * L.Flatten()(before), 1.0 + 0.0 * L.Dense(4)(z)])
    near = layers.DistributionLambda(lambda t: tfd.Independent(tfd.Normal(t, 1e-4), 1))
    seen = keras.Input((4,), name="x")
    model = LatentModel(
        {"z": (keras.Model(seen, Normal(2)(L.Dense(4)(seen))), None)},
        {"x": keras.Model({"z": z, "x": x}, near(mean))},
    )
    found = model.sample(3, mean=False)["x"]
    np.testing.assert_allclose(found, np.tile([1.0, 1.5, 1.75, 1.875], [3, 1]), atol=1e-2)
    model.compile("adam")
    model.fit(found.numpy(), verbose=0)
