"""Is it as good on this scanner? Numbers by centre, vendor, field strength and slice level, and what they can bear.

A group's verdict is "too few to say" with its reason, "uncertain", "worse than the rest", or nothing to remark.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

from .cases import Measurement, Row, patient_of
from .estimates import UNITS, VALUES, estimate, rows_of_class
from .paper import BALANCED, TOTAL
from .resampling import compare_groups, coverage

GROUPS = {
    "centre": "centre",
    "vendor": "vendor",
    "field": "field strength",
    "position": "slice level",
    "phase": "phase",
    "image_type": "image type",
    "view": "view",
    "disease": "disease",
}
NOT_SAID = "not said"
ENOUGH = 10  # patients; of fewer the interval holds the truth less than 90 times in 100
WIDE = {"dice": 0.10, "right": 0.20, "distance_mm": 2.0}  # width of an interval beyond which a number says little


@dataclass(frozen=True)
class Verdict:
    """What a number can bear.

    Attributes:
        word (`str`): "too few to say", "uncertain", "worse than the rest" or "".
        reason (`str`): from which n, and why.
    """

    word: str = ""
    reason: str = ""

    @property
    def warns(self) -> bool:
        return bool(self.word)


def targets_of(measurement: Measurement) -> list[str]:
    """What is told of each group: structures, landmarks, or all samples and each class."""
    if measurement.kind == "classification":
        present = {row["truth"] for row in measurement.rows}
        return [TOTAL, BALANCED, *(name for name in measurement.classes if name in present)]
    return list(dict.fromkeys(row["structure"] for row in measurement.rows if row.get("level") != "measure"))


def overall(measurement: Measurement) -> list[dict[str, Any]]:
    """One entry per target and level, over all patients."""
    value = VALUES[measurement.kind]
    levels = ("volume", "slice") if measurement.kind == "segmentation" else ("",)
    found = []
    for name in targets_of(measurement):
        for level in levels:
            one = estimate(measurement, name, level)
            if one is not None:
                found.append(
                    {"target": name, "level": level, "unit": UNITS[value], **one, **asdict(_verdict(one, value, None))}
                )
    return found


def by_group(measurement: Measurement) -> dict[str, list[dict[str, Any]]]:
    """For each grouping of which something is known, one entry per group and target.

    Segmentations are told per volume, by slice level per slice. An entry has the group's estimate, its difference
    from all others (`versus_rest`, drawn by patient; for slice levels paired within patients it is left out), and the
    verdict. Patients of whom the group is not known stand as "not said".
    """
    found = {}
    for column in GROUPS:
        words = {row.get(column) or "" for row in measurement.rows if row.get("level") != "measure"}
        if column == "position" and words == {""}:
            continue
        known = sorted(words - {""})
        if not known or (column in ("phase", "view", "image_type") and len(known) < 2):
            continue
        entries = [
            entry
            for word in [*known, *([""] if "" in words and column != "position" else [])]
            for entry in _entries(measurement, column, word)
        ]
        if entries:
            found[column] = entries
    return found


def _entries(measurement: Measurement, column: str, word: str) -> list[dict[str, Any]]:
    value = VALUES[measurement.kind]
    level = ("slice" if column == "position" else "volume") if measurement.kind == "segmentation" else ""
    own = _part(measurement, column, word, inside=True)
    others = _part(measurement, column, word, inside=False)
    entries = []
    for name in targets_of(measurement):
        one = estimate(own, name, level)
        if one is None:
            continue
        versus = None if name == BALANCED else _versus(own, others, name, level, value)
        entries.append(
            {
                "group": word or NOT_SAID,
                "target": name,
                "level": level,
                "unit": UNITS[value],
                **one,
                "versus_rest": None if versus is None else asdict(versus),
                **asdict(_verdict(one, value, versus)),
            }
        )
    return entries


def _part(measurement: Measurement, column: str, word: str, inside: bool) -> Measurement:
    rows: list[Row] = [row for row in measurement.rows if ((row.get(column) or "") == word) == inside]
    return Measurement(measurement.kind, measurement.arm, measurement.experiment, rows, measurement.about)


def _versus(own: Measurement, others: Measurement, name: str, level: str, value: str) -> Any:
    """The group minus the rest; only where no patient is in both."""
    ours, theirs = (rows_of_class(one, name, level, value) for one in (own, others))
    if not theirs or {patient_of(row) for row in ours} & {patient_of(row) for row in theirs}:
        return None
    sides = [([row[value] for row in rows], [patient_of(row) for row in rows]) for rows in (ours, theirs)]
    return compare_groups(*sides[0], *sides[1])


def _verdict(one: dict[str, Any], value: str, versus: Any) -> Verdict:
    patients, lower, upper = one["patients"], one["lower"], one["upper"]
    counted = f"n = {patients} patient{'s' * (patients != 1)}"
    if patients < ENOUGH:
        said = "no interval can be drawn"
        if lower is not None and one["method"].startswith("exact"):
            said = f"the interval goes from {lower:.2f} to {upper:.2f}"
        elif lower is not None:
            said = f"an interval that says 95 % holds the truth about {100 * coverage(patients):.0f} times in 100"
        return Verdict("too few to say", f"{counted}: of so few {said}; {ENOUGH} or more are needed")
    width = upper - lower
    if width > WIDE[value]:
        needed = ceil(patients * (width / WIDE[value]) ** 2)
        unit = " mm" if UNITS[value] else ""
        return Verdict(
            "uncertain",
            f"{counted}, but the interval is {width:.2f}{unit} wide; about {needed} patients like these "
            f"would narrow it to {WIDE[value]:g}{unit}",
        )
    if versus is not None and versus.lower is not None and versus.patients >= ENOUGH:
        worse = versus.lower > 0 if value == "distance_mm" else versus.upper < 0
        if worse:
            return Verdict(
                "worse than the rest",
                f"by {abs(versus.value):.3g} [{versus.lower:.3g}, {versus.upper:.3g}], {patients} patients",
            )
    return Verdict()
