"""Disease from the measured shape of a heart: ratios of volumes and wall thickness, and a linear classifier on them.

None of the features has a unit, so they hold where the pixel size is unknown or nominal, for small and large people.
The idea is that of Wolterink et al. 2017 and Khened et al. 2019, who classified ACDC by volumes and thickness of masks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .contours import RAYS
from .thickness import chords_of
from .volumes import LV, MYOCARDIUM, RV, SCAR

SECTORS = 12  # of a slice
LEVELS = 6  # from base to apex, at which ED and ES are compared
LEAST_SLICES = 3  # with a closed wall
LEAST_CLOSED = 0.9  # of the rays of a slice

# name -> what it is; logarithms of ratios, so that twice and half are as far from one
FEATURES = {
    "lv_ef": "LV ejection fraction, 0 … 1",
    "rv_ef": "RV ejection fraction, 0 … 1",
    "rv_to_lv_ed": "ln(RV / LV volume) at ED",
    "rv_to_lv_es": "ln(RV / LV volume) at ES",
    "wall_to_lv": "ln(myocardial / LV volume) at ED",
    "rv_to_wall": "ln(RV / myocardial volume) at ED",
    "thickest_to_radius": "thickest wall (95th percentile of the sectors) over the median cavity radius at ED",
    "thickness_to_radius": "median wall thickness over the median cavity radius at ED",
    "thickest_to_median": "thickest over median wall at ED",
    "thinnest_to_median": "thinnest (5th percentile) over median wall at ED",
    "thin_part_es": "10th percentile over median wall at ES",
    "spread_es": "standard deviation over mean of wall thickness at ES",
    "spread_in_slices_es": "the same within slices, their mean",
    "spread_in_slices_ed": "the same at ED",
    "least_thickening": "10th percentile of ln(wall at ES / wall at ED), sector by sector",
    "thickening": "median of it",
    "most_thickening": "90th percentile of it",
    "spread_of_thickening": "standard deviation of it",
}


def shape_features(ed: np.ndarray, es: np.ndarray, spacing_mm: tuple[float, float]) -> dict[str, float] | str:
    """Features of one heart, or the sentence why there are none.

    Args:
        ed, es (`np.ndarray` of shape `(z, y, x)`): label maps of the same slices, base to apex or the other way round:
            1 LV cavity, 2 myocardium, 3 RV, 6 scar.
        spacing_mm (two `float`): (row, column); only their ratio matters.
    """
    volumes = {
        (name, moment): int(np.isin(labels, ids).sum())
        for moment, labels in (("ED", ed), ("ES", es))
        for name, ids in (("LV", (LV,)), ("wall", (MYOCARDIUM, SCAR)), ("RV", (RV,)))
    }
    missing = [f"{name} at {moment}" for (name, moment), count in volumes.items() if not count]
    if missing:
        return f"not measured: the shape needs {', '.join(missing)}, which was not found"
    (wall_ed, radius), (wall_es, _) = (_walls(labels, spacing_mm) for labels in (ed, es))
    if min(len(wall_ed), len(wall_es)) < LEAST_SLICES:
        return f"not measured: the shape needs a closed wall in {LEAST_SLICES} slices at ED and ES"

    def ln(one: tuple[str, str], other: tuple[str, str]) -> float:
        return float(np.log(volumes[one] / volumes[other]))

    median_ed, median_es, size = np.nanmedian(wall_ed), np.nanmedian(wall_es), np.median(radius)
    at_ed, at_es = (wall[np.linspace(0, len(wall) - 1, LEVELS).round().astype(int)] for wall in (wall_ed, wall_es))
    thickening = np.log(np.maximum(at_es, 0.1) / np.maximum(at_ed, 0.1))
    found = {
        "lv_ef": 1 - volumes["LV", "ES"] / volumes["LV", "ED"],
        "rv_ef": 1 - volumes["RV", "ES"] / volumes["RV", "ED"],
        "rv_to_lv_ed": ln(("RV", "ED"), ("LV", "ED")),
        "rv_to_lv_es": ln(("RV", "ES"), ("LV", "ES")),
        "wall_to_lv": ln(("wall", "ED"), ("LV", "ED")),
        "rv_to_wall": ln(("RV", "ED"), ("wall", "ED")),
        "thickest_to_radius": np.nanpercentile(wall_ed, 95) / size,
        "thickness_to_radius": median_ed / size,
        "thickest_to_median": np.nanpercentile(wall_ed, 95) / median_ed,
        "thinnest_to_median": np.nanpercentile(wall_ed, 5) / median_ed,
        "thin_part_es": np.nanpercentile(wall_es, 10) / median_es,
        "spread_es": np.nanstd(wall_es) / np.nanmean(wall_es),
        "spread_in_slices_es": _spread_in_slices(wall_es),
        "spread_in_slices_ed": _spread_in_slices(wall_ed),
        "least_thickening": np.nanpercentile(thickening, 10),
        "thickening": np.nanmedian(thickening),
        "most_thickening": np.nanpercentile(thickening, 90),
        "spread_of_thickening": np.nanstd(thickening),
    }
    return {name: float(found[name]) for name in FEATURES}


def _walls(labels: np.ndarray, spacing_mm: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Wall thickness `(slices, SECTORS)` and cavity radius `(slices,)` of the slices whose wall is closed."""
    walls, radii = [], []
    for one in labels:
        chords = chords_of(one, spacing_mm)
        if chords is None or np.isfinite(chords.thickness_mm).mean() < LEAST_CLOSED:
            continue
        sectors = chords.thickness_mm.reshape(SECTORS, RAYS // SECTORS)
        told = np.isfinite(sectors)
        walls.append(np.where(told.any(1), np.where(told, sectors, 0).sum(1) / np.maximum(told.sum(1), 1), np.nan))
        radii.append(np.sqrt((one == LV).sum() * spacing_mm[0] * spacing_mm[1] / np.pi))
    return np.array(walls).reshape(-1, SECTORS), np.array(radii)


def _spread_in_slices(walls: np.ndarray) -> float:
    return float(np.mean(np.nanstd(walls, axis=1) / np.nanmean(walls, axis=1)))


@dataclass(frozen=True)
class ShapeClassifier:
    """A linear classifier on standardised features.

    Attributes:
        classes (`tuple` of `str`), features (`tuple` of `str`): names, in the order of the numbers.
        mean, deviation (`tuple` of `float`): of each feature, where it was fitted.
        weight (`tuple` of `tuple` of `float`): per class, one number a feature.
        bias (`tuple` of `float`): per class.
        weights_license (`str`): of these numbers, which follows from the hearts they were fitted to.
    """

    classes: tuple[str, ...]
    features: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    weight: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    weights_license: str = "unknown"

    @classmethod
    def load(cls, path: str | Path) -> ShapeClassifier:
        """What `save` wrote.

        Raises:
            ValueError: not such a file, or features that this release does not measure.
        """
        path = Path(path)
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            made = cls(**{name: _frozen(value) for name, value in fields.items()})
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"`path` needs a shape classifier's JSON, {path.name} is none: {error}") from None
        strange = sorted(set(made.features) - set(FEATURES))
        shape = (len(made.classes), len(made.features))
        if strange or np.shape(made.weight) != shape or {len(made.mean), len(made.deviation)} != {shape[1]}:
            raise ValueError(f"`path` needs numbers for each of its features, {path.name} has {strange or 'others'}")
        return made

    def save(self, path: str | Path) -> None:
        """Writes it as JSON."""
        Path(path).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def chances(self, features: Mapping[str, float]) -> dict[str, float]:
        """Class → probability, best first, from `shape_features`."""
        values = np.array([features[name] for name in self.features])
        scores = np.array(self.weight) @ ((values - self.mean) / self.deviation) + self.bias
        odds = np.exp(scores - scores.max())
        found = dict(zip(self.classes, (odds / odds.sum()).tolist(), strict=True))
        return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _frozen(value: object) -> object:
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
