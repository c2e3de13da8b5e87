"""One program in a process of its own, `python -m benchmarks.worker PEER CASE FOLDER`."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from importlib import metadata
from pathlib import Path

from benchmarks.cases import CASES
from benchmarks.work import Work, peak_megabytes


def main(peer: str, case: str, folder: str, changes: str = "{}") -> None:
    """Runs the case and prints what it took; the last line of the output is one JSON object."""
    module = importlib.import_module(f"benchmarks.peers.{peer}")
    run = getattr(module, CASES[case].run, None)
    if run is None:
        print(json.dumps({"absent": "not done by this peer"}))
        return
    work = Work(Path(folder), **{**CASES[case].sizes, **json.loads(changes)})
    run(work)
    print(
        json.dumps(
            {
                "seconds": work.seconds[CASES[case].warm_up :],
                "found": work.found,
                "peak_megabytes": peak_megabytes(),
                "versions": _versions(),
                "sizes": {
                    key: value
                    for key, value in dataclasses.asdict(work).items()
                    if key not in ("folder", "seconds", "found")
                },
            }
        )
    )


def _versions() -> dict[str, str]:
    """Of the libraries that this process has loaded."""
    names = ("tfp_vae", "tensorflow", "keras", "tf_keras", "torch", "jax", "optax", "pythae")
    names += ("onnxruntime", "ai_edge_litert")
    return {name: metadata.version(name) for name in names if name in sys.modules}


if __name__ == "__main__":
    main(*sys.argv[1:])
