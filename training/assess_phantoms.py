"""Assesses phantom studies written as DICOM and tells how far off each figure is, and where the error comes from.

    python training/assess_phantoms.py --out runs/phantom_studies                            # one study of each disease
    python training/assess_phantoms.py --out runs/phantom_studies --count 20
    python training/assess_phantoms.py --out runs/phantom_studies --docs docs/assessment.md  # and the tables there
    python training/assess_phantoms.py --out runs/calibration --first-seed 60000             # to choose anything by

Studies are made once in `--out/studies` (seeds from 90000, which no training used), and measured twice: on the models'
masks, and on the true masks put in their place, recognised by the headers and without any model. The error is told
apart: *phases*, the true figure at the phases that were scanned less the true one; *measuring*, what is found on the
true masks less that: slices, pixels, methods; *segmentation*, what the models' masks, views and points change.

Writes `rows.json` (every figure, every slice), `table.json` and `table.md`. What models said is kept in `--out/cache`,
so a run that was stopped goes on; other weights are asked anew.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from tqdm import tqdm

from cmr_hf.assessment import ROLES, Models, StudyAssessment, Subject, assess_study
from cmr_hf.assessment.asking import Pixels
from cmr_hf.assessment.cache import Cache
from cmr_hf.assessment.intake import study_of
from cmr_hf.clinical import Stack
from cmr_hf.clinical.mapping import away_from_borders
from cmr_hf.clinical.volumes import LABEL_NAMES, MYOCARDIUM, SCAR
from cmr_hf.clinical.writers import write_json
from cmr_hf.evaluation.known_truth import (
    MODEL_MASKS,
    TRUE_MASKS,
    error_lines,
    error_table,
    fit_lines,
    recognition_line,
    replace_between,
)
from cmr_hf.evaluation.overlap import dice
from cmr_hf.evaluation.risk import slice_risks
from cmr_hf.phantoms import DISEASES, Heart, Protocol, write_study
from cmr_hf.phantoms.figures import atrial_areas_cm2, atrial_volumes_ml, segments_at, wall_thickness_mm
from cmr_hf.phantoms.protocol import DIASTASIS
from cmr_hf.phantoms.truth import write_grid

FIRST_SEED = 90000
FIGURES = "figures.json"  # of the truth
HAEMATOCRIT = 0.42
MAPS = {"t1_native": "t1_ms", "t1_post": "t1_ms", "t2_map": "t2_ms"}  # series -> its truth file
LEAST_PIXELS = 6
DRAWN = ("cine_sax", "cine_4ch", "lge_sax", "lge_sax_psir", *MAPS)  # series that are segmented
LGE_METHODS = ("5sd", "fwhm", "labels")
Truth = dict[str, float | dict[int, float]]

# --- studies --------------------------------------------------------------------------------------------------------


def made(folder: Path, number: int, phases: int, size: int, first: int = FIRST_SEED) -> Path:
    """A phantom study with its truth, written where it is missing: a pixel size of its own, 8 mm slices 10 mm apart.

    All that is true is written down with the study, because later releases may draw other hearts of the same seed.
    """
    seed = first + number
    place = folder / f"study_{seed}"
    if not place.exists():
        spacing_mm = round(float(np.random.default_rng([seed, 5]).uniform(1.6, 2.1)), 3)
        spacing_mm *= 160 / size  # the same field of view
        protocol = Protocol(phases=phases, rows=size, columns=size, spacing_mm=spacing_mm)
        write_study(place, DISEASES[number % len(DISEASES)], seed, protocol)
    if not (place / "truth" / FIGURES).is_file():
        known = known_of(place)
        heart = Heart.draw([known["disease"]], known["seed"])
        for series in known["series"]:
            if series["name"] in DRAWN and series["view"] == "SAX":
                write_segments(place, series, heart)
        truth, scanned = true_figures(place, known, heart)
        write_json({"true": truth, "at_phases": scanned}, place / "truth" / FIGURES)
    return place


def known_of(place: Path) -> dict[str, Any]:
    known = json.loads((place / "truth" / "study.json").read_text(encoding="utf-8"))
    known["by_name"] = {one["name"]: one for one in known["series"]}
    known["by_uid"] = {uid: one for one in known["series"] for uid in one["series_instance_uids"]}
    return known


def file_of(place: Path, series: dict[str, Any], kind: str) -> Path:
    return place / "truth" / f"{series['number']:02d}_{series['name']}_{kind}.nii.gz"


def grid(place: Path, series: dict[str, Any], kind: str) -> np.ndarray:
    """A truth file of a series as `(t, z, y, x)`."""
    data = np.asarray(nibabel.load(file_of(place, series, kind)).dataobj)
    return data.reshape(data.shape + (1,) * (4 - data.ndim)).transpose(3, 2, 1, 0)


def stack_of(series: dict[str, Any]) -> Stack:
    affine = np.array(series["affines_lps_mm"][0])
    return Stack.regular(series["spacing_mm"], series["shape"][1], affine=affine)


def write_segments(place: Path, series: dict[str, Any], heart: Heart) -> None:
    """The AHA segment of every wall pixel by the heart's own geometry, beside the mask."""
    wall = np.isin(grid(place, series, "mask"), (MYOCARDIUM, SCAR))
    found, stack = np.zeros(wall.shape, dtype=np.uint8), stack_of(series)
    for t, phase in enumerate(wall):
        time = t / len(wall) if series["image_type"] == "cine" else DIASTASIS
        moment = heart.phase(torch.tensor([time]))
        for z in np.flatnonzero(phase.any(axis=(1, 2))):
            points = torch.from_numpy(stack.to_patient(z, np.argwhere(phase[z]))).float()
            found[t, z][phase[z]] = segments_at(heart, points, moment).numpy()
    write_grid(file_of(place, series, "segments"), found, np.array(series["affines_lps_mm"][0]))


# --- what is true ---------------------------------------------------------------------------------------------------


def function_of(volumes: dict[str, tuple[float, float]]) -> Truth:
    """EDV, ESV, SV and EF of both ventricles from their volumes at ED and ES."""
    found: Truth = {}
    for side, (ed, es) in volumes.items():
        found |= {f"{side}_edv": ed, f"{side}_esv": es, f"{side}_sv": ed - es, f"{side}_ef": 100 * (1 - es / ed)}
    return found


def true_figures(place: Path, known: dict[str, Any], heart: Heart) -> tuple[Truth, Truth]:
    """Of the beating heart; and the same with those phases alone that were scanned, where that differs."""
    volumes = known["volumes_ml"]
    truth = function_of({side: (volumes[f"{side}_ed"], volumes[f"{side}_es"]) for side in ("lv", "rv")})
    curve = known["by_name"]["cine_sax"]["volumes_ml"]
    ed, es = int(np.argmax(curve["lv"])), int(np.argmin(curve["lv"]))
    scanned = function_of({side: (curve[side][ed], curve[side][es]) for side in ("lv", "rv")})
    truth["lv_mass"] = known["lv_mass_g"]
    phases = len(curve["lv"])
    end = float(heart.traits.es_time[0])
    affines = stack_of(known["by_name"]["cine_sax"]).affines
    walls = {name: wall_thickness_mm(heart, affines, time) for name, time in (("ed", 0.0), ("es", end))}
    truth |= {f"wall_thickness_{name}": one for name, one in walls.items()}
    truth["wall_thickening"] = {
        number: 100 * (walls["es"][number] / thick - 1)
        for number, thick in walls["ed"].items()
        if number in walls["es"]
    }
    plane = np.array(known["by_name"]["cine_4ch"]["affines_lps_mm"][0])
    truth |= atria_of(heart, plane, [0.0, end])
    scanned |= atria_of(heart, plane, [phase / phases for phase in range(phases)])
    return truth | true_maps(place, known) | true_scar(place, known), scanned


def atria_of(heart: Heart, plane: np.ndarray, times: list[float]) -> Truth:
    areas = [atrial_areas_cm2(heart, plane, time) for time in times]
    volumes = [atrial_volumes_ml(heart, time) for time in times]
    found: Truth = {}
    for name in ("la", "ra"):
        held = [one[name] for one in volumes]
        found |= {f"{name}_area_max": max(one[name] for one in areas), f"{name}_volume_max": max(held)}
        found |= {f"{name}_volume_min": min(held), f"{name}_emptying_fraction": 100 * (1 - min(held) / max(held))}
    return found


def true_maps(place: Path, known: dict[str, Any]) -> Truth:
    """Medians of the noiseless maps away from the borders, over the true segments, and ECV of them."""
    truth: Truth = {}
    for name, kind in MAPS.items():
        series = known["by_name"][name]
        stack, mask = stack_of(series), grid(place, series, "mask")[0]
        values = grid(place, series, kind)[0]
        inner = away_from_borders(np.isin(mask, (MYOCARDIUM, SCAR)), stack, 1.0)
        ids = grid(place, series, "segments")[0]
        key = {"t2_map": "t2"}.get(name, name)
        truth[key] = float(np.median(values[inner]))
        truth[f"{key}_blood"] = known["relaxation_ms"][name]["blood"]
        chosen = {number: inner & (ids == number) for number in range(1, 17)}
        truth[f"{key} by segment"] = {
            number: float(np.median(values[one])) for number, one in chosen.items() if one.sum() >= LEAST_PIXELS
        }

    def ecv(native: float, post: float) -> float:
        blood = 1 / truth["t1_post_blood"] - 1 / truth["t1_native_blood"]
        return 100 * (1 - HAEMATOCRIT) * (1 / post - 1 / native) / blood

    truth["ecv"] = ecv(truth["t1_native"], truth["t1_post"])
    native, post = truth["t1_native by segment"], truth["t1_post by segment"]
    truth["ecv by segment"] = {one: ecv(native[one], post[one]) for one in native if one in post}
    return truth


def true_scar(place: Path, known: dict[str, Any]) -> Truth:
    """Of the whole heart from its equations, of segments from the true mask."""
    volumes = known["volumes_ml"]
    series = known["by_name"]["lge_sax"]
    mask = grid(place, series, "mask")[0]
    ids = grid(place, series, "segments")[0]
    extent = {n: 100 * float((mask[ids == n] == SCAR).mean()) for n in range(1, 18) if (ids == n).any()}
    truth: Truth = {}
    for method in LGE_METHODS:
        truth[f"lge_{method}_mass"] = 1.05 * volumes["scar_ed"]
        truth[f"lge_{method}_percent"] = 100 * volumes["scar_ed"] / volumes["myocardium_ed"]
        truth[f"lge_{method}_extent"] = extent
    return truth


# --- two assessments ------------------------------------------------------------------------------------------------


def assessed_twice(place: Path, known: dict[str, Any], models: Models, cache: Cache) -> dict[str, StudyAssessment]:
    """By the models alone; and of the true masks, without any model."""
    pixels, subject = Pixels(), Subject(haematocrit=HAEMATOCRIT)
    study = study_of(place / "dicom", pixels)
    masks = cache.folder.parent / "true_masks" / place.name
    masks.mkdir(parents=True, exist_ok=True)
    for source in study.sources:
        series = known["by_uid"][source.frames[0, 0].series_uid]
        if series["name"] in DRAWN:
            truth = file_of(place, series, "mask")
            (masks / f"{source.number:02d}_true_mask.nii.gz").write_bytes(truth.read_bytes())
    none = Models(dict.fromkeys(ROLES), "cpu")
    return {
        TRUE_MASKS: assess_study(study, none, subject, masks=masks, pixels=pixels),
        MODEL_MASKS: assess_study(study, models, subject, cache=cache, pixels=pixels),
    }


def figure(made: StudyAssessment, name: str, segment: int | None) -> dict[str, Any]:
    """A measured figure as plain values: value, or the reason for there being none."""
    if segment is None:
        measure = made.measures.get(name)
    else:
        measure = made.segmental.get(name.removesuffix(" by segment"), {}).get(segment)
    if measure is None:
        return {"value": None, "reason": "no such stack, mask or method"}
    if not measure:
        return {"value": None, "reason": measure.reason, "unit": measure.unit}
    return {"value": measure.value, "interval": measure.interval, "sd": measure.sd, "unit": measure.unit}


def rows_of(place: Path, known: dict[str, Any], both: dict[str, StudyAssessment]) -> Iterator[dict]:
    """One row a figure: what is true, and what each assessment found."""
    content = json.loads((place / "truth" / FIGURES).read_text(encoding="utf-8"))
    truth, scanned = content["true"], content["at_phases"]
    about = {"case": f"phantom {known['seed']}", "disease": known["disease"]}
    for name, value in truth.items():
        parts = {int(key): one for key, one in value.items()} if isinstance(value, dict) else {None: value}
        for segment, true in parts.items():
            row = about | {"figure": name, "segment": segment, "true": true, "at_phases": scanned.get(name, true)}
            yield row | {arm: figure(made, name, segment) for arm, made in both.items()}


def recognised(known: dict[str, Any], made: StudyAssessment) -> Iterator[dict]:
    """Whether each stack was taken for what it is, and how well its masks fit."""
    for stack in made.stacks:
        series = known["by_uid"][stack.source.frames[0, 0].series_uid]
        found = stack.recognition
        right = (found.image_type.value, found.view.value) == (series["image_type"], series["view"])
        flagged = found.image_type.uncertain or found.view.uncertain
        yield {"series": series["name"], "found": stack.kind, "right": right, "flagged": flagged}


def overlaps(place: Path, known: dict[str, Any], made: StudyAssessment, arm: str) -> Iterator[dict]:
    """Dice of each structure of the models' masks, and which share of the wall's pixels got their right segment."""
    for stack in made.stacks:
        series = known["by_uid"][stack.source.frames[0, 0].series_uid]
        if stack.labels is None or series["name"] not in DRAWN:
            continue
        mask, about = grid(place, series, "mask"), {"study": known["seed"], "series": series["name"]}
        if arm == MODEL_MASKS:
            drawn, true = (np.where(one == SCAR, MYOCARDIUM, one) for one in (stack.labels, mask))
            for label, name in LABEL_NAMES.items():
                if label not in (0, SCAR) and (drawn == label).any():
                    yield about | {"structure": name, "value": dice(drawn == label, true == label)}
        for moment, found in stack.measured.segments.items():
            phase = {"ED": stack.measured.ed, "ES": stack.measured.es}.get(moment, 0) or 0
            true = grid(place, series, "segments")[phase]
            both = (found.ids > 0) & (found.ids < 17) & (true > 0) & (true < 17)
            if both.any():
                same = 100 * float((found.ids == true)[both].mean())
                structure = f"segments {moment}".strip() + ", true masks" * (arm == TRUE_MASKS)
                yield about | {"structure": structure, "value": same}


def slices_of(place: Path, known: dict[str, Any], made: StudyAssessment) -> Iterator[dict]:
    """Error and doubt of every slice of the short-axis cine that the models drew, for `risk_coverage.py`."""
    series, stack = known["by_name"]["cine_sax"], made.stack("cine SAX")
    if stack is not None:
        for row in slice_risks(stack.labels, stack.chances, grid(place, series, "mask"), (1, 2, 3)):
            yield row | {"case": f"phantom {known['seed']}"}


# --- all of it ------------------------------------------------------------------------------------------------------


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=len(DISEASES), help="studies, the diseases in turn")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help="figures are reported from 90000 on only")
    parser.add_argument("--phases", type=int, default=10, help="of a cine, in studies that are made anew")
    parser.add_argument("--size", type=int, default=160, help="rows and columns, in studies that are made anew")
    parser.add_argument("--model", nargs="+", default=[], metavar="ROLE=FOLDER", help="or ROLE=none")
    parser.add_argument("--docs", type=Path, help="Markdown file whose part between the marks is written anew")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    given = dict(one.split("=", 1) for one in options.model)
    models = Models({role: None if place == "none" else place for role, place in given.items()})
    cache = Cache(options.out / "cache")
    rows, slices, stacks, fits = [], [], [], []
    for number in tqdm(range(options.count), desc="studies", disable=None):
        place = made(options.out / "studies", number, options.phases, options.size, options.first_seed)
        known = known_of(place)
        both = assessed_twice(place, known, models, cache)
        rows += rows_of(place, known, both)
        stacks += recognised(known, both[MODEL_MASKS])
        for arm, assessed in both.items():
            fits += overlaps(place, known, assessed, arm)
        slices += slices_of(place, known, both[MODEL_MASKS])
    table = error_table(rows)
    about = (
        f"{options.count} studies, seeds from {options.first_seed}. Errors: bias / mean absolute / worst; how many "
        "95 % intervals hold the truth; how many figures there are, and how many are refused or missing. Last: the "
        "mean absolute error that each step adds."
    )
    lines = [about, "", *error_lines(table), "", recognition_line(stacks), "", *fit_lines(fits)]
    (options.out / "table.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    weights = {role: one.get("sha256") for role, one in models.about().items()}
    content = {"studies": options.count, "weights": weights, "table": table, "stacks": stacks, "fits": fits}
    write_json(content, options.out / "table.json")
    write_json({"figures": rows, "slices": slices}, options.out / "rows.json")
    if options.docs:
        replace_between(options.docs, "assess_phantoms", "\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
