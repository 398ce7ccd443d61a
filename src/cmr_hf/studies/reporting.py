"""A study as plain data for JSON, without identity: no text, date or identifier of a header; file names on request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .opinions import Opinion

if TYPE_CHECKING:
    from .stacks import Stack
    from .study import Study

FORMAT = "cmr_hf sorted study 1"


def study_report(study: Study, file_names: bool = False) -> dict[str, Any]:
    """What was found, what was left out and why.

    Args:
        study: a sorted study.
        file_names (`bool`): give the files' names, which are the user's own and may hold anything; else numbers only.

    Returns:
        Values that `json` writes: `stacks`, `relations`, `files`, `counts` of files by status, `notes`.
    """
    counts: dict[str, int] = {}
    files = []
    for entry in study.files:
        counts[entry.status] = counts.get(entry.status, 0) + 1
        row: dict[str, Any] = {"file": entry.number}
        if file_names:
            row["path"] = entry.path
        files.append(row | {"status": entry.status, "reason": entry.reason, "stacks": list(entry.stacks)})
    return {
        "format": FORMAT,
        "stacks": [stack_report(stack) for stack in study.stacks],
        "relations": [{"kind": one.kind, "stacks": list(one.stacks)} for one in study.relations],
        "files": files,
        "counts": counts,
        "notes": list(study.notes),
    }


def stack_report(stack: Stack) -> dict[str, Any]:
    """One stack; lengths in mm, times in ms, arrays as lists."""
    names = (
        "id shape axis terms series_numbers spacing_mm slice_distance_mm thickness_mm positions_mm affine "
        "slice_affines trigger_times_ms phase_times_ms time_source rr_ms heart_rate_bpm inversion_times_ms "
        "echo_times_ms preparation_times_ms echo_ms repetition_ms flip_deg field_t vendor component unit unit_source "
        "contrast_agent started_s again notes"
    ).split()
    report = {name: _plain(getattr(stack, name)) for name in names}
    report["component"] = stack.component if stack.component in _COMPONENTS else "other"
    report["gaps"] = [
        {"after_slice": gap.after + 1, "distance_mm": gap.distance_mm, "missing": gap.missing} for gap in stack.gaps
    ]
    report["header_says"] = {"image_type": _opinion(stack.image_type), "view": _opinion(stack.view)}
    return report


# other values are a vendor's, or anything
_COMPONENTS = ("", "M", "P", "R", "I", "OTHER", "MAG", "PHASE MAP", "M_FFE", "M_IR", "CARDIAC", "T1 MAP", "T2 MAP",
               "T2_STAR MAP")  # fmt: skip


def _opinion(opinion: Opinion) -> dict[str, Any]:
    return {
        "value": opinion.value,
        "detail": opinion.detail,
        "agreed": opinion.agreed,
        "evidence": list(opinion.evidence),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.round(6).tolist()
    return list(value) if isinstance(value, tuple) else value
