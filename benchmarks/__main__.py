"""`python -m benchmarks`: each program in a process of its own, alternating, several rounds."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.cases import CASES, PEERS
from benchmarks.work import STARTED

_NEEDS = {
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


def main() -> None:
    """Runs what the options say and leaves the table, the JSON and the figure in a folder."""
    options = _options()
    peers = [peer for peer in options.peer if _is_there(peer)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.images or Path(scratch)
        if options.images is None:
            subprocess.run([sys.executable, "-c", _PREPARE, options.data, scratch], check=True)
        runs = measure(options.case, peers, folder, options.rounds, options.limit)
    results = report.summary(runs)
    versions: dict[str, str] = {}
    for rounds in (r for found in runs.values() for r in found.values()):
        versions.update(rounds[0].get("versions", {}))
    about = {
        **report.machine(),
        "versions": versions,
        "rounds": options.rounds,
        "data": options.data,
    }
    text = report.table(results)
    print(text)
    print(about)
    wrong = report.disagreements(results)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "table.md").write_text(text)
    report.write_json(options.out / "results.json", results, about)
    report.figure(options.out / "ratios.png", results, options.case)
    if wrong:
        sys.exit("Not the same loss:\n" + "\n".join(wrong))


def measure(
    cases: list[str], peers: list[str], folder: Path, rounds: int, limit: float
) -> report.Runs:
    """All cases, one after the other; in each, round after round of all peers in turn."""
    runs: report.Runs = {}
    for case in cases:
        runs[case] = {peer: [] for peer in peers}
        for number in range(rounds):
            for peer in peers:
                if runs[case][peer] and "seconds" not in runs[case][peer][-1]:
                    continue  # it does not do this case
                result = run(peer, case, folder, limit)
                runs[case][peer].append(result)
                took = result.get("seconds") or [result.get("absent", "did not get there")]
                print(f"{case} {number + 1}/{rounds} {peer}: {took[0]}", file=sys.stderr)
    return runs


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


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--case", nargs="+", choices=CASES, default=list(CASES), help="the cases; all of them")
    add("--peer", nargs="+", choices=PEERS, default=list(PEERS), help="the programs; all of them")
    add("--rounds", type=int, default=3, help="how often each is run")
    add("--data", default="mnist", help="as for tfp-vae train: 28x28 grey images")
    add("--images", type=Path, help="a folder that has train.npy and test.npy already")
    add("--limit", type=float, default=600.0, help="seconds that one program may take")
    add("--out", type=Path, default=Path("benchmarks/results"), help="for table, JSON and figure")
    return parser.parse_args()


if __name__ == "__main__":
    main()
