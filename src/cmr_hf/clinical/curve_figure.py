"""Volume over time of the ventricles as a picture, with end-diastole, end-systole and what was set aside."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .colours import LABEL_COLOURS
from .curves import Curve, Phases
from .volumes import LV, MYOCARDIUM, RV
from .writers import RESEARCH_USE_ONLY, whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, INK, QUIET, RULE = "#FFFFFF", "#14181C", "#5A6570", "#D5DADE"
FONT = "DejaVu Sans"
SHOWN = {"lv": ("LV", LV, "o"), "rv": ("RV", RV, "s"), "myocardium": ("myocardium", MYOCARDIUM, "^")}


def volume_curve_figure(
    curves: Mapping[str, Curve],
    phases: Phases,
    path: str | Path,
    *,
    times_ms: Sequence[float] | None = None,
    title: str = "Volume over time",
    facts: str = "",
    dpi: int = 160,
) -> Path:
    """Draw the curves and save them as PNG.

    Args:
        curves (mapping of `str` to `Curve`): `lv`, `rv`, `myocardium`, as `VentricularFunction.curves`.
        phases (`Phases`): ED and ES are marked, phases that were set aside are hollow.
        path: PNG file to write.
        times_ms (list of `float`, *optional*): of each phase after the R wave; without it phases are counted.
        title, facts (`str`): first and second line.
        dpi (`int`): pixels per inch.

    Raises:
        ValueError: there is no curve of these names, or another number of times than of phases.
    """
    drawn = {name: one for name, one in curves.items() if name in SHOWN and (one.volumes_ml > 0).any()}
    if not drawn:
        raise ValueError(f"`curves` needs one of {tuple(SHOWN)} with a volume, got {list(curves)}: measure them first")
    count = len(next(iter(drawn.values())).volumes_ml)
    if times_ms is not None and len(times_ms) != count:
        raise ValueError(f"`times_ms` needs one time for each of {count} phases, got {len(times_ms)}: pass None")
    place = np.arange(1, count + 1) if times_ms is None else np.asarray(times_ms, dtype=float)
    figure, axes = _figure()
    for name, curve in drawn.items():
        _draw(axes, name, curve.volumes_ml, place, phases)
    _mark(axes, place, phases)
    axes.set_ylim(0, 1.12 * max(one.volumes_ml.max() for one in drawn.values()))
    axes.set_xlim(place[0] - 0.02 * np.ptp(place) - 0.2, place[-1] + 0.12 * np.ptp(place) + 0.2)
    axes.set_xlabel("phase" if times_ms is None else "ms after the R wave", color=INK, fontsize=9, family=FONT)
    axes.set_ylabel("ml", color=INK, fontsize=9, family=FONT)
    figure.text(0.09, 0.93, title, color=INK, fontsize=13, fontweight="bold", family=FONT, va="baseline")
    figure.text(0.09, 0.875, facts, color=QUIET, fontsize=8.5, family=FONT, va="baseline")
    figure.text(0.09, 0.02, RESEARCH_USE_ONLY, color=QUIET, fontsize=7, family=FONT, va="baseline")
    path = Path(path)
    with whole_file(path) as part:
        figure.savefig(part, dpi=dpi, facecolor=PAPER, metadata={"Software": "cmr_hf"})
    return path


def _figure() -> tuple["Figure", "Axes"]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(7.2, 4.2), facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.09, 0.16, 0.87, 0.68))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)
    axes.tick_params(labelsize=8, colors=QUIET, length=3)
    axes.grid(axis="y", color=RULE, lw=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _draw(axes: "Axes", name: str, volumes: np.ndarray, place: np.ndarray, phases: Phases) -> None:
    shown, label, marker = SHOWN[name]
    colour = LABEL_COLOURS[label]
    good = np.ones(len(volumes), dtype=bool)
    good[list(phases.bad)] = False
    axes.plot(place[good], volumes[good], color=colour, lw=1.8, marker=marker, ms=4.5)
    axes.plot(place[~good], volumes[~good], ls="none", marker=marker, ms=5.5, mfc=PAPER, mec=colour)
    last = np.flatnonzero(good)[-1] if good.any() else len(volumes) - 1
    axes.annotate(shown, (place[last], volumes[last]), xytext=(8, 0), textcoords="offset points", color=INK,
                  fontsize=9, family=FONT, va="center")  # fmt: skip


def _mark(axes: "Axes", place: np.ndarray, phases: Phases) -> None:
    for moment, phase in (("ED", phases.ed), ("ES", phases.es)):
        if phase is not None:
            axes.axvline(place[phase], color=QUIET, lw=0.8, ls=(0, (3, 3)))
            axes.text(place[phase], 1.0, f" {moment}", transform=axes.get_xaxis_transform(), color=INK, fontsize=9,
                      fontweight="bold", family=FONT, va="top")  # fmt: skip
