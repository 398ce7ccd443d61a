"""Areas per slice, volumes per phase, ejection fraction and mass from label maps.

Volume is the sum of the slices' areas times the distance between slice *centres* (the gap belongs to the
heart too). End-diastole (ED) is the phase of most left-ventricular volume, end-systole (ES) of least; the
right ventricle is read at the same two phases. Mass is the myocardium at ED times 1.05 g/ml. What cannot be
known is `None` and has its reason in `refusals`; it is never 0 or NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

MYOCARDIUM_G_PER_ML = 1.05
LV, MYOCARDIUM, RV, SCAR = 1, 2, 3, 6
LABEL_NAMES = {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV", 4: "LA", 5: "RA", 6: "scar"}
# slices whose centres are further apart than this leave out more heart than they show
SPARSE_DISTANCE_MM = 12.0


@dataclass(frozen=True)
class CineMeasures:
    """What one stack of short-axis slices says about the ventricles.

    Attributes:
        phases, slices: size of the stack.
        ed_phase, es_phase: index of the phase, from 0; None if there is no LV (or only one phase, for ES).
        areas_mm2: per structure an array (phases, slices), or None without pixel spacing.
        volumes_ml: per structure one number per phase; None for a phase where the structure was not found.
        refusals: name of each measure that is None -> why.
        notes: what a reader of these numbers should know.
    """

    phases: int
    slices: int
    spacing_mm: tuple[float, float] | None
    slice_distance_mm: float | None
    ed_phase: int | None
    es_phase: int | None
    areas_mm2: dict[str, np.ndarray] | None
    volumes_ml: dict[str, list[float | None]]
    lv_edv_ml: float | None = None
    lv_esv_ml: float | None = None
    lv_sv_ml: float | None = None
    lv_ef_percent: float | None = None
    lv_mass_g: float | None = None
    rv_edv_ml: float | None = None
    rv_esv_ml: float | None = None
    rv_sv_ml: float | None = None
    rv_ef_percent: float | None = None
    refusals: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict:
        """Everything as JSON-safe values; areas in mm2 and volumes in ml rounded to two decimals."""
        made: dict = {}
        for name, value in vars(self).items():
            made[name] = round(value, 2) if isinstance(value, float) else value
        made["spacing_mm"] = list(self.spacing_mm) if self.spacing_mm else None
        made["slice_distance_mm"] = self.slice_distance_mm
        if self.areas_mm2 is not None:
            made["areas_mm2"] = {n: np.round(a, 2).tolist() for n, a in self.areas_mm2.items()}
        made["volumes_ml"] = {
            name: [None if v is None else round(v, 2) for v in values] for name, values in self.volumes_ml.items()
        }
        return made | {"refusals": dict(self.refusals), "notes": list(self.notes)}


def as_stack(labels: np.ndarray) -> np.ndarray:
    """The label map as (t, z, y, x): a 3-D array is a stack of slices, a 2-D array one slice."""
    labels = np.asarray(labels)
    if not 2 <= labels.ndim <= 4:
        raise ValueError(f"`labels` needs 2, 3 or 4 dimensions (t, z, y, x), got shape {labels.shape}")
    return labels.reshape((1,) * (4 - labels.ndim) + labels.shape)


def structures(names: Mapping[int, str] | None = None) -> dict[str, tuple[int, ...]]:
    """Name -> label ids of each structure that a model with these label names can find.

    The myocardium is ids 2 and 6 together: scar is myocardium, too.
    """
    names = LABEL_NAMES if names is None else {int(i): str(n) for i, n in names.items()}
    found = {name: (i,) for i, name in sorted(names.items()) if i != 0}
    if MYOCARDIUM in names:
        found[names[MYOCARDIUM]] = (MYOCARDIUM, SCAR)
    return found


def slice_areas_mm2(labels: np.ndarray, spacing_mm: Sequence[float], ids: Sequence[int]) -> np.ndarray:
    """Area of the pixels with one of `ids`, per phase and slice.

    Args:
        labels (np.ndarray of shape (t, z, y, x), (z, y, x) or (y, x)): label map.
        spacing_mm: distance of rows and of columns in mm.
        ids: label ids that count.

    Returns:
        np.ndarray of shape (t, z), in mm2.
    """
    row_mm, column_mm = _spacing(spacing_mm)
    stack = as_stack(labels)
    wanted = np.zeros(256, dtype=bool)
    wanted[list(ids)] = True
    # (t, z, y, x) -> (t, z)
    return np.count_nonzero(wanted[stack.astype(np.uint8, copy=False)], axis=(2, 3)) * (row_mm * column_mm)


def measure(
    labels: np.ndarray,
    spacing_mm: Sequence[float] | None,
    slice_distance_mm: float | None,
    names: Mapping[int, str] | None = None,
    slice_thickness_mm: float | None = None,
) -> CineMeasures:
    """Areas, volumes, ejection fraction and mass of one stack of label maps.

    Args:
        labels (np.ndarray of shape (t, z, y, x), (z, y, x) or (y, x)): label ids of the package
            (1 LV cavity, 2 myocardium, 3 RV, 6 scar).
        spacing_mm: distance of rows and of columns in mm, or None if unknown.
        slice_distance_mm: distance between the centres of neighbouring slices in mm, or None if unknown.
        names: label id -> name, as the pipeline's `labels`; classes that are not in it are refused.
        slice_thickness_mm: if known, a gap larger than the slices is noted.
    """
    stack = as_stack(labels)
    known = structures(names)
    by_id = {ids[0]: name for name, ids in known.items()}
    phases, slices = stack.shape[:2]
    pixel_mm = (1.0, 1.0) if spacing_mm is None else _spacing(spacing_mm)
    areas = {name: slice_areas_mm2(stack, pixel_mm, ids) for name, ids in known.items()}

    no_volume = _why_no_volume(spacing_mm, slice_distance_mm, slices)
    volumes = {name: _volumes_ml(a, None if no_volume else slice_distance_mm) for name, a in areas.items()}
    lv_areas = areas.get(by_id.get(LV), np.zeros((phases, slices)))
    ed, es = _ed_and_es(lv_areas)
    values: dict[str, float] = {}
    refusals = {} if spacing_mm is not None else {"areas_mm2": "pixel spacing unknown"}
    for prefix, label in (("lv", LV), ("rv", RV)):
        got, refused = _ventricle(LABEL_NAMES[label], volumes.get(by_id.get(label)), no_volume, ed, es)
        values |= {f"{prefix}_{name}": value for name, value in got.items()}
        refusals |= {f"{prefix}_{name}": reason for name, reason in refused.items()}
    mass_g, reason = _mass_g(volumes.get(by_id.get(MYOCARDIUM)), no_volume, ed)
    if reason:
        refusals["lv_mass_g"] = reason
    return CineMeasures(
        phases=phases,
        slices=slices,
        spacing_mm=None if spacing_mm is None else _spacing(spacing_mm),
        slice_distance_mm=None if slice_distance_mm is None else float(slice_distance_mm),
        ed_phase=ed,
        es_phase=es,
        areas_mm2=None if spacing_mm is None else areas,
        volumes_ml=volumes,
        **values,
        lv_mass_g=mass_g,
        refusals=refusals,
        notes=_notes(lv_areas, ed, None if no_volume else slice_distance_mm, slice_thickness_mm),
    )


def _spacing(spacing_mm: Sequence[float]) -> tuple[float, float]:
    pair = tuple(float(v) for v in spacing_mm)
    if len(pair) != 2 or not all(np.isfinite(v) and v > 0 for v in pair):
        raise ValueError(
            f"`spacing_mm` needs two positive numbers (row, column) in mm, got {spacing_mm!r}: "
            "read it from PixelSpacing, or pass None if it is unknown"
        )
    return pair


def _why_no_volume(spacing_mm: Sequence[float] | None, slice_distance_mm: float | None, slices: int) -> str | None:
    if spacing_mm is None:
        return "pixel spacing unknown"
    if slices == 1:
        return "one slice is not a volume"
    if slice_distance_mm is None:
        return "distance between slices unknown"
    if not (np.isfinite(slice_distance_mm) and slice_distance_mm > 0):
        raise ValueError(
            f"`slice_distance_mm` needs a positive number in mm, got {slice_distance_mm!r}: "
            "it is the distance between slice centres; pass None if it is unknown"
        )
    return None


def _volumes_ml(areas_mm2: np.ndarray, slice_distance_mm: float | None) -> list[float | None]:
    if slice_distance_mm is None:
        return [None] * len(areas_mm2)
    return [float(v) if v > 0 else None for v in areas_mm2.sum(axis=1) * slice_distance_mm / 1000.0]


def _ed_and_es(lv_areas: np.ndarray) -> tuple[int | None, int | None]:
    """Phases of most and of least LV, over those where an LV was found at all."""
    totals = lv_areas.sum(axis=1)
    if not totals.any():
        return None, None
    ed = int(totals.argmax())
    return ed, int(np.where(totals > 0, totals, np.inf).argmin()) if len(totals) > 1 else None


def _ventricle(
    name: str, series: list[float | None] | None, no_volume: str | None, ed: int | None, es: int | None
) -> tuple[dict[str, float], dict[str, str]]:
    """EDV, ESV, SV (ml) and EF (%) of one ventricle, and the reasons for those that cannot be known."""
    if series is None:
        why = f"the model does not label the {name}"
    elif no_volume:
        why = no_volume
    elif ed is None:
        why = "no LV cavity found in any phase, so ED and ES are unknown"
    elif es is None:
        why = "one phase: ED and ES need at least two"
    elif ed == es:
        why = f"the LV has the same volume in all {len(series)} phases, or was found in one only"
    elif series[ed] is None or series[es] is None:
        why = f"no {name} found at {'ED' if series[ed] is None else 'ES'}"
    else:
        edv_ml, esv_ml = series[ed], series[es]
        got = {"edv_ml": edv_ml, "esv_ml": esv_ml, "sv_ml": edv_ml - esv_ml}
        if edv_ml <= esv_ml:
            return got, {"ef_percent": f"the {name} is not larger at ED than at ES"}
        return got | {"ef_percent": 100.0 * (edv_ml - esv_ml) / edv_ml}, {}
    return {}, dict.fromkeys(("edv_ml", "esv_ml", "sv_ml", "ef_percent"), why)


def _mass_g(
    series: list[float | None] | None, no_volume: str | None, ed: int | None
) -> tuple[float | None, str | None]:
    if series is None:
        return None, "the model does not label the myocardium"
    if no_volume:
        return None, no_volume
    if ed is None:
        return None, "no LV cavity found in any phase, so ED is unknown"
    if series[ed] is None:
        return None, "no myocardium found at ED"
    return series[ed] * MYOCARDIUM_G_PER_ML, None


def _notes(
    lv_areas: np.ndarray,
    ed: int | None,
    slice_distance_mm: float | None,
    slice_thickness_mm: float | None,
) -> list[str]:
    """What is worth knowing beside the numbers; `slice_distance_mm` is None where volumes were refused."""
    notes: list[str] = []
    if ed is None:
        return notes
    phases = len(lv_areas)
    if phases == 1 and slice_distance_mm is not None:
        notes.append("one phase: mass is measured in it, whichever phase it is")
    lost = np.flatnonzero(~lv_areas.any(axis=1))
    if lost.size:
        notes.append(f"no LV cavity found in phase {', '.join(str(p + 1) for p in lost)}: not considered for ES")
    at_ed = lv_areas[ed]
    inside = np.flatnonzero(at_ed)
    holes = [z + 1 for z in range(inside[0], inside[-1]) if not at_ed[z]]
    if holes:
        notes.append(f"no LV cavity at ED in slice {', '.join(map(str, holes))}, between slices that have it")
    if slice_distance_mm is None:
        return notes
    gap_mm = None if slice_thickness_mm is None else slice_distance_mm - slice_thickness_mm
    if slice_distance_mm > SPARSE_DISTANCE_MM or (gap_mm is not None and gap_mm > slice_thickness_mm):
        gap = "" if gap_mm is None else f" ({slice_thickness_mm:g} mm thick, {gap_mm:.1f} mm gap)"
        notes.append(f"slice centres are {slice_distance_mm:.1f} mm apart{gap}: volumes are rough")
    ends = [z for z in {0, len(at_ed) - 1} if at_ed[z] > 0.5 * at_ed.max()]
    if ends:
        where = ", ".join(str(z + 1) for z in sorted(ends))
        notes.append(f"at ED the LV is still large in slice {where}, the end of the stack: part may lie outside")
    return notes
