"""What is known of a phantom study, as files beside it: masks and maps as NIfTI, all else as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from .anatomy import Heart
from .dicom_header import trigger_ms
from .people import Person
from .population import DENSITY_G_PER_ML
from .scanning import Scanned
from .signal import POST_CONTRAST
from .tissues import Tissue, properties

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LANDMARKS = ("anterior RV insertion", "inferior RV insertion")


def write_grid(path: Path, values: np.ndarray, affine: np.ndarray, seconds: float = 1.0) -> None:
    """Writes (t, z, y, x) values as NIfTI.

    Args:
        affine (`np.ndarray` of shape `(4, 4)`): (column, row, slice) → LPS mm.
        seconds (`float`): between moments.
    """
    data = np.ascontiguousarray(values.transpose(3, 2, 1, 0))  # (t, z, y, x) -> (x, y, z, t)
    data = data[..., 0] if data.shape[3] == 1 else data
    image = nibabel.Nifti1Image(data, LPS_TO_RAS @ affine)
    zooms = [*np.linalg.norm(affine[:3, :3], axis=0).tolist(), seconds]
    image.header.set_zooms(zooms[: data.ndim])
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, path)


def write_truth(folder: Path, scanned: Scanned, person: Person, number: int) -> dict[str, Any]:
    """Writes the grids of one series and returns what `study.json` says of it."""
    series = scanned.series
    stem = f"{number:02d}_{series.name}"
    known: dict[str, Any] = {
        "number": number,
        "name": series.name,
        "description": series.description,
        "image_type": series.image_type,
        "contrast": series.contrast,
        "view": scanned.views[0],
        "kinds": list(dict.fromkeys(scanned.kinds)),
        "shape": list(scanned.images.shape),
        "spacing_mm": [round(one, 6) for one in scanned.spacing_mm],
        "slice_distance_mm": round(scanned.distance_mm, 4),
        "trigger_ms": [trigger_ms(scanned, person, t) for t in range(len(series.times))],
        "volumes_ml": scanned.volumes_ml,
        "landmarks_lps_mm": landmarks_lps(scanned),
    }
    for name, values in (("inversion_ms", series.inversion_ms), ("preparation_ms", series.preparation_ms)):
        if values:
            known[name] = list(values)
    seconds = person.cycle_ms / 1000 / len(series.times)
    for part, index in _parts(scanned):
        affine = scanned.stack_affine(index[0])
        grids = {"mask": scanned.masks[:, index]}
        if scanned.truth_ms is not None:
            grids["t2_ms" if series.contrast == "t2_map" else "t1_ms"] = scanned.truth_ms[:, index].astype(np.float32)
        for kind, values in grids.items():
            file = f"{stem}{part}_{kind}.nii.gz"
            write_grid(folder / file, values, affine, seconds)
            known.setdefault("files", []).append(file)
        known.setdefault("affines_lps_mm", []).append(np.round(affine, 6).tolist())
    return known


def _parts(scanned: Scanned) -> list[tuple[str, list[int]]]:
    """Slices that share one grid, and what their files' names say."""
    if scanned.is_stack:
        return [("", list(range(len(scanned.affines))))]
    return [(f"_{kind}", [index]) for index, kind in enumerate(scanned.kinds)]


def landmarks_lps(scanned: Scanned) -> list[dict[str, Any]]:
    """Each landmark of each slice and moment, in patient space and in pixels, counted from 0."""
    found = []
    for t, slices in enumerate(scanned.landmarks):
        for z, points in enumerate(slices):
            for name, (row, column) in zip(LANDMARKS, points, strict=True):
                if np.isfinite(row) and np.isfinite(column):
                    place = scanned.affines[z] @ [column, row, 0.0, 1.0]
                    found.append(
                        {
                            "name": name,
                            "phase": t,
                            "slice": z,
                            "pixel": [round(float(row), 3), round(float(column), 3)],
                            "lps_mm": np.round(place[:3], 3).tolist(),
                        }
                    )
    return found


def of_heart(heart: Heart, person: Person, seed: int) -> dict[str, Any]:
    """What is known of the person and the heart, whatever is scanned."""
    one = heart.traits
    start, end = heart.phase(torch.zeros(1, device=heart.device)), heart.phase(one.es_time)
    diastole, systole = ({k: float(v[0]) for k, v in heart.volumes(at).items()} for at in (start, end))
    return {
        "patient": person.patient,
        "disease": heart.diseases[0],
        "seed": seed,
        "field_t": person.field_t,
        "cycle_ms": person.cycle_ms,
        "end_systole_ms": round(float(one.es_time[0]) * person.cycle_ms, 2),
        "lge": "present" if bool(one.has_scar[0]) else "none",
        "volumes_ml": {
            "lv_ed": round(diastole["lv"], 3),
            "lv_es": round(systole["lv"], 3),
            "rv_ed": round(diastole["rv"], 3),
            "rv_es": round(systole["rv"], 3),
            "myocardium_ed": round(diastole["myocardium"], 3),
            "scar_ed": round(diastole["scar"], 3),
        },
        "lv_ef": round(1 - systole["lv"] / diastole["lv"], 4),
        "rv_ef": round(1 - systole["rv"] / diastole["rv"], 4),
        "lv_mass_g": round(diastole["myocardium"] * DENSITY_G_PER_ML, 3),
        "relaxation_ms": _relaxation(heart),
    }


def _relaxation(heart: Heart) -> dict[str, dict[str, float]]:
    """T1 and T2 that the equations were given, of what a reader measures."""
    found: dict[str, dict[str, float]] = {}
    tissues = {"myocardium": Tissue.MYOCARDIUM, "blood": Tissue.LV_BLOOD, "scar": Tissue.SCAR}
    for contrast in ("t1_native", "t1_post", "t2_map"):
        post = torch.tensor([contrast in POST_CONTRAST], device=heart.device)
        t1, t2, _ = properties(heart.traits.field_t, post)
        values = t2 if contrast == "t2_map" else t1
        found[contrast] = {name: float(values[0, tissue]) for name, tissue in tissues.items()}
    return found


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Plain values, readable."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
