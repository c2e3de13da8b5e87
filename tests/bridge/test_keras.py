"""A distribution goes wherever Keras lets a tensor go."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import small_networks

from tfp_vae import IWAE, VAE, NegativeLogLikelihood, layers

tfd = tfp.distributions

MODES = {
    "default": {},
    "graph": {"jit_compile": False},
    "xla": {"jit_compile": True},
    "eager": {"run_eagerly": True},
    "steps": {"steps_per_execution": 3},
    "graph-steps": {"steps_per_execution": 3, "jit_compile": False},
}


def plain(**compile_arguments):
    encoder, decoder = small_networks()
    model = keras.Model(encoder.inputs[0], decoder(encoder.outputs[0]))
    model.compile("adam", loss=NegativeLogLikelihood(), **compile_arguments)
    return model


def class_based(**compile_arguments):
    vae = VAE(*small_networks())
    vae.compile("adam", **compile_arguments)
    return vae


def importance_weighted(**compile_arguments):
    vae = VAE(*small_networks(), objective=IWAE(3))
    vae.compile("adam", **compile_arguments)
    return vae


KINDS = pytest.mark.parametrize("kind", [plain, class_based, importance_weighted])


def targets(kind, x):
    return (x, x) if kind is plain else (x,)


@pytest.mark.one
@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        pytest.param(kind, mode, id=f"{name}-{kind.__name__}", marks=marks)
        for name, mode in MODES.items()
        for kind in (plain, class_based, importance_weighted)
        for marks in [[] if kind is class_based or name == "default" else [pytest.mark.again]]
    ],
)
def test_trains_in_every_mode_with_a_partial_last_batch(kind, mode, x):
    model = kind(**mode)
    history = model.fit(*targets(kind, x), batch_size=24, epochs=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]
    assert np.isfinite(model.evaluate(*targets(kind, x), batch_size=24, verbose=0)).all()
    assert model.predict(x, batch_size=24, verbose=0).shape == x.shape


@pytest.mark.one
@KINDS
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_trains_under_every_precision(kind, policy, x):
    keras.config.set_dtype_policy(policy)
    model = kind()
    history = model.fit(*targets(kind, x), epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@KINDS
def test_takes_float64_and_integer_inputs(kind, x):
    model = kind()
    for dtype in ("float64", "uint8"):
        assert np.isfinite(model.evaluate(*targets(kind, x.astype(dtype)), verbose=0)).all()


@pytest.mark.again
@pytest.mark.parametrize(
    ("kind", "compiled"),
    [(plain, False), (class_based, True), (importance_weighted, False)],
    ids=["plain", "class-xla", "importance"],
)
def test_the_global_seed_makes_a_run_repeatable(kind, compiled, x):
    def run():
        keras.utils.set_random_seed(3)
        model = kind(jit_compile=compiled)
        model.fit(*targets(kind, x), batch_size=24, epochs=2, verbose=0)
        return model.get_weights()

    for first, second in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(first, second)


@KINDS
def test_both_the_sources_that_keras_reads_from(kind, x):
    model = kind()
    pairs = targets(kind, x)
    batches = tf.data.Dataset.from_tensor_slices(pairs).batch(24)
    assert len(model.fit(batches, epochs=2, verbose=0).history["loss"]) == 2
    generator = (tuple(part[i : i + 16] for part in pairs) for i in range(0, 64, 16))
    model.fit(generator, steps_per_epoch=4, verbose=0)
    assert int(model.optimizer.iterations) == 2 * 3 + 4


@KINDS
def test_callbacks_and_metrics_of_keras(kind, x, tmp_path):
    model = kind(metrics=["mse"])
    checkpoint = tmp_path / "best.keras"
    callbacks = [
        keras.callbacks.EarlyStopping("loss", patience=5),
        keras.callbacks.ModelCheckpoint(checkpoint, monitor="loss", save_best_only=True),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TerminateOnNaN(),
    ]
    history = model.fit(
        *targets(kind, x), validation_split=0.25, epochs=2, verbose=0, callbacks=callbacks
    ).history
    assert {"loss", "mse", "val_loss", "val_mse"} <= set(history)
    assert keras.models.load_model(checkpoint).predict(x, verbose=0).shape == x.shape


def test_an_ordinary_metric_sees_the_tensor():
    inputs = keras.Input((2,))
    model = keras.Model(
        inputs, layers.DistributionLambda(lambda t: tfd.Normal(t, 1.0), "mean")(inputs)
    )
    model.compile("adam", loss=NegativeLogLikelihood(), metrics=["mae"])
    x = np.ones([8, 2], "float32")
    assert model.evaluate(x, x + 0.5, verbose=0)[1] == pytest.approx(0.5)


def test_both_ways_of_building_give_the_same_loss_with_the_same_draws(x):
    encoder, decoder = small_networks()
    model = keras.Model(encoder.inputs[0], decoder(encoder.outputs[0]))
    model.compile("adam", loss=NegativeLogLikelihood())
    vae = VAE(encoder, decoder)
    vae.compile("adam")
    seeds = [encoder.layers[-1].seed_generator.state, decoder.layers[-1].seed_generator.state]
    losses = []
    for each, data in ((model, (x, x)), (vae, (x,))):
        for seed in seeds:
            seed.assign([5, 0])
        losses.append(each.evaluate(*data, batch_size=24, verbose=0, return_dict=True)["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@pytest.mark.parametrize("kind", [plain, class_based])
@pytest.mark.parametrize("n", [1, 16, 50])
def test_the_loss_is_a_mean_whatever_the_batch_size(kind, n, x):
    """One image many times, and a posterior without noise to draw: any batch has the same loss."""
    model = kind()
    encoder = model.encoder if kind is not plain else model
    kernel, bias = (
        layer := encoder.layers[-2] if kind is not plain else encoder.layers[3]
    ).get_weights()
    kernel[:] = 0
    bias[:] = [0.3, -0.2, -20.0, -20.0]  # scale 1e-6
    layer.set_weights([kernel, bias])
    same = np.repeat(x[:1], 50, axis=0)
    whole = model.evaluate(*targets(kind, same), batch_size=50, verbose=0, return_dict=True)
    parts = model.evaluate(*targets(kind, same), batch_size=n, verbose=0, return_dict=True)
    assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-4)


def test_a_distribution_as_the_input_of_a_nested_model_is_one_draw(x):
    encoder, decoder = small_networks()
    seen = []
    spy = keras.layers.Lambda(lambda z: (seen.append(z), z)[1], output_shape=(2,))
    z = spy(encoder.outputs[0])
    model = keras.Model(encoder.inputs[0], [encoder.outputs[0], decoder(z)])
    seen.clear()
    q, _ = model(x)
    np.testing.assert_array_equal(tf.convert_to_tensor(q), tf.convert_to_tensor(seen[0]))


def test_gradients_reach_the_encoder_through_the_draw(x):
    encoder, decoder = small_networks(regularized=False)
    model = keras.Model(encoder.inputs[0], decoder(encoder.outputs[0]))
    with tf.GradientTape() as tape:
        loss = NegativeLogLikelihood()(x, model(x))
    for gradient in tape.gradient(loss, encoder.trainable_weights):
        assert np.abs(gradient).max() > 0
