"""What the frames of one slice position differ in, and their order: heart phase, inversion, echo, preparation, repeat.

Time after the R wave is TriggerTime (or the enhanced trigger delay) if it is believable, else the percentage of the
cycle, the temporal index, and last the order of the export.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .headers import FrameHeader

_USUAL_RR_MS = 900.0
_LONG_BEAT_MS = 1500.0
_MIN_UNTIMED_PHASES = 8  # frames without any time are taken for a cine from here on
_MAX_IRREGULAR = 4.0  # largest step between trigger times, of the median one


@dataclass(eq=False, repr=False)
class SliceFrames:
    """The frames of one slice position in one acquisition, in order.

    Attributes:
        frames (`list` of `FrameHeader`).
        depth (`float`): place along the normal in mm; without geometry its rank.
        times_ms (`list` of `float`, *optional*): after the R wave, one a frame.
        time_source (`str`): where the order comes from.
        notes (`list` of `str`): what was odd.
    """

    frames: list[FrameHeader]
    depth: float
    times_ms: list[float] | None = None
    time_source: str = ""
    notes: list[str] = field(default_factory=list)


def export_order(one: FrameHeader) -> tuple:
    """Sorts frames as the scanner wrote them, whatever the files are called."""
    number = one.slice.order or (np.inf, one.slice.index)
    digits = tuple(int(part) if part.isdecimal() else 0 for part in one.sop_instance_uid.split("."))
    return number, one.taken_s if one.taken_s is not None else np.inf, digits


def rr_of(frames: Sequence[FrameHeader]) -> float | None:
    """Median time from one beat to the next, in ms, as headers say."""
    known = [one.rr_ms for one in frames if one.rr_ms is not None]
    return float(np.median(known)) if known else None


def axis_of(positions: Sequence[Sequence[FrameHeader]]) -> str:
    """What the frames at most slice positions of one series differ in.

    Returns:
        "still" (one frame each, or now and then a repeat), "phase", "inversion", "echo", "preparation" or "repeat".
    """
    several = [frames for frames in positions if len(frames) > 1]
    few = all(len(frames) <= 3 for frames in several)
    if not several or (few and 2 * len(several) < len(positions)):
        return "still"
    votes: Counter[str] = Counter()
    for frames in several:
        votes[_axis_of_one(frames)] += len(frames)
    axis = max(votes, key=lambda axis: (votes[axis], axis))
    twice = all(len(frames) <= 2 for frames in several)  # nothing was followed over time: the slices came out twice
    return "still" if axis == "repeat" and twice else axis


def _distinct(values: Sequence[float | None]) -> int:
    return 0 if None in values else len({round(value, 2) for value in values})


def _axis_of_one(frames: Sequence[FrameHeader]) -> str:
    count = len(frames)
    for axis, least in (("inversion", 3), ("preparation", 2), ("echo", 2)):
        different = _distinct([_MOMENTS[axis](one) for one in frames])
        if different >= least and 2 * different >= count:
            return axis
    triggers = [one.slice.trigger_ms for one in frames]
    spread = float(np.ptp(triggers)) if _distinct(triggers) > 1 else 0.0
    rr = rr_of(frames) or _USUAL_RR_MS
    if count >= 3 and spread > 0.3 * rr:
        return "phase"
    taken = [one.taken_s for one in frames]
    if count >= 3 and _distinct(taken) == count and np.ptp(taken) > 0.5e-3 * rr * (count - 1):
        return "repeat"  # a heart beat or more between one and the next: perfusion, or repeats
    called = {"cine", "flow"} & set(frames[0].terms) or frames[0].cardiac_images > 1
    if called and count >= 3:
        return "phase"
    if None not in triggers and spread == 0 and count < _MIN_UNTIMED_PHASES:
        return "repeat"  # all at one moment of the cycle
    if any(_distinct([getattr(one.slice, key) for one in frames]) == count for key in ("percent", "temporal")):
        return "phase"
    return "phase" if count >= _MIN_UNTIMED_PHASES or _distinct(triggers) == count > 2 else "repeat"


_MOMENTS: dict[str, Callable[[FrameHeader], float | None]] = {
    "inversion": lambda one: one.inversion_ms,
    "preparation": lambda one: one.preparation_ms,
    "echo": lambda one: one.echo_ms,
}


def passes(frames: Sequence[FrameHeader], axis: str) -> list[list[FrameHeader]]:
    """Parts the frames of one position into acquisitions that each run over the axis once.

    Two acquisitions are told by moments that come again for at least half of all moments.
    """
    if axis == "still":
        return [[one] for one in frames]
    if axis == "repeat":
        return [list(frames)]

    def moment(one: FrameHeader) -> tuple:
        if axis in _MOMENTS:
            return (_MOMENTS[axis](one),)
        return one.slice.trigger_ms, one.slice.percent, one.slice.temporal

    by_moment: dict[tuple, list[FrameHeader]] = defaultdict(list)
    for one in frames:
        by_moment[moment(one)].append(one)
    again = sum(len(same) > 1 for same in by_moment.values())
    if len(by_moment) < 2 or 2 * again < len(by_moment):
        return [list(frames)]
    found: list[list[FrameHeader]] = []
    for same in by_moment.values():
        same.sort(key=lambda one: (_or_last(one.taken_s), _or_last(one.acquisition), export_order(one)))
        for rank, one in enumerate(same):
            if rank == len(found):
                found.append([])
            found[rank].append(one)
    return found


def _or_last(value: float | None) -> float:
    return np.inf if value is None else value


def in_order(frames: Sequence[FrameHeader], depth: float, axis: str) -> SliceFrames:
    """Sorts the frames of one acquisition of one position along the axis."""
    ordered = sorted(frames, key=export_order)
    if axis in _MOMENTS:
        key = _MOMENTS[axis]
        return SliceFrames(sorted(ordered, key=lambda one: _or_last(key(one))), depth, None, axis)
    if axis != "phase":
        ordered.sort(key=lambda one: (_or_last(one.taken_s), export_order(one)))
        return SliceFrames(ordered, depth, None, "order of acquisition")
    return _over_the_cycle(ordered, depth)


def _over_the_cycle(ordered: list[FrameHeader], depth: float) -> SliceFrames:
    notes: list[str] = []
    rr = rr_of(ordered)
    triggers = [one.slice.trigger_ms for one in ordered]
    fault = _fault_of_triggers(triggers, rr)
    if not fault:
        by_time = sorted(ordered, key=lambda one: one.slice.trigger_ms)
        rival = _rival_order(ordered)
        if rival is None or rival == by_time or not _is_irregular(triggers):
            return SliceFrames(by_time, depth, [one.slice.trigger_ms for one in by_time], "TriggerTime")
        fault = "irregular, and against the rest of the header"
    if fault != "missing":
        notes.append(f"TriggerTime is not believed: it is {fault}")
    for key, name in (("percent", "NominalPercentageOfCardiacPhase"), ("temporal", "TemporalPositionIndex")):
        values = [getattr(one.slice, key) for one in ordered]
        if _distinct(values) == len(ordered):
            by_key = sorted(ordered, key=lambda one: getattr(one.slice, key))
            share = [one.slice.percent / 100 for one in by_key] if key == "percent" else _evenly(len(by_key))
            times = [rr * part for part in share] if rr else None
            return SliceFrames(by_key, depth, times, name, notes)
    return SliceFrames(ordered, depth, [rr * part for part in _evenly(len(ordered))] if rr else None, "order", notes)


def _evenly(count: int) -> list[float]:
    return [index / count for index in range(count)]


def _fault_of_triggers(triggers: Sequence[float | None], rr: float | None) -> str:
    """Why trigger times cannot be the phases of one cycle; "" when they can."""
    known = [time for time in triggers if time is not None]
    if not known:
        return "missing"
    if len(known) < len(triggers):
        return "missing in some frames"
    if len(set(known)) == 1 < len(known):
        return "the same in all frames"
    if len(set(known)) < len(known):
        return "the same in several frames"
    limit = max(1.3 * rr, _LONG_BEAT_MS) if rr else 3000.0  # written heart rates may be older than the picture
    if max(known) - min(known) > limit:
        return f"spread over {max(known) - min(known):.0f} ms, longer than a heart beat"
    return ""


def _is_irregular(triggers: Sequence[float]) -> bool:
    steps = np.diff(sorted(triggers))
    return len(steps) > 2 and bool(steps.max() > _MAX_IRREGULAR * np.median(steps))


def _rival_order(ordered: list[FrameHeader]) -> list[FrameHeader] | None:
    """The order that the rest of the header tells: percentage, temporal index, else the export's."""
    for key in ("percent", "temporal"):
        values = [getattr(one.slice, key) for one in ordered]
        if _distinct(values) == len(ordered):
            return sorted(ordered, key=lambda one: getattr(one.slice, key))
    return ordered if all(one.slice.order is not None for one in ordered) else None
