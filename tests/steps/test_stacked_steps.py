"""Steps done several in a call are the steps that Keras' own trainer does, for any form of data."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_vae import VAE, InputError, layers, networks
from tfp_vae.steps.queued import Ahead

X = (np.random.default_rng(0).random((70, 6)) < 0.5).astype(np.float32)
LABELS = np.arange(70, dtype=np.int32) % 3
WEIGHTS = np.linspace(0, 1, 70, dtype=np.float32)


class ByKeras(VAE):
    """A VAE that Keras' own trainer trains, one step a call."""

    make_train_function = keras.Model.make_train_function
    make_test_function = keras.Model.make_test_function


_MADE: dict = {}


def model(kind, num_classes=None, **compiled):
    """A model as new: made once, since compiling takes seconds, and put back where it began."""
    keras.utils.set_random_seed(1)
    key = (kind, num_classes, *compiled.items())
    if key not in _MADE:
        vae = made(kind, num_classes, **compiled)
        vae.optimizer.build(vae.trainable_variables)
        _MADE[key] = vae, [keras.ops.convert_to_numpy(v) for v in state(vae)]
    vae, start = _MADE[key]
    for variable, value in zip(state(vae), start, strict=True):
        variable.assign(value)
    return vae


def state(vae):
    return [*vae.variables, *vae.optimizer.variables]


def made(kind, num_classes=None, **compiled):
    vae = kind(
        networks.encoder((6,), 2, widths=(8,), num_classes=num_classes),
        networks.decoder(2, layers.IndependentBernoulli(6), widths=(8,), num_classes=num_classes),
    )
    vae.compile(keras.optimizers.Adam(0.05), metrics=["mse"], **compiled)
    return vae


def rows(count, size, first=0):
    return tf.data.Dataset.from_tensor_slices(X[first : first + count]).batch(size)


def of_sizes(*sizes):
    """Batches of these numbers of rows."""
    ends = list(itertools.accumulate(sizes))
    parts = [X[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    spec = tf.TensorSpec([None, 6], tf.float32)
    data = tf.data.Dataset.from_generator(lambda: iter(parts), output_signature=spec)
    return data.apply(tf.data.experimental.assert_cardinality(len(sizes)))


class Growing:
    """A data set of unknown length, longer in each epoch."""

    def __init__(self, *lengths):
        self.lengths = iter(lengths)

    def __call__(self):
        return iter([X[i : i + 8] for i in range(next(self.lengths))])


def growing(*lengths):
    # Its first batch is looked at before training starts, its length is asked for again then.
    spec = tf.TensorSpec([None, 6], tf.float32)
    return tf.data.Dataset.from_generator(Growing(1, *lengths), output_signature=spec)


class Batches(keras.utils.PyDataset):
    def __init__(self, size, weighted=False, **kwargs):
        super().__init__(**kwargs)
        self.size, self.weighted = size, weighted

    def __len__(self):
        return -(-len(X) // self.size)

    def __getitem__(self, index):
        some = slice(index * self.size, (index + 1) * self.size)
        return (X[some], None, WEIGHTS[some]) if self.weighted else (X[some],)


def generator(batches, size=8):
    for i in range(batches):
        yield (X[i * size % 60 : i * size % 60 + size],)


def weighted_generator(batches):
    for (x,) in generator(batches):
        yield x, None, WEIGHTS[: len(x)]


class Endless(keras.utils.PyDataset):
    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        return (X[index % 50 : index % 50 + 8 + index % 3],)


FIT = {  # what `fit` is given, and how many steps it is to make
    "array": (lambda: {"x": X[:64], "batch_size": 8}, 16),
    "array, a smaller last batch": (lambda: {"x": X, "batch_size": 8}, 18),
    "array, one batch": (lambda: {"x": X, "batch_size": 100}, 2),
    "array, fewer steps than batches": (  # Keras begins it anew in each third epoch
        lambda: {"x": X, "batch_size": 8, "steps_per_epoch": 5},
        9,
    ),
    "array with a share for validation": (
        lambda: {"x": X, "batch_size": 8, "validation_split": 0.3},
        14,
    ),
    "conditions": (lambda: {"x": {"x": X, "label": LABELS}, "batch_size": 8}, 18),
    "weights": (lambda: {"x": X, "sample_weight": WEIGHTS, "batch_size": 8}, 18),
    "targets": (lambda: {"x": 2.5 - X, "y": X, "batch_size": 8}, 18),
    "initial epoch": (lambda: {"x": X, "batch_size": 8, "initial_epoch": 1}, 9),
    "a smaller last batch, repeated": (
        lambda: {"x": rows(70, 32).repeat(), "steps_per_epoch": 30},
        60,
    ),
    "repeated before it is cut in batches": (
        lambda: {
            "x": tf.data.Dataset.from_tensor_slices(X).repeat().batch(32),
            "steps_per_epoch": 7,
        },
        14,
    ),
    "shuffled, repeated": (
        lambda: {
            "x": tf.data.Dataset.from_tensor_slices(X).shuffle(70, seed=3).batch(32).repeat(),
            "steps_per_epoch": 10,
        },
        20,
    ),
    "concatenated": (lambda: {"x": rows(33, 8).concatenate(rows(37, 8, 33))}, 20),
    "one batch for an epoch, repeated": (
        lambda: {"x": rows(70, 32).repeat(), "steps_per_epoch": 1},
        2,
    ),
    "batches of any size": (lambda: {"x": of_sizes(8, 8, 5, 8, 1, 1, 7, 8, 8, 2)}, 20),
    "the odd batch first": (lambda: {"x": of_sizes(3, 8, 8, 8, 8, 8)}, 12),
    "data that end before the steps do": (lambda: {"x": rows(70, 8), "steps_per_epoch": 6}, 9),
    "more steps than batches": (lambda: {"x": rows(70, 8), "steps_per_epoch": 20}, 18),
    "PyDataset": (lambda: {"x": Batches(32), "shuffle": False}, 6),
    "PyDataset, shuffled": (lambda: {"x": Batches(8), "shuffle": True}, 18),
    "PyDataset with workers": (lambda: {"x": Batches(8, workers=2), "shuffle": False}, 18),
    "PyDataset with weights": (lambda: {"x": Batches(8, weighted=True), "shuffle": False}, 18),
    "PyDataset without an end": (lambda: {"x": Endless(), "steps_per_epoch": 7}, 14),
    "generator with steps": (lambda: {"x": generator(14), "steps_per_epoch": 7}, 14),
    "generator with weights": (lambda: {"x": weighted_generator(14), "steps_per_epoch": 7}, 14),
    "triples with weights": (
        lambda: {"x": tf.data.Dataset.from_tensor_slices((X, None, WEIGHTS)).batch(8)},
        18,
    ),
    "validation with steps": (
        lambda: {
            "x": X,
            "batch_size": 8,
            "validation_data": rows(70, 32).repeat(),
            "validation_steps": 5,
        },
        18,
    ),
    "validation of odd batches": (
        lambda: {"x": X, "batch_size": 8, "validation_data": rows(33, 8).concatenate(rows(37, 8))},
        18,
    ),
    "validation with weights": (
        lambda: {"x": X, "batch_size": 8, "validation_data": (X, None, WEIGHTS[:, None])},
        18,
    ),
}


UNKNOWN = {  # data of a length that nobody knows, the same of a known one, and the steps
    "filtered": (
        lambda: {"x": rows(70, 2).filter(lambda x: True)},
        lambda: {"x": rows(70, 2)},
        70,
    ),
    "generator": (
        lambda: {"x": generator(47, 1), "epochs": 1},
        lambda: {"x": X[:47], "batch_size": 1, "epochs": 1},
        47,
    ),
    "longer later": (  # Keras asks for one more batch than the first epoch had
        lambda: {"x": growing(9, 30)},
        None,
        19,
    ),
}


def fitted(kind, make, **compiled):
    keras.utils.set_random_seed(1)
    options = {"epochs": 2, "verbose": 0, "shuffle": False, **make()}
    num_classes = 3 if isinstance(options["x"], dict) else None
    vae = model(kind, num_classes, **compiled)
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: seen.append(("epoch", epoch)),
        on_train_batch_end=lambda batch, logs: seen.append(("train", batch)),
    )
    watch.on_test_batch_end = lambda batch, logs: seen.append(("test", batch))
    watch.each_batch = False
    history = vae.fit(callbacks=[watch], **options).history
    return vae, history, seen


@pytest.mark.again
@pytest.mark.filterwarnings("ignore:Your input ran out of data", "ignore:.*shuffle=True")
@pytest.mark.parametrize(("make", "steps"), FIT.values(), ids=FIT)
def test_fit_does_the_steps_of_keras(make, steps):
    found, losses, seen = fitted(VAE, make, steps_per_execution=4, jit_compile=False)
    assert isinstance(found.train_function, Ahead)
    expected, expected_losses, expected_seen = fitted(ByKeras, make, jit_compile=False)
    assert int(found.optimizer.iterations) == int(expected.optimizer.iterations) == steps
    assert seen == expected_seen
    for a, b in zip(found.variables, expected.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=a.path)
    assert losses.keys() == expected_losses.keys()
    for name, values in losses.items():
        np.testing.assert_allclose(values, expected_losses[name], rtol=1e-4, err_msg=name)


@pytest.mark.again
def test_xla_runs_the_same_steps():
    """On batches of one size: XLA draws other noise, and a batch that stands alone goes without."""
    make, steps = FIT["array"]
    found, losses, seen = fitted(VAE, make, steps_per_execution=4, jit_compile=True)
    expected, expected_losses, expected_seen = fitted(ByKeras, make, jit_compile=True)
    assert int(found.optimizer.iterations) == steps
    assert seen == expected_seen
    for a, b in zip(found.variables, expected.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=a.path)
    np.testing.assert_allclose(losses["loss"], expected_losses["loss"], rtol=1e-4)


@pytest.mark.again
@pytest.mark.parametrize("name", ["array, a smaller last batch", "a smaller last batch, repeated"])
def test_xla_does_all_steps_of_batches_of_any_size(name):
    make, steps = FIT[name]
    vae, history, _ = fitted(VAE, make, steps_per_execution=4, jit_compile=True)
    assert int(vae.optimizer.iterations) == steps
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.again
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize(("make", "known", "steps"), UNKNOWN.values(), ids=UNKNOWN)
def test_data_of_unknown_length_have_a_step_for_each_batch(make, known, steps):
    """Keras itself counts one more for each epoch, in `optimizer.iterations` too."""
    found, losses, _ = fitted(VAE, make, steps_per_execution=4, jit_compile=False)
    assert int(found.optimizer.iterations) == steps
    assert len(losses["loss"]) == make().get("epochs", 2)
    if known is None:
        return
    weights = [keras.ops.convert_to_numpy(v) for v in found.variables]
    expected, expected_losses, _ = fitted(ByKeras, known, jit_compile=False)
    for a, b in zip(weights, expected.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=b.path)
    np.testing.assert_allclose(losses["loss"], expected_losses["loss"], rtol=1e-4)


EVALUATE = {
    "array": lambda: {"x": X, "batch_size": 8},
    "concatenated": lambda: {"x": rows(33, 8).concatenate(rows(37, 8, 33))},
    "steps of data without an end": lambda: {"x": rows(70, 32).repeat(), "steps": 5},
    "batches of any size": lambda: {"x": of_sizes(3, 8, 8, 1, 1, 20, 8)},
    "PyDataset": lambda: {"x": Batches(32)},
    "weights": lambda: {"x": X, "sample_weight": WEIGHTS, "batch_size": 8},
    "column of weights": lambda: {"x": X, "sample_weight": WEIGHTS[:, None], "batch_size": 8},
    "PyDataset with weights": lambda: {"x": Batches(8, weighted=True)},
    "generator with weights": lambda: {"x": weighted_generator(9)},
}


@pytest.mark.again
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("make", EVALUATE.values(), ids=EVALUATE)
def test_evaluate_counts_each_example_once(make):
    found, expected = (
        kind.evaluate(**make(), verbose=0, return_dict=True)
        for kind in (model(VAE, steps_per_execution=4), model(ByKeras))
    )
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, err_msg=name)


def without_noise(**compiled):
    """A model whose encoder gives one z for each x, without noise: its nll is known."""
    vae = model(VAE, **compiled)
    last = vae.encoder.layers[-2]
    last.kernel.assign(tf.zeros_like(last.kernel))
    last.bias.assign([1.0, 2.0, -30.0, -30.0])
    return vae, -vae.decode(np.tile([[1.0, 2.0]], (70, 1)).astype("f")).log_prob(X).numpy()


MEANS = {
    "array": (lambda: {"x": X, "batch_size": 8}, np.ones(70)),
    "concatenated": (lambda: {"x": rows(33, 8).concatenate(rows(37, 8, 33))}, np.ones(70)),
    "steps": (lambda: {"x": rows(70, 10).repeat(), "steps": 3}, np.arange(70) < 30),
    "weights": (lambda: {"x": X, "sample_weight": WEIGHTS, "batch_size": 8}, WEIGHTS),
    "a data set with weights": (
        lambda: {"x": tf.data.Dataset.from_tensor_slices((X, None, WEIGHTS)).batch(8)},
        WEIGHTS,
    ),
    "PyDataset with weights": (lambda: {"x": Batches(8, weighted=True)}, WEIGHTS),
    "targets and weights": (
        lambda: {"x": X - 3, "y": X, "sample_weight": WEIGHTS, "batch_size": 8},
        WEIGHTS,
    ),
}


@pytest.mark.one
@pytest.mark.parametrize(("make", "weights"), MEANS.values(), ids=MEANS)
def test_evaluation_is_the_weighted_mean_over_all(make, weights):
    vae, nll = without_noise(steps_per_execution=4)
    found = vae.evaluate(**make(), verbose=0, return_dict=True)
    np.testing.assert_allclose(found["nll"], np.average(nll, weights=weights), rtol=1e-4)
    kl = found["kl"]
    count = np.count_nonzero(weights == 1) if set(weights) == {0, 1} else 70
    expected = ((nll + kl) * weights).sum() / count  # Keras' rule: a sum over the batch's size
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-4)


@pytest.mark.again
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("name", ["a smaller last batch, repeated", "generator", "array"])
def test_the_progress_bar_ends_at_the_last_step(name, capsys):
    make, *_, steps = {**FIT, **UNKNOWN}[name]
    made(VAE).fit(**{**make(), "epochs": 1, "verbose": 1})
    steps //= 1 if name in UNKNOWN else 2
    assert f"{steps}/{steps}" in capsys.readouterr().out


@pytest.mark.again
def test_steps_that_nobody_asked_for_are_forgotten():
    """A callback ends the first epoch in the middle of a call: the next `fit` has all its steps."""
    vae = model(VAE, steps_per_execution=4)

    class Stop(keras.callbacks.Callback):
        each_batch = False

        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    vae.fit(X, batch_size=10, callbacks=[Stop()], verbose=0)
    assert int(vae.optimizer.iterations) == 4
    vae.fit(X, batch_size=10, verbose=0)
    assert int(vae.optimizer.iterations) == 11


@pytest.mark.again
def test_what_is_trained_by_hand_between_two_fits_counts():
    vae = model(VAE, steps_per_execution=4)
    vae.fit(X, batch_size=10, verbose=0)
    before = vae.get_weights()
    vae.train_on_batch(X[:10])
    assert int(vae.optimizer.iterations) == 8
    assert any((a != b).any() for a, b in zip(before, vae.get_weights(), strict=True))


def test_callbacks_are_called_for_each_step_of_a_call():
    seen = []

    class Look(keras.callbacks.Callback):
        each_batch = False

        def on_train_batch_end(self, batch, logs=None):
            seen.append((batch, int(self.model.optimizer.iterations)))

    vae = model(VAE, steps_per_execution=4)
    callbacks = keras.callbacks.CallbackList([Look()], add_history=True, model=vae)
    for _ in range(2):
        vae.fit(X, batch_size=10, callbacks=callbacks, verbose=0)
    assert seen[:7] == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 7), (5, 7), (6, 7)]
    assert seen[7:] == [(batch, done + 7) for batch, done in seen[:7]]


class Evaluates(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            self.model.evaluate(X, batch_size=10, verbose=0)


class EvaluatesLargeBatches(keras.callbacks.Callback):
    """Batches of which one fills a call."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.evaluate(np.tile(X, (50_000, 1)), batch_size=3_000_000, verbose=0)


class MakesFunctionsAnew(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.model.make_train_function(force=True)


@pytest.mark.again
@pytest.mark.parametrize("callback", [Evaluates, EvaluatesLargeBatches, MakesFunctionsAnew])
def test_what_a_callback_does_within_fit_changes_no_step(callback):
    vae = made(VAE)
    vae.fit(rows(70, 8).repeat(), steps_per_epoch=10, epochs=2, verbose=0, callbacks=[callback()])
    assert int(vae.optimizer.iterations) == 20


class OwnStep(VAE):
    def train_step(self, data):
        return {**super().train_step(data), "extra": tf.constant(3.0)}


@pytest.mark.again
def test_a_step_of_ones_own_keeps_its_logs():
    history = made(OwnStep).fit(X, batch_size=8, verbose=0).history
    assert history["extra"] == [3.0]


@pytest.mark.again
def test_weights_may_change_their_rank_from_one_fit_to_the_next():
    vae = made(VAE)
    vae.compile("adam", weighted_metrics=["mse"])
    for weights in (WEIGHTS, WEIGHTS[:, None], WEIGHTS > 0.5):
        vae.fit(X, sample_weight=weights, batch_size=8, verbose=0)


WRONG = {
    "fewer weights than examples": (
        lambda: {"x": X, "sample_weight": WEIGHTS[:50]},
        r"as many rows of the sample weights of x as of x.*50",
    ),
    "weights of pixels": (lambda: {"x": X, "sample_weight": X}, r"one weight for each.*\(70, 6\)"),
    "weights that are not finite": (
        lambda: {"x": X, "sample_weight": WEIGHTS * np.nan},
        "finite numbers in the sample weights of x",
    ),
    "weights beside a data set": (
        lambda: {"x": rows(70, 8), "sample_weight": WEIGHTS},
        r"weights of a data set within x: batches \(x, y, sample_weight\)",
    ),
    "weights of a data set": (
        lambda: {"x": tf.data.Dataset.from_tensors((X, None, X))},
        "one weight for each example",
    ),
    "classes": (lambda: {"x": X, "class_weight": {0: 1.0}}, r"no classes.*sample_weight=.*\{0: 1"),
    "validation weights": (
        lambda: {"x": X, "validation_data": (X, None, WEIGHTS[:3])},
        "sample weights of validation_data as of validation_data",
    ),
    "fewer targets than examples": (lambda: {"x": X, "y": X[:50]}, "as many rows of the targets"),
}


@pytest.mark.parametrize(("make", "message"), WRONG.values(), ids=WRONG)
def test_what_hangs_on_x_is_refused_where_it_does_not_fit(make, message):
    vae = model(VAE)
    with pytest.raises(InputError, match=message):
        vae.fit(**make(), verbose=0)
    assert int(vae.optimizer.iterations) == 0
