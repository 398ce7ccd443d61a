"""Looks through a data set before any training starts, and says what is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from .leakage import check_leakage
from .schema import LABELS, UNKNOWN, LabelledStack

FEW = 5  # patients on a side, below which a number says little
SPREAD = 2.0  # spacings that differ by more than this factor are worth a look


@dataclass
class DataReport:
    """What a data set holds, and what to look at before training on it.

    Attributes:
        sides (`dict`): side → counts of patients, stacks and images.
        classes (`dict`): "view SAX" say → images on each side.
        labels (`dict`): label name → images on each side that show it.
        errors (`list` of `str`): what must be mended; training on it would be wrong.
        warnings (`list` of `str`): what to know.
    """

    sides: dict[str, dict[str, int]] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.errors

    def __str__(self) -> str:
        lines = [
            f"{side}: {count['patients']} patients, {count['stacks']} stacks, {count['images']} images"
            for side, count in self.sides.items()
        ]
        for title, table in (("class", self.classes), ("label", self.labels)):
            for name, counts in sorted(table.items()):
                lines.append(f"{title} {name}: " + ", ".join(f"{side} {n}" for side, n in counts.items()))
        lines += [f"ERROR {text}" for text in self.errors] + [f"warning {text}" for text in self.warnings]
        return "\n".join(lines)


def check_stacks(
    sides: Mapping[str, Iterable[LabelledStack]], problems: Collection[str] = (), images: bool = True
) -> DataReport:
    """Counts, and checks spacing, labels, patients and pictures of the sides of a split.

    Args:
        sides: side → its stacks, read one by one.
        problems: what could not be read, which the reader may add to meanwhile; each is an error.
        images (`bool`, defaults to `True`): look for one picture on two sides too.
    """
    report = DataReport()
    geometry = _Geometry()
    leaks = check_leakage({side: _rows(report, geometry, side, stacks) for side, stacks in sides.items()}, images)
    report.errors[:0] = [f"cannot be read: {problem}" for problem in problems]
    report.errors += [f"{leak}: keep each on one side" for leak in leaks]
    _check_ids(report, geometry)
    _check_spacing(report, geometry)
    _check_balance(report, geometry)
    return report


@dataclass
class _Geometry:
    spacings: list[tuple[float, float]] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)
    drawn: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    ringed: Counter[int] = field(default_factory=Counter)  # slices whose myocardium lies around the LV cavity, the RV


def _rows(report: DataReport, geometry: _Geometry, side: str, stacks: Iterable[LabelledStack]) -> Iterator[dict]:
    """Counts the stacks of a side as they come by, and gives the rows that `check_leakage` looks at."""
    patients: set[str] = set()
    seen: set[tuple] = set()
    count = report.sides.setdefault(side, {"patients": 0, "stacks": 0, "images": 0})
    for stack in stacks:
        key = (stack.source, stack.patient, stack.study, stack.series, stack.phase_index, stack.slice_indices)
        if key in seen:
            report.errors.append(
                f"{side}: {stack.source} {stack.patient}, series {stack.series or '-'} comes twice: remove one"
            )
        seen.add(key)
        patients.add(f"{stack.source} {stack.patient}")
        geometry.drawn[side].update(stack.drawn)
        if stack.spacing_mm is None:
            geometry.missing[side] += 1
        else:
            geometry.spacings.append(stack.spacing_mm)
        count.update(patients=len(patients), stacks=count["stacks"] + 1, images=count["images"] + len(stack.images))
        _count_classes(report, side, stack)
        if stack.masks is not None and stack.view in (None, "SAX"):
            geometry.ringed.update(filter(None, map(_ringed, stack.masks)))
        for image in stack.images:
            yield {"source": stack.source, "patient": stack.patient, "image": image}


def _count_classes(report: DataReport, side: str, stack: LabelledStack) -> None:
    for name in ("image_type", "view", "disease", "lge"):
        value = getattr(stack, name)
        if value is not None:
            counts = report.classes.setdefault(f"{name} {value}", {})
            counts[side] = counts.get(side, 0) + len(stack.images)
    if stack.masks is None:
        return
    for label, name in LABELS.items():
        if label == 0:
            continue
        shown = int((stack.masks == label).any(axis=(1, 2)).sum())
        if shown:
            counts = report.labels.setdefault(name, {})
            counts[side] = counts.get(side, 0) + shown
    beyond = sorted(set(np.unique(stack.masks).tolist()) - {0, UNKNOWN, *stack.drawn})
    if stack.drawn and beyond:
        names = [LABELS[label] for label in beyond]
        report.errors.append(f"{side}: {stack.source} {stack.patient} shows {names}, which `drawn` does not name")


def _ringed(mask: np.ndarray) -> int | None:
    """Which of the ventricles, 1 LV cavity or 3 RV, has its centre nearer to the myocardium's; `None` without all."""
    places = [np.argwhere(mask == label) for label in (1, 2, 3)]
    if not all(map(len, places)):
        return None
    left, ring, right = (place.mean(axis=0) for place in places)
    return 1 if np.linalg.norm(left - ring) <= np.linalg.norm(right - ring) else 3


def _check_ids(report: DataReport, geometry: _Geometry) -> None:
    if geometry.ringed[3] > geometry.ringed[1]:
        report.errors.append(
            f"in {geometry.ringed[3]} of {geometry.ringed.total()} slices the myocardium lies around the RV, not the "
            "LV cavity: the masks seem to have other ids; as ACDC's, say `--labels 1=3 2=2 3=1`"
        )
    drawn = sorted(set().union(*geometry.drawn.values()))
    unseen = [LABELS[label] for label in drawn if LABELS[label] not in report.labels]
    if unseen and report.labels:
        report.warnings.append(
            f"no mask shows {', '.join(unseen)}, which counts as looked for and absent: where nobody drew it, name the "
            "ids that you drew, as `--labels 1=1 2=2`"
        )


def _check_spacing(report: DataReport, geometry: _Geometry) -> None:
    for side, number in geometry.missing.items():
        report.warnings.append(
            f"{side}: {number} of {report.sides[side]['stacks']} stacks have no pixel spacing; the processor assumes "
            "1.4 mm, so sizes are uncertain: give spacing_mm if you know it"
        )
    values = np.array(geometry.spacings)
    if len(values) and values.max() / values.min() > SPREAD:
        report.warnings.append(
            f"pixel spacing goes from {values.min():.2f} to {values.max():.2f} mm: check that the greatest and the "
            "least are true"
        )


def _check_balance(report: DataReport, geometry: _Geometry) -> None:
    for side, count in report.sides.items():
        if 0 < count["patients"] < FEW:
            report.warnings.append(f"{side}: {count['patients']} patients are too few to say much")
        if not count["patients"]:
            report.warnings.append(f"{side} is empty")
    for table in (report.classes, report.labels):
        for name, counts in table.items():
            absent = [side for side, found in report.sides.items() if found["patients"] and not counts.get(side)]
            if absent:
                report.warnings.append(f"{name} does not occur on {' and '.join(absent)}")
    if len({frozenset(ids) for ids in geometry.drawn.values()}) > 1:
        drawn = {side: [LABELS[label] for label in sorted(ids)] for side, ids in geometry.drawn.items()}
        report.warnings.append(f"the sides have other structures drawn: {drawn}")
