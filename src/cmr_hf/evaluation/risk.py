"""Whether errors rise with the uncertainty that is stated beside them: points, tables and a picture."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..clinical.risk import RiskCoverage, expected_dice, risk_coverage
from ..clinical.writers import whole_file
from .overlap import dice

RESAMPLES = 500
Point = Mapping[str, Any]


def slice_risks(
    labels: np.ndarray, chances: Mapping[int, np.ndarray], truth: np.ndarray, structures: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """Error and doubt of every slice in which something was drawn by the model or in truth.

    Args:
        labels, truth (`np.ndarray` of shape `(t, z, y, x)`): label ids.
        chances (mapping of label id to `np.ndarray` of that shape, uint8): probability × 255, of the model.
        structures (list of `int`): labels that count.

    Yields:
        `phase`, `slice`, `error` (1 - Dice, mean of the structures that are there), `doubt` (1 - `expected_dice`) and
        `improbability` (1 - mean probability of what was drawn; 1 where nothing was).
    """
    known = {label: chances[label] for label in structures if label in chances}
    labels = np.where(np.isin(labels, list(known)), labels, 0)
    doubt = 1 - expected_dice(labels, known)
    for t, z in np.ndindex(labels.shape[:2]):
        overlaps = [dice(labels[t, z] == one, truth[t, z] == one) for one in known]
        overlaps = [one for one in overlaps if one is not None]
        if not overlaps:
            continue
        drawn = [known[label][t, z][labels[t, z] == label] for label in known]
        values = np.concatenate(drawn)
        yield {
            "phase": t,
            "slice": z,
            "error": 1 - float(np.mean(overlaps)),
            "doubt": 1.0 if np.isnan(doubt[t, z]) else float(doubt[t, z]),
            "improbability": 1 - float(values.mean()) / 255 if values.size else 1.0,
        }


def figure_risks(rows: Iterable[Mapping[str, Any]], arm: str) -> Iterator[dict[str, Any]]:
    """Error and standard deviation of figures of `known_truth` that have both, with `figure` and `case`."""
    for row in rows:
        one = row[arm]
        if one["value"] is not None and one.get("sd"):
            error = one["value"] - row["true"]
            yield {
                "figure": row["figure"],
                "case": row["case"],
                "error": error,
                "doubt": one["sd"],
                "true": row["true"],
            }


def summary_of(points: Sequence[Point], doubt: str = "doubt", seed: int = 0) -> dict[str, Any]:
    """Risk and coverage of points in numbers.

    Args:
        points: dicts of `error`, `case` (a patient) and the doubt.
        doubt (`str`): the key it stands under.
        seed (`int`): of the resampling.

    Returns:
        `n`, `cases`, mean error of `all`, the `surest_half` and the `least_sure_quarter`, `rank_correlation` with its
        95 % interval over resampled cases, `gain` (0: as refusing at random, 1: as refusing by the error itself), and
        `held`, the share of errors within 1.96 × doubt.
    """
    found = curve_of(points, doubt)
    by_case: dict[Any, list[Point]] = {}
    for one in points:
        by_case.setdefault(one["case"], []).append(one)
    rng, correlations = np.random.default_rng(seed), []
    cases = list(by_case.values())
    for _ in range(RESAMPLES if len(cases) > 2 else 0):
        drawn = [one for index in rng.integers(len(cases), size=len(cases)) for one in cases[index]]
        correlations.append(curve_of(drawn, doubt).rank_correlation)
    known = [one for one in correlations if np.isfinite(one)]
    interval = np.percentile(known, (2.5, 97.5)).tolist() if known else None
    possible = found.area_random - found.area_best
    return {
        "n": len(points),
        "cases": len(cases),
        "all": float(found.risk[-1]),
        "surest_half": found.kept(0.5),
        "least_sure_quarter": found.last,
        "rank_correlation": found.rank_correlation,
        "interval": interval,
        "gain": (found.area_random - found.area) / possible if possible > 0 else float("nan"),
        "held": found.covered,
    }


def curve_of(points: Sequence[Point], doubt: str = "doubt") -> RiskCoverage:
    """The risk-coverage curve of points."""
    return risk_coverage([one["error"] for one in points], [one[doubt] for one in points])


def risk_lines(entries: Mapping[str, Mapping[str, Any]], digits: Mapping[str, int], held: bool = False) -> list[str]:
    """Summaries in Markdown.

    Args:
        entries: name of the line → `summary_of` it.
        digits: name of the line → decimals of its errors.
        held (`bool`): with the share of errors within 95 % intervals.
    """
    heads = ["", "n (patients)", "all", "surest half", "least sure quarter", "rank correlation (95 %)", "gain"]
    heads += ["in 95 %"] * held
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, one in entries.items():
        errors = [f"{one[key]:.{digits[name]}f}" for key in ("all", "surest_half", "least_sure_quarter")]
        spread = "" if one["interval"] is None else f" ({one['interval'][0]:.2f} to {one['interval'][1]:.2f})"
        cells = [name, f"{one['n']} ({one['cases']})", *errors, f"{one['rank_correlation']:.2f}{spread}"]
        cells += [f"{one['gain']:.2f}"] + [f"{100 * one['held']:.0f} %"] * held
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def risk_figure(curves: Mapping[str, RiskCoverage], path: Path, label: str, dpi: int = 130) -> Path:
    """Draws risk over coverage, each curve with what refusing at random and by the error itself would give.

    Args:
        curves: name → curve.
        path (`Path`): PNG to write.
        label (`str`): of the errors, with their unit.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(curves), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (name, curve) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        percent = 100 * curve.coverage
        axes.plot(percent, curve.risk, color="#0B6E99", lw=1.8, label="by the stated doubt")
        axes.axhline(curve.area_random, color="#5A6570", lw=1, ls=(0, (4, 3)), label="at random")
        axes.plot(percent, curve.best, color="#9AA4AD", lw=1, label="by the error itself")
        axes.set(title=name, xlabel="kept, %", xlim=(0, 100))
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(label)
    figure.axes[0].legend(frameon=False, fontsize=8)
    with whole_file(path) as part:
        figure.savefig(part, dpi=dpi, metadata={"Software": "cmr_hf"})
    return path
