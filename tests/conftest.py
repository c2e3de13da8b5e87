"""What the tests share: seeds, small models, and a fresh Python process."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import keras
import numpy as np
import pytest

from tfp_vae import data, layers, networks

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="all cases of all tests")
    parser.addoption("--rest", action="store_true", help="what a run without --full leaves out")


def pytest_collection_modifyitems(config, items):
    named = any("::" in argument for argument in config.args)
    if config.getoption("--full") or named:
        return
    quick = quick_cases(items)
    taken = [item for item in items if (item in quick) != config.getoption("--rest")]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(taken)])
    items[:] = taken


def quick_cases(items) -> set:
    """Returns one case of each test, of rows that differ, and a first case of every other row.

    A row is one argument's value in one file. A test marked `one` takes no further rows, a case
    marked `again` is never quick.
    """
    tests, seen, quick = defaultdict(list), set(), set()
    for item in items:
        if not item.get_closest_marker("again"):
            tests[item.path, item.parent.name, item.originalname].append(item)

    def take(item):
        quick.add(item)
        seen.update(rows(item))

    for cases in tests.values():
        take(max(cases, key=lambda item: len(rows(item) - seen)))
    for item in itertools.chain(*tests.values()):
        if rows(item) - seen and not item.get_closest_marker("one"):
            take(item)
    return quick


def rows(item) -> set:
    values = item.callspec.params.items() if hasattr(item, "callspec") else ()
    return {(item.path, name, identity(value)) for name, value in values}


def identity(value):
    try:
        hash(value)
    except TypeError:
        return id(value)
    return value


@pytest.fixture(autouse=True)
def _seeded():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True, scope="module")
def _lean():
    """Keeps what earlier files left, TensorFlow's graphs above all, out of each collection."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The test's own folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


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
