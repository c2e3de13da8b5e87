"""What Keras' `compile`, optimizers, `fit`, `evaluate` and `predict` take, on a `VAE`.

The numbers are held against those of a plain Keras model of the same layers, which knows nothing of
`VAE`, trained eagerly by Keras' own trainer.
"""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfp_vae import VAE, InputError, NegativeLogLikelihood, layers, networks

X = (np.random.default_rng(0).random((40, 6)) < 0.5).astype(np.float32)
OPTIMIZERS = keras.optimizers
SCHEDULES = keras.optimizers.schedules


def networks_of(seed=1):
    keras.utils.set_random_seed(seed)
    return (
        networks.encoder((6,), 2, widths=(8,)),
        networks.decoder(2, layers.IndependentBernoulli(6), widths=(8,)),
    )


def vae(optimizer="adam", **compiled):
    made = VAE(*networks_of())
    made.compile(optimizer, **{"jit_compile": False, **compiled})
    return made


def plain(optimizer, **compiled):
    """A functional model of the same layers, weights and seeds, for Keras' own trainer."""
    encoder, decoder = networks_of()
    model = keras.Model(encoder.inputs[0], decoder(encoder.outputs[0]))
    compiled = {"run_eagerly": True, **compiled}
    model.compile(optimizer, loss=NegativeLogLikelihood(), **compiled)
    return model


def trained(model, batch_size=10, epochs=2, **kwargs):
    """The losses and the weights after a few steps, that draw what any other's draw."""
    for layer in model._flatten_layers():
        if hasattr(layer, "seed_generator") and layer is not model:
            layer.seed_generator.state.assign([3, 4])
    targets = (X,) if isinstance(model, VAE) else (X, X)
    options = {"shuffle": False, "verbose": 0, **kwargs}
    history = model.fit(*targets, batch_size=batch_size, epochs=epochs, **options).history
    return history["loss"], [w.numpy() for w in model.trainable_weights]


def several():
    rules = OPTIMIZERS.OptimizerMap(OPTIMIZERS.SGD(0.1))
    rules[".*bias.*"] = OPTIMIZERS.Adam(0.01)
    return OPTIMIZERS.MultiOptimizer(rules)


MADE = {
    "clipnorm": lambda: OPTIMIZERS.SGD(0.1, clipnorm=0.1),
    "global_clipnorm": lambda: OPTIMIZERS.SGD(0.1, global_clipnorm=0.1),
    "clipvalue": lambda: OPTIMIZERS.SGD(0.1, clipvalue=0.01),
    "weight_decay": lambda: OPTIMIZERS.Adam(0.01, weight_decay=0.1),
    "use_ema": lambda: OPTIMIZERS.Adam(0.01, use_ema=True, ema_momentum=0.5),
    "ema_overwrite_frequency": lambda: OPTIMIZERS.SGD(
        0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3
    ),
    "gradient_accumulation_steps": lambda: OPTIMIZERS.Adam(0.01, gradient_accumulation_steps=3),
    "accumulation, clipping and EMA": lambda: OPTIMIZERS.Adam(
        0.01, gradient_accumulation_steps=2, clipnorm=0.1, use_ema=True
    ),
    "loss_scale_factor": lambda: OPTIMIZERS.SGD(0.1, loss_scale_factor=8.0),
    "LossScaleOptimizer": lambda: OPTIMIZERS.LossScaleOptimizer(
        OPTIMIZERS.SGD(0.1), initial_scale=1024.0, dynamic_growth_steps=3
    ),
    "LossScaleOptimizer, accumulating": lambda: OPTIMIZERS.LossScaleOptimizer(
        OPTIMIZERS.SGD(0.1, gradient_accumulation_steps=2), initial_scale=1024.0
    ),
    "a schedule": lambda: OPTIMIZERS.Adam(SCHEDULES.ExponentialDecay(0.1, 2, 0.5)),
    "a function for a rate": lambda: OPTIMIZERS.SGD(lambda: 0.05),
    "momentum": lambda: OPTIMIZERS.SGD(0.1, momentum=0.9, nesterov=True),
    "amsgrad": lambda: OPTIMIZERS.Adam(0.01, amsgrad=True),
    "centered": lambda: OPTIMIZERS.RMSprop(0.01, centered=True, momentum=0.5),
    "a name": lambda: "nadam",
    "a config": lambda: {"class_name": "adagrad", "config": {"learning_rate": 0.1}},
}
if hasattr(OPTIMIZERS, "MultiOptimizer"):  # younger than the Keras that is enough
    MADE["one optimizer for biases, one for the rest"] = several
CLASSES = [
    "Adadelta", "Adafactor", "Adagrad", "Adamax", "AdamW", "Ftrl", "Lamb", "Lion", "Muon", "Nadam",
    "RMSprop", "ScheduleFreeAdamW",
]  # fmt: skip


def of_class(name):
    return pytest.param(lambda: getattr(OPTIMIZERS, name)(0.01), id=name, marks=pytest.mark.again)


@pytest.mark.one
@pytest.mark.parametrize(
    "make",
    [
        *(pytest.param(make, id=name) for name, make in MADE.items()),
        *(of_class(name) for name in CLASSES if hasattr(OPTIMIZERS, name)),
    ],
)
def test_an_optimizer_trains_as_a_plain_model_is_trained(make):
    loss, weights = trained(vae(make()))
    expected_loss, expected = trained(plain(make()))
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=2e-5)


COMPILE = {
    "run_eagerly": {"run_eagerly": True},
    "jit_compile auto": {"jit_compile": "auto"},
    "steps_per_execution": {"steps_per_execution": 3},
    "auto_scale_loss": {"auto_scale_loss": False},
    "metrics": {"metrics": ["mse", keras.metrics.MeanAbsoluteError("off")]},
    "weighted_metrics": {"weighted_metrics": ["mse"]},
}


@pytest.mark.one
@pytest.mark.parametrize("options", COMPILE.values(), ids=COMPILE)
def test_options_of_compile_change_no_step(options):
    loss, weights = trained(vae(OPTIMIZERS.SGD(0.1), **options), epochs=1)
    expected_loss, expected = trained(plain(OPTIMIZERS.SGD(0.1)), epochs=1)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.again
@pytest.mark.parametrize("auto_scale_loss", [True, False])
def test_the_loss_is_scaled_under_half_precision_if_wanted(auto_scale_loss):
    keras.config.set_dtype_policy("mixed_float16")
    model = vae(OPTIMIZERS.SGD(0.1), auto_scale_loss=auto_scale_loss)
    scaled = isinstance(model.optimizer, OPTIMIZERS.LossScaleOptimizer)
    assert scaled == auto_scale_loss
    losses, _ = trained(model, epochs=3)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


FIT = {
    "validation_split": {"validation_split": 0.25},
    "validation_freq": {"validation_split": 0.25, "validation_freq": 2, "epochs": 3},
    "validation_freq, a list": {"validation_split": 0.5, "validation_freq": [1, 3], "epochs": 3},
    "validation_batch_size": {"validation_split": 0.5, "validation_batch_size": 3},
    "validation_steps": {"validation_split": 0.5, "validation_steps": 1},
    "initial_epoch": {"initial_epoch": 2, "epochs": 3},
    "initial_epoch past the end": {"initial_epoch": 3, "epochs": 3},
    "no epochs": {"epochs": 0},
    "no batch size": {"batch_size": None},
    "steps_per_epoch": {"steps_per_epoch": 2},
    "callbacks in a dict": {"callbacks": {"a": [keras.callbacks.TerminateOnNaN()]}},
}


@pytest.fixture(scope="module")
def pair():
    """A VAE and a plain model of the same layers, which the cases that follow put back."""
    models = vae(OPTIMIZERS.SGD(0.1)), plain(OPTIMIZERS.SGD(0.1), run_eagerly=False)
    return [(model, model.get_weights()) for model in models]


@pytest.mark.one
@pytest.mark.parametrize("options", FIT.values(), ids=FIT)
def test_options_of_fit_do_what_they_do_for_a_plain_model(options, pair):
    found = []
    for model, start in pair:
        model.set_weights(start)
        for layer in model._flatten_layers():
            if hasattr(layer, "seed_generator") and layer is not model:
                layer.seed_generator.state.assign([3, 4])
        targets = (X,) if isinstance(model, VAE) else (X, X)
        given = {"batch_size": 10, "epochs": 2, "shuffle": False, "verbose": 0, **options}
        history = model.fit(*targets, **given).history
        found.append({key: v for key, v in history.items() if key in ("loss", "val_loss")})
    assert list(found[0]) == list(found[1])
    for key, values in found[0].items():
        np.testing.assert_allclose(values, found[1][key], rtol=1e-4)


@pytest.mark.one
@pytest.mark.parametrize("shuffle", [True, "batch", False])
def test_each_way_to_shuffle_takes_each_example_once(shuffle, pair):
    model, start = pair[0]
    model.set_weights(start)
    assert np.isfinite(model.fit(X, batch_size=10, shuffle=shuffle, verbose=0).history["nll"])


@pytest.mark.one
@pytest.mark.parametrize("verbose", ["auto", 0, 1, 2])
def test_each_way_to_tell(verbose, pair, capsys):
    model, start = pair[0]
    model.set_weights(start)
    model.fit(X, batch_size=10, verbose=verbose)
    model.evaluate(X, batch_size=10, verbose=verbose)
    model.predict(X, batch_size=10, verbose=verbose)
    assert ("loss" in capsys.readouterr().out) == (verbose != 0)


# -- callbacks -----------------------------------------------------------------------------------


def rate(model):
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def stopping(folder):
    return keras.callbacks.EarlyStopping("val_nll", min_delta=1e9, patience=1)


def stopped(model, history, folder):
    assert len(history.epoch) == 2


def counted(path, number):
    def check(model, history, folder):
        assert len(list(folder.glob(path))) == number

    return check


def lowered(to):
    def check(model, history, folder):
        assert rate(model) == pytest.approx(to)

    return check


def logged(model, history, folder):
    head, *lines = (folder / "log.csv").read_text().splitlines()
    assert head.split(",") == ["epoch", "kl", "loss", "nll", "val_kl", "val_loss", "val_nll"]
    assert len(lines) == 3


def wrote_json(folder):
    def on_epoch_end(epoch, logs):
        (folder / f"{epoch}.json").write_text(json.dumps(logs))

    return keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)


def backed_up(model, history, folder):
    assert (folder / "backup/latest.weights.h5").exists()


def nothing(model, history, folder):
    assert len(history.epoch) == 3


C = keras.callbacks
CALLBACKS = {
    "EarlyStopping": (stopping, stopped),
    "ReduceLROnPlateau": (
        lambda f: C.ReduceLROnPlateau("nll", factor=0.5, patience=1, min_delta=1e9),
        lowered(0.1 / 4),
    ),
    "LearningRateScheduler": (
        lambda f: C.LearningRateScheduler(lambda epoch, rate: 0.1 / (epoch + 1)),
        lowered(0.1 / 3),
    ),
    "ModelCheckpoint": (
        lambda f: C.ModelCheckpoint(f / "{epoch}-{val_nll:.1f}.keras"),
        counted("*.keras", 3),
    ),
    "ModelCheckpoint of the best": (
        lambda f: C.ModelCheckpoint(f / "a.keras", "val_nll", save_best_only=True),
        counted("a.keras", 1),
    ),
    "ModelCheckpoint of weights": (
        lambda f: C.ModelCheckpoint(f / "{epoch}.weights.h5", save_weights_only=True),
        counted("*.weights.h5", 3),
    ),
    "ModelCheckpoint of steps": (
        lambda f: C.ModelCheckpoint(f / "{epoch}-{batch}.keras", save_freq=2),
        counted("*.keras", 6),
    ),
    "BackupAndRestore": (
        lambda f: C.BackupAndRestore(f / "backup", delete_checkpoint=False),
        backed_up,
    ),
    "BackupAndRestore of steps": (
        lambda f: C.BackupAndRestore(f / "backup", save_freq=2, delete_checkpoint=False),
        backed_up,
    ),
    "TensorBoard": (
        lambda f: C.TensorBoard(f, histogram_freq=1, write_images=True),
        counted("*/events*", 2),
    ),
    "TensorBoard of batches": (
        lambda f: C.TensorBoard(f, update_freq="batch", write_steps_per_second=True),
        counted("*/events*", 2),
    ),
    "CSVLogger": (lambda f: C.CSVLogger(f / "log.csv"), logged),
    "LambdaCallback": (wrote_json, counted("*.json", 3)),
    "TerminateOnNaN": (lambda f: C.TerminateOnNaN(), nothing),
    "ProgbarLogger": (lambda f: C.ProgbarLogger(), nothing),
    "History": (lambda f: C.History(), nothing),
}


@pytest.mark.one
@pytest.mark.parametrize(("make", "check"), CALLBACKS.values(), ids=CALLBACKS)
def test_a_callback_of_keras_does_its_work(make, check, pair, tmp_path):
    model, start = pair[0]
    model.set_weights(start)
    model.optimizer.learning_rate = 0.1
    model._initial_epoch = None  # what BackupAndRestore leaves
    given = {"validation_data": X[:20], "batch_size": 10, "epochs": 3, "verbose": 0}
    history = model.fit(X, callbacks=make(tmp_path), **given)
    check(model, history, tmp_path)


def test_early_stopping_puts_the_best_weights_back(pair):
    model, start = pair[0]
    model.set_weights(start)
    model.optimizer.learning_rate = 0.1
    seen = []
    keep = C.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(model.get_weights()))
    worse = C.LearningRateScheduler(lambda epoch, rate: 0.1 if epoch < 2 else -5.0)
    stop = C.EarlyStopping("nll", patience=2, restore_best_weights=True)
    model.fit(X, batch_size=10, epochs=9, callbacks=[worse, keep, stop], verbose=0)
    assert len(seen) == stop.best_epoch + 3
    known = _trainable(model, seen[stop.best_epoch])
    for ours, best in zip(model.trainable_weights, known, strict=True):
        np.testing.assert_array_equal(ours, best)


def _trainable(model, weights):
    known = dict(zip([id(w) for w in model.weights], weights, strict=True))
    return [known[id(w)] for w in model.trainable_weights]


class Interrupt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.again
def test_a_run_that_was_backed_up_goes_on_as_if_nothing_had_been(tmp_path):
    whole = trained(vae(OPTIMIZERS.Adam(0.05)), epochs=4)
    model, backup = vae(OPTIMIZERS.Adam(0.05)), C.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        trained(model, epochs=4, callbacks=[backup, Interrupt()])
    again = vae(OPTIMIZERS.Adam(0.05))
    history = again.fit(
        X, batch_size=10, epochs=4, shuffle=False, verbose=0,
        callbacks=[C.BackupAndRestore(tmp_path / "backup")],
    ).history  # fmt: skip
    np.testing.assert_allclose(history["loss"], whole[0][2:], rtol=1e-6)


@pytest.mark.again
def test_averaged_weights_are_swapped_in_for_evaluation():
    models = [make(OPTIMIZERS.SGD(0.1, use_ema=True, ema_momentum=0.5)) for make in (vae, plain)]
    found = []
    for model in models:
        targets = (X,) if isinstance(model, VAE) else (X, X)
        callbacks = [C.SwapEMAWeights(swap_on_epoch=True)]
        found.append(trained(model, callbacks=callbacks, validation_data=targets))
        found[-1] = (model.history.history["val_loss"], found[-1][1])
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4)
    for ours, theirs in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


# -- evaluate and predict ------------------------------------------------------------------------


def test_options_of_evaluate_and_predict(pair):
    model, start = pair[0]
    model.set_weights(start)
    batches = tf.data.Dataset.from_tensor_slices(X).batch(10).repeat()
    seen = []
    watch = C.LambdaCallback(
        on_test_end=lambda logs: seen.append("test"),
        on_predict_end=lambda logs=None: seen.append("predict"),
    )
    found = model.evaluate(batches, steps=2, callbacks=[watch], return_dict=True, verbose=0)
    assert sorted(found) == ["kl", "loss", "nll"]
    listed = model.evaluate(X, batch_size=7, verbose=0)
    assert len(listed) == 3
    np.testing.assert_allclose(
        model.predict(batches, steps=2, callbacks=[watch], verbose=0),
        model.predict(X[:20], batch_size=3, verbose=0),
        rtol=1e-5,
    )
    assert seen == ["test", "predict"]
    np.testing.assert_allclose(model.predict_on_batch(X), model.reconstruct(X), rtol=1e-6)
    for name in ("train_on_batch", "test_on_batch"):
        found = getattr(model, name)(X, sample_weight=np.ones(len(X)), return_dict=True)
        assert sorted(found) == ["kl", "loss", "nll"]


# -- what is refused, in words -------------------------------------------------------------------

REFUSED = {
    "a loss": (
        lambda m: (m.compile("adam", loss="mse"), m.fit(X)),
        "loss is its objective.*loss='mse'",
    ),
    "loss_weights": (
        lambda m: (m.compile("adam", loss_weights=[1.0]), m.evaluate(X)),
        r"loss is its objective.*loss_weights=\[1.0\]",
    ),
    "no steps": (lambda m: m.compile("adam", steps_per_execution=0), "steps_per_execution.* 0"),
    "half a step": (lambda m: m.compile("adam", steps_per_execution=2.5), "whole number.* 2.5"),
    "steps in words": (lambda m: m.compile("adam", steps_per_execution="all"), "'all'"),
    "no optimizer": (
        lambda m: (m.compile(None), m.fit(X, verbose=0)),
        r"an optimizer to train with, compile\('adam'\)",
    ),
    "half an epoch": (lambda m: m.fit(X, epochs=0.5), "epochs .* whole number from 0 on.* 0.5"),
    "fewer than no epochs": (lambda m: m.fit(X, epochs=-1), "epochs .* from 0 on.* -1"),
    "no batch": (lambda m: m.fit(X, batch_size=0), "batch_size .* from 1 on.* 0"),
    "no batch to evaluate": (lambda m: m.evaluate(X, batch_size=0), "batch_size .* from 1 on"),
    "no steps to predict": (lambda m: m.predict(X, steps=0), "steps .* from 1 on.* 0"),
    "no steps in an epoch": (lambda m: m.fit(X, steps_per_epoch=0), "steps_per_epoch .* from 1"),
    "all for validation": (lambda m: m.fit(X, validation_split=1), "less than 1.* 1"),
    "a class of callbacks": (lambda m: m.fit(X, callbacks=[C.History]), "callbacks to be .*Hist"),
    "a function for a callback": (lambda m: m.predict(X, callbacks=print), "callbacks to be"),
    "class_weight": (lambda m: m.fit(X, class_weight={0: 1.0}), "no classes"),
    "class_weight of a batch": (lambda m: m.train_on_batch(X, class_weight={0: 1}), "no classes"),
}


@pytest.mark.parametrize(("act", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_vae_has_no_use_for_is_refused(act, message):
    model = VAE(*networks_of())
    model.compile("adam")
    with pytest.raises(InputError, match=message):
        act(model)
