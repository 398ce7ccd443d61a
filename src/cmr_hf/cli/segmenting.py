"""`cmr-hf segment` and `cmr-hf demo`: masks, overlays and measures."""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import Failures, attempts, exit_code, load_pipeline, model_name, print_notice, read, stems

if TYPE_CHECKING:
    from ..clinical import CineMeasures

TASK = "cmr-segmentation"


@dataclass(frozen=True)
class Segmented:
    """One input that went through: its measures and the files that were written."""

    stem: str
    measures: "CineMeasures"
    files: list[Path]
    left_out: list[dict]


def segment(args: argparse.Namespace) -> int:
    """`cmr-hf segment`: every path becomes a mask, an overlay, a JSON and a line of the table."""
    pipe = load_pipeline(TASK, args)
    failed: Failures = []
    done = list(attempts(args, stems(args.paths), lambda path, stem: _segment_one(pipe, path, stem, args), failed))
    if done:
        print(_summary_table(done))
        for entry in done:
            _print_remarks(entry, prefix=f"{entry.stem}: " if len(done) > 1 else "")
        print(f"\n{sum(len(entry.files) for entry in done)} files in {args.out}")
        print_notice()
    return exit_code(failed)


def demo(args: argparse.Namespace) -> int:
    """`cmr-hf demo`: the real short-axis stack that ships with the package, from DICOM to EF."""
    from ..samples import SAMPLES, sample

    started = time.perf_counter()
    print(f"Sample: {SAMPLES['sax_cine']}")
    pipe = load_pipeline(TASK, args)
    entry = _segment_one(pipe, str(sample("sax_cine")), "sax_cine", args)
    print(_slice_table(entry.measures))
    print()
    print(_summary_table([entry]))
    _print_remarks(entry)
    print()
    for file in entry.files:
        print(f"wrote {file}")
    print(f"in {time.perf_counter() - started:.1f} s")
    print_notice()
    return 0


def _segment_one(pipe: Any, path: str, stem: str, args: argparse.Namespace) -> Segmented:
    from .. import __version__
    from ..clinical import measure
    from ..clinical.figures import overlay_figure
    from ..clinical.writers import write_mask, write_measures_json

    out = args.out
    image = read(path, args)
    result = pipe(image, batch_size=args.batch_size)
    labels = result["segmentation"]
    measures = measure(labels, image.spacing_mm, image.slice_distance_mm, result["labels"])
    files = [
        overlay_figure(
            image.pixels,
            labels,
            image.spacing_mm,
            out / f"{stem}_overlay.png",
            names=result["labels"],
            phases={"ED": measures.ed_phase, "ES": measures.es_phase} if measures.phases > 1 else None,
            slice_distance_mm=image.slice_distance_mm,
            title=stem,
            facts=_facts(measures),
            full_field=args.full_field,
        ),
        write_mask(result, image, out / stem),
        write_measures_json(
            measures,
            result,
            out / f"{stem}_measures.json",
            source=stem,
            model=model_name(args, TASK),
            cmr_hf_version=__version__,
        ),
    ]
    return Segmented(stem, measures, files, image.left_out)


def _facts(measures: "CineMeasures") -> str:
    parts = [
        ("EDV", measures.lv_edv_ml, "ml"),
        ("ESV", measures.lv_esv_ml, "ml"),
        ("EF", measures.lv_ef_percent, "%"),
    ]
    return "   ".join(f"{name} {value:.0f} {unit}" for name, value, unit in parts if value is not None)


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _summary_table(entries: Sequence[Segmented]) -> str:
    """One line per image: function of both ventricles."""
    wide = max(10, *(len(entry.stem) for entry in entries))
    units = ("ml", "ml", "%", "g", "ml", "ml", "%")
    titles = ("LV EDV", "ESV", "EF", "mass", "RV EDV", "ESV", "EF")
    lines = [
        f"{'':<{wide}}  slices  phases" + "".join(f"{title:>8}" for title in titles),
        f"{'':<{wide}}                " + "".join(f"{unit:>8}" for unit in units),
    ]
    for entry in entries:
        m = entry.measures
        values = (
            m.lv_edv_ml,
            m.lv_esv_ml,
            m.lv_ef_percent,
            m.lv_mass_g,
            m.rv_edv_ml,
            m.rv_esv_ml,
            m.rv_ef_percent,
        )
        numbers = "".join(f"{_number(v):>8}" for v in values)
        lines.append(f"{entry.stem:<{wide}}  {m.slices:>6}  {m.phases:>6}{numbers}")
    return "\n".join(lines)


def _slice_table(measures: "CineMeasures") -> str:
    """Areas in cm2 of each slice at ED and ES, and the volumes under them."""
    phases = [(n, t) for n, t in (("ED", measures.ed_phase), ("ES", measures.es_phase)) if t is not None]
    if measures.areas_mm2 is None or not phases:
        return "no areas: " + measures.refusals.get("areas_mm2", "no LV cavity found")
    names = list(measures.areas_mm2)
    heads = [f"{name} {kind}" for name in names for kind, _ in phases]
    wide = max(len(head) for head in heads) + 2
    lines = ["\narea, cm2   " + "".join(f"{head:>{wide}}" for head in heads)]
    for z in range(measures.slices):
        areas = [measures.areas_mm2[name][t, z] / 100.0 for name in names for _, t in phases]
        cells = "".join(f"{(_number(a, 1) if a else '–'):>{wide}}" for a in areas)
        lines.append(f"slice {z + 1:<6}{cells}")
    volumes = [measures.volumes_ml[name][t] for name in names for _, t in phases]
    lines.append("volume, ml  " + "".join(f"{_number(v, 1):>{wide}}" for v in volumes))
    where = ", ".join(f"{kind} is phase {t + 1}" for kind, t in phases)
    return "\n".join([*lines, f"{where} of {measures.phases}"])


def _print_remarks(entry: Segmented, prefix: str = "") -> None:
    """Reasons for missing numbers (one line per reason), notes, and how many files were left out."""
    reasons: dict[str, list[str]] = {}
    for name, reason in entry.measures.refusals.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        # EDV, ESV, SV and EF of a ventricle are missing together
        sides = [side.upper() for side in ("lv", "rv") if f"{side}_edv_ml" in names]
        whole = [f"{' and '.join(sides)} volumes and EF"] if sides else []
        others = {"lv_ef_percent": "LV EF", "rv_ef_percent": "RV EF", "lv_mass_g": "LV mass", "areas_mm2": "areas"}
        rest = [text for name, text in others.items() if name in names and not (sides and "ef" in name)]
        print(f"{prefix}no {', '.join(whole + rest)}: {reason}")
    for note in entry.measures.notes:
        print(f"{prefix}note: {note}")
    if entry.left_out:
        print(f"{prefix}note: {len(entry.left_out)} files were left out; reasons are in the JSON")
