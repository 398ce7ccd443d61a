"""Numbers of a table out of a measurement's rows, and tests between two arms; all by patient."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from .agreement import bland_altman, icc
from .cases import Measurement, Row, patient_of
from .paper import BALANCED, TOTAL
from .resampling import Comparison, auc_interval, calibration_interval, compare_means, mean_interval
from .resampling import mean_of_groups_interval as groups_interval

VALUES = {"classification": "right", "segmentation": "dice", "landmarks": "distance_mm"}
UNITS = {"right": "", "dice": "", "distance_mm": "mm", "hd95_mm": "mm", "asd_mm": "mm"}
LEVELS = ("slice", "volume")

Estimate = dict[str, Any]


def rows_of_class(measurement: Measurement, name: str, level: str = "", value: str = "") -> list[Row]:
    """Rows that count for a class (or structure, landmark, "total", a mean of classes), with a number in `value`."""
    value = value or VALUES[measurement.kind]
    wanted = {"level": level} if level else {}
    if name == TOTAL or name == BALANCED:
        return measurement.select(value, **wanted)
    if name.startswith("mean of "):
        classes = name.removeprefix("mean of ").split(", ")
        return [row for row in measurement.select(value, **wanted) if row["truth"] in classes]
    return measurement.select(
        value, **wanted, **{"truth" if measurement.kind == "classification" else "structure": name}
    )


def estimate(measurement: Measurement, name: str, level: str = "", value: str = "") -> Estimate | None:
    """Mean, SD (n − 1) and 95 % interval of a class; `None` where nothing of it was measured.

    Args:
        measurement (`Measurement`)
        name (`str`): a class, structure or landmark; "total" (all samples); "mean of classes" (balanced accuracy);
            "mean of SAX, 2CH" say.
        level (`str`): "slice" or "volume", of a segmentation.
        value (`str`): column of the rows, by default the paper's metric.

    Returns:
        `dict` of value, sd (`None` for shares), lower, upper, patients, cases, method.
    """
    value = value or VALUES[measurement.kind]
    rows = rows_of_class(measurement, name, level, value)
    if not rows:
        return None
    numbers, patients = [row[value] for row in rows], [patient_of(row) for row in rows]
    if name.startswith("mean of ") and len(set(numbers)) > 1:
        interval = groups_interval(numbers, [row["truth"] for row in rows], patients)
    else:
        interval = mean_interval(numbers, patients, share=value == "right")
    sd = float(np.std(numbers, ddof=1)) if value != "right" and len(numbers) > 1 else None
    return asdict(interval) | {"sd": sd}


def estimate_of_chances(measurement: Measurement, what: str) -> Estimate | None:
    """AUC (`what="auc"`) or calibration error (`"ece"`) of a classification; a reason where it is refused."""
    rows = [row for row in measurement.rows if row.get(f"p:{measurement.classes[0]}") is not None]
    if not rows:
        return None
    chances = np.array([[row[f"p:{name}"] for name in measurement.classes] for row in rows])
    chances /= chances.sum(axis=1, keepdims=True)
    truth = [measurement.classes.index(row["truth"]) for row in rows]
    interval = auc_interval if what == "auc" else calibration_interval
    try:
        found = interval(chances, truth, [patient_of(row) for row in rows])
    except ValueError as error:
        return {"refused": str(error)}
    return asdict(found) | {"sd": None}


def agreement_of(measurement: Measurement) -> list[Estimate]:
    """Bias, limits and ICC of each measure of the heart; with a reason where they are refused."""
    rows = [row for row in measurement.rows if row.get("level") == "measure"]
    found = []
    for name in dict.fromkeys(row["structure"] for row in rows):
        own = [row for row in rows if row["structure"] == name]
        pair = [row["measured"] for row in own], [row["reference"] for row in own]
        entry = {"measure": name, "unit": own[0]["unit"], "patients": len({patient_of(row) for row in own})}
        try:
            entry |= vars(bland_altman(*pair)) | {
                "icc_agreement": icc(*pair),
                "icc_consistency": icc(*pair, "consistency"),
            }
        except ValueError as error:
            entry |= {"n": len(own), "refused": str(error)}
        found.append(entry)
    return found


def compare(first: Measurement, second: Measurement, name: str, level: str = "") -> Comparison | None:
    """Two arms on the cases that both measured, matched by data set, patient, case and structure.

    A structure that is absent from the truth and that one arm rightly did not find has no Dice there; where the other
    arm invented it (0), the right one counts 1, or its success would count nowhere. `None` without common cases.
    """
    value = VALUES[first.kind]
    sides = [_by_case(one, name, level, value) for one in (first, second)]
    pairs = [(key, sides[0][key], sides[1][key]) for key in sides[0] if key in sides[1]]
    if value == "dice":
        pairs = [(key, *_filled(a, b)) for key, a, b in pairs]
    pairs = [(key, a, b) for key, a, b in pairs if a is not None and b is not None]
    if not pairs:
        return None
    keys, ours, theirs = zip(*pairs, strict=True)
    return compare_means(ours, theirs, [f"{key[0]}/{key[1]}" for key in keys], share=value == "right")


def _by_case(measurement: Measurement, name: str, level: str, value: str) -> dict[tuple, float | None]:
    column = "truth" if measurement.kind == "classification" else "structure"
    return {
        (row.get("source", ""), row["patient"], row["case"], row.get("structure", "")): row.get(value)
        for row in measurement.rows
        if row.get("level", "") == level and (name == TOTAL or row.get(column) == name)
    }


def _filled(one: float | None, other: float | None) -> tuple[float | None, float | None]:
    if one is None and other is not None:
        return 1.0, other
    if other is None and one is not None:
        return one, 1.0
    return one, other
