"""Function of both ventricles from a short-axis cine: EDV, ESV, SV, EF, cardiac output, mass, all with their errors.

Sources of error, each a part of the figure's standard deviation (`Measure.parts`):

- *border*: every outline as a whole lies within ± half a pixel with 95 %, the same way in all phases (a matter of
  convention more than of noise): sd = Σ outline × weight × ¼ pixel. Endocardium, epicardium and RV are independent.
- *base*, *apex*: where the chamber ends within a slice distance d is not known: sd = area of the end slice × d / √12,
  at ED and ES independently; twice that at a base beyond which the stack has no slice.
- *valve plane at ES*: a slice that the valve plane may have passed (`valve_plane`) belongs to the LV or does not, with
  even chances: sd = half its volume.
- *interpolated*: between areas a and b over a gap that is g wider than usual: sd = g × (|a - b| / √12 + (a + b) / 20).
- *model*: where the probabilities p of the class are given, its mistakes are taken as wholly correlated, within a slice
  and over the stack: sd² = (Σ over slices weight × pixel × Σ √(p (1 - p)))² + (expected - drawn volume)². The wall has
  two borders, which err by themselves: half of the first term. Measured on ACDC's ten validation patients, this is what
  volumes and masses differ by from those of experts' masks (root mean square of error / sd: 0.97; with independent
  slices 2.3), see `docs/assessment.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .contours import closed_rays
from .curves import Curve, Phases, checked, find_phases, volume_curve
from .quantities import BORDER_PIXELS, Measure, combine
from .stacks import Stack, base_to_apex
from .valve_plane import passed_slice
from .volumes import LV, MYOCARDIUM, MYOCARDIUM_G_PER_ML, RV, SCAR

WALL = (MYOCARDIUM, SCAR)
FULL = 0.5  # of the largest area: an end slice with more is not the end
LEAST_SHAPE = 1.0  # length over width of a left ventricle: one that is shorter is not all there
RATES_PER_MIN = (20.0, 250.0)
VENTRICLES = {"lv": ((LV,), "LV"), "rv": ((RV,), "RV")}
UNITS = {"edv": "ml", "esv": "ml", "sv": "ml", "ef": "%", "co": "l/min"}


@dataclass(frozen=True)
class VentricularFunction:
    """What a short-axis cine says.

    Attributes:
        measures (dict of `str` to `Measure`): `lv_edv`, `lv_esv`, `lv_sv`, `lv_ef`, `lv_co`, `lv_mass`, `rv_edv`,
            `rv_esv`, `rv_sv`, `rv_ef`, `rv_co`, `bsa`, and `…_index` of all volumes, outputs and masses.
        curves (dict of `str` to `Curve`): `lv`, `rv`, `myocardium`.
        phases (`Phases`): ED and ES, found on the LV.
        notes (`tuple` of `str`): what concerns more than one figure.
    """

    measures: dict[str, Measure]
    curves: dict[str, Curve]
    phases: Phases
    notes: tuple[str, ...] = ()


@dataclass
class _Read:
    """What one chamber's volumes are computed of."""

    stack: Stack
    order: np.ndarray
    curves: dict[str, Curve]
    phases: Phases
    open_base: dict[str, bool] = field(default_factory=dict)
    passed: int | None = None  # slice that the valve plane may have passed at ES
    probabilities: Mapping[int, np.ndarray] | None = None
    source: str = ""


def ventricular_function(
    labels: np.ndarray,
    stack: Stack,
    *,
    heart_rate_per_min: float | None = None,
    height_cm: float | None = None,
    weight_kg: float | None = None,
    probabilities: Mapping[int, np.ndarray] | None = None,
    cyclic: bool = True,
    source: str = "",
) -> VentricularFunction:
    """Volumes, ejection fraction, output and mass of a short-axis cine, each with its error or a refusal.

    Args:
        labels (`np.ndarray` of shape `(t, z, y, x)`): 1 LV cavity, 2 myocardium, 3 RV, 6 scar.
        stack (`Stack`): where the slices lie.
        heart_rate_per_min (`float`, *optional*): without it, no cardiac output.
        height_cm, weight_kg (`float`, *optional*): without both, no indexed figures.
        probabilities (mapping of label id to `np.ndarray` of shape `(t, z, y, x)`, *optional*): of the model, 0 … 1.
        cyclic (`bool`): the last phase is followed by the first (retrospective gating).
        source (`str`): what the figures are of, for the reader.

    Raises:
        ValueError: shapes that do not fit, or a rate, height or weight that nobody has.
    """
    labels = checked(labels, stack)
    measures: dict[str, Measure] = {"bsa": body_surface_area(height_cm, weight_kg)}
    if len(stack) < 2:
        reason = "one slice is not a volume"
        return VentricularFunction(measures | _refusals(reason), {}, Phases(reason=reason))
    curves = {name: volume_curve(labels, stack, ids, shown) for name, (ids, shown) in VENTRICLES.items()}
    curves["myocardium"] = volume_curve(labels, stack, WALL, "myocardium")
    phases = find_phases(curves["lv"].volumes_ml, cyclic)
    if phases.ed is None:
        reason = f"no LV cavity found in any phase ({phases.reason})"
        return VentricularFunction(measures | _refusals(reason), curves, phases)
    size = curves["lv"].areas_mm2[phases.ed] + curves["myocardium"].areas_mm2[phases.ed]
    order, _ = base_to_apex(stack, size)
    passed = passed_slice(labels, order, phases.ed, phases.es)
    read = _Read(stack, order, curves, phases, passed=passed, probabilities=probabilities, source=source)
    rate = _heart_rate(heart_rate_per_min)
    notes = list(phases.notes)
    for name in VENTRICLES:
        reason, note = _coverage(read, name, labels)
        notes += [note] if note else []
        measures |= _ventricle(read, name, reason, rate)
    measures["lv_mass"] = _mass(read, _coverage(read, "lv", labels)[0])
    return VentricularFunction(measures | indexed(measures), curves, phases, tuple(notes))


def body_surface_area(height_cm: float | None, weight_kg: float | None) -> Measure:
    """Body surface area in m², √(height in cm × weight in kg / 3600) (Mosteller, N Engl J Med 1987;317:1098).

    Raises:
        ValueError: a height or weight that nobody has.
    """
    for name, value, low, high in (("height_cm", height_cm, 30, 260), ("weight_kg", weight_kg, 1, 400)):
        if value is not None and not low <= value <= high:
            raise ValueError(f"`{name}` needs {low} to {high}, got {value}: look at the unit, or pass None")
    missing = [name for name, value in (("height", height_cm), ("weight", weight_kg)) if value is None]
    if missing:
        return Measure.refused("m²", f"{' and '.join(missing)} unknown", method="Mosteller")
    return Measure.of(float(np.sqrt(height_cm * weight_kg / 3600)), "m²", method="Mosteller")


def indexed(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    """Volumes, outputs and masses over `bsa`, under their names and "_index"."""
    bsa = measures["bsa"]
    found = {}
    for name, one in measures.items():
        if one.unit in ("ml", "g", "l/min", "cm²"):
            about = {"method": f"{one.method}, over body surface area (Mosteller)", "source": one.source}
            pair = {"value": one, "body surface area": bsa}
            if not one:
                found[f"{name}_index"] = Measure.refused(f"{one.unit}/m²", one.reason, **about)
            else:
                found[f"{name}_index"] = combine(_over, f"{one.unit}/m²", pair, least=0.0, **about)
    return found


def _over(**values: float) -> float:
    return values["value"] / values["body surface area"]


def _heart_rate(rate: float | None) -> Measure:
    if rate is None:
        return Measure.refused("1/min", "heart rate unknown")
    low, high = RATES_PER_MIN
    if not low <= rate <= high:
        raise ValueError(f"`heart_rate_per_min` needs {low:g} to {high:g}, got {rate}: 60000 / RR interval in ms")
    return Measure.of(float(rate), "1/min")


def _refusals(reason: str) -> dict[str, Measure]:
    found = {f"{name}_{key}": Measure.refused(unit, reason) for name in VENTRICLES for key, unit in UNITS.items()}
    found["lv_mass"] = Measure.refused("g", reason)
    for name, one in list(found.items()):
        if one.unit != "%":
            found[f"{name}_index"] = Measure.refused(f"{one.unit}/m²", reason)
    return found


def _coverage(read: _Read, name: str, labels: np.ndarray) -> tuple[str, str]:
    """Why the stack does not hold the whole ventricle, and what is worth saying if it may.

    A ventricle that is still full in the last slice towards the apex is cut off. Towards the base that is usual: in 47
    of 50 ACDC stacks (train and validation) experts drew a full LV in the first slice. So there it is refused only
    where the part that is seen is shorter than it is wide, and else said, with a larger error.
    """
    areas, shown = read.curves[name].areas_mm2, VENTRICLES[name][1]
    ed = areas[read.phases.ed]
    if not ed.any():
        return f"no {shown} found at ED", ""
    base, apex = int(read.order[0]), int(read.order[-1])
    seen = f"at least {read.curves[name].volumes_ml[read.phases.ed]:.0f} ml at ED"
    if ed[apex] > FULL * ed.max():
        share = 100 * ed[apex] / ed.max()
        return f"the apex is missing: the {shown} is at {share:.0f} % of its largest area in the last slice, {seen}", ""
    read.open_base[name] = bool(ed[base] > FULL * ed.max())
    if not read.open_base[name]:
        return "", ""
    length = float(read.stack.weights_mm()[ed > 0].sum())
    width = 2 * float(np.sqrt(ed.max() / np.pi))
    closed = closed_rays(labels[read.phases.ed, base], read.stack.spacing_mm).mean()
    if name == "lv" and closed > 0.95 and length < LEAST_SHAPE * width:
        return (
            f"the base is missing: the stack holds {length:.0f} mm of an LV that is {width:.0f} mm wide and still full "
            f"in the first slice, {seen}"
        ), ""
    return "", f"{shown} still full in the first slice: the stack may begin below the valve plane, {seen}"


def _ventricle(read: _Read, name: str, reason: str, rate: Measure) -> dict[str, Measure]:
    shown = VENTRICLES[name][1]
    about: dict[str, Any] = {"method": "areas over slice positions (trapezoid)", "source": read.source}
    phases, curve = read.phases, read.curves[name]
    if reason:
        edv = esv = Measure.refused("ml", reason, **about)
    else:
        edv = _volume(read, name, phases.ed, "ED", about)
        if phases.es is None:
            esv = Measure.refused("ml", phases.reason, **about)
        elif curve.volumes_ml[phases.es] <= 0:
            esv = Measure.refused("ml", f"no {shown} found at ES", **about)
        else:
            esv = _volume(read, name, phases.es, "ES", about)
    pair = {"edv": edv, "esv": esv}
    about = {"source": read.source}
    sv = combine(lambda edv, esv: edv - esv, "ml", pair, method="EDV - ESV", **about)
    if sv and sv.value <= 0:
        sv = Measure.refused("ml", f"the {shown} is not larger at ED than at ES", method="EDV - ESV", **about)
    ef = combine(
        lambda edv, esv: 100 * (1 - esv / edv), "%", pair, least=0.0, most=100.0, method="(EDV - ESV) / EDV", **about
    )
    if ef and not sv:
        ef = Measure.refused("%", sv.reason, method="(EDV - ESV) / EDV", **about)
    output = combine(
        lambda sv, rate: sv * rate / 1000, "l/min", {"sv": sv, "rate": rate}, method="SV × heart rate", **about
    )
    if not rate and sv:
        output = Measure.refused("l/min", rate.reason, method="SV × heart rate", **about)
    return {f"{name}_{key}": one for key, one in zip(UNITS, (edv, esv, sv, ef, output), strict=True)}


def _volume(read: _Read, name: str, phase: int, moment: str, about: Mapping[str, Any]) -> Measure:
    curve = read.curves[name]
    border = "lv endocardial border" if name == "lv" else "rv border"
    parts = {border: _border_ml(read.stack, curve, phase)} | _sampling_parts(read, name, phase, moment)
    if name == "lv" and moment == "ES" and read.passed is not None:
        volume = curve.areas_mm2[phase, read.passed] * read.stack.weights_mm()[read.passed] / 1000
        parts["lv valve plane at ES"] = float(volume) / 2
    if read.probabilities is not None:
        for label in VENTRICLES[name][0]:
            if label in read.probabilities:
                sd = _model_sd_ml(read.probabilities[label][phase], read.stack, float(curve.volumes_ml[phase]))
                parts[f"model, {name} at {moment}"] = sd
    source = f"{read.source}, phase {phase + 1}".lstrip(", ")
    return Measure.of(
        float(curve.volumes_ml[phase]), "ml", parts, least=0.0, **dict(about) | {"source": source, "notes": curve.notes}
    )


def _border_ml(stack: Stack, curve: Curve, phase: int) -> float:
    return float(curve.perimeters_mm[phase] @ stack.weights_mm()) * BORDER_PIXELS * stack.pixel_mm / 1000


def _sampling_parts(read: _Read, name: str, phase: int, moment: str) -> dict[str, float]:
    """Errors of where the chamber ends, and of what lies between slices, in ml."""
    areas = read.curves[name].filled_mm2[phase][read.order]
    found = np.flatnonzero(areas)
    step = read.stack.distance_mm / np.sqrt(12) / 1000
    beyond = 2.0 if read.open_base.get(name) and found[0] == 0 else 1.0
    parts = {
        f"{name} base at {moment}": float(areas[found[0]]) * step * beyond,
        f"{name} apex at {moment}": float(areas[found[-1]]) * step,
    }
    missing = 0.0
    filled = read.curves[name].filled_mm2[phase]
    for a, b, mm in read.stack.gaps():
        if filled[a] > 0 and filled[b] > 0:
            extra = mm - read.stack.distance_mm
            missing += extra * (abs(filled[a] - filled[b]) / np.sqrt(12) + (filled[a] + filled[b]) / 20)
    lost = (read.curves[name].areas_mm2[phase] == 0) & (filled > 0)
    missing += float((filled * read.stack.weights_mm())[lost].sum()) / 10
    if missing:
        parts[f"{name} interpolated at {moment}"] = missing / 1000
    return parts


def _model_sd_ml(probability: np.ndarray, stack: Stack, drawn_ml: float, borders: int = 1) -> float:
    probability = np.clip(np.asarray(probability, dtype=float), 0.0, 1.0)
    weights = stack.weights_mm() * stack.pixel_mm2 / 1000
    spread = float(weights @ np.sqrt(probability * (1 - probability)).sum(axis=(1, 2)))
    expected = float(weights @ probability.sum(axis=(1, 2)))
    return float(np.sqrt(spread**2 / borders + (expected - drawn_ml) ** 2))


def _mass(read: _Read, reason: str) -> Measure:
    about = {"method": "myocardium at ED × 1.05 g/ml", "source": f"{read.source}, phase {read.phases.ed + 1}"}
    about["source"] = about["source"].lstrip(", ")
    curve = read.curves["myocardium"]
    if reason:
        return Measure.refused("g", reason, **about)
    volume = float(curve.volumes_ml[read.phases.ed])
    if volume <= 0:
        return Measure.refused("g", "no myocardium found at ED", **about)
    inner = _border_ml(read.stack, read.curves["lv"], read.phases.ed)
    both = _border_ml(read.stack, curve, read.phases.ed)  # outlines of a ring: inner and outer
    read.open_base["myocardium"] = read.open_base.get("lv", False)
    parts = {"lv endocardial border": -inner, "lv epicardial border": max(both - inner, 0.0)}
    parts |= _sampling_parts(read, "myocardium", read.phases.ed, "ED")
    known = [read.probabilities[label] for label in WALL if label in (read.probabilities or {})]
    if known:
        chance = np.sum([one[read.phases.ed] for one in known], axis=0)
        parts["model, myocardium at ED"] = _model_sd_ml(chance, read.stack, volume, borders=2)
    parts = {name: MYOCARDIUM_G_PER_ML * part for name, part in parts.items()}
    return Measure.of(MYOCARDIUM_G_PER_ML * volume, "g", parts, least=0.0, notes=curve.notes, **about)
