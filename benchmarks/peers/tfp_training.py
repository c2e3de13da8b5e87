"""How `tfp_layers` feeds, times and evaluates its models."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.peers.tfp_models import tf, tfk
from benchmarks.work import Work


class Timer(tfk.callbacks.Callback):
    """Adds the seconds from one epoch's end to the next."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work
        self.before = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.work.seconds.append(time.perf_counter() - self.before)
        self.before = time.perf_counter()


def train(model: tfk.Model, work: Work) -> None:
    """Times each epoch."""
    model.fit(batches(work), epochs=work.epochs, verbose=0, callbacks=[Timer(work)])


def batches(work: Work) -> tf.data.Dataset:
    """The training images, binarized anew each time."""

    def binarize(pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.cast(pixels, tf.float32) / 255.0
        x = tf.cast(tf.random.uniform(tf.shape(x)) < x, tf.float32)
        return x, x

    images = tf.data.Dataset.from_tensor_slices(work.train[..., np.newaxis]).shuffle(10_000)
    images = images.batch(work.batch_size, drop_remainder=True)
    return images.map(binarize, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def test(work: Work) -> np.ndarray:
    """The test images, of zeros and ones."""
    return work.test[..., np.newaxis]


def evaluate(mean: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray, chunk: int = 2000) -> float:
    """The mean over images of zeros and ones."""
    parts = [x[at : at + chunk] for at in range(0, len(x), chunk)]
    values = [float(mean(tf.constant(part))) for part in parts]
    return float(np.average(values, weights=[len(part) for part in parts]))
