"""`python -m benchmarks.faults.services`: draws among threads, and what many calls leave behind."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfp_vae import VAE, layers, networks

_THREADS, _DRAWS = 8, 480
_FIRST, _CALLS, _MOST_ROWS = 500, 1000, 200  # the first fill what the allocator keeps


def main() -> None:
    """Prints duplicate draws, and megabytes and milliseconds of calls of ever other sizes."""
    vae = VAE(
        networks.encoder((8, 8, 1), 2, widths=(32,)),
        networks.decoder(2, layers.IndependentBernoulli((8, 8, 1)), widths=(32,)),
    )
    x = np.zeros([4, 8, 8, 1], "float32")
    with tempfile.TemporaryDirectory() as folder:
        vae.export(Path(folder) / "model", verbose=False)
        served = tf.saved_model.load(str(Path(folder) / "model"))
    ways: dict[str, Callable[[], Any]] = {
        "vae.sample(1)": lambda: vae.sample(1),
        "vae.encode(x).sample()": lambda: vae.encode(x).sample(),
        "vae(x)": lambda: vae(x).latents.z,
        "vae.log_likelihood(x, 3)": lambda: vae.log_likelihood(x, 3),
        "a SavedModel's sample(1)": lambda: served.sample(tf.constant(1)),
        "a SavedModel's log_likelihood(x, 3)": lambda: served.log_likelihood(x, tf.constant(3)),
    }
    for name, draw in ways.items():
        print(f"{name}: {duplicates(draw)} of {_DRAWS} draws by {_THREADS} threads came twice")
    megabytes, milliseconds = calls(vae)
    print(
        f"log_likelihood, {_CALLS} calls of 1 to {_MOST_ROWS} rows: "
        f"{megabytes:.1f} MB more, {milliseconds:.1f} ms at the median"
    )


def duplicates(draw: Callable[[], Any]) -> int:
    """How many draws of several threads are one that another has got too."""
    draw()  # traced by one
    with ThreadPoolExecutor(_THREADS) as threads:
        drawn = list(threads.map(lambda _: draw().numpy().tobytes(), range(_DRAWS)))
    return _DRAWS - len(set(drawn))


def calls(vae: VAE) -> tuple[float, float]:
    """Memory that calls of other sizes leave behind, in MB, and the median time of one, in ms."""
    rng = np.random.default_rng(0)
    before, times = 0.0, []
    for call in range(_FIRST + _CALLS):
        if call == _FIRST:
            before, times = _resident(), []
        x = np.zeros([rng.integers(1, _MOST_ROWS + 1), 8, 8, 1], "float32")
        start = time.perf_counter()
        vae.log_likelihood(x, 5).numpy()
        times.append(time.perf_counter() - start)
    return _resident() - before, 1e3 * float(np.median(times))


def _resident() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
