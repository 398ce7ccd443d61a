"""Which images fit a probe and which judge it, so that nobody is on both sides and no source names a class.

Each label is asked for in up to four ways, of which those are taken that the images allow:

phantoms               fitted on some phantoms, judged on other hearts: one source
phantoms to patients   fitted on phantoms, judged on patients: one source when fitted, others when judged
patients to phantoms   the other way round; a source may name a class where it is fitted, which does not help then
acdc, emidec, …        fitted on the training patients of one source, judged on its validation patients
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..data.shards import ShardSet
from .probes import equalise

MADE = "phantoms"
LABELS = ("image_type", "view", "disease")
FIELDS = ("source", "side", *LABELS)
ALIKE = {"disease": {"image_type": "cine", "view": "SAX"}}  # pictures that a label is read from
FIT_IMAGES, JUDGE_IMAGES, LEAST_IMAGES = 200, 100, 5  # of one class

Row = Mapping[str, str | None]


@dataclass(frozen=True)
class ProbeTask:
    """One question to features.

    Attributes:
        label (`str`): of `LABELS`.
        name (`str`): where it is fitted and judged, see above.
        classes (`tuple` of `str`).
        fit, judge (`torch.Tensor` of shape `(n,)`, int64): numbers of the images; no image is in both.
        fit_ids, judge_ids (`torch.Tensor` of shape `(n,)`, int64): their classes.
        sources (`dict`): class → the sources that it is fitted on, and those that it is judged on.
    """

    label: str
    name: str
    classes: tuple[str, ...]
    fit: Tensor
    judge: Tensor
    fit_ids: Tensor
    judge_ids: Tensor
    sources: dict[str, tuple[list[str], list[str]]]

    def about(self) -> dict[str, object]:
        """What a table says of it."""
        return {
            "label": self.label,
            "task": self.name,
            "classes": list(self.classes),
            "fit": len(self.fit),
            "judge": len(self.judge),
            "sources": {name: list(pair) for name, pair in self.sources.items()},
        }


def tasks_of(rows: Sequence[Row]) -> list[ProbeTask]:
    """All questions that images can answer: two classes or more, each with images to fit on and others to judge on.

    Args:
        rows (sequence of mappings): `FIELDS` of each image.
    """
    found = []
    patients = sorted({row["source"] for row in rows} - {MADE, None})
    for label in LABELS:
        alike = ALIKE.get(label, {})
        known = [
            number
            for number, row in enumerate(rows)
            if row[label] is not None and all(row[name] == value for name, value in alike.items())
        ]
        made = [number for number in known if rows[number]["source"] == MADE]
        real = [number for number in known if rows[number]["source"] != MADE]
        sides = {side: [number for number in known if rows[number]["side"] == side] for side in ("train", "validation")}
        pairs = {
            MADE: (_both(made, sides["train"]), _both(made, sides["validation"])),
            f"{MADE} to patients": (_both(made, sides["train"]), real),
            f"patients to {MADE}": (real, _both(made, sides["validation"])),
        }
        for source in patients:
            own = [number for number in real if rows[number]["source"] == source]
            pairs[source] = (_both(own, sides["train"]), _both(own, sides["validation"]))
        tasks = [_task(label, name, fit, judge, rows) for name, (fit, judge) in pairs.items()]
        found += [task for task in tasks if task is not None]
    return found


def _both(some: list[int], others: list[int]) -> list[int]:
    return sorted(set(some) & set(others))


def _task(label: str, name: str, fit: list[int], judge: list[int], rows: Sequence[Row]) -> ProbeTask | None:
    """A task with the classes that occur on both sides, each with its images evenly spread."""
    classes, chosen, sources = [], ([], []), {}
    for one in sorted({rows[number][label] for number in fit}):
        own = [[number for number in side if rows[number][label] == one] for side in (fit, judge)]
        if min(map(len, own)) < LEAST_IMAGES:
            continue
        for side, numbers, most in zip(chosen, own, (FIT_IMAGES, JUDGE_IMAGES), strict=True):
            places = torch.linspace(0, len(numbers) - 1, min(most, len(numbers))).round().long().tolist()
            side += [(numbers[place], len(classes)) for place in places]
        sources[one] = tuple(sorted({rows[number]["source"] for number in side}) for side in own)
        classes.append(one)
    if len(classes) < 2:
        return None
    (fit, fit_ids), (judge, judge_ids) = (torch.tensor(side).T for side in chosen)
    return ProbeTask(label, name, tuple(classes), fit, judge, fit_ids, judge_ids, sources)


class ProbeImages:
    """Labelled pictures of one size, and the questions that they can answer.

    Args:
        folders (sequence of `str` or `Path`): shards with labels, as `training/prepare.py` writes them.
        side (`int`): of the middle that is shown, in pixels of 1 mm; images that are padded within it are left out.

    Attributes:
        tasks (`list` of `ProbeTask`): their numbers count `images`.
        images (`torch.Tensor` of shape `(n, side, side)`, uint8), extents (`torch.Tensor` of shape `(n, 2)`).
    """

    def __init__(self, folders: Sequence[str | Path], side: int = 128):
        sets = [ShardSet(folder) for folder in folders]
        rows: list[Row] = []
        for one in sets:
            columns = [one.column(name) for name in FIELDS]
            rows += [dict(zip(FIELDS, values, strict=True)) for values in zip(*columns, strict=True)]
        places = [(number, index) for number, one in enumerate(sets) for index in range(len(one))]
        wanted = sorted(
            {number for task in tasks_of(rows) for part in (task.fit, task.judge) for number in part.tolist()}
        )
        if not wanted:
            raise ValueError(
                f"`folders` need images with labels, two classes on two sides, got none in {list(map(str, folders))}: "
                "prepare a known data set with --dataset and --sides train validation, or phantoms"
            )
        found = [sets[places[number][0]][places[number][1]] for number in wanted]
        images = torch.stack([torch.from_numpy(one["image"]) for one in found])
        extents = torch.tensor([one["extent"] for one in found])
        self.images, self.extents, large = equalise(images, extents, side)
        self.tasks = tasks_of([rows[number] for number, kept in zip(wanted, large.tolist(), strict=True) if kept])
