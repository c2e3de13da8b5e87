"""Models with conditions beside x and z: what they take, in any structure, and what they refuse."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import small_networks

from tfp_vae import ELBO, IWAE, VAE, InputError, layers, networks, priors
from tfp_vae.evaluation import estimates


def encoder_of(structure, names=("x", "label", "side")):
    """From x `[3]`, a label of 5 and a side input `[2]` to a Normal of 2, in some structure."""
    x, side = keras.Input((3,), name=names[0]), keras.Input((2,), name=names[2])
    label = keras.Input((), dtype="int32", name=names[1])
    one_hot = keras.layers.CategoryEncoding(5, output_mode="one_hot")
    joined = keras.layers.Concatenate()([x, one_hot(label), side])
    inputs = structure(x, label, side)
    return keras.Model(inputs, layers.IndependentNormal(2)(keras.layers.Dense(4)(joined)))


def decoder_of(names=("z", "label", "side"), order=(0, 1, 2)):
    z, side = keras.Input((2,), name=names[0]), keras.Input((2,), name=names[2])
    label = keras.Input((), dtype="int32", name=names[1])
    one_hot = keras.layers.CategoryEncoding(5, output_mode="one_hot")
    joined = keras.layers.Concatenate()([z, one_hot(label), side])
    end = layers.IndependentNormal(3)(keras.layers.Dense(6)(joined))
    return keras.Model([(z, label, side)[i] for i in order], end)


STRUCTURES = {
    "list": lambda x, label, side: [x, label, side],
    "dict": lambda x, label, side: {"side": side, "label": label, "x": x},
    "nested": lambda x, label, side: {"x": x, "more": {"label": label, "side": side}},
}
RNG = np.random.default_rng(0)
X = RNG.normal(size=[12, 3]).astype("float32")
LABEL = RNG.integers(0, 5, 12).astype("int32")
SIDE = RNG.normal(size=[12, 2]).astype("float32")
GIVEN = {"x": X, "label": LABEL, "side": SIDE}


def tensors(*arrays):
    """Keras mixes no arrays with tensors in one call."""
    return [tf.constant(array) for array in arrays]


@pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES.keys())
@pytest.mark.parametrize("listed", [True, False], ids=["list", "dict"])
def test_x_and_the_conditions_are_found_in_any_structure(structure, listed):
    vae = VAE(encoder_of(structure), decoder_of(order=(2, 0, 1)))
    given = [X, *(GIVEN[name] for name in vae.wiring.conditions)] if listed else GIVEN
    own = structure(X, LABEL, SIDE)
    known = vae.encoder(own).mean()
    np.testing.assert_allclose(vae.encode(given).mean(), known, rtol=1e-6)
    np.testing.assert_allclose(vae.encode(own).mean(), known, rtol=1e-6)
    decoded = vae.decoder(tensors(SIDE, known, LABEL)).mean()
    np.testing.assert_allclose(vae.reconstruct(given), decoded, rtol=1e-5)
    for conditions in ([SIDE, LABEL], {"label": LABEL, "side": SIDE}):  # the decoder's order
        np.testing.assert_allclose(vae.decode(known, conditions).mean(), decoded, rtol=1e-5)


@pytest.mark.parametrize("structure", [pytest.param("dict", marks=pytest.mark.again), "nested"])
def test_all_that_takes_x_takes_its_conditions(structure, tmp_path):
    structure, given = STRUCTURES[structure], GIVEN
    vae = VAE(encoder_of(structure), decoder_of())
    vae.compile("adam", run_eagerly=True)
    vae.fit(structure(X, LABEL, SIDE), batch_size=4, verbose=0)
    loss = vae.fit(given, batch_size=4, verbose=0, validation_data=(given,)).history
    assert np.isfinite(loss["val_loss"]).all()
    assert vae.predict(given, verbose=0).shape == X.shape
    assert vae.log_likelihood(given, 3, batch_size=5).shape == (12,)
    found = estimates.evaluate(vae, given, num_samples=3, batch_size=5)
    assert np.isfinite(list(found.values())).all()
    vae.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.reconstruct(given), vae.reconstruct(given), rtol=1e-5)


def test_the_conditions_matter_and_go_with_their_x():
    """Against the same networks called by hand, with several samples of z."""
    vae = VAE(encoder_of(STRUCTURES["list"]), decoder_of())
    p = vae([X, LABEL, SIDE])
    z = p.latents.z[0]
    np.testing.assert_allclose(p.mean(), vae.decoder(tensors(z, LABEL, SIDE)).mean(), rtol=1e-5)
    other = vae.decoder(tensors(z, (LABEL + 1) % 5, SIDE)).mean()
    assert np.abs(other - p.mean()).max() > 1e-3
    many = VAE(vae.encoder, vae.decoder, objective=IWAE(3))
    p = many([X, LABEL, SIDE], training=False)
    for k, z in enumerate(p.latents.z):
        known = vae.decoder(tensors(z, LABEL, SIDE)).mean()
        np.testing.assert_allclose(p.mean()[12 * k : 12 * (k + 1)], known, rtol=1e-5)


def test_likelihoods_are_given_the_conditions_of_their_x():
    """By hand, with the same draws."""
    vae = VAE(encoder_of(STRUCTURES["list"]), decoder_of())
    state = vae.posterior_layer.seed_generator.state
    start, prior = state.numpy(), vae.prior.distribution()
    of_vae = vae.seed_generator.state
    first = of_vae.numpy()
    seed = tf.random.experimental.stateless_fold_in(vae.next_seed(), 0)  # of the first chunk

    def by_hand(samples):
        state.assign(start)
        q = vae.encoder(tensors(X, LABEL, SIDE))  # which has drawn once, as `encode` has not
        if samples:
            state.assign(start)
        z = q.sample(samples, seed=seed) if samples else tf.convert_to_tensor(q)[None]
        likelihoods = [vae.decoder(tensors(each, LABEL, SIDE)).log_prob(X) for each in z]
        return tf.stack(likelihoods), prior.log_prob(z) - q.log_prob(z), q

    likelihoods, others, _ = by_hand(3)
    known = tf.reduce_logsumexp(likelihoods + others, axis=0) - np.log(3)
    of_vae.assign(first)
    np.testing.assert_allclose(vae.log_likelihood(GIVEN, 3), known, rtol=1e-4)
    likelihoods, _, q = by_hand(None)
    state.assign(start)
    found = estimates.evaluate(vae, GIVEN, num_samples=1)
    assert found["nll"] == pytest.approx(-float(tf.reduce_mean(likelihoods)), rel=1e-4)
    kl = tf.reduce_mean(q.kl_divergence(prior))
    assert found["kl"] == pytest.approx(float(kl), rel=1e-4)


def test_an_objective_decodes_with_the_conditions():
    class Decodes(ELBO):
        def __call__(self, forward):
            self.decoded = forward.decode(forward.z[0]).mean()
            return super().__call__(forward)

    objective = Decodes()
    vae = VAE(encoder_of(STRUCTURES["list"]), decoder_of(), objective=objective)
    p = vae([X, LABEL, SIDE], training=True)
    vae.compute_loss(x=GIVEN, y_pred=p)
    np.testing.assert_allclose(objective.decoded, p.mean(), rtol=1e-5)


def test_conditions_without_a_common_name_go_by_their_places():
    vae = VAE(encoder_of(STRUCTURES["list"]), decoder_of(("z", "b", "c")))
    z = vae.encode([X, LABEL, SIDE]).mean()
    known = vae.decoder(tensors(z, LABEL, SIDE)).mean()
    np.testing.assert_allclose(vae.reconstruct([X, LABEL, SIDE]), known, rtol=1e-5)


def test_a_decoder_alone_may_be_conditioned(x):
    encoder = small_networks(regularized=False)[0]
    decoder = networks.decoder(2, layers.IndependentBernoulli((8, 8, 1)), num_classes=10)
    vae = VAE(encoder, decoder)
    labels = np.arange(64, dtype="int32") % 10
    vae.compile("adam", run_eagerly=True)
    vae.fit([x, labels], verbose=0)
    assert vae.sample(10, conditions=np.arange(10)).shape == (10, 8, 8, 1)
    assert vae.wiring.given_names == ["label"]


@pytest.mark.again
@pytest.mark.parametrize("body", ["mlp", "conv"])
def test_the_bodies_take_labels(body, x, tmp_path):
    shape = (8, 8, 1)
    vae = VAE(
        networks.encoder(shape, layers.IndependentNormal(2), body, (4,), num_classes=3),
        networks.decoder(2, layers.IndependentNormal(shape), body, (4,), num_classes=3),
    )
    labels = (np.arange(64) % 3).astype("int32")
    data = tf.data.Dataset.from_tensor_slices({"x": x, "label": labels}).batch(32)
    vae.compile("adam", run_eagerly=True)
    assert np.isfinite(vae.fit(data, verbose=0).history["loss"]).all()
    vae.export(tmp_path / "saved")
    served = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(served.serve(x, labels), vae.reconstruct([x, labels]), atol=1e-5)
    assert served.sample(labels[:5]).shape == (5, *shape)
    for name in ("mean", "stddev"):
        known = getattr(vae.encode([x, labels]), name)()
        np.testing.assert_allclose(served.encode(x, labels)[name], known, atol=1e-5)
    z = np.zeros([3, 2], "float32")
    decoded = served.decode(z, tf.range(3))
    np.testing.assert_allclose(decoded, vae.decode(z, np.arange(3)).mean(), atol=1e-5)
    assert np.abs(decoded[1:] - decoded[0]).max() > 1e-4
    assert set(served.encode(x, labels)) == {"mean", "stddev", "z"}


@pytest.mark.parametrize("likelihood", ["IndependentNormal", "StudentT", "Categorical"])
def test_a_conv_decoder_gives_each_pixel_its_own_parameters(likelihood):
    """A change of one pixel's surroundings changes its parameters alone."""
    make = getattr(layers, likelihood)
    layer = make((8, 8, 2)) if likelihood != "Categorical" else make((8, 8, 2), 3)
    decoder = networks.decoder(2, layer, "conv", (4,))
    last = next(each for each in decoder.layers if isinstance(each, keras.layers.Conv2D)
                and not isinstance(each, keras.layers.Conv2DTranspose))  # fmt: skip
    z = tf.zeros([1, 2])
    before = decoder(z).mean().numpy()
    after_conv = keras.Model(last.output, decoder.outputs[0])
    maps = np.zeros([1, *last.output.shape[1:]], "float32")
    before = after_conv(maps).mean().numpy()
    maps[0, 2, 5] = np.linspace(-3, 1, maps.shape[-1])
    changed = np.abs(after_conv(maps).mean().numpy() - before)[0].sum(axis=-1)
    assert changed[2, 5] > 0.1
    assert np.count_nonzero(changed) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (X, r"3 inputs, \[x, label, side\].*Received: shape \(12, 3\)"),
        ([X, LABEL], r"\[x, label, side\]"),
        ({"x": X, "label": LABEL}, r"\[x, label, side\]"),
        ([X, LABEL[:5], SIDE], "as many rows of label"),
        ([X, LABEL, SIDE[:, :1]], r"side of x of shape \(batch, 2\)"),
        ([X, LABEL, np.full_like(SIDE, np.nan)], "finite numbers in side"),
        ([X, LABEL + 1, SIDE], r"integers from 0 to 4 in label of x.*Received: int32 from 1 to 5"),
        ([X, LABEL - 1, SIDE], "integers from 0 to 4"),
        ([X, np.where(LABEL == 0, 0.5, LABEL), SIDE], "integers from 0 to 4"),
    ],
    ids=["x-alone", "short", "missing", "rows", "shape", "nan", "from-1", "negative", "half"],
)
def test_what_is_not_x_and_its_conditions_is_refused_in_words(given, message):
    vae = VAE(encoder_of(STRUCTURES["list"]), decoder_of())
    vae.compile("adam")
    for use in (vae.fit, vae.encode):
        with pytest.raises(InputError, match=rf"{message}"):
            use(given)


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (None, r"conditions, \[label, side\]"),
        ([LABEL], r"\[label, side\]"),
        ({"label": LABEL}, r"\[label, side\]"),
        ([LABEL, SIDE[:2]], "12 rows of side"),
        ([3, SIDE], r"label of the conditions of shape \(batch\)"),
        ([LABEL, SIDE[:, :1]], r"side of the conditions of shape \(batch, 2\)"),
        ([LABEL + 1, SIDE], r"integers from 0 to 4.*Received: int32 from 1 to 5"),
    ],
)
def test_sampling_asks_for_its_conditions(conditions, message):
    vae = VAE(encoder_of(STRUCTURES["list"]), decoder_of())
    with pytest.raises(InputError, match=message):
        vae.sample(12, conditions=conditions)


def test_decoding_asks_for_as_many_conditions_as_z():
    vae = VAE(encoder_of(STRUCTURES["list"]), decoder_of())
    with pytest.raises(InputError, match=r"as many rows of label as of z.*\(12,\)"):
        vae.decode(np.zeros([3, 2], "float32"), [LABEL, SIDE])


@pytest.mark.parametrize("category", [keras.layers.CategoryEncoding, keras.layers.Embedding])
def test_the_fewest_categories_of_either_network_count(category):
    """Keras makes a category that there is not into nothing, or into the last one."""

    def conditioned(size, name, end, count):
        given, number = keras.Input((size,), name=name), keras.Input((), dtype="int32", name="c")
        shown = (category(count, output_mode="one_hot") if category is keras.layers.CategoryEncoding
                 else category(count, 3))(number)  # fmt: skip
        joined = keras.layers.Concatenate()([given, shown])
        return keras.Model([given, number], end(keras.layers.Dense(2 * end.event_shape[0])(joined)))

    normal = layers.IndependentNormal
    vae = VAE(conditioned(3, "x", normal(2), 9), conditioned(2, "z", normal(3), 4))
    assert vae.encode([X[:4], np.arange(4)]).mean().shape == (4, 2)
    with pytest.raises(InputError, match="integers from 0 to 3"):
        vae.encode([X[:4], np.arange(1, 5)])


def test_conditions_of_another_shape_are_other_conditions():
    def conditioned(size, name, side, end):
        given, more = keras.Input((size,), name=name), keras.Input((side,), name=f"c{side}")
        return keras.Model(
            [given, more], end(keras.layers.Dense(4)(keras.layers.Concatenate()([given, more])))
        )

    normal = layers.IndependentNormal
    vae = VAE(conditioned(3, "x", 1, normal(2)), conditioned(2, "z", 4, normal(2)))
    assert list(vae.wiring.conditions) == ["c1", "c4"]
    found = vae.reconstruct([X, SIDE[:, :1], np.zeros([12, 4], "float32")])
    assert found.shape == (12, 2)
    decoder = conditioned(2, "z", 4, normal(2))
    decoder = keras.Model(
        {"z": decoder.inputs[0], "c1": (c := keras.Input((4,), name="c1"))},
        decoder([decoder.inputs[0], c]),
    )
    with pytest.raises(InputError, match=r"condition c1 to be of one shape.*\(None, 1\) and"):
        VAE(conditioned(3, "x", 1, normal(2)), decoder)


@pytest.mark.again
def test_samples_that_are_served_are_of_their_conditions(tmp_path):
    """Of a decoder that sees nothing else."""
    vae = VAE(encoder_of(STRUCTURES["list"]), decoder_of())
    (dense,) = (each for each in vae.decoder.layers if isinstance(each, keras.layers.Dense))
    dense.kernel.assign(tf.concat([tf.zeros([2, 6]), dense.kernel[2:]], axis=0))
    vae.export(tmp_path / "saved")
    served = tf.saved_model.load(str(tmp_path / "saved"))
    known = vae.sample(12, conditions=[LABEL, SIDE])
    np.testing.assert_allclose(served.sample(LABEL, SIDE), known, atol=1e-5)
    assert np.abs(known[1:] - known[0]).max() > 1e-2


def test_a_model_without_conditions_refuses_them(x):
    vae = VAE(*small_networks())
    with pytest.raises(InputError, match="conditions"):
        vae.sample(3, conditions=np.arange(3))


def test_data_that_no_network_takes_are_refused_by_name(x):
    vae = VAE(*small_networks())
    vae.compile("adam")
    with pytest.raises(InputError, match=r"\[x\], or a dict of them.*z: shape"):
        vae.fit({"x": x, "z": np.zeros([len(x), 2], "float32")}, verbose=0)
    with pytest.raises(InputError, match="label: shape"):
        vae.encode({"x": x, "label": np.zeros(len(x))})
    assert vae.encode({"x": x}).mean().shape == (len(x), 2)


def test_a_vamp_prior_has_conditions_of_its_own(x, tmp_path):
    encoder = networks.encoder((8, 8, 1), layers.IndependentNormal(2), widths=(8,), num_classes=10)
    decoder = networks.decoder(
        2, layers.IndependentBernoulli((8, 8, 1)), widths=(8,), num_classes=10
    )
    with pytest.raises(InputError, match=r"conditioned on label.*Received: none"):
        VAE(encoder, decoder, prior=priors.VampPrior(4))
    with pytest.raises(InputError, match=r"conditioned on label.*Received: shape \(3,\)"):
        VAE(encoder, decoder, prior=priors.VampPrior(4, conditions={"label": [0, 1, 2]}))
    chosen = np.array([1, 3, 5, 7])
    vae = VAE(encoder, decoder, prior=priors.VampPrior(x[:4], conditions={"label": chosen}))
    each = encoder(tensors(x[:4], chosen))
    known = tf.reduce_logsumexp(each.log_prob(tf.zeros([1, 2])), axis=0) - np.log(4)
    np.testing.assert_allclose(vae.prior.distribution().log_prob(tf.zeros(2)), known, rtol=1e-5)
    vae.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.prior.distribution().log_prob(tf.zeros(2)), known, rtol=1e-5)
