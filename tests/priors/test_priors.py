"""Trainable priors: mixtures and flows against their definitions, and within a VAE."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from conftest import small_networks

from tfp_vae import VAE, priors
from tfp_vae.errors import InputError

FLOWS = {
    "maf": {"kind": "maf", "num_flows": 2},
    "maf-1": {"kind": "maf", "num_flows": 1},
    "realnvp": {"kind": "realnvp", "num_flows": 2},
    "realnvp-3": {"kind": "realnvp", "num_flows": 3, "activation": "tanh"},
}
FLOW = pytest.mark.parametrize("kwargs", FLOWS.values(), ids=FLOWS.keys())


def flow(event_size, kwargs, scale=1.5):
    """A flow that is far from the identity."""
    prior = priors.FlowPrior(event_size, hidden_units=[16], **kwargs)
    rng = np.random.default_rng(1)
    for weight in prior.weights:
        weight.assign(weight + scale / (2 + sum(weight.shape)) * rng.normal(size=weight.shape))
    return prior


def mixture(least=0.2):
    prior = priors.MixturePrior(2, 3, seed=0)
    prior.logits.assign([0.5, -0.5, 1.0])
    prior.scale.assign([[0.1, 1.0], [-0.5, 0.3], [0.8, least]])
    return prior


PRIORS = {
    "mixture": mixture,
    **{name: lambda kwargs=kwargs: flow(2, kwargs) for name, kwargs in FLOWS.items()},
}
EVERY = pytest.mark.parametrize("make", PRIORS.values(), ids=PRIORS.keys())


def test_the_density_of_the_mixture_against_scipy():
    prior = mixture(least=-20.0)
    z = np.random.default_rng(0).normal(size=[5, 4, 2]).astype("float32")
    scale = np.maximum(np.logaddexp(0, prior.scale), 1e-3)
    each = scipy.stats.norm(prior.loc, scale).logpdf(z[..., None, :]).sum(axis=-1)
    expected = scipy.special.logsumexp(each + scipy.special.log_softmax(prior.logits), axis=-1)
    np.testing.assert_allclose(prior.distribution().log_prob(z), expected, rtol=1e-4)
    assert scale.min() == 1e-3


def test_the_mixture_is_spread_at_the_start_and_its_seed_decides_how():
    one, same, other = (priors.MixturePrior(4, 200, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.loc, same.loc)
    assert (one.loc.numpy() != other.loc.numpy()).all()
    np.testing.assert_allclose([one.loc.numpy().mean(), one.loc.numpy().std()], [0, 1], atol=0.15)
    np.testing.assert_allclose(one.distribution().components_distribution.stddev(), 1, rtol=1e-6)


@FLOW
@pytest.mark.parametrize("event_size", [2, 5])
def test_a_flow_is_a_change_of_variables_by_autodiff(event_size, kwargs):
    p = flow(event_size, kwargs).distribution()
    z = tf.constant(np.random.default_rng(0).normal(size=[6, event_size]).astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(z)
        u = p.bijector.inverse(tf.identity(z))
    jacobian = tape.batch_jacobian(u, z)
    log_det = np.linalg.slogdet(jacobian.numpy().astype("float64"))[1]
    expected = scipy.stats.norm.logpdf(u).sum(axis=-1) + log_det
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(p.bijector.forward(u + 0.0), z, atol=1e-4)
    unequal = np.abs(log_det).max()
    assert unequal > 0.05  # a flow that is the identity would pass all of this


@FLOW
def test_orders_and_halves_alternate(kwargs):
    """Which entries depend on which: in one flow below the diagonal or one half, in two all."""
    prior = flow(4, kwargs)
    z = tf.constant(np.random.default_rng(0).normal(size=[64, 4]).astype("float32"))
    found = []
    for number in range(min(2, prior.num_flows)):
        with tf.GradientTape() as tape:
            tape.watch(z)
            u = prior._bijector(number).inverse(tf.identity(z))
        found.append((tape.batch_jacobian(u, z).numpy() != 0).any(axis=0))
    whole = np.ones([4, 4], bool)
    half = np.eye(4, dtype=bool)
    half[2:, :2] = True
    first = np.tril(whole) if prior.kind == "maf" else half
    np.testing.assert_array_equal(found[0], first)
    if len(found) > 1:
        np.testing.assert_array_equal(found[1], first[::-1, ::-1])


def grid(limit=12.0, points=481):
    axis = np.linspace(-limit, limit, points)
    z = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return z.astype("float32"), (axis[1] - axis[0]) ** 2


@EVERY
def test_densities_integrate_to_one_and_draws_agree_with_them(make):
    p = make().distribution()
    z, area = grid()
    weight = np.exp(p.log_prob(z).numpy().astype("float64")) * area
    np.testing.assert_allclose(weight.sum(), 1, atol=2e-3)
    draws = p.sample(40_000, seed=(0, 1)).numpy()
    for function in (lambda z: z[:, 0], lambda z: z[:, 1], lambda z: z[:, 0] * z[:, 1]):
        values = function(draws)
        allowed = 4.5 * values.std() / np.sqrt(len(values)) + 5e-3
        assert abs(values.mean() - (weight * function(z)).sum()) < allowed


@EVERY
def test_gradients_reach_every_weight(make):
    prior = make()
    z = np.random.default_rng(0).normal(size=[200, 2]).astype("float32")
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(prior.distribution().log_prob(z))
    weights = prior.trainable_weights
    assert len(weights) == len(prior.weights) > 0
    gradients = tape.gradient(loss, [w.value for w in weights])
    assert all(g is not None and np.isfinite(g).all() for g in gradients)
    # Of a masked network of two entries the first layer of one flow may have nothing to give.
    assert sum((g.numpy() != 0).any() for g in gradients) >= len(weights) - 2


@pytest.mark.parametrize("name", ["mixture", "maf", "realnvp"])
def test_it_trains_with_a_vae_and_is_saved_with_it(x, tmp_path, name):
    prior = PRIORS[name]()
    vae = VAE(*small_networks(regularized=False), prior=prior)
    vae.compile(keras.optimizers.Adam(0.01), jit_compile=name == "realnvp")
    before = [w.numpy() for w in prior.weights]
    history = vae.fit(x, batch_size=32, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    changed = [(w.numpy() != b).any() for w, b in zip(prior.weights, before, strict=True)]
    assert sum(changed) >= len(changed) - 2
    vae.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_array_equal(again.sample(4, seed=1), vae.sample(4, seed=1))
    assert again.prior.get_config() == vae.prior.get_config()
    z = np.ones([3, 2], "float32")
    known = vae.prior.distribution().log_prob(z)
    np.testing.assert_array_equal(again.prior.distribution().log_prob(z), known)


@pytest.mark.parametrize("name", ["mixture", "maf", "realnvp"])
def test_graph_and_xla_give_the_eager_density(name):
    prior = PRIORS[name]()

    def both(z):
        p = prior.distribution()
        return p.log_prob(z), p.sample(5, seed=(1, 2))

    z = tf.constant(np.random.default_rng(0).normal(size=[7, 2]).astype("float32"))
    log_prob, draws = both(z)
    in_graph, drawn_in_graph = tf.function(both)(z)
    np.testing.assert_allclose(in_graph, log_prob, rtol=1e-4)
    np.testing.assert_allclose(drawn_in_graph, draws, rtol=1e-4, atol=1e-5)
    by_xla, drawn = tf.function(both, jit_compile=True)(z)  # whose random numbers are others
    np.testing.assert_allclose(by_xla, log_prob, rtol=1e-4)
    assert np.isfinite(prior.distribution().log_prob(drawn)).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
@pytest.mark.parametrize("name", ["mixture", "maf", "realnvp"])
def test_computes_in_full_precision(name, policy):
    keras.config.set_dtype_policy(policy)
    prior = PRIORS[name]()
    p = prior.distribution()
    assert p.log_prob(p.sample(3)).dtype == ("float64" if policy == "float64" else "float32")


def test_a_flow_of_one_entry():
    p = flow(1, {"kind": "maf", "num_flows": 1}).distribution()
    z = np.linspace(-30, 30, 20_001, dtype="float32")[:, None]
    np.testing.assert_allclose(p.prob(z).numpy().sum() * 60 / 20_000, 1, atol=1e-3)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: priors.MixturePrior(0), "event_size >= 1"),
        (lambda: priors.MixturePrior(2, 0), "num_components >= 1"),
        (lambda: priors.FlowPrior(2, "glow"), '"maf" or "realnvp"'),
        (lambda: priors.FlowPrior(1, "realnvp"), "event_size >= 2"),
        (lambda: priors.FlowPrior(2, num_flows=0), "num_flows >= 1"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(use, message):
    with pytest.raises(InputError, match=rf"{message}.*Received"):
        use()
