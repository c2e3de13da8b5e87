"""What the tests share: seeds, small models, and a fresh Python process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest

from tfp_vae import data, layers, networks

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser):
    parser.addoption(
        "--full",
        action="store_true",
        help="also cases that repeat another in one more shape or mode: a third longer",
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--full") or any("::" in argument for argument in config.args):
        return
    again = [item for item in items if item.get_closest_marker("again")]
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if item not in set(again)]


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def digits() -> data.Examples:
    return data.load("digits")


@pytest.fixture(scope="session")
def x(digits) -> np.ndarray:
    """64 binary digits."""
    return data.binarized(digits.train[:64])


def small_networks(latent_size: int = 2, regularized: bool = True, shape=(8, 8, 1)):
    """An encoder, with or without its KL regularizer, and a decoder, for digits."""
    posterior = latent_size if regularized else layers.IndependentNormal(latent_size)
    return (
        networks.encoder(shape, posterior, widths=(16,)),
        networks.decoder(latent_size, layers.IndependentBernoulli(shape), widths=(16,)),
    )


def python(code: str, **environment: str) -> str:
    """What `code` prints in a fresh process; its failure is the test's."""
    done = command([sys.executable, "-c", code], **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def command(arguments: list, timeout: float = 300, **environment: str):
    """A finished process: `returncode`, `stdout`, `stderr`."""
    return subprocess.run(
        [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=environment.pop("cwd", ROOT),
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **environment},
    )


def counted(images, labels=None) -> Counter:
    """Images, with their labels if any, whatever their order."""
    labels = [None] * len(images) if labels is None else labels.tolist()
    return Counter((image.tobytes(), label) for image, label in zip(images, labels, strict=True))


def random_bytes(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
