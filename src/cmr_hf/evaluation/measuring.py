"""A model and labelled stacks in, one row per case out, for all eleven experiments and a user's own set.

for row, shown in measured(model, processor, chosen, stacks): …
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..data.experiments import Experiment, samples_of
from ..data.schema import LABELS, LabelledStack, as_task_knows
from ..hub.image_processing_cmr import CMRImageProcessor
from .cases import Row
from .predicting import (
    IMAGES_AT_ONCE,
    columns_of,
    landmarks_of,
    predicted_chances,
    predicted_masks,
    predicted_points,
    structures_of,
)
from .segmented import Segmented, by_cine, case_rows, measure_rows
from .surfaces import landmark_distances_mm

Facts = Callable[[LabelledStack], Mapping[str, str]]


@dataclass(frozen=True)
class Shown:
    """A case as a page shows it.

    Attributes:
        patient, case (`str`)
        images (`np.ndarray` of shape `(z, y, x)`): the slices, or the three channels.
        spacing_mm (two `float`, *optional*): (row, column).
        truth, predicted: label maps `(z, y, x)`; points `(landmarks, 2)`; or names of classes.
        badness (`float`): higher is worse: 1 − Dice, mm, or how sure it was of what is wrong.
        words (`str`): what a page says beside it, "Dice LV 0.91, …".
        about (`dict`): of the case's stack, as in its rows.
    """

    patient: str
    case: str
    images: np.ndarray
    spacing_mm: tuple[float, float] | None
    truth: Any
    predicted: Any
    badness: float
    words: str
    about: Mapping[str, str]


def kind_of(chosen: Experiment) -> str:
    """The kind of measurement: "segmentation", "landmarks" or "classification", which detection is."""
    return "classification" if chosen.kind == "detection" else chosen.kind


def no_facts(stack: LabelledStack) -> dict[str, str]:
    return {}


def measured(
    model: torch.nn.Module,
    processor: CMRImageProcessor,
    chosen: Experiment,
    stacks: Iterable[LabelledStack],
    facts: Facts = no_facts,
) -> Iterator[tuple[list[Row], Shown]]:
    """Rows of each case, and what a page shows of it.

    Args:
        model, processor: see `predicting`.
        chosen (`Experiment`): what is asked, and in which stacks.
        stacks (iterable of `LabelledStack`): stacks of a patient must follow each other.
        facts: stack → further columns, "vendor" say.

    Raises:
        ValueError: the model's classes are not those of the experiment.
    """
    if chosen.kind == "segmentation":
        yield from _segmented(model, processor, chosen, stacks, facts)
    elif chosen.kind == "landmarks":
        yield from _located(model, processor, chosen, stacks, facts)
    else:
        yield from _classified(model, processor, chosen, stacks, facts)


def _counts(chosen: Experiment, stack: LabelledStack) -> bool:
    pairs = ((stack.image_type, chosen.image_types), (stack.view, chosen.views))
    return all(value is None or not wanted or value in wanted for value, wanted in pairs)


def _segmented(
    model: torch.nn.Module, processor: CMRImageProcessor, chosen: Experiment, stacks: Iterable, facts: Facts
) -> Iterator[tuple[list[Row], Shown]]:
    knows = set(structures_of(model.config.id2label).values())
    labels = tuple(label for label in chosen.learns if label in knows)
    if not labels:
        names = [LABELS[label] for label in chosen.learns]
        raise ValueError(f"the model segments {sorted(knows)}, none of {names}: name a model of this task")

    def one_by_one() -> Iterator[Segmented]:
        for stack in stacks:
            if stack.masks is None or not _counts(chosen, stack):
                continue
            told = replace(stack, masks=as_task_knows(stack.masks, labels))
            predicted = predicted_masks(model, processor, stack.images, stack.spacing_mm)
            one = Segmented(told, as_task_knows(predicted, labels), labels)
            if any(one.told):
                yield one

    for cine in by_cine(one_by_one()):
        about = dict(facts(cine[0].stack))
        measures = list(measure_rows(cine, about))
        for place, one in enumerate(cine):
            about = dict(facts(one.stack))
            rows = list(case_rows(one, about))
            yield rows + (measures if place == 0 else []), _shown_segmentation(one, rows, about)


def _shown_segmentation(one: Segmented, rows: Sequence[Row], about: Mapping[str, str]) -> Shown:
    volumes = [row for row in rows if row["level"] == "volume" and row["dice"] is not None]
    words = "   ".join(f"{row['structure']} {row['dice']:.2f}" for row in volumes)
    mean = float(np.mean([row["dice"] for row in volumes])) if volumes else 1.0
    stack = one.stack
    case = rows[-1]["case"] if rows else ""
    return Shown(
        stack.patient,
        case,
        stack.images,
        stack.spacing_mm,
        stack.masks,
        one.predicted,
        1 - mean,
        f"Dice {words}",
        about,
    )


def _with_facts(
    stacks: Iterable[LabelledStack], facts: Facts, known: dict[tuple[str, str], Mapping[str, str]]
) -> Iterator[LabelledStack]:
    """Stacks as they come; what is known of each is kept for the samples that are made of it."""
    for stack in stacks:
        known[stack.source, stack.patient] = facts(stack)
        known[stack.source, _series(stack)] = facts(stack)
        yield stack


def _series(stack: LabelledStack) -> str:
    return "/".join(part for part in (stack.source, stack.patient, stack.study, stack.series) if part)


def _about(sample: dict, known: Mapping[tuple[str, str], Mapping[str, str]]) -> dict[str, str]:
    """Facts of the series that a sample's key begins with, else of its patient."""
    source = sample["source"]
    parts = sample["key"].split("/")
    for end in range(len(parts), 1, -1):
        found = known.get((source, "/".join(parts[:end])))
        if found is not None:
            return dict(found)
    return dict(known.get((source, sample["patient"]), {}))


def _case(sample: dict) -> str:
    """A sample's key without source and patient."""
    return sample["key"].removeprefix(f"{sample['source']}/{sample['patient']}").strip("/") or "heart"


def _alike(samples: Iterable[dict]) -> Iterator[list[dict]]:
    """Samples that follow each other and share size and spacing, as many as go through the model together."""
    batch: list[dict] = []
    for sample in samples:
        new = (sample["image"].shape, sample["spacing_mm"])
        if batch and (len(batch) == IMAGES_AT_ONCE or new != (batch[0]["image"].shape, batch[0]["spacing_mm"])):
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def _first(sample: dict, about: Mapping[str, str]) -> Row:
    return {"source": sample["source"], "patient": sample["patient"], **about, "case": _case(sample)}


def _classified(
    model: torch.nn.Module, processor: CMRImageProcessor, chosen: Experiment, stacks: Iterable, facts: Facts
) -> Iterator[tuple[list[Row], Shown]]:
    columns = columns_of(model.config.id2label, chosen.label, chosen.classes)
    known: dict = {}
    for batch in _alike(samples_of(chosen, _with_facts(stacks, facts, known))):
        images = np.stack([np.asarray(sample["image"]) for sample in batch])
        found = predicted_chances(model, processor, images, batch[0]["spacing_mm"], columns)
        for sample, image, chances in zip(batch, images, found, strict=True):
            truth, best = chosen.classes[sample["label"]], chosen.classes[int(chances.argmax())]
            about, sure = _about(sample, known), float(chances.max())
            row = _first(sample, about) | {"truth": truth, "predicted": best, "right": int(truth == best)}
            row |= {f"p:{name}": float(chance) for name, chance in zip(chosen.classes, chances, strict=True)}
            if sample.get("variant"):
                row["variant"] = sample["variant"]
            bad = sure if truth != best else -sure
            words = f"is {truth}, called {best} ({sure:.2f})"
            planes = image if image.ndim == 3 else image[None]
            spacing = sample["spacing_mm"]
            yield [row], Shown(sample["patient"], row["case"], planes, spacing, truth, best, bad, words, about)


def _located(
    model: torch.nn.Module, processor: CMRImageProcessor, chosen: Experiment, stacks: Iterable, facts: Facts
) -> Iterator[tuple[list[Row], Shown]]:
    names = landmarks_of(model.config.id2label)
    wanted = [place for place, name in enumerate(chosen.classes) if name in names]
    order = [names.index(chosen.classes[place]) for place in wanted]
    known: dict = {}
    for batch in _alike(samples_of(chosen, _with_facts(stacks, facts, known))):
        spacing = batch[0]["spacing_mm"]
        images = np.stack([sample["image"] for sample in batch])
        points, scores = predicted_points(model, processor, images, spacing)
        for sample, found, sure in zip(batch, points[:, order], scores[:, order], strict=True):
            truth, about = sample["points"][wanted], _about(sample, known)
            far = np.full(len(found), np.nan) if spacing is None else landmark_distances_mm(found, truth, spacing)
            rows = [
                _first(sample, about)
                | {
                    "structure": chosen.classes[place],
                    "distance_mm": float(distance) if np.isfinite(distance) else None,
                    "score": float(score),
                }
                for place, distance, score, at in zip(wanted, far, sure, truth, strict=True)
                if not np.isnan(at).any()
            ]
            told = [row for row in rows if row["distance_mm"] is not None]
            words = "   ".join(f"{row['structure'].split()[0]} {row['distance_mm']:.1f} mm" for row in told)
            worst = max((row["distance_mm"] for row in told), default=0.0)
            image = sample["image"][None]
            yield rows, Shown(sample["patient"], _case(sample), image, spacing, truth, found, worst, words, about)
