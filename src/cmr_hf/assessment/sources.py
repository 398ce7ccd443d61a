"""One stack of a study as the assessment sees it, whoever has read it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..clinical.stacks import Stack

TYPES = ("cine", "LGE", "T1", "T2", "other")
VIEWS = ("SAX", "2CH", "3CH", "4CH", "aorta", "other")


@dataclass(frozen=True)
class Opinion:
    """What somebody takes a stack for.

    Attributes:
        image_type (`str`, *optional*): of `TYPES`; `None` where there is no opinion.
        view (`str`, *optional*): of `VIEWS`.
        post_contrast (`bool`, *optional*): a T1 map after contrast agent.
        is_map (`bool`): the pixels are a T1 or T2 map, not the images that it was made of.
        type_agreed, view_agreed (`bool`): all evidence says the same.
        reasons (`tuple` of `str`): what speaks for it.
    """

    image_type: str | None = None
    view: str | None = None
    post_contrast: bool | None = None
    is_map: bool = False
    type_agreed: bool = True
    view_agreed: bool = True
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class FrameReference:
    """One picture of a DICOM source, for those who point back to it. It names no person.

    Attributes:
        sop_class_uid, sop_instance_uid (`str`): of its file.
        frame (`int`, *optional*): from 1, in a multi-frame file; `None` in a single-frame one.
        series_uid, study_uid, place_uid (`str`): of its series, study and frame of reference; "" where unknown.
    """

    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None
    series_uid: str
    study_uid: str
    place_uid: str = ""


@dataclass(frozen=True)
class Source:
    """A stack of parallel slices over time.

    Attributes:
        number (`int`): from 1, in the order of the study.
        shape (four `int`): (t, z, y, x).
        stack (`Stack`): where its slices lie.
        read: gives its pixels, `np.ndarray` of shape `(t, z, y, x)`; opens the files anew each time.
        digest (`str`): of all that the answer depends on, pixels and geometry.
        header (`Opinion`): what its headers say.
        times_ms (`tuple` of `float`, *optional*): delay of each phase after the R wave.
        cycle_ms (`float`, *optional*): length of a heart beat.
        field_t (`float`, *optional*): field strength.
        in_ms (`bool`): the header says that the pixels are ms.
        placed (`bool`): the distance between slices is known; else `stack` has them where nobody knows.
        frames (`np.ndarray` of shape `(t, z)`, object, *optional*): `FrameReference` of every picture; `None` where
            there is no DICOM.
        notes (`tuple` of `str`): what the reader of the study remarked (slices left out, gaps, odd times).
    """

    number: int
    shape: tuple[int, int, int, int]
    stack: Stack
    read: Callable[[], np.ndarray]
    digest: str
    header: Opinion = field(default_factory=Opinion)
    times_ms: tuple[float, ...] | None = None
    cycle_ms: float | None = None
    field_t: float | None = None
    in_ms: bool = False
    placed: bool = True
    frames: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @property
    def affine(self) -> np.ndarray | None:
        """(column, row, slice) → LPS mm of shape `(4, 4)`, the slices taken as equally spaced; `None` without any."""
        if self.stack.affines is None:
            return None
        affines = self.stack.affines
        affine = affines[0].copy()
        steps = len(affines) - 1
        affine[:3, 2] = (affines[-1, :3, 3] - affines[0, :3, 3]) / steps if steps else self.stack.normal
        return affine

    @property
    def regular(self) -> bool:
        """Whether one affine holds for all slices, to a tenth of a mm."""
        if self.stack.affines is None or len(self.stack) < 3:
            return True
        steps = np.diff(self.stack.affines[:, :3, 3], axis=0)
        return bool(np.abs(steps - steps.mean(axis=0)).max() < 0.1)


@dataclass(frozen=True)
class Study:
    """All stacks of a study and what became of its files.

    Attributes:
        sources (`tuple` of `Source`)
        files (`int`): in the folder.
        left_out (`tuple` of `dict`): `{"file", "reason"}` of each that is not in a stack.
        names (`tuple` of `str`): of all files, relative to the study's folder; they never leave unless asked for.
        height_cm, weight_kg, age_years (`float`, *optional*), sex (`str`, *optional*): as the headers say, "male" or
            "female".
        identity (`dict`): patient fields of the headers; read only where they are to be kept.
        notes (`tuple` of `str`): what concerns more than one stack.
    """

    sources: tuple[Source, ...]
    files: int
    left_out: tuple[dict[str, str], ...] = ()
    names: tuple[str, ...] = ()
    height_cm: float | None = None
    weight_kg: float | None = None
    sex: str | None = None
    age_years: float | None = None
    identity: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
