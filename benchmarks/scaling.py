"""`python -m benchmarks.scaling`: what an image of training costs as the work grows."""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.cases import PEERS
from benchmarks.programs import images_in, options, run


@dataclasses.dataclass(frozen=True)
class Axis:
    """One thing that grows, all else as in the case.

    Attributes:
      title: what it is.
      case: whose work is done.
      size: the argument of `Work` that is changed.
      values: what it takes in turn.
      images: of an epoch, at the first value.
      falls: whether each further value gets fewer images, as a step costs more.
    """

    title: str
    case: str
    size: str
    values: tuple[int, ...]
    images: int
    falls: bool = False

    def changes(self, value: int) -> dict[str, Any]:
        """The sizes at a value: whole batches, ten at least where an image costs more."""
        images = max(1280, self.images * self.values[0] // value) if self.falls else self.images
        few = {"epochs": 3, "planned_epochs": 100, "test_images": 200}
        return {self.size: value, "train_images": images // 128 * 128, **few}


AXES = {
    "batch": Axis("batch", "mlp", "batch_size", (32, 128, 512, 2048, 4096), 16_384),
    "latent": Axis("latent size", "mlp", "latent_size", (2, 8, 32, 128, 512), 12_800),
    "samples": Axis("IWAE samples", "iwae", "num_samples", (1, 5, 20, 100, 500), 12_800, True),
    "side": Axis("side of an image, pixels", "mlp", "side", (28, 64, 96, 128), 2560),
}


def main() -> None:
    """Runs what the options say and leaves table, JSON and figure in a folder."""
    chosen = options(__doc__, list(AXES), ["ours", "pytorch", "jax_scan"], rounds=1)
    with images_in(chosen) as folder:
        found = {case: measure(AXES[case], chosen, folder) for case in chosen.case}
    text = table(found)
    print(text)
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "scaling.md").write_text(text)
    (chosen.out / "scaling.json").write_text(
        json.dumps({**report.machine(), "results": found}, indent=1) + "\n"
    )
    figure(chosen.out / "scaling.png", found)


def measure(axis: Axis, chosen: Any, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """For each program the microseconds of an image and the peak memory, value by value."""
    found: dict[str, list[dict[str, Any]]] = {peer: [] for peer in chosen.peer}
    for value in axis.values:
        changes = axis.changes(value)
        for peer in chosen.peer:
            results = [
                run(peer, axis.case, folder, chosen.limit, **changes) for _ in range(chosen.rounds)
            ]
            seconds = [s for result in results for s in result.get("seconds", [])]
            entry: dict[str, Any] = {"value": value}
            if seconds:
                images = changes["train_images"]
                entry["microseconds"] = statistics.median(seconds) / images * 1e6
                entry["peak_megabytes"] = max(r["peak_megabytes"] for r in results)
            else:
                entry["absent"] = results[0].get("absent", "did not get there")
            found[peer].append(entry)
            print(f"{axis.title} {value} {peer}: {entry}", file=sys.stderr)
    return found


def table(found: dict[str, Any]) -> str:
    """The results as Markdown: microseconds an image, and in brackets the peak megabytes."""
    lines = []
    for case, peers in found.items():
        values = [str(value) for value in AXES[case].values]
        lines += [f"**{AXES[case].title}**: microseconds an image (peak MB)", ""]
        lines += [report.row(["", *values]), report.row(["---"] * (1 + len(values)))]
        for peer, entries in peers.items():
            cells = [
                e.get("absent") or f"{e['microseconds']:.3g} ({e['peak_megabytes']:.0f})"
                for e in entries
            ]
            lines.append(report.row([PEERS[peer], *cells]))
        lines.append("")
    return "\n".join(lines)


def figure(path: Path, found: dict[str, Any]) -> None:
    """A panel for each thing that grows."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    canvas = Figure(figsize=(3.4 * len(found), 3.4), layout="constrained")
    panels = canvas.subplots(1, len(found), squeeze=False)[0]
    for axes, (case, peers) in zip(panels, found.items(), strict=True):
        for peer, entries in peers.items():
            there = [(e["value"], e["microseconds"]) for e in entries if "microseconds" in e]
            if there:
                axes.plot(*zip(*there, strict=True), marker="o", label=PEERS[peer])
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(AXES[case].values, [str(value) for value in AXES[case].values])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_locator(NullLocator())
        axes.tick_params(labelsize=7)
        axes.set_xlabel(AXES[case].title)
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("microseconds an image of training")
    panels[0].legend(fontsize=8)
    canvas.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
