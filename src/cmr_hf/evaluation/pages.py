"""A page per case: what the model says and what is true, on the same picture."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..clinical.colours import LABEL_COLOURS, OTHER
from ..clinical.figures import FONT, INK, PAPER, QUIET, heart_window
from ..clinical.writers import RESEARCH_USE_ONLY, whole_file
from ..data.schema import LABELS, LANDMARKS, UNKNOWN
from .measuring import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS, COLUMNS = 12, 6
PANEL_IN, EDGE_IN, GAP_IN, HEAD_IN, FOOT_IN = 1.9, 0.3, 0.05, 0.95, 0.42
LEAST_COLUMNS = 4  # so that the words fit
POINT_COLOURS = ("#56B4E9", "#E69F00")
POINT_MARGIN_MM = 60.0
TRUTH = "#FFFFFF"
SAMPLE = 64  # cases that are kept to find the median in; of fewer it is exact


class Gallery:
    """Keeps the worst, the best and about the median case of a long row, without keeping all of them.

    Args:
        worst (`int`, defaults to 1): how many of the worst.
        seed (`int`): of the sample in which the median is looked for.
    """

    def __init__(self, worst: int = 1, seed: int = 0):
        self._room = worst
        self._worst: list[tuple[float, int, Shown]] = []
        self._best: tuple[float, int, Shown] | None = None
        self._sample: list[Shown] = []
        self._all: list[float] = []
        self._generator = np.random.default_rng(seed)

    def add(self, shown: Shown) -> None:
        count = len(self._all)
        self._all.append(shown.badness)
        entry = (shown.badness, -count, shown)
        if len(self._worst) < self._room:
            heapq.heappush(self._worst, entry)
        else:
            heapq.heappushpop(self._worst, entry)
        if self._best is None or shown.badness < self._best[0]:
            self._best = entry
        if count < SAMPLE:
            self._sample.append(shown)
        elif (place := int(self._generator.integers(count + 1))) < SAMPLE:
            self._sample[place] = shown

    @property
    def worst(self) -> list[Shown]:
        """From the worst on."""
        return [shown for _, _, shown in sorted(self._worst, reverse=True, key=lambda entry: entry[:2])]

    def three(self) -> dict[str, Shown]:
        """ "best", "median" and "worst"; empty without cases."""
        if self._best is None:
            return {}
        middle = float(np.median(self._all))
        median = min(self._sample, key=lambda shown: abs(shown.badness - middle))
        return {"best": self._best[2], "median": median, "worst": self.worst[0]}


def draw_page(shown: Shown, path: str | Path, title: str, dpi: int = 130) -> Path:
    """Draws a case as PNG: the model's outlines, points or class in colour, the truth dashed or crossed in white.

    Args:
        shown (`Shown`)
        path (`str` or `Path`): file to write.
        title (`str`): first line; the second says how good it is.
        dpi (`int`): pixels per inch.
    """
    slices = _slices(shown)
    window = _window_of(shown)
    step_mm = shown.spacing_mm or (1.0, 1.0)
    high_mm, wide_mm = (window[1] - window[0]) * step_mm[0], (window[3] - window[2]) * step_mm[1]
    scale = PANEL_IN / max(high_mm, wide_mm)
    panel = wide_mm * scale, high_mm * scale
    columns = min(COLUMNS, len(slices))
    if columns < LEAST_COLUMNS:
        panel = panel[0] * LEAST_COLUMNS / columns * 0.8, panel[1] * LEAST_COLUMNS / columns * 0.8
    rows = -(-len(slices) // columns)
    width = max(2 * EDGE_IN + columns * (panel[0] + GAP_IN), LEAST_COLUMNS * PANEL_IN)
    size = width, HEAD_IN + FOOT_IN + rows * (panel[1] + GAP_IN)
    figure = _figure(size)
    for place, z in enumerate(slices):
        row, column = divmod(place, columns)
        left = (width - columns * (panel[0] + GAP_IN)) / 2 + column * (panel[0] + GAP_IN)
        bottom = size[1] - HEAD_IN - (row + 1) * (panel[1] + GAP_IN)
        axes = figure.add_axes((left / size[0], bottom / size[1], panel[0] / size[0], panel[1] / size[1]))
        _draw(axes, shown, z, window)
        if len(shown.images) > 1:
            _stamp(axes, f"{z + 1}")
    _words(figure, size, shown, title)
    path = Path(path)
    with whole_file(path) as part:
        figure.savefig(part, dpi=dpi, facecolor=PAPER, metadata={"Software": "cmr_hf"})
    return path


def _figure(size_in: tuple[float, float]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_in, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def _is_mask(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 3


def _drawn(masks: np.ndarray) -> np.ndarray:
    return np.where(masks == UNKNOWN, 0, masks)


def _slices(shown: Shown) -> list[int]:
    """Those that show anything, evenly spaced where there are too many."""
    found = np.arange(len(shown.images))
    if _is_mask(shown.truth):
        there = (_drawn(shown.truth) > 0) | (shown.predicted > 0)
        there = np.flatnonzero(there.any(axis=(1, 2)))
        found = there if len(there) else found
    if len(found) > MOST_PANELS:
        found = found[np.unique(np.linspace(0, len(found) - 1, MOST_PANELS).round().astype(int))]
    return found.tolist()


def _window_of(shown: Shown) -> tuple[int, int, int, int]:
    """First and last row, first and last column (last excluded) to show."""
    step_mm = shown.spacing_mm or (1.0, 1.0)
    size = shown.images.shape[-2:]
    if _is_mask(shown.truth):
        either = (_drawn(shown.truth) > 0) | (shown.predicted > 0)
        return heart_window(either.astype(np.uint8), step_mm)
    if isinstance(shown.truth, np.ndarray):
        points = np.concatenate((shown.truth, shown.predicted))
        points = points[np.isfinite(points).all(axis=1)]
        bounds = []
        for axis in (0, 1):
            margin = POINT_MARGIN_MM / step_mm[axis]
            low, high = points[:, axis].min() - margin, points[:, axis].max() + margin
            bounds += [max(0, int(low)), min(size[axis], int(high) + 1)]
        return tuple(bounds)
    return 0, size[0], 0, size[1]


def _draw(axes: Axes, shown: Shown, z: int, window: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = window
    crop = shown.images[z, top:bottom, left:right].astype(np.float32)
    low, high = np.percentile(crop, (1, 98)) if crop.size else (0.0, 1.0)
    extent = (left - 0.5, right - 0.5, bottom - 0.5, top - 0.5)
    axes.imshow(crop, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), extent=extent, aspect="auto",
                interpolation="bicubic")  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if _is_mask(shown.truth):
        for masks, dashed in ((shown.predicted[z], False), (_drawn(shown.truth[z]), True)):
            _outlines(axes, masks, dashed)
    elif isinstance(shown.truth, np.ndarray):
        _points(axes, shown.truth, shown.predicted)
    axes.set_xlim(left - 0.5, right - 0.5)
    axes.set_ylim(bottom - 0.5, top - 0.5)


def _stamp(axes: Axes, text: str) -> None:
    """In the upper left corner, legible on bright and dark."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2, foreground="black")]
    axes.text(
        0.04, 0.96, text, transform=axes.transAxes, color=INK, fontsize=8, va="top", family=FONT, path_effects=halo
    )


def _outlines(axes: Axes, labels: np.ndarray, dashed: bool) -> None:
    """Outer edge of each structure; the myocardium's with its cavity, so that it is the epicardium."""
    for label in sorted(set(np.unique(labels).tolist()) - {0}):
        mask = np.isin(labels, (1, 2, 6)) if label == 2 else labels == label
        soft = np.pad(mask.astype(np.float32), 1)
        for axis in (0, 1):
            soft = 0.5 * soft + 0.25 * (np.roll(soft, 1, axis) + np.roll(soft, -1, axis))
        soft = soft[1:-1, 1:-1]
        if soft.max() <= 0.5:
            continue
        colour = TRUTH if dashed else LABEL_COLOURS.get(label, OTHER)
        line = {"linewidths": 0.9, "linestyles": "dashed"} if dashed else {"linewidths": 1.4}
        axes.contour(soft, levels=[0.5], colors=[colour], **line)


def _points(axes: Axes, truth: np.ndarray, predicted: np.ndarray) -> None:
    for place, (at, found) in enumerate(zip(truth, predicted, strict=True)):
        colour = POINT_COLOURS[place % len(POINT_COLOURS)]
        axes.plot(found[1], found[0], "o", markersize=9, markerfacecolor="none", markeredgecolor=colour, mew=1.6)
        if np.isfinite(at).all():
            axes.plot(at[1], at[0], "+", markersize=9, color=TRUTH, mew=1.4)
            axes.plot([at[1], found[1]], [at[0], found[0]], color=colour, linewidth=0.8)


def _words(figure: Figure, size_in: tuple[float, float], shown: Shown, title: str) -> None:
    wide, high = size_in

    def write(text: str, x_in: float, down_in: float, size: float, colour: str = INK, **more: object) -> None:
        figure.text(x_in / wide, 1 - down_in / high, text, fontsize=size, color=colour, family=FONT, **more)

    room = int((wide - 2 * EDGE_IN) / 0.105)
    write(title if len(title) <= room else f"{title[: room - 1]}…", EDGE_IN, 0.36, 11.5, fontweight="bold")
    write(shown.words, EDGE_IN, 0.6, 9)
    x_in = EDGE_IN
    for text, colour in _legend(shown):
        write(text, x_in, 0.82, 8, colour)
        x_in += 0.066 * len(text) + 0.16
    write(RESEARCH_USE_ONLY, EDGE_IN, high - 0.16, 7, QUIET)


def _legend(shown: Shown) -> Iterable[tuple[str, str]]:
    if _is_mask(shown.truth):
        present: Sequence[int] = sorted((set(np.unique(shown.predicted)) | set(np.unique(_drawn(shown.truth)))) - {0})
        yield from ((LABELS.get(int(i), str(i)), LABEL_COLOURS.get(int(i), OTHER)) for i in present)
        yield "truth: dashed", TRUTH
    elif isinstance(shown.truth, np.ndarray):
        yield from zip(LANDMARKS, POINT_COLOURS, strict=True)
        yield "truth: +", TRUTH
