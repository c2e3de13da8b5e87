"""Priors fitted after training: to known z, and what the new VAE then does."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import small_networks
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

from tfp_vae import VAE, layers, networks, objectives, priors
from tfp_vae.errors import InputError
from tfp_vae.model.fit_prior import MaximumLikelihood, draws

tfd = tfp.distributions
Adam = keras.optimizers.Adam


def annealed(rate, steps):
    return Adam(keras.optimizers.schedules.CosineDecay(rate, steps))


def compile_with(jit_compile):
    return functools.partialmethod(keras.Model.compile, jit_compile=jit_compile)


@pytest.fixture(autouse=True)
def _in_graph_mode(monkeypatch):
    """XLA takes most of the time of short fits; a test below has it."""
    monkeypatch.setattr(MaximumLikelihood, "compile", compile_with(False))


class Losses(keras.callbacks.Callback):
    """Keeps what Keras' fit reports."""

    def __init__(self):
        super().__init__()
        self.logs = []

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(dict(logs))


def transparent(size=2):
    """A VAE whose z is x."""
    encoder = keras.Sequential([keras.Input((size,)), layers.Deterministic(size)])
    decoder = networks.decoder(size, layers.IndependentNormal(size), widths=(4,))
    objective = objectives.RegularizedAE()
    return VAE(encoder, decoder, priors.unit_normal(size), objective)


TRUE = tfd.MixtureSameFamily(
    tfd.Categorical(probs=[0.4, 0.6]),
    tfd.MultivariateNormalTriL(
        [[-1.5, 0.0], [1.0, 1.0]], [[[0.5, 0.0], [0.3, 0.4]], [[0.8, 0.0], [-0.4, 0.5]]]
    ),
)
ONE = tfd.MultivariateNormalTriL([1.0, -1.0], [[0.8, 0.0], [0.5, 0.6]])


def second_vae():
    encoder = networks.encoder((2,), 2, widths=(32,))  # with a KL term of its own
    vae = VAE(encoder, networks.decoder(2, layers.IndependentNormal(2), widths=(32,)))
    vae.compile(annealed(0.02, 500), jit_compile=False)
    return vae


KINDS = {
    "full": (TRUE, lambda: GaussianMixture(2, random_state=0), {}, 0.02),
    "bayesian": (TRUE, lambda: BayesianGaussianMixture(n_components=3, random_state=0), {}, 0.02),
    "tied": (ONE, lambda: GaussianMixture(1, covariance_type="tied"), {}, 0.01),
    "diag": (TRUE, lambda: GaussianMixture(8, covariance_type="diag", random_state=0), {}, 0.05),
    "spherical": (
        tfd.MultivariateNormalDiag([1.0, 2.0], scale_diag=[0.7, 0.7]),
        lambda: GaussianMixture(1, covariance_type="spherical"),
        {},
        0.01,
    ),
    "mixture": (TRUE, lambda: priors.MixturePrior(2, 12, seed=0), {"epochs": 25}, 0.05),
    "maf": (TRUE, lambda: priors.FlowPrior(2, "maf", 3, [32]), {"epochs": 25}, 0.06),
    "realnvp": (TRUE, lambda: priors.FlowPrior(2, "realnvp", 4, [32]), {"epochs": 25}, 0.06),
    "vae": (ONE, lambda: priors.VAEPrior(second_vae(), 100), {"epochs": 25}, 0.05),
    "variables": (
        ONE,
        lambda: tfd.MultivariateNormalTriL(
            tf.Variable([0.0, 0.0]),
            tfp.util.TransformedVariable(tf.eye(2), tfp.bijectors.FillScaleTriL()),
        ),
        {"epochs": 25},
        0.02,
    ),
}


@pytest.mark.one
@pytest.mark.parametrize(("true", "make", "kwargs", "allowed"), KINDS.values(), ids=KINDS.keys())
def test_what_is_fitted_comes_near_to_known_z(true, make, kwargs, allowed):
    """`E[log p_true(z) - log p(z)]`, a KL divergence, by other z; and the moments of draws."""
    x, others = true.sample(4000, seed=(0, 1)).numpy(), true.sample(4000, seed=(2, 3)).numpy()
    if kwargs:
        kwargs = {**kwargs, "optimizer": annealed(0.01, 500), "verbose": 0, "batch_size": 200}
    vae = transparent().fit_prior(x, make(), seed=0, **kwargs)
    p = vae.prior.distribution()
    difference = (true.log_prob(others) - p.log_prob(others)).numpy()
    assert -4 * difference.std() / np.sqrt(4000) < difference.mean() < allowed
    draws = p.sample(20_000, seed=(4, 5)).numpy()
    np.testing.assert_allclose(draws.mean(axis=0), true.mean(), atol=0.12)
    np.testing.assert_allclose(np.cov(draws.T), true.covariance(), atol=0.2)
    assert vae.sample(3).shape == (3, 2)


def code_vae(length, k):
    """A VAE whose codes are x, integers; and its encoder's codebook, 0 to k - 1."""
    quantized = layers.VectorQuantized((length, 1), k)
    encoder = keras.Sequential([keras.Input((length,)), quantized])
    quantized.codebook.vectors.assign(np.arange(k)[:, None])
    decoder = [keras.Input((length, 1)), keras.layers.Flatten(), keras.layers.Dense(2 * length)]
    return VAE(encoder, keras.Sequential([*decoder, layers.IndependentNormal(length)]))


@pytest.mark.again
def test_codes_of_a_markov_chain_are_worth_their_mutual_information():
    transition = np.array([[0.8, 0.15, 0.05], [0.1, 0.2, 0.7], [0.3, 0.6, 0.1]])
    start = np.linalg.matrix_power(transition, 200)[0]
    length, rng = 5, np.random.default_rng(0)
    codes = [rng.choice(3, 6000, p=start)]
    for _ in range(length - 1):
        below = rng.random([6000, 1]) > transition[codes[-1]].cumsum(axis=1)
        codes.append(below.sum(axis=1))
    codes = np.stack(codes, axis=1)
    x, others = codes[:4000].astype("float32"), codes[4000:].astype("float32")
    reported = Losses()
    vae = code_vae(length, 3).fit_prior(
        x, priors.AutoregressiveCodes(32), epochs=10, batch_size=100, optimizer=annealed(0.02, 400),
        seed=0, verbose=0, validation_data=others, callbacks=[reported],
    )  # fmt: skip
    log_p = vae.prior.distribution().log_prob(others[..., None]).numpy()
    independent = np.log(start)[codes[4000:]].sum(axis=1)
    steps = np.log(transition / start)[codes[4000:, :-1], codes[4000:, 1:]].sum(axis=1)
    assert abs((independent + steps - log_p).mean()) < 0.02  # a KL divergence, in nats
    joint = start[:, None] * transition
    information = (length - 1) * (joint * np.log(transition / start)).sum()
    error = 4 * (log_p - independent).std() / np.sqrt(len(others))
    np.testing.assert_allclose((log_p - independent).mean(), information, atol=error + 0.02)
    assert information > 1
    np.testing.assert_allclose(reported.logs[-1]["val_loss"], -log_p.mean(), rtol=1e-5)
    drawn = vae.prior.distribution().sample(20_000, seed=(0, 1)).numpy()[..., 0].astype(int)
    pairs = np.bincount((3 * drawn[:, :-1] + drawn[:, 1:]).reshape(-1), minlength=9)
    np.testing.assert_allclose(pairs.reshape(3, 3) / pairs.sum(), joint, atol=0.02)


def test_the_autoregressive_codes_sum_to_one_and_see_only_what_is_before():
    vae = code_vae(3, 4)
    prior = priors.AutoregressiveCodes(8)
    prior.bind(vae.encoder)
    for weight in prior.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    every = np.stack(np.meshgrid(*3 * [np.arange(4)], indexing="ij"), axis=-1).reshape(-1, 3)
    p = prior.over_codes(tf.float32)
    probability = p.prob(every).numpy().reshape(4, 4, 4)
    np.testing.assert_allclose(probability.sum(), 1, rtol=1e-5)
    logits = prior.network(every).numpy()
    for i in range(3):  # position i is the same whatever stands at i and after
        np.testing.assert_allclose(
            logits[:, i], logits[every[:, :i] @ 4 ** np.arange(2, 2 - i, -1), i], rtol=1e-5
        )
    assert np.ptp(logits[:, 2], axis=0).min() > 0.1  # and it does see what is before
    assert (np.abs(logits[every[:, 0] == 0][:, 2] - logits[every[:, 0] == 1][:, 2]) > 0.01).any()
    draws = tf.function(lambda: p.sample(40_000, seed=(1, 2)), jit_compile=True)().numpy()
    found = np.bincount(draws @ [16, 4, 1], minlength=64) / 40_000
    np.testing.assert_allclose(found, probability.reshape(-1), atol=0.01)


def trained(x, posterior=layers.IndependentNormal):
    keras.utils.set_random_seed(0)
    if posterior is layers.VectorQuantized:
        encoder = networks.encoder((8, 8, 1), posterior((2, 2), 6), widths=(16,))
        body = [keras.Input((2, 2)), keras.layers.Flatten()]
        likelihood = layers.IndependentBernoulli((8, 8, 1))
        decoder = keras.Sequential([*body, networks.decoder(4, likelihood, widths=(16,))])
    else:
        encoder, decoder = small_networks(regularized=False)
    vae = VAE(encoder, decoder)
    vae.compile("adam", run_eagerly=True)
    vae.fit(x, verbose=0)
    return vae


FITTED = {
    "second": (layers.IndependentNormal, lambda: priors.VAEPrior(second_vae(), 3)),
    "codes": (layers.VectorQuantized, lambda: priors.AutoregressiveCodes(8)),
}


@pytest.mark.one
@pytest.mark.parametrize(("posterior", "make"), FITTED.values(), ids=FITTED.keys())
def test_the_new_model_reloads_and_serves(x, tmp_path, posterior, make):
    vae = trained(x, posterior).fit_prior(x, make(), epochs=2, verbose=0)
    vae.compile("adam", run_eagerly=True)
    assert np.isfinite(vae.log_likelihood(x, 2)).all()
    vae.save(tmp_path / "m.keras")
    sample, evaluated = vae.sample(4, seed=1), vae.evaluate(x, verbose=0)
    vae_again = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_array_equal(vae_again.sample(4, seed=1), sample)
    np.testing.assert_array_equal(vae_again.evaluate(x, verbose=0), evaluated)
    if posterior is not layers.VectorQuantized:  # the draws of a second VAE are plain layers'
        return
    vae.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(served.serve(x), vae.reconstruct(x), rtol=1e-5, atol=1e-6)
    assert served.sample(tf.constant(3)).shape == (3, 8, 8, 1)
    assert np.isfinite(served.log_likelihood(x, tf.constant(2))).all()
    assert np.isfinite(served.encode(x)["stddev"]).all()


def test_networks_are_shared_and_left_as_they_are(x):
    vae = trained(x)
    before = [w.numpy() for w in vae.weights]
    vae.fit_prior(x, priors.MixturePrior(2), epochs=2, verbose=0)
    for weight, value in zip(vae.weights, before, strict=True):
        if "seed" not in weight.path:
            np.testing.assert_array_equal(weight, value)
    new = vae.fit_prior(x, GaussianMixture(2))
    assert (new.encoder, new.decoder, new.objective) == (vae.encoder, vae.decoder, vae.objective)


def ended_by_add_loss():
    encoder, decoder = small_networks(regularized=False)
    kl = layers.KLDivergenceAddLoss(priors.unit_normal(2), weight=0.5)
    return VAE(keras.Model(encoder.inputs[0], kl(encoder.outputs[0])), decoder)


def sequential_add_loss():
    encoder, decoder = small_networks(regularized=False)
    encoder.add(layers.KLDivergenceAddLoss(priors.unit_normal(2), weight=0.5))
    return VAE(encoder, decoder)


def regularized():
    kl = layers.KLDivergenceRegularizer(priors.unit_normal(2), weight=0.5)
    posterior = layers.IndependentNormal(2, activity_regularizer=kl)
    _, decoder = small_networks()
    return VAE(networks.encoder((8, 8, 1), posterior, widths=(16,)), decoder)


def nested():
    vae = regularized()
    inputs = keras.Input((8, 8, 1))
    return VAE(keras.Model(inputs, vae.encoder(inputs)), vae.decoder)


def scheduled_functional():
    """Whose schedule counts its steps, and whose posterior has weights, in a variable of each."""
    inputs = keras.Input((8, 8, 1))
    _, decoder = small_networks()
    h = keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
    kl = layers.KLDivergenceRegularizer(
        priors.MixturePrior(2, 3), weight=keras.optimizers.schedules.PolynomialDecay(1.0, 10)
    )
    q = layers.IndependentNormal(2)(h)
    made = layers.AutoregressiveNetwork(2, 2, hidden_units=[4])
    flow = layers.AutoregressiveTransform(made, activity_regularizer=kl)
    return VAE(keras.Model(inputs, flow(q)), decoder)


@pytest.mark.again
@pytest.mark.parametrize(
    "make",
    [nested, ended_by_add_loss, sequential_add_loss, scheduled_functional],
    ids=lambda make: make.__name__,
)
def test_an_encoder_that_names_another_prior_goes_on_without_it(x, tmp_path, make):
    vae = make()
    new = vae.fit_prior(x, GaussianMixture(2, random_state=0))
    np.testing.assert_array_equal(
        new.decode(np.ones([2, 2])).mean(), vae.decode(np.ones([2, 2])).mean()
    )
    assert new.objective is vae.objective
    shared = {id(w) for w in vae.encoder.weights} & {id(w) for w in new.encoder.weights}
    assert len(shared) >= 2
    q, z = new.encode(x), np.random.default_rng(0).normal(size=[64, 2]).astype("float32")
    np.testing.assert_allclose(q.log_prob(z), vae.encode(x).log_prob(z), rtol=1e-5)
    vae.encoder(x)
    new.encoder(x)
    assert len(vae.encoder.losses) == 1
    assert not new.encoder.losses
    new.compile("adam", run_eagerly=True)
    new.fit(x, verbose=0)
    new.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    np.testing.assert_array_equal(again.sample(3, seed=0), new.sample(3, seed=0))
    np.testing.assert_array_equal(again.evaluate(x, verbose=0), new.evaluate(x, verbose=0))


def test_the_second_vae_adds_nothing_to_the_losses_or_the_metrics(x):
    vae = VAE(*small_networks(regularized=False), prior=priors.VAEPrior(second_vae()))
    vae.compile("adam", run_eagerly=True)
    found = vae.evaluate(x, verbose=0, return_dict=True)
    assert sorted(found) == ["kl", "loss", "nll"]
    assert found["nll"] > 10  # 64 pixels: those of the second, which has seen none, would be 0
    np.testing.assert_allclose(found["loss"], found["nll"] + found["kl"], rtol=1e-5)


def test_the_second_vae_estimates_its_density():
    """Against the integral of p(z|u) p(u) over a grid of u."""
    second = second_vae()
    head = second.encoder.layers[-2]
    head.kernel.assign(0.1 * head.kernel)
    head.bias.assign([0.0, 0.0, 1.5, 1.5])  # wider than the posterior, so that few u are enough
    axis = np.linspace(-7, 7, 141, dtype="float32")
    u = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    z = np.random.default_rng(0).normal(size=[2, 10, 2]).astype("float32")
    likelihood = second.decode(u).prob(z.reshape(20, 1, 2)).numpy()
    prior = np.exp(-(u**2).sum(axis=1) / 2) / (2 * np.pi) * (axis[1] - axis[0]) ** 2
    expected = np.log(likelihood @ prior).reshape(2, 10)
    estimate = priors.VAEPrior(second, 20_000).distribution().log_prob(z)
    np.testing.assert_allclose(estimate, expected, atol=0.05)


@pytest.mark.again
def test_seeds_make_it_repeatable():
    vae, x = transparent(), ONE.sample(100, seed=(0, 1)).numpy()
    fits = [
        vae.fit_prior(
            x, priors.MixturePrior(2, seed=1), epochs=2, batch_size=20, verbose=0, seed=seed
        ).prior
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(fits[0].loc, fits[1].loc)
    assert (fits[0].loc.numpy() != fits[2].loc.numpy()).any()


def test_draws_are_those_of_the_posterior_and_their_seed_decides_them(x):
    vae = trained(x)
    one, same, other = (draws(vae, x, 500, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).all()
    q, each = vae.encode(x), one.reshape(500, 64, 2)
    np.testing.assert_allclose((each.mean(axis=0) - q.mean()) / q.stddev(), 0, atol=0.23)
    np.testing.assert_allclose(each.std(axis=0) / q.stddev(), 1, atol=0.16)
    assert (draws(vae, x, 1, None) != draws(vae, x, 1, None)).all()


@pytest.mark.again
def test_xla_gives_the_numbers_of_the_graph(monkeypatch):
    vae, ends = code_vae(4, 3), []
    x = np.random.default_rng(0).integers(0, 3, [50, 4]).astype("float32")
    for mode in (False, True):
        monkeypatch.setattr(MaximumLikelihood, "compile", compile_with(mode))
        keras.utils.set_random_seed(3)
        new = vae.fit_prior(x, priors.AutoregressiveCodes(8), epochs=2, verbose=0, seed=5)
        ends.append(new.prior.get_weights())
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def batches_of(x):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, number):
            return x[16 * number :][:16], x[16 * number :][:16]

    return Batches()


@pytest.mark.again
@pytest.mark.parametrize(
    "given",
    [
        lambda x: tf.data.Dataset.from_tensor_slices(x).batch(20),
        lambda x: tf.data.Dataset.from_tensor_slices((x, x)).batch(64),
        lambda x: (x[i : i + 8] for i in range(0, 64, 8)),
        batches_of,
        tf.constant,
    ],
    ids=["data set", "pairs", "generator", "PyDataset", "tensor"],
)
def test_x_in_every_form(given):
    x = ONE.sample(64, seed=(0, 1)).numpy()
    estimator = GaussianMixture(1)
    expected = transparent().fit_prior(x, estimator).prior.distribution()
    found = transparent().fit_prior(given(x), estimator, num_draws=2).prior.distribution()
    np.testing.assert_allclose(found.covariance(), expected.covariance(), rtol=1e-4)
    assert not hasattr(estimator, "means_")


X = np.zeros([4, 2], "float32")


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: transparent().fit_prior(X, priors.MixturePrior(3)), r"shape \(2,\)"),
        (lambda: transparent().fit_prior(X, priors.unit_normal(2)), "weights to be trained"),
        (lambda: transparent().fit_prior(X, priors.AutoregressiveCodes()), "VectorQuantized"),
        (lambda: transparent().fit_prior(X[:, :1], GaussianMixture()), r"shape \(batch, 2\)"),
        (lambda: transparent().fit_prior(X[:0], GaussianMixture()), "at least one example"),
        (lambda: transparent().fit_prior(X, GaussianMixture(5)), "at least 5"),
        (lambda: transparent().fit_prior(X * 0 + np.inf, GaussianMixture()), "finite"),
        (lambda: transparent().fit_prior(X * np.nan, GaussianMixture()), "known entry"),
        (lambda: transparent().fit_prior(X, GaussianMixture(), epochs=0), "epochs >= 1"),
        (lambda: transparent().fit_prior(X, GaussianMixture(), num_draws=0), "num_draws >= 1"),
        (
            lambda: transparent().fit_prior(
                tf.data.Dataset.from_tensor_slices(X).batch(2).repeat(), GaussianMixture()
            ),
            "that ends",
        ),
        (lambda: code_vae(2, 3).fit_prior(X, GaussianMixture()), "over the codes"),
        (lambda: code_vae(2, 3).fit_prior(X, priors.MixturePrior(2)), "over the codes"),
        (lambda: priors.AutoregressiveCodes(0), "hidden_units >= 1"),
        (lambda: priors.AutoregressiveCodes().distribution(), "prior=AutoregressiveCodes"),
        (lambda: priors.VAEPrior(keras.Sequential()), r"tfp_vae\.VAE"),
        (lambda: priors.VAEPrior(second_vae(), 0), "num_samples >= 1"),
        (lambda: other_codes(), "4 positions and 3 codes"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(use, message):
    with pytest.raises(InputError, match=rf"{message}.*Received|Received.*{message}"):
        use()


def other_codes():
    prior = priors.AutoregressiveCodes(4)
    for length in (2, 4):
        prior.bind(code_vae(length, 3).encoder)


def test_something_that_is_no_prior_is_refused_in_words():
    with pytest.raises(TypeError, match="Expected a prior"):
        transparent().fit_prior(X, 3)
