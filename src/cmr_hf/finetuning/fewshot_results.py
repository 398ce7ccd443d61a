"""Few-shot results: kept line by line so that a run can go on, summed up over seeds, drawn as the paper's figure."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

LINES, SUMMARY, TABLE, FIGURE = "runs.jsonl", "results.json", "results.csv", "fewshot.png"
KEY = ("arm", "shots", "seed")


class ResultLines:
    """What each run gave, one JSON line each, written as soon as it is known.

    Args:
        folder (`str` or `Path`): made if it is not there.
        settings (mapping of JSON values): what all runs share; a folder of other settings is refused.

    Raises:
        ValueError: the folder holds results of other settings.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any]):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        kept, given = self.folder / "settings.json", json.loads(json.dumps(settings))
        if kept.is_file() and (before := json.loads(kept.read_text(encoding="utf-8"))) != given:
            changed = sorted(name for name in {*before, *given} if before.get(name) != given.get(name))
            raise ValueError(f"{self.folder} holds results of another {', '.join(changed)}: give another output_dir")
        kept.write_text(json.dumps(given, indent=1), encoding="utf-8")
        self.rows: list[dict[str, Any]] = []
        if (self.folder / LINES).is_file():
            for line in (self.folder / LINES).read_text(encoding="utf-8").splitlines():
                try:
                    self.rows.append(json.loads(line))
                except json.JSONDecodeError:  # the run was stopped while it wrote this line
                    continue

    def has(self, **key: Any) -> bool:
        """Whether the run with this arm, number of shots and seed is known."""
        return any(all(row[name] == key[name] for name in KEY) for row in self.rows)

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))
        with (self.folder / LINES).open("a", encoding="utf-8") as file:
            file.write("\n" if self._torn() else "")
            file.write(json.dumps(row) + "\n")

    def _torn(self) -> bool:
        path = self.folder / LINES
        return path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")


def summed_up(rows: Iterable[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Mean and standard deviation over seeds of each arm and number of shots.

    Returns:
        Rows with `arm`, `shots`, `seeds`, `samples` (mean number that were there), `mean`, `sd` (0 for one seed).
    """
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["arm"], row["shots"]].append(row)
    return [
        {
            "arm": arm,
            "shots": shots,
            "seeds": len(group),
            "samples": mean(row["samples"] for row in group),
            "metric": metric,
            "mean": mean(row[metric] for row in group),
            "sd": stdev(row[metric] for row in group) if len(group) > 1 else 0.0,
        }
        for (arm, shots), group in groups.items()
    ]


def write_results(
    folder: str | Path, rows: Sequence[Mapping[str, Any]], metric: str, title: str, not_measured: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Summary as JSON and CSV, and the figure.

    Args:
        not_measured (mapping of `str`): arm → why.
    """
    folder = Path(folder)
    summary = summed_up(rows, metric)
    text = json.dumps({"title": title, "summary": summary, "not_measured": dict(not_measured)}, indent=1)
    (folder / SUMMARY).write_text(text, encoding="utf-8")
    if summary:
        with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(summary[0]))
            table.writeheader()
            table.writerows(summary)
        draw_figure(summary, metric, title, folder / FIGURE)
    return summary


def draw_figure(summary: Sequence[Mapping[str, Any]], metric: str, title: str, path: str | Path) -> None:
    """The paper's figure: the metric over the number of samples per class, mean and one standard deviation, by arm."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for arm in dict.fromkeys(row["arm"] for row in summary):
        own = sorted((row for row in summary if row["arm"] == arm), key=lambda row: row["shots"])
        shots, means, spread = ([row[name] for row in own] for name in ("shots", "mean", "sd"))
        (line,) = axes.plot(shots, means, marker="o", label=arm)
        low, high = ([m + sign * s for m, s in zip(means, spread, strict=True)] for sign in (-1, 1))
        axes.fill_between(shots, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    every = sorted({row["shots"] for row in summary})
    axes.set_xscale("log", base=2)
    axes.set_xticks(every, [str(shots) for shots in every])
    axes.minorticks_off()
    axes.set_xlabel("labelled samples per class" if "accuracy" in metric else "labelled images")
    axes.set_ylabel(metric.replace("_", " "))
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=150)
