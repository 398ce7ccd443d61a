"""What probes found, as a table and as curves over the steps of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .probe_tasks import MADE

PRETRAINED = "pretrained"  # of the names of features; the others are baselines
KINDS = {"linear": "a linear classifier", "knn": "k nearest neighbours"}
_COLOURS = {"random weights": "tab:grey", "raw pixels": "tab:orange", "histogram": "tab:green"}
_SHOWN = "all"  # of a network's two kinds of features, which the curves show


def table(rows: Sequence[Mapping]) -> str:
    """Markdown: balanced accuracy in percent, a line for each task, a column for each kind of features.

    Args:
        rows (sequence of mappings): as `cmr_hf.pretraining.probing.compare` gives them.
    """
    names = list(dict.fromkeys(row["features"] for row in rows))
    lines = []
    for kind, called in KINDS.items():
        lines += [f"Balanced accuracy in % of {called}, mean ± standard deviation over the seeds of the probe:", ""]
        lines += [f"| label | fitted on → judged on | classes | images | chance | {' | '.join(names)} |"]
        lines += ["|---" * (5 + len(names)) + "|"]
        for own in _by_task(rows):
            first = own[0]
            cells = {row["features"]: f"{100 * row[kind]:.1f} ± {100 * row[f'{kind}_sd']:.1f}" for row in own}
            best = max(own, key=lambda row: row[kind])["features"]  # noqa: B023
            cells[best] = f"**{cells[best]}**"
            chance = f"{100 / len(first['classes']):.0f}"
            head = [first["label"], _arrow(first["task"]), ", ".join(first["classes"])]
            head += [f"{first['fit']} → {first['judge']}", chance]
            lines.append("| " + " | ".join([*head, *(cells.get(name, "") for name in names)]) + " |")
        lines.append("")
    return "\n".join(lines)


def _arrow(name: str) -> str:
    first, _, second = name.partition(" to ")
    return f"{first} → {second or ('other hearts' if name == MADE else 'its validation patients')}"


def _by_task(rows: Sequence[Mapping]) -> list[list[Mapping]]:
    """Rows of the same task together, in the order in which tasks come."""
    found: dict[tuple[str, str], list[Mapping]] = {}
    for row in rows:
        found.setdefault((row["label"], row["task"]), []).append(row)
    return list(found.values())


def draw_curves(file: Path, baselines: Sequence[Mapping], steps: Mapping[int, Sequence[Mapping]]) -> None:
    """Writes a PNG: for each task the pretrained features over the steps, and what they must beat as lines.

    Args:
        file (`Path`): to write.
        baselines (sequence of mappings): rows of features that do not change.
        steps (mapping): step → rows of the backbone at that step.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tasks = _by_task(baselines)
    columns = min(4, len(tasks))
    lines = -(-len(tasks) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.5 * lines + 0.5), dpi=75, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel in panels[len(tasks) :]:
        panel.set_visible(False)
    for panel, own in zip(panels, tasks, strict=False):
        first = own[0]
        panel.set_title(f"{first['label']}: {_arrow(first['task'])}", fontsize=8)
        panel.axhline(100 / len(first["classes"]), color="black", linewidth=0.6, linestyle=":", label="chance")
        for row in own:
            plain, _, kind = row["features"].partition(", ")
            if kind in ("", _SHOWN):
                panel.axhline(100 * row["linear"], color=_COLOURS.get(plain), linewidth=1, linestyle="--", label=plain)
        for kind, style in (("linear", "-"), ("knn", "-.")):
            found = {
                step: (100 * row[kind], 100 * row[f"{kind}_sd"])
                for step, rows in sorted(steps.items())
                for row in rows
                if (row["label"], row["task"]) == (first["label"], first["task"])
                and row["features"] == f"{PRETRAINED}, {_SHOWN}"
            }
            if found:
                middle, spread = zip(*found.values(), strict=True)
                panel.errorbar(
                    list(found), middle, spread, color="tab:blue", linestyle=style, marker=".", capsize=2, linewidth=1,
                    label=f"{PRETRAINED}, {KINDS[kind].removeprefix('a ')}",
                )  # fmt: skip
        panel.tick_params(labelsize=7)
        panel.set_ylim(0, 102)
    figure.supxlabel("step", fontsize=8)
    figure.supylabel("balanced accuracy in %", fontsize=8)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4, fontsize=7)
    figure.savefig(file)
