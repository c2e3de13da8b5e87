"""Losses that layers add: right whatever the objective weighs, and however often a network runs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import ELBO, VAE, layers, objectives, priors
from tfp_vae.bridge.side_effects import further_pass

tfd = tfp.distributions
X = np.random.default_rng(0).normal(size=[5, 3]).astype("float32")
GATED = {
    "dreg": lambda: objectives.IWAE(4, "dreg"),
    "dreg-groups": lambda: objectives.MIWAE(2, 2, "dreg"),
    "stl": lambda: objectives.MIWAE(3, 1, "stl"),
    "ciwae": lambda: objectives.CIWAE(4, 0.3, "dreg"),
    "piwae": lambda: objectives.PIWAE(2, 2),
    "piwae-alone": lambda: objectives.PIWAE(1, 3),
}
OTHERS = {"elbo": ELBO, "iwae": lambda: objectives.IWAE(3), "mmd": objectives.MMD}


@keras.saving.register_keras_serializable(package="tests")
class Adds(keras.layers.Layer):
    """Adds `weight * mean(x^2 + x)` to the losses."""

    def __init__(self, weight=1.0, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, x):
        self.add_loss(self.weight * tf.reduce_mean(tf.square(x) + x))
        return x


class AddingPrior(priors.Prior):
    """A unit normal whose density takes z through a layer that adds to the losses."""

    def __init__(self, weight=1.0, **kwargs):
        super().__init__(**kwargs)
        self.adds = Adds(weight)

    def distribution(self):
        shift = tfp.bijectors.Inline(
            forward_fn=lambda z: z,
            inverse_fn=self.adds,
            inverse_log_det_jacobian_fn=lambda z: tf.zeros([], z.dtype),
            forward_min_event_ndims=1,
        )
        return tfd.TransformedDistribution(priors.unit_normal(2), shift)


def adds_in_decoder(weight):
    return {"decoder": [Adds(weight)]}


def regularized_decoder(weight):
    dense = keras.layers.Dense(3, "tanh", activity_regularizer=keras.regularizers.L2(weight))
    return {"decoder": [dense]}


def regularized_likelihood(weight):
    return {"likelihood": {"activity_regularizer": keras.regularizers.L2(weight)}}


def adds_in_encoder(weight):
    return {"encoder": [Adds(weight)]}


def adds_in_both(weight):
    return {"encoder": [Adds(weight)], "decoder": [Adds(-2.0 * weight)]}


def shared(weight):
    layer = Adds(weight)
    return {"encoder": [keras.layers.Dense(2), layer], "decoder": [layer]}


def adds_in_prior(weight):
    return {"prior": AddingPrior(weight)}


def regularized_weights(weight):
    return {"decoder": [keras.layers.Dense(2, kernel_regularizer=keras.regularizers.L2(weight))]}


PLACES = [
    adds_in_decoder, regularized_decoder, regularized_likelihood, adds_in_encoder, adds_in_both,
    shared, adds_in_prior, regularized_weights,
]  # fmt: skip


def build(make, place, weight, dtype=None):
    keras.utils.set_random_seed(1)
    where = place(weight)
    encoder = keras.Sequential([
        keras.Input((3,)), keras.layers.Dense(3, "tanh"), *where.get("encoder", ()),
        keras.layers.Dense(4), layers.IndependentNormal(2, seed=3),
    ])  # fmt: skip
    decoder = keras.Sequential([
        keras.Input((2,)), *where.get("decoder", ()), keras.layers.Dense(6),
        layers.IndependentNormal(3, "mean", seed=4, **where.get("likelihood", {})),
    ])  # fmt: skip
    return VAE(encoder, decoder, objective=make(), prior=where.get("prior"))


def step(vae, x=X, sample_weight=None):
    """Loss and gradients of one training step, with the same draws each time."""
    vae.posterior_layer.seed_generator.state.assign([5, 6])

    def run(x):
        with tf.GradientTape() as tape:
            p = vae(x, training=True)
            loss = vae.compute_loss(x, None, p, sample_weight=sample_weight)
        return loss, tape.gradient(loss, vae.trainable_variables)

    return run


def gradients(run, x=X):
    loss, found = run(tf.constant(x))
    return loss, np.concatenate([np.ravel(tf.convert_to_tensor(g)) for g in found])


AGAIN = pytest.mark.again
SOME = ("dreg", "piwae")  # the others repeat them
CASES = [
    pytest.param(make, place, id=f"{name}-{place.__name__}",
                 marks=[] if name in SOME or place is adds_in_decoder else [AGAIN])
    for name, make in {**GATED, **OTHERS}.items() for place in PLACES
]  # fmt: skip


@pytest.mark.one
@pytest.mark.parametrize(("make", "place"), CASES)
def test_the_gradient_of_an_added_loss_is_that_without_a_gate(make, place):
    """What the loss adds to the gradient, against the same under an objective without a gate."""
    objective = make()
    plain = lambda: objectives.MIWAE(1, objective.num_samples)  # noqa: E731
    added = {}
    for name, of in (("itself", make), ("plain", plain)):
        without, with_it = (gradients(step(build(of, place, w))) for w in (0.0, 0.7))
        added[name] = [b - a for a, b in zip(without, with_it, strict=True)]
    np.testing.assert_allclose(added["itself"][0], added["plain"][0], rtol=1e-3, atol=1e-5)
    assert np.abs(added["plain"][1]).max() > 1e-3
    np.testing.assert_allclose(added["itself"][1], added["plain"][1], rtol=2e-3, atol=2e-5)


@pytest.mark.again
@pytest.mark.parametrize("jit", [False, True])
def test_graphs_and_xla_with_a_dynamic_batch_give_the_same(jit):
    """XLA draws numbers of its own: what the loss adds is compared within each."""
    spec = [tf.TensorSpec([None, 3])]

    def added(make):
        def run(weight):
            one = step(build(make, adds_in_decoder, weight))
            compiled = tf.function(one, jit_compile=jit, autograph=False, input_signature=spec)
            return gradients(compiled)[1]

        return run(0.7) - run(0.0)

    plain = added(lambda: objectives.MIWAE(1, 4))
    for name in ("dreg", "piwae"):
        np.testing.assert_allclose(added(GATED[name]), plain, rtol=2e-3, atol=2e-5)


def test_weights_of_examples_go_with_the_objective_alone():
    weights = tf.constant([0.0, 1.0, 2.0, 0.5, 0.0])
    make = GATED["dreg"]
    found = [
        gradients(step(build(make, adds_in_decoder, w), sample_weight=s))[1]
        for w, s in ((0.7, weights), (0.0, weights), (0.7, None), (0.0, None))
    ]
    np.testing.assert_allclose(found[0] - found[1], found[2] - found[3], rtol=2e-3, atol=1e-5)


def test_the_issue_in_numbers():
    """A layer that adds mean(z), z = mu + sigma eps: each example's mu has a gradient of 1 / n."""

    class Mean(keras.layers.Layer):
        def call(self, z):
            self.add_loss(1e5 * tf.reduce_mean(z))  # beside which all else is small
            return z

    for make in (*GATED.values(), *OTHERS.values()):
        vae = build(make, lambda weight: {"decoder": [Mean()]}, 1.0)
        bias = vae.encoder.layers[-2].bias
        _, slopes = step(vae)(tf.constant(X))
        slope = slopes[[w is bias for w in vae.trainable_weights].index(True)]
        np.testing.assert_allclose(slope[:2], [5e4, 5e4], rtol=0.01)


# -- a network that runs once more -----------------------------------------------------------------


def vamp(*inside, decoder=(), objective=None, inputs=4):
    keras.utils.set_random_seed(2)
    encoder = keras.Sequential([
        keras.Input((3,)), *inside, keras.layers.Dense(4), layers.IndependentNormal(2, seed=3),
    ])  # fmt: skip
    decoder = keras.Sequential([
        keras.Input((2,)), *decoder, keras.layers.Dense(6), layers.IndependentNormal(3, seed=4),
    ])  # fmt: skip
    u = np.random.default_rng(7).uniform(2.0, 3.0, [inputs, 3])
    return VAE(encoder, decoder, prior=priors.VampPrior(u, bounds=None), objective=objective)


def regularizer():
    return keras.layers.Dense(3, activity_regularizer=keras.regularizers.L2(0.3))


@pytest.mark.one
@pytest.mark.parametrize("inside", [lambda: Adds(0.4), regularizer,
                                    lambda: keras.Sequential([Adds(0.4)])])  # fmt: skip
@pytest.mark.parametrize("make", [ELBO, GATED["dreg"], OTHERS["iwae"]])
@pytest.mark.parametrize("training", [True, False])
def test_a_vamp_prior_adds_no_losses_and_takes_none_away(inside, make, training):
    vae = vamp(inside(), objective=make())
    p = vae(tf.constant(X), training=training)
    expected = sum(float(loss) for loss in vae.losses)
    assert expected != 0
    seen = []
    objective = vae.objective

    class Watched(type(objective)):
        def __call__(self, forward):
            seen.append(super().__call__(forward))
            return seen[-1]

    objective.__class__ = Watched
    loss = vae.compute_loss(X, None, p, training=training)
    added = float(loss) - float(tf.reduce_mean(seen[0].loss))
    assert added == pytest.approx(expected, rel=1e-3)
    assert len(vae.losses) == 1


def test_a_vamp_priors_gradient_has_that_of_the_added_loss_of_x_alone():
    found = []
    for weight in (0.0, 0.5):
        keras.utils.set_random_seed(1)
        vae = vamp(keras.layers.Dense(3), Adds(weight))
        found.append(step(vae)(tf.constant(X))[1])
    dense = vae.encoder.layers[0]
    with tf.GradientTape() as tape:
        h = dense(X)
        added = 0.5 * tf.reduce_mean(tf.square(h) + h)
    expected = tape.gradient(added, dense.trainable_weights)
    number = [w is dense.kernel for w in vae.trainable_weights].index(True)
    difference = found[1][number] - found[0][number]
    np.testing.assert_allclose(difference, expected[0], rtol=1e-3, atol=1e-3)


def test_a_vamp_prior_runs_in_the_mode_of_the_step():
    modes = []

    class Seen(keras.layers.Layer):
        def call(self, x, training=None):
            modes.append(training)
            return x

    vae = vamp(Seen())
    for training in (True, False):
        modes.clear()
        vae.compute_loss(X, None, vae(X, training=training), training=training)
        assert modes == [training, training]
    modes.clear()
    vae.sample(2)
    assert modes == [False]


def test_batch_normalization_is_of_the_pseudo_inputs_in_training_and_keeps_its_averages_of_x():
    vae = vamp(keras.layers.BatchNormalization(momentum=0.9))
    normalization = vae.encoder.layers[0]
    p = vae(X, training=True)
    vae.compute_loss(X, None, p)
    np.testing.assert_allclose(normalization.moving_mean, 0.1 * X.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(normalization.moving_variance, 0.9 + 0.1 * X.var(axis=0), rtol=1e-4)
    u = vae.prior.pseudo_inputs.numpy()
    found = vae.prior.at_step(True).components_distribution.mean()
    dense = vae.encoder.layers[1]
    normal = (u - u.mean(axis=0)) / np.sqrt(u.var(axis=0) + 1e-3)
    expected = normal @ dense.kernel.numpy() + dense.bias.numpy()
    np.testing.assert_allclose(found, expected[:, :2], rtol=1e-3, atol=1e-4)
    inference = vae.prior.distribution().components_distribution.mean()
    np.testing.assert_allclose(inference, vae.encode(u).mean(), rtol=1e-4)


def test_dropout_drops_in_the_second_pass_and_its_seeds_go_on():
    vae = vamp(keras.layers.Dropout(0.5, seed=3), inputs=200)
    seeds = vae.encoder.layers[0].seed_generator.state
    means, states = [], [seeds.numpy().tolist()]
    for _ in range(2):
        means.append(vae.prior.at_step(True).components_distribution.mean().numpy())
        states.append(seeds.numpy().tolist())
    assert np.abs(means[0] - means[1]).max() > 0.1
    assert states[0] != states[1] != states[2]


@pytest.mark.again
def test_the_second_pass_trains_in_a_compiled_fit_and_reloads(tmp_path):
    vae = vamp(Adds(0.4), keras.layers.BatchNormalization(), keras.layers.Dropout(0.1))
    vae.compile(keras.optimizers.Adam(0.01))
    vae.fit(np.tile(X, (8, 1)), batch_size=16, epochs=2, verbose=0)
    vae.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", custom_objects={"Adds": Adds})
    np.testing.assert_allclose(*(v.evaluate(X, verbose=0) for v in (vae, again)), rtol=1e-5)


def test_a_vamp_prior_in_the_encoders_own_kl_is_refused_in_words():
    prior = priors.VampPrior(3)
    x = keras.Input((3,))
    q = layers.IndependentNormal(2)(keras.layers.Dense(4)(x))
    encoder = keras.Model(x, layers.KLDivergenceAddLoss(prior)(q))
    decoder = vamp().decoder
    with pytest.raises(ValueError, match=r"runs the encoder.*without a KL term.*Received"):
        VAE(encoder, decoder)


def test_the_gradient_penalty_decodes_once_more_without_a_trace():
    keras.utils.set_random_seed(2)
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), layers.Deterministic(2)])
    decoder = keras.Sequential([
        keras.Input((2,)), Adds(0.4), keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.Dense(6), layers.IndependentNormal(3),
    ])  # fmt: skip
    found = {}
    for penalty in (0.0, 0.1):
        decoder.layers[1].moving_mean.assign([0.0, 0.0])
        objective = objectives.RegularizedAE(gradient_penalty=penalty)
        vae = VAE(encoder, decoder, objective=objective)
        p = vae(X, training=True)
        kept = list(vae.losses)
        vae.compute_loss(X, None, p)
        assert [a is b for a, b in zip(kept, vae.losses, strict=True)] == [True]
        found[penalty] = decoder.layers[1].moving_mean.numpy()
    np.testing.assert_allclose(found[0.1], found[0.0], rtol=1e-6)
    assert np.abs(found[0.0]).max() > 0


def test_a_pass_within_a_stateless_call_sees_its_values():
    layer = keras.layers.Dense(1, use_bias=False)
    layer.build((None, 1))
    with keras.StatelessScope([(layer.kernel, tf.constant([[7.0]]))]):
        with further_pass(layer):
            assert float(layer(tf.ones([1, 1]))[0, 0]) == 7.0
        layer.kernel.assign([[8.0]])
        assert float(layer(tf.ones([1, 1]))[0, 0]) == 8.0


def test_priors_with_networks_are_told_of_training():
    class Told(priors.Prior):
        def distribution(self, training=None):
            self.seen = training
            return priors.unit_normal(2)

    seen = []

    def told(training=None):
        seen.append(training)
        return priors.unit_normal(2)

    class Layer(keras.layers.Layer):
        def call(self, x, training=None):
            seen.append(training)
            return layers.IndependentNormal(2)(tf.zeros([4]))

    given = Told()
    for prior in (given, told, lambda: priors.unit_normal(2)):
        vae = build(ELBO, lambda weight, prior=prior: {"prior": prior}, 1.0)
        vae.compute_loss(X, None, vae(X, training=True))
    assert given.seen is True
    assert seen == [None, True]  # the model looks at its shape when it is made
    network = keras.Sequential([
        layers.VariableLayer([200]), keras.layers.Dropout(0.5), keras.layers.Rescaling(1.0),
        layers.IndependentNormal(100),
    ])  # fmt: skip
    prior = priors.as_prior(network) if hasattr(priors, "as_prior") else None
    if prior is not None:
        network.layers[0].weights[0].assign(tf.ones([200]))
        zero = [bool((prior.at_step(mode).mean() == 0).numpy().any()) for mode in (True, False)]
        assert zero == [True, False]


@pytest.mark.parametrize("posterior", [layers.RelaxedOneHotCategorical, layers.Gamma])
@pytest.mark.parametrize("name", ["dreg", "piwae"])
def test_a_loss_of_nothing_changes_no_gradient_of_z_that_carries_its_logarithm(posterior, name):
    x = (X > 0).astype("float32")
    found = []
    for weight in (None, 0.0):
        keras.utils.set_random_seed(1)
        last = posterior(3)
        encoder = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(last.num_parameters), last]
        )
        added = [] if weight is None else [Adds(weight)]
        decoder = keras.Sequential(
            [keras.Input((3,)), *added, keras.layers.Dense(3), layers.IndependentBernoulli(3)]
        )
        vae = VAE(encoder, decoder, objective=GATED[name]())
        keras.utils.set_random_seed(2)
        with tf.GradientTape() as tape, vae._drawing(vae.objective.num_samples):
            loss = vae.compute_loss(x, y_pred=vae(x, training=True))
        found.append(tape.gradient(loss, encoder.trainable_weights[0].value))
    assert np.abs(found[0]).max() > 0.01
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)
