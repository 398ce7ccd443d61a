"""Contours of a cvi42 workspace (`.cvi42wsx`, XML) on the DICOM pictures they were drawn on.

Layout: `Hash:item` elements nested by their `Hash:key`: … `ImageStates` / SOP Instance UID / `Contours` / contour name
/ `Points` (`List:item` with `Point:x`, `Point:y`), `SubpixelResolution`, `ImageSize` (`Size:width`, `Size:height`).
Points are (column, row) times the sub-pixel resolution; point 0 is taken for the centre of pixel 0, as the public
readers do (ukbb_cardiac's `parse_cvi42_xml.py` and LazyLuna). A second contour of one kind ends in 0001, a third in
0002.

| contour                                                                       | structure              |
|-------------------------------------------------------------------------------|------------------------|
| saendocardialContour, saendocardialOpenContour, laendocardial(Open)Contour    | LV cavity              |
| saepicardialContour, saepicardialOpenContour, laepicardial(Open)Contour       | LV epicardium          |
| sarvendocardialContour, larvendocardialContour                                | RV                     |
| lalaContour, laraContour                                                      | LA, RA                 |
| noReflowAreaContour                                                           | scar                   |
| sacardialRefPoint                                                             | anterior RV insertion  |
| sacardialInferiorRefPoint, sacardialInferiorInsertionPoint                    | inferior RV insertion  |

Open contours close with a straight line. Papillary muscles stay cavity, as everywhere in this package. Scar found by a
threshold is no contour in these files and cannot be read. cvi42 lets its user move the reference point: that it lies
on the anterior insertion is its default.

Verified against the layout that those public readers read, not against files of the program itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from ...hub.checking_cmr import ReadingError, file_head
from ..schema import LANDMARKS, Point
from .dicom_stacks import read_pictures, stacks_with
from .filling import MAX_POINTS, fill_polygon
from .imported import ImportedLabels, paint
from .names import EPICARDIUM

STRUCTURES = {
    **dict.fromkeys(("saendocardialContour", "saendocardialOpenContour"), "LV cavity"),
    **dict.fromkeys(("laendocardialContour", "laendocardialOpenContour"), "LV cavity"),
    **dict.fromkeys(("saepicardialContour", "saepicardialOpenContour"), EPICARDIUM),
    **dict.fromkeys(("laepicardialContour", "laepicardialOpenContour"), EPICARDIUM),
    **dict.fromkeys(("sarvendocardialContour", "larvendocardialContour"), "RV"),
    "lalaContour": "LA",
    "laraContour": "RA",
    "noReflowAreaContour": "scar",
}
POINTS = {
    "sacardialRefPoint": LANDMARKS[0],
    "sacardialInferiorRefPoint": LANDMARKS[1],
    "sacardialInferiorInsertionPoint": LANDMARKS[1],
}
_MAX_DEPTH = 200
_MAX_CONTOURS = 200_000


@dataclass
class Contour:
    """One contour of a workspace.

    Attributes:
        name: in the file, without a number at its end.
        points (`np.ndarray` of shape `(points, 2)`): (row, column) in pixels.
        shapes: (rows, columns) that its picture may have; empty when the file does not say.
    """

    name: str
    points: np.ndarray
    shapes: tuple[tuple[int, int], ...] = ()


def read_cvi42(path: str | Path, dicom: str | Path, *, patient: str, licence: str = "unknown") -> ImportedLabels:
    """Reads a workspace onto its pictures.

    Args:
        path: the `.cvi42wsx` file.
        dicom: folder of the study, at any depth, or one multi-frame file.
        patient: a pseudonym, see `LabelledStack`.
        licence: the Hub's name of it.

    Raises:
        ReadingError: the file is no such XML, is damaged or has a DTD, or none of its pictures is in `dicom`.
    """
    workspace = parse_cvi42(path)
    name = Path(path).name
    pictures = read_pictures(dicom)
    drawings, missing, misfits = {}, 0, 0
    unknown: dict[str, int] = defaultdict(int)
    used = set()
    for uid, contours in workspace.items():
        found = pictures.named(uid)
        missing += not found
        for one in found[:1]:  # workspaces name whole instances: of multi-frame files the first frame
            fitting = [c for c in contours if not c.shapes or one.matrix in c.shapes]
            misfits += len(contours) - len(fitting)
            areas, landmarks = _areas(fitting, one.matrix, unknown)
            if areas or landmarks:
                drawings[(one.path, one.index)] = paint(areas, one.matrix, landmarks)
                used |= {c.name for c in fitting if c.name in STRUCTURES or c.name in POINTS}
    report = [
        f"{name}: {count} contours {kind!r} have no place here and are left out" for kind, count in unknown.items()
    ]
    if missing:
        report.append(f"{name}: {missing} of {len(workspace)} contoured pictures are not in the DICOM folder")
    if misfits:
        report.append(f"{name}: {misfits} contours were drawn on pictures of another size and are left out")
    view = "SAX" if used and all(kind.startswith("sa") or kind == "noReflowAreaContour" for kind in used) else None
    return stacks_with(pictures, drawings, report, patient=patient, source="cvi42", licence=licence, view=view)


def parse_cvi42(path: str | Path) -> dict[str, list[Contour]]:
    """SOP Instance UID -> its contours; nothing else of the workspace is kept.

    Raises:
        ReadingError: see `read_cvi42`.
    """
    path = Path(path)
    name = path.name
    file_head(path, name)
    reader = _Workspace(name)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reader.doctype
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        with open(path, "rb") as file:
            parser.ParseFile(file)
    except expat.ExpatError as error:
        raise ReadingError(
            f"{name} is no XML, or is damaged or truncated (line {error.lineno}): export it again as .cvi42wsx"
        ) from None
    if not reader.seen:
        raise ReadingError(f"{name} is no cvi42 workspace, it has no ImageStates: export it as .cvi42wsx")
    return reader.found


def _areas(
    contours: list[Contour], shape: tuple[int, int], unknown: dict[str, int]
) -> tuple[dict[str, np.ndarray], Mapping[str, Point]]:
    areas: dict[str, np.ndarray] = {}
    landmarks = {}
    for one in contours:
        if one.name in POINTS and len(one.points) == 1:
            landmarks[POINTS[one.name]] = (float(one.points[0, 0]), float(one.points[0, 1]))
        elif one.name in STRUCTURES and len(one.points) >= 3:
            structure = STRUCTURES[one.name]
            area = fill_polygon(one.points, shape)
            areas[structure] = areas[structure] | area if structure in areas else area
        else:
            unknown[one.name if re.fullmatch(r"[A-Za-z]{1,60}", one.name) else "unnamed"] += 1
    return areas, landmarks


@dataclass
class _Workspace:
    """Follows the XML and keeps the contours; text elsewhere, names of patients too, is never stored."""

    name: str
    found: dict[str, list[Contour]] = field(default_factory=lambda: defaultdict(list))
    seen: bool = False
    path: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    points: list[tuple[float, float]] = field(default_factory=list)
    count: int = 0

    def doctype(self, *_: Any) -> None:
        raise ReadingError(f"{self.name} has a DTD, which workspaces have not: export the workspace again")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self.path) >= _MAX_DEPTH:
            raise ReadingError(f"{self.name} nests deeper than {_MAX_DEPTH} elements: export the workspace again")
        key = next((value for attribute, value in attributes.items() if attribute.split(":")[-1] == "key"), None)
        self.path.append(tag.split(":")[-1] if key is None else key)
        self.text = []
        self.seen |= self.path[-1] == "ImageStates"
        if len(self._inner()) == 1:
            self.points, self.state = [], {}

    def characters(self, text: str) -> None:
        if len(self._inner()) in (2, 3, 4) and len(self.text) < 100:
            self.text.append(text)

    def end(self, _: str) -> None:
        match self._inner():
            case [_, "Points", _, ("x" | "y") as axis]:
                self.state[axis] = self._number()
            case [_, "Points", _]:
                self.points.append((self.state.pop("y", np.nan), self.state.pop("x", np.nan)))
                if len(self.points) > MAX_POINTS:
                    raise ReadingError(f"{self.name} has a contour of more than {MAX_POINTS} points: export it again")
            case [_, "SubpixelResolution"]:
                self.state["subpixel"] = self._number()
            case [_, "ImageSize", ("width" | "height") as side]:
                self.state[side] = self._number()
            case [contour]:
                self._keep(contour)
        self.path.pop()
        self.text = []

    def _inner(self) -> list[str]:
        """Keys below `ImageStates` / UID / `Contours`; empty elsewhere."""
        for index in range(2, min(len(self.path), 30)):
            if self.path[index] == "Contours" and self.path[index - 2] == "ImageStates":
                return self.path[index + 1 :]
        return []

    def _number(self) -> float:
        try:
            return float("".join(self.text))
        except ValueError:
            return np.nan

    def _keep(self, contour: str) -> None:
        self.count += 1
        if self.count > _MAX_CONTOURS:
            raise ReadingError(f"{self.name} has more than {_MAX_CONTOURS} contours: export one study at a time")
        if not self.points:
            return
        subpixel = self.state.get("subpixel", 1.0)
        points = np.array(self.points)
        if not (np.isfinite(subpixel) and subpixel > 0 and np.isfinite(points).all()):
            raise ReadingError(
                f"{self.name} has a contour whose points or SubpixelResolution are no numbers: export it again"
            )
        size = self.state.get("height", np.nan), self.state.get("width", np.nan)
        # some versions count the size in pixels, some in sub-pixels
        shapes = (
            tuple(tuple(round(side / scale) for side in size) for scale in (1.0, subpixel))
            if all(np.isfinite(side) and side < 1e6 for side in size)
            else ()
        )
        uid = self.path[self.path.index("ImageStates") + 1]
        self.found[uid].append(Contour(re.sub(r"\d{4}$", "", contour), points / subpixel, shapes))
