"""What is measured in which kind of stack: from label maps, points and pixels to figures with errors or refusals."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ..clinical.atria import atrial_function
from ..clinical.function import VentricularFunction, ventricular_function
from ..clinical.mapping import Distribution, extracellular_volume, segment_values
from ..clinical.quality import Finding, quality_findings
from ..clinical.quantities import Measure
from ..clinical.scar import late_enhancement
from ..clinical.segments import Extent, SegmentMap, aha_segments
from ..clinical.stacks import Stack
from ..clinical.thickness import wall_thickening, wall_thickness
from .borrowing import agreeing_insertions, borrowed_insertions
from .inference import Classes, Points
from .sources import Source

LEAST_SCORE = 0.5  # of a landmark that is used
ENDS = ("base", "apex")  # a few slices of a map need not reach them
SIDES = ("ant", "inf")  # how the names of the insertion points begin
Segmental = dict[int | str, Measure]


@dataclass(frozen=True)
class Subject:
    """What is known of the person beside the pictures; `None` where it is not.

    Attributes:
        height_cm, weight_kg, haematocrit (0 … 1), age_years (`float`, *optional*); sex (`str`, *optional*)
        hidden (`tuple` of `str`): which of these are of the headers, and so are used but not written down.
    """

    height_cm: float | None = None
    weight_kg: float | None = None
    haematocrit: float | None = None
    sex: str | None = None
    age_years: float | None = None
    hidden: tuple[str, ...] = ()


@dataclass
class Measured:
    """The figures of one stack.

    Attributes:
        measures (dict of `str` to `Measure`)
        segmental (dict of `str` to dict): name of the figure → segment number ("myocardium", "blood") → `Measure`.
        curves (dict of `str` to list of `float`): volume in ml, or area in cm², of every phase.
        function (`VentricularFunction`, *optional*): of a short-axis cine, with its curves and phases.
        classes (dict of `str` to `Classes`): "disease", "lge".
        findings (list of `Finding`): of the quality control.
        segments (dict of `str` to `SegmentMap`): "ED", "ES", or "" where there is one moment.
        distributions (dict): of a map, see `clinical.mapping`.
        scar (`np.ndarray` of shape `(z, y, x)`, bool, *optional*): to be shown.
        notes (list of `str`)
    """

    measures: dict[str, Measure] = field(default_factory=dict)
    segmental: dict[str, Segmental] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    function: VentricularFunction | None = None
    classes: dict[str, Classes] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    segments: dict[str, SegmentMap] = field(default_factory=dict)
    distributions: dict[int | str, Distribution] = field(default_factory=dict)
    scar: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def ed(self) -> int | None:
        """End-diastole, from 0."""
        return self.function.phases.ed if self.function else None

    @property
    def es(self) -> int | None:
        """End-systole, from 0."""
        return self.function.phases.es if self.function else None

    @property
    def extent(self) -> Extent | None:
        """From where to where the left ventricle reaches along its axis, for other stacks."""
        return next((one.extent for one in self.segments.values() if one and one.extent is not None), None)


@dataclass(frozen=True)
class Chances:
    """Probabilities kept as bytes, given phase by phase as numbers from 0 to 1."""

    values: np.ndarray  # (t, z, y, x), uint8

    def __getitem__(self, phase: int) -> np.ndarray:
        return self.values[phase].astype(np.float32) / 255


def confidence(labels: np.ndarray, chances: Mapping[int, np.ndarray]) -> np.ndarray:
    """Mean probability of the labels that were chosen, over the labelled pixels of each slice.

    Args:
        labels (`np.ndarray` of shape `(t, z, y, x)`)
        chances (dict of label id to `np.ndarray` of that shape): probability × 255.

    Returns:
        `np.ndarray` of shape `(t, z)`; NaN where nothing is labelled.
    """
    total, count = np.zeros(labels.shape[:2]), np.zeros(labels.shape[:2])
    for label, maps in chances.items():
        chosen = labels == label
        total += np.where(chosen, maps, 0).sum(axis=(2, 3), dtype=np.float64) / 255
        count += np.count_nonzero(chosen, axis=(2, 3))
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


@dataclass(frozen=True)
class Landmarks:
    """RV insertion points of some phases of a stack.

    Attributes:
        points (`Points`): in the order (phase, slice).
        phases (`tuple` of `int`): which phases these are, from 0.
    """

    points: Points
    phases: tuple[int, ...]


def insertions_at(landmarks: Landmarks | None, phase: int, slices: int) -> np.ndarray | None:
    """Anterior and inferior insertion point of each slice, shape `(z, 2, 2)`; NaN where the model is not sure.

    Args:
        landmarks (`Landmarks`, *optional*)
        phase (`int`): of the stack, from 0.
        slices (`int`): z.
    """
    if landmarks is None or phase not in landmarks.phases:
        return None
    points = landmarks.points
    order = [next((k for k, name in enumerate(points.names) if name.lower().startswith(w)), None) for w in SIDES]
    if None in order:
        return None
    first = landmarks.phases.index(phase) * slices
    part = slice(first, first + slices)
    there = points.scores[part][:, order, None] >= LEAST_SCORE
    return np.where(there, points.points[part][:, order], np.nan)


def measure_cine_sax(
    source: Source,
    labels: np.ndarray,
    chances: Mapping[int, np.ndarray] | None,
    landmarks: Landmarks | None,
    subject: Subject,
    name: str,
) -> Measured:
    """Function of both ventricles, wall thickness and segments of a short-axis cine.

    Args:
        labels (`np.ndarray` of shape `(t, z, y, x)`)
        chances (dict, *optional*): of the model; not for masks that were corrected by hand.
        landmarks (`Landmarks`, *optional*): of ED and ES at least.
        name (`str`): of the stack.
    """
    function = ventricular_function(
        labels,
        source.stack,
        heart_rate_per_min=60000 / source.cycle_ms if source.cycle_ms else None,
        height_cm=subject.height_cm,
        weight_kg=subject.weight_kg,
        probabilities=None if chances is None else {label: Chances(maps) for label, maps in chances.items()},
        source=name,
    )
    sure = None if chances is None else confidence(labels, chances)
    ed, es = function.phases.ed, function.phases.es
    made = Measured(
        measures=dict(function.measures),
        curves={key: np.round(curve.volumes_ml, 3).tolist() for key, curve in function.curves.items()},
        function=function,
        findings=quality_findings(labels, source.stack, sure),
        notes=list(function.notes),
    )
    moments = {"ED": ed, "ES": es}
    thickness: dict[str, Segmental] = {}
    for moment, phase in moments.items():
        if phase is None:
            continue
        insertions = insertions_at(landmarks, phase, len(source.stack))
        found = aha_segments(labels[phase], source.stack, insertions)
        made.segments[moment] = found
        thickness[moment] = dict(wall_thickness(labels[phase], source.stack, found, moment))
        made.segmental[f"wall_thickness_{moment.lower()}"] = thickness[moment]
    if len(thickness) == 2:
        made.segmental["wall_thickening"] = dict(wall_thickening(thickness["ED"], thickness["ES"]))
    made.notes += [f"{moment}: {note}" for moment, one in made.segments.items() for note in one.notes]
    passed = [one.slices[0] + 1 for one in made.findings if one.check == "valve plane"]
    if passed and "wall_thickening" in made.segmental:
        words = f"wall thickness at ES, and thickening, of the base hang on slice {passed[0]}"
        made.notes.append(f"{words}, which the valve plane may have passed")
    return made


def measure_lge_sax(
    source: Source,
    pixels: np.ndarray,
    labels: np.ndarray,
    landmarks: Landmarks | None,
    lender: "Lender | None",
    name: str,
) -> Measured:
    """Late enhancement of a short-axis stack, by every method that can be used.

    Args:
        pixels, labels (`np.ndarray` of shape `(t, z, y, x)`): the first phase counts.
        lender (`Lender`, *optional*): the cine of the same heart.
    """
    found, notes = _segments(source, labels, landmarks, lender)
    methods, remote = late_enhancement(pixels[0], labels[0], source.stack, found)
    made = Measured(segments={"": found}, findings=quality_findings(labels[:1], source.stack), notes=notes)
    for method, scar in methods.items():
        key = "lge_" + {"FWHM": "fwhm", "labels": "labels"}.get(method, method.lower().replace(" ", ""))
        about = f"{name}, first phase" if len(labels) > 1 else name
        made.measures |= {f"{key}_{part}": _of(one, about) for part, one in scar.measures.items()}
        made.segmental[f"{key}_extent"] = dict(scar.extent)
        made.segmental[f"{key}_transmurality"] = dict(scar.transmurality)
        if made.scar is None and not scar.reason:
            made.scar = scar.mask
    if remote.reason:
        made.notes.append(f"remote myocardium: {remote.reason}")
    return made


def measure_map_sax(
    source: Source,
    pixels: np.ndarray,
    labels: np.ndarray,
    landmarks: Landmarks | None,
    lender: "Lender | None",
    kind: str,
    name: str,
) -> Measured:
    """T1 or T2 of every segment of a map.

    Args:
        kind (`str`): "T1", "T1 post" or "T2".
    """
    found, notes = _segments(source, labels, landmarks, lender)
    values = segment_values(pixels[0], labels[0], source.stack, found, kind)
    key = {"T1": "t1_native", "T1 post": "t1_post", "T2": "t2"}[kind]
    findings = [one for one in quality_findings(labels[:1], source.stack) if one.check not in ENDS]
    made = Measured(segments={"": found}, findings=findings, notes=notes)
    made.distributions = values
    made.measures = {key: _of(values["myocardium"].median, name), f"{key}_blood": _of(values["blood"].median, name)}
    made.segmental[key] = {region: one.median for region, one in values.items() if isinstance(region, int)}
    if not source.in_ms:
        made.notes.append("the header does not say that the pixels are ms: believed because the values fit")
    return made


def measure_ecv(native: Measured, post: Measured, haematocrit: float | None) -> Measured:
    """Extracellular volume from a native and a post-contrast map."""
    values = extracellular_volume(native.distributions, post.distributions, haematocrit)
    return Measured(
        measures={"ecv": values["myocardium"]},
        segmental={"ecv": {region: one for region, one in values.items() if isinstance(region, int)}},
    )


def measure_cine_4ch(source: Source, labels: np.ndarray, name: str) -> Measured:
    """Atrial areas and volumes of a four-chamber cine; of several slices the one with most atrium."""
    sizes = np.count_nonzero(labels >= 4, axis=(0, 2, 3))
    z = int(sizes.argmax())
    about = f"{name}, slice {z + 1}" if len(sizes) > 1 else name
    atria = atrial_function(labels[:, z], source.stack.spacing_mm, source=about)
    curves = {
        key: [None if not np.isfinite(one.volume_ml) else round(float(one.volume_ml), 3) for one in phases]
        for key, phases in atria.phases.items()
    }
    return Measured(measures=dict(atria.measures), curves=curves)


@dataclass(frozen=True)
class Lender:
    """A cine that shows where base, apex and septum lie, for stacks of the same heart that do not.

    Attributes:
        stack (`Stack`): of the cine.
        segments (`SegmentMap`): at ED.
    """

    stack: Stack
    segments: SegmentMap


def _segments(
    source: Source, labels: np.ndarray, landmarks: Landmarks | None, lender: Lender | None
) -> tuple[SegmentMap, list[str]]:
    """Segments of the first phase: with own insertion points or the cine's septum, and the cine's base and apex."""
    notes, extent = [], None
    insertions = insertions_at(landmarks, 0, len(source.stack))
    if lender is not None and source.stack.normal is not None:
        extent = lender.segments.extent
        borrowed = borrowed_insertions(labels[0], source.stack, lender.segments, lender.stack)
        if insertions is None and borrowed is not None:
            insertions = borrowed
            notes.append("the septum is where the cine shows it, in patient space")
        elif borrowed is not None:
            insertions, strays = agreeing_insertions(insertions, borrowed, labels[0], source.stack)
            where = f"slice{'s' if len(strays) > 1 else ''} {', '.join(str(z + 1) for z in strays)}"
            told = f"{where}: the insertion points show another septum than the cine, whose is used"
            notes += [told] if strays else []
    found = aha_segments(labels[0], source.stack, insertions, extent=extent)
    if not found and extent is not None:
        alone = aha_segments(labels[0], source.stack, insertions)
        if alone:
            return alone, [*notes, f"base and apex by this stack alone: {found.reason}", *alone.notes]
    if found and extent is not None:
        notes.append("base and apex are where the cine shows them, in patient space")
    return found, [*notes, *found.notes]


def _of(measure: Measure, name: str) -> Measure:
    """The same, with the stack that it is of."""
    return replace(measure, source=f"{name}, {measure.source}" if measure.source else name)
