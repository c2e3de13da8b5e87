"""Objectives by their formulas: in closed form, by another route, or by what is known of them."""

import itertools

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from commands import SMALL, main
from conftest import small_networks

from tfp_vae import VAE, objectives, schedules
from tfp_vae.errors import InputError

tfd = tfp.distributions
D, B = 3, 5
UNIT = tfd.Independent(tfd.Normal(tf.zeros(D), 1.0), 1)
OBJECTIVES = {
    "elbo": lambda: objectives.ELBO(),
    "beta": lambda: objectives.ELBO(beta=schedules.Sigmoid(10, 2.0, 4.0)),
    "free-bits": lambda: objectives.ELBO(free_bits=0.3),
    "capacity": lambda: objectives.ELBO(beta=10.0, capacity=schedules.warm_up(20, 5.0)),
    "iwae": lambda: objectives.IWAE(3),
    "miwae": lambda: objectives.MIWAE(2, 3),
    "ciwae": lambda: objectives.CIWAE(3, beta=0.3),
    "piwae": lambda: objectives.PIWAE(2, 3),
    "stl": lambda: objectives.MIWAE(3, 1, estimator="stl"),
    "dreg": lambda: objectives.IWAE(3, estimator="dreg"),
    "beta-tc": lambda: objectives.BetaTC(1500),
    "beta-tc-weighted": lambda: objectives.BetaTC(1500, beta=2.0, sampling="weighted"),
    "dip-1": lambda: objectives.DIP(kind=1),
    "dip-2": lambda: objectives.DIP(weight=schedules.Cyclical(10)),
    "wae": lambda: objectives.MMD(),
    "info-vae": lambda: objectives.MMD(kernel="rbf", beta=0.5),
    "sliced": lambda: objectives.SlicedWasserstein(num_projections=10),
}
EVERY = pytest.mark.parametrize("make", OBJECTIVES.values(), ids=OBJECTIVES.keys())


def normals(seed=0, batch=B, spread=1.0):
    rng = np.random.default_rng(seed)
    loc = spread * rng.normal(size=[batch, D]).astype("float32")
    scale = rng.uniform(0.3, 1.5, [batch, D]).astype("float32")
    return loc, scale


def posterior(loc, scale):
    return tfd.Independent(tfd.Normal(loc, scale), 1)


def forward(q, z, log_likelihood=None, step=0):
    """A forward pass under a unit normal, with a log-likelihood of 0 where it does not matter."""
    if log_likelihood is None:
        log_likelihood = tf.zeros(tf.shape(z)[:2])
    return objectives.ForwardPass(q, UNIT, z, log_likelihood, step)


def pass_of(objective, loc, scale, seed=1):
    """The terms of some forward pass, and its log-weights."""
    q = posterior(loc, scale)
    z = q.sample(objective.num_samples, seed=(seed, 0))
    log_likelihood = tf.random.stateless_normal(z.shape[:2], [seed, 1]) - 4.0
    terms = objective(forward(q, z, log_likelihood, step=7))
    return terms, (log_likelihood + UNIT.log_prob(z) - q.log_prob(z)).numpy()


def kl_of(loc, scale):
    return (scale**2 + loc**2 - 1) / 2 - np.log(scale)


# -- the ELBO and its variants -------------------------------------------------------------------


def test_free_bits_count_no_dimension_below_its_share():
    loc, scale = normals()
    each = kl_of(loc, scale).mean(axis=0)
    free = float(np.sort(each)[1])  # one dimension is below, one at it, one above
    terms, _ = pass_of(objectives.ELBO(beta=2.0, free_bits=free), loc, scale)
    expected = terms.nll + 2.0 * np.maximum(each, free).sum()
    np.testing.assert_allclose(terms.loss, expected, rtol=1e-5)
    np.testing.assert_allclose(terms.kl, kl_of(loc, scale).sum(axis=1), rtol=1e-5)


def test_a_dimension_below_its_free_bits_has_no_gradient_from_the_kl():
    loc = tf.Variable([[0.1, 2.0, 0.1]])
    with tf.GradientTape() as tape:
        q = posterior(loc, tf.ones([1, 3]))
        loss = objectives.ELBO(free_bits=0.5)(forward(q, loc[None])).loss
    np.testing.assert_allclose(tape.gradient(loss, loc), [[0.0, 2.0, 0.0]])


def test_capacity_is_a_distance():
    loc, scale = normals()
    kl = kl_of(loc, scale).sum(axis=1)
    terms, _ = pass_of(objectives.ELBO(beta=3.0, capacity=2.0), loc, scale)
    held = tf.reduce_mean(terms.loss - terms.nll)
    np.testing.assert_allclose(held, 3.0 * np.abs(kl.mean() - 2.0), rtol=1e-4)
    objective = objectives.ELBO(beta=3.0, capacity=2.0, capacity_of="example")
    terms, _ = pass_of(objective, loc, scale)
    np.testing.assert_allclose(terms.loss - terms.nll, 3.0 * np.abs(kl - 2.0), rtol=1e-4)


def test_each_block_of_a_joint_posterior_has_a_capacity_of_its_own():
    loc, scale = normals()
    logits = np.random.default_rng(3).normal(size=[B, 4]).astype("float32")
    p_scale = np.full(D, 2.0, "float32")
    q = tfd.Blockwise([posterior(loc, scale), tfd.OneHotCategorical(logits, dtype=tf.float32)])
    p = tfd.Blockwise([
        tfd.Independent(tfd.Normal(tf.zeros(D), p_scale), 1),
        tfd.OneHotCategorical(tf.zeros(4), dtype=tf.float32),
    ])  # fmt: skip
    each = (scale**2 + loc**2) / 8 - 0.5 - np.log(scale / 2)
    log_p = scipy.special.log_softmax(logits, axis=1)
    kls = each.sum(axis=1), (np.exp(log_p) * (log_p + np.log(4))).sum(axis=1)
    z = q.sample(1, seed=(0, 1))
    pass_ = objectives.ForwardPass(q, p, z, tf.zeros([1, B]), step=10)
    capacities = (schedules.warm_up(20, 3.0), 0.2)
    terms = objectives.ELBO(beta=7.0, capacity=capacities)(pass_)
    expected = 7.0 * (np.abs(kls[0].mean() - 1.5) + np.abs(kls[1].mean() - 0.2))
    assert terms.loss.shape == [B]
    np.testing.assert_allclose(tf.reduce_mean(terms.loss), expected, rtol=1e-4)
    each = objectives.ELBO(beta=7.0, capacity=capacities, capacity_of="example")(pass_)
    expected = 7.0 * (np.abs(kls[0] - 1.5) + np.abs(kls[1] - 0.2))
    np.testing.assert_allclose(each.loss, expected, rtol=1e-4)
    np.testing.assert_allclose(terms.kl, sum(kls), rtol=1e-4)
    again = objectives.ELBO.from_config(objectives.ELBO(capacity=capacities).get_config())
    assert float(again.capacity[0](10)) == 1.5
    with pytest.raises(InputError, match=r"one capacity for all.*are 2.*Received"):
        objectives.ELBO(capacity=(1.0, 2.0, 3.0))(pass_)


def test_schedules_are_read_at_the_step():
    loc, scale = normals()
    now = objectives.ELBO(beta=float(schedules.Sigmoid(10, 2.0)(7)))
    later = objectives.ELBO(beta=schedules.Sigmoid(10, 2.0))
    np.testing.assert_allclose(*(pass_of(o, loc, scale)[0].loss for o in (now, later)))
    assert float(schedules.Sigmoid(10, 2.0, 3.0)(10)) == pytest.approx(1.5)


# -- importance weights --------------------------------------------------------------------------


def test_miwae_averages_outside_the_logarithm_and_iwae_inside():
    terms, log_w = pass_of(objectives.MIWAE(2, 3), *normals())
    each = scipy.special.logsumexp(log_w.reshape(2, 3, B), axis=1) - np.log(3)
    np.testing.assert_allclose(terms.loss, -each.mean(axis=0), rtol=1e-5)
    terms, log_w = pass_of(objectives.IWAE(6), *normals())
    inside = scipy.special.logsumexp(log_w, axis=0) - np.log(6)
    np.testing.assert_allclose(terms.loss, -inside, rtol=1e-5)


def test_the_bounds_meet_at_their_ends():
    loc, scale = normals()
    loss = {name: pass_of(o, loc, scale)[0].loss.numpy() for name, o in {
        "iwae": objectives.IWAE(6), "one bound": objectives.MIWAE(1, 6),
        "none of the elbo": objectives.CIWAE(6, 0.0), "half": objectives.CIWAE(6, 0.5),
        "elbo": objectives.CIWAE(6, 1.0), "six bounds of one": objectives.MIWAE(6, 1),
    }.items()}  # fmt: skip
    np.testing.assert_allclose(loss["one bound"], loss["iwae"], rtol=1e-5)
    np.testing.assert_allclose(loss["none of the elbo"], loss["iwae"], rtol=1e-5)
    np.testing.assert_allclose(loss["six bounds of one"], loss["elbo"], rtol=1e-5)
    np.testing.assert_allclose(loss["half"], (loss["iwae"] + loss["elbo"]) / 2, rtol=1e-5)
    assert (loss["iwae"] < loss["elbo"]).all()


# -- the total correlation -----------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["stratified", "weighted"])
def test_the_three_parts_add_up_to_the_kl(sampling):
    loc, scale = normals()
    q, z = posterior(loc, scale), posterior(loc, scale).sample(2, seed=(0, 0))
    parts = objectives.BetaTC(100, sampling=sampling).parts(forward(q, z))
    kl = tf.reduce_mean(q.log_prob(z) - UNIT.log_prob(z), axis=0)
    np.testing.assert_allclose(sum(parts), kl, rtol=1e-4, atol=1e-5)
    neutral = objectives.BetaTC(100, 1.0, 1.0, 1.0, sampling)(forward(q, z))
    np.testing.assert_allclose(neutral.loss, kl, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sampling", ["stratified", "weighted"])
def test_the_parts_are_those_of_the_weights(sampling):
    """The weights by loops, as the paper's appendix C.2 has them; B is the batch, n the data."""
    loc, scale = normals()
    n, m = 100, B - 1
    w = np.full([B, B], 1 / (n * B) if sampling == "weighted" else 1 / m)
    if sampling == "stratified":
        for i in range(B):
            w[i, i], w[i, (i + 1) % B] = 1 / n, (n - m) / (n * m)
    z = posterior(loc, scale).sample(1, seed=(0, 0)).numpy()
    each = scipy.stats.norm(loc, scale).logpdf(z[0][:, None])  # [z of i, x of j, dimension]
    log_q_z = scipy.special.logsumexp(each.sum(axis=-1), b=w, axis=1)
    log_prod = scipy.special.logsumexp(each, b=w[..., None], axis=1).sum(axis=-1)
    own = each.sum(axis=-1)[np.arange(B), np.arange(B)]
    prior = scipy.stats.norm.logpdf(z[0]).sum(axis=-1)
    exact = (own - log_q_z, log_q_z - log_prod, log_prod - prior)
    parts = objectives.BetaTC(n, sampling=sampling).parts(forward(posterior(loc, scale), z))
    for found, expected in zip(parts, exact, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_stratified_weights_estimate_the_aggregated_posterior_without_bias():
    """q(z_0) of 5 examples, z_0 from example 0, averaged over all batches of 3 with it in front."""
    loc, scale = normals()
    z = loc[0] + 0.3
    density = np.exp(scipy.stats.norm(loc, scale).logpdf(z).sum(axis=-1))
    found = []
    for others in itertools.permutations(range(1, B), 2):
        weights = np.exp(objectives.BetaTC(B)._log_weights(tf.constant(3)).numpy()[0])
        np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-6)
        found.append(weights @ density[[0, *others]])
    np.testing.assert_allclose(np.mean(found), density.mean(), rtol=1e-5)


# -- penalties -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [1, 2])
def test_dip_is_of_products_over_different_examples(kind):
    """By loops over four examples of six: half their squared differences, without bias."""
    loc, scale = normals(batch=6)
    within = (kind == 2) * scale[:, :, None] ** 2 * np.eye(D)

    def estimate(i, j):
        return np.outer(loc[i] - loc[j], loc[i] - loc[j]) / 2 + (within[i] + within[j]) / 2

    fours = list(itertools.permutations(range(6), 4))
    square = np.mean([estimate(i, j) * estimate(k, m) for i, j, k, m in fours], axis=0)
    c = np.cov(loc.T) + within.mean(axis=0)
    diagonal = np.diag(square)
    expected = square.sum() - diagonal.sum() + 10.0 * (diagonal - 2 * np.diag(c) + 1).sum()
    objective = objectives.DIP(weight=2.0, diagonal=10.0, kind=kind)
    penalty = objective.penalty(forward(posterior(loc, scale), loc[None]))
    np.testing.assert_allclose(penalty, expected, rtol=1e-4)
    terms, _ = pass_of(objective, loc, scale)
    added = terms.loss - terms.nll - terms.kl
    np.testing.assert_allclose(added, np.full(6, 2.0 * expected), rtol=1e-3)


def test_mmd_of_two_normals_is_the_closed_form():
    """k is a Normal's density up to its norm, so E k is known where z - z' is Normal."""
    shift, d = np.full(D, 0.8, "float32"), D
    within = (1 + 2 / d) ** (-d / 2)
    exact = 2 * within * (1 - np.exp(-(shift**2).sum() / (2 * (d + 2))))
    objective, found = objectives.MMD(kernel="rbf"), {0.0: [], 1.0: []}
    for step in range(40):
        z = tf.random.stateless_normal([1, 200, D], [step, 5])
        for much, values in found.items():
            values.append(float(objective.penalty(forward(None, z + much * shift, step=step))))
    for much, values in found.items():
        error = np.std(values) / np.sqrt(len(values))
        assert np.mean(values) == pytest.approx(much * exact, abs=4 * error)
        assert error < 0.005
    assert min(found[0.0]) < 0  # without bias


def test_mmd_of_few_points_by_loops():
    z, step = tf.random.stateless_normal([1, 4, D], [3, 3]), 9
    p = UNIT.sample([1, 4], seed=tf.constant([step, 0])).numpy()[0]

    def k(a, b):
        square = ((a - b) ** 2).sum()
        return sum(2 * D * s / (2 * D * s + square) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    pairs = [(i, j) for i in range(4) for j in range(4)]
    rows = z.numpy()[0]
    apart = [np.mean([k(a[i], a[j]) for i, j in pairs if i != j]) for a in (rows, p)]
    between = np.mean([k(rows[i], p[j]) for i, j in pairs])
    found = objectives.MMD().penalty(forward(None, z, step=step))
    np.testing.assert_allclose(found, sum(apart) - 2 * between, rtol=1e-4, atol=1e-5)


def test_the_sliced_distance_of_a_shift_is_its_mean_square():
    shift = np.array([2.0, 0.0, 1.0], "float32")
    z = tf.random.stateless_normal([1, 4000, D], [0, 5]) + shift
    found = objectives.SlicedWasserstein(num_projections=2000).penalty(forward(None, z))
    np.testing.assert_allclose(found, (shift**2).sum() / D, rtol=0.1)


# -- all of them ---------------------------------------------------------------------------------


@EVERY
def test_the_config_gives_the_objective_again(make):
    objective = make()
    config = keras.saving.serialize_keras_object(objective)
    again = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(again) == config
    terms = [pass_of(o, *normals())[0].loss for o in (objective, again)]
    np.testing.assert_array_equal(*terms)


@EVERY
def test_gradients_are_finite_and_xla_computes_the_same(make):
    objective = make()

    def gradients(loc, scale):
        with tf.GradientTape() as tape:
            tape.watch([loc, scale])
            loss = _loss(objective, loc, scale)
        return [loss, *tape.gradient(loss, [loc, scale])]

    arguments = [tf.constant(value) for value in normals()]
    eager = gradients(*arguments)
    assert all(np.isfinite(value).all() for value in eager)
    assert all((np.asarray(value) != 0).any() for value in eager)
    compiled = tf.function(gradients, jit_compile=True)(*arguments)
    assert all(np.isfinite(value).all() for value in compiled)
    if not isinstance(objective, (objectives.MMD, objectives.SlicedWasserstein)):
        for mine, known in zip(compiled, eager, strict=True):  # the others draw other numbers
            np.testing.assert_allclose(mine, known, rtol=2e-3, atol=2e-4)


def _loss(objective, loc, scale):
    eps = np.random.default_rng(2).normal(size=[objective.num_samples, B, D]).astype("float32")
    z = loc + scale * eps
    log_likelihood = -tf.reduce_sum(tf.square(z - 1.0), axis=-1)
    terms = objective(forward(posterior(loc, scale), z, log_likelihood, step=3))
    return tf.reduce_mean(terms.loss)


@pytest.mark.again
@pytest.mark.parametrize(
    "make",
    [
        OBJECTIVES[name]
        for name in ("beta", "free-bits", "stl", "dreg", "beta-tc-weighted", "dip-2")
    ],
)
def test_a_vae_learns_digits_and_reloads(make, x, tmp_path):
    """Those of no recipe; the others learn in test_recipes."""
    vae = VAE(*small_networks(regularized=False), objective=make())
    vae.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    history = vae.fit(x, batch_size=24, epochs=5, verbose=0).history
    assert history["nll"][-1] < history["nll"][0]
    vae.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    evaluated = [v.evaluate(x, verbose=0) for v in (vae, again)]
    np.testing.assert_array_equal(*evaluated)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: objectives.ELBO(free_bits=1.0, capacity=1.0), "not both"),
        (lambda: objectives.ELBO(capacity=1.0, capacity_of="all"), "capacity_of to be one of"),
        (lambda: objectives.MIWAE(0, 2), "num_bounds >= 1"),
        (lambda: objectives.CIWAE(0), "num_samples >= 1"),
        (lambda: objectives.CIWAE(2, beta=1.5), "share of the ELBO, in 0..1"),
        (lambda: objectives.BetaTC(1), "num_examples"),
        (lambda: objectives.BetaTC(9, sampling="both"), "stratified"),
        (lambda: objectives.DIP(kind=3), "1 or 2"),
        (lambda: objectives.MMD(kernel="linear"), "imq"),
        (lambda: objectives.SlicedWasserstein(num_projections=0), "num_projections"),
    ],
)
def test_impossible_objectives_are_refused_in_words(make, message):
    with pytest.raises(InputError, match=rf"{message}.*Received"):
        make()


@pytest.mark.parametrize("kind", [1, 2])
@pytest.mark.parametrize(
    "q",
    [
        tfd.Independent(tfd.Normal(tf.zeros([2, D, 4]), 1.0), 2),
        tfd.RelaxedOneHotCategorical(1.0, tf.zeros([2, D])),
    ],
    ids=["matrices", "no mean"],
)
def test_dip_asks_for_the_moments_of_vectors(kind, q):
    with pytest.raises(InputError, match=r"posterior over vectors.*closed form.*Received"):
        objectives.DIP(kind=kind).penalty(forward(q, tf.zeros([1, 2, D])))


@pytest.mark.one
@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda value: objectives.ELBO(beta=value), 0.5),
        (lambda value: objectives.ELBO(free_bits=value), 0.3),
        (lambda value: objectives.ELBO(capacity=value), 2.0),
        (lambda value: objectives.CIWAE(3, value), 0.3),
        (lambda value: objectives.BetaTC(99, value), 0.3),
        (lambda value: objectives.MMD(value), 0.3),
        (lambda value: objectives.RegularizedAE(l2=0.0, z_weight=value), 0.3),
    ],
)
def test_a_variable_is_read_anew_within_a_graph(make, value):
    variable = keras.Variable(1.0, trainable=False)
    objective, parameters = make(variable), [tf.constant(each) for each in normals()]
    compiled = tf.function(lambda: _loss(objective, *parameters), autograph=False)
    before = compiled()
    variable.assign(value)
    assert abs(compiled() - before) > 1e-3
    np.testing.assert_allclose(compiled(), _loss(make(value), *parameters), rtol=1e-4)


@pytest.mark.parametrize("make", [lambda: objectives.ELBO(free_bits=1.0),
                                  lambda: objectives.BetaTC(9)])  # fmt: skip
def test_dependent_dimensions_are_refused_in_words(make):
    q = tfd.MultivariateNormalTriL(tf.zeros([2, D]), tf.eye(D))
    with pytest.raises(InputError, match=r"independent.*Received"):
        make()(forward(q, tf.zeros([1, 2, D])))


@pytest.mark.again
def test_the_command_takes_any_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objective = ["--objective", "BetaTC", "--objective.num_examples", "1500"]
    assert main(["train", "--epochs", 1, *SMALL, *objective, "--out", "run"]) == 0
    assert "BetaTC" in (tmp_path / "run" / "config.yaml").read_text()
