"""What a header takes a stack for: image type and view, with the evidence. A second opinion beside the models'.

Long-axis views are told by the angle of their plane around the long axis of the left ventricle, which is the normal
of the short-axis stack of the same study, else the usual direction: left, anterior and down. The planes of the two-,
three- and four-chamber view lie about 60 degrees apart around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..hub.classifying_cmr import TO_APEX

if TYPE_CHECKING:
    from .stacks import Stack

_HEAD = np.array([0.0, 0.0, 1.0])
_SHORT = (0.95, 0.85)  # cosine of normal and long axis, known or usual, from which on a slice is a short-axis one
_LONG = (0.26, 0.42)  # and below which it holds the axis: 15 degrees off a known one, 25 off the usual one
# angle of the plane's normal around the long axis, in degrees from the head's direction, 0 … 180
_SECTORS = (("4CH", -17.0, 50.0), ("2CH", 65.0, 107.0), ("3CH", 107.0, 163.0))
_VIEW_OF_TERM = {"SAX": "SAX", "2CH": "2CH", "3CH": "3CH", "4CH": "4CH", "LVOT": "other", "RVOT": "other",
                 "aorta": "aorta", "pulmonary": "other"}  # fmt: skip
_TYPE_OF_TERM = {
    "localiser": "other", "perfusion": "other", "flow": "other", "STIR": "other", "TI scout": "other",
    "tagging": "other", "strain": "other", "angiography": "other", "whole heart": "other", "T2* map": "other",
    "dark blood": "other", "T1 weighted": "other", "T2 weighted": "other", "Dixon": "other",
    "LGE": "LGE", "PSIR": "LGE", "MOLLI": "T1", "T1 map": "T1", "T2 map": "T2", "T2 preparation": "T2", "ECV": "other",
    "cine": "cine",
}  # fmt: skip


_PHASES = {"P", "PHASE", "PHASE MAP", "PCA", "VELOCITY", "VELOCITY MAP"}


@dataclass(frozen=True)
class Opinion:
    """What a header says of a stack.

    Attributes:
        value (`str`): a word of the package's vocabulary; "" when the header does not tell.
        detail (`str`): finer, such as "T1 map", "MOLLI", "PSIR", "phase contrast, phase".
        agreed (`bool`): whether all evidence says the same.
        evidence (`tuple` of `str`): what was found, each with what it speaks for.
    """

    value: str = ""
    detail: str = ""
    agreed: bool = True
    evidence: tuple[str, ...] = ()


def _settled(votes: Sequence[tuple[str, str]], detail: str = "") -> Opinion:
    """The first vote counts; `votes` are (value, what was found), the most telling first."""
    said = [value for value, _ in votes if value]
    evidence = tuple(f"{found} → {value or 'nothing'}" for value, found in votes)
    return Opinion(said[0] if said else "", detail, len(set(said)) < 2, evidence)


def is_phase_image(stack: Stack) -> bool:
    """Whether the pixels are velocities or phases."""
    return bool(_PHASES & {stack.component.split("/")[0], *stack.frames[0][0].kinds})


def is_balanced(stack: Stack) -> bool:
    """Whether the sequence is balanced SSFP."""
    one = stack.frames[0][0]
    return "SS" in one.variant.split("\\") or "bSSFP" in stack.terms


def image_type_opinion(stack: Stack) -> Opinion:
    """Cine, LGE, T1, T2 or other, from ImageType, units, times and terms, in that order."""
    one = stack.frames[0][0]
    votes: list[tuple[str, str]] = []
    map_of = _map_of(stack)
    if map_of:
        kind = {"T1": "T1", "T2": "T2"}.get(map_of, "other")
        votes.append((kind, f"ImageType or unit of a {map_of} map"))
    by_terms = [(_TYPE_OF_TERM[term], term) for term in _TYPE_OF_TERM if term in stack.terms]
    if is_phase_image(stack):
        votes.append(("other", "phase image"))
    elif "flow" in stack.terms:
        votes.append(("other", "term flow"))
    if stack.axis == "inversion" and "TI scout" not in stack.terms:
        votes.append(("T1", f"{stack.shape[0]} inversion times of a slice"))
    if stack.preparation_times_ms is not None:
        votes.append(("T2", "T2 preparation"))
    votes += [(kind, f"term {term}") for kind, term in by_terms]
    if stack.axis == "phase" and stack.shape[0] >= 5 and not is_phase_image(stack):
        balanced = " of balanced SSFP" if is_balanced(stack) else ""
        votes.append(("cine", f"{stack.shape[0]} phases{balanced}"))
    inverted = "IR" in one.sequence.split("\\") or (one.inversion_ms or 0) >= 100
    if stack.axis in ("still", "repeat") and inverted and not map_of:
        late = one.inversion_ms is None or 120 <= one.inversion_ms <= 600
        votes.append(("LGE" if late else "other", f"inversion recovery, one image a slice{_ti(one.inversion_ms)}"))
    if stack.axis == "repeat" and stack.shape[0] >= 20 and not map_of:
        votes.append(("other", f"{stack.shape[0]} repeats of a slice: perfusion"))
    if not votes and stack.axis in ("still", "repeat"):
        votes.append(("other", "one image a slice, no inversion, no map"))
    return _settled(votes, _detail(stack, map_of, [term for _, term in by_terms]))


def _ti(inversion_ms: float | None) -> str:
    return "" if inversion_ms is None else f", TI {inversion_ms:.0f} ms"


def _map_of(stack: Stack) -> str:
    """ "T1", "T2", "T2*", "ECV" or another name of what a map shows; "" for weighted images."""
    one = stack.frames[0][0]
    named = {kind.replace("_", " ") for kind in one.types}
    for quantity, names in (
        ("T2*", ("T2 STAR MAP", "T2STAR MAP", "T2* MAP")),
        ("T1", ("T1 MAP", "MAP T1")),
        ("T2", ("T2 MAP", "MAP T2")),
        ("ECV", ("ECV MAP", "ECV")),
    ):
        if named & set(names):
            return quantity
    quantities = {"T1": "T1", "T2": "T2", "T2 STAR": "T2*"}
    derived = next((quantities[kind] for kind in quantities if kind in named), "") if one.is_derived else ""
    told = next((term for term in ("T1 map", "T2* map", "T2 map", "ECV") if term in stack.terms), "")
    if derived and (stack.unit or told or stack.shape[0] == 1):
        return derived
    if told and (stack.unit or one.is_derived) and stack.axis == "still":
        return told.removesuffix(" map")
    return ""


def _detail(stack: Stack, map_of: str, terms: Sequence[str]) -> str:
    when = next((f", {term}" for term in ("native", "post-contrast") if term in stack.terms), "")
    if map_of:
        return f"{map_of} map{when}"
    if is_phase_image(stack):
        return "phase contrast, phase"
    if stack.axis == "inversion" and stack.inversion_times_ms is not None:
        return f"inversion series{when}"
    if stack.axis == "preparation":
        return "T2-prepared series"
    if stack.component.startswith(("R", "CR")) or "PSIR" in stack.frames[0][0].types:
        return "PSIR"
    if "PSIR" in stack.terms:
        return "magnitude" if "magnitude" in stack.terms else "PSIR or its magnitude"
    return terms[0] + when if terms else ""


def view_opinion(stack: Stack, long_axis: np.ndarray | None) -> Opinion:
    """SAX, 2CH, 3CH, 4CH, aorta or other, from terms, then from the orientation of the plane.

    Args:
        stack: with geometry or without.
        long_axis (`np.ndarray` of shape `(3,)`, *optional*): of the left ventricle, LPS, as a short-axis stack of the
            study has it; `None` takes the usual direction.
    """
    terms = [term for term in _VIEW_OF_TERM if term in stack.terms]
    votes = [(_VIEW_OF_TERM[term], f"term {term}") for term in terms]
    flat = next((term for term in ("axial", "coronal", "sagittal", "localiser") if term in stack.terms), None)
    if flat and not terms:
        votes.append(("other", f"term {flat}"))
    if stack.slice_affines is not None:
        votes.append(_by_orientation(stack.slice_affines[0][:3, 2], long_axis))
    detail = next((term for term in ("LVOT", "RVOT", "pulmonary") if term in stack.terms), "")
    return _settled(votes, detail)


def _by_orientation(normal: np.ndarray, long_axis: np.ndarray | None) -> tuple[str, str]:
    straight = next((name for name, axis in zip(("sagittal", "coronal", "axial"), np.eye(3), strict=True)
                     if abs(normal @ axis) > 0.999), None)  # fmt: skip
    if straight:
        return "other", f"{straight} plane"
    known = long_axis is not None
    axis = long_axis if known else TO_APEX
    whose = "long axis of the short-axis stack" if known else "usual long axis"
    along = float(abs(normal @ axis))
    tilt = float(np.degrees(np.arccos(min(1.0, along))))
    if along >= _SHORT[0 if known else 1]:
        return "SAX", f"plane {90 - tilt:.0f}° to the {whose}"
    if along > _LONG[0 if known else 1]:
        return "other", f"plane {90 - tilt:.0f}° to the {whose}"
    up = _HEAD - axis * (axis @ _HEAD)
    up /= np.linalg.norm(up)
    angle = float(np.degrees(np.arctan2(normal @ np.cross(axis, up), normal @ up))) % 180
    for view, low, high in _SECTORS:
        if low <= angle < high or low <= angle - 180 < high:
            return view, f"plane along the {whose}, turned {angle:.0f}° around it"
    return "other", f"plane along the {whose}, turned {angle:.0f}° around it"


def long_axis_of(stacks: Sequence[Stack]) -> np.ndarray | None:
    """Base to apex, LPS, from the short-axis stack with most slices; None without one.

    A stack is a short-axis one when its terms say so, or when its normal is near the usual long axis.
    """
    found = []
    for stack in stacks:
        if stack.slice_affines is None or "localiser" in stack.terms:
            continue
        normal = stack.slice_affines[0][:3, 2]
        other = any(term in stack.terms for term in _VIEW_OF_TERM if term != "SAX")
        along = float(normal @ TO_APEX)
        straight = np.abs(normal).max() > 0.999
        if (("SAX" in stack.terms and abs(along) > 0.5) or abs(along) > _SHORT[1]) and not other and not straight:
            cine = stack.axis == "phase"
            found.append(("SAX" in stack.terms, stack.shape[1], cine, -stack.id, normal * np.sign(along)))
    return max(found, key=lambda entry: entry[:4])[4] if found else None
