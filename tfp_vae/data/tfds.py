"""Examples from the image data sets of TensorFlow Datasets."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np

from tfp_vae.data.examples import TEST_SHARE, Examples
from tfp_vae.errors import InputError
from tfp_vae_cli.folders import check_known


def load(name: str, data_dir: str | None) -> Examples:
    """Loads a data set, which is downloaded where it is not there yet."""
    import tensorflow_datasets as tfds

    from tfp_vae.data.downloads import prepare

    check_known(name, tfds.list_builders(with_community_datasets=False), InputError)
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except (ValueError, AssertionError, KeyError) as error:  # of a version or a config
        raise InputError(
            f"TFDS has {name.split('/')[0].split(':')[0]}, not this: {error}"
        ) from error
    image_key, label_key = _feature_keys(builder.info, tfds)
    prepare(builder)
    splits = _splits(builder.info.splits)
    found = [_decode(builder, split, image_key, label_key, tfds) for split in splits]
    (x, y), (x_test, y_test), *third = found
    return Examples(name, x, x_test, y, y_test, *(third[0] if third else ()))


def _splits(known: Container[str]) -> list[str]:
    """Returns the splits for training, for the test, and for validation if there is one."""
    if "test" in known:
        return ["train", "test", *(["validation"] if "validation" in known else [])]
    if "validation" in known:
        return ["train", "validation"]
    cut = 100 - round(100 * TEST_SHARE)
    return [f"train[:{cut}%]", f"train[{cut}%:]"]


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
