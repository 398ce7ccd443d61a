"""A model on a user's own labelled cohort: numbers by group, failures with pictures, and a report.

    report = validate(Path("table.csv"), *open_model("model"), Path("out"))

Writes `report.html`, `report.md`, `report.json`, `values.csv` and `about.json` (every case), and `cases/*.png`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..clinical.writers import RESEARCH_USE_ONLY, whole_file, write_json
from ..data.experiments import samples_of
from ..hub.image_processing_cmr import CMRImageProcessor
from ..hub.reading_cmr import ReadingError
from .cases import Measurement, save
from .cohort import Cohort, asked_of
from .estimates import LEVELS, VALUES, agreement_of, estimate, estimate_of_chances
from .groups import by_group, overall
from .measuring import kind_of, measured
from .pages import Gallery, draw_page
from .report import blocks_of, to_html, to_markdown
from .tables import BEYOND, METRICS

FORMAT = "cmr_hf validation 1"
FAILURES = 10
ASKED_FOR = ("centre", "vendor", "field")  # groups that a user may know though the table does not say


def validate(
    table: Path,
    model: torch.nn.Module,
    processor: CMRImageProcessor,
    kind: str,
    out: Path,
    *,
    name: str = "model",
    field: str | None = None,
    labels: Mapping[int, int] | None = None,
    keep_identity: bool = False,
    failures: int = FAILURES,
    progress: Callable[[Iterable, int], Iterable] | None = None,
) -> dict[str, Any]:
    """Measures a model on a table of labelled images and writes the report.

    Args:
        table (`Path`): see `cmr_hf.data.own_set`.
        model, processor, kind: of `predicting.open_model`.
        out (`Path`): folder of the report; made.
        name (`str`): what the report calls the model.
        field (`str`, *optional*): what a classifier tells, where its config does not say: "view", "image_type", "lge"
            or "disease".
        labels: id in the masks → id of `cmr_hf.data.schema.LABELS`.
        keep_identity (`bool`): the table's own words for patients and series instead of numbers and lines.
        failures (`int`): how many of the worst cases get a picture.
        progress: (patients, how many) → the same patients, with a bar say.

    Returns:
        What `report.json` holds.

    Raises:
        ReadingError: the table cannot be read, or not one line of it could be measured.
        ValueError: the model cannot be asked this.
    """
    chosen = asked_of(model, kind, field)
    cohort = Cohort(table, chosen, labels, keep_identity)
    gallery, rows = Gallery(worst=failures), []
    patients = iter(cohort) if progress is None else progress(cohort, len(cohort.patients))
    for patient, stacks in patients:
        try:
            with _left_out() as left_out:
                for found, shown in measured(model, processor, chosen, stacks, cohort.of):
                    rows += found
                    gallery.add(shown)
        except (RuntimeError, ValueError) as error:  # one patient's images, whatever is wrong with them
            left_out.append(("", f"could not be measured: {' '.join(str(error).split())[:200]}"))
        for key, reason in left_out:
            named = [stack for stack in stacks if stack.series in key.split("/")] or stacks
            lines = dict.fromkeys(cohort.of(stack)["line"] for stack in named)
            cohort.refuse(" ".join(lines), patient, reason)
    if not rows:
        told = "; ".join(f"line {one['line']}: {one['reason']}" for one in cohort.problems[:3])
        raise ReadingError(f"not one line of {table.name} could be measured ({told}): mend the table, or its files")
    about = {"model": name, "classes": list(chosen.classes), "datasets": ["table"], "data": "a user's own"}
    for row in rows:
        row.pop("source", None)
    measurement = Measurement(kind_of(chosen), name, "", rows, about)
    save(measurement, out)
    report = _report(measurement, cohort, name) | _pictures(gallery, out)
    write_json(report, out / "report.json")
    blocks = blocks_of(report)
    texts = {"report.md": to_markdown(blocks), "report.html": to_html(blocks, f"{name} on your images")}
    for file, text in texts.items():
        with whole_file(out / file) as part:
            part.write_text(text, encoding="utf-8")
    return report


@contextmanager
def _left_out() -> Iterator[list[tuple[str, str]]]:
    """Keys and reasons of samples that `samples_of` tells its log; that one patient lacks classes is no news."""
    found: list[tuple[str, str]] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            _, leaves, told = record.getMessage().partition(" leaves out ")
            if leaves:
                key, _, reason = told.partition(": ")
                found.append((key, f"left out: {reason}"))

    log, listener = logging.getLogger(samples_of.__module__), Listener()
    spoke, log.propagate = log.propagate, False
    log.addHandler(listener)
    try:
        yield found
    finally:
        log.removeHandler(listener)
        log.propagate = spoke


def _report(measurement: Measurement, cohort: Cohort, name: str) -> dict[str, Any]:
    from .. import __version__

    groups = by_group(measurement)
    cases = {(row["patient"], row["case"]) for row in measurement.rows if row.get("level") in (None, "volume")}
    return {
        "format": FORMAT,
        "notice": RESEARCH_USE_ONLY,
        "cmr_hf_version": __version__,
        "model": name,
        "name": cohort.chosen.name,
        "metric": METRICS[VALUES[measurement.kind]],
        "counts": {"lines": len(cohort.rows), "patients": len(measurement.patients), "cases": len(cases)},
        "notes": _notes(measurement, cohort),
        "overall": overall(measurement),
        "beyond": _beyond(measurement),
        "agreement": agreement_of(measurement),
        "groups": groups,
        "unknown_groups": [group for group in ASKED_FOR if group not in groups],
        "problems": cohort.problems,
    }


def _notes(measurement: Measurement, cohort: Cohort) -> list[str]:
    notes = []
    if not cohort.keep_identity:
        notes.append("Patients are numbered in the order of the table; lines are those of the table.")
    if measurement.kind == "segmentation":
        rows = [row for row in measurement.rows if row.get("level") == "volume"]
        lost = sum(row["hd95_mm"] is None and row["dice"] is not None for row in rows)
        if lost:
            notes.append(
                f"{lost} of {len(rows)} structures have no distance: missed or invented as a whole, or the spacing is "
                "not known."
            )
    if measurement.kind == "landmarks":
        lost = sum(row["distance_mm"] is None for row in measurement.rows)
        if lost:
            notes.append(f"{lost} of {len(measurement.rows)} points have no distance: the pixel spacing is not known.")
    if any(row.get("variant") for row in measurement.rows):
        notes.append("Some hearts have two phases only: end-systole stands for the one between too.")
    return notes


def _beyond(measurement: Measurement) -> list[dict[str, Any]]:
    """Outlines' distances, or ranking and calibration."""
    if measurement.kind == "segmentation":
        structures = dict.fromkeys(row["structure"] for row in measurement.rows if row.get("level") in LEVELS)
        return [
            {
                "class": name,
                "level": "volume",
                "metric": metric,
                "unit": "mm",
                "ours": estimate(measurement, name, "volume", value),
            }
            for name in structures
            for value, metric in BEYOND.items()
        ]
    if measurement.kind == "classification":
        return [
            {"class": "all", "level": "", "metric": metric, "unit": "", "ours": estimate_of_chances(measurement, what)}
            for what, metric in (("auc", "AUC"), ("ece", "calibration error"))
        ]
    return []


def _pictures(gallery: Gallery, out: Path) -> dict[str, Any]:
    """Pages of the worst cases, and of the best and the median one."""
    failures = []
    for rank, shown in enumerate(gallery.worst, 1):
        file = f"cases/worst_{rank:02d}.png"
        draw_page(shown, out / file, f"{rank}. patient {shown.patient}, {shown.case}")
        entry = {"rank": rank, "patient": shown.patient, "line": shown.about.get("line", ""), "case": shown.case}
        failures.append(entry | {"words": shown.words, "picture": file})
    pages = {}
    for which, shown in gallery.three().items():
        if which != "worst":
            pages[which] = f"cases/{which}.png"
            draw_page(shown, out / pages[which], f"{which}: patient {shown.patient}, {shown.case}")
    return {"failures": failures, "pages": pages}
