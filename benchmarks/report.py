"""What the rounds gave: medians, spreads and ratios as a table, JSON and a figure."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import BARS, CASES, PEERS

Runs = dict[str, dict[str, list[dict[str, Any]]]]  # case -> peer -> one result a round


def summary(runs: Runs) -> dict[str, Any]:
    """Medians over all that was timed; the ratio is the peer's median over this package's.

    The spread is that of the rounds' own medians, lowest to highest.
    """
    found: dict[str, Any] = {}
    for case, peers in runs.items():
        medians = {}
        for peer, rounds in peers.items():
            timed = [r["seconds"] for r in rounds if r.get("seconds")]
            entry: dict[str, Any] = {}
            if timed:
                each = [statistics.median(seconds) for seconds in timed]
                entry["seconds"] = statistics.median(x for seconds in timed for x in seconds)
                entry["spread"] = [min(each), max(each)]
                entry["rounds"] = len(each)
                entry["peak_megabytes"] = statistics.median(r["peak_megabytes"] for r in rounds)
                keys = rounds[0]["found"]
                entry["found"] = {k: statistics.median(r["found"][k] for r in rounds) for k in keys}
            else:
                entry["absent"] = rounds[0].get("absent", "did not get there")
            medians[peer] = entry
        ours = medians.get("ours", {}).get("seconds")
        for peer, entry in medians.items():
            if ours is not None and "seconds" in entry and peer != "ours":
                entry["ratio"] = entry["seconds"] / ours
                entry["bar"] = BARS.get(case, {}).get(peer)
        found[case] = medians
    return found


def disagreements(results: dict[str, Any]) -> list[str]:
    """Peers whose losses are not those of the others: whoever is fast by being wrong."""
    told = []
    for case, peers in results.items():
        check = CASES[case].check
        if check is None:
            continue
        key, most = check
        values = {p: e["found"][key] for p, e in peers.items() if key in e.get("found", {})}
        middle = statistics.median(values.values()) if values else 0.0
        told += [
            f"{case}: {PEERS[peer]} has {key} {value:.2f}, the middle one is {middle:.2f} nats"
            for peer, value in values.items()
            if not abs(value - middle) <= most
        ]
    return told


def table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = []
    for case, peers in results.items():
        check = CASES[case].check
        head = ["program", "median", "rounds", "ratio", "bar", *([check[0]] if check else [])]
        lines += [f"**{case}**: {CASES[case].title}; {CASES[case].unit}", ""]
        lines += [row([*head, "peak MB"]), row(["---"] * (len(head) + 1))]
        for peer, entry in peers.items():
            cells = [PEERS[peer]]
            if "absent" in entry:
                lines.append(row([*cells, entry["absent"], *[""] * (len(head) - 1)]))
                continue
            low, high = entry["spread"]
            cells += [_time(entry["seconds"]), f"{entry['rounds']}: {_time(low)} to {_time(high)}"]
            cells += [f"{entry['ratio']:.2f}" if "ratio" in entry else "1", _bar(entry)]
            if check:
                value = entry["found"].get(check[0])
                cells.append("" if value is None else f"{value:.1f}")
            lines.append(row([*cells, f"{entry['peak_megabytes']:.0f}"]))
        lines.append("")
    return "\n".join(lines)


def versions(runs: Runs) -> dict[str, str]:
    """Of all libraries that the programs loaded."""
    found: dict[str, str] = {}
    for rounds in (r for peers in runs.values() for r in peers.values()):
        found.update(rounds[0].get("versions", {}))
    return found


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = models[0].split(":", 1)[1].strip() if models else name
    return {"processor": name, "cores": os.cpu_count(), "python": platform.python_version()}


def write_json(path: Path, results: dict[str, Any], about: dict[str, Any]) -> None:
    """Everything, for whoever compares."""
    path.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` has left there; no results where it has not."""
    return json.loads(path.read_text()) if path.is_file() else {"results": {}}


def figure(path: Path, results: dict[str, Any], cases: Sequence[str]) -> None:
    """Ratios as bars: how many times this package's time each program takes."""
    from matplotlib.figure import Figure

    shown = [case for case in cases if any("ratio" in e for e in results[case].values())]
    canvas = Figure(figsize=(8, 0.9 + 1.05 * len(shown)), layout="constrained")
    axes = canvas.subplots()
    peers = [p for p in PEERS if p != "ours"]
    height = 0.8 / len(peers)
    for index, peer in enumerate(peers):
        places = [
            (row + (index - len(peers) / 2 + 0.5) * height, results[case][peer]["ratio"])
            for row, case in enumerate(shown)
            if "ratio" in results[case].get(peer, {})
        ]
        if places:
            at, widths = zip(*places, strict=True)
            bars = axes.barh(at, widths, height, label=PEERS[peer], color=f"C{index}")
            axes.bar_label(bars, fmt="%.2g", padding=2, fontsize=7)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
    ratios = [e["ratio"] for case in shown for e in results[case].values() if "ratio" in e]
    axes.set_xlim(left=min([0.16, *ratios]) / 2)
    axes.minorticks_off()
    axes.set_ylim(-0.6, len(shown) - 0.4)
    axes.set_yticks(range(len(shown)), [f"{c}: {CASES[c].title}" for c in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("time, as a multiple of tfp_vae's (right of 1: slower than tfp_vae)")
    canvas.legend(fontsize=8, loc="outside upper center", ncols=3)
    canvas.savefig(path, dpi=120)


def row(cells: list[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def _bar(entry: dict[str, Any]) -> str:
    bar = entry.get("bar")
    if bar is None:
        return ""
    return f"{bar:.2f} " + ("met" if entry["ratio"] >= bar else "**not met**")


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1e3:.2f} ms"
