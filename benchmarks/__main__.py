"""`python -m benchmarks`: each program in a process of its own, alternating, several rounds."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import report
from benchmarks.cases import CASES, PEERS
from benchmarks.programs import images_in, options, run


def main() -> None:
    """Runs what the options say and leaves the table, the JSON and the figure in a folder.

    Cases that are not run now keep the results that are there.
    """
    chosen = options(__doc__, list(CASES), list(PEERS), rounds=3)
    with images_in(chosen) as folder:
        runs = measure(chosen.case, chosen.peer, folder, chosen.rounds, chosen.limit)
    new = report.summary(runs)
    before = report.read_json(chosen.out / "results.json")
    results = {c: r for c in CASES for r in [new.get(c, before["results"].get(c))] if r}
    versions = {**before.get("versions", {}), **report.versions(runs)}
    about = {**report.machine(), "versions": versions, "data": chosen.data}
    text = report.table(results)
    print(text)
    print(about)
    wrong = report.disagreements(new)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "table.md").write_text(text)
    report.write_json(chosen.out / "results.json", results, about)
    report.figure(chosen.out / "ratios.png", results, list(results))
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


if __name__ == "__main__":
    main()
