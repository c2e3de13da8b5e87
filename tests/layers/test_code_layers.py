"""Posteriors of codes without a codebook, or with several: codes, vectors, gradients, losses."""

import itertools

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf
import tensorflow_probability as tfp

from tfp_vae import layers, objectives, priors
from tfp_vae.errors import InputError
from tfp_vae.objectives.code_entropy import code_entropy, code_probabilities

tfd = tfp.distributions


def vectors(*shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype("float32")


def residual(**kwargs):
    return layers.ResidualQuantized((2, 3, 4), **{"num_codes": 7, "seed": 0, **kwargs})


CODED = {
    "vector": lambda: layers.VectorQuantized((2, 4), 7, seed=0),
    "residual": residual,
    "residual-apart": lambda: residual(shared=False),
    "finite": lambda: layers.FiniteScalarQuantized((2, 3), (4, 3, 2)),
    "lookup-free": lambda: layers.LookupFreeQuantized((2, 3)),
}
EVERY = pytest.mark.parametrize("make", CODED.values(), ids=CODED)


@EVERY
def test_codes_and_vectors_are_each_others_inverse(make):
    """Of all codes, and of what the posterior draws; the KL is -log p(codes)."""
    layer = make()
    q = layer(vectors(5, layer.num_parameters))
    space = layer.code_space()
    positions = layer.event_shape[:-1]
    assert (q.batch_shape, q.event_shape) == ([5], layer.event_shape)
    assert q.codes.shape == (5, *positions)
    np.testing.assert_array_equal(space.vectors(q.codes), q.sample())
    np.testing.assert_array_equal(space.codes(q.sample()), q.codes)
    every = np.broadcast_to(
        np.arange(space.num_codes)[(slice(None), *[None] * len(positions))],
        (space.num_codes, *positions),
    )
    found = space.vectors(every).numpy()
    np.testing.assert_array_equal(space.codes(found), every)
    assert len(np.unique(found[:, 0].reshape(space.num_codes, -1), axis=0)) == space.num_codes
    np.testing.assert_array_equal(q.log_prob(q.sample()), np.zeros(5))
    encoder = keras.Sequential([keras.Input((layer.num_parameters,)), layer])
    prior = priors.UniformCodes()
    prior.bind(encoder)
    count = int(np.prod(positions))
    p = prior.distribution()
    np.testing.assert_allclose(tfd.kl_divergence(q, p), count * np.log(space.num_codes), rtol=1e-5)
    np.testing.assert_allclose(-p.log_prob(q.sample()), tfd.kl_divergence(q, p), rtol=1e-5)
    drawn = p.sample(3)
    np.testing.assert_array_equal(space.vectors(space.codes(drawn)), drawn)


@EVERY
def test_the_config_gives_the_layer_again_and_a_part_of_the_batch_has_its_codes(make):
    layer = make()
    again = type(layer).from_config(layer.get_config())
    t = vectors(4, layer.num_parameters)
    np.testing.assert_array_equal(again(t), layer(t))
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(layer(t).at[1:3].codes, layer(t).codes[1:3])
    assert type(layer.num_parameters) is int


@EVERY
def test_the_gradient_goes_straight_through(make):
    """That of the sum over the levels, where there are several, is that of the input."""
    layer = make()
    t = tf.constant(vectors(4, layer.num_parameters))
    with tf.GradientTape() as tape:
        tape.watch(t)
        z = layer(t).sample()
        if isinstance(layer, layers.ResidualQuantized):
            z = tf.reduce_sum(z, axis=-2)
        w = vectors(*z.shape, seed=1)
        loss = tf.reduce_sum(w * z)
    expected = w.reshape(4, -1)
    if isinstance(layer, layers.FiniteScalarQuantized):
        size = np.tile(layer.levels, 2)
        half = (size - 1) / 2 * (1 + 1e-3)
        shift = np.arctanh(np.where(size % 2, 0, 0.5) / half)
        expected = expected * half / np.cosh(t + shift) ** 2 / (size // 2)
    np.testing.assert_allclose(tape.gradient(loss, t), expected, rtol=1e-4, atol=1e-6)


# -- finite scalars --------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (2, 3), (7, 4, 2)], ids=str)
def test_every_finite_scalar_code_is_reached_by_its_digits(levels):
    """Code = sum_j digit_j prod_(i<j) L_i; entry j is the j-th rounded value, by the formula."""
    layer = layers.FiniteScalarQuantized(len(levels), levels)
    sides = []
    for size in levels:  # t that b maps to the middle of each value
        half, offset = (size - 1) / 2 * (1 + 1e-3), 0.0 if size % 2 else 0.5
        values = np.arange(size) - size // 2
        inside = np.clip((values + offset) / half, -1 + 1e-6, 1 - 1e-6)
        sides.append(np.arctanh(inside) - np.arctanh(offset / half))
    digits = np.array(list(itertools.product(*(range(size) for size in levels))))
    t = np.stack([side[digits[:, j]] for j, side in enumerate(sides)], axis=-1)
    q = layer(t.astype("float32"))
    place = np.cumprod([1, *levels[:-1]])
    np.testing.assert_array_equal(q.codes, digits @ place)
    assert sorted(q.codes.numpy().tolist()) == list(range(np.prod(levels)))
    half = np.asarray(levels) // 2
    np.testing.assert_allclose(q.sample(), (digits - half) / half, rtol=1e-6)
    t, size = vectors(500, len(levels), scale=2.0), np.asarray(levels)
    bound, offset = (size - 1) / 2 * (1 + 1e-3), np.where(size % 2, 0, 0.5)
    shift = np.arctanh(offset / bound)
    rounded = np.round(bound * np.tanh(t.astype("float64") + shift) - offset).astype(int)
    np.testing.assert_array_equal(rounded.min(axis=0), -half)
    np.testing.assert_array_equal(rounded.max(axis=0), size - 1 - half)
    np.testing.assert_array_equal(layer(t).codes, (rounded + half) @ place)
    middle = layer(tf.zeros([1, len(levels)])).sample()
    np.testing.assert_array_equal(middle, tf.zeros_like(middle))  # b(0) = 0


# -- signs -----------------------------------------------------------------------------------------


def test_a_lookup_free_code_is_the_nearest_of_all_and_its_bits_an_integer():
    t = vectors(50, 4)
    q = layers.LookupFreeQuantized(4)(t)
    every = np.array(list(itertools.product([-1, 1], repeat=4)))[:, ::-1]
    nearest = ((t[:, None] - every) ** 2).sum(axis=-1).argmin(axis=-1)
    np.testing.assert_array_equal(q.codes, nearest)
    np.testing.assert_array_equal(q.sample(), every[nearest])


def test_the_commitment_of_a_lookup_free_code():
    layer = layers.LookupFreeQuantized((3, 2), commitment=0.3)
    t = vectors(4, 6)
    layer(t)
    (loss,) = layer.losses
    np.testing.assert_allclose(loss, 0.3 * ((t - np.sign(t)) ** 2).sum(axis=1).mean(), rtol=1e-5)


@pytest.mark.parametrize("block_size", [10, 3, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_entropy_penalty_by_enumeration(block_size, weighted):
    """E[H(p(c|t))] - diversity H(E[p(c|t)]) over all 2^3 codes, p by distances."""
    t, b = vectors(6, 2 * 3, scale=0.5), 3
    q = layers.LookupFreeQuantized((2, b))(t)
    weights = np.array([1, 0, 2, 1, 0.5, 3], "float32") if weighted else np.ones(6, "float32")
    forward = objectives.ForwardPass(
        q, None, z=q.sample(1), log_likelihood=tf.zeros([1, 6]),
        weights=tf.constant(weights) if weighted else None,
    )  # fmt: skip
    found = objectives.CodeEntropy(diversity=0.7, block_size=block_size).penalty(forward)

    def of_bits(rows):
        every = np.array(list(itertools.product([-1, 1], repeat=rows.shape[-1])))
        distance = ((rows[:, :, None] - every) ** 2).sum(axis=-1)
        return scipy.special.softmax(-distance, axis=-1)  # [batch, positions, codes]

    rows, share = t.reshape(6, 2, b).astype("float64"), weights / weights.sum()
    sure = share @ scipy.special.entr(of_bits(rows)).sum(axis=-1).mean(axis=-1)
    parts = [rows[..., i : i + block_size] for i in range(0, b, block_size)]
    means = [np.tensordot(share, of_bits(part).mean(axis=1), 1) for part in parts]
    diverse = sum(scipy.special.entr(mean).sum() for mean in means)
    np.testing.assert_allclose(found, sure - 0.7 * diverse, rtol=1e-4, atol=1e-5)


def test_the_entropy_of_bits_is_that_of_their_codes():
    logits = vectors(5, 4, scale=3.0)
    p = code_probabilities(tf.constant(logits)).numpy().astype("float64")
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-6)
    entropy = scipy.special.entr(p).sum(axis=-1)
    np.testing.assert_allclose(code_entropy(tf.constant(logits)), entropy, rtol=1e-4)


def test_the_entropy_penalty_is_of_signs():
    q = layers.FiniteScalarQuantized(1, (3,))(tf.zeros([2, 1]))
    forward = objectives.ForwardPass(q, None, z=q.sample(1), log_likelihood=tf.zeros([1, 2]))
    with pytest.raises(InputError, match=r"expected a posterior LookupFreeQuantized.*Received: z"):
        objectives.CodeEntropy().penalty(forward)


# -- residuals -------------------------------------------------------------------------------------


def by_hand(t, books):
    """Codes and residuals of t `[n, d]` by all differences, level by level."""
    codes, left = [], [t.astype("float64")]
    for book in books:
        e = np.asarray(book, "float64")
        codes.append(((left[-1][:, None] - e) ** 2).sum(axis=-1).argmin(axis=-1))
        left.append(left[-1] - e[codes[-1]])
    return np.stack(codes, axis=-1), np.stack(left, axis=-2)


def books(layer):
    each = [book.vectors.numpy() for book in layer.codebooks]
    return each * (layer.depth // len(each))


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("decay", [0.9, None])
def test_each_level_quantizes_what_the_levels_before_left(shared, decay):
    """Codes, and the losses: each level's commitment, and what pulls its vectors."""
    layer = residual(shared=shared, decay=decay, commitment=0.3)
    t = tf.constant(vectors(5, 8))
    with tf.GradientTape() as tape:
        tape.watch(t)
        q = layer(t)
        (loss,) = layer.losses
    codes, left = by_hand(t.numpy().reshape(10, 4), books(layer))
    np.testing.assert_array_equal(q.codes, codes.reshape(5, 2, 3))
    np.testing.assert_allclose(
        t.numpy().reshape(5, 2, 4) - tf.reduce_sum(q.sample(), axis=-2),
        left[:, -1].reshape(5, 2, 4), atol=1e-5,
    )  # fmt: skip
    distance = (left[:, 1:] ** 2).sum() / 5
    np.testing.assert_allclose(loss, (0.3 if decay else 1.3) * distance, rtol=1e-4)
    gradient = 0.3 * 2 * left[:, 1:].sum(axis=1).reshape(5, 8) / 5
    np.testing.assert_allclose(tape.gradient(loss, t), gradient, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shared", [True, False])
def test_residuals_never_grow_with_depth_once_the_codebooks_are_at_rest(shared):
    """A codebook of means of what falls to its codes takes from the squares, level by level."""
    layer = layers.ResidualQuantized((4, 2), 8, shared=shared, decay=0.0, restart=0.05, seed=0)
    t = vectors(400, 2)
    means = []
    for _ in range(60):
        layer(t, training=True)
        _, left = by_hand(t, books(layer))
        means.append((left**2).sum(axis=-1).mean(axis=0))
    last = np.mean(means[-20:], axis=0)
    if shared:  # one set of vectors cannot suit all levels, but none is worse than leaving it
        assert last[-1] < 0.5 * last[0]
    else:
        assert (np.diff(last) < 0).all()
        assert last[-1] < 0.02 * last[0]


@pytest.mark.parametrize("shared", [True, False])
def test_the_codebooks_follow_the_residuals_by_moving_averages(shared):
    decay, epsilon, k = 0.7, 0.3, 7
    layer = residual(shared=shared, decay=decay, restart=0, epsilon=epsilon)
    own = [(np.ones(k), e.astype("float64")) for e in books(layer)][: len(layer.codebooks)]
    for step in range(3):
        t = vectors(6, 8, seed=step)
        layer(t, training=True)
        now = []
        for counts, sums in own:
            smoothed = (counts + epsilon) / (counts.sum() + k * epsilon) * counts.sum()
            now.append(sums / smoothed[:, None] if step else sums)
        for e, book in zip(now, layer.codebooks, strict=True):
            np.testing.assert_allclose(book.vectors, e, rtol=1e-4, atol=1e-6)
        codes, left = by_hand(t.reshape(12, 4), books(layer))
        own_before, own = own, []
        for number, (counts, sums) in enumerate(own_before):
            which = slice(None) if shared else slice(number, number + 1)
            rows, c = left[:, :-1][:, which].reshape(-1, 4), codes[:, which].reshape(-1)
            one_hot = np.eye(k)[c]
            own.append((
                decay * counts + (1 - decay) * one_hot.sum(axis=0),
                decay * sums + (1 - decay) * one_hot.T @ rows,
            ))  # fmt: skip


def test_perplexity_is_that_of_the_levels():
    """Codes 0, 1 of one level alike in use, and one of the other alone: sqrt(2 * 1)."""
    layer = layers.ResidualQuantized((2, 1), 3, shared=False, decay=None)
    layer.codebooks[0].vectors.assign([[0.0], [10.0], [50.0]])
    layer.codebooks[1].vectors.assign([[0.1], [5.0], [7.0]])
    q = layer(np.array([[0.1], [10.1]], "float32"))
    np.testing.assert_array_equal(q.codes, [[0, 0], [1, 0]])
    np.testing.assert_allclose(q.perplexity(), np.sqrt(2), rtol=1e-5)
    np.testing.assert_array_equal(q.usage(), [[1, 1, 0], [2, 0, 0]])


def test_the_sum_of_levels_ends_after_some_of_them_in_training_alone():
    z = np.broadcast_to(10.0 ** np.arange(3)[:, None], (20_000, 2, 3, 1)).astype("float32")
    layer = layers.SumOfLevels(dropout=0.3, seed=1)
    np.testing.assert_array_equal(layer(z), np.full([20_000, 2, 1], 111))
    found = layer(z, training=True).numpy()[..., 0]
    np.testing.assert_array_equal(found[:, 0], found[:, 1])  # one depth for an example
    shares = [np.mean(found[:, 0] == value) for value in (1, 11, 111)]
    np.testing.assert_allclose(shares, [0.3, 0.7 * 0.3, 0.7 * 0.7], atol=0.015)


# -- codes out of use ------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.9, None])
def test_a_code_that_is_idle_for_some_steps_starts_anew_at_a_vector_of_the_batch(decay):
    layer = layers.VectorQuantized(2, 4, decay=decay, restart=0, revive_after=3, seed=0)
    start = np.array([[-1, 0], [1, 0], [90, 90], [80, 80]], "float32")
    layer.codebook.vectors.assign(start)
    if decay is not None:
        layer.codebook.sums.assign(start)
    t = np.array([[-1, 0.1], [1, 0.1]] * 20, "float32")
    for step in range(3):
        np.testing.assert_array_equal(layer.codebook.idle, [0, 0, step, step])
        layer(t, training=True)
        assert layer.codebook.vectors.numpy()[2:].min() > 50
    layer(t + 5, training=False)
    np.testing.assert_array_equal(layer.codebook.idle, [0, 0, 3, 3])  # by training alone
    layer(t, training=True)
    found = layer.codebook.vectors.numpy()[2:]
    assert (np.abs(found[:, None] - t[:2]).sum(axis=-1).min(axis=1) < 1e-3).all()
    assert layer.codebook.idle.numpy().max() <= 1


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: residual(temperature=1.0), "decay=None and no revive_after with a temperature"),
        (lambda: layers.ResidualQuantized((3,), 8), "number of levels and the vectors' dimension"),
        (lambda: layers.FiniteScalarQuantized((4, 2), (5,)), "one for each of the 2 entries"),
        (lambda: layers.FiniteScalarQuantized(2, (5, 1)), "levels of at least 2"),
        (lambda: layers.FiniteScalarQuantized(4, (999,) * 4), "fewer than 2.31 codes"),
        (lambda: layers.LookupFreeQuantized(31), "at most 30 bits"),
        (lambda: layers.LookupFreeQuantized(2)(np.ones([2, 5], "float32")), "params_size"),
        (lambda: residual()(np.ones([2, 24], "float32")), "params_size"),
        (lambda: layers.LookupFreeQuantized(()), "vectors' dimension"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(use, message):
    with pytest.raises(InputError, match=rf"{message}.*Received"):
        use()
