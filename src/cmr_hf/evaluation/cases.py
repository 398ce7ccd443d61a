"""What was measured, case by case: enough to make every table and test again without the model.

A folder holds `about.json` (which model, on which data) and `values.csv`, one line per case. Its columns:

    all                  source, patient, case, and what is known of it: phase, position, centre, vendor, field, …
    segmentation         level (slice or volume), structure, dice, hd95_mm, asd_mm; level "measure": structure names a
                         measure of the heart, "LV EF" say, measured and reference in `unit`
    classification       truth, predicted, right (0 or 1), p:CLASS (probabilities)
    landmarks            structure (the landmark), distance_mm, score

An empty cell is something that is not there: a distance to an empty mask, a spacing that nobody knows.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KINDS = ("segmentation", "classification", "landmarks")
GROUPS = ("centre", "vendor", "field", "position", "phase", "view", "image_type", "disease")
NUMBERS = ("dice", "hd95_mm", "asd_mm", "measured", "reference", "distance_mm", "score", "right")
FIRST = ("source", "patient", "case", "level", "structure", "truth", "predicted", *NUMBERS, "unit")
ABOUT, VALUES = "about.json", "values.csv"

Row = dict[str, Any]


@dataclass
class Measurement:
    """One model on one set of patients.

    Attributes:
        kind (`str`): of `KINDS`.
        arm (`str`): what is compared, "CMR-DINO ViT" say.
        experiment (`str`): the paper's number, or "".
        rows (`list` of `dict`): one per case, see above.
        about (`dict`): JSON-safe facts: `datasets`, `data` (whose data they are), `side`, `classes`, `model`, `notes`.
    """

    kind: str
    arm: str
    experiment: str = ""
    rows: list[Row] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"`kind` must be one of {', '.join(KINDS)}, got {self.kind!r}")

    @property
    def patients(self) -> set[str]:
        return {patient_of(row) for row in self.rows}

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.about.get("classes", ()))

    def select(self, value: str, **wanted: str) -> list[Row]:
        """Rows that have a number in `value` and these words in these columns."""
        return [
            row
            for row in self.rows
            if isinstance(row.get(value), (int, float)) and all(row.get(name) == word for name, word in wanted.items())
        ]


def patient_of(row: Row) -> str:
    """Tells patients of several data sets apart."""
    return f"{row.get('source', '')}/{row['patient']}"


def save(measurement: Measurement, folder: str | Path) -> Path:
    """Writes `about.json` and `values.csv`; the folder is made."""
    from ..clinical.writers import whole_file, write_json

    folder = Path(folder)
    about = {"kind": measurement.kind, "arm": measurement.arm, "experiment": measurement.experiment}
    write_json({"format": "cmr_hf measurement 1", **about, **measurement.about}, folder / ABOUT)
    names = dict.fromkeys(name for row in measurement.rows for name in row)
    columns = [name for name in FIRST if name in names] + [name for name in names if name not in FIRST]
    with whole_file(folder / VALUES) as part, part.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, restval="")
        table.writeheader()
        for row in measurement.rows:
            table.writerow({name: _cell(value) for name, value in row.items()})
    return folder


def load(folder: str | Path) -> Measurement:
    """Reads what `save` wrote.

    Raises:
        ValueError: the folder holds no measurement, or a cell is no number where one must be.
    """
    folder = Path(folder)
    if not (folder / ABOUT).is_file() or not (folder / VALUES).is_file():
        raise ValueError(f"{folder} needs {ABOUT} and {VALUES}: make them with training/evaluate.py --experiment")
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    head = {name: about.pop(name) for name in ("kind", "arm", "experiment")}
    about.pop("format", None)
    with (folder / VALUES).open(encoding="utf-8", newline="") as file:
        rows = [{name: _value(name, cell, folder) for name, cell in row.items()} for row in csv.DictReader(file)]
    return Measurement(**head, rows=rows, about=about)


def found_below(folders: Iterable[str | Path]) -> Iterator[Path]:
    """Folders with a measurement, at or below these, sorted."""
    for folder in folders:
        found = sorted(path.parent for path in Path(folder).rglob(ABOUT) if (path.parent / VALUES).is_file())
        if not found:
            raise ValueError(f"{folder} holds no measurement: make one with training/evaluate.py --experiment")
        yield from found


def together(parts: Sequence[Measurement]) -> list[Measurement]:
    """Measurements of one arm, experiment and data set as one: the folds of a cross-validation, say.

    Raises:
        ValueError: two of them share a patient.
    """
    groups: dict[tuple, list[Measurement]] = {}
    for part in parts:
        data = tuple(str(part.about.get(name, "")) for name in ("data", "datasets", "side"))
        key = (part.experiment, part.arm, part.kind, *data)
        groups.setdefault(key, []).append(part)
    merged = []
    for (experiment, arm, kind, *_), members in groups.items():
        shared = sorted(set().union(*(a.patients & b.patients for a in members for b in members if a is not b)))
        if shared:
            raise ValueError(
                f"experiment {experiment}, {arm}: patients {shared[:5]} stand in two measurements: keep one of them, "
                "or give the arms other names"
            )
        about = dict(members[0].about)
        if len(members) > 1:
            notes = [note for member in members for note in member.about.get("notes", ())]
            about["notes"] = list(dict.fromkeys([*notes, f"{len(members)} parts of other patients, taken together"]))
        merged.append(Measurement(kind, arm, experiment, [row for one in members for row in one.rows], about))
    return merged


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value


def _value(name: str, cell: str, folder: Path) -> Any:
    if name not in NUMBERS and not name.startswith("p:"):
        return cell
    try:
        return float(cell) if cell else None
    except ValueError:
        raise ValueError(f"{folder / VALUES} needs numbers in column {name}, got {cell!r}: write it again") from None
