"""Models of named variables: each kind trains, draws, has a likelihood, and is saved whole."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from latent_models import (
    MODELS,
    SIZE,
    X,
    conditional_prior,
    critic,
    given_to,
    ladder,
    net,
    sampled,
    two_observed,
)

from tfp_vae import ELBO, IWAE, VAE, InputError, LatentModel, layers, priors
from tfp_vae.evaluation import estimates

tfd = tfp.distributions
KINDS = pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)


def trained(make, epochs=2, **kwargs):
    keras.utils.set_random_seed(0)
    model = make(**kwargs)
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(given_to(make), epochs=epochs, batch_size=16, verbose=0).history
    return model, history


@pytest.mark.one
@KINDS
def test_it_trains_and_reports_each_variable(make):
    model, history = trained(make, 20)
    assert history["nll"][-1] < history["nll"][0]
    names = list(model.posteriors)
    several = {f"kl_{name}" for name in names} if len(names) > 1 else set()
    own = {"critic"} if make is critic else {"kl"}
    assert set(history) == {"loss", "nll", *own, *several}
    if several:
        total = sum(history[f"kl_{name}"][-1] for name in names)
        assert history["kl"][-1] == pytest.approx(total, rel=1e-4)


@pytest.mark.again
@KINDS
def test_it_draws_encodes_and_reconstructs_by_name(make):
    model, _ = trained(make)
    found = sampled(model, make, seed=3)
    assert list(found) == [*model.posteriors, *model.likelihoods]
    again = sampled(model, make, seed=3)
    for name, value in found.items():
        assert np.isfinite(value).all()
        assert len(value) == 4
        np.testing.assert_array_equal(value, again[name])
    data = given_to(make, 8)
    posteriors = model.encode(data)
    assert list(posteriors) == list(model.posteriors)
    means = model.reconstruct(data)
    assert {name: value.shape for name, value in means.items()} == {
        name: data[name].shape for name in model.likelihoods
    }
    np.testing.assert_array_equal(means["x"], model.reconstruct(data)["x"])


@pytest.mark.again
@KINDS
def test_its_likelihood_grows_with_the_draws_and_is_above_the_bound(make):
    if make is critic:
        pytest.skip("a point mass has no density")
    model, _ = trained(make, 20)
    data = given_to(make)
    one, many = (np.mean(model.log_likelihood(data, k)) for k in (1, 500))
    assert one < many + 0.05
    elbo = -model.evaluate(data, verbose=0, return_dict=True)["loss"]
    assert elbo < many + 0.2


@pytest.mark.again
@KINDS
def test_it_goes_on_from_a_file_as_if_nobody_had_saved_it(make, tmp_path):
    model, _ = trained(make)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, again):
        one.fit(given_to(make), epochs=2, batch_size=16, verbose=0, shuffle=False)
    for ours, theirs in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(model.optimizer.variables) == len(again.optimizer.variables)
    for ours, theirs in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@KINDS
@pytest.mark.one
def test_a_saved_model_answers_by_name(make, tmp_path):
    model, _ = trained(make)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    data = {n: tf.constant(v) for n, v in given_to(make, 8).items() if n in model.wiring.ports}
    in_order = [data[name] for name in model.wiring.ports]
    for name, value in model.reconstruct(data).items():
        np.testing.assert_allclose(served.serve(*in_order)[name], value, rtol=1e-4, atol=1e-5)
    encoded = served.encode(*in_order)
    assert set(model.posteriors) <= set(encoded)
    others = [data[n] for n in model.wiring.ports if n not in model.wiring.observed]
    decoded = served.decode(*(encoded[name] for name in model.posteriors), *others)
    for name, value in served.serve(*in_order).items():
        np.testing.assert_allclose(decoded[name], value, rtol=1e-4, atol=1e-5)
    if model.has_density:
        exact = model.log_likelihood(data, 2000)
        found = served.log_likelihood(*in_order, tf.constant(2000))
        np.testing.assert_allclose(found, exact, atol=0.5)


ALONE = """
import sys
import numpy as np, tensorflow as tf
served = tf.saved_model.load(sys.argv[1])
x = tf.constant(np.load(sys.argv[2]))
np.savez(sys.argv[3], **served.serve(x), z=served.sample(tf.constant(4))["z1"])
assert not {"tfp_vae", "tensorflow_probability"} & set(sys.modules)
"""


@pytest.mark.again
def test_a_process_without_this_package_gets_the_same_answers(tmp_path):
    model, _ = trained(ladder)
    model.export(tmp_path / "served", verbose=False)
    x = given_to(ladder, 8)["x"]
    np.save(tmp_path / "x.npy", x)
    paths = [tmp_path / name for name in ("served", "x.npy", "out.npz")]
    subprocess.run([sys.executable, "-c", ALONE, *paths], check=True)
    found = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(found["x"], model.reconstruct(x)["x"], rtol=1e-4, atol=1e-5)
    assert found["z"].shape == (4, 3)


def test_a_vae_is_the_case_of_one_z_and_one_x():
    """The same numbers, from the same networks: loss, likelihood, draws."""
    encoder, decoder = (
        net(X, layers.IndependentNormal(2)),
        net({"z": (2,)}, layers.IndependentBernoulli(SIZE)),
    )
    data = given_to(ladder)["x"]
    both = VAE(encoder, decoder), LatentModel({"z": (encoder, None)}, {"x": decoder})
    seed = tf.constant([3, 4])
    ours, theirs = (model.forward(data, 5, seed=seed).log_weights for model in both)
    np.testing.assert_array_equal(ours, theirs)
    vae, model = both
    np.testing.assert_allclose(vae.sample(3, seed=1), model.sample(3, seed=1)["x"], rtol=1e-6)
    np.testing.assert_allclose(vae.reconstruct(data), model.reconstruct(data)["x"], rtol=1e-6)


def normal(inputs, size=2, **kwargs):
    return net(inputs, layers.IndependentNormal(size), **kwargs)


def fitted(model):
    model.compile("adam")
    return model.fit(given_to(ladder), verbose=0)


def likelihood(inputs):
    return net(inputs, layers.IndependentBernoulli(SIZE))


Z, Z2 = {"z": (2,)}, {"z2": (2,)}
REFUSED = {
    "no latents": (lambda: LatentModel({}, {"x": likelihood(Z)}), "latents to be a dict"),
    "a posterior alone": (
        lambda: LatentModel({"z": normal(X)}, {"x": likelihood(Z)}),
        r"\(posterior, prior\) for the latent variable z",
    ),
    "a variable that is both": (
        lambda: LatentModel({"x": (normal(X), None)}, {"x": likelihood({"x": (2,)})}),
        "latent or observed",
    ),
    "a posterior of a later variable": (
        lambda: LatentModel(
            {"z": (normal({**X, **Z2}), None), "z2": (normal({**X, **Z}), None)},
            {"x": likelihood(Z)},
        ),
        "posterior of z to take latent variables that come before it.*z2",
    ),
    "a likelihood of a latent of another size": (
        lambda: LatentModel({"z": (normal(X), None)}, {"x": likelihood({"z": (3,)})}),
        r"likelihood of x to take z of shape \(2,\).*takes \(3,\)",
    ),
    "data of two sizes": (
        lambda: LatentModel(
            {"z": (normal(X), normal({"c": (2,)}))}, {"x": likelihood({**Z, "c": (3,)})}
        ),
        r"likelihood of x to take c of shape \(2,\)",
    ),
    "a number that depends on itself": (
        lambda: LatentModel(
            {"z": (normal(X), None)},
            {
                "x": likelihood(Z),
                "w": keras.Model(
                    w := keras.Input((), name="w"), layers.DistributionLambda(tfd.Poisson)(w)
                ),
            },
        ),
        "a single number has no steps",
    ),
    "a prior of another size": (
        lambda: (
            LatentModel(
                {"z2": (normal(X), None), "z": (normal(X), normal(Z2, 3))}, {"x": likelihood(Z)}
            )
            .forward(given_to(ladder, 4))
            .fits()
        ),
        r"prior of z is expected to be .*event shape \(2,\)",
    ),
    "a likelihood that ends in a tensor": (
        lambda: LatentModel(
            {"z": (normal(X), None)},
            {"x": keras.Sequential([keras.Input((2,), name="z"), keras.layers.Dense(SIZE)])},
        ),
        "likelihood of x is expected to end in a distribution layer",
    ),
    "a dict without the variable": (
        lambda: LatentModel(
            {"z": (normal(X), normal(X, also={"d": 2}, name="y"))}, {"x": likelihood(Z)}
        ),
        "prior of z to put out a dict with 'z'",
    ),
    "a state with the name of a variable": (
        lambda: LatentModel(
            {"z2": (normal(X), None), "z": (normal(X), normal(Z2, also={"z2": 2}, name="z"))},
            {"x": likelihood(Z)},
        ),
        "names of their own",
    ),
    "features without names": (
        lambda: LatentModel(
            {"z": (normal(X), None)},
            {"x": likelihood(Z)},
            features=keras.Sequential([keras.Input((SIZE,)), keras.layers.Dense(2)]),
        ),
        "features to be a network that puts out a dict",
    ),
    "data without a name": (
        lambda: conditional_prior().forward({"x": np.zeros([2, SIZE], "float32")}),
        "Expected a dict of x, label",
    ),
    "data of an unknown name": (
        lambda: ladder().forward({"x": np.zeros([2, SIZE], "float32"), "y": np.zeros(2)}),
        "Expected a dict of x, and known values of z2, z1",
    ),
    "x of another size": (
        lambda: ladder().log_likelihood(np.zeros([2, 3], "float32")),
        r"x of shape \(batch, 6\)",
    ),
    "numbers beyond the support": (
        lambda: ladder().log_likelihood(np.full([2, SIZE], 7.0, "float32")),
        "within the likelihood's support",
    ),
    "a draw without its condition": (lambda: conditional_prior().sample(3), "takes label"),
    "no number of draws": (lambda: ladder().sample(), "Expected num_samples"),
    "some of the latents": (
        lambda: ladder().decode({"z1": np.zeros([2, 3], "float32")}),
        "a dict of values of z2, z1",
    ),
    "export for ONNX": (
        lambda: ladder().export("x.onnx", format="onnx"),
        "exported as a SavedModel",
    ),
    "a name that nobody knows": (
        lambda: ladder().sample(3, given={"typo": np.zeros([3, 2], "float32")}),
        "Expected values of x, z1, z2.*typo",
    ),
    "a given value that is NaN": (
        lambda: ladder().sample(given={"z2": np.full([3, 2], np.nan, "float32")}),
        "finite numbers in z2",
    ),
    "half a draw": (lambda: ladder().sample(2.5), "num_samples >= 1, an integer"),
    "a latent of another shape": (
        lambda: ladder().decode({"z1": np.zeros([2, 3]), "z2": np.zeros([2, 5])}),
        r"z2 of shape \(batch, 2\)",
    ),
    "a likelihood of a later variable": (
        lambda: LatentModel(
            {"z": (normal(X), None)},
            {"x": likelihood({"w": (2,)}), "w": normal(Z)},
        ),
        "likelihood of x to take variables that come before it.*w",
    ),
    "a likelihood of a posterior's state": (
        lambda: LatentModel(
            {"z": (normal(X, also={"h": 4}, name="z"), None)}, {"x": likelihood({"h": (4,)})}
        ),
        "without posteriors too.*h, which a posterior puts out",
    ),
    "a weight in a KL term": (
        lambda: LatentModel(
            {
                "z": (
                    net(
                        X,
                        layers.IndependentNormal(
                            2,
                            activity_regularizer=layers.KLDivergenceRegularizer(
                                priors.unit_normal(2), weight=0.5
                            ),
                        ),
                    ),
                    None,
                )
            },
            {"x": likelihood(Z)},
        ),
        "weight of the KL of z in the objective",
    ),
    "a discrete value of another one": (
        lambda: fitted(
            LatentModel(
                {
                    "z": (normal(X), None),
                    "y": (net({**X, **Z}, layers.OneHotCategorical(3)), None),
                },
                {"x": likelihood({**Z, "y": (3,)})},
            )
        ),
        "distribution whose draws are reparameterized",
    ),
    "two observed variables, for the report": (
        lambda: estimates.evaluate(two_observed(), given_to(two_observed)),
        "one observed variable.*w",
    ),
    "a prior fitted to nobody": (
        lambda: ladder().fit_prior(given_to(ladder), None, latent="z"),
        "latent to be one of z2, z1",
    ),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_in_words(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_prior_is_fitted_to_one_variable():
    model, _ = trained(ladder)
    again = model.fit_prior(given_to(ladder), priors.MixturePrior(2, 3), "z2", epochs=2, verbose=0)
    assert isinstance(again.priors["z2"], priors.MixturePrior)
    assert again.priors["z1"] is model.priors["z1"]
    assert again.sample(3)["x"].shape == (3, SIZE)


@pytest.mark.parametrize("objective", ["plain", "dreg"])
def test_units_that_drop_out_are_the_same_at_each_look(objective):
    """The bound is that of the weights of one pass, whatever looks at its values again."""
    keras.utils.set_random_seed(0)
    drops = keras.layers.Dropout(0.5)
    z2, x = keras.Input((2,), name="z2"), keras.Input((SIZE,), name="x")
    h = drops(keras.layers.Dense(16, "relu")(keras.layers.Concatenate()([x, z2])))
    q1 = keras.Model({"x": x, "z2": z2}, layers.IndependentNormal(2)(keras.layers.Dense(4)(h)))
    model = LatentModel(
        {"z2": (normal(X), None), "z1": (q1, None)},
        {"x": likelihood({"z1": (2,)})},
        objective=IWAE(5, estimator=objective),
    )
    data = tf.constant(np.tile(given_to(ladder)["x"], (60, 1)))
    loss = [float(model.compute_loss(data, None, model._forward(data, True, 5))) for _ in range(3)]
    plain = float(
        tf.reduce_mean(-IWAE(5).bound(model._forward(data, True, 5).forward.log_weights, 0))
    )
    assert np.mean(loss) == pytest.approx(plain, abs=0.15)


def test_conditionals_may_share_a_layer(tmp_path):
    trunk = keras.layers.Dense(8, "relu", name="trunk")
    x, z2 = keras.Input((SIZE,), name="x"), keras.Input((2,), name="z2")
    h = trunk(x)
    q2 = keras.Model(x, layers.IndependentNormal(2)(keras.layers.Dense(4)(h)))
    both = keras.layers.Concatenate()([trunk(x), z2])
    q1 = keras.Model({"x": x, "z2": z2}, layers.IndependentNormal(2)(keras.layers.Dense(4)(both)))
    model = LatentModel(
        {"z2": (q2, None), "z1": (q1, normal({"z2": (2,)}))}, {"x": likelihood({"z1": (2,)})}
    )
    fitted(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert len(again.weights) == len(model.weights)
    for ours, theirs in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    found = [one.posteriors[name].get_layer("trunk") for one in (again,) for name in ("z2", "z1")]
    assert found[0] is found[1]


@pytest.mark.again
def test_targets_and_weights_of_several_variables():
    model, data = two_observed(), given_to(two_observed)
    model.compile("adam")
    weights = np.linspace(0, 2, 64)
    model.fit(data, sample_weight=weights, verbose=0)
    model.fit(data, {"x": data["x"], "w": data["w"] + 1}, verbose=0)
    batches = tf.data.Dataset.from_tensor_slices((data, weights)).batch(16)
    model.fit(
        batches.map(lambda d, w: (d, None, w)), validation_data=(data, None, weights), verbose=0
    )
    model.fit(batches.map(lambda d, w: (d, d, w)), verbose=0)
    found = model.log_likelihood(data, 50, y=data)
    assert found.shape == (64,)
    with pytest.raises(InputError, match="Expected targets by name: x, w"):
        model.fit(data, {"x": data["x"]}, verbose=0)


@pytest.mark.parametrize("second", [False, True])
def test_counts_are_whole_numbers_in_each_observed_variable(second):
    counts = {"w": net(Z, layers.IndependentPoisson(2))}
    observed = {"x": likelihood(Z), **counts} if second else {**counts, "x": likelihood(Z)}
    model = LatentModel({"z": (normal(X), None)}, observed)
    model.compile("adam")
    data = {**given_to(ladder), "w": np.full([64, 2], 3.0, "float32")}
    model.fit(data, verbose=0)
    data["w"] = data["w"] + 0.5
    called = "w of x" if second else "x"
    with pytest.raises(InputError, match=f"Expected whole numbers in {called}"):
        model.fit(data, verbose=0)
    with pytest.raises(InputError, match=r"Expected whole numbers in .*the targets of x"):
        model.fit({**data, "w": np.ones([64, 2])}, {"x": data["x"], "w": data["w"]}, verbose=0)


def test_a_point_mass_needs_no_weight_of_its_kl():
    point = net(X, layers.Deterministic(2))
    posteriors = {"z": (point, None), "z2": (normal(X), None)}
    model = LatentModel(
        posteriors, {"x": likelihood({**Z, **Z2})}, objective=ELBO(beta={"z": 0, "z2": 1.0})
    )
    assert np.isfinite(fitted(model).history["loss"]).all()
    alone = LatentModel({"z": (point, None)}, {"x": likelihood(Z)}, objective=ELBO({"z": 0}))
    assert not alone.objective.needs_density
    with pytest.raises(InputError, match="point mass"):
        LatentModel(posteriors, {"x": likelihood({**Z, **Z2})}, objective=ELBO({"z": 1.0, "z2": 0}))


def test_a_prior_is_fitted_where_the_posterior_carries_another():
    kl = layers.KLDivergenceRegularizer(priors.unit_normal(2))
    posterior = net(X, layers.IndependentNormal(2, activity_regularizer=kl))
    model = LatentModel({"z": (posterior, None)}, {"x": likelihood(Z)})
    again = model.fit_prior(given_to(ladder), priors.MixturePrior(2, 3), epochs=1, verbose=0)
    assert isinstance(again.priors["z"], priors.MixturePrior)
    np.testing.assert_allclose(
        again.encode(given_to(ladder))["z"].mean(), model.encode(given_to(ladder))["z"].mean()
    )


def test_many_draws_and_reconstructions_are_those_of_few():
    model, data = ladder(), given_to(ladder, 1200)
    few = {name: value[:50] for name, value in data.items()}
    np.testing.assert_allclose(
        model.reconstruct(data)["x"][:50], model.reconstruct(few)["x"], rtol=1e-5
    )
    plain = model.answers._draw(1200, tf.constant([3, 0]), {}, True, None)
    for name, value in model.sample(1200, seed=3).items():
        np.testing.assert_allclose(value, plain[name], rtol=1e-4, atol=1e-6)


def test_a_posterior_without_a_mean_is_encoded():
    """Nothing stands for it that no other posterior asks for."""
    cauchy = layers.DistributionLambda(lambda t: tfd.Independent(tfd.Cauchy(t, 1.0), 1))
    x = keras.Input((SIZE,), name="x")
    model = LatentModel(
        {"z": (keras.Model(x, cauchy(keras.layers.Dense(2)(x))), None)}, {"x": likelihood(Z)}
    )
    assert model.encode(given_to(ladder))["z"].mode().shape == (64, 2)


@pytest.mark.again
def test_a_variable_that_no_draw_reaches_has_one_row_for_each_example():
    model = LatentModel(
        {"z": (normal(X), None)},
        {"x": likelihood(Z), "w": net({"c": (1,)}, layers.IndependentNormal(2))},
        objective=IWAE(3),
    )
    data = {**given_to(two_observed), "c": np.ones([64, 1], "float32")}
    model.compile("adam", metrics={"x": ["mse"], "w": ["mse"]})
    model.fit(data, verbose=0)
    assert np.isfinite(model.evaluate(data, verbose=0, return_dict=True)["loss"])
