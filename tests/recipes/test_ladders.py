"""Recipes of several latent variables, against closed forms."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from recipe_models import made
from tensorflow_probability import distributions as tfd

from tfp_vae import IWAE, InputError, LatentModel, layers, recipes
from tfp_vae.model import main_variable

A, B, PRIOR_SCALE, NOISE = 0.8, 1.5, 0.6, 0.4  # z1 = A z2 + ..., x = B z1 + ...


def fixed(matrix, bias):
    """A dense layer of these weights."""
    return keras.layers.Dense(
        len(bias),
        kernel_initializer=lambda *_, **__: np.asarray(matrix, "float32"),
        bias_initializer=lambda *_, **__: np.asarray(bias, "float32"),
    )


def raw(scale):
    """What a scale is before its softplus."""
    return np.log(np.expm1(scale))


def linear_ladder():
    """The exact posterior: q(z1|x, z2) is the product of p(z1|z2) and of what x says of z1."""
    variance = B**2 * (A**2 + PRIOR_SCALE**2) + NOISE**2  # of x; z2 and x have the covariance A B
    of_z2 = (1 - (A * B) ** 2 / variance) ** 0.5
    x, z2, z1 = (keras.Input((1,), name=name) for name in ("x", "z2", "z1"))
    h2 = fixed([[A * B / variance, 0.0]], [0.0, raw(of_z2)])(x)
    h1 = fixed([[1 / B, 0.0]], [0.0, raw(NOISE / B)])(x)
    prior = fixed([[A, 0.0]], [0.0, raw(PRIOR_SCALE)])(z2)
    p_of_z1 = keras.Input((2,), name="p_of_z1")
    both = keras.layers.Concatenate()([p_of_z1, h1])
    normal = layers.IndependentNormal
    return LatentModel(
        {
            "z2": (keras.Model({"x": x}, normal(1)(h2)), None),
            "z1": (
                keras.Model({"x": x, "p_of_z1": p_of_z1}, layers.PrecisionWeightedNormal(1)(both)),
                keras.Model({"z2": z2}, {"z1": normal(1)(prior), "p_of_z1": prior}),
            ),
        },
        {"x": keras.Model({"z1": z1}, normal(1)(fixed([[B, 0.0]], [0.0, raw(NOISE)])(z1)))},
    )


def test_a_linear_ladder_with_precision_weighted_posteriors_has_the_exact_log_p():
    model = linear_ladder()
    x = np.linspace(-3, 3, 7, dtype="float32")[:, None]
    variance = B**2 * (A**2 + PRIOR_SCALE**2) + NOISE**2
    exact = scipy.stats.norm(0, variance**0.5).logpdf(x[:, 0])
    weights = model.forward(x, 5, seed=(1, 2)).log_weights
    np.testing.assert_allclose(weights, np.broadcast_to(exact, [5, 7]), atol=2e-5)
    np.testing.assert_allclose(model.log_likelihood(x, num_samples=1), exact, atol=2e-5)


def linear_bottom_up(objective=None):
    """The same model, with the exact q(z1|x) and q(z2|z1) in place of q(z2|x) and q(z1|x, z2)."""
    of_z1 = A**2 + PRIOR_SCALE**2
    of_x = B**2 * of_z1 + NOISE**2
    rest_1, rest_2 = (of_z1 - (B * of_z1) ** 2 / of_x) ** 0.5, (1 - A**2 / of_z1) ** 0.5
    x, z1 = (keras.Input((1,), name=name) for name in ("x", "z1"))
    h1 = fixed([[B * of_z1 / of_x, 0.0]], [0.0, raw(rest_1)])(x)
    h2 = fixed([[A / of_z1, 0.0]], [0.0, raw(rest_2)])(z1)
    normal, ladder = layers.IndependentNormal, linear_ladder()
    return LatentModel(
        {
            "z2": (keras.Model({"z1": z1}, normal(1)(h2)), None),
            "z1": (keras.Model({"x": x}, normal(1)(h1)), ladder.priors["z1"]),
        },
        dict(ladder.likelihoods),
        objective=objective,
    )


def test_bottom_up_posteriors_are_drawn_in_the_order_that_they_need():
    model = linear_bottom_up()
    assert list(model.forward(np.zeros([2, 1], "float32")).latent) == ["z2", "z1"]
    x = np.linspace(-3, 3, 7, dtype="float32")[:, None]
    variance = B**2 * (A**2 + PRIOR_SCALE**2) + NOISE**2
    exact = scipy.stats.norm(0, variance**0.5).logpdf(x[:, 0])
    weights = model.forward(x, 5, seed=(1, 2)).log_weights
    np.testing.assert_allclose(weights, np.broadcast_to(exact, [5, 7]), atol=5e-5)
    np.testing.assert_allclose(model.log_likelihood(x, num_samples=1), exact, atol=5e-5)


@pytest.mark.parametrize(("estimator", "is_zero"), [("dreg", True), ("plain", False)])
def test_at_bottom_up_posteriors_that_are_exact_dreg_has_no_gradient(estimator, is_zero):
    """All weights of the draws are equal, whatever z: for each draw, and not on average alone."""
    model = linear_bottom_up(IWAE(4, estimator=estimator))
    x = np.linspace(-2, 2, 5, dtype="float32")[:, None]
    weights = [w.value for q in model.posteriors.values() for w in q.trainable_weights]
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x, None, model(x, training=True))
    found = np.concatenate([np.ravel(g) for g in tape.gradient(loss, weights)])
    assert np.isfinite(found).all()
    assert (np.abs(found) < 1e-4).all() == is_zero


@pytest.mark.again
def test_values_above_are_given_and_those_below_are_drawn():
    """Also where a prior hands a state down beside its distribution."""
    model = made("top_down_vae")
    above = {name: np.zeros([6, 1], "float32") for name in ("z5", "z4", "z3")}
    drawn = model.sample(given=above, seed=1)
    np.testing.assert_array_equal(drawn["z4"], above["z4"])
    assert np.std(drawn["z2"]) > 0
    again = model.decode({name: drawn[name] for name in drawn if name != "x"})["x"]
    np.testing.assert_allclose(drawn["x"], again.mean(), atol=1e-6)


def test_a_residual_posterior_that_adds_nothing_is_the_prior():
    rng = np.random.default_rng(0)
    prior = rng.normal(size=[5, 6]).astype("float32")
    p = layers.IndependentNormal(3)(prior)
    same = layers.ResidualNormal(3)(np.concatenate([prior, np.zeros_like(prior)], 1))
    np.testing.assert_array_equal(tfd.kl_divergence(same, p), np.zeros(5))


def test_the_kl_of_a_residual_posterior_is_nvaes():
    rng = np.random.default_rng(0)
    prior, shift, ratio = rng.normal(size=[3, 5, 6]).astype("float32")
    shift, ratio = shift[:, :3], ratio[:, :3]
    q = layers.ResidualNormal(3)(np.concatenate([prior, shift, ratio], 1))
    p = layers.IndependentNormal(3)(prior)
    scale, d_scale = np.logaddexp(0, prior[:, 3:]), np.exp(5 * np.tanh(ratio / 5))
    each = 0.5 * ((shift / scale) ** 2 + d_scale**2 - 2 * np.log(d_scale) - 1)
    np.testing.assert_allclose(tfd.kl_divergence(q, p), each.sum(1), rtol=1e-5)


@pytest.mark.parametrize("name", ["ladder_vae", "top_down_vae"])
def test_the_kl_is_against_the_prior_that_generates(name, x):
    """p of each variable at the values of the pass, made anew along the path of sampling."""
    model = made(name)
    forward = model.forward(x[:5], seed=(1, 2))
    values = {n: term.value[0] for n, term in forward.latent.items()}
    above = {}
    for n in list(values)[1:]:
        prior = model.graph.priors[n]
        above.update({k: v for k, v in values.items() if k not in above and k != n})
        out = prior.network({t: above[t] for t in prior.inputs})
        above.update({k: out[k] for k in prior.puts_out})
        np.testing.assert_allclose(out[n].mean(), forward[n].p.mean(), atol=1e-5)
        kl = tfd.kl_divergence(forward[n].q, out[n])
        np.testing.assert_allclose(forward[n].kl(), kl, rtol=1e-4, atol=1e-5)
    for got, wanted in zip(model.decode(values)["x"].mean(), forward["x"].p.mean(), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("step", [0, 7, 1000])
@pytest.mark.one
def test_kl_weights_are_the_same_in_training_and_validation(step, x):
    model = made("top_down_vae")  # 100 steps, of which 30 warm up
    forward = model.forward(x, seed=(1, 2))
    losses = [
        model.objective(forward.observing({"x": x}, step=step, training=training)).loss
        for training in (True, False)
    ]
    np.testing.assert_array_equal(*losses)
    held = sum(
        tf.reduce_sum(tf.maximum(tf.reduce_mean(term.kl_of_dimensions(), 0), 0.01))
        for term in forward.latent.values()
    )
    expected = forward.nll + min(1.0, step / 30) * held
    np.testing.assert_allclose(losses[0], expected, rtol=1e-5)


@pytest.mark.parametrize("groups", [3, 8])
@pytest.mark.one
def test_groups_of_maps_go_from_coarse_to_fine(groups):
    s = recipes.Setting((28, 20, 1), 100, latent_size=16, body="conv", widths=(4, 8))
    model = recipes.RECIPES["top_down_vae"].make(s, groups=groups)
    sizes = [q.shape[0] for q in model.graph.posteriors.values()]
    each = max(1, 16 // groups)
    assert sizes == sorted(sizes)
    assert set(sizes) == {7 * 5 * each, 14 * 10 * each}
    assert model.sample(2)["x"].shape == (2, 28, 20, 1)


@pytest.mark.again
def test_a_convolutional_ladder_is_of_maps_in_every_layer(x):
    """Its posteriors weigh, by precisions, what the layer above and what the data say."""
    s = recipes.Setting(
        (8, 8, 1), 100, latent_size=6, body="conv", widths=(4, 8), num_classes=10, steps=20
    )
    model = recipes.build("ladder_vae", s)
    sizes = {name: q.shape for name, q in model.graph.posteriors.items()}
    assert sizes == {"z3": (8,), "z2": (8,), "z1": (32,)}  # 2 values at places of 2x2, 2x2, 4x4
    inner = [*model.posteriors.values(), *(model.priors[name] for name in ("z2", "z1"))]
    for network in inner:
        kinds = {type(layer) for layer in network._flatten_layers()}
        assert keras.layers.Dense not in kinds
        assert keras.layers.Conv2D in kinds
    for name in ("z2", "z1"):
        assert isinstance(model.posterior_layers[name], layers.PrecisionWeightedNormal)
        assert [each.name for each in model.priors[name].inputs] == [f"z{int(name[1]) + 1}"]
    data = {"x": x, "label": np.arange(len(x), dtype="int32") % 10}
    drawn = main_variable.sampled(model, 4, {"label": np.arange(4)})
    assert drawn.shape == (4, 8, 8, 1)
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    losses = model.fit(data, batch_size=32, epochs=6, verbose=0).history["nll"]
    assert losses[-1] < losses[0]


def test_one_group_is_no_hierarchy():
    s = recipes.Setting((5,), 100)
    with pytest.raises(InputError, match="at least two groups"):
        recipes.RECIPES["top_down_vae"].make(s, groups=1)


def test_the_upper_prior_is_a_mixture_of_the_upper_posteriors(x):
    model = made("hierarchical_vamp_vae")
    prior = model.priors["z2"]
    mixture = prior.distribution()
    u = np.clip(np.asarray(prior.pseudo_inputs), 0, 1)
    q = model.posteriors["z2"](u)
    z = model.encode(x[:4])["z2"].mean()
    each = [np.asarray(q.log_prob(np.broadcast_to(one, [len(u), 3]))) for one in z]
    expected = [np.logaddexp.reduce(row) - np.log(len(u)) for row in each]
    np.testing.assert_allclose(mixture.log_prob(z), expected, rtol=1e-4)


@pytest.mark.again
def test_a_hierarchy_with_a_vamp_prior_and_doubly_reparameterized_gradients_on_counts():
    """Nobody published these together."""
    x = np.random.default_rng(0).poisson(3.0, [64, 6]).astype("float32")
    s = recipes.Setting(
        (6,), 64, latent_size=2, widths=(8,), likelihood=layers.IndependentPoisson,
        objective=IWAE(3, estimator="dreg"),
    )  # fmt: skip
    model = recipes.build("hierarchical_vamp_vae", s)
    model.compile(keras.optimizers.Adam(0.01))
    losses = model.fit(x, batch_size=32, epochs=10, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert np.isfinite(model.log_likelihood(x, num_samples=5)).all()
    assert model.sample(3, mean=False)["x"].shape == (3, 6)
