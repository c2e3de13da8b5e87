"""Entries of x that are not known: exact where the posterior is, and nothing of them leaks.

z ~ N(0, I), x|z ~ N(Wz + b, s^2 I), and the encoder is p(z | x_known) for every mask.
"""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from latent_models import (
    critic,
    data,
    given_to,
    half_known,
    ladder,
    net,
    top_down,
    two_observed,
)

from tfp_vae import IWAE, VAE, InputError, LatentModel, layers, networks, objectives, priors
from tfp_vae.objectives import CIWAE, MIWAE, PIWAE

W = np.array([[1.0, 0.5], [1.0, -0.5], [0.5, 0.3], [0.2, 1.0]])
B = np.array([0.3, -0.2, 0.0, 1.0])
S = 0.7
RNG = np.random.default_rng(0)
X = (RNG.normal(size=(24, 2)) @ W.T + B + S * RNG.normal(size=(24, 4))).astype("float32")
KNOWN = RNG.random(X.shape) < 0.6
KNOWN[0] = True
KNOWN[~KNOWN.any(axis=1), 0] = True
HOLES = np.where(KNOWN, X, np.nan).astype("float32")
COV = W @ W.T + S**2 * np.eye(4)


_FILLED = tfp.math.fill_triangular([0.0, 1.0, 2.0]).numpy().astype(int)
# Which of the entries (1, 1), (1, 0), (0, 0) of L each of three parameters is.
ORDER = np.argsort([_FILLED[1, 1], _FILLED[1, 0], _FILLED[0, 0]])


class Exact(keras.layers.Layer):
    """From x and the mask to the parameters of p(z | x_known)."""

    def call(self, inputs):
        x, known = tf.split(tf.cast(inputs, tf.float32), 2, axis=-1)
        w = tf.constant(W, tf.float32)
        precision = tf.eye(2) + tf.einsum("bi,ij,ik->bjk", known, w, w) / S**2
        cov = tf.linalg.inv(precision)
        centred = known * (x - tf.constant(B, tf.float32)) / S**2
        mean = tf.einsum("bjk,ik,bi->bj", cov, w, centred)
        lower = tf.linalg.cholesky(cov)
        diagonal = tf.math.log(tf.math.expm1(tf.linalg.diag_part(lower) - 1e-5))
        rest = tf.stack([diagonal[:, 1], lower[:, 1, 0], diagonal[:, 0]], axis=-1)
        return tf.concat([mean, tf.gather(rest, ORDER, axis=-1)], axis=-1)


def exact_vae(objective=None, likelihood=None):
    encoder = keras.Sequential(
        [keras.Input((4,)), layers.FillUnknown(), Exact(), layers.MultivariateNormalTriL(2, seed=1)]
    )
    likelihood = likelihood or layers.IndependentNormal(4, seed=2)
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(likelihood.num_parameters), likelihood]
    )
    scale = np.log(np.expm1(S))
    if isinstance(likelihood, layers.MultivariateNormalTriL):
        rest = np.zeros(10)
        rest[_diagonal_places()] = np.log(np.expm1(S - 1e-5))
        kernel, bias = np.hstack([W.T, np.zeros([2, 10])]), np.concatenate([B, rest])
    else:
        kernel, bias = np.hstack([W.T, np.zeros([2, 4])]), np.concatenate([B, np.full(4, scale)])
    decoder.layers[-2].set_weights([kernel, bias])
    vae = VAE(encoder, decoder, objective=objective)
    vae.compile("adam")
    return vae


def _diagonal_places():
    return np.diag(tfp.math.fill_triangular(np.arange(10.0)).numpy()).astype(int)


def exact(rows=slice(None), known=KNOWN):
    return np.array(
        [
            scipy.stats.multivariate_normal(B[k], COV[np.ix_(k, k)]).logpdf(x[k]) if k.any() else 0
            for x, k in zip(X[rows], known[rows], strict=True)
        ]
    )


LIKELIHOODS = {
    "independent": lambda: layers.IndependentNormal(4, seed=2),
    "covariance": lambda: layers.MultivariateNormalTriL(4, seed=2),
}


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_log_p_of_the_known_entries_is_exact(likelihood):
    found = exact_vae(likelihood=likelihood()).log_likelihood(HOLES, 3)
    np.testing.assert_allclose(found, exact(), atol=1e-3)


@pytest.mark.parametrize("make", [lambda: IWAE(3), lambda: IWAE(3, estimator="dreg")])
def test_the_bound_of_the_exact_posterior_is_log_p_of_the_known(make):
    vae = exact_vae(make())
    assert vae.evaluate(HOLES, batch_size=5, verbose=0)[0] == pytest.approx(
        -exact().mean(), abs=1e-3
    )


def test_the_elbo_is_that_of_the_known_entries():
    rows = np.tile(HOLES, (300, 1))
    vae = exact_vae()
    found = vae.evaluate(rows, batch_size=len(rows), verbose=0)[0]
    assert found == pytest.approx(-exact().mean(), abs=0.03)


def test_log_p_of_some_entries_given_others_is_exact():
    given = RNG.random(X.shape) < 0.5
    given[1] = False
    vae = exact_vae()
    for x, known in ((X, np.ones_like(KNOWN)), (HOLES, KNOWN)):
        found = vae.log_likelihood(x, 3, given=given)
        want = exact(known=known) - exact(known=known & given)
        np.testing.assert_allclose(found, want, atol=2e-3)


def conditional(x, known):
    a, b = known, ~known
    gain = COV[np.ix_(b, a)] @ np.linalg.inv(COV[np.ix_(a, a)])
    return B[b] + gain @ (x - B)[a], COV[np.ix_(b, b)] - gain @ COV[np.ix_(a, b)]


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS)
def test_imputations_are_those_of_the_conditional_normal(likelihood):
    found = exact_vae(likelihood=likelihood()).impute(HOLES, 4000, 50, (0.1, 0.5, 0.9), seed=3)
    np.testing.assert_allclose(found.effective_samples, 4000, rtol=1e-2)
    for part in (found.mean, found.mode, *found.quantiles.values(), *found.draws):
        np.testing.assert_array_equal(part[KNOWN], X[KNOWN])
    assert not found.stddev[KNOWN].any()
    whole = np.zeros(len(X), bool)
    for i, (x, known) in enumerate(zip(X, KNOWN, strict=True)):
        if known.all():
            whole[i] = True
            continue
        mean, cov = conditional(x, known)
        stddev = np.sqrt(np.diag(cov))
        np.testing.assert_allclose(found.mean[i][~known], mean, atol=0.06)
        np.testing.assert_allclose(found.stddev[i][~known], stddev, rtol=0.06)
        for level, value in found.quantiles.items():
            want = mean + stddev * scipy.stats.norm.ppf(level)
            np.testing.assert_allclose(value[i][~known], want, atol=0.12)
        z = (found.draws[:, i][:, ~known] - mean) / stddev
        assert np.abs(z.mean(axis=0)).max() < 0.7
        assert 0.6 < z.std() < 1.4
    assert whole.any()
    assert not np.array_equal(found.draws[0], found.draws[1])


def test_a_seed_repeats_an_imputation():
    vae = exact_vae()
    first, again, other = (vae.impute(HOLES, 50, 2, seed=seed).draws for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_mode_of_a_category_is_the_most_probable_one():
    classes = 3
    encoder = networks.encoder((2,), layers.IndependentNormal(1), widths=(), unknown=True)
    decoder = networks.decoder(1, layers.Categorical(2, classes), widths=())
    logits = np.array([[0.0, 1.0, 0.2], [2.0, 0.0, 0.0]], "float32")
    decoder.layers[-2].set_weights([np.zeros([1, 6]), logits.ravel()])
    found = VAE(encoder, decoder).impute([[2.0, np.nan], [np.nan, 1.0]], 20)
    np.testing.assert_array_equal(found.mode, [[2, 0], [1, 1]])


# -- nothing leaks -----------------------------------------------------------------------------


def usual(objective=None, prior=None, posterior=None, likelihood=None, unknown=True):
    posterior = posterior or layers.IndependentNormal(2, seed=1)
    encoder = networks.encoder((4,), posterior, widths=(8,), unknown=unknown)
    size = encoder.output_shape[1:]
    decoder = networks.decoder(size, likelihood or layers.IndependentNormal(4, seed=2), widths=(8,))
    return VAE(encoder, decoder, prior, objective)


MODELS = {
    "elbo": usual,
    "no-mask-layer": lambda: usual(unknown=False),
    "iwae": lambda: usual(IWAE(3)),
    "dreg": lambda: usual(IWAE(3, estimator="dreg")),
    "miwae": lambda: usual(MIWAE(2, 2)),
    "ciwae": lambda: usual(CIWAE(3)),
    "piwae": lambda: usual(PIWAE(2, 2)),
    "mmd": lambda: usual(objectives.MMD()),
    "beta-tc": lambda: usual(objectives.BetaTC(24)),
    "hamiltonian": lambda: usual(objectives.Hamiltonian()),
    "riemannian": lambda: usual(objectives.RiemannianHamiltonian()),
    "autoencoder": lambda: usual(objectives.RegularizedAE(), posterior=layers.Deterministic(2)),
    "vamp": lambda: usual(prior=priors.VampPrior(5)),
    "codes": lambda: usual(posterior=layers.VectorQuantized(3, 8, 2)),
    "tril": lambda: usual(likelihood=layers.MultivariateNormalTriL(4)),
    "student-t": lambda: usual(likelihood=layers.StudentT(4)),
}
OF_MANY = [ladder, top_down, half_known, critic, two_observed]


def hidden(x, known, by):
    return {"x": np.where(known, x, by).astype("float32"), "x_known": known}


def numbers(model, given):
    """All that a model says of data, by one seed."""
    keras.utils.set_random_seed(1)
    model.compile("adam", jit_compile=False)
    start = model.get_weights()
    found = [model.evaluate(given, verbose=0)]
    found += model.fit(given, epochs=2, verbose=0, shuffle=False).history.values()
    model.set_weights(start)
    if model.has_density:
        model.seed_generator.state.assign([1, 2])
        found.append(model.log_likelihood(given, 3))
        found.append(model.impute(given, 20, 1, seed=1))
    found += [model.reconstruct(given), model.predict(given, verbose=0)]
    return found


@pytest.mark.one
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_what_is_hidden_changes_no_number(make):
    found = []
    for by in (0.0, 1e6):
        keras.utils.set_random_seed(0)
        found.append(numbers(make(), hidden(X, KNOWN, by)))
    assert all(np.isfinite(each).all() for each in found[0][:2])
    _same(*found)


def _same(first, second):
    flat = [keras.tree.flatten(_plain(each)) for each in (first, second)]
    for one, other in zip(*flat, strict=True):
        np.testing.assert_array_equal(one, other)


def _plain(found):
    return [vars(each) if hasattr(each, "effective_samples") else each for each in found]


@pytest.mark.one
@pytest.mark.parametrize("make", OF_MANY, ids=lambda make: make.__name__)
def test_nor_does_it_with_several_variables(make):
    values = given_to(make, 24)
    known = np.random.default_rng(3).random(values["x"].shape) < 0.6
    known[:, 0] = True
    found = []
    for by in (0.0, 1.0):
        keras.utils.set_random_seed(0)
        model = make()
        model.compile("adam", jit_compile=False)
        given = {**values, **hidden(values["x"], known, by)}
        history = model.fit(given, epochs=2, verbose=0, shuffle=False).history
        found.append([*history.values(), *model.reconstruct(given).values()])
        assert np.isfinite(history["loss"]).all()
    _same(*found)


def test_nan_and_a_mask_say_the_same():
    vae = usual(IWAE(3))
    vae.compile("adam")
    for given in (HOLES, {"x": X, "x_known": KNOWN}, [HOLES], tf.constant(HOLES)):
        vae.seed_generator.state.assign([1, 2])
        keras.utils.set_random_seed(3)
        np.testing.assert_array_equal(vae.encode(given).mean(), vae.encode(HOLES).mean())
        loss = vae.forward(given, 2, seed=tf.constant([1, 2])).nll
        want = vae.forward(HOLES, 2, seed=tf.constant([1, 2])).nll
        np.testing.assert_array_equal(loss, want)


def test_data_without_holes_give_what_they_gave():
    vae = usual(unknown=False)
    vae.compile("adam")
    before = vae.forward(X, 2, seed=tf.constant([1, 2])).nll
    assert vae.graph.has_unknown is False
    vae.evaluate(HOLES, verbose=0)
    assert vae.graph.has_unknown is True
    np.testing.assert_allclose(vae.forward(X, 2, seed=tf.constant([1, 2])).nll, before, rtol=1e-6)


def test_targets_may_have_holes_too():
    vae = usual()
    vae.compile("adam")
    first = vae.evaluate(X, HOLES, verbose=0)[1]
    second = vae.evaluate(X, X, verbose=0)[1]
    assert np.isfinite(first)
    assert first != second


def test_the_encoder_sees_which_entries_are_known():
    vae = usual()
    zeros, holes = np.zeros([1, 4], "float32"), np.array([[0, np.nan, 0, 0]], "float32")
    assert not np.allclose(vae.encode(zeros).mean(), vae.encode(holes).mean())
    blind = usual(unknown=False)
    np.testing.assert_array_equal(blind.encode(zeros).mean(), blind.encode(holes).mean())


@pytest.mark.parametrize("body", ["mlp", "conv"])
def test_images_have_a_channel_for_what_is_known(body):
    x = (RNG.random((16, 8, 8, 1)) < 0.5).astype("float32")
    x[:, 2:4] = np.nan
    encoder = networks.encoder((8, 8, 1), 2, body, (8,), unknown=True)
    decoder = networks.decoder(2, layers.IndependentBernoulli((8, 8, 1)), body, (8,))
    vae = VAE(encoder, decoder)
    vae.compile("adam")
    history = vae.fit(x, epochs=3, verbose=0).history
    assert history["loss"][2] < history["loss"][0]
    found = vae.impute(x[:2], 10)
    assert set(np.unique(found.mode)) <= {0, 1}
    assert np.isfinite(found.mean).all()


def test_a_data_set_may_have_its_first_hole_late():
    rows = np.concatenate([X, HOLES])
    vae = usual()
    vae.compile("adam")
    batches = tf.data.Dataset.from_tensor_slices(rows).batch(8)
    assert np.isfinite(vae.fit(batches, verbose=0).history["loss"]).all()


def test_a_saved_and_an_exported_model_take_holes(tmp_path):
    vae = usual()
    vae.compile("adam")
    vae.fit(HOLES, verbose=0)
    vae.save(tmp_path / "vae.keras")
    again = keras.models.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(again.encode(HOLES).mean(), vae.encode(HOLES).mean())
    vae.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(HOLES), vae.reconstruct(HOLES), rtol=1e-5)
    assert np.isfinite(served.log_likelihood(HOLES, 3)).all()


# -- what is observed may say which entries are known ------------------------------------------


def test_the_mask_may_be_observed_and_depend_on_x():
    """not-MIWAE: the unknown entries are drawn from p(x|z) for p(mask|x)."""
    given = {"x": (6,)}
    model = LatentModel(
        {"z": (net(given, layers.IndependentNormal(2, seed=1)), None)},
        {
            "x": net({"z": (2,)}, layers.IndependentNormal(6, seed=2)),
            "x_known": net(given, layers.IndependentBernoulli(6, seed=3)),
        },
        objective=IWAE(4),
    )
    x, _ = data(64)
    x = np.where(x["x"] > 0.5, np.nan, x["x"]).astype("float32")
    x[:, 0] = 0
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit({"x": x}, epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    forward = model.forward({"x": x}, 4, seed=tf.constant([1, 2]))
    np.testing.assert_array_equal(forward["x_known"].value, ~np.isnan(x))
    assert model.log_likelihood({"x": x}, 3).shape == (64,)


def test_a_spherical_z_half_known_labels_and_missing_pixels_just_work():
    label, sphere = layers.OneHotCategorical(3), layers.PowerSpherical(3)
    x, y, z = {"x": (6,)}, {"y": (3,)}, {"z": (3,)}
    model = LatentModel(
        {"y": (net(x, label), None), "z": (net({**x, **y}, sphere), None)},
        {"x": net({**z, **y}, layers.IndependentBernoulli(6))},
        objective=objectives.SemiSupervised("y", alpha=5.0),
    )
    given = given_to(half_known)
    pixels = np.where(np.random.default_rng(3).random((64, 6)) < 0.2, np.nan, given["x"])
    pixels[:, 0] = given["x"][:, 0]
    given = {"x": pixels.astype("float32"), "y": given["y"]}
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    history = model.fit(given, epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(model.log_likelihood({"x": given["x"]}, 5)).all()
    found = model.impute({"x": given["x"]}, 30)["x"]
    np.testing.assert_array_equal(found.mode[~np.isnan(pixels)], pixels[~np.isnan(pixels)])
    drawn = model.sample(given={"y": np.eye(3, dtype="float32")})
    np.testing.assert_allclose(np.linalg.norm(drawn["z"], axis=1), 1, rtol=1e-4)


# -- what is refused ---------------------------------------------------------------------------


def takes_itself():
    x, z = keras.Input((4,), name="x"), keras.Input((2,), name="z")
    joined = keras.layers.Concatenate()([x, z])
    likelihood = keras.Model(
        {"x": x, "z": z}, layers.IndependentNormal(4)(keras.layers.Dense(8)(joined))
    )
    return LatentModel(
        {"z": (net({"x": (4,)}, layers.IndependentNormal(2)), None)}, {"x": likelihood}
    )


@pytest.mark.parametrize(
    ("x", "fragment"),
    [
        (
            np.where(np.arange(24)[:, None] == 3, np.nan, X),
            "at least one known entry.*1 rows.*row 3",
        ),
        ({"x": X, "x_known": KNOWN[:, :2]}, "mask of the shape"),
        (np.where(KNOWN, X, np.inf), "finite numbers"),
    ],
    ids=["an empty row", "a mask of another shape", "infinite"],
)
def test_bad_holes_are_one_clear_error(x, fragment):
    vae = usual()
    vae.compile("adam")
    for use in (vae.fit, vae.encode, vae.impute, vae.log_likelihood):
        with pytest.raises(InputError, match=f"(?s){fragment}"):
            use(x)


def test_a_likelihood_that_takes_x_itself_is_refused():
    model = takes_itself()
    model.compile("adam")
    with pytest.raises(InputError, match="takes x itself"):
        model.fit(HOLES, verbose=0)


def test_a_condition_has_no_holes():
    encoder = networks.encoder((4,), layers.IndependentNormal(2), num_classes=3, unknown=True)
    decoder = networks.decoder(2, layers.IndependentNormal(4), num_classes=3)
    vae = VAE(encoder, decoder)
    vae.compile("adam")
    label = np.arange(24) % 3
    assert np.isfinite(vae.fit([HOLES, label], verbose=0).history["loss"]).all()
    with pytest.raises(InputError, match="finite numbers in label"):
        vae.fit([HOLES, np.where(label == 0, np.nan, label)])
