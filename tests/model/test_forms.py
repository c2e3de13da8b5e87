"""Forms of data: sparse matrices, words as conditions, raw pixels beside scaled ones."""

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

from tfp_vae import VAE, InputError, layers, networks
from tfp_vae.bridge import sparse

COUNTS = np.random.default_rng(0).poisson(0.4, (50, 7)).astype("float32")
COUNTS[3] = 0


def of_tensorflow(x):
    return tf.sparse.from_dense(tf.constant(x))


def with_doubles(x):
    """Each number in two parts, in no order."""
    row, column = np.nonzero(x)
    half = x[row, column] / 2
    order = np.random.default_rng(1).permutation(2 * len(row))
    both = (np.tile(row, 2)[order], np.tile(column, 2)[order])
    return scipy.sparse.coo_matrix((np.tile(half, 2)[order], both), x.shape)


def unsorted(x):
    made = scipy.sparse.csr_matrix(x)
    for start, end in zip(made.indptr, made.indptr[1:], strict=False):
        made.indices[start:end] = made.indices[start:end][::-1]
        made.data[start:end] = made.data[start:end][::-1]
    made.has_sorted_indices = False
    return made


def with_doubles_in_rows(x):
    """As `with_doubles`, in rows that SciPy has not looked at."""
    made = scipy.sparse.csr_matrix(x)
    made.indptr = made.indptr * 2
    made.indices = np.repeat(made.indices, 2)
    made.data = np.repeat(made.data / 2, 2)
    made.has_canonical_format = False
    return made


def of_tensorflow_in_no_order(x):
    made = of_tensorflow(x)
    order = np.random.default_rng(1).permutation(len(made.values))
    indices = tf.gather(made.indices, order)
    return tf.SparseTensor(indices, tf.gather(made.values, order), made.dense_shape)


FORMS = {
    "csr_matrix": scipy.sparse.csr_matrix,
    "csr_array": scipy.sparse.csr_array,
    "csc_matrix": scipy.sparse.csc_matrix,
    "coo_array": scipy.sparse.coo_array,
    "lil_matrix": scipy.sparse.lil_matrix,
    "dok_matrix": scipy.sparse.dok_matrix,
    "float64": lambda x: scipy.sparse.csr_matrix(x.astype("float64")),
    "int64": lambda x: scipy.sparse.csr_matrix(x.astype("int64")),
    "twice the same entry": with_doubles,
    "unsorted": unsorted,
    "twice the same entry of a row": with_doubles_in_rows,
    "tf.SparseTensor": of_tensorflow,
    "tf.SparseTensor in no order": of_tensorflow_in_no_order,
}


def put_back(vae):
    """Draws that are the same at each call."""
    for i, layer in enumerate(vae._flatten_layers()):
        if hasattr(layer, "seed_generator"):
            layer.seed_generator.state.assign([i, 4])
    return vae


@pytest.fixture(scope="module")
def counts():
    keras.utils.set_random_seed(1)
    vae = VAE(
        networks.encoder((7,), 2, widths=(8,)),
        networks.decoder(2, layers.IndependentPoisson(7), widths=(8,)),
    )
    vae.compile(keras.optimizers.SGD(0.01), jit_compile=False)
    vae.optimizer.build(vae.trainable_variables)
    return vae, vae.get_weights()


def train(vae, x, **kwargs):
    return vae.fit(x, batch_size=20, shuffle=False, verbose=0, **kwargs).history["loss"]


def batches(x):
    return [x[start : start + 20] for start in (0, 20, 40)]


USES = {
    "fit": lambda vae, x: train(vae, x),
    "fit, weighted": lambda vae, x: train(vae, x, sample_weight=np.linspace(0, 1, 50)),
    "fit, split": lambda vae, x: train(vae, x, validation_split=0.2),
    "fit, both": lambda vae, x: train(vae, x, y=x, validation_data=(x, x)),
    "evaluate": lambda vae, x: vae.evaluate(x, batch_size=20, verbose=0),
    "encode": lambda vae, x: vae.encode(x).mean(),
    "reconstruct": lambda vae, x: vae.reconstruct(x),
    "predict": lambda vae, x: vae.predict(x, batch_size=20, verbose=0),
    "log_likelihood": lambda vae, x: vae.log_likelihood(x, 5, batch_size=20),
    "call": lambda vae, x: vae(sparse.dense(x)).mean(),
    "train_on_batch": lambda vae, x: vae.train_on_batch(x),
    "test_on_batch": lambda vae, x: vae.test_on_batch(x),
    "predict_on_batch": lambda vae, x: vae.predict_on_batch(x),
}


FEW = ("csr_matrix", "twice the same entry of a row", "tf.SparseTensor in no order")


@pytest.mark.parametrize("use", USES)
@pytest.mark.one
def test_a_sparse_matrix_gives_the_numbers_of_a_dense_one(use, counts):
    vae, start = counts
    found, names = [], FORMS if use == "evaluate" else FEW
    for form in [np.asarray, *(FORMS[name] for name in names)]:
        vae.set_weights(start)
        put_back(vae)
        vae.reset_metrics()
        found.append(np.asarray(USES[use](vae, form(COUNTS))))
    for name, values in zip(names, found[1:], strict=True):
        np.testing.assert_allclose(values, found[0], rtol=2e-5, atol=1e-6, err_msg=name)


SOURCES = {
    "data set": lambda: tf.data.Dataset.from_tensor_slices(of_tensorflow(COUNTS)).batch(20),
    "generator of SciPy's": lambda: ((scipy.sparse.csr_matrix(b),) for b in batches(COUNTS)),
    "generator of TensorFlow's": lambda: ((of_tensorflow(b),) for b in batches(COUNTS)),
}


@pytest.mark.one
@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_sparse_batches_of_a_source(make, counts):
    vae, start = counts
    losses = []
    for x in (COUNTS, make()):
        vae.set_weights(start)
        options = {"batch_size": 20} if x is COUNTS else {}
        history = put_back(vae).fit(x, shuffle=False, verbose=0, **options).history
        losses.append(history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_a_large_sparse_matrix_is_made_dense_a_part_at_a_time(counts, monkeypatch):
    vae, most = counts[0], []
    whole = sparse.dense

    def watched(data):
        made = whole(data)
        most.extend(part.shape[0] for part in keras.tree.flatten(made) if part is not None)
        return made

    x = scipy.sparse.csr_matrix(np.tile(COUNTS, (60, 1)))  # 3,000 rows
    mean, expected = vae.encode(x).mean(), vae.encode(x.toarray()).mean()
    np.testing.assert_allclose(mean, expected, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(sparse, "dense", watched)
    vae.encode(x)
    vae.log_likelihood(x, 1, batch_size=500)
    vae.fit(x, batch_size=500, verbose=0)
    vae.evaluate(x, batch_size=500, verbose=0)
    assert max(size for size in most if size is not None) <= 1000


def test_sparse_data_are_looked_at(counts):
    vae = counts[0]
    bad = scipy.sparse.csr_matrix(COUNTS)
    bad.data[[0, 5]] = np.nan
    rows = len(set(bad.tocoo().row[[0, 5]]))
    with pytest.raises(InputError, match=f"finite numbers in x.*{rows} example"):
        vae.fit(bad, verbose=0)
    with pytest.raises(InputError, match=r"shape \(batch, 7\).*\(7, 50\)"):
        vae.encode(bad.T)
    with pytest.raises(InputError, match=r"support.*-\d"):
        vae.fit(scipy.sparse.csr_matrix(-COUNTS), verbose=0)


def test_a_prior_is_fitted_to_sparse_data(counts):
    from tfp_vae import priors

    prior = priors.MixturePrior(2, 2) if hasattr(priors, "MixturePrior") else None
    x = scipy.sparse.coo_matrix(COUNTS)
    fitted = counts[0].fit_prior(x, prior, epochs=1, verbose=0)
    assert fitted.sample(3).shape == (3, 7)


# -- words ----------------------------------------------------------------------------------------

WORDS = np.array(["cat", "dog", "cow"])[np.arange(30) % 3]
PIXELS = (np.random.default_rng(0).random((30, 5)) < 0.5).astype("float32")


@pytest.fixture(scope="module")
def spoken():
    """Conditioned on a word, which the networks look up."""
    keras.utils.set_random_seed(1)

    def network(size, last):
        main, word = keras.Input((size,)), keras.Input((), dtype="string", name="word")
        shown = keras.layers.StringLookup(
            vocabulary=["cat", "dog", "cow"], output_mode="one_hot", num_oov_indices=1
        )(word)
        joined = keras.layers.Concatenate()([main, shown])
        parameters = keras.layers.Dense(last.num_parameters)(joined)
        return keras.Model([main, word], last(parameters))

    vae = VAE(network(5, layers.IndependentNormal(2)), network(2, layers.IndependentBernoulli(5)))
    vae.compile("adam")
    return vae


@pytest.mark.one
@pytest.mark.parametrize("kind", ["<U3", "S3", object])
def test_conditions_are_words(kind, spoken):
    given = {"x": PIXELS, "word": WORDS.astype(kind)}
    assert np.isfinite(spoken.fit(given, batch_size=10, verbose=0).history["loss"])
    assert np.isfinite(spoken.evaluate(given, verbose=0)).all()
    for uses in (spoken.reconstruct, spoken.log_likelihood, lambda x: spoken.predict(x, verbose=0)):
        assert len(uses(given)) == 30
    mean = spoken.encode(given).mean()
    others = spoken.encode({**given, "word": np.roll(given["word"], 1)}).mean()
    assert (np.abs(mean - others).max(axis=1) > 1e-4).all()


@pytest.mark.again
def test_words_in_every_place(spoken, tmp_path):
    assert spoken.sample(2, conditions={"word": ["cat", "dog"]}).shape == (2, 5)
    assert spoken.decode(np.zeros((2, 2), "float32"), ["cat", "dog"]).mean().shape == (2, 5)
    data = tf.data.Dataset.from_tensor_slices(({"x": PIXELS, "word": WORDS},)).batch(10)
    assert np.isfinite(spoken.fit(data, verbose=0).history["loss"])
    spoken.save(tmp_path / "spoken.keras")
    again = keras.models.load_model(tmp_path / "spoken.keras")
    given = {"x": PIXELS, "word": WORDS}
    np.testing.assert_allclose(again.reconstruct(given), spoken.reconstruct(given), rtol=1e-6)
    spoken.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(served.serve(PIXELS, WORDS), spoken.reconstruct(given), rtol=1e-5)


@pytest.mark.one
@pytest.mark.parametrize(
    ("word", "message"),
    [
        (np.arange(30), "strings in word of x.*int64"),
        (WORDS[:5], "as many rows of word"),
        (np.array([None] * 30), "strings in word of x.*object"),
    ],
)
def test_what_are_no_words_is_refused(word, message, spoken):
    with pytest.raises(InputError, match=message):
        spoken.fit({"x": PIXELS, "word": word}, verbose=0)


# -- pixels ---------------------------------------------------------------------------------------

RAW = np.random.default_rng(0).integers(0, 256, (30, 5))
LIKELIHOODS = {"bits": layers.IndependentBernoulli, "grey": layers.ContinuousBernoulli}


def rescaled(x):
    return keras.layers.Rescaling(1 / 255)(x)


def divided(x):
    return x / 255.0


def by_lambda(x):
    return keras.layers.Lambda(lambda t: t / 255.0)(x)


def nested(x):
    return keras.Sequential([keras.Input((5,)), keras.layers.Rescaling(1 / 255)])(x)


@pytest.mark.one
@pytest.mark.parametrize("scale", [rescaled, divided, by_lambda, nested])
def test_raw_pixels_in_and_scaled_pixels_out(scale):
    keras.utils.set_random_seed(1)
    x = keras.Input((5,))
    last = layers.IndependentNormal(2)
    encoder = keras.Model(x, last(keras.layers.Dense(4)(scale(x))))
    vae = VAE(encoder, networks.decoder(2, layers.ContinuousBernoulli(5), widths=(4,)))
    vae.compile("adam", jit_compile=False)
    target = (RAW / 255).astype("float32")
    for kind in ("uint8", "int64", "float32") if scale is divided else ("uint8",):
        raw = RAW.astype(kind)
        assert np.isfinite(vae.fit(raw, target, verbose=0).history["loss"])
        assert np.isfinite(vae.evaluate(raw, target, verbose=0)).all()
        assert 0 <= np.min(vae.reconstruct(raw)) <= np.max(vae.reconstruct(raw)) <= 1
        assert np.isfinite(vae.log_likelihood(raw, 3, y=target)).all()
    pairs = tf.data.Dataset.from_tensor_slices((RAW.astype("uint8"), target)).batch(10)
    assert np.isfinite(vae.fit(pairs, verbose=0).history["loss"])
    for uses in (vae.fit, vae.log_likelihood):
        with pytest.raises(InputError, match=r"rescales x: give.*\(x, x / 255\)"):
            uses(RAW)


def test_log_likelihood_of_targets_is_that_of_the_scaled_model():
    """The same networks but for the scale of what goes in: the same draws, the same numbers."""
    models = []
    for factor in (1 / 255, 1.0):
        keras.utils.set_random_seed(1)
        start = [keras.Input((5,)), keras.layers.Rescaling(factor), keras.layers.Dense(4)]
        encoder = keras.Sequential([*start, layers.IndependentNormal(2)])
        decoder = networks.decoder(2, layers.ContinuousBernoulli(5), widths=(4,))
        models.append(put_back(VAE(encoder, decoder)))
    scaled = (RAW / 255).astype("float32")
    found = models[0].log_likelihood(RAW.astype("float32"), 7, batch_size=8, y=scaled)
    np.testing.assert_allclose(found, models[1].log_likelihood(scaled, 7, batch_size=8), rtol=1e-4)


def test_pixels_that_nobody_rescales_are_refused_still():
    vae = VAE(
        networks.encoder((5,), 2, widths=(4,)),
        networks.decoder(2, layers.ContinuousBernoulli(5), widths=(4,)),
    )
    vae.compile("adam")
    with pytest.raises(InputError, match="Divide pixels by 255 first"):
        vae.fit(RAW, RAW / 255, verbose=0)
