"""A user's own labelled images, line by line: what cannot be read is listed, and the rest goes on.

Patients are numbered in the order of the table, and series are called after their lines; with `keep_identity` the
table's own words stand instead. Reasons name lines, never files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..data.experiments import EXPERIMENTS, Experiment
from ..data.labels.names import plain
from ..data.own_set import rows_of_table, stacks_of_row
from ..data.schema import LABELS, LabelledStack, rows_of, stacks_of
from .predicting import FIELDS, structures_of

SCAR = 6
OF_TASK = {"image_type": "1", "view": "2", "lge": "8B", "disease": "9"}
COLUMNS = {
    "centre": ("centre", "center", "site", "hospital", "institution"),
    "vendor": ("vendor", "manufacturer", "scanner vendor"),
    "field": ("field", "field strength", "field strength t", "tesla", "magnetic field strength"),
}
VENDORS = ("Siemens", "GE", "Philips", "Canon", "Toshiba", "Hitachi", "Fujifilm", "United Imaging", "Neusoft")
HEADER = {"Manufacturer": "vendor", "MagneticFieldStrength": "field"}
LEAST_NAME = 3  # characters of a patient's name, below which it is a number like any other
MOST_NAMES = 20_000  # files of a folder whose names are looked for in a reason
STUDY_FILES = 50  # files of a folder among which a DICOM header is looked for

Facts = dict[str, str]


@dataclass
class Cohort:
    """A table, read patient by patient.

    Attributes:
        table (`Path`): see `cmr_hf.data.own_set`; columns for centre, vendor and field strength are taken too.
        chosen (`Experiment`): what is asked.
        labels: id in the masks → id of `LABELS`.
        keep_identity (`bool`): leave the table's words for patients and series.
        problems (`list` of `dict`): line, patient and reason of what could not be read or used; fills while reading.
        facts (`dict`): (patient, study, series) → what is known of it, its line included.
    """

    table: Path
    chosen: Experiment
    labels: Mapping[int, int] | None = None
    keep_identity: bool = False
    problems: list[dict[str, str]] = field(default_factory=list)
    facts: dict[tuple[str, str, str], Facts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = rows_of_table(self.table)
        self._taken: set[tuple] = set()  # slices of which an image was read
        self.columns = _columns(self.rows[0])
        self.patients = list(dict.fromkeys(row["patient"] for row in self.rows))

    def __iter__(self) -> Iterator[tuple[str, list[LabelledStack]]]:
        """Patients as the report names them, each with the stacks that have a label of this task."""
        self._taken.clear()
        for number, patient in enumerate(self.patients, 1):
            called = patient if self.keep_identity else str(number)
            own = [row for row in self.rows if row["patient"] == patient]
            stacks = [stack for row in own for stack in self._read(row, called)]
            yield called, _in_stacks(stacks)

    def of(self, stack: LabelledStack) -> Facts:
        """What is known of a stack: line, centre, vendor, field strength, phase, view, disease."""
        known = {"phase": stack.phase, "view": stack.view, "image_type": stack.image_type, "disease": stack.disease}
        found = dict(self.facts.get((stack.patient, stack.study, stack.series), {}))
        return found | {name: value for name, value in known.items() if value}

    def refuse(self, row_or_line: Mapping[str, str] | str, patient: str, reason: str) -> None:
        line = row_or_line if isinstance(row_or_line, str) else row_or_line["line"]
        self.problems.append({"line": line, "patient": patient, "reason": reason})

    def _read(self, row: Mapping[str, str], patient: str) -> Iterator[LabelledStack]:
        folder = self.table.parent
        found: list[LabelledStack] = []
        try:
            found = list(stacks_of_row(row, folder, self.labels))
        except (OSError, ValueError) as error:
            self.refuse(row, patient, self._shown(error, row))
            return
        told = [stack for stack in found if has_label(self.chosen, stack)]
        if not told:
            self.refuse(row, patient, "has no label of this task")
        for stack in told:
            if not np.isfinite(stack.images).all():
                self.refuse(row, patient, "some pixels are NaN or infinite: write the image again")
                continue
            series, study = stack.series, stack.study
            if not self.keep_identity:
                own = [one for one in self.rows if one["patient"] == row["patient"]]
                studies = list(dict.fromkeys(one.get("study", "") for one in own))
                study = f"study {studies.index(row.get('study', '')) + 1}" if len(studies) > 1 else ""
                same = [one for one in own if row.get("series") and _place(one) == _place(row)]
                series = f"line {(same or [row])[0]['line']}"
            slices = {(patient, study, series, stack.phase_index, z) for z in stack.slice_indices}
            if slices & self._taken:  # another image that calls itself the same
                series = f"line {row['line']}" if not self.keep_identity else f"{series} (line {row['line']})"
            self._taken |= slices
            made = replace(stack, patient=patient, series=series, study=study)
            key = (patient, study, series)
            if key not in self.facts:
                self.facts[key] = {"line": row["line"]} | self._about(row)
            yield made

    def _about(self, row: Mapping[str, str]) -> Facts:
        """Centre, vendor and field strength from the table, the last two else from a DICOM header."""
        found = {name: row.get(column, "") for name, column in self.columns.items()}
        if not found.get("vendor") or not found.get("field"):
            header = scanner_of(self.table.parent / row["image"])
            found = header | {name: value for name, value in found.items() if value}
        if found.get("vendor"):
            found["vendor"] = vendor_of(found["vendor"])
        if found.get("field"):
            found["field"] = field_of(found["field"])
        return {name: value for name, value in found.items() if value}

    def _shown(self, error: Exception, row: Mapping[str, str]) -> str:
        """A reason on one line, without names of files and folders."""
        text = " ".join(str(error).split()) or type(error).__name__
        return text if self.keep_identity else without_names(text, row, self.table.parent)


def _place(row: Mapping[str, str]) -> tuple[str, str]:
    return row.get("study", ""), row.get("series", "")


def _columns(row: Mapping[str, str]) -> dict[str, str]:
    """centre, vendor, field → the table's own name for it."""
    found = {}
    for name, words in COLUMNS.items():
        for column in row:
            if plain(column) in words:
                found.setdefault(name, column)
    return found


def _in_stacks(stacks: list[LabelledStack]) -> list[LabelledStack]:
    """Slices that came one a line as stacks; others as they are, in their order."""
    groups: dict[tuple, list[LabelledStack]] = {}
    for stack in stacks:
        groups.setdefault((stack.study, stack.series, stack.phase_index), []).append(stack)
    found: list[LabelledStack] = []
    for group in groups.values():
        sizes = {stack.images.shape[1:] for stack in group}
        if len(group) == 1 or len(sizes) > 1:
            found += group
        else:
            found += stacks_of(row for stack in group for row in rows_of(stack))
    return found


def has_label(chosen: Experiment, stack: LabelledStack) -> bool:
    """Whether a stack has what the task is measured against."""
    if chosen.label == "masks":
        return stack.masks is not None
    if chosen.label == "landmarks":
        return any(stack.landmarks)
    if chosen.label == "lge" and stack.lge is None:
        return stack.masks is not None and SCAR in stack.drawn
    return getattr(stack, chosen.label) is not None


def asked_of(model: object, kind: str, field: str | None = None) -> Experiment:
    """What a model can be asked, as an experiment that takes every image of a table.

    Args:
        model: with a `config`.
        kind (`str`): of `open_model`.
        field (`str`, *optional*): "view", "image_type", "lge" or "disease", where a classifier does not say itself.

    Raises:
        ValueError: a classifier that does not say what it classifies.
    """
    open_to_all = {"image_types": (), "views": ()}
    config = model.config
    if kind == "segmentation":
        learns = tuple(sorted(set(structures_of(config.id2label).values()) - {0}))
        names = tuple(LABELS[label] for label in learns)
        classes = ("background", *names)
        return replace(
            EXPERIMENTS["3"], key="", name="Segmentation", learns=learns, classes=classes, compares=names, **open_to_all
        )
    if kind == "landmarks":
        return replace(EXPERIMENTS["7"], key="", name="RV insertion points", **open_to_all)
    field = field or FIELDS.get(getattr(config, "task", None) or "")
    if field is None:
        raise ValueError(f"the model does not say what it classifies: name one of {', '.join(OF_TASK)} as the task")
    return replace(EXPERIMENTS[OF_TASK[field]], key="", **open_to_all)


def without_names(text: str, row: Mapping[str, str], folder: Path) -> str:
    """A reason in which the names of a line's files and folders, and those below them, are taken out."""
    spellings: dict[str, str] = {}
    for column, word in (("image", "the image"), ("mask", "the mask")):
        cell = row.get(column)
        if not cell:
            continue
        place = folder / cell
        for spelling in (str(place.resolve()), str(place), cell, place.name):
            spellings.setdefault(spelling, word)
        if place.is_dir():
            for count, path in enumerate(place.rglob("*")):
                if count >= MOST_NAMES:
                    break
                spellings.setdefault(str(path), "a file of it")
                spellings.setdefault(path.name, "a file of it")
    for spelling in (str(folder.resolve()), str(folder)):
        if len(spelling) > 1:
            spellings.setdefault(spelling, "the folder")
    if len(row["patient"]) >= LEAST_NAME:
        spellings.setdefault(row["patient"], "the patient")
    known = sorted(filter(None, spellings), key=len, reverse=True)
    pattern = "|".join(rf"(?<![\w.]){re.escape(one)}(?!\w|\.\d)" for one in known)
    return re.sub(pattern, lambda found: spellings[found[0]], text)


def vendor_of(text: str) -> str:
    """One spelling of a maker: "SIEMENS Healthineers" is Siemens; others as they are."""
    words = plain(text)
    for name in VENDORS:
        if words.startswith(plain(name)):
            return name
    return text


def field_of(text: str) -> str:
    """Field strength as "1.5 T": from "1.5", "1.5T", "3 tesla" or 15000 gauss; other words as they are."""
    found = re.search(r"\d+(?:[.,]\d+)?", text)
    if not found:
        return text
    tesla = float(found[0].replace(",", "."))
    tesla = tesla / 10_000 if tesla > 1000 else tesla
    return f"{round(tesla, 1):g} T"


def scanner_of(path: Path) -> Facts:
    """Vendor and field strength from the first DICOM header of a file or folder; nothing where there is none."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())[:STUDY_FILES]
    for file in files:
        try:
            header = pydicom.dcmread(
                file, stop_before_pixels=True, specific_tags=["Manufacturer", "MagneticFieldStrength"]
            )
        except (InvalidDicomError, OSError, ValueError, EOFError, AttributeError, KeyError, NotImplementedError):
            continue
        return {name: str(header[tag].value) for tag, name in HEADER.items() if header.get(tag)}
    return {}
