"""The 17 segments as a bullseye: base outside, apex in the middle, anterior on top, septum on the left.

Every segment shows its number and its value; a refused one is hatched, never coloured as 0. Colours run along cividis
or, round a middle, from blue through white to vermilion: both can be read by colour-blind people and in grey.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .quantities import Measure
from .writers import RESEARCH_USE_ONLY, whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

PAPER, INK, QUIET, EMPTY, RULE = "#FFFFFF", "#14181C", "#5A6570", "#ECEFF1", "#5A6570"
FONT = "DejaVu Sans"
RADII = (1.0, 0.74, 0.48, 0.22)  # base, mid, apical, apex: outer radius of each ring
# segment -> ring, first angle and width in degrees, counter-clockwise from the right of the picture
SECTORS = {
    **{number: (0, 60 + 60 * k, 60) for k, number in enumerate((1, 2, 3, 4, 5, 6))},
    **{number: (1, 60 + 60 * k, 60) for k, number in enumerate((7, 8, 9, 10, 11, 12))},
    **{number: (2, 45 + 90 * k, 90) for k, number in enumerate((13, 14, 15, 16))},
    17: (3, 0, 360),
}
SIDES = {"anterior": (0.0, 1.09), "inferior": (0.0, -1.09), "septal": (-1.1, 0.0), "lateral": (1.1, 0.0)}
BLUE, VERMILION = "#0072B2", "#D55E00"  # Okabe and Ito


def bullseye_figure(
    values: Mapping[int, Measure | float | None],
    path: str | Path,
    *,
    title: str,
    unit: str = "",
    limits: tuple[float, float] | None = None,
    middle: float | None = None,
    decimals: int = 0,
    facts: str = "",
    dpi: int = 160,
) -> Path:
    """Draw one value for each segment and save it as PNG.

    Args:
        values (mapping of `int` to `Measure` or `float`): segment 1 … 17 → value; `None`, a refusal or a missing
            segment is hatched.
        path: PNG file to write.
        title (`str`): first line.
        unit (`str`): under the colours; a `Measure`'s own unit if empty.
        limits (two `float`, *optional*): values of the ends of the colours; those of the values by default.
        middle (`float`, *optional*): a value to be white, for signed or normal-centred figures.
        decimals (`int`): of the numbers.
        facts (`str`): under the title.
        dpi (`int`): pixels per inch.

    Raises:
        ValueError: a segment that is none, a value that is not finite, or limits in the wrong order.
    """
    shown = _numbers(values)
    unit = unit or next((one.unit for one in values.values() if isinstance(one, Measure)), "")
    colours, scale = _scale(shown, limits, middle)
    figure, axes = _figure()
    for number, (ring, first, width) in SECTORS.items():
        _segment(axes, number, ring, first, width, shown.get(number), colours, scale, decimals)
    for name, (x, y) in SIDES.items():
        turn = 0 if x == 0 else (90 if x < 0 else -90)
        axes.text(x, y, name, ha="center", va="center", color=QUIET, fontsize=9, family=FONT, rotation=turn)
    _words(figure, title, facts)
    _colour_bar(figure, colours, scale, unit, hatched=len(shown) < len(SECTORS))
    path = Path(path)
    with whole_file(path) as part:
        figure.savefig(part, dpi=dpi, facecolor=PAPER, metadata={"Software": "cmr_hf"})
    return path


def _numbers(values: Mapping[int, Measure | float | None]) -> dict[int, float]:
    """Segment → number, those without one left out."""
    strange = sorted(set(values) - set(SECTORS), key=str)
    if strange:
        raise ValueError(f"`values` needs segments 1 to 17, got {strange}: leave out what is not a segment")
    found = {}
    for number, one in values.items():
        value = one.value if isinstance(one, Measure) else one
        if value is None:
            continue
        if not np.isfinite(value):
            raise ValueError(f"`values` needs finite numbers or None, got {value} in segment {number}: refuse it")
        found[number] = float(value)
    return found


def _scale(
    shown: Mapping[int, float], limits: tuple[float, float] | None, middle: float | None
) -> tuple["Colormap", "Normalize"]:
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap, Normalize, TwoSlopeNorm

    low, high = limits or ((min(shown.values()), max(shown.values())) if shown else (0.0, 1.0))
    if limits is not None and not low < high:
        raise ValueError(f"`limits` needs two numbers, the smaller one first, got {limits}: put them in order")
    if middle is None:
        if low == high:
            low, high = low - 0.5, high + 0.5
        return colormaps["cividis"], Normalize(low, high)
    reach = max(high - middle, middle - low, 1e-9)
    return (
        LinearSegmentedColormap.from_list("blue to vermilion", [BLUE, "#FFFFFF", VERMILION]),
        TwoSlopeNorm(middle, middle - reach, middle + reach),
    )


def _figure() -> tuple["Figure", "Axes"]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(5.2, 6.2), facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.06, 0.17, 0.88, 0.88 * 5.2 / 6.2))
    axes.set_xlim(-1.18, 1.18)
    axes.set_ylim(-1.18, 1.18)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure, axes


def _segment(
    axes: "Axes",
    number: int,
    ring: int,
    first: float,
    width: float,
    value: float | None,
    colours: "Colormap",
    scale: "Normalize",
    decimals: int,
) -> None:
    from matplotlib.patches import Wedge

    outer = RADII[ring]
    inner = RADII[ring + 1] if ring < 3 else 0.0
    colour = EMPTY if value is None else colours(float(scale(value)))
    about: dict[str, Any] = {"hatch": "////", "edgecolor": "#B4BDC4"} if value is None else {"edgecolor": "none"}
    axes.add_patch(Wedge((0, 0), outer, first, first + width, width=outer - inner, facecolor=colour, lw=0, **about))
    for colour_, line in ((PAPER, 3.4), (RULE, 0.9)):  # seen between dark cells and between white ones
        frame = Wedge((0, 0), outer, first, first + width, width=outer - inner, fc="none", ec=colour_, lw=line)
        axes.add_patch(frame)
    angle, radius = np.deg2rad(first + width / 2), (outer + inner) / 2 if ring < 3 else 0.0
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    ink = INK if value is None or _bright(colour) else "#FFFFFF"
    if value is not None:
        shown = f"{value:.{decimals}f}"
        shown = shown.lstrip("-") if not float(shown) else shown
        axes.text(x, y + 0.012, shown, ha="center", va="center", color=ink,
                  fontsize=14 - 1.4 * max(len(shown) - 2, 0), fontweight="bold", family=FONT)  # fmt: skip
        axes.text(x, y - 0.075, str(number), ha="center", va="center", color=ink, fontsize=7, family=FONT)
    else:
        axes.text(x, y, str(number), ha="center", va="center", color=QUIET, fontsize=8, family=FONT,
                  bbox={"facecolor": EMPTY, "edgecolor": "none", "pad": 1.2})  # fmt: skip


def _bright(colour: tuple[float, ...]) -> bool:
    """Whether dark ink is the one to read on this colour: relative luminance of WCAG 2 above 0.18."""
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.18


def _words(figure: "Figure", title: str, facts: str) -> None:
    figure.text(0.06, 0.955, title, color=INK, fontsize=13, fontweight="bold", family=FONT, va="baseline")
    figure.text(0.06, 0.925, facts, color=QUIET, fontsize=8.5, family=FONT, va="baseline")
    figure.text(0.06, 0.02, RESEARCH_USE_ONLY, color=QUIET, fontsize=7, family=FONT, va="baseline")


def _colour_bar(figure: "Figure", colours: "Colormap", scale: "Normalize", unit: str, hatched: bool) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.patches import Rectangle

    axes = figure.add_axes((0.06, 0.105, 0.55 if hatched else 0.88, 0.022))
    bar = figure.colorbar(ScalarMappable(scale, colours), cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    axes.tick_params(labelsize=8, colors=QUIET, length=2)
    axes.set_xlabel(unit, fontsize=9, color=INK, family=FONT)
    if hatched:
        box = Rectangle((0.70, 0.105), 0.05, 0.022, transform=figure.transFigure, facecolor=EMPTY, hatch="////",
                        edgecolor="#B4BDC4", lw=0)  # fmt: skip
        figure.add_artist(box)
        figure.text(0.765, 0.109, "not measured", color=QUIET, fontsize=8, family=FONT, va="baseline")
