"""`python -m benchmarks.faults.mutations --times 500`: a run's files changed at random, then read.

Bits flipped, ends cut off, members of the archive taken out, renamed or made twice, values of its
JSON replaced, arrays of other shapes and sizes; `config.yaml`, `metrics.csv` and `results.json`
likewise. Each time one of the commands reads the run. Counted are exit codes, tracebacks and what
runs code (a process started, a connection, a pickle); time and memory are the most of any.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tfp_vae_cli import command

COMMANDS = {
    "sample": ["sample", "run", "--num", "2", "--out", "x.npy"],
    "evaluate": ["evaluate", "run", "--num_samples", "2", "--examples", "5"],
    "export": ["export", "run", "saved"],
    "resume": ["train", "--resume", "run", "--epochs", "3"],
}
_VALUES = [
    None,
    -1,
    0,
    1,
    10**9,
    10**15,
    1e308,
    float("nan"),
    "",
    "x",
    "é" * 50,
    [],
    [[]],
    {},
    True,
]
_VALUES += [
    {"class_name": "function", "config": "get_file", "module": "keras.utils"},
    ["keras"] * 9,
]
RUNS_CODE = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
    "pickle.find_class",
)


def flipped(content: bytes, rng: random.Random) -> bytes:
    """With one to forty of its bits turned around."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 3, 40])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    """Without its end, or with something else at the end."""
    end = rng.randrange(len(content))
    return content[:end] if rng.random() < 0.7 else content[:end] + rng.randbytes(200)


def other_value(content: bytes, rng: random.Random) -> bytes:
    """JSON with a value replaced or taken out, anywhere."""
    root = [json.loads(content)]
    places: list[tuple[Any, Any]] = []

    def look(part: Any) -> None:
        keys = list(part) if isinstance(part, dict) else range(len(part))
        for key in keys:
            places.append((part, key))
            if isinstance(part[key], (dict, list)):
                look(part[key])

    look(root)
    part, key = rng.choice(places)
    if rng.random() < 0.2 and part is not root:
        del part[key]
    else:
        part[key] = rng.choice(_VALUES)
    return json.dumps(root[0]).encode()


def other_array(content: bytes, rng: random.Random) -> bytes:
    """HDF5 with an array of another shape, size or type, or without it."""
    file = io.BytesIO(content)
    names: list[str] = []
    with h5py.File(file, "r+") as store:
        store.visit(names.append)
        name = rng.choice(names)
        is_array = isinstance(store[name], h5py.Dataset)
        del store[name]
        if is_array and rng.random() < 0.9:
            made: list[Callable[[], Any]] = [
                lambda: store.create_dataset(name, (10**6, 10**6), "f4", chunks=(10**3, 10**3)),
                lambda: store.create_dataset(name, data=np.full([3, 5], np.nan)),
                lambda: store.create_dataset(name, data=b"text"),
                lambda: store.create_dataset(name, data=np.zeros([2, 2], "i8")),
                lambda: store.create_group(name),
            ]
            rng.choice(made)()
    return file.getvalue()


def other_member(content: bytes, rng: random.Random) -> bytes:
    """A .keras file with a member changed within, taken out, renamed, emptied, or there twice."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        comment = archive.comment
    name = rng.choice(list(members))
    inside = [flipped, cut, other_array if name.endswith("h5") else other_value]
    kind = rng.choice(
        [*inside, inside[-1], inside[-1], "out", "renamed", "empty", "twice", "comment"]
    )
    if callable(kind):
        members[name] = kind(members[name], rng)
    elif kind in ("out", "renamed"):
        found = members.pop(name)
        if kind == "renamed":
            members[rng.choice([name.upper(), f"../{name}", f"assets/{name}", "x" * 300])] = found
    elif kind == "empty":
        members[name] = b""
    elif kind == "comment":
        comment = (flipped if comment else cut)(comment or b"{}", rng)
    file = io.BytesIO()
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for each, value in members.items():
            archive.writestr(each, value)
        if kind == "twice":
            archive.writestr(name, flipped(members[name], rng))
        archive.comment = comment
    return file.getvalue()


def other_line(content: bytes, rng: random.Random) -> bytes:
    """Text with a line taken out, replaced or made twice."""
    lines = content.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    strange = [
        b"\n",
        b"null\n",
        b"a: &a [*a]\n",
        "größe: 3\n".encode("latin-1"),
        b"\x00\xff\n",
        b"]\n",
    ]
    lines[at : at + 1] = rng.choice([[], [lines[at]] * 2, [rng.choice(strange)], [lines[at][:5]]])
    return b"".join(lines)


KINDS = {
    "model.keras": [flipped, cut, other_member, other_member, other_member, other_member],
    "config.yaml": [flipped, cut, other_line, other_line],
    "metrics.csv": [flipped, cut, other_line],
    "results.json": [flipped, cut, other_value],
}


def mutated(folder: Path, rng: random.Random) -> str:
    """Changes one of a run's files, the model three times of four, and says how."""
    name = rng.choice(["model.keras"] * 3 * (len(KINDS) - 1) + list(KINDS)[1:])
    kind = rng.choice(KINDS[name])
    file = folder / name
    file.write_bytes(kind(file.read_bytes(), rng))
    return f"{name} {kind.__name__}"


def called(words: list[str]) -> tuple[int, str]:
    """The exit code of the command in this process, and what it said of errors."""
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(out):
        code = command.main(words)
    return code, said.getvalue()


def main() -> None:
    """Prints what came of so many mutations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        train = ["train", "--widths", "8", "--epochs", "2", "--out", "whole"]
        _in_a_fork(lambda: called(train))
        number, found = 0, Path("found.txt")
        found.touch()
        while number < given.times:
            some = range(number, min(number + 25, given.times))
            _in_a_fork(functools.partial(_some, some, given.seed, found))
            done = len(found.read_text().splitlines())
            if done < some.stop:  # the process ended within it
                with found.open("a") as file:
                    file.write(f"ended\t{done}\t0\t0\t0\t\n")
                done += 1
            number = done
        rows = [line.split("\t") for line in found.read_text().splitlines()]
    print("exit codes:", dict(collections.Counter(row[0] for row in rows)))
    print("tracebacks:", sum("Traceback" in row[5] for row in rows))
    print("code run:", sum(int(row[4]) for row in rows))
    print(
        f"most: {max(float(row[2]) for row in rows):.1f} s, {max(int(row[3]) for row in rows)} MB"
    )
    for row in rows:
        if row[0] not in ("0", "2") or "Traceback" in row[5] or int(row[4]):
            print(*row)


def tried(number: int, seed: int) -> tuple[int, str, str]:
    """A mutation of a copy of the run `whole`: exit code, errors, and what it was."""
    rng = random.Random(f"{seed} {number}")
    command = rng.choice(list(COMMANDS))
    for old in ("run", "saved"):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree("whole", "run")
    how = mutated(Path("run"), rng)
    return *called(COMMANDS[command]), f"{number} {command} {how}"


def _some(numbers: range, seed: int, found: Path) -> None:
    ran: list[str] = []
    sys.addaudithook(lambda event, _: ran.append(event) if event in RUNS_CODE else None)
    for number in numbers:
        ran.clear()
        start = time.monotonic()
        code, said, how = tried(number, seed)
        seconds = time.monotonic() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        line = " ".join(said.split())
        with found.open("a") as file:
            file.write(f"{code}\t{how}\t{seconds:.2f}\t{memory}\t{len(ran)}\t{line}\n")


def _in_a_fork(work: Callable[[], Any]) -> None:
    """A process of its own, since what it reads may end it."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        try:
            sys.argv = ["tfp-vae"]
            work()
            sys.stdout.flush()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    import tfp_vae.app.cli  # noqa: F401  (once for all forks)

    main()
