"""The biv-me example study: a cine study with guide points, in the layout of the biv-me project.

Layout: `dicom/SeN/*.dcm` (one slice over the cycle each), `views.csv`, `guidepoints/<set>/<patient>/GPFile_TTT.txt`
(one file per frame: x, y, z in patient mm, kind, slice, weight, frame) and beside them `SliceInfoFile.txt` (the plane
of each slice). Slices are matched to series by their plane.

The guide points are the output of that project's own tool: contours are every second pixel of the border of a
network's mask, RV insertion points the two such pixels of the RV that lie farthest apart within 3.5 pixels of the
myocardium. All lie on pixel centres. No person marked them, and there is no truth in them to half a pixel.

Source: github.com/UOA-Heart-Mechanics-Research/biv-me (Apache-2.0).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ..hub.reading_cmr import CMRImage, ReadingError, read_image
from .insertion_points import Contact, orientation
from .schema import LANDMARKS, UNKNOWN, LabelledStack, Point

LICENCE = "apache-2.0"
CITATION = "biv-me example study, github.com/UOA-Heart-Mechanics-Research/biv-me"
PATIENT = "patient1"  # as the study and `splits.json` call it
ENDOCARDIUM, EPICARDIUM = "SAX_LV_ENDOCARDIAL", "SAX_LV_EPICARDIAL"
FREE_WALL, SEPTUM, INSERTION = "SAX_RV_FREEWALL", "SAX_RV_SEPTUM", "RV_INSERT"
SAME_PLANE_MM = 0.1


@dataclass(frozen=True)
class GuideSlice:
    """Guide points of one slice and frame.

    Attributes:
        slice_id (`int`), frame (`int`): as the files number them, slices from 1, frames from 0.
        affine (`np.ndarray` of shape `(4, 4)`): (column, row, slice) → patient LPS mm; the third column is the normal.
        spacing_mm (two `float`): (row, column).
        points_mm (`dict`): kind → `np.ndarray` of shape `(n, 3)`, patient LPS mm.
    """

    slice_id: int
    frame: int
    affine: np.ndarray
    spacing_mm: Point
    points_mm: dict[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def points(self) -> dict[str, np.ndarray]:
        """Kind → `np.ndarray` of shape `(n, 2)`, (row, column) in pixels."""
        inverse = np.linalg.inv(self.affine)
        return {kind: (inverse[:2, :3] @ mm.T + inverse[:2, 3:]).T[:, ::-1] for kind, mm in self.points_mm.items()}

    def landmarks(self) -> dict[str, Point]:
        """RV insertion points as (row, column), named from their place in the patient; empty where there are none."""
        pair = self.points.get(INSERTION, np.empty((0, 2)))
        centre = self.points.get(ENDOCARDIUM, np.empty((0, 2)))
        if len(pair) != 2 or not len(centre):
            return {}
        first, last = pair - centre.mean(axis=0)
        if last[0] * first[1] - last[1] * first[0] < 0:  # clockwise on the picture, around the LV
            pair = pair[::-1]
        known = orientation([Contact(pair)], np.array(self.spacing_mm), self.affine)
        names = LANDMARKS[::-1] if known.last_is_anterior else LANDMARKS
        return {name: (float(row), float(column)) for name, (row, column) in zip(names, pair, strict=True)}

    def mask(self, size: tuple[int, int]) -> np.ndarray:
        """House labels from the SAX contours: 1 LV cavity, 2 myocardium, 3 RV, 0 where there are none.

        The epicardium lacks the septum in these files: the RV's septal border, a pixel beside it, closes it.
        """
        mask = np.zeros(size, np.uint8)
        cavity, outer = self.points.get(ENDOCARDIUM), self.points.get(EPICARDIUM)
        septum, free = self.points.get(SEPTUM, np.empty((0, 2))), self.points.get(FREE_WALL, np.empty((0, 2)))
        if cavity is not None and outer is not None:
            around = np.concatenate((outer, septum))
            beyond = around - cavity.mean(axis=0)
            mask[_filled(around[np.argsort(np.arctan2(*beyond.T))], size)] = 2
        if len(septum) + len(free) > 2:
            mask[_filled(np.concatenate((_opened(free), _opened(septum))), size)] = 3
        if cavity is not None:
            mask[_filled(cavity, size)] = 1
        return mask


def _opened(points: np.ndarray) -> np.ndarray:
    """Part of a closed contour, in order but cut somewhere, from one of its ends to the other."""
    if len(points) < 3:
        return points
    jumps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    return np.roll(points, -int(jumps.argmax()) - 1, axis=0)


def _filled(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    picture = Image.new("1", (size[1], size[0]))
    ImageDraw.Draw(picture).polygon([(float(c), float(r)) for r, c in points], fill=1, outline=1)
    return np.asarray(picture)


def read_guide_points(folder: str | Path) -> list[GuideSlice]:
    """Guide points by frame and slice.

    Args:
        folder (`str` or `Path`): holds `SliceInfoFile.txt` and `GPFile_000.txt`, `GPFile_001.txt`, …

    Raises:
        ReadingError: a file is missing or not of this form.
    """
    folder = Path(folder)
    files = sorted(folder.glob("GPFile_*.txt"))
    if not files or not (folder / "SliceInfoFile.txt").is_file():
        raise ReadingError(f"{folder} needs SliceInfoFile.txt and GPFile_000.txt, …: point at the folder with them")
    planes = _planes(folder / "SliceInfoFile.txt")
    slices = []
    for frame, path in enumerate(files):
        groups: dict[int, dict[str, list]] = {}
        try:
            with path.open(newline="", encoding="utf-8") as handle:
                for row in csv.DictReader(handle, delimiter="\t"):
                    kinds = groups.setdefault(int(row["frameID"]), {})
                    kinds.setdefault(row["contour type"], []).append([float(row[axis]) for axis in "xyz"])
            for number in sorted(groups):
                points = {kind: np.array(values) for kind, values in groups[number].items()}
                slices.append(GuideSlice(number, frame, *planes[number], points))
        except (KeyError, TypeError, ValueError) as error:
            kind = type(error).__name__
            raise ReadingError(f"{path} is no guide point file of {folder.name} ({kind}): fetch it again") from None
    return slices


def _planes(path: Path) -> dict[int, tuple[np.ndarray, Point]]:
    """Slice number → its affine and spacing."""
    planes = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split()
        try:
            number = int(words[words.index("sliceID:") + 1])
            origin, along, spacing = (
                np.array(words[words.index(name) + 1 : words.index(name) + 1 + count], float)
                for name, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
            )
        except (ValueError, IndexError):
            raise ReadingError(
                f"{path} has a line without slice, position, orientation or spacing: fetch it again"
            ) from None
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 1] = along[:3] * spacing[1], along[3:] * spacing[0]
        affine[:3, 2] = np.cross(along[:3], along[3:])
        affine[:3, 3] = origin
        planes[number] = affine, (float(spacing[0]), float(spacing[1]))
    return planes


def list_biv_me_patients(root: str | Path) -> list[str]:
    """The one patient."""
    return [PATIENT]


def read_biv_me(root: str | Path, patients: Iterable[str] | None = None) -> Iterator[LabelledStack]:
    """The study: the short-axis stack of every frame with masks and insertion points, then each long-axis cine.

    Args:
        root (`str` or `Path`): holds `dicom`, `guidepoints` and `views.csv`.
        patients (iterable of `str`, *optional*): there is one, `PATIENT`.

    Raises:
        ReadingError: another patient, or a folder or file is missing or broken.
    """
    root = Path(root)
    patients = [PATIENT] if patients is None else list(patients)
    if unknown := sorted(set(patients) - {PATIENT}):
        raise ReadingError(f"the biv-me example has no patient {unknown}: its only one is {PATIENT!r}")
    if not patients:
        return
    tables = sorted(root.glob("guidepoints/*/*/SliceInfoFile.txt"))
    if not tables or not (root / "views.csv").is_file():
        raise ReadingError(f"{root} needs views.csv and guidepoints/*/*/SliceInfoFile.txt: point at the study's folder")
    guides = read_guide_points(tables[0].parent)
    with (root / "views.csv").open(newline="", encoding="utf-8") as handle:
        views = {row["series"]: row["view"] for row in csv.DictReader(handle)}
    series = {name: read_image(root / "dicom" / name) for name in views}
    short = {name: image for name, image in series.items() if views[name] == "SAX"}
    yield from _short_axis(short, guides)
    for name, image in series.items():
        if views[name] == "SAX":
            continue
        view = "other" if views[name].lower() == "others" else views[name]
        for frame, pixels in enumerate(image.pixels):
            yield _stack(image, pixels, series=name, view=view, phase_index=frame, affine=image.affine)


def _short_axis(series: dict[str, CMRImage], guides: list[GuideSlice]) -> Iterator[LabelledStack]:
    """Stacks from base to apex, one per frame; slices without guide points are unknown, not empty."""
    found: dict[tuple[int, int], GuideSlice] = {}  # by position in the stack and frame
    images = list(series.values())
    normal = np.cross(images[0].affine[:3, 0], images[0].affine[:3, 1])
    images.sort(key=lambda image: -float(image.affine[:3, 3] @ normal))  # this study's normal points to the base
    affine = images[0].affine.copy()
    affine[:3, 2] = (images[-1].affine[:3, 3] - affine[:3, 3]) / (len(images) - 1)
    for one in guides:
        found |= {(z, one.frame): one for z, image in enumerate(images) if _same_plane(image.affine, one.affine)}
    for frame in range(min(len(image.pixels) for image in images)):
        pixels = np.concatenate([image.pixels[frame] for image in images])
        own = [found.get((z, frame)) for z in range(len(images))]
        blank = np.full(pixels.shape[1:], UNKNOWN, np.uint8)
        yield _stack(
            images[0],
            pixels,
            masks=np.stack([blank if one is None else one.mask(blank.shape) for one in own]),
            drawn=(1, 2, 3),
            landmarks=[{} if one is None else one.landmarks() for one in own],
            slice_distance_mm=float(np.linalg.norm(affine[:3, 2])),
            affine=affine,
            series="sax",
            view="SAX",
            phase_index=frame,
        )


def _same_plane(one: np.ndarray, other: np.ndarray) -> bool:
    """Same origin and directions, to a tenth of a millimetre and per pixel a thousandth."""
    apart = np.abs(one - other)[:3]
    return bool(apart[:, 3].max() < SAME_PLANE_MM and apart[:, :2].max() < SAME_PLANE_MM / 100)


def _stack(image: CMRImage, pixels: np.ndarray, **known: object) -> LabelledStack:
    return LabelledStack(
        images=pixels,
        spacing_mm=image.spacing_mm,
        patient=PATIENT,
        source="biv-me",
        licence=LICENCE,
        image_type="cine",
        **known,
    )
