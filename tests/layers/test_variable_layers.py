"""VariableLayer, BlockwiseInitializer and WeightNorm."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from conftest import python

from tfp_vae import layers
from tfp_vae.errors import InputError

tfd = tfp.distributions


def standard_normals(shape=(4, 2), **kwargs):
    """The example of TFP's documentation: a trainable Normal without inputs."""
    initializer = layers.BlockwiseInitializer(
        ["zeros", keras.initializers.Constant(np.log(np.expm1(1.0)))], sizes=[1, 1]
    )
    return layers.VariableLayer(shape=shape, initializer=initializer, **kwargs)


@keras.saving.register_keras_serializable(package="tests")
def normals(t):
    each = tfd.Normal(loc=t[..., 0], scale=tf.math.softplus(t[..., 1]))
    return tfd.Independent(each, reinterpreted_batch_ndims=1)


@pytest.mark.parametrize(("shape", "expected"), [(3, [3]), ([3, 2], [3, 2]), (np.array([2]), [2])])
@pytest.mark.parametrize(
    "x", [0.0, 1, tf.zeros([]), np.zeros([5, 0]), tf.ones([7, 3]), np.ones([2], "int32")]
)
def test_a_variable_whatever_the_input(shape, expected, x):
    layer = layers.VariableLayer(shape, initializer="ones", activation="softplus")
    assert [weight.shape for weight in layer.trainable_weights] == [tuple(expected)]
    np.testing.assert_allclose(layer(x), np.full(expected, np.log1p(np.e)), rtol=1e-6)


@pytest.mark.parametrize("first", [[], [keras.Input((0,))]], ids=["plain", "input"])
@pytest.mark.parametrize("dtype", ["float32", "float64", tf.float64])
def test_a_distribution_without_inputs(first, dtype):
    model = keras.Sequential(
        [*first, standard_normals(dtype=dtype), layers.DistributionLambda(normals, dtype=dtype)]
    )
    d = model(np.zeros([1, 0]))
    assert d.dtype == dtype
    assert (d.batch_shape, d.event_shape) == ([], [4])
    np.testing.assert_allclose(d.log_prob(np.zeros(4)), -2 * np.log(2 * np.pi), rtol=1e-6)


def test_a_distribution_without_inputs_is_fitted():
    model = keras.Sequential([standard_normals(), layers.DistributionLambda(normals)])
    data = np.random.default_rng(0).normal(3.0, 2.0, size=(64, 4))
    y = np.tile(data, (150, 1))
    model.compile(keras.optimizers.Adam(0.1), loss=lambda y, rv: -rv.log_prob(y), jit_compile=False)
    model.fit(np.zeros([len(y), 0]), y, batch_size=64, epochs=2, verbose=0, shuffle=False)
    d = model(np.zeros([1, 0]))
    np.testing.assert_allclose(d.mean(), data.mean(axis=0), atol=0.01)
    np.testing.assert_allclose(d.stddev(), data.std(axis=0), atol=0.01)


def test_the_output_spec_of_a_variable_is_its_shape():
    layer = layers.VariableLayer([3, 2], dtype="float64")
    spec = layer(keras.Input((5,)))
    assert (spec.shape, spec.dtype) == ((3, 2), "float64")


def test_a_variable_stays_in_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    assert layers.VariableLayer(2)(0.0).dtype == tf.float32


def test_a_variable_is_regularized_constrained_and_frozen():
    layer = layers.VariableLayer(
        3, initializer="ones", regularizer="l2", constraint="non_neg", trainable=False
    )
    layer(0.0)
    assert layer.trainable_weights == []
    layer.trainable = True
    np.testing.assert_allclose(layer.losses, [0.03], rtol=1e-6)
    assert isinstance(layer.constant.constraint, keras.constraints.NonNeg)
    again = layers.VariableLayer.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_blocks_are_filled_each_by_its_own():
    constant = keras.initializers.Constant(0.5)
    initializer = layers.BlockwiseInitializer(["zeros", constant, "random_normal"], (2, 1, 3))
    values = np.asarray(initializer((7, 6), dtype="float64"))
    assert values.dtype == "float64"
    np.testing.assert_array_equal(values[:, :2], np.zeros((7, 2)))
    np.testing.assert_array_equal(values[:, 2:3], np.full((7, 1), 0.5))
    assert values[:, 3:].std() > 0
    again = layers.BlockwiseInitializer.from_config(initializer.get_config())
    assert again.get_config() == initializer.get_config()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(initializer))
    np.testing.assert_array_equal(again((7, 6))[:, :3], values[:, :3])
    dense = keras.layers.Dense(6, kernel_initializer=initializer)
    dense.build((None, 7))
    np.testing.assert_array_equal(dense.kernel[:, :3], values[:, :3])


ERRORS = {
    "widths": lambda: layers.BlockwiseInitializer(["zeros", "ones"], [2, 1])((5, 4)),
    "no axis": lambda: layers.BlockwiseInitializer(["zeros"], [1])(()),
    "counts": lambda: layers.BlockwiseInitializer(["zeros", "ones"], [2]),
    "none": lambda: layers.BlockwiseInitializer([], []),
    "matrix": lambda: layers.VariableLayer([[2]]),
    "fraction": lambda: layers.VariableLayer(2.5),
    "no kernel": lambda: layers.WeightNorm(keras.layers.Flatten())(np.ones([2, 3])),
    "embedding": lambda: layers.WeightNorm(keras.layers.Embedding(3, 4))(np.ones([2, 3])),
    "depthwise": lambda: layers.WeightNorm(keras.layers.DepthwiseConv2D(2))(np.ones([2, 4, 4, 3])),
}


@pytest.mark.parametrize("make", ERRORS.values(), ids=ERRORS.keys())
def test_what_cannot_be_used_is_refused_in_words(make):
    with pytest.raises(InputError, match=r"(?s)[Ee]xpected .* Received: "):
        make()


# WeightNorm: (the wrapped layer, given arguments; the shape of one input).
WRAPPED = {
    "dense": (keras.layers.Dense, (3,), (5,)),
    "dense-sequence": (keras.layers.Dense, (3,), (2, 5)),
    "conv1d": (keras.layers.Conv1D, (3, 2), (6, 2)),
    "conv2d": (keras.layers.Conv2D, (3, 2), (5, 4, 2)),
    "conv3d": (keras.layers.Conv3D, (3, 2), (3, 3, 3, 2)),
    "transposed1d": (keras.layers.Conv1DTranspose, (3, 2, 2), (6, 2)),
    "transposed2d": (keras.layers.Conv2DTranspose, (3, 2, 2), (5, 4, 2)),
    "transposed3d": (keras.layers.Conv3DTranspose, (3, 2), (3, 3, 3, 2)),
}
EVERY = pytest.mark.parametrize(("kind", "arguments", "shape"), WRAPPED.values(), ids=WRAPPED)


def batch(shape, n=32):
    return np.random.default_rng(0).normal(1.0, 2.0, size=(n, *shape)).astype("float32")


def effective_kernel(norm):
    """g v / ||v||, in float64."""
    v, g = norm.layer.kernel.numpy().astype("float64"), norm.g.numpy().astype("float64")
    if "Transpose" in type(norm.layer).__name__:
        length = np.sqrt((v**2).sum(axis=(*range(v.ndim - 2), v.ndim - 1), keepdims=True))
        return v / length * g[:, None]
    return v / np.sqrt((v**2).sum(axis=tuple(range(v.ndim - 1)), keepdims=True)) * g


@EVERY
@pytest.mark.parametrize("data_init", [True, False])
def test_computes_with_the_normalized_kernel(kind, arguments, shape, data_init):
    norm, x = layers.WeightNorm(kind(*arguments, activation="relu"), data_init), batch(shape)
    norm(x)
    rng = np.random.default_rng(1)
    for weight in norm.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    plain = kind(*arguments, activation="relu")
    plain.build(x.shape)
    plain.set_weights([effective_kernel(norm), norm.layer.bias.numpy()])
    np.testing.assert_allclose(norm(x), plain(x), rtol=1e-4, atol=1e-5)
    assert len(norm.trainable_weights) == 3


@pytest.mark.one
@EVERY
@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_the_first_batch_has_mean_0_and_variance_1(kind, arguments, shape, mode):
    if mode == "xla" and kind not in (keras.layers.Dense, keras.layers.Conv2DTranspose):
        pytest.skip("slow; Dense and Conv2DTranspose speak for the others")
    norm, x = layers.WeightNorm(kind(*arguments, activation="relu")), batch(shape)
    call = norm if mode == "eager" else tf.function(lambda x: norm(x), jit_compile=mode == "xla")
    if mode != "eager":
        norm.build(x.shape)
        assert not norm.initialized.numpy()
    y = call(x)
    assert norm.initialized.numpy()
    linear = kind(*arguments)
    linear.build(x.shape)
    linear.set_weights([effective_kernel(norm), norm.layer.bias.numpy()])
    before_activation = linear(x).numpy().astype("float64").reshape(-1, 3)
    np.testing.assert_allclose(before_activation.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(before_activation.var(axis=0), 1, rtol=1e-4)
    np.testing.assert_allclose(y, np.maximum(linear(x), 0), rtol=1e-4, atol=1e-5)
    weights = norm.get_weights()
    call(10 * x)
    for a, b in zip(weights, norm.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@EVERY
def test_without_data_the_output_is_unchanged(kind, arguments, shape):
    layer, x = kind(*arguments), batch(shape)
    expected = layer(x)
    np.testing.assert_allclose(layers.WeightNorm(layer, False)(x), expected, rtol=1e-5, atol=1e-6)


def test_gradients_reach_direction_and_length_alone():
    norm, x = layers.WeightNorm(keras.layers.Dense(3)), batch((5,))
    norm(x)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.sin(norm(x)))
    by_g, by_v, by_bias = tape.gradient(loss, [w.value for w in norm.trainable_weights])
    assert all((part.numpy() != 0).all() for part in (by_g, by_v, by_bias))
    # The length of v changes nothing: the gradient is orthogonal to v in every column.
    along = (by_v.numpy() * norm.layer.kernel.numpy()).sum(axis=0)
    np.testing.assert_allclose(along, 0, atol=1e-3)


def test_without_a_bias_only_the_variance_is_set():
    norm, x = layers.WeightNorm(keras.layers.Conv1D(3, 2, use_bias=False)), batch((6, 2))
    y = norm(x).numpy().reshape(-1, 3)
    np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-4)
    assert len(norm.trainable_weights) == 2


def test_a_batch_without_variance_keeps_the_length():
    norm = layers.WeightNorm(keras.layers.Dense(3))
    y = norm(np.full([4, 5], 3.0))
    np.testing.assert_array_equal(norm.g, np.ones(3))
    np.testing.assert_allclose(y, 0, atol=1e-5)


@pytest.mark.again
@pytest.mark.parametrize("mode", [{"jit_compile": True}, {"run_eagerly": True}, {}])
def test_the_first_step_of_fit_initializes(mode):
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.WeightNorm(keras.layers.Dense(4, "relu")),
            layers.WeightNorm(keras.layers.Dense(1), data_init=True),
        ]
    )
    assert not any(layer.initialized.numpy() for layer in model.layers)
    model.compile(keras.optimizers.Adam(0.05), "mse", **mode)
    x = batch((5,))
    losses = model.fit(x, x[:, :1], batch_size=12, epochs=10, verbose=0).history["loss"]
    assert all(layer.initialized.numpy() for layer in model.layers)
    assert losses[-1] < losses[0]


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.layer = layers.WeightNorm(keras.layers.Dense(3, "relu"))

    def call(self, x):
        return self.layer(self.layer(x)[..., :3])


def test_a_symbolic_call_initializes_nothing():
    model = Subclassed()
    for _ in range(2):  # the first one builds
        assert model(keras.Input((3,))).shape == (None, 3)
        assert not model.layer.initialized.numpy()
    model(batch((3,)))
    assert model.layer.initialized.numpy()


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_weight_norm_in_other_dtypes(policy):
    keras.config.set_dtype_policy(policy)
    norm = layers.WeightNorm(keras.layers.Dense(3))
    y = norm(batch((5,), 500))
    assert y.dtype == norm.layer.compute_dtype
    assert norm.g.dtype == norm.layer.variable_dtype
    np.testing.assert_allclose(np.var(y, axis=0, dtype="float64"), 1, rtol=0.01)


def test_regularizers_of_the_wrapped_layer_count():
    wrapped = keras.layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l2")
    norm, x = layers.WeightNorm(wrapped), batch((5,))
    y = norm(x)
    v = wrapped.kernel.numpy()
    identity = keras.layers.Activation("linear", activity_regularizer="l2")
    identity(y)  # a sum, which some versions of Keras divide by the batch size
    expected = [0.01 * (v**2).sum(), *identity.losses]
    np.testing.assert_allclose(sorted(norm.losses), sorted(expected), rtol=1e-5)


def test_a_frozen_layer_stays_as_it_is():
    norm, x = layers.WeightNorm(keras.layers.Dense(3), False, trainable=False), batch((5,))
    assert norm(x).shape == (32, 3)
    assert norm.trainable_weights == []
    np.testing.assert_allclose(norm(x), x @ norm.layer.kernel.numpy(), rtol=1e-4, atol=1e-5)


def models():
    """One model with each of the three, and inputs for it."""
    x = batch((6, 6, 2), 8)
    body = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.WeightNorm(keras.layers.Conv2D(3, 2, activation="relu")),
            layers.WeightNorm(keras.layers.Conv2DTranspose(3, 2), data_init=False),
            keras.layers.Flatten(),
            layers.WeightNorm(keras.layers.Dense(4)),
        ]
    )
    body(x)
    alone = keras.Sequential(
        [keras.Input((0,)), standard_normals(), layers.DistributionLambda(normals, "mean")]
    )
    return {"body": (body, x), "alone": (alone, np.zeros([2, 0], "float32"))}


@pytest.mark.parametrize("name", ["body", "alone"])
def test_a_cloned_model_computes_the_same(name):
    model, x = models()[name]
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    np.testing.assert_array_equal(np.asarray(clone(x)), np.asarray(model(x)))


@pytest.mark.again
def test_models_reload_and_serve_in_a_fresh_process(tmp_path):
    for name, (model, x) in models().items():
        model.save(tmp_path / f"{name}.keras")
        model.export(tmp_path / name, verbose=False)
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.asarray(model(x)))
    code = f"""
import sys
sys.path[:0] = ["tests/layers", "tests"]
import keras, numpy as np, tensorflow as tf, test_variable_layers
for name in ("body", "alone"):
    known = np.load(f"{tmp_path}/{{name}}.npz")
    model = keras.models.load_model(f"{tmp_path}/{{name}}.keras", safe_mode=True)
    model(10 * known["x"])  # an initialized layer is not initialized again
    np.testing.assert_allclose(np.asarray(model(known["x"])), known["y"], rtol=1e-6, atol=1e-6)
    served = tf.saved_model.load(f"{tmp_path}/{{name}}")
    y = served.serve(tf.constant(known["x"]))
    np.testing.assert_allclose(y, known["y"], rtol=1e-5, atol=1e-5)
    print(name)
"""
    assert python(code).split() == ["body", "alone"]
