"""Batches and binarization: functions of the seed and the training step."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from conftest import counted, random_bytes

from tfp_vae import data

# -- batches -----------------------------------------------------------------------------------


def taken(count, images, batch_size, *args, **kwargs):
    """The first `count` batches of `data.batches`, stacked."""
    batches = data.batches(images, batch_size, *args, **kwargs).take(count)
    return np.stack(list(batches.as_numpy_iterator()))


def numbered(count):
    """Images that tell which they are by their one pixel."""
    return np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)


def order(count, images, batch_size, seed=0):
    """Which image is at which place of which batch."""
    batches = taken(count, images, batch_size, "none", seed)
    return np.round(batches[..., 0, 0, 0] * 255).astype(int)


@pytest.mark.parametrize("binarize", ["dynamic", "fixed", "none"])
def test_batches_are_a_function_of_the_seed(binarize):
    images = random_bytes(20, 4, 4, 1)
    first, again, other = (taken(9, images, 5, binarize, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert all((a != b).any() for a, b in zip(first, other, strict=True))
    assert first.dtype == np.float32
    assert first.shape == (9, 5, 4, 4, 1)
    endless = data.batches(images, 5, binarize)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY


@pytest.mark.parametrize("binarize", ["dynamic", "fixed", "none"])
@pytest.mark.parametrize("step", [1, 3, 4, 11])
def test_batches_from_a_step_go_on_where_a_stream_from_the_start_would_be(binarize, step):
    images = random_bytes(23, 4, 4, 1)
    whole = taken(step + 6, images, 5, binarize, 7)
    np.testing.assert_array_equal(
        taken(6, images, 5, binarize, 7, first_step=step), whole[step : step + 6]
    )


@pytest.mark.parametrize(("count", "batch_size"), [(20, 5), (20, 20), (20, 1), (256, 64), (7, 7)])
def test_an_epoch_visits_each_image_once_each_time_in_another_order(count, batch_size):
    epochs = order(4 * count // batch_size, numbered(count), batch_size).reshape(4, count)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(count), (4, 1)))
    for one, other in itertools.combinations(epochs, 2):
        assert (one != other).any()


def test_images_that_do_not_fill_a_batch_are_left_out_others_each_time():
    epochs = order(2 * 30, numbered(23), 10).reshape(30, 20)
    assert all(len(set(epoch)) == 20 for epoch in epochs.tolist())
    assert set(epochs.ravel().tolist()) == set(range(23))
    left_out = {frozenset(range(23)) - set(epoch) for epoch in epochs.tolist()}
    assert len(left_out) > 15


def test_no_order_comes_again():
    assert len(set(map(bytes, order(1000, numbered(20), 20).astype(np.uint8)))) == 1000


def test_each_image_comes_at_each_place_equally_often():
    count, epochs = 20, 4000
    places = order(epochs, numbered(count), count)
    table = np.stack([np.bincount(place, minlength=count) for place in places.T])
    expected = epochs / count
    chi_squared = ((table - expected) ** 2 / expected).sum()
    freedom = (count - 1) ** 2
    assert abs(chi_squared - freedom) < 5 * np.sqrt(2 * freedom)


# -- binarization ------------------------------------------------------------------------------

PIXELS = np.array([0, 1, 64, 127, 128, 200, 255], np.uint8)


def drawn_in_batches(binarize):
    """Draws of each of the pixels, independent of each other: the fixed ones from one epoch."""
    images = np.ascontiguousarray(np.broadcast_to(PIXELS, (64, 2048, 7)))[..., np.newaxis]
    steps = 1 if binarize == "fixed" else 8
    return taken(steps, images, 64, binarize, 1).reshape(-1, 7)


def drawn_at_once(binarize):
    images = np.ascontiguousarray(np.broadcast_to(PIXELS, (1_000_000, 7)))
    return data.binarized(images, binarize, 1)


@pytest.mark.parametrize("binarize", ["dynamic", "fixed"])
@pytest.mark.parametrize("draw", [drawn_in_batches, drawn_at_once])
def test_a_pixel_is_white_with_its_probability(draw, binarize):
    draws = draw(binarize)
    assert set(np.unique(draws)) == {0.0, 1.0}
    p = PIXELS / 255
    error = np.sqrt(p * (1 - p) / len(draws))
    assert (np.abs(draws.mean(axis=0) - p) <= 1 / 512 + 5 * error).all()
    assert draws[:, 0].max() == 0
    assert draws[:, -1].min() == 1


def test_neighbouring_pixels_and_later_steps_are_drawn_independently():
    draws = taken(40, np.full([32, 8, 8, 1], 128, np.uint8), 32, seed=2)
    centred = draws.reshape(40, -1) - 0.5
    for lag in range(1, 9):
        assert abs(np.mean(centred[:, lag:] * centred[:, :-lag])) < 5 * 0.25 / centred.size**0.5
    between = np.corrcoef(centred)[np.triu_indices(40, 1)]
    assert np.abs(between).max() < 6 / centred.shape[1] ** 0.5


def test_dynamic_pixels_are_drawn_afresh_in_each_epoch_and_fixed_ones_are_not():
    images = np.full([12, 6, 6, 1], 128, np.uint8)
    for binarize, equal in (("fixed", True), ("dynamic", False)):
        epochs = taken(9, images, 4, binarize).reshape(3, 12, 6, 6, 1)
        sets = [counted(epoch) for epoch in epochs]
        assert (sets[0] == sets[1]) is equal
        assert (sets[1] == sets[2]) is equal


def test_fixed_pixels_stay_with_their_image():
    # Half of each image is white or black, in a pattern of its own; the other half is grey.
    images = np.full([16, 2, 8, 1], 128, np.uint8)
    images[:, 0, :, 0] = np.unpackbits(np.arange(16, dtype=np.uint8)[:, np.newaxis], axis=1) * 255
    epochs = taken(8, images, 4, "fixed", 5).reshape(2, 16, 2, 8)
    names = epochs[:, :, 0] @ 2.0 ** np.arange(7, -1, -1)
    by_name = [epoch[np.argsort(name)] for epoch, name in zip(epochs, names, strict=True)]
    np.testing.assert_array_equal(*by_name)
    np.testing.assert_array_equal(np.sort(names[0]), np.arange(16))


def test_none_leaves_the_greys():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    grey = np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1) / 255
    np.testing.assert_array_equal(data.binarized(images, "none"), grey)
    np.testing.assert_allclose(taken(1, images, 1, "none")[0], grey, rtol=1e-6)


@pytest.mark.parametrize("binarize", ["dynamic", "fixed"])
def test_binarized_is_a_function_of_the_seed(binarize):
    images = random_bytes(50, 4, 4, 1)
    for seed in (None, 0, 8):
        np.testing.assert_array_equal(
            data.binarized(images, binarize, seed), data.binarized(images, binarize, seed)
        )
    drawn = [data.binarized(images, binarize, seed) for seed in (None, 0, 8)]
    assert len({x.tobytes() for x in drawn}) == 3
    assert drawn[0].dtype == np.float32


# -- noise of other data -----------------------------------------------------------------------


def agreement(a, b):
    """How far the shared rows of two draws of fair coins are from agreeing by chance, in errors."""
    count = min(len(a), len(b))
    agree = np.mean(a[:count] == b[:count])
    return abs(agree - 0.5) / (0.5 / np.sqrt(a[:count].size))


GREY = np.full([1500, 8, 8, 1], 128, np.uint8)
OTHER = np.where(np.arange(300)[:, None, None, None] == 299, 127, GREY[:300]).astype(np.uint8)


@pytest.mark.parametrize("seed", [None, 0, 5])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (GREY, GREY[:300]),
        (GREY, OTHER),
        (GREY[:300], OTHER),
        (GREY[:700], GREY[700:1399]),
        (GREY, GREY.reshape(1500, 64)),
    ],
    ids=["a part", "another", "one pixel differs", "two parts", "another shape"],
)
def test_other_images_have_independent_noise_of_the_same_seed(one, other, seed):
    a, b = (data.binarized(images, "dynamic", seed) for images in (one, other))
    assert agreement(a, b.reshape(-1, 8, 8, 1)) < 5
    np.testing.assert_array_equal(a, data.binarized(one.copy(), "dynamic", seed))
    np.testing.assert_array_equal(a, data.binarized(np.asfortranarray(one), "dynamic", seed))


def test_training_and_test_set_have_independent_noise(digits):
    """Whatever each image is: the uniforms that its grey pixels were compared with."""
    train, test = digits.train[: len(digits.test)], digits.test
    grey = (train > 100) & (train < 150) & (test > 100) & (test < 150)
    white = [data.binarized(images)[: len(test)][grey] for images in (digits.train, test)]
    centred = [values - values.mean() for values in white]
    correlation = np.mean(centred[0] * centred[1]) / np.prod([c.std() for c in centred])
    assert abs(correlation) < 4 / np.sqrt(grey.sum())


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_a_test_set_has_other_noise_than_training_batches(seed):
    test = data.binarized(GREY[:300])
    fixed = data.training_images(GREY, "fixed", seed)
    (first,) = taken(1, GREY, 300, "dynamic", seed)
    for noise in (fixed, first):
        assert agreement(noise, test) < 5
    assert agreement(fixed, data.binarized(GREY, "fixed", seed)) < 5


def test_fixed_batches_are_rows_of_the_training_images():
    images = random_bytes(20, 4, 4, 1)
    (batch,) = taken(1, images, 20, "fixed", 3)
    assert counted(batch) == counted(data.training_images(images, "fixed", 3))
    # As version 0.1.0 drew them, so that a run goes on with the pixels that it began with.
    noise = np.random.default_rng(3).integers(0, 256, images.shape, np.uint8)
    before = (noise < images.astype(int) + (images > 127)).astype("float32")
    np.testing.assert_array_equal(data.training_images(images, "fixed", 3), before)
