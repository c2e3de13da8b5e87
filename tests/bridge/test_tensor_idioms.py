"""What Keras' own layers, losses and metrics do with the tensor that a distribution stands for.

The same layer on the bare tensor is the reference: the distribution stands for its mean.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from keras import layers as kl

from tfp_vae import layers

tfd = tfp.distributions
VECTOR, SEQUENCE, IMAGE, VOLUME, VIDEO = (6,), (6, 3), (8, 8, 3), (4, 4, 4, 2), (4, 8, 8, 3)


def distribution():
    return layers.DistributionLambda(lambda t: tfd.Normal(t, 1.0), "mean")


class Custom(kl.Layer):
    """What users write."""

    def call(self, z):
        rows = [row * 2.0 for row in tf.unstack(z[:, :2], axis=1)]
        return tf.stack(rows, axis=1) + z[..., :2, :] + z[:, tf.newaxis, 0] - z[:, -1:]


KERAS = {
    "LSTM": (SEQUENCE, lambda: kl.LSTM(2)),
    "GRU": (SEQUENCE, lambda: kl.GRU(2, return_sequences=True)),
    "SimpleRNN": (SEQUENCE, lambda: kl.SimpleRNN(2)),
    "Bidirectional": (SEQUENCE, lambda: kl.Bidirectional(kl.LSTM(2))),
    "Bidirectional GRU": (SEQUENCE, lambda: kl.Bidirectional(kl.GRU(2), merge_mode="sum")),
    "RNN": (SEQUENCE, lambda: kl.RNN([kl.LSTMCell(2), kl.GRUCell(2)])),
    "TimeDistributed": (SEQUENCE, lambda: kl.TimeDistributed(kl.Dense(2))),
    "Cropping1D": (SEQUENCE, lambda: kl.Cropping1D(1)),
    "Cropping2D": (IMAGE, lambda: kl.Cropping2D(((1, 2), (0, 1)))),
    "Cropping3D": (VOLUME, lambda: kl.Cropping3D(1)),
    "CenterCrop": (IMAGE, lambda: kl.CenterCrop(4, 4)),
    "ConvLSTM2D": (VIDEO, lambda: kl.ConvLSTM2D(2, 3)),
    "Conv1D causal": (SEQUENCE, lambda: kl.Conv1D(2, 2, padding="causal")),
    "Conv2D": (IMAGE, lambda: kl.Conv2D(2, 3)),
    "Conv2DTranspose": (IMAGE, lambda: kl.Conv2DTranspose(2, 3)),
    "SeparableConv2D": (IMAGE, lambda: kl.SeparableConv2D(2, 3)),
    "ZeroPadding2D": (IMAGE, lambda: kl.ZeroPadding2D(1)),
    "UpSampling2D": (IMAGE, lambda: kl.UpSampling2D(2, interpolation="bilinear")),
    "MaxPooling2D": (IMAGE, lambda: kl.MaxPooling2D()),
    "GlobalAveragePooling1D": (SEQUENCE, lambda: kl.GlobalAveragePooling1D()),
    "BatchNormalization": (SEQUENCE, lambda: kl.BatchNormalization()),
    "GroupNormalization": (IMAGE, lambda: kl.GroupNormalization(3)),
    "SpectralNormalization": (VECTOR, lambda: kl.SpectralNormalization(kl.Dense(2))),
    "Flatten": (IMAGE, lambda: kl.Flatten()),
    "Reshape": (VECTOR, lambda: kl.Reshape((2, 3))),
    "Permute": (SEQUENCE, lambda: kl.Permute((2, 1))),
    "RepeatVector": (VECTOR, lambda: kl.RepeatVector(3)),
    "EinsumDense": (SEQUENCE, lambda: kl.EinsumDense("abc,cd->abd", output_shape=(None, 2))),
    "PReLU": (VECTOR, lambda: kl.PReLU()),
    "Lambda": (SEQUENCE, lambda: kl.Lambda(lambda z: z[:, :2] * z[:, 1:3])),
    "Dropout": (SEQUENCE, lambda: kl.SpatialDropout1D(0.5)),
    "Masking": (SEQUENCE, lambda: kl.Masking()),
    "Resizing": (IMAGE, lambda: kl.Resizing(4, 4)),
    "custom": (SEQUENCE, Custom),
}


def run(shape, make, first):
    first = first()
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    model = keras.Model(inputs, make()(first(inputs)))
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    return model.output_shape, model(x), tf.function(model)(x)


@pytest.mark.parametrize(("shape", "make"), KERAS.values(), ids=KERAS.keys())
def test_a_layer_of_keras_takes_it_as_the_tensor(shape, make):
    ours, theirs = run(shape, make, distribution), run(shape, make, kl.Identity)
    assert ours[0] == theirs[0]
    for a, b in zip(ours[1:], theirs[1:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.one
@pytest.mark.parametrize(
    "mode", [{"run_eagerly": True}, {"jit_compile": False}, {"jit_compile": True}]
)
def test_it_trains(mode):
    model = keras.Sequential(
        [
            keras.Input(SEQUENCE),
            kl.Dense(3),
            distribution(),
            kl.Cropping1D(1),
            kl.LSTM(4),
            kl.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "mse", **mode)
    x = np.random.default_rng(0).normal(size=(16, *SEQUENCE)).astype("float32")
    losses = model.fit(x, x[:, 0, :1], epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def sliced(y, z):
    return tf.reduce_mean(tf.square(z[:, :2] - y[:, :2]), axis=-1)


class Sliced(keras.losses.Loss):
    def call(self, y, z):
        return sliced(y, z)


class SlicedMetric(keras.metrics.Mean):
    def update_state(self, y, z, sample_weight=None):
        return super().update_state(sliced(y, z))


@pytest.mark.parametrize(
    "use",
    [
        {"loss": sliced},
        {"loss": Sliced()},
        {"loss": "mse", "metrics": [sliced]},
        {"loss": "mse", "metrics": [SlicedMetric()]},
    ],
)
def test_a_loss_or_metric_that_slices(use):
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    y = np.zeros([4, 6], "float32")
    model = keras.Sequential([keras.Input((6,)), distribution()])
    model.compile("sgd", jit_compile=False, **use)
    np.testing.assert_allclose(
        model.evaluate(x, y, verbose=0, return_dict=True).popitem()[1],
        np.mean((x if "metrics" not in use and use["loss"] == "mse" else x[:, :2]) ** 2),
        rtol=1e-5,
    )


Z = np.arange(6.0, dtype="float32").reshape(3, 2)
INDICES = {
    "row": 0,
    "last row": -1,
    "slice": (slice(None), slice(None, 1)),
    "ellipsis": (..., 0),
    "new axis": (slice(None), None),
    "step": (slice(None, None, -1),),
    "tensor": (tf.constant(1),),
}


@pytest.mark.parametrize("index", INDICES.values(), ids=INDICES.keys())
def test_indices_are_those_of_the_tensor(index):
    np.testing.assert_array_equal(distribution()(Z)[index], tf.constant(Z)[index])


def test_python_asks_it_as_a_tensor():
    d = distribution()(Z)
    assert len(d) == 3
    np.testing.assert_array_equal([row.numpy() for row in d], Z)
    one = distribution()(np.float32([[2.0]]))
    for ask in (float, int, bool):
        assert ask(
            layers.DistributionLambda(lambda t: tfd.Normal(t[0, 0], 1.0), "mean")(one)
        ) == ask(2.0)
    assert tf.is_tensor(np.ones([3, 2], "float32") + d)


def test_the_distribution_is_sliced_under_a_name():
    d = distribution()(Z)
    np.testing.assert_allclose(d.at[1].log_prob(Z[1]), d.log_prob(Z)[1])
    assert isinstance(d.at[:, :1], tfd.Distribution)
