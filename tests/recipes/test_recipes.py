"""Every recipe through the same checks; a new one is tested without a line here."""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
import variants_table
from conftest import ROOT, python
from recipe_models import LABELS, conditions, inputs, kind, made

from tfp_vae import InputError, layers, priors, recipes
from tfp_vae.model import main_variable
from tfp_vae.objectives import ELBO, IWAE
from tfp_vae.objectives.feature_networks import random_features

# One for each way through the model: a density or none, codes, a prior with weights, two latents.
KINDS = [
    "vae", "wae_mmd_imq", "categorical_vae", "hyperspherical_vae", "iaf_vae", "vamp_prior_vae",
    "vq_vae", "vq_vae_2",
]  # fmt: skip
OTHERS = [name for name in recipes.RECIPES if name not in KINDS]
CONDITIONED = [name for name in OTHERS if not recipes.RECIPES[name].labels]
EVERY = pytest.mark.parametrize(
    "name", [*KINDS, *(pytest.param(name, marks=pytest.mark.again) for name in OTHERS)]
)


@EVERY
def test_it_learns_digits_and_all_that_follows_works(name, x):
    vae = made(name)
    data = inputs(vae, x)
    vae.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    before = vae.evaluate(data, batch_size=32, verbose=0, return_dict=True)
    history = vae.fit(data, batch_size=32, epochs=4, verbose=0).history
    assert history["nll"][-1] < history["nll"][0]
    grows = vae.objective.get_config().get("capacity") is not None  # with the steps
    if not grows and "critic" not in vae.objective.metric_names:  # of a game no sum falls
        after = vae.evaluate(data, batch_size=32, verbose=0, return_dict=True)
        assert after["loss"] < before["loss"]
    drawn = main_variable.sampled(vae, 4, conditions(vae, 4), seed=1)
    assert drawn.shape == (4, 8, 8, 1)
    assert np.isfinite(main_variable.reconstructed(vae, data)).all()
    if vae.has_density:
        of_each = [f"kl_{name}" for name in vae.graph.posteriors if len(vae.graph.posteriors) > 1]
        of_each += vae.reports
        assert {"kl", "nll", "loss", *of_each, *vae.objective.metric_names} == set(history)
        values = vae.log_likelihood(data, num_samples=3)
        assert values.shape == (64,)
        assert np.isfinite(values).all()
    else:
        of_q = {"kl"} if vae.kl_metric is not None else set()
        assert {"nll", "loss", *of_q, *vae.objective.metric_names} == set(history)
        why = r"objective \w+" if vae.objective.no_likelihood else "Deterministic"
        with pytest.raises(InputError, match=rf"log p\(x\).*density.*{why}"):
            vae.log_likelihood(data)


@pytest.mark.one
@pytest.mark.parametrize("name", recipes.RECIPES)
def test_under_xla_every_parameter_gets_a_finite_gradient_also_with_labels(name, x):
    vae = made(name, labelled=True)
    vae.compile("adam")
    vae.optimizer.iterations.assign(50)  # half-way: a KL that warms up has a weight
    weights = [w.value for w in vae.trainable_weights]

    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def gradients(data):
        with tf.GradientTape() as tape:
            loss = vae.compute_loss(x=data, y_pred=vae(data, training=True))
        return [tf.zeros_like(w) if g is None else tf.convert_to_tensor(g)
                for w, g in zip(weights, tape.gradient(loss, weights), strict=True)]  # fmt: skip

    data = {key: tf.constant(value) for key, value in inputs(vae, x).items()}
    paths = [w.path for w in vae.trainable_weights]
    found = dict(zip(paths, gradients(data), strict=True))
    assert [path for path, g in found.items() if not np.isfinite(g).all()] == []
    assert [path for path, g in found.items() if not np.any(g)] == []


@pytest.mark.one
@pytest.mark.parametrize("name", recipes.RECIPES)
def test_it_is_the_same_in_double_precision(name, x):
    losses, weights = [], None
    for policy in ("float32", "float64"):
        keras.config.set_dtype_policy(policy)
        vae = made(name, labelled=True)
        weights = weights or vae.get_weights()
        vae.set_weights(weights)
        data = inputs(vae, x)
        losses.append(vae.compute_loss(x=data, y_pred=vae(data, training=False)))
    assert losses[1].dtype == tf.float64
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.2)  # of other draws


@pytest.mark.again
@pytest.mark.parametrize(
    "names",
    [KINDS[::2], KINDS[1::2], CONDITIONED[::2], CONDITIONED[1::2]],
    ids=["kinds", "more-kinds", "others", "more-others"],
)
def test_saved_and_exported_models_answer_the_same_in_another_process(names, x, tmp_path):
    data, expected, exported = x[:5], {}, {}
    for name in names:
        vae = made(name, labelled=True)
        given = inputs(vae, data)
        vae.save(tmp_path / f"{name}.keras")
        if kind(vae) not in exported:  # objectives are not exported
            exported[kind(vae)] = name
            vae.export(tmp_path / name)
        labels = {"label": given["label"]}
        expected[name] = {
            "reconstructed": main_variable.reconstructed(vae, given).numpy().sum(),
            "seeded": main_variable.sampled(vae, 5, labels, seed=3).numpy().sum(),
            "density": vae.has_density,
        }
    np.savez(tmp_path / "data.npz", x=data, label=given["label"])
    served = f"""
import json, sys
import numpy as np, tensorflow as tf
with np.load("{tmp_path}/data.npz") as file:
    x, label = file["x"], file["label"]
found = {{}}
for name in {list(exported.values())!r}:
    model = tf.saved_model.load(f"{tmp_path}/{{name}}")
    served, drawn = model.serve(x, label), model.sample(label)
    if isinstance(served, dict):
        served, drawn = served["x"], drawn["x"]
    found[name] = {{"reconstructed": float(tf.reduce_sum(served)),
                   "sampled": drawn.shape.as_list(),
                   "density": hasattr(model, "log_likelihood")}}
    if found[name]["density"]:
        assert np.isfinite(model.log_likelihood(x, label, 3)).all()
assert "tfp_vae" not in sys.modules and "tensorflow_probability" not in sys.modules
import keras, tfp_vae
from tfp_vae.model import main_variable
for name in {names!r}:
    vae = keras.models.load_model(f"{tmp_path}/{{name}}.keras", safe_mode=True)
    given = {{"x": x, "label": label}}
    again = main_variable.reconstructed(vae, given)
    found.setdefault(name, {{}})["reloaded"] = float(tf.reduce_sum(again))
    drawn = main_variable.sampled(vae, 5, {{"label": label}}, seed=3)
    found[name]["seeded"] = float(tf.reduce_sum(drawn))
print(json.dumps(found))
"""
    found = json.loads(python(served).splitlines()[-1])
    near = functools.partial(pytest.approx, rel=1e-4, abs=1e-3)
    for name in names:
        assert found[name]["reloaded"] == near(expected[name]["reconstructed"])
        assert found[name]["seeded"] == near(expected[name]["seeded"])
    for name in exported.values():
        assert found[name]["reconstructed"] == near(expected[name]["reconstructed"])
        assert found[name]["sampled"] == [5, 8, 8, 1]
        assert found[name]["density"] == expected[name]["density"]


# -- what single recipes say -----------------------------------------------------------------------


def test_log_cosh_is_a_logistic_with_the_kl_weighed(x):
    vae, a = made("log_cosh_vae"), 10.0
    p = vae(x, training=True)
    forward_loss = vae.compute_loss(x=x, y_pred=p)
    difference = x - p.mean()
    log_cosh = np.log(np.cosh(a * difference.numpy().astype("float64"))) / a
    kl = (p.latents.log_posterior() - vae.prior.distribution().log_prob(p.latents.z))[0]
    del kl  # in closed form here
    exact = tf.reduce_mean(p.latents.posterior.kl_divergence(vae.prior.distribution()))
    published = log_cosh.sum(axis=(1, 2, 3)).mean() + float(exact)
    constant = 64 * np.log(4 / (2 * a))  # of the Logistic's density, for each pixel
    assert float(forward_loss) == pytest.approx(2 * a * published + constant, rel=1e-4)


def test_a_setting_overrides_what_a_recipe_says():
    vae = made("sigma_vae", objective=IWAE(2), likelihood=layers.StudentT)
    assert isinstance(vae.objective, IWAE)
    assert isinstance(vae.decoder.layers[-1], layers.StudentT)
    with pytest.raises(InputError, match=r"needs log q.*Deterministic"):
        made("ae", objective=ELBO())


def test_features_come_from_what_the_setting_makes():
    network = random_features((8, 8, 1))
    assert made("deep_feature_vae", features=lambda: network).objective.network is network


def test_what_is_no_recipe_is_refused_in_words():
    with pytest.raises(InputError, match=r"one of vae, .*Did you mean beta_vae\?.*Received"):
        recipes.build("beta-vae", recipes.Setting((8, 8, 1), 1500))
    with pytest.raises(InputError, match="num_classes"):
        made("conditional_vae", labelled=False)


@pytest.mark.again
def test_rows_that_nobody_published_together_just_work(x):
    k = 12
    vae = recipes.Setting((8, 8, 1), 1500, latent_size=3, widths=(12,), num_classes=LABELS).vae(
        posterior=layers.InverseAutoregressiveFlow(3, num_flows=2),
        prior=priors.VampPrior(k, conditions={"label": np.arange(k) % LABELS}),
        likelihood=layers.StudentT,
        objective=IWAE(4, estimator="dreg"),
    )
    data = inputs(vae, x)
    vae.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    history = vae.fit(data, batch_size=32, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(vae.log_likelihood(data, num_samples=5)).all()
    assert vae.sample(4, conditions=conditions(vae, 4)).shape == (4, 8, 8, 1)


@pytest.mark.again
def test_the_table_in_the_documentation_is_the_recipes():
    text = (ROOT / "docs" / "variants.md").read_text()
    assert variants_table.table() in text
