"""Shows whether errors rise with the uncertainty that an assessment states: risk over coverage, as tables and a curve.

    python training/risk_coverage.py --splits ../shared/data/splits.json --acdc ../shared/data/acdc \\
        --sunnybrook ../shared/data/sunnybrook/slices --phantoms runs/phantom_studies --out runs/risk \\
        --docs docs/assessment.md            # runs/phantom_studies is what training/assess_phantoms.py wrote

Validation patients and phantoms only. Each patient's slices go through `cmr_hf.assessment` as a short-axis cine, so
what is judged is what a user is told. Of every slice: 1 - Dice against 1 - the Dice that the probabilities promise
(`expected_dice`), and against 1 - their mean, which the quality control has. Of volumes, function and mass: of ACDC,
where what the same measuring finds on the hand-drawn masks counts as true, so that only the segmentation errs, against
the part of the standard deviation that is the model's; of phantoms, whose truth is the heart's, against all of it.
"""

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cmr_hf.assessment import ROLES, Models, StackAssessment, assess_study
from cmr_hf.assessment.cache import Cache
from cmr_hf.assessment.sources import Opinion, Source, Study
from cmr_hf.clinical import Measure, Stack, ventricular_function
from cmr_hf.clinical.writers import write_json
from cmr_hf.data.readers import read
from cmr_hf.data.schema import LabelledStack
from cmr_hf.data.splits import load_split
from cmr_hf.data.sunnybrook_slices import read_sunnybrook_slices
from cmr_hf.evaluation.known_truth import MODEL_MASKS, replace_between
from cmr_hf.evaluation.risk import curve_of, figure_risks, risk_figure, risk_lines, slice_risks, summary_of
from cmr_hf.hub.image_processing_cmr import CMRImageProcessor

ROLE = "cine-sax"
FIGURES = ("lv_edv", "lv_esv", "lv_ef", "lv_mass", "rv_edv", "rv_esv", "rv_ef")
POOLED = tuple(name for name in FIGURES if not name.endswith("ef"))  # relative errors of these can be put together
DOUBTS = {"doubt": "promised Dice", "improbability": "mean probability"}


def assessed(images: np.ndarray, stack: Stack, models: Models, cache: Cache, placed: bool = True) -> StackAssessment:
    """Images `(t, z, y, x)` as the short-axis cine of a study."""
    digest = hashlib.sha256(repr((images.shape, stack.spacing_mm)).encode() + images.tobytes()).hexdigest()
    source = Source(1, images.shape, stack, lambda: images, digest, Opinion("cine", "SAX"), placed=placed)
    return assess_study(Study((source,), images.size), models, cache=cache).stacks[0]


def acdc_patients(root: Path, patients: list[str]) -> Iterator[dict[str, LabelledStack]]:
    """ED and ES of each patient."""
    found: dict[str, dict[str, LabelledStack]] = defaultdict(dict)
    for stack in read("acdc", str(root), patients):
        found[stack.patient][stack.phase] = stack
    yield from (phases for phases in found.values() if {"ED", "ES"} <= set(phases))


def acdc_points(root: Path, patients: list[str], models: Models, cache: Cache) -> tuple[list[dict], list[dict]]:
    """Slices and figures of ACDC patients."""
    slices, figures = [], []
    for phases in tqdm(list(acdc_patients(root, patients)), desc="acdc", disable=None):
        pair = [phases["ED"], phases["ES"]]
        images, truth = (np.stack([getattr(one, what) for one in pair]) for what in ("images", "masks"))
        stack = Stack.regular(pair[0].spacing_mm, images.shape[1], pair[0].slice_distance_mm)
        made, case = assessed(images, stack, models, cache), f"acdc {pair[0].patient}"
        slices += [row | {"case": case} for row in slice_risks(made.labels, made.chances, truth, (1, 2, 3))]
        known = ventricular_function(truth, stack).measures
        for name in FIGURES:
            found = made.measured.measures[name]
            if known[name]:
                told = {"value": found.value, "sd": model_part(found)}
                figures.append({"figure": name, "case": case, "true": known[name].value, MODEL_MASKS: told})
    return slices, figures


def model_part(measure: Measure) -> float | None:
    """The part of a standard deviation that the models' mistakes make up."""
    parts = [part for name, part in measure.parts.items() if name.startswith("model")]
    return float(np.linalg.norm(parts)) if parts else None


def sunnybrook_points(root: Path, patients: list[str], models: Models, cache: Cache) -> list[dict]:
    """Slices of Sunnybrook patients, LV alone: the endocardium was drawn in all, and its wall in some."""
    spacing = CMRImageProcessor().default_spacing_mm
    slices = []
    for one in tqdm(list(read_sunnybrook_slices(root, patients)), desc="sunnybrook", disable=None):
        place = Stack.regular((spacing, spacing), len(one.images))
        made = assessed(one.images[None].astype(np.float32), place, models, cache, placed=False)
        drawn = [label for label in (1, 2) if label in one.drawn]
        rows = slice_risks(made.labels, made.chances, one.masks[None], drawn)
        slices += [row | {"case": f"sunnybrook {one.patient}"} for row in rows]
    return slices


def slice_tables(slices: dict[str, list[dict]]) -> tuple[list[str], dict[str, Any]]:
    entries = {
        f"{source}, {shown}": summary_of(points, key)
        for source, points in slices.items()
        for key, shown in DOUBTS.items()
    }
    return risk_lines(entries, dict.fromkeys(entries, 3)), entries


def figure_tables(figures: dict[str, list[dict]]) -> tuple[list[str], dict[str, Any]]:
    """One line a figure, and one of all volumes and masses, each relative to what is true."""
    entries: dict[str, Any] = {}
    for source, rows in figures.items():
        points = list(figure_risks(rows, MODEL_MASKS))
        relative = [
            one | {key: 100 * one[key] / one["true"] for key in ("error", "doubt")}
            for one in points
            if one["figure"] in POOLED
        ]
        for name in FIGURES:
            own = [one for one in points if one["figure"] == name]
            if len(own) > 2:
                entries[f"{source}, {name.replace('_', ' ')}"] = summary_of(own)
        if len(relative) > 2:
            entries[f"{source}, volumes and mass, % of the true one"] = summary_of(relative)
    return risk_lines(entries, dict.fromkeys(entries, 1), held=True), entries


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("--acdc", type=Path)
    parser.add_argument("--sunnybrook", type=Path, help="folder of 8-bit slices")
    parser.add_argument("--phantoms", type=Path, help="what assess_phantoms.py wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", metavar="FOLDER", help="for the short-axis cine, instead of the embedded one")
    parser.add_argument("--docs", type=Path, help="Markdown file whose part between the marks is written anew")
    options = parser.parse_args(arguments)
    if not (options.acdc or options.sunnybrook or options.phantoms):
        parser.error("needs one of --acdc, --sunnybrook and --phantoms")
    return options


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    given = dict.fromkeys(role for role in ROLES if role != ROLE) | ({ROLE: options.model} if options.model else {})
    models, cache = Models(given), Cache(options.out / "cache")
    slices: dict[str, list[dict]] = {}
    figures: dict[str, list[dict]] = {}
    if options.acdc:
        patients = load_split(options.splits, "acdc")["validation"]
        slices["ACDC"], figures["ACDC"] = acdc_points(options.acdc, patients, models, cache)
    if options.sunnybrook:
        patients = load_split(options.splits, "sunnybrook")["validation"]
        slices["Sunnybrook"] = sunnybrook_points(options.sunnybrook, patients, models, cache)
    if options.phantoms:
        known = json.loads((options.phantoms / "rows.json").read_text(encoding="utf-8"))
        slices["phantoms"], figures["phantoms"] = known["slices"], known["figures"]
    lines, per_slice = slice_tables(slices)
    more, per_figure = figure_tables(figures)
    write_json({"slices": per_slice, "figures": per_figure}, options.out / "risk.json")
    curves = {name: curve_of(points, "improbability") for name, points in slices.items()}
    picture = options.docs.with_name("risk_coverage.png") if options.docs else options.out / "risk_coverage.png"
    risk_figure(curves, picture, "mean 1 - Dice of the slices kept")
    lines = [
        "Slices, 1 - Dice:",
        "",
        *lines,
        "",
        "Figures (of ACDC against the model's part of the standard deviation, of phantoms against all of it):",
        "",
        *more,
    ]
    if options.docs:
        replace_between(options.docs, "risk_coverage", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
