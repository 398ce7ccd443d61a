"""Measured numbers as Markdown, so that a card and the README say what `results.json` says."""

from collections.abc import Mapping
from typing import Any

from .measured import Number, numbers


def results_table(results: dict) -> str:
    """Dice of a segmentation model beside its control, as one Markdown table.

    Args:
        results (`dict`): `results.json` of an embedded model: `test` and `control.test`, each with `dice` (per slice
            and per volume) and `sunnybrook.dice` (per slice and per patient), as `training/evaluate.py` wrote them;
            `lge` likewise, and `control.lge` where the control was measured on it.
    """
    test, control = results["test"], results["control"]["test"]
    lines = [
        "| test patients | structure | per slice | per volume | U-Net per slice | U-Net per volume |",
        "|---|---|---|---|---|---|",
    ]
    for name in test["dice"]["per_volume"]:
        cells = [_cell(side["dice"][level][name]) for side in (test, control) for level in ("per_slice", "per_volume")]
        lines.append(f"| ACDC, {test['patients']} | {name} | {' | '.join(cells)} |")
    for name in test["sunnybrook"]["dice"]["per_patient"]:
        cells = [
            _cell(side["sunnybrook"]["dice"][level][name])
            for side in (test, control)
            for level in ("per_slice", "per_patient")
        ]
        lines.append(f"| Sunnybrook, {test['sunnybrook']['patients']} | {name} | {' | '.join(cells)} |")
    if lge := results.get("lge"):
        theirs = results["control"].get("lge", {}).get("dice")
        for name in lge["dice"]["per_volume"]:
            cells = [
                _cell(side[level][name]) if side else "not measured"
                for side in (lge["dice"], theirs)
                for level in ("per_slice", "per_volume")
            ]
            lines.append(f"| {lge['dataset'].upper()} (LGE), {lge['patients']} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def family_table(family: Mapping[str, Mapping[str, Any]]) -> str:
    """What each model was measured by, in short, as one Markdown table.

    Args:
        family (mapping of `str` to `dict`): model → its `results.json`. Told are Dice per volume or patient, the
            balanced accuracy (the mean of the classes) and the AUC of classifiers, the median distance of landmarks.
    """
    lines = ["| model | measured on | what | value |", "|---|---|---|---|"]
    for name, results in family.items():
        for one in short_numbers(results):
            lines.append(f"| `{name}` | {one.data}, {one.side} | {one.name} | {one.shown} |")
    return "\n".join(lines)


def short_numbers(results: Mapping[str, Any]) -> list[Number]:
    """Of a `results.json` what `family_table` tells."""
    return [one for one in numbers(results) if _is_short(one)]


def _is_short(number: Number) -> bool:
    if number.side == "validation" or number.value is None:
        return False
    short = {"dice": ("per volume", "per patient"), "accuracy": ("mean of classes",), "auc": ("all",)}
    return number.metric == "median_distance_mm" or any(one in number.of for one in short.get(number.metric, ()))


def _cell(entry: dict) -> str:
    """Mean (standard deviation) of one entry, or "not measured"."""
    return "not measured" if entry["mean"] is None else f"{entry['mean']:.3f} ({entry['sd']:.2f})"
