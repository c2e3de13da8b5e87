"""`python -m benchmarks.faults.disks FOLDER`: runs on a full disk, against one that had room.

FOLDER is on a small file system of its own (`mount -t tmpfs -o size=8m tmpfs FOLDER`). It is filled
up but for a random rest, a run begins there and fails; then there is room, and it is resumed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import time
from pathlib import Path

import numpy as np

from benchmarks.faults import kills
from tfp_vae.app import training


def main() -> None:
    """Prints how many runs ended as the one that had room, and what failed ones said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder")
    parser.add_argument("--times", type=int, default=30)
    given = parser.parse_args()
    os.chdir(given.folder)
    rng, said, wrong, failed = random.Random(0), set[str](), [], 0
    np.save("digits.npy", training.data.load("digits").train[: kills.ROWS])
    for recipe in ("vae", "vq_vae"):
        words = kills.words_of(recipe)
        before = _free()
        whole = Path(recipe)
        kills.run([*words, "--out", recipe], whole)
        expected, needed = kills.contents(whole), before - _free()
        shutil.rmtree(whole)
        for number in range(given.times // 2):
            folder, ballast = Path(f"{recipe}-{number}"), Path("ballast")
            ballast.write_bytes(b"0" * max(0, _free() - rng.randrange(needed)))
            start = time.monotonic()
            code = kills.run([*words, "--out", str(folder)], folder)
            ballast.unlink()
            begun = (folder / "config.yaml").is_file()
            order = ["train", "--resume", str(folder)] if begun else [*words, "--out", str(folder)]
            screen = Path(f"{folder}.screen").read_text().splitlines()
            failed += code != 0
            said |= {line.replace(str(folder), "RUN") for line in screen if "error" in line}
            if code not in (0, 2) or "Traceback" in "".join(screen):
                wrong.append(f"{folder}: exit code {code}")
            if code and kills.run(order, folder):
                wrong.append(f"{folder}: not resumed, {time.monotonic() - start:.0f} s")
            wrong += kills.differences(expected, kills.contents(folder))
            shutil.rmtree(folder)
    print(f"{failed} of {given.times} runs failed for want of room; {len(wrong)} ended otherwise")
    print("\n".join([*wrong, *sorted(said)]))


def _free() -> int:
    return shutil.disk_usage(".").free


if __name__ == "__main__":
    main()
