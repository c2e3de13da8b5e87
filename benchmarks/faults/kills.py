"""`python -m benchmarks.faults.kills --kills 200`: runs that are killed, against runs that are not.

TensorFlow is imported once; each run is a fork of that process from before its first operation. A
run is killed after a random time, before one of the things that it does to its folder (a file that
it opens to write, renames, takes away; a folder that it makes), or within a write: by the limit on
the size of a file, beyond which the operating system kills. It is resumed, and a third of the runs
are killed again meanwhile. At the end all must be, bit for bit, as in the run that nobody killed.
"""

from __future__ import annotations

import argparse
import collections
import functools
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import matplotlib.pyplot  # noqa: F401  (here, once for all forks)
import numpy as np
import sklearn.datasets  # noqa: F401
import tensorboard  # noqa: F401

from tfp_vae.app import training
from tfp_vae.callbacks import KeepGood
from tfp_vae_cli import command

ROWS = 160
# Few steps in a call, so that there are some in the middle of an epoch.
CASES = {
    "vae": ["--epochs", "4", "--batch_size", "4"],
    "vq_vae": ["--epochs", "4", "--batch_size", "16"],
    "joint_vae": ["--epochs", "4", "--batch_size", "16"],
    "two_stage_vae": ["--epochs", "4", "--batch_size", "16"],
    "capacity_beta_vae": ["--epochs", "3", "--batch_size", "4"],
}
_AGAIN = 1 / 3
_EVERY = (0.1, 0.1, 0.0)  # seconds between saves, so that a short run has many
_NOT_THE_RUN = {".lock", "logs"}  # the times of a run are in its TensorBoard logs


def main() -> None:
    """Prints for each recipe how many killed runs ended as the one that was not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--recipe", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    runs, kills, differing = 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        np.save("digits.npy", training.data.load("digits").train[:ROWS])
        for recipe in given.recipe:
            share = -(-(given.kills - kills) // (len(given.recipe) - given.recipe.index(recipe)))
            count, how, found = killed_runs(recipe, share, rng)
            kills, runs, differing = kills + share, runs + count, differing + found
            print(
                f"{recipe}: {share} kills ({how}) in {count} runs, {len(found)} differ", flush=True
            )
    print(f"{kills} kills in {runs} runs: {runs - len(differing)} equal to the run not killed")
    print("\n".join(differing))


def killed_runs(recipe: str, kills: int, rng: random.Random) -> tuple[int, str, list[str]]:
    """Kills so often: how many runs that took, the kinds of kills, and what ended otherwise."""
    words = words_of(recipe)
    whole = Path(recipe)
    start = time.monotonic()
    log = Path(f"{recipe}.log")
    if run([*words, "--out", recipe], whole, log):
        raise RuntimeError(Path(f"{recipe}.screen").read_text())
    seconds = time.monotonic() - start
    expected, events = contents(whole), log.read_text().splitlines()
    moments = iter(())
    found, number, kinds = [], 0, collections.Counter()
    while kinds.total() < kills:
        number += 1
        killed, how = Path(f"{recipe}-{number}"), []
        while True:
            begun = (killed / "config.yaml").is_file()
            order = ["train", "--resume", str(killed)] if begun else [*words, "--out", str(killed)]
            if kinds.total() < kills and (not how or rng.random() < _AGAIN):
                moment = next(moments, None)
                if moment is None:
                    moments = _moments(whole, events, seconds, rng)
                    moment = next(moments)
            else:
                moment = ("never", 0)
            code = run(order, killed, None, moment, every=rng.choice([*_EVERY, 15.0]))
            how.append(f"{moment[0]} {moment[1]}")
            if code >= 0:
                break
            kinds[moment[0]] += 1
        ended = Path(f"{killed}.screen").read_text().rpartition("error: ")[2]
        complete = ended.startswith("The run is complete")  # what was killed was its very last act
        wrong = [f"exit code {code}"] if code and not complete else []
        wrong += differences(expected, contents(killed))
        if wrong:
            found.append(f"{killed}, killed {', '.join(how)}: {'; '.join(wrong)}")
            print(found[-1], flush=True)
        shutil.rmtree(killed, ignore_errors=True)
    how = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return number, how, found


def words_of(recipe: str) -> list[str]:
    """The command's, for a small run of a recipe."""
    words = ["train", "--data", "digits.npy", "--recipe", recipe, "--widths", "8", *CASES[recipe]]
    return words if recipe == "two_stage_vae" else [*words, "--latent_size", "2"]


Moment = tuple[str, Any]


def _moments(
    whole: Path, events: list[str], seconds: float, rng: random.Random
) -> Iterator[Moment]:
    """Each event of the run, each file that it writes, and as many times at random, shuffled."""
    found: list[Moment] = [("before", number) for number in range(len(events))]
    for number, event in enumerate(events):
        kind, _, path = event.partition(" ")
        sizes = [f.stat().st_size for f in (whole.parent / path, _final(path)) if f.is_file()]
        if kind == "open" and sizes:
            found.append(("within", (number, rng.randrange(sizes[0] or 1))))
    found += [("at", round(rng.uniform(0, seconds), 3)) for _ in found]
    rng.shuffle(found)
    return iter(found)


def _final(path: str) -> Path:
    return Path(path.replace(".new", ""))


def run(
    words: list[str],
    folder: Path,
    log: Path | None = None,
    moment: Moment = ("never", 0),
    every: float = _EVERY[0],
) -> int:
    """The exit code of a command in a fork of this process, negative where it was killed.

    Args:
      words: of the command.
      folder: that of the run.
      log: where its events are written, a line each.
      moment: when to kill it: "before" an event, "within" one's writes, "at" so many seconds.
      every: seconds between saves.
    """
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _become(words, folder, log, moment, every)
    if moment[0] == "at":
        timer = threading.Timer(moment[1], os.kill, (child, signal.SIGKILL))
        timer.start()
        status = os.waitpid(child, 0)[1]
        timer.cancel()
    else:
        status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


def _become(words: list[str], folder: Path, log: Path | None, moment: Moment, every: float) -> None:
    """The command, in the fork; it does not return."""
    code = 70
    try:
        sys.argv = ["tfp-vae"]
        screen = os.open(f"{folder}.screen", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(screen, 1)
        os.dup2(screen, 2)
        training.KeepGood = functools.partial(KeepGood, every_seconds=every)
        lines = [] if log is None else log.open("w", buffering=1)
        sys.addaudithook(_watch(os.path.abspath(folder), lines, moment))
        code = command.main(words)
        sys.stdout.flush()
    finally:
        os._exit(code)


def _watch(folder: str, log: Any, moment: Moment) -> Callable[..., None]:
    """An audit hook that counts what is done to a folder, and kills at one of these."""
    kind, what = moment
    last, limit = what if kind == "within" else (what if kind == "before" else -1, None)
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            return
        path = arguments[0]
        if not isinstance(path, (str, os.PathLike)):
            return
        writes = event != "open" or arguments[2] & (os.O_WRONLY | os.O_RDWR)
        path = os.path.abspath(path)
        if not writes or not path.startswith(folder + os.sep):
            return
        if hasattr(log, "write"):
            log.write(f"{event} {os.path.relpath(path)}\n")
        if count == last and kind == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if count == last:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        count += 1

    return hook


def contents(folder: Path) -> dict[str, Any]:
    """What is in a run's folder, by name: bytes; of models all arrays, by their paths."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and name.split("/")[0] not in _NOT_THE_RUN:
            found[name] = _arrays(path) if path.suffix == ".keras" else path.read_bytes()
    return found


def _arrays(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = collections.OrderedDict()

    def add(name: str, each: Any) -> None:
        if isinstance(each, h5py.Dataset):
            found[name] = str(each.dtype).encode() + each[()].tobytes()

    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content) as file:
        file.visititems(add)
    return found


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """In words."""
    names = sorted({*expected, *found})
    missing = [n for n in names if n not in found or n not in expected]
    return [f"{n} is only in one" for n in missing] + [
        f"{n} differs" for n in names if n not in missing and expected[n] != found[n]
    ]


if __name__ == "__main__":
    main()
