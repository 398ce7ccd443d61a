"""Figures whose truth is known, measured in two ways: how far off each is, and what each step adds to the error.

A row is a dict: `figure`, `segment` (`None` for the heart as a whole), `true`, `at_phases` (the true figure at the
phases that were scanned), and for `TRUE_MASKS` and `MODEL_MASKS` a dict each: `value`, `interval`, `sd` and `unit`, or
`value` `None` and a `reason`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TRUE_MASKS, MODEL_MASKS = "true_masks", "model_masks"
STEPS = ("phases", "measuring", "segmentation")
Row = Mapping[str, Any]


def errors_of(rows: Sequence[Row], arm: str) -> dict[str, Any]:
    """Errors of one figure in one arm.

    Returns:
        `n`; `refused`; and where there is a value: `bias`, `mean_absolute`, `worst` (the largest, with its sign) in the
        figure's unit, and `held`, the share of the intervals that hold the truth (`None` without intervals).
    """
    there = [row for row in rows if row[arm]["value"] is not None]
    found: dict[str, Any] = {"n": len(there), "refused": len(rows) - len(there)}
    if not there:
        return found
    error = np.array([row[arm]["value"] - row["true"] for row in there])
    held = [row[arm]["interval"][0] <= row["true"] <= row[arm]["interval"][1] for row in there if row[arm]["interval"]]
    found |= {"bias": float(error.mean()), "mean_absolute": float(np.abs(error).mean())}
    return found | {"worst": float(error[np.abs(error).argmax()]), "held": float(np.mean(held)) if held else None}


def steps_of(rows: Sequence[Row]) -> dict[str, float]:
    """Mean absolute error that each of `STEPS` adds, over rows with a figure in both arms; empty without any.

    *phases*: what is true at the phases that were scanned, less what is true. *measuring*: what is found on the true
    masks, less that. *segmentation*: what is found on the models' masks, less that.
    """
    there = [row for row in rows if all(row[arm]["value"] is not None for arm in (TRUE_MASKS, MODEL_MASKS))]
    if not there:
        return {}
    values = [[row["true"], row["at_phases"], row[TRUE_MASKS]["value"], row[MODEL_MASKS]["value"]] for row in there]
    parts = np.abs(np.diff(np.array(values, dtype=float), axis=1)).mean(axis=0)
    return dict(zip(STEPS, parts.tolist(), strict=True))


def error_table(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """One entry a figure, in the order of the rows."""
    table = []
    for name, own in grouped(rows, "figure").items():
        units = [row[arm]["unit"] for row in own for arm in (TRUE_MASKS, MODEL_MASKS) if row[arm].get("unit")]
        entry = {"figure": name, "unit": units[0] if units else "", "per_segment": own[0]["segment"] is not None}
        entry |= {"true_range": [min(row["true"] for row in own), max(row["true"] for row in own)]}
        entry |= {arm: errors_of(own, arm) for arm in (TRUE_MASKS, MODEL_MASKS)}
        table.append(entry | {"steps": steps_of(own)})
    return table


def error_lines(table: Iterable[Mapping[str, Any]]) -> list[str]:
    """The table in Markdown: bias / mean absolute / worst error, intervals that hold the truth, what is refused."""
    heads = ["", "true", "true masks", "in 95 %", "n, none", "models' masks", "in 95 %", "n, none", *STEPS]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for one in table:
        name = one["figure"].removesuffix(" by segment").replace("_", " ") + ", segments" * one["per_segment"]
        span = " … ".join(dict.fromkeys(_short(value) for value in one["true_range"]))
        parts = [_short(one["steps"][step]) if one["steps"] else "–" for step in STEPS]
        unit = f", {one['unit']}" if one["unit"] else ""
        cells = [f"{name}{unit}", span, *_cells(one[TRUE_MASKS]), *_cells(one[MODEL_MASKS]), *parts]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def fit_lines(fits: Iterable[Row]) -> list[str]:
    """Markdown of how well masks and segments fit: mean and least over the studies.

    Args:
        fits: dicts of `series`, `structure` and `value`; "segments …" in %, all else Dice.
    """
    by_series = grouped(fits, "series")
    columns = list(dict.fromkeys(one["structure"] for own in by_series.values() for one in own))
    columns.sort(key=lambda name: name.startswith("segments"))
    lines = [f"| mean (least) | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for series, own in by_series.items():
        found = grouped(own, "structure")
        cells = []
        for name in columns:
            values, digits = [one["value"] for one in found.get(name, ())], 0 if name.startswith("segments") else 2
            cells.append(f"{np.mean(values):.{digits}f} ({min(values):.{digits}f})" if values else "")
        lines.append(f"| {series} | {' | '.join(cells)} |")
    return lines


def recognition_line(stacks: Sequence[Row]) -> str:
    """A sentence on dicts of `series`, `found`, `right` and `flagged`."""
    wrong = Counter(f"{one['series']} as {one['found']}" for one in stacks if not one["right"])
    silent = sum(not one["right"] and not one["flagged"] for one in stacks)
    text = (
        f"{sum(one['right'] for one in stacks)} of {len(stacks)} stacks were taken for what they are, {silent} wrongly"
    )
    listed = f" ({', '.join(f'{name}: {n}' for name, n in wrong.most_common())})" if wrong else ""
    return f"{text} without being flagged as uncertain{listed}."


def grouped(rows: Iterable[Row], key: str) -> dict[Any, list[Row]]:
    """Rows by what stands under a key, in order."""
    found = defaultdict(list)
    for row in rows:
        found[row[key]].append(row)
    return dict(found)


def replace_between(path: Path, mark: str, text: str) -> None:
    """Writes the part of a text file between `<!-- mark: begin -->` and `<!-- mark: end -->` anew.

    Raises:
        ValueError: the file does not have both marks.
    """
    begin, end = f"<!-- {mark}: begin -->\n", f"<!-- {mark}: end -->"
    before, first, rest = path.read_text(encoding="utf-8").partition(begin)
    _, last, after = rest.partition(end)
    if not (first and last):
        raise ValueError(f"`path` needs the lines {begin.strip()} and {end}, got none in {path.name}: add both")
    path.write_text(f"{before}{begin}{text.rstrip()}\n{end}{after}", encoding="utf-8")


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _cells(one: Mapping[str, Any]) -> list[str]:
    if not one["n"]:
        return ["–", "–", f"0, {one['refused']}"]
    held = "–" if one["held"] is None else f"{100 * one['held']:.0f} %"
    errors = f"{one['bias']:+.1f} / {_short(one['mean_absolute'])} / {one['worst']:+.1f}"
    return [errors, held, f"{one['n']}, {one['refused']}"]
