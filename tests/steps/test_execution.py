import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow_probability import distributions as tfd

from tfp_vae import IWAE, VAE, layers, networks
from tfp_vae.distributions import fast, fused
from tfp_vae.steps import compilers, listeners

PIXELS = (np.random.default_rng(0).random((50, 6)) < 0.5).astype(np.float32)
LABELS = np.arange(50, dtype=np.int32) % 3


def small(num_classes=None, seed=1):
    keras.utils.set_random_seed(seed)
    return VAE(
        networks.encoder((6,), 2, widths=(8,), num_classes=num_classes),
        networks.decoder(2, layers.IndependentBernoulli(6), widths=(8,), num_classes=num_classes),
    )


@pytest.mark.again
def test_xla_compiles_for_few_sizes_of_batches():
    """A batch that stands alone among others has its step without XLA."""
    vae = small()
    vae.compile("adam", steps_per_execution=4, jit_compile=True)
    sizes = [8, 8, 5, 8, 8, 3, 8, 8, 8, 2, 8, 8, 7, 7, 8, 8]
    starts = np.cumsum([0, *sizes]) % 40
    parts = [PIXELS[a : a + n] for a, n in zip(starts, sizes, strict=False)]
    vae.fit(((part,) for part in parts), verbose=0, steps_per_epoch=len(parts))
    assert int(vae.optimizer.iterations) == len(parts)
    assert vae.train_function.block._sizes == {8, 7}


def watching(*args):
    pass


CALLBACKS = {
    "none of its own": (keras.callbacks.Callback, False),
    "each batch": (lambda: keras.callbacks.LambdaCallback(on_train_batch_end=watching), True),
    "epochs": (lambda: keras.callbacks.LambdaCallback(on_epoch_end=watching), False),
    "checkpoints of epochs": (lambda: keras.callbacks.ModelCheckpoint("a.keras"), False),
    "checkpoints of steps": (
        lambda: keras.callbacks.ModelCheckpoint("a.keras", save_freq=5),
        True,
    ),
    "TensorBoard": (lambda: keras.callbacks.TensorBoard("logs"), False),
    "TensorBoard of steps": (
        lambda: keras.callbacks.TensorBoard("logs", update_freq="batch"),
        True,
    ),
    "stopping early": (keras.callbacks.EarlyStopping, False),
}


@pytest.mark.parametrize(("make", "looks"), CALLBACKS.values(), ids=CALLBACKS)
def test_a_callback_that_looks_at_each_batch_gets_each(make, looks):
    assert listeners.looks_at_each_batch(make()) == looks


def test_batches_are_counted_one_by_one_for_a_callback_that_wants_it():
    vae, seen = small(), []
    vae.compile("adam")
    count = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    vae.fit(PIXELS, batch_size=10, verbose=0, callbacks=[count])
    assert seen == [0, 1, 2, 3, 4]
    vae.fit(PIXELS, batch_size=10, verbose=0)
    assert vae.steps_per_call == 32


BIG = np.zeros([8, 2**16], np.float32)  # 2 MB a batch of 8: 32 of them fill a call
SOURCES = {
    "array": lambda: BIG,
    "data set": lambda: tf.data.Dataset.from_tensor_slices(BIG).batch(8),
    "generator": lambda: iter([BIG]),
}


@pytest.mark.parametrize("size", [2**16, 2**17])
@pytest.mark.parametrize("source", SOURCES)
def test_a_call_takes_no_more_than_64_megabytes(source, size, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "BIG", np.zeros([8, size], np.float32))
    vae = VAE(
        networks.encoder((size,), 1, widths=(1,)),
        networks.decoder(1, layers.IndependentBernoulli(size), widths=(1,)),
    )
    vae.compile("adam")
    x = vae._checks.data(SOURCES[source](), None, "x")
    vae._plan(keras.Model.fit, {"x": x, "batch_size": 8})
    assert vae.steps_per_call == 2**21 // size


def network(*hidden, posterior=None):
    posterior = posterior or layers.IndependentNormal(2)
    encoder = [keras.Input((8, 8, 1)), *hidden, keras.layers.Flatten()]
    encoder += [keras.layers.Dense(posterior.num_parameters), posterior]
    likelihood = layers.IndependentBernoulli((8, 8, 1))
    return VAE(keras.Sequential(encoder), networks.decoder(2, likelihood, widths=(8,)))


MODELS = {
    "dense": (lambda: network(keras.layers.Dense(3)), True),
    "convolution": (lambda: network(keras.layers.Conv2D(2, 3)), False),
    "within a model": (lambda: network(keras.Sequential([keras.layers.Conv2D(2, 3)])), False),
    "dropout": (lambda: network(keras.layers.Dropout(0.5)), False),
    "TFP's noise": (lambda: network(posterior=layers.MultivariateNormalTriL(2)), False),
}


@pytest.mark.skipif(len(tf.config.list_physical_devices("GPU")) > 0, reason="the rule is for CPUs")
@pytest.mark.parametrize(("make", "suits"), MODELS.values(), ids=MODELS)
def test_xla_is_taken_for_long_trainings_of_what_it_makes_faster(make, suits):
    vae, x = make(), np.zeros([640, 8, 8, 1], np.float32)
    vae.compile("adam")
    vae._plan(keras.Model.fit, {"x": x, "epochs": 49})  # 20 steps each
    assert not vae.trains_by_xla
    vae._plan(keras.Model.fit, {"x": x, "epochs": 50})
    assert vae.trains_by_xla == suits
    vae.compile("adam", jit_compile=False)
    vae._plan(keras.Model.fit, {"x": x, "epochs": 50})
    assert not vae.trains_by_xla
    several = VAE(vae.encoder, vae.decoder, objective=IWAE(50))  # a step is the work of 50
    several.compile("adam")
    several._plan(keras.Model.fit, {"x": x, "epochs": 1})
    assert several.trains_by_xla == suits


def test_without_compile_keras_says_what_to_do():
    for method in (small().fit, small().evaluate):
        with pytest.raises(ValueError, match="compile"):
            method(PIXELS)


def test_what_was_asked_for_is_saved(tmp_path):
    vae = small()
    vae.compile("adam")
    vae.fit(PIXELS, verbose=0)
    vae.save(tmp_path / "vae.keras")
    config = keras.models.load_model(tmp_path / "vae.keras").get_compile_config()
    assert (config["steps_per_execution"], config["jit_compile"]) == ("auto", "auto")


@pytest.mark.one
@pytest.mark.parametrize("compiled", [False, True])
def test_fast_noise_is_normal_and_independent(compiled):
    normal = fast.Normal(tf.constant([1.0, -2.0]), tf.constant([0.5, 3.0]))
    draw = tf.function(lambda seed: normal.sample(20_000, seed=seed), jit_compile=compiled)
    seeds = [[0, 0], [0, 1], [1, 0], [2**31 - 1, -5]]
    noise = [((draw(tf.constant(s)) - normal.loc) / normal.scale).numpy().ravel() for s in seeds]
    for each in noise:
        assert stats.kstest(each, "norm").pvalue > 1e-3
        assert abs(np.corrcoef(each[:-1], each[1:])[0, 1]) < 0.03
    across = np.corrcoef(noise) - np.eye(len(seeds))
    assert np.abs(across).max() < 4 / np.sqrt(40_000)
    np.testing.assert_array_equal(draw(tf.constant(seeds[0])), draw(tf.constant(seeds[0])))


def test_the_fast_bernoulli_is_tfps():
    logits = np.random.default_rng(0).normal(0, 20, [4, 5])
    logits[:, 2] = 0  # as a layer gives that starts from zeros
    logits = tf.constant(logits, tf.float32)
    for x in ([[0.0], [1.0], [1.0], [0.0]], [0.0, 1.0, 0.25, 1.0, 0.0], 1.0, np.ones([3, 1, 5])):
        x = tf.constant(x, tf.float32)
        ours, theirs = fast.Bernoulli(logits=logits), tfd.Bernoulli(logits=logits)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(logits)
            a = fast.Bernoulli(logits=logits).log_prob(x)
            b = tfd.Bernoulli(logits=logits).log_prob(x)
        np.testing.assert_allclose(ours.log_prob(x), theirs.log_prob(x), rtol=1e-5, atol=1e-5)
        gradients = tape.gradient(a, logits), tape.gradient(b, logits)
        np.testing.assert_allclose(*gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [784, 30, 7, 1])
def test_one_logarithm_for_several_pixels_is_the_log_likelihood(size):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 8, [3, 4, size]) * rng.choice([0.0, 1.0, 10.0], [3, 4, size])
    bits = rng.integers(0, 2, [4, size]).astype(np.float64)
    likelihood = layers.IndependentBernoulli(size)(tf.constant(logits.reshape(12, size), "float32"))
    assert fused.can_fuse(likelihood)
    ours = fused.log_likelihood(likelihood, tf.constant(bits, tf.float32), 3)
    exact = tfd.Bernoulli(logits=logits).log_prob(bits).numpy().sum(-1)
    np.testing.assert_allclose(ours, exact, rtol=2e-6, atol=2e-6 * size)


NOT_FUSED = {
    "of another distribution": layers.IndependentNormal(3),
    "whose values TFP checks": layers.IndependentBernoulli(3, validate_args=True),
    "of integers": layers.IndependentBernoulli(3, sample_dtype="int32"),
}


@pytest.mark.parametrize("name", NOT_FUSED)
def test_a_likelihood_is_left_to_tfp(name):
    layer = NOT_FUSED[name]
    assert not fused.can_fuse(layer(tf.zeros([4, layer.num_parameters])))


@pytest.mark.one
@pytest.mark.parametrize("num_classes", [None, 3])
@pytest.mark.parametrize("num_samples", [1, 7, 900])
def test_log_likelihood_by_xla_is_the_plain_one(num_classes, num_samples):
    """Over batches of 20, 20 and 8, and samples in chunks: the same draws, the same figures.

    A last batch of 8 is not filled for XLA: with more rows there are other draws.
    """
    vae = small(num_classes)
    x = PIXELS[:48] if num_classes is None else {"x": PIXELS[:48], "label": LABELS[:48]}
    found = []
    for jit_compile in (False, True):
        vae.compile("adam", jit_compile=jit_compile)
        vae.seed_generator.state.assign([3, 4])
        for layer in vae._flatten_layers():
            if hasattr(layer, "seed_generator"):
                layer.seed_generator.state.assign([3, 4])
        found.append(vae.log_likelihood(x, num_samples, batch_size=20))
    np.testing.assert_allclose(*found, rtol=1e-5)


@pytest.mark.parametrize(
    ("compiled", "draws", "expected"),
    [
        ({}, 99_999, False),
        ({}, 100_000, True),
        (None, 100_000, True),
        ({"jit_compile": False}, 10**9, False),
        ({"jit_compile": True}, 1, True),
    ],
)
def test_the_rule_for_estimates(compiled, draws, expected, monkeypatch):
    vae = small()
    if compiled is not None:
        vae.compile("adam", **compiled)
    assert vae.estimates_by_xla(draws) is expected
    if not compiled:  # what an accelerator does is its own matter
        monkeypatch.setattr(compilers, "has_accelerator", lambda: True)
        assert vae.estimates_by_xla(draws) is False
