"""Every layer of the table trains, saves and exports as the last layer of a model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import python
from layer_checks import EVERY, model_of, parameters, rows, values_of
from layer_table import COMPILED, ROWS

SHOWN = rows(*ROWS.keys() - COMPILED)


@pytest.mark.one
@SHOWN
def test_fits_under_xla(row):
    fits(row, 24, jit_compile=True)


@SHOWN
@pytest.mark.parametrize(
    ("mode", "batch_size"),
    [
        pytest.param({"jit_compile": False}, 16, marks=pytest.mark.again, id="graph"),
        pytest.param({"run_eagerly": True}, 24, id="eager"),
    ],
)
def test_fits_in_every_mode(row, mode, batch_size):
    fits(row, batch_size, **mode)


def fits(row, batch_size, **mode):
    """The values of fixed parameters, from a constant input: the likelihood comes near theirs.

    24 leaves a partial last batch; of 16 all batches are of one size, which the graph is told.
    """
    t = np.repeat(parameters(row, 1), 64, axis=0)
    x = row.build(seed=3)(t).sample().numpy()
    model = model_of(row)
    model.compile(keras.optimizers.Adam(0.1), loss=row.loss(), **mode)
    inputs = np.ones([64, 4], "float32")
    batches = tf.data.Dataset.from_tensor_slices((inputs, x))
    batches = batches.batch(batch_size, drop_remainder=batch_size == 16)
    losses = model.fit(batches, epochs=4, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.again
def test_every_layer_reloads_and_serves_the_same_draws_in_a_fresh_process(tmp_path):
    names = list(ROWS)
    inputs = np.arange(12, dtype="float32").reshape(3, 4) / 12
    for name, row in ROWS.items():
        model = model_of(row)
        model.save(tmp_path / f"{name}.keras")
        model.export(tmp_path / name, verbose=False)
        np.savez(tmp_path / f"{name}.npz", inputs=inputs, output=model.predict(inputs, verbose=0))
    code = f"""
import keras, numpy as np, tensorflow as tf, tfp_vae
for name in {names}:
    known = np.load(f"{tmp_path}/{{name}}.npz")
    model = keras.models.load_model(f"{tmp_path}/{{name}}.keras", safe_mode=True)
    np.testing.assert_array_equal(model.predict(known["inputs"], verbose=0), known["output"], name)
    served = tf.saved_model.load(f"{tmp_path}/{{name}}")
    output = served.serve(tf.constant(known["inputs"]))
    np.testing.assert_allclose(output, known["output"], rtol=1e-4, atol=1e-5, err_msg=name)
    print(name)
"""
    assert python(code).split() == names


@EVERY
def test_losses_are_means_whatever_the_batch_size(row):
    model, inputs = model_of(row), np.repeat(np.ones([1, 4], "float32"), 50, axis=0)
    model.compile("adam", loss=row.loss(), run_eagerly=True)
    x = np.repeat(values_of(row, 1), 50, axis=0)
    losses = [model.evaluate(inputs, x, batch_size=n, verbose=0) for n in (16, 50)]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


@pytest.mark.again
def test_a_posterior_of_full_covariance_and_a_mixture_as_the_prior_train_under_xla():
    import tensorflow_probability as tfp

    from tfp_vae import VAE, layers

    tfd = tfp.distributions
    prior = tfd.MixtureSameFamily(
        tfd.Categorical(probs=[0.5, 0.5]), tfd.MultivariateNormalDiag([[1.0, 0.0], [-1.0, 0.0]])
    )
    encoder = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5), layers.MultivariateNormalTriL(2)]
    )
    decoder = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(8), layers.IndependentNormal(4)]
    )
    vae = VAE(encoder, decoder, prior=prior)
    vae.compile(keras.optimizers.Adam(0.02), jit_compile=True)
    x = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
    history = vae.fit(x, batch_size=64, epochs=10, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert all(tf.reduce_any(w != 0) for w in vae.trainable_weights)
