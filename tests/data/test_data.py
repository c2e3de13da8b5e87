from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import counted, random_bytes
from sklearn.datasets import load_digits

from tfp_vae import data
from tfp_vae.errors import InputError

# -- digits ------------------------------------------------------------------------------------


def test_digits_are_scikit_learns_each_with_its_label(digits):
    assert digits.train.shape == (1500, 8, 8, 1)
    assert digits.test.shape == (297, 8, 8, 1)
    assert digits.shape == (8, 8, 1)
    assert digits.train.dtype == digits.test.dtype == np.uint8
    assert (digits.train.min(), digits.train.max()) == (0, 255)
    bunch = load_digits()
    images = np.concatenate([digits.train, digits.test])[..., 0]
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    sixteenths = np.round(images / (255 / 16))
    assert counted(sixteenths, labels) == counted(bunch.images, bunch.target)
    for split in (digits.train_labels, digits.test_labels):
        assert set(split.tolist()) == set(range(10))


def test_digits_are_the_same_at_each_load(digits):
    again = data.load("digits")
    for name in ("train", "test", "train_labels", "test_labels"):
        np.testing.assert_array_equal(getattr(again, name), getattr(digits, name))


# -- files -------------------------------------------------------------------------------------


def test_an_npz_as_keras_writes_it_is_taken_as_it_is(tmp_path):
    arrays = {
        "x_train": random_bytes(6, 5, 4, 3),
        "y_train": np.arange(6),
        "x_test": random_bytes(3, 5, 4, 3, seed=1),
        "y_test": np.arange(3),
        "x_val": random_bytes(4, 5, 4, 3, seed=2),
        "y_val": np.arange(4),
    }
    path = str(tmp_path / "images.npz")
    np.savez(path, **arrays)
    images = data.load(path)
    assert images.name == path
    for name, key in (
        ("train", "x_train"),
        ("test", "x_test"),
        ("train_labels", "y_train"),
        ("test_labels", "y_test"),
        ("validation", "x_val"),
        ("validation_labels", "y_val"),
    ):
        np.testing.assert_array_equal(getattr(images, name), arrays[key])


def test_an_npz_without_labels_has_none(tmp_path):
    np.savez(tmp_path / "images.npz", x_train=random_bytes(6, 5, 4), x_test=random_bytes(3, 5, 4))
    images = data.load(str(tmp_path / "images.npz"))
    assert images.train_labels is None
    assert images.test_labels is None
    assert images.shape == (5, 4, 1)


@pytest.mark.parametrize("ending", ["npy", "npz"])
@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (9, 1), (30, 3), (100, 10)])
def test_one_array_is_split_nine_to_one(tmp_path, ending, count, held_out):
    path = tmp_path / f"images.{ending}"
    array = random_bytes(count, 4, 4, 1)
    (np.save if ending == "npy" else np.savez)(path, array)
    images, again = data.load(str(path)), data.load(str(path))
    assert (len(images.train), len(images.test)) == (count - held_out, held_out)
    assert counted(images.train) + counted(images.test) == counted(array)
    np.testing.assert_array_equal(images.train, again.train)


def test_the_held_out_images_are_not_the_last_ones(tmp_path):
    array = np.repeat(np.arange(100, dtype=np.uint8), 4).reshape(100, 2, 2, 1)
    np.save(tmp_path / "sorted.npy", array)
    held_out = data.load(str(tmp_path / "sorted.npy")).test[:, 0, 0, 0]
    assert held_out.min() < 50


@pytest.mark.parametrize(
    ("convert", "shape"),
    [
        (lambda x: x, (4, 4, 1)),
        (lambda x: x[..., 0], (4, 4, 1)),
        (lambda x: x.astype(np.int64), (4, 4, 1)),
        (lambda x: x / 255, (4, 4, 1)),
        (lambda x: (x / 255).astype(np.float32), (4, 4, 1)),
        (lambda x: np.clip(x - 0.4, 0, None) / 255, (4, 4, 1)),
        (lambda x: np.repeat(x, 3, axis=-1).astype(np.uint16), (4, 4, 3)),
    ],
    ids=[
        "uint8",
        "without channels",
        "int64",
        "float64",
        "float32",
        "not quite",
        "uint16 in colour",
    ],
)
def test_the_same_pixels_in_any_type_are_the_same_bytes(tmp_path, convert, shape):
    array = np.arange(256, dtype=np.uint8).reshape(16, 4, 4, 1)
    np.save(tmp_path / "images.npy", convert(array))
    images = data.load(str(tmp_path / "images.npy"))
    assert images.train.dtype == np.uint8
    assert images.shape == shape
    read = np.concatenate([images.train, images.test])
    np.testing.assert_array_equal(read[np.argsort(read[:, 0, 0, 0])][..., :1], array)
    assert np.ptp(read, axis=-1).max() == 0


def test_booleans_are_black_and_white(tmp_path):
    array = random_bytes(10, 3, 3) > 127
    np.save(tmp_path / "images.npy", array)
    images = data.load(str(tmp_path / "images.npy"))
    read = np.concatenate([images.train, images.test])[..., 0]
    assert counted(read) == counted(np.where(array, 255, 0).astype(np.uint8))


# -- TensorFlow data sets, without a network ---------------------------------------------------


class TinyPictures(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    COUNTS = {"train": 24, "validation": 3, "test": 7}  # noqa: RUF012
    IMAGE = tfds.features.Image(shape=(6, 5, 3))

    def _info(self):
        features = {"image": self.IMAGE, "label": tfds.features.ClassLabel(num_classes=4)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.COUNTS}

    def _generate_examples(self, split):
        for i, (image, label) in enumerate(zip(*self.made(split), strict=True)):
            yield i, {"image": image, "label": label}

    @classmethod
    def made(cls, split):
        count = cls.COUNTS[split]
        return random_bytes(count, 6, 5, 3, seed=len(split)), np.arange(count) % 4


class TinyPicturesTrainOnly(TinyPictures):
    COUNTS = {"train": 40}  # noqa: RUF012


class TinyPicturesValidated(TinyPictures):
    COUNTS = {"train": 8, "validation": 5}  # noqa: RUF012


class TinyPicturesOfAnySize(TinyPictures):
    IMAGE = tfds.features.Image(shape=(None, None, 3))


class TinyTexts(TinyPictures):
    IMAGE = tfds.features.Text()


@pytest.mark.one
@pytest.mark.parametrize(
    ("name", "builder", "test"),
    [
        ("tiny_pictures", TinyPictures, "test"),
        ("tiny_pictures:1.0.0", TinyPictures, "test"),
        ("tiny_pictures_validated", TinyPicturesValidated, "validation"),
    ],
)
def test_a_tfds_data_set_is_the_pixels_and_labels_that_its_builder_made(
    tmp_path, name, builder, test
):
    images = data.load(name, data_dir=tmp_path)
    assert images.name == name
    assert images.shape == (6, 5, 3)
    assert counted(images.train, images.train_labels) == counted(*builder.made("train"))
    assert counted(images.test, images.test_labels) == counted(*builder.made(test))
    if test == "validation":
        assert images.validation is None
    else:
        third = counted(images.validation, images.validation_labels)
        assert third == counted(*builder.made("validation"))


def test_a_tfds_data_set_without_a_test_split_is_split_nine_to_one(tmp_path):
    images = data.load("tiny_pictures_train_only", data_dir=tmp_path)
    assert (len(images.train), len(images.test)) == (36, 4)
    parts = [(images.train, images.train_labels), (images.test, images.test_labels)]
    assert sum((counted(*part) for part in parts), Counter()) == counted(
        *TinyPicturesTrainOnly.made("train")
    )


TFDS_DATA_DIR = os.environ.get("TFDS_DATA_DIR", "")


@pytest.mark.skipif(
    not TFDS_DATA_DIR or not (Path(TFDS_DATA_DIR) / "mnist").is_dir(),
    reason="TFDS_DATA_DIR does not name a folder that holds mnist",
)
@pytest.mark.again
def test_mnist_is_mnist():
    images = data.load("mnist")
    assert images.train.shape == (60_000, 28, 28, 1)
    assert images.test.shape == (10_000, 28, 28, 1)
    assert images.train.dtype == images.test.dtype == np.uint8
    # The number of each digit, as published.
    assert np.bincount(images.train_labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949
    ]  # fmt: skip
    assert np.bincount(images.test_labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009
    ]  # fmt: skip


# -- what a person can mend --------------------------------------------------------------------

GOOD = random_bytes(4, 3, 3, 1)
OBJECTS = np.array([{}, {}], dtype=object)


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("gone.npy", None, "which is not there"),
        ("gone.npz", None, "which is not there"),
        ("flat.npy", GOOD[:, 0, 0, 0], "at least two images"),
        ("video.npy", GOOD[np.newaxis], "at least two images"),
        ("one.npy", GOOD[:1], "at least two images"),
        ("train.npz", {"x_train": GOOD, "x_test": GOOD[0, 0, 0]}, "train.npz[x_test]"),
        ("mixed.npz", {"x_train": GOOD, "x_test": GOOD[0, 0]}, "of one shape"),
        ("high.npy", GOOD.astype(int) + 256, "int64 from 2"),
        ("negative.npy", GOOD.astype(int) - 256, "integers in 0..255"),
        ("centred.npy", GOOD / 255 - 0.5, "floats in 0..1"),
        ("bright.npy", GOOD / 1.0, "floats in 0..1"),
        ("nan.npy", np.full([4, 3, 3], np.nan), "finite numbers"),
        ("infinite.npy", np.full([4, 3, 3], np.inf), "finite numbers"),
        ("complex.npy", GOOD.astype(complex), "finite numbers"),
        ("words.npy", np.full([4, 3, 3], "a"), "finite numbers"),
        ("objects.npy", OBJECTS, "file of numbers"),
        ("objects.npz", {"x": OBJECTS}, "file of numbers"),
        ("text.npy", b"hello", "file of numbers"),
        ("empty.npy", b"", "file of numbers"),
        ("empty.npz", b"", "file of numbers"),
        ("cut.npz", b"PK\3\4", "file of numbers"),
        ("nothing.npz", {}, "x_train and x_test, or one array"),
        ("two.npz", {"a": GOOD, "b": GOOD}, "['a', 'b']"),
        ("mnits", None, "Did you mean mnist"),
        ("digit", None, "digits"),
        ("no such data", None, "'digits', a .npy or .npz file"),
        ("", None, "'digits', a .npy or .npz file"),
        ("tiny_pictures:9.9.9", None, "1.0.0"),
        ("tiny_pictures/none", None, "none"),
        ("tiny_texts", None, "images of one size"),
        ("tiny_pictures_of_any_size", None, "images of one size"),
    ],
)
def test_data_that_cannot_be_used_are_refused_in_words(tmp_path, name, content, fragment):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(InputError) as caught:
        data.load(str(path) if "." in name and ":" not in name else name, data_dir=tmp_path)
    assert fragment in str(caught.value)


@pytest.mark.parametrize("batch_size", [0, -1, 5])
def test_a_batch_size_that_the_images_do_not_fill_is_refused(batch_size):
    expected = "(from 1 to 4 images|batch_size >= 1)"
    with pytest.raises(InputError, match=f"{expected}.*Received: {batch_size}"):
        data.batches(GOOD, batch_size)
