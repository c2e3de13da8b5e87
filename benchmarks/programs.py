"""Programs in processes of their own: which there are, their data, and what they print."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import PEERS
from benchmarks.work import STARTED

_NEEDS: dict[str, tuple[str, ...]] = {
    "ours_onnx": ("tf2onnx", "onnxruntime"),
    "ours_litert": ("ai_edge_litert",),
    "pytorch": ("torch",),
    "pytorch_compiled": ("torch",),
    "jax_scan": ("jax", "optax"),
    "tfp_layers": ("tf_keras",),
    "pythae_trainer": ("pythae",),
}
_PREPARE = """
import sys, numpy
from tfp_vae import data
images = data.load(sys.argv[1])
numpy.save(sys.argv[2] + "/train.npy", images.train[..., 0])
numpy.save(sys.argv[2] + "/test.npy", images.test[..., 0])
"""


def options(
    doc: str | None, cases: Sequence[str], peers: Sequence[str], rounds: int
) -> argparse.Namespace:
    """What the command line says; of the programs those whose libraries are there."""
    parser = argparse.ArgumentParser(description=doc)
    add = parser.add_argument
    add("--case", nargs="+", choices=cases, default=list(cases), help="the cases; all of them")
    add("--peer", nargs="+", choices=peers, default=list(peers), help="the programs; all of them")
    add("--rounds", type=int, default=rounds, help="how often each is run")
    add("--data", default="mnist", help="as for tfp-vae train: 28x28 grey images")
    add("--images", type=Path, help="a folder that has train.npy and test.npy already")
    add("--limit", type=float, default=600.0, help="seconds that one program may take")
    add("--out", type=Path, default=Path("benchmarks/results"), help="for table, JSON and figure")
    found = parser.parse_args()
    found.peer = [peer for peer in found.peer if _is_there(peer)]
    return found


@contextlib.contextmanager
def images_in(chosen: argparse.Namespace) -> Iterator[Path]:
    """The folder of the images that the options name."""
    if chosen.images is not None:
        yield chosen.images
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", _PREPARE, chosen.data, folder], check=True)
        yield Path(folder)


def run(peer: str, case: str, folder: Path, limit: float, **changes: Any) -> dict[str, Any]:
    """One program in one process; what went wrong, where it failed, stands under "absent"."""
    command = [sys.executable, "-m", "benchmarks.worker", peer, case, str(folder)]
    environment = {
        **os.environ,
        STARTED: repr(time.time()),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",  # each start is a cold one
    }
    try:
        done = subprocess.run(
            [*command, json.dumps(changes)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"absent": f"not done within {limit:g} s"}
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return {"absent": (done.stderr.strip().splitlines() or ["failed"])[-1][:100]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def _is_there(peer: str) -> bool:
    missing = [name for name in _NEEDS.get(peer, ()) if importlib.util.find_spec(name) is None]
    if missing:
        print(f"{PEERS[peer]} is left out: {', '.join(missing)} is not installed.", file=sys.stderr)
    return not missing
