"""The work that every program is given, and how it is timed: nothing here knows a peer."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

STARTED = "BENCHMARK_STARTED"  # when the process was started, in seconds since the epoch


@dataclasses.dataclass
class Work:
    """The data and the sizes of one case, and what is measured on the way.

    Attributes:
      folder: holds train.npy and test.npy, uint8 images `[n, height, width]`.
      widths: of the hidden layers of the encoder; the decoder's are the same backwards.
      latent_size: of z.
      batch_size: of training.
      num_samples: draws of z for each image.
      epochs: how often the training images are gone through.
      train_images: how many of them; None: all.
      test_images: likewise.
      side: the images' height and width: of another than 28 they are made larger or smaller.
      rate: the highest learning rate of case `goal`, after a tenth of the steps.
      planned_epochs: how many epochs the training is for, where it is stopped after `epochs`.
      seconds: one entry for each repetition of the timed work.
      found: what else the program says of itself: "negative_elbo", "log_likelihood", in nats.
    """

    folder: Path
    widths: tuple[int, ...] = (200, 200)
    latent_size: int = 50
    batch_size: int = 128
    num_samples: int = 1
    epochs: int = 4
    train_images: int | None = None
    test_images: int | None = None
    side: int = 28
    rate: float = 1e-3
    planned_epochs: int | None = None
    seconds: list[float] = dataclasses.field(default_factory=list)
    found: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def train(self) -> np.ndarray:
        """The training images, uint8, `[n, height, width]`."""
        return self._scaled(np.load(self.folder / "train.npy")[: self.train_images])

    @property
    def test(self) -> np.ndarray:
        """The test images, each pixel drawn once with probability pixel / 255; float32."""
        images = self._scaled(np.load(self.folder / "test.npy")[: self.test_images])
        noise = np.random.default_rng(0).random(images.shape, np.float32)
        return (noise < images / np.float32(255)).astype(np.float32)

    @property
    def pixels(self) -> int:
        """How many an image has."""
        return self.side * self.side

    def _scaled(self, images: np.ndarray) -> np.ndarray:
        """By the nearest pixel."""
        rows, columns = (np.arange(self.side) * size // self.side for size in images.shape[1:])
        return images if self.side == images.shape[1] else images[:, rows][:, :, columns]

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Adds a repetition: the seconds of the block."""
        start = time.perf_counter()
        yield
        self.seconds.append(time.perf_counter() - start)

    def repeat(self, run: Callable[[], Any], times: int = 20, first: bool = False) -> Any:
        """Times `run` so many times, after one that is not counted unless `first`."""
        result = None if first else run()
        for _ in range(times):
            with self.timed():
                result = run()
        return result


def since_start() -> float:
    """Seconds since this process was started, interpreter and imports included."""
    return time.time() - float(os.environ[STARTED])


def peak_megabytes() -> float:
    """The most memory that this process has had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
