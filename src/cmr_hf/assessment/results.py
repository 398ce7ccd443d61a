"""What an assessment found: one object for a study, one for each stack, and both as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..clinical.quantities import Measure
from ..clinical.writers import RESEARCH_USE_ONLY
from .asking import Pixels
from .inference import Classes
from .measuring import Landmarks, Measured, Subject
from .recognition import Recognition
from .sources import Source, Study

FORMAT = "cmr_hf assessment"
SCHEMA_VERSION = "1.0.0"


@dataclass
class StackAssessment:
    """One stack of the study.

    Attributes:
        source (`Source`): its pixels and geometry.
        recognition (`Recognition`): what it shows.
        labels (`np.ndarray` of shape `(t, z, y, x)`, uint8, *optional*): on its own grid.
        masks_from (`str`): "model", "hand", or "" where there are no masks.
        model (`str`): role of the model that drew them.
        chances (dict, *optional*): label id → probability × 255, of that shape.
        landmarks (`Landmarks`, *optional*): RV insertion points.
        measured (`Measured`): its figures.
        not_measured (list of `str`): what was not done, and why.
        notes (list of `str`): of reading, recognising and mending.
        files (dict of `str` to `str`): what was written → path below the output folder.
    """

    source: Source
    recognition: Recognition
    labels: np.ndarray | None = None
    masks_from: str = ""
    model: str = ""
    chances: dict[int, np.ndarray] | None = None
    landmarks: Landmarks | None = None
    measured: Measured = field(default_factory=Measured)
    not_measured: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """From 1, in the order of the study."""
        return self.source.number

    @property
    def kind(self) -> str:
        """ "cine SAX", "T1 post SAX" …"""
        return self.recognition.kind

    @property
    def name(self) -> str:
        """For file names: "07_cine_sax"; nothing of a header is in it."""
        return f"{self.number:02d}_{self.kind.lower().replace(' ', '_')}"

    @property
    def title(self) -> str:
        """For people: "stack 7, cine SAX"."""
        return f"stack {self.number}, {self.kind}"

    @property
    def headline(self) -> str:
        """The same at the beginning of a line."""
        return self.title[:1].upper() + self.title[1:]

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; pixels and masks stay outside."""
        stack, measured = self.source.stack, self.measured
        return {
            "number": self.number,
            "name": self.name,
            "recognition": self.recognition.to_dict(),
            "shape": list(self.source.shape),
            "spacing_mm": list(stack.spacing_mm),
            "slice_distance_mm": stack.distance_mm,
            "slice_positions_mm": np.round(stack.positions_mm, 3).tolist(),
            "slice_thickness_mm": stack.thickness_mm,
            "gaps_mm": [{"between": [a + 1, b + 1], "distance": round(mm, 2)} for a, b, mm in stack.gaps()],
            "affine_lps_mm": None if self.source.affine is None else np.round(self.source.affine, 6).tolist(),
            "equally_spaced": self.source.regular,
            "phase_times_ms": None if self.source.times_ms is None else list(self.source.times_ms),
            "sha256": self.source.digest,
            "masks_from": self.masks_from or None,
            "model": self.model or None,
            "ed_phase": measured.ed,
            "es_phase": measured.es,
            "measures": _measures(measured.measures),
            "segments": {key: _measures(value) for key, value in measured.segmental.items()},
            "segment_method": {key or "all": _segments(one) for key, one in measured.segments.items()},
            "curves": measured.curves,
            "classes": {name: _classes(one) for name, one in measured.classes.items()},
            "landmarks": self._landmarks(),
            "quality": [finding.to_dict() for finding in measured.findings],
            "not_measured": self.not_measured,
            "notes": [*self.notes, *measured.notes],
            "files": self.files,
        }

    def _landmarks(self) -> list[dict[str, Any]]:
        """Every landmark that was found, in pixels and in patient mm."""
        if self.landmarks is None:
            return []
        found, slices, points = [], len(self.source.stack), self.landmarks.points
        for index, (places, scores) in enumerate(zip(points.points, points.scores, strict=True)):
            phase, z = self.landmarks.phases[index // slices], index % slices
            for name, place, score in zip(points.names, places, scores, strict=True):
                where = None if self.source.stack.affines is None else self.source.stack.to_patient(z, place)
                found.append(
                    {
                        "label": name,
                        "phase": phase,
                        "slice": z,
                        "pixel": np.round(place, 2).tolist(),
                        "patient_mm": None if where is None else np.round(where, 2).tolist(),
                        "score": round(float(score), 4),
                    }
                )
        return found


@dataclass
class StudyAssessment:
    """A whole study.

    Attributes:
        study (`Study`): what was read.
        stacks (list of `StackAssessment`)
        subject (`Subject`): height, weight and haematocrit that were used.
        measures (dict of `str` to `Measure`): the study's figures, each from the best stack of its kind.
        segmental (dict of `str` to dict): the same per segment.
        classes (dict of `str` to `Classes`): "disease", "lge".
        chosen (dict of `str` to `int`): kind of stack → number of the one that was chosen.
        models (dict): role → which model, or why none.
        not_measured (list of `str`): what is missing as a whole, and why.
        seconds (dict of `str` to `float`): how long the steps took, by the clock.
        normal (dict): name of a figure → its published range, see `clinical`.
        out (`Path`, *optional*): where the files lie.
        keep_identity (`bool`)
        pixels (`Pixels`): for the pictures.
        images_seen (`int`): by encoders in this run; answers_known (`int`): kept by an earlier one.
    """

    study: Study
    stacks: list[StackAssessment]
    subject: Subject = field(default_factory=Subject)
    measures: dict[str, Measure] = field(default_factory=dict)
    segmental: dict[str, dict[int | str, Measure]] = field(default_factory=dict)
    classes: dict[str, Classes] = field(default_factory=dict)
    chosen: dict[str, int] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    not_measured: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    normal: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    out: Path | None = None
    keep_identity: bool = False
    pixels: Pixels | None = None
    images_seen: int = 0
    answers_known: int = 0

    def stack(self, kind: str) -> StackAssessment | None:
        """The stack that was chosen for a kind, "cine SAX" say."""
        number = self.chosen.get(kind)
        return next((one for one in self.stacks if one.number == number), None)

    def to_dict(self) -> dict[str, Any]:
        """The content of `assessment.json`, by `schema.json`."""
        subject = {name: value for name, value in vars(self.subject).items() if value is not None and name != "hidden"}
        if not self.keep_identity:
            subject = {name: value for name, value in subject.items() if name not in self.subject.hidden}
        return {
            "format": FORMAT,
            "schema_version": SCHEMA_VERSION,
            "notice": RESEARCH_USE_ONLY,
            "cmr_hf_version": __version__,
            "counting": "phases and slices of fields are from 0, in texts from 1",
            "study": {
                "files": self.study.files,
                "left_out": left_out(self.study.left_out, self.keep_identity),
                "notes": list(self.study.notes),
                **({"identity": dict(self.study.identity)} if self.keep_identity else {}),
            },
            "subject": subject,
            "models": self.models,
            "chosen_stacks": self.chosen,
            "measures": _measures(self.measures),
            "segments": {key: _measures(value) for key, value in self.segmental.items()},
            "classes": {name: _classes(one) for name, one in self.classes.items()},
            "normal_ranges": self.normal,
            "not_measured": self.not_measured,
            "stacks": [one.to_dict() for one in self.stacks],
            "files": self.files,
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
        }

    def row(self) -> dict[str, Any]:
        """One flat row for a table of studies: value, 95 % interval and reason of each figure."""
        made: dict[str, Any] = {"stacks": len(self.stacks), "files": self.study.files}
        for name, one in sorted(self.measures.items()):
            made[name] = one.value
            made[f"{name}_unit"] = one.unit
            made[f"{name}_low"], made[f"{name}_high"] = one.interval or (None, None)
            made[f"{name}_refused"] = one.reason or None
        findings = [finding for stack in self.stacks for finding in stack.measured.findings]
        made["quality_errors"] = sum(one.severity == "error" for one in findings)
        made["quality_warnings"] = sum(one.severity == "warning" for one in findings)
        made["uncertain_stacks"] = sum(
            one.recognition.view.uncertain or one.recognition.image_type.uncertain for one in self.stacks
        )
        return made


def left_out(entries: Sequence[Mapping[str, str]], with_names: bool) -> list[dict[str, Any]]:
    """Reason → how many files, with their names only where identity is kept: hospitals name files after patients."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        found.setdefault(str(entry["reason"]), []).append(str(entry["file"]))
    return [
        {"reason": reason, "files": len(files), **({"names": files} if with_names else {})}
        for reason, files in found.items()
    ]


def _measures(values: Mapping[int | str, Measure]) -> dict[str, Any]:
    return {str(key): one.to_dict() for key, one in values.items()}


def _classes(one: Classes) -> dict[str, Any]:
    return {
        "value": one.best,
        "probability": round(one.scores[one.best], 4),
        "scores": {name: round(score, 4) for name, score in one.scores.items()},
    }


def _segments(one: Any) -> dict[str, Any]:
    return {"levels": list(one.levels), "septum_from": list(one.references), "reason": one.reason or None}
