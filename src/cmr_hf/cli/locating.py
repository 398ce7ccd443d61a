"""`cmr-hf landmarks`: where landmarks are, in pixels and patient millimetres."""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import (
    Failures,
    WrongUsageError,
    attempts,
    check_writable,
    exit_code,
    file_names,
    load_pipeline,
    model_name,
    print_left_out,
    print_notice,
    read,
    stems,
)

if TYPE_CHECKING:
    import numpy as np

    from ..hub.reading_cmr import CMRImage

TASK = "cmr-landmark-detection"
COLUMNS = ("source", "label", "phase", "slice", "row", "column", "lps_x_mm", "lps_y_mm", "lps_z_mm", "score")
RING_MM = 3.0  # radius of the ring around a landmark in a picture


@dataclass(frozen=True)
class Marked:
    """One input that went through: its landmarks as the pipeline gives them, and the files that were written."""

    source: str
    spacing_mm: tuple[float, float] | None
    landmarks: list[dict]
    left_out: list[dict]
    files: list[Path] = field(default_factory=list)


def landmarks(args: argparse.Namespace) -> int:
    """`cmr-hf landmarks`: the landmarks of every path, as a table or, with --out, as JSON and CSV."""
    if args.overlay and args.out is None:
        raise WrongUsageError("`--overlay` needs a place for its pictures, got no `--out`: add --out with a folder")
    to_file = args.out is not None and args.out.suffix != "" and not args.out.is_dir()
    if args.out is not None:
        check_writable(args.out if to_file else args.out / "landmarks.json")
    pipe = load_pipeline(TASK, args)
    names = dict(zip(stems(args.paths), file_names(args.paths), strict=True))
    failed: Failures = []
    done = list(
        attempts(args, list(names), lambda path, stem: _mark_one(pipe, path, stem, names[stem], args, to_file), failed)
    )
    if done:
        files = [file for entry in done for file in entry.files]
        if to_file:
            files.append(_write(done, args.out, args))
        print(_counts(done) if args.out is not None else _table(done))
        for entry in done:
            print_left_out(entry.source, entry.left_out)
        if files:
            print(f"\n{len(files)} file{'s' * (len(files) > 1)} in {args.out.parent if to_file else args.out}")
        print_notice()
    return exit_code(failed)


def _mark_one(pipe: Any, path: str, stem: str, name: str, args: argparse.Namespace, to_file: bool) -> Marked:
    from ..clinical.writers import left_out_counts

    image = read(path, args)
    found = pipe(image, threshold=args.threshold, batch_size=args.batch_size)
    entry = Marked(name, image.spacing_mm, found, left_out_counts(image.left_out))
    folder = args.out.parent if to_file else args.out
    if args.out is not None and not to_file:
        entry.files.extend(_write([entry], folder / f"{stem}_landmarks{suffix}", args) for suffix in (".json", ".csv"))
    if args.overlay and found:
        entry.files.append(_picture(image, found, folder / f"{stem}_landmarks.png", stem))
    return entry


def _write(done: Sequence[Marked], path: Path, args: argparse.Namespace) -> Path:
    """JSON or CSV, by the ending of the name; phases and slices count from 0, positions are LPS in mm."""
    from .. import __version__
    from ..clinical.writers import RESEARCH_USE_ONLY, whole_file, write_json

    if path.suffix.lower() == ".json":
        content = {
            "format": "cmr_hf landmarks 1",
            "notice": RESEARCH_USE_ONLY,
            "model": model_name(args, TASK),
            "cmr_hf_version": __version__,
            "phase_index_starts_at": 0,
            "slice_index_starts_at": 0,
            "images": [
                {
                    "source": entry.source,
                    "spacing_mm": entry.spacing_mm,
                    "left_out": entry.left_out,
                    "landmarks": entry.landmarks,
                }
                for entry in done
            ],
        }
        return write_json(content, path)
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for entry in done:
            for one in entry.landmarks:
                position = one["patient_mm"] or ("", "", "")
                place = (one["phase"], one["slice"], *one["pixel"], *position, one["score"])
                rows.writerow((entry.source, one["label"], *place))
    return path


def _picture(image: "CMRImage", found: Sequence[dict], path: Path, title: str) -> Path:
    """A ring around each landmark of every slice, at the first phase and half-way through the cycle."""
    from ..clinical.figures import overlay_figure

    labels = sorted({one["label"] for one in found})
    # ids whose outlines stand alone: the figure draws 1, 2 and 6, cavity, wall and scar, around each other
    ids = dict(zip(labels, (3, 4, 5, *range(7, 7 + len(labels))), strict=False))
    rings = _rings(image.pixels.shape, found, ids, image.spacing_mm)
    phases = len(rings)
    return overlay_figure(
        image.pixels,
        rings,
        image.spacing_mm,
        path,
        names={index: label for label, index in ids.items()},
        phases={f"{t + 1}": t for t in (0, phases // 2)} if phases > 1 else {"": 0},
        slice_distance_mm=image.slice_distance_mm,
        title=title,
    )


def _rings(
    shape: tuple[int, ...], found: Sequence[dict], ids: dict[str, int], spacing_mm: tuple[float, float] | None
) -> "np.ndarray":
    """A label map (t, z, y, x) with a disc around each landmark: the figure draws its edge."""
    import numpy as np

    rings = np.zeros((1,) * (4 - len(shape)) + shape, np.uint8)
    row_mm, column_mm = spacing_mm or (1.0, 1.0)
    rows, columns = np.ogrid[: shape[-2], : shape[-1]]
    for one in found:
        row, column = one["pixel"]
        near = np.hypot((rows - row) * row_mm, (columns - column) * column_mm) <= RING_MM
        rings[one["phase"], one["slice"], near] = ids[one["label"]]
    return rings


def _counts(done: Sequence[Marked]) -> str:
    wide = max(len(entry.source) for entry in done)
    return "\n".join(f"{entry.source:<{wide}}  {len(entry.landmarks)} landmarks" for entry in done)


def _table(done: Sequence[Marked]) -> str:
    """One line per landmark; phases and slices count from 1, as everywhere on the screen."""
    labels = [one["label"] for entry in done for one in entry.landmarks]
    wide = max(map(len, labels), default=8)
    lines = []
    for entry in done:
        lines.append(entry.source + ("" if entry.landmarks else ": no landmark reached the threshold"))
        if entry.landmarks:
            head = f"  {'':<{wide}}  phase  slice      row  column   score   patient mm (left, back, up)"
            lines.append(head)
        for one in entry.landmarks:
            where = f"{one['phase'] + 1:>5}  {one['slice'] + 1:>5}  {one['pixel'][0]:>7.1f} {one['pixel'][1]:>7.1f}"
            position = " ".join(f"{value:8.1f}" for value in one["patient_mm"] or ()) or "–"
            lines.append(f"  {one['label']:<{wide}}  {where}  {one['score']:>6.3f}   {position}")
    if labels:
        lines.append(
            "phases and slices count from 1 here, from 0 in JSON and CSV; pixel (0, 0) is the first one's centre"
        )
    return "\n".join(lines)
