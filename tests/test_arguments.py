"""Arguments of constructors and methods: each is held against the rule of its name, before work."""

import inspect
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import small_networks
from tensorflow_probability import distributions as tfd

import tfp_vae
from tfp_vae import VAE, InputError, data, layers, networks, objectives, priors, schedules
from tfp_vae.arguments import rules
from tfp_vae.arguments.rules import RULES

NAN = float("nan")
NOT_INTEGERS = [0, -1, 2.5, NAN, "3", True, [1, 2], int, b"3", 1j]
NOT_NUMBERS = [NAN, np.inf, "a", True, [0.5, 0.5], float, np.zeros(2), 1j]
# What is wrong by each rule; None too, where it is not the default.
BAD = {
    RULES["units"]: NOT_INTEGERS,
    RULES["done"]: [-1, 0.5, "3", True],
    RULES["event_shape"]: [2.5, 0, -1, (0,), (8, -1), [2.5], "8", NAN, True, {3}, np.ones([2, 2])],
    RULES["widths"]: [64, [64, 2.5], [0], "64", ["64"]],
    RULES["end"]: NOT_NUMBERS,
    RULES["scale"]: [*NOT_NUMBERS, 0.0, -1],
    RULES["jitter"]: [*NOT_NUMBERS, -1],
    RULES["decay"]: [*NOT_NUMBERS, -0.1, 1.1],
    RULES["beta"]: [*NOT_NUMBERS, -1, schedules.Cyclical],
    RULES["capacity"]: [*NOT_NUMBERS[:4], -1, [1.0, -1.0], [1.0, "a"], []],
    RULES["temperature"]: [*NOT_NUMBERS, 0.0, -1, schedules.Cyclical],
    RULES["validate_args"]: ["yes", 2, 0.5, NAN, []],
    RULES["seed"]: [-1, 0.5, "3", True, 2**32, NAN],
    RULES["prior"]: [tfd.Normal, priors.MixturePrior, objectives.ELBO, keras.Sequential],
    RULES["objective"]: ["elbo", objectives.ELBO, 1.0, lambda forward: forward],
    RULES["input_shape"]: [8, "8", (0,), (None, 3), (2.5,)],
    RULES["images"]: ["digits", 3, [[1, 2], [3]], ["a"], np.array([{}])],
    RULES["make_distribution_fn"]: [3, "normal", layers.IndependentNormal, tfd.Normal(0.0, 1.0)],
    RULES["likelihood"]: [8, "normal", layers.IndependentNormal, tfd.Normal(0.0, 1.0)],
    RULES["posterior"]: [0, 2.5, True, "normal", layers.IndependentNormal],
    RULES["posteriors"]: [layers.IndependentNormal(2), [layers.IndependentNormal], [2, 3], "ab"],
    RULES["body"]: ["cnn", "MLP", 3, ["mlp"]],
    RULES["binarize"]: ["yes", True, 0.5],
    RULES["steps"]: [*NOT_NUMBERS, 0, -1],
    RULES["rise"]: [*NOT_NUMBERS, 0, 1.5],
    RULES["inverse_temperature"]: [*NOT_NUMBERS, 0, 1.5],
    RULES["name_or_path"]: [3, np.zeros([4, 2]), ["digits"], b"digits"],
}
# Keras, TFP or the class itself says what these may be.
FREE = {
    "self", "kwargs", "args", "name", "dtype", "activation", "activity_regularizer", "trainable",
    "initializer", "regularizer", "constraint", "initializers", "sizes", "shape", "padding",
    "data_format", "convert_to_tensor_fn", "sample_dtype", "family", "kind", "low", "high",
    "capacity_of", "estimator", "sampling", "test_points_fn", "test_points_reduce_axis", "mean_fn",
    "made", "network", "kernel_provider", "layer", "data_init", "conditions", "bounds",
    "pseudo_inputs", "reduction",
    "input_order", "hidden_degrees", "conditional_event_shape", "conditional_input_layers", "vae",
    "inducing_index_points_initializer", "variational_inducing_observations_scale_initializer",
    "unconstrained_observation_noise_variance_initializer", "save", "scales", "bases", "make",
    "first", "given", "labels", "data_dir", "x", "latents", "observed", "features", "critic",
    "metric", "model", "every", "players", "names", "recurrent", "direction", "unknown", "takes",
    "categories", "num_reals", "reals",
}  # fmt: skip


# What the package makes, and a table of variables, which the model looks at itself.
NO_CHOICES = (objectives.Forward, objectives.ForwardPass, objectives.Term)


def public():
    """What users construct or call, by name, where the constructor is the package's own."""
    found = [networks.encoder, networks.decoder, schedules.warm_up, VAE.sample]
    found += [data.load, data.binarized, data.training_images, data.batches]
    for space in (tfp_vae, layers, objectives, priors, schedules):
        for value in vars(space).values():
            constructor = getattr(value, "__init__", None) if inspect.isclass(value) else None
            ours = getattr(constructor, "__module__", "").startswith("tfp_vae")
            if ours and value not in (InputError, *NO_CHOICES) and not inspect.isabstract(value):
                found.append(value)
    return {value.__qualname__: value for value in found}


PUBLIC = public()


def arguments_of(function):
    return inspect.signature(
        function.__init__ if inspect.isclass(function) else function
    ).parameters


def rule_of(name, argument):
    if (name, argument) == ("load", "name"):
        return RULES["name_or_path"]
    if (name, argument) == ("VAE.sample", "num_samples"):
        return RULES["done"]
    if (name, argument) == ("AutoregressiveCodes", "hidden_units"):
        return RULES["units"]
    return RULES.get(argument)


PAIRS = [(n, a) for n, f in PUBLIC.items() for a in arguments_of(f) if rule_of(n, a) is not None]


def test_there_is_a_rule_for_each_argument():
    without = {
        (name, argument)
        for name, function in PUBLIC.items()
        for argument, parameter in arguments_of(function).items()
        if rule_of(name, argument) is None and argument not in FREE
        if parameter.kind is not parameter.VAR_KEYWORD
        and not any(p.startswith(argument) for p in ("kernel_", "bias_"))
        and not argument.endswith(("_fn", "_initializer", "_regularizer", "_constraint"))
    }
    assert not without
    assert len(PAIRS) > 150
    assert {rule_of(*pair) for pair in PAIRS} <= set(BAD)


@pytest.mark.parametrize(("name", "argument"), PAIRS)
def test_what_is_wrong_by_the_rule_is_refused(name, argument):
    function = PUBLIC[name]
    first = [None] if name == "VAE.sample" else []
    parameter = arguments_of(function)[argument]
    optional = parameter.default is None or "None" in str(parameter.annotation)
    bad = BAD[rule_of(name, argument)]
    for value in bad if optional else [*bad, None]:
        with pytest.raises(InputError, match=rf"expected {argument} .*Received: ") as refused:
            function(*first, **{argument: value})
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 600


GOOD = {
    "units": [1, np.int64(3), np.array(3), tf.constant(3), tf.Variable(3), 2**40],
    "min_scale": [0, 1e-6],
    "free_bits": [0.5, [2.0, 2.0], np.array([1.0, 2.0])],
    "event_shape": [1, range(2, 4), (), [], (8, 8, 1), np.int32(3), np.array([2, 3]), np.array([]),
                    tf.TensorShape([2, 3]), tf.constant([2, 3]), tf.TensorShape([])],
    "widths": [(64,), [64, 32], (), np.array([3, 4])],
    "scale": [1, 1e-12, np.float32(0.5), tf.constant(2.0)],
    "beta": [0, 1, 0.5, np.float64(2), np.array(1.0), tf.Variable(1.0), keras.Variable(1.0),
             schedules.warm_up(10), lambda step: step],
    "capacity": [0, schedules.warm_up(10), [1.0, schedules.warm_up(3)]],
    "temperature": [0.5, keras.Variable(1.0, trainable=False), schedules.warm_up(10)],
    "validate_args": [True, False, np.True_, 0, 1],
    "seed": [0, 7, np.int64(7), 2**32 - 1],
    "prior": [tfd.Normal(0.0, 1.0), lambda: tfd.Normal(0.0, 1.0), 3],
    "make_distribution_fn": [tfd.Normal, lambda t: t],
    "name_or_path": ["digits", pathlib.Path("x.npy")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in GOOD.items() for value in values]
)
def test_what_is_right_by_the_rule_is_taken(name, value):
    assert RULES[name].holds(value)


def test_a_symbolic_scalar_is_taken():
    taken = []

    @tf.function
    def trace(value):
        taken.append([RULES[name].holds(value) for name in ("beta", "temperature")])
        return value

    trace(tf.constant(1.0))
    assert taken == [[True, True]]


def test_the_signature_is_the_functions_own():
    assert next(iter(inspect.signature(objectives.ELBO).parameters)) == "beta"
    assert inspect.getfullargspec(layers.IndependentNormal.__init__).args[1] == "event_shape"


@pytest.mark.parametrize(
    ("call", "message"),
    {
        "a class for the prior": (
            lambda: VAE(*small_networks(), prior=tfd.Normal),
            "VAE: expected prior to be an object. Received: the class Normal, not an instance",
        ),
        "a class for a network": (lambda: VAE(keras.Sequential, None), "VAE: expected encoder"),
        "parameters of a wrong shape": (
            lambda: layers.IndependentNormal.params_size(2.5),
            r"IndependentNormal\.params_size: expected event_shape",
        ),
        "the parent's argument, by the leaf's name": (
            lambda: layers.IndependentNormal(-1),
            r"IndependentNormal: expected event_shape .* Received: -1",
        ),
        "an objective": (lambda: objectives.IWAE(2.5), "IWAE: expected num_samples >= 1, an int"),
        "a function": (lambda: networks.encoder((8,), 2, widths=64), r"encoder: .*\[64, 64\]"),
        "a long value": (
            lambda: layers.IndependentNormal([2.5] * 9999),
            r"\.\.\. \(49,995 characters\)$",
        ),
    }.values(),
    ids=lambda value: None,
)
def test_what_the_message_says(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.fixture(scope="module")
def vae():
    return VAE(*small_networks())


@pytest.fixture(scope="module")
def counts():
    """A VAE for each likelihood over whole numbers."""
    likelihoods = {
        "poisson": (layers.IndependentPoisson(3), 3),
        "negative binomial": (layers.NegativeBinomial(3), 6),
        "zero-inflated": (layers.ZeroInflatedNegativeBinomial(3), 9),
        "categorical": (layers.Categorical(3, 4), 12),
        "quantized": (layers.QuantizedLogisticMixture(3, 1), None),
    }
    found = {}
    for name, (layer, _) in likelihoods.items():
        encoder = networks.encoder((3,), 2, widths=(4,))
        found[name] = VAE(encoder, networks.decoder(2, layer, widths=(4,)))
    return found


@pytest.mark.parametrize(
    "likelihood", ["poisson", "negative binomial", "zero-inflated", "categorical", "quantized"]
)
def test_fractions_are_no_counts(counts, likelihood):
    model = counts[likelihood]
    model.check(np.array([[0, 1, 2.0]]))
    with pytest.raises(InputError, match=r"whole numbers in x.*Received: 2 of 3 .* such as 0\.5"):
        model.check(np.array([[0.5, 1, 1.25]]))
    model.compile("adam")
    with pytest.raises(InputError, match="whole numbers in the targets of x"):
        model.fit(np.ones([4, 3]), np.full([4, 3], 0.5), verbose=0)


@pytest.mark.parametrize("z", [np.zeros(2), np.zeros([3, 3]), np.zeros([1, 3, 2]), 0.5])
def test_z_of_another_shape(vae, z):
    with pytest.raises(InputError, match=r"Expected z of shape \(batch, 2\)\. Received: [(0]"):
        vae.decode(z)


def test_no_rows_and_the_largest_seed(vae):
    assert vae.sample(0).shape == (0, 8, 8, 1)
    assert np.isfinite(vae.sample(2, seed=2**32 - 1)).all()
    assert networks.encoder((4,), np.int64(3), widths=range(3, 5)).output_shape == (None, 3)


@pytest.mark.parametrize("count", [-1, "3", 2.5, None])
def test_impossible_numbers_of_new_rows(vae, count):
    with pytest.raises(InputError, match=r"^VAE\.sample: expected num_samples >= 0"):
        vae.sample(count)


def test_files_by_path_and_what_is_wrong_with_them(tmp_path):
    path = tmp_path / "rows.npy"
    rows = np.random.default_rng(0).normal(size=[20, 3])
    np.save(path, rows)
    assert data.load(path).train.shape == (18, 3)
    rows[:2, 1] = np.inf
    np.save(path, rows)
    with pytest.raises(InputError, match=r"finite numbers in .*rows\.npy.* 2 of 20 rows with inf"):
        data.load(path)
    with pytest.raises(
        InputError, match=r"arrays as they are.*Received: an array of float64, shape"
    ):
        data.load(rows)


def in_a_layer(layer):
    return lambda: keras.Sequential([keras.Input((5,)), layer])


@pytest.mark.parametrize(
    "call",
    [
        in_a_layer(layers.IndependentNormal(2)),
        lambda: layers.IndependentNormal(2)(np.zeros([3, 5])),
        lambda: keras.Model(x := keras.Input((5,)), layers.IndependentNormal(2)(x)),
        lambda: VAE(*small_networks()).encode(np.zeros([3, 5])),
        lambda: VAE(*small_networks()).fit(np.zeros([3, 5])),
    ],
)
def test_our_message_is_the_last_line(call):
    with pytest.raises(InputError) as refused:
        call()
    assert "\n" not in str(refused.value)
    assert rules.InputError is InputError
