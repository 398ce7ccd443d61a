"""Hearts as circles, and files in the layouts of other tools around them."""

from pathlib import Path

import numpy as np
import pydicom

from tests.dicom_factory import write_stack

SHAPE = (40, 48)
CENTRE = (18.0, 22.0)
ENDO, EPI, RV = 6.3, 9.4, 5.2


def circle(centre: tuple[float, float], radius: float, count: int = 80) -> np.ndarray:
    """(points, 2) as (row, column)."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)], axis=1)


def disc(centre: tuple[float, float], radius: float, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    row, column = np.mgrid[: shape[0], : shape[1]]
    return (row - centre[0]) ** 2 + (column - centre[1]) ** 2 < radius**2


def heart(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """The mask of `ENDO`, `EPI` and `RV`, uint8 (y, x)."""
    mask = np.zeros(shape, np.uint8)
    mask[disc((18.0, 36.0), RV, shape)] = 3
    mask[disc(CENTRE, EPI, shape)] = 2
    mask[disc(CENTRE, ENDO, shape)] = 1
    return mask


def study(
    folder: Path, slices: int = 3, phases: int = 2, series_per_slice: bool = True
) -> dict[tuple[int, int], pydicom.Dataset]:
    """A DICOM cine; (slice, phase) -> its data set."""
    paths = write_stack(folder, slices, phases, shape=SHAPE, series_per_slice=series_per_slice)
    return {divmod(index, phases): pydicom.dcmread(path) for index, path in enumerate(paths)}


def contour_xml(name: str, points: np.ndarray, subpixel: int = 4, size: tuple[int, int] | None = SHAPE) -> str:
    """One contour of a cvi42 workspace; points as (row, column)."""
    listed = "".join(
        f"<List:item><Point:x>{x * subpixel:.0f}</Point:x><Point:y>{y * subpixel:.0f}</Point:y></List:item>"
        for y, x in points
    )
    side = "" if size is None else f"<Size:width>{size[1]}</Size:width><Size:height>{size[0]}</Size:height>"
    return (
        f'<Hash:item Hash:key="{name}" Hash:count="3"><Hash:item Hash:key="ImageSize">{side}</Hash:item>'
        f'<Hash:item Hash:key="Points" List:count="{len(points)}">{listed}</Hash:item>'
        f'<Hash:item Hash:key="SubpixelResolution">{subpixel}</Hash:item></Hash:item>'
    )


def workspace_xml(contours: dict[str, list[str]], before: str = "") -> str:
    """A cvi42 workspace: SOP Instance UID -> contours."""
    images = "".join(
        f'<Hash:item Hash:key="{uid}" Hash:count="2"><Hash:item Hash:key="Contours" Hash:count="{len(own)}">'
        f"{''.join(own)}</Hash:item></Hash:item>"
        for uid, own in contours.items()
    )
    base = "http://www.circlecvi.com/cvi42/Workspace/"
    spaces = " ".join(f'xmlns:{name}="{base}{name}/"' for name in ("Hash", "List", "Point", "Size"))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<Workspace:workspace xmlns:Workspace="{base}" {spaces}>'
        f'<Hash:item Hash:key="PatientName">Secret^Person</Hash:item>'
        f'<Hash:item Hash:key="StudyMapStates"><List:item><Hash:item Hash:key="StudyUid">1.2.3.1</Hash:item>'
        f'<Hash:item Hash:key="ImageStates" Hash:count="{len(contours)}">{images}</Hash:item></List:item></Hash:item>'
        "</Workspace:workspace>"
    )


def whole_heart(subpixel: int = 4) -> list[str]:
    return [
        contour_xml("saendocardialContour", circle(CENTRE, ENDO), subpixel),
        contour_xml("saepicardialContour", circle(CENTRE, EPI), subpixel),
        contour_xml("sarvendocardialContour", circle((18.0, 36.0), RV), subpixel),
    ]
