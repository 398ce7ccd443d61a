"""Volume over time of a chamber, and end-diastole and end-systole found on it.

The volume of a phase is the trapezoid of the slices' areas over their positions (`Stack.weights_mm`): with equal steps
the sum of areas × centre-to-centre distance, and where slices are missing their areas are interpolated. A slice in
which a chamber was lost between slices that have it counts as missing, too, and is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .stacks import Stack
from .volumes import slice_areas_mm2

FEW_PHASES = 8  # fewer cannot show that one of them is off
OUTLIER_SHARE = 0.2  # of the curve's range that a phase may miss its neighbours by
OUTLIER_MADS = 5.0
MOST_BAD = 0.2  # share of the phases that may be set aside
SMOOTH_PHASES = 10  # from here on the choice of ED and ES is made on a smoothed curve
DIP = 0.15  # of the range: a rise this high between two minima makes them two


@dataclass(frozen=True)
class Curve:
    """A chamber over time.

    Attributes:
        areas_mm2 (`np.ndarray` of shape `(t, z)`): as drawn, slices as they are stored.
        filled_mm2 (`np.ndarray` of shape `(t, z)`): with slices interpolated where the chamber was lost between others.
        perimeters_mm (`np.ndarray` of shape `(t, z)`): length of the outline.
        volumes_ml (`np.ndarray` of shape `(t,)`): 0 where nothing was found.
        notes (`tuple` of `str`): gaps and slices that were interpolated.
    """

    areas_mm2: np.ndarray
    filled_mm2: np.ndarray
    perimeters_mm: np.ndarray
    volumes_ml: np.ndarray
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Phases:
    """Which phases are end-diastole and end-systole.

    Attributes:
        ed, es (`int`, *optional*): from 0; `None` where they cannot be known.
        reason (`str`): why not.
        bad (`tuple` of `int`): phases that were set aside because they do not fit their neighbours, or are empty.
        minima (`int`): how many clear minima the curve has; 1 is as it should be, 0 is not looked for.
        notes (`tuple` of `str`): what was set aside.
    """

    ed: int | None = None
    es: int | None = None
    reason: str = ""
    bad: tuple[int, ...] = ()
    minima: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)


def volume_curve(labels: np.ndarray, stack: Stack, ids: Sequence[int], name: str = "chamber") -> Curve:
    """Areas, outlines and volumes of one chamber in every phase.

    Args:
        labels (`np.ndarray` of shape `(t, z, y, x)`): label map; slices as in `stack`.
        ids: label ids that belong to the chamber.
        name (`str`): for the notes.

    Raises:
        ValueError: another number of slices than `stack` has, or one slice only.
    """
    labels = checked(labels, stack)
    weights = stack.weights_mm()
    areas = slice_areas_mm2(labels, stack.spacing_mm, ids)
    inside = np.isin(labels, list(ids))
    filled, lost = _filled(areas, stack)
    notes = [
        f"{name}: no slice over {mm:.1f} mm between slices {a + 1} and {b + 1} ({stack.distance_mm:.1f} mm is usual): "
        "areas interpolated"
        for a, b, mm in stack.gaps()
        if areas[:, [a, b]].any(axis=1).any()
    ]
    for z in np.flatnonzero(lost.any(axis=0)):
        phases = np.flatnonzero(lost[:, z]) + 1
        shown = ", ".join(map(str, phases[:6])) + (" …" if len(phases) > 6 else "")
        notes.append(f"{name}: lost in slice {z + 1}, phase {shown}, between slices that have it: area interpolated")
    return Curve(areas, filled, perimeters_mm(inside, stack.spacing_mm), filled @ weights / 1000.0, tuple(notes))


def checked(labels: np.ndarray, stack: Stack, rank: int = 4) -> np.ndarray:
    """The label map, of the rank asked for and with as many slices as the stack.

    Raises:
        ValueError: it has not.
    """
    labels = np.asarray(labels)
    shape = {4: "(t, z, y, x)", 3: "(z, y, x)"}[rank]
    if labels.ndim != rank or labels.shape[rank - 3] != len(stack):
        raise ValueError(f"`labels` needs shape {shape} with {len(stack)} slices, got {labels.shape}: see `stack`")
    return labels


def perimeters_mm(inside: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Length of the outlines in every slice, after Cauchy and Crofton: π / 4 × the steps across rows and columns.

    Args:
        inside (`np.ndarray` of shape `(…, y, x)`, bool)

    Returns:
        `np.ndarray` of shape `(…)`: right for shapes whose outline runs in all directions, as hearts' do.
    """
    row_mm, column_mm = spacing_mm
    along_row = np.count_nonzero(np.diff(inside, axis=-1, prepend=False, append=False), axis=(-2, -1))
    along_column = np.count_nonzero(np.diff(inside, axis=-2, prepend=False, append=False), axis=(-2, -1))
    return np.pi / 4 * (along_row * row_mm + along_column * column_mm)


def find_phases(volumes_ml: np.ndarray, cyclic: bool = True) -> Phases:
    """End-diastole (most volume) and end-systole (least), of the phases that fit their neighbours.

    A phase that misses the line between its neighbours by more than a fifth of the curve's range (and by five median
    absolute deviations) is set aside, the worst first, up to a fifth of them; so one bad segmentation is neither ED nor
    ES. From ten phases on the choice is made on a curve smoothed by 1-2-1, so that noise does not choose; the volumes
    stay as measured. With fewer than eight phases none is set aside but the empty ones.

    Args:
        volumes_ml (`np.ndarray` of shape `(t,)`): 0 where nothing was found.
        cyclic (`bool`): the last phase is followed by the first.
    """
    volumes = np.asarray(volumes_ml, dtype=float)
    empty = ~(volumes > 0)
    if empty.all():
        return Phases(reason="nothing found in any phase")
    notes = []
    if empty.any():
        notes.append(f"nothing found in phase {_listed(empty)}: set aside")
    good = ~empty
    if good.sum() == 1:
        return Phases(ed=int(np.flatnonzero(good)[0]), reason="one phase: ED and ES need two", bad=_bad(good))
    if len(volumes) >= FEW_PHASES:
        off = _outliers(volumes, good, cyclic)
        if off.any():
            notes.append(f"phase {_listed(off)} does not fit the phases beside it: set aside")
            good &= ~off
    chosen = _interpolated(volumes, good, cyclic)
    if len(volumes) >= SMOOTH_PHASES:
        chosen = _smoothed(chosen, cyclic)
    ed = int(np.where(good, chosen, -np.inf).argmax())
    es = int(np.where(good, chosen, np.inf).argmin())
    if volumes[ed] <= volumes[es]:
        return Phases(ed=ed, reason="the volume is the same in all phases", bad=_bad(good), notes=tuple(notes))
    minima = _minima(chosen, cyclic) if len(volumes) >= FEW_PHASES else 0
    if minima > 1:
        notes.append(f"the volume curve has {minima} minima: ES is the lowest")
    return Phases(ed, es, bad=_bad(good), minima=minima, notes=tuple(notes))


def _filled(areas: np.ndarray, stack: Stack) -> tuple[np.ndarray, np.ndarray]:
    """Areas with lost slices interpolated over their positions, and which were: both (t, z)."""
    order = stack.order
    positions = stack.positions_mm[order]
    filled, lost = areas.copy(), np.zeros(areas.shape, dtype=bool)
    for t, row in enumerate(areas[:, order]):
        found = np.flatnonzero(row)
        if len(found) < 2:
            continue
        holes = np.setdiff1d(np.arange(found[0], found[-1]), found)
        if holes.size:
            filled[t, order[holes]] = np.interp(positions[holes], positions[found], row[found])
            lost[t, order[holes]] = True
    return filled, lost


def _outliers(volumes: np.ndarray, good: np.ndarray, cyclic: bool) -> np.ndarray:
    """Phases to set aside, the worst first; what one does to its neighbours is undone before they are judged."""
    off = np.zeros(len(volumes), dtype=bool)
    while off.sum() < MOST_BAD * len(volumes):
        kept = good & ~off
        residual = np.where(kept, np.abs(_residual(volumes, kept, cyclic)), 0.0)
        spread = np.median(residual[kept])
        tame = np.sort(_interpolated(volumes, kept, cyclic))
        span = tame[-2] - tame[1]  # the extreme ones may be the bad ones
        worst = int(residual.argmax())
        if residual[worst] <= max(OUTLIER_SHARE * span, OUTLIER_MADS * spread):
            break
        off[worst] = True
    return off


def _residual(volumes: np.ndarray, kept: np.ndarray, cyclic: bool) -> np.ndarray:
    """How far each phase lies from the line between the kept ones beside it; the end of a run is also tried alone."""
    index = np.flatnonzero(kept)
    values, count = volumes[index], len(index)
    residual = np.zeros(len(volumes))
    for k, t in enumerate(index):
        before, after = (k - 1) % count, (k + 1) % count
        at = np.array([index[before], index[after]], dtype=float)
        at += len(volumes) * np.array([-(before > k), after < k])
        along = np.interp(t, at, values[[before, after]])
        found = [values[k] - along]
        if k in (0, count - 1) and count > 2:  # gating that stops before the R wave does not come back to the start
            second = 2 if k == 0 else -3
            first = 1 if k == 0 else -2
            slope = (values[first] - values[second]) / (index[first] - index[second])
            extended = values[k] - (values[first] + slope * (t - index[first]))
            found = [extended] if not cyclic else [*found, extended]
        residual[t] = min(found, key=abs)
    return residual


def _interpolated(volumes: np.ndarray, kept: np.ndarray, cyclic: bool) -> np.ndarray:
    index = np.flatnonzero(kept)
    return np.interp(np.arange(len(volumes)), index, volumes[index], period=len(volumes) if cyclic else None)


def _smoothed(volumes: np.ndarray, cyclic: bool) -> np.ndarray:
    padded = np.pad(volumes, 1, mode="wrap" if cyclic else "edge")
    return 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]


def _minima(curve: np.ndarray, cyclic: bool) -> int:
    """Minima that are parted by a rise of more than `DIP` of the range."""
    span = curve.max() - curve.min()
    # walk once round from the highest point, counting each time the curve turns after a move that is large enough
    walk = np.roll(curve, -int(curve.argmax())) if cyclic else curve
    walk = np.append(walk, walk[0]) if cyclic else walk
    count, low, high, falling = 0, walk[0], walk[0], True
    for value in walk:
        low, high = min(low, value), max(high, value)
        if falling and value > low + DIP * span:
            count, falling, high = count + 1, False, value
        elif not falling and value < high - DIP * span:
            falling, low = True, value
    return count if count else 1


def _listed(flags: np.ndarray) -> str:
    return ", ".join(str(t + 1) for t in np.flatnonzero(flags))


def _bad(good: np.ndarray) -> tuple[int, ...]:
    return tuple(int(t) for t in np.flatnonzero(~good))
