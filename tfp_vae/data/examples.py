"""Examples from three sources, and batches of them as a function of the training step."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import math
import os
import zipfile
import zlib
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfp_vae.arguments.rules import checked
from tfp_vae.errors import InputError

Binarize = Literal["dynamic", "fixed", "none"]
_SPLITS = ("train", "test", "val", "valid")
_TEST_SHARE = 0.1  # where a source has no test split of its own
_EVALUATION_SEED = 2**31 - 1
_AHEAD, _AHEAD_BYTES = 64, 2**26  # batches made in advance


@dataclasses.dataclass(frozen=True)
class Examples:
    """A training and a test set: images as bytes, or vectors of numbers.

    Attributes:
      name: where they come from.
      train: uint8, `[n, height, width, channels]`; or float32 or int32, `[n, size]`.
      test: likewise.
      train_labels: integers `[n]`, or None where the source has none.
      test_labels: likewise.
      validation: the source's own validation split, likewise; None where it has none.
      validation_labels: likewise.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    train_labels: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    validation: np.ndarray | None = None
    validation_labels: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels) of one image, or (size,) of one vector."""
        return self.train.shape[1:]

    @property
    def kind(self) -> Literal["images", "reals", "counts"]:
        """What they are; counts are integers from 0."""
        if self.train.ndim == 4:
            return "images"
        return "counts" if self.train.dtype.kind == "i" else "reals"

    @property
    def num_classes(self) -> int:
        """How many labels there are, 0 to `num_classes - 1`.

        Raises:
          InputError: the source has no labels, or others.
        """
        if self.train_labels is None or self.test_labels is None:
            raise InputError("Expected examples with labels, to condition on.", self.name)
        given = (self.train_labels, self.test_labels, self.validation_labels)
        both = np.concatenate([labels for labels in given if labels is not None])
        what = f"Expected integer labels from 0 in {self.name}."
        if both.dtype.kind not in "iu":
            raise InputError(what, both.dtype)
        if both.min() != 0:
            raise InputError(what, f"labels from {both.min()} to {both.max()}")
        return int(both.max()) + 1


@functools.partial(checked, name="name_or_path")
def load(name: str | os.PathLike[str] = "digits", data_dir: str | None = None) -> Examples:
    """Examples by name.

    Args:
      name: "digits", scikit-learn's 1,797 real 8x8 digits, which needs no download; a path that
        ends in .npy or .npz; or the name of any image data set of TensorFlow Datasets, such as
        "mnist" or "fashion_mnist", which TFDS downloads (to TFDS_DATA_DIR) where it is not yet.
        A .npz file holds `x_train`, `x_test` and optionally `y_train`, `y_test`, as Keras' own do,
        and `x_val`, `y_val`; or one array, as a .npy file, which is split 9 to 1. Images,
        `[n, height, width]` with or without channels, are uint8 or floats in 0..1; vectors,
        `[n, size]`, any finite numbers: non-negative integers are counts.
      data_dir: where TFDS keeps its data; None: TFDS_DATA_DIR, else TFDS' own default.

    Raises:
      InputError: nothing of that name, a file without examples, or a data set without an image.

    Example:
      >>> load("digits").train.shape
      (1500, 8, 8, 1)
    """
    name = os.fspath(name)
    if name == "digits":
        return _digits()
    if name.endswith((".npy", ".npz")):
        return _from_file(name)
    return _from_tfds(name, data_dir)


@checked
def binarized(
    images: np.ndarray, binarize: Binarize = "dynamic", seed: int | None = None
) -> np.ndarray:
    """All of `images` as float32 for evaluation: each pixel 1 with probability pixel / 255.

    Args:
      images: uint8. Examples that are no images are left as they are.
      binarize: "none" gives pixel / 255 itself.
      seed: the draw is a function of it and of all the images together: other images, such as a
        test set beside a training set, get independent noise. None: the seed that every evaluation
        shares.

    Example:
      >>> grey = np.full([2000, 8, 8, 1], 128, np.uint8)
      >>> a, b = binarized(grey[:1000]), binarized(grey[:999])
      >>> bool(abs(np.mean(a[:999] == b) - 0.5) < 0.01), bool((a == binarized(grey[:1000])).all())
      (True, True)
    """
    images = np.asarray(images)
    content = hashlib.blake2b(repr(images.shape).encode(), digest_size=16)
    if images.dtype == np.uint8 and binarize != "none":
        content.update(np.ascontiguousarray(images).data)
    words = np.frombuffer(content.digest(), np.uint32).tolist()
    return _binarized(images, binarize, [_EVALUATION_SEED if seed is None else seed, *words])


@checked
def training_images(images: np.ndarray, binarize: Binarize, seed: int) -> np.ndarray:
    """All of `images` as float32, "fixed" ones as `batches` has them for this seed.

    Those of "dynamic" are one draw more. The noise of a row is the same whatever rows come after
    it, and the same for all images: for one training set, not for two sets beside each other.

    Example:
      >>> images = load("digits").train
      >>> some = training_images(images[:10], "fixed", seed=3)
      >>> bool((some == training_images(images, "fixed", seed=3)[:10]).all())
      True
    """
    return _binarized(images, binarize, seed)


def _binarized(images: np.ndarray, binarize: Binarize, entropy: Any) -> np.ndarray:
    if images.dtype != np.uint8:
        return images.astype(np.float32)
    if binarize == "none":
        return images.astype(np.float32) / 255
    noise = np.random.default_rng(entropy).integers(0, 256, images.shape, np.uint8)
    return (noise < images.astype(np.int16) + (images > 127)).astype(np.float32)


@checked
def batches(
    images: np.ndarray,
    batch_size: int,
    binarize: Binarize = "dynamic",
    seed: int = 0,
    first_step: int = 0,
    labels: np.ndarray | None = None,
) -> tf.data.Dataset:
    """An endless data set of float32 training batches: batch t is a function of (seed, t) alone.

    Each epoch of `len(images) // batch_size` steps goes through the images in an order of its own;
    those that do not fill a batch are left out, others each time. So a run that stopped at a step
    goes on from there (`first_step`) as if it had not, with nothing to store.

    Args:
      images: uint8, `[n, ...]`; examples that are no images are left as they are.
      batch_size: at most n.
      binarize: "dynamic": each pixel is 1 with probability pixel / 255 (to within 1/512), drawn
        afresh each time (Burda et al., arXiv:1509.00519); "fixed": drawn once; "none": pixel / 255.
      seed: for order and pixels. The noise is the same for all images: give batches of other
        images, to be used beside these, another seed.
      first_step: the first batch's t.
      labels: `[n]`; with them a batch is a dict of "x" and "label".

    Example:
      >>> x = next(iter(batches(load("digits").train, 32)))
      >>> x.shape.as_list(), float(tf.reduce_max(x))
      ([32, 8, 8, 1], 1.0)
    """
    if not 1 <= batch_size <= len(images):
        raise InputError(f"Expected a batch size from 1 to {len(images)} images.", batch_size)
    steps = len(images) // batch_size
    ready = binarize == "fixed" or images.dtype != np.uint8
    table = tf.constant(training_images(images, binarize, seed) if ready else images)
    known = None if labels is None else tf.constant(labels, tf.int32)

    def order(epoch: tf.Tensor) -> tf.data.Dataset:
        shuffled = tf.random.experimental.stateless_shuffle(tf.range(len(images)), [seed, epoch])
        whole = tf.reshape(shuffled[: steps * batch_size], [steps, batch_size])
        return tf.data.Dataset.from_tensor_slices(whole)

    def batch(step: tf.Tensor, rows: tf.Tensor) -> Any:
        x = pixels(step, tf.gather(table, rows))
        return x if known is None else {"x": x, "label": tf.gather(known, rows)}

    def pixels(step: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        if ready:
            return x
        if binarize == "dynamic":
            return tf.cast(_random_bytes(x.shape, [seed, step]) < x, tf.float32)
        return tf.cast(x, tf.float32) / 255

    forever = np.iinfo(np.int64).max
    rows = tf.data.Dataset.range(first_step // steps, forever).flat_map(order)
    numbered = tf.data.Dataset.zip(
        tf.data.Dataset.range(first_step, forever), rows.skip(first_step % steps)
    )
    # As many ahead as `fit` takes at once, so that they are made while it computes.
    ahead = max(4, min(_AHEAD, _AHEAD_BYTES // (4 * batch_size * math.prod(images.shape[1:]))))
    made = numbered.map(batch, num_parallel_calls=2, deterministic=True).prefetch(ahead)
    return made.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))


def _random_bytes(shape: tf.TensorShape, seed: Any) -> tf.Tensor:
    """0 to 254, 127 twice as often: a byte of noise for a byte of pixel, and white stays white.

    A quarter of the random bits of a uniform, and what makes 254 of 255 done on four at a time.
    """
    size = shape.num_elements()
    words = tf.random.stateless_uniform([-(-size // 4)], seed, None, None, tf.int32)
    high = tf.bitwise.bitwise_and(tf.bitwise.right_shift(words, 7), 0x01010101)
    return tf.reshape(tf.reshape(tf.bitcast(words - high, tf.uint8), [-1])[:size], shape)


def _digits() -> Examples:
    from sklearn.datasets import load_digits  # half a second that others need not pay

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    order = np.random.default_rng(0).permutation(len(images))
    images, labels = images[order], bunch.target[order]
    return Examples("digits", images[:1500], images[1500:], labels[:1500], labels[1500:])


def _from_file(path: str) -> Examples:
    if not os.path.isfile(path):
        raise InputError("Expected a .npy or .npz file of examples.", f"{path}, which is not there")
    try:
        arrays = _arrays(path)
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        what = f"Expected {path} to be a file of numbers, as numpy writes it."
        raise InputError(what, error) from error  # objects, cut-off, other
    if {"x_train", "x_test"} <= set(arrays):
        return _splits(path, arrays)
    if len(arrays) != 1:
        raise InputError(
            f"Expected {path} to hold x_train and x_test, or one array.", sorted(arrays)
        )
    images = _standard(next(iter(arrays.values())), path)
    held_out = max(1, round(len(images) * _TEST_SHARE))
    images = images[np.random.default_rng(0).permutation(len(images))]
    return Examples(path, images[:-held_out], images[-held_out:])


def _splits(path: str, arrays: dict[str, np.ndarray]) -> Examples:
    third = next((split for split in _SPLITS[2:] if f"x_{split}" in arrays), None)
    names = ["train", "test"] if third is None else ["train", "test", third]
    splits = [_standard(arrays[f"x_{name}"], f"{path}[x_{name}]") for name in names]
    if len({split.dtype for split in splits}) > 1:  # counts that are all integers, and others
        splits = [split.astype(np.float32) for split in splits]
    if len({split.shape[1:] for split in splits}) > 1:
        raise InputError(
            f"Expected examples of one shape in {' and '.join(f'x_{name}' for name in names)} of "
            f"{path}.",
            " and ".join(str(split.shape[1:]) for split in splits),
        )
    labels = [
        _labels(arrays.get(f"y_{name}"), len(split), f"{path}[y_{name}]")
        for name, split in zip(names, splits, strict=True)
    ]
    return Examples(path, *splits[:2], *labels[:2], *splits[2:], *labels[2:])


def _arrays(path: str) -> dict[str, np.ndarray]:
    """What is needed of a file, and nothing before it is known that the file has as much."""
    if not zipfile.is_zipfile(path):
        return {path: np.array(np.load(path, mmap_mode="r"))}  # no map is longer than its file
    with np.load(path) as file:
        names = [f"{what}_{split}" for what in "xy" for split in _SPLITS]
        names = [name for name in names if name in file]
        if not {"x_train", "x_test"} <= set(names):
            names = file.files
            if len(names) != 1:
                return dict.fromkeys(names, np.empty(0))
        for name in names:
            stored = file.zip.getinfo(f"{name}.npy").file_size
            with file.zip.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                old = version == (1, 0)
                read = (
                    np.lib.format.read_array_header_1_0
                    if old
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(member)
            if math.prod(shape) * dtype.itemsize > stored:
                raise ValueError(f"{name} of shape {shape} in {stored:,} bytes")
        return {name: file[name] for name in names}


def _labels(labels: np.ndarray | None, count: int, what: str) -> np.ndarray | None:
    if labels is not None and labels.shape not in ((count,), (count, 1)):
        raise InputError(f"Expected a label for each of {count} images in {what}.", labels.shape)
    return None if labels is None else labels.reshape(-1)


def _standard(examples: np.ndarray, what: str) -> np.ndarray:
    """Images as uint8 with channels; vectors as float32, or as int32 where they are counts."""
    if examples.ndim == 3:
        examples = examples[..., np.newaxis]
    if examples.ndim not in (2, 4) or len(examples) < 2 or examples.size == 0:
        raise InputError(
            f"Expected {what} to hold at least two images, (n, height, width[, channels]), or "
            "vectors, (n, size).",
            examples.shape,
        )
    if examples.dtype.kind not in "biuf":
        raise InputError(f"Expected finite numbers in {what}.", examples.dtype)
    if not np.isfinite(examples).all():
        bad = int((~np.isfinite(examples)).any(axis=tuple(range(1, examples.ndim))).sum())
        raise InputError(
            f"Expected finite numbers in {what}.", f"{bad} of {len(examples)} rows with NaN or inf"
        )
    integers = examples.dtype.kind in "biu"
    if examples.ndim == 2:
        if integers and examples.max() > np.iinfo(np.int32).max:
            raise InputError(f"Expected counts in {what} below 2**31.", examples.max())
        return examples.astype(np.int32 if integers and examples.min() >= 0 else np.float32)
    if examples.dtype == np.uint8:
        return examples
    top = 255 if examples.dtype.kind in "iu" else 1
    if examples.min() < 0 or examples.max() > top:
        raise InputError(
            f"Expected pixels of {what} as integers in 0..255 or floats in 0..1.",
            f"{examples.dtype} from {examples.min():g} to {examples.max():g}",
        )
    return np.round(examples * (255.0 / top)).astype(np.uint8)


def _from_tfds(name: str, data_dir: str | None) -> Examples:
    import tensorflow_datasets as tfds

    from tfp_vae.data.downloads import prepare

    known = tfds.list_builders(with_community_datasets=False)
    if name.split("/")[0].split(":")[0] not in known:
        near = difflib.get_close_matches(name.lower(), [*known, "digits"], 3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise InputError(
            "Expected 'digits', a .npy or .npz file, or the name of a TensorFlow data set "
            f"(tfds.list_builders()).{hint}",
            repr(name),
        )
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (ValueError, AssertionError, KeyError) as error:  # no such version, no such config
        raise InputError(
            f"TFDS has {name.split('/')[0].split(':')[0]}, not this: {error}"
        ) from error
    image_key, label_key = _feature_keys(builder.info, tfds)
    prepare(builder)
    splits = builder.info.splits
    test = next((split for split in ("test", "validation") if split in splits), None)
    if test is None:
        cut = 100 - round(100 * _TEST_SHARE)
        names = [f"train[:{cut}%]", f"train[{cut}%:]"]
    else:
        names = ["train", test]
    if "validation" in splits and test == "test":
        names.append("validation")
    found = [_decode(builder, split, image_key, label_key, tfds) for split in names]
    (x, y), (x_test, y_test), *third = found
    return Examples(name, x, x_test, y, y_test, *(third[0] if third else ()))


def _feature_keys(info: Any, tfds: Any) -> tuple[str, str | None]:
    features = dict(info.features) if hasattr(info.features, "items") else {}
    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    if not images or None in features[images[0]].shape:
        raise InputError(
            f"Expected a data set with images of one size, all of them; {info.full_name} has none.",
            info.features,
        )
    labels = [key for key, f in features.items() if isinstance(f, tfds.features.ClassLabel)]
    return images[0], labels[0] if labels else None


def _decode(builder: Any, split: str, image_key: str, label_key: str | None, tfds: Any) -> Any:
    config = tfds.ReadConfig(num_parallel_calls_for_decode=2)  # 3 s for MNIST, not 10
    examples = builder.as_dataset(split=split, read_config=config).batch(1024)
    parts = list(examples.as_numpy_iterator())
    images = np.concatenate([part[image_key] for part in parts])
    if images.dtype != np.uint8:
        raise InputError(f"Expected 8-bit images in {builder.info.full_name}.", images.dtype)
    labels = None if label_key is None else np.concatenate([part[label_key] for part in parts])
    return images, labels
