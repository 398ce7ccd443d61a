"""Quality control of a short-axis segmentation: what looks wrong, where, and why it is thought so.

Rules on areas and neighbourhoods only; they find masks that no heart has, not masks that are a little off. The limits
are chosen here; `tests/clinical/test_quality.py` shows what each lets pass.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .contours import closed_rays
from .curves import checked, find_phases, volume_curve
from .optional import ndimage
from .stacks import Stack, base_to_apex
from .valve_plane import passed_slice
from .volumes import LV, MYOCARDIUM, RV, SCAR, slice_areas_mm2

WALL = (MYOCARDIUM, SCAR)
STRUCTURES = {"LV": (LV,), "LV with wall": (LV, *WALL), "RV": (RV,)}
JUMP = 0.3  # of the larger neighbour's area
LEAST_JUMP_MM2 = 150.0
OPEN_RING = 0.05  # part of the rays that may miss the wall
BASAL_SLICES = 2  # whose ring may be open: outflow tract and valve plane
ISLAND_MM2 = 20.0
ENCLOSED = 0.5  # part of the cavity's border that must touch wall
LEAST_PROBABILITY = 0.8
FULL = 0.5  # of the largest area, in a slice at the end
MOST_LISTED = 6


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong.

    Attributes:
        check (`str`): "slice jump", "phase jump", "open ring", "edge", "island", "not enclosed", "low probability",
            "base", "apex", "valve plane", "curve" or "empty".
        severity (`str`): "error" where figures are likely to be wrong, else "warning".
        reason (`str`): for people, slices and phases counted from 1.
        slices, phases (`tuple` of `int`): where, counted from 0; empty for all.
    """

    check: str
    severity: str
    reason: str
    slices: tuple[int, ...] = ()
    phases: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {**vars(self), "slices": list(self.slices), "phases": list(self.phases)}


def quality_findings(
    labels: np.ndarray,
    stack: Stack,
    probabilities: np.ndarray | None = None,
    cyclic: bool = True,
) -> list[Finding]:
    """All that looks wrong in a short-axis segmentation; empty if nothing does.

    Args:
        labels (`np.ndarray` of shape `(t, z, y, x)`): 1 LV cavity, 2 myocardium, 3 RV, 6 scar.
        stack (`Stack`): where the slices lie.
        probabilities (`np.ndarray` of shape `(t, z)`, *optional*): mean probability of the labels that were chosen,
            over the heart's pixels of each slice; NaN where there is none.
        cyclic (`bool`): the last phase is followed by the first.

    Raises:
        ValueError: shapes that do not fit.
    """
    labels = checked(labels, stack)
    areas = {name: slice_areas_mm2(labels, stack.spacing_mm, ids) for name, ids in STRUCTURES.items()}
    if not areas["LV"].any():
        return [Finding("empty", "error", "no LV cavity found in any slice")]
    mean_area = areas["LV with wall"].mean(axis=0)
    order, _ = base_to_apex(stack, mean_area)
    found = [*_slice_jumps(areas, stack), *_phase_jumps(areas, cyclic)]
    found += _open_rings(labels, stack, order)
    found += _at_the_edge(labels)
    found += _islands(labels, stack)
    found += _not_enclosed(labels)
    found += _improbable(probabilities, labels.shape[:2])
    if len(stack) > 1:
        found += _coverage(labels, stack, order, cyclic)
    return found


def _by_slice(flags: np.ndarray) -> dict[int, list[int]]:
    """Slice → phases that are flagged, of flags (t, z)."""
    found = defaultdict(list)
    for t, z in np.argwhere(flags):
        found[int(z)].append(int(t))
    return found


def _listed(phases: list[int]) -> str:
    shown = ", ".join(str(t + 1) for t in phases[:MOST_LISTED])
    return f"phase {shown}" + (f" and {len(phases) - MOST_LISTED} more" if len(phases) > MOST_LISTED else "")


def _findings(check: str, severity: str, flags: np.ndarray, text: str) -> list[Finding]:
    """One finding for each slice of flags (t, z)."""
    return [
        Finding(check, severity, f"slice {z + 1}, {_listed(phases)}: {text}", (z,), tuple(phases))
        for z, phases in sorted(_by_slice(flags).items())
    ]


def _slice_jumps(areas: Mapping[str, np.ndarray], stack: Stack) -> list[Finding]:
    """A slice whose area is far larger or smaller than those of both slices beside it."""
    order = stack.order
    if len(order) < 3:
        return []
    found = []
    for name, area in areas.items():
        sorted_ = area[:, order]
        before, middle, after = sorted_[:, :-2], sorted_[:, 1:-1], sorted_[:, 2:]
        # towards the base a step is anatomy; what is larger or smaller than both neighbours is not
        low, high = np.minimum(before, after), np.maximum(before, after)
        limit = np.maximum(JUMP * high, LEAST_JUMP_MM2)
        flags = np.zeros(area.shape, dtype=bool)
        flags[:, order[1:-1]] = (low > 0) & ((middle > high + limit) | (middle < low - limit))
        found += _findings("slice jump", "error", flags, f"the area of the {name} does not fit the slices beside it")
    return found


def _phase_jumps(areas: Mapping[str, np.ndarray], cyclic: bool) -> list[Finding]:
    """A phase whose area is far from those before and after it, in one slice."""
    found = []
    for name, area in areas.items():
        if len(area) < 5:
            return []
        mode = "wrap" if cyclic else "reflect"
        padded = np.pad(area, ((1, 1), (0, 0)), mode=mode)
        before, after = padded[:-2], padded[2:]
        # basal slices leave and enter the ventricle: a step is no jump, only what comes and goes at once is
        low, high = np.minimum(before, after), np.maximum(before, after)
        limit = np.maximum(JUMP * high, LEAST_JUMP_MM2)
        found += _findings(
            "phase jump",
            "warning",
            (area > high + limit) | (area < low - limit),
            f"the area of the {name} does not fit the phases beside it",
        )
    return found


def _open_rings(labels: np.ndarray, stack: Stack, order: np.ndarray) -> list[Finding]:
    cavity = (labels == LV).any(axis=(2, 3))
    share = np.ones(cavity.shape)
    for t, z in np.argwhere(cavity):
        share[t, z] = closed_rays(labels[t, z], stack.spacing_mm).mean()
    found = []
    for z, phases in sorted(_by_slice(share < 1 - OPEN_RING).items()):
        filled = [int(one) for one in order if cavity[:, one].any()]
        basal = z in filled[:BASAL_SLICES]
        missing = 360 * (1 - share[phases, z].min())
        text = f"slice {z + 1}, {_listed(phases)}: the ring of myocardium is open over up to {missing:.0f}°"
        text += " (usual at the base)" if basal else ""
        found.append(Finding("open ring", "warning" if basal else "error", text, (z,), tuple(phases)))
    return found


def _at_the_edge(labels: np.ndarray) -> list[Finding]:
    found = []
    for name, ids in STRUCTURES.items():
        inside = np.isin(labels, ids)
        flags = inside[:, :, [0, -1]].any(axis=(2, 3)) | inside[..., [0, -1]].any(axis=(2, 3))
        found += _findings("edge", "error", flags, f"the {name} leaves the picture")
    return found


def _islands(labels: np.ndarray, stack: Stack) -> list[Finding]:
    found = []
    for name, ids in STRUCTURES.items():
        inside = np.isin(labels, ids)
        flags = np.zeros(labels.shape[:2], dtype=bool)
        for t, z in np.argwhere(inside.any(axis=(2, 3))):
            pieces, count = ndimage().label(inside[t, z], np.ones((3, 3)))
            if count > 1:
                sizes = np.sort(np.bincount(pieces.ravel())[1:]) * stack.pixel_mm2
                flags[t, z] = sizes[-2] >= ISLAND_MM2
        found += _findings("island", "warning", flags, f"the {name} is in several pieces")
    return found


def _not_enclosed(labels: np.ndarray) -> list[Finding]:
    """A cavity whose border mostly touches something else than wall."""
    cavity, wall = np.pad(labels == LV, _RIM), np.pad(np.isin(labels, WALL), _RIM)
    border = touching = 0
    inner = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    for axis, step in ((2, 1), (2, -1), (3, 1), (3, -1)):
        beside, muscle = np.roll(cavity, step, axis), np.roll(wall, step, axis)
        border = border + np.count_nonzero((cavity & ~beside)[inner], axis=(2, 3))
        touching = touching + np.count_nonzero((cavity & muscle)[inner], axis=(2, 3))
    flags = (border > 0) & (touching < ENCLOSED * border)
    return _findings("not enclosed", "error", flags, "most of the LV cavity's border does not touch myocardium")


_RIM = ((0, 0), (0, 0), (1, 1), (1, 1))


def _improbable(probabilities: np.ndarray | None, shape: tuple[int, int]) -> list[Finding]:
    if probabilities is None:
        return []
    mean = np.asarray(probabilities, dtype=float)
    if mean.shape != shape:
        raise ValueError(f"`probabilities` needs one number a phase and slice {shape}, got {mean.shape}: take the mean")
    flags = np.nan_to_num(mean, nan=1.0) < LEAST_PROBABILITY
    return _findings("low probability", "warning", flags, f"mean probability of the labels below {LEAST_PROBABILITY:g}")


def _coverage(labels: np.ndarray, stack: Stack, order: np.ndarray, cyclic: bool) -> list[Finding]:
    curve = volume_curve(labels, stack, (LV,), "LV")
    phases = find_phases(curve.volumes_ml, cyclic)
    found = [Finding("curve", "warning", note) for note in (*phases.notes, *curve.notes)]
    at_ed = curve.areas_mm2[phases.ed]
    base, apex = int(order[0]), int(order[-1])
    ends = (
        (base, "base", "warning", "the stack may begin below the valve plane"),
        (apex, "apex", "error", "the apex is missing"),
    )
    for z, check, severity, meaning in ends:
        if at_ed[z] > FULL * at_ed.max():
            share = f"{100 * at_ed[z] / at_ed.max():.0f} % of its largest area"
            text = f"slice {z + 1}: at ED the LV still has {share} in the last slice towards the {check}: {meaning}"
            found.append(Finding(check, severity, text, (z,), (phases.ed,)))
    passed = passed_slice(labels, order, phases.ed, phases.es)
    if passed is not None:
        volume = float(curve.areas_mm2[phases.es, passed] * stack.weights_mm()[passed] / 1000)
        text = (
            f"slice {passed + 1}, phase {phases.es + 1}: less wall than at ED and more cavity than in the next slice: "
            f"the valve plane may have passed it; without it the ESV would be {volume:.0f} ml less"
        )
        found.append(Finding("valve plane", "warning", text, (passed,), (phases.es,)))
    return found
