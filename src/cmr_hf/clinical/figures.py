"""One picture per stack: end-diastole above end-systole, slices side by side, outlines on top.

All lengths are true: panels are laid out in mm, so that non-square pixels are drawn as they are. Every panel
of a slice shares one window (to the 98th percentile of that slice), so that phases can be compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .colours import LABEL_COLOURS, OTHER, rgb_of
from .volumes import LABEL_NAMES, LV, MYOCARDIUM, SCAR, as_stack
from .writers import RESEARCH_USE_ONLY, whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER, INK, QUIET, RULE = "#101418", "#F2F4F5", "#98A3AD", "#2B343C"
FONT = "DejaVu Sans"  # ships with matplotlib: the same picture everywhere
MARGIN_MM = 18.0
SMALLEST_FIELD_MM = 96.0
MOST_COLUMNS = 8
MOST_SLICES = 24
LEAST_WIDTH_IN, TALLEST_IN = 7.2, 6.0
# inches
PANEL_IN, EDGE_IN, GAP_IN, ROW_LABEL_IN, HEAD_IN, FOOT_IN, BLOCK_IN = 1.9, 0.32, 0.04, 0.98, 0.92, 0.5, 0.16


@dataclass(frozen=True)
class _Layout:
    """Where the panels go. `window` is first row, last row, first column, last column (last excluded)."""

    slices: list[int]
    rows: list[tuple[str, int]]
    columns: int
    window: tuple[int, int, int, int]
    panel_in: tuple[float, float]
    row_label_in: float

    @property
    def blocks(self) -> int:
        return -(-len(self.slices) // self.columns)

    @property
    def size_in(self) -> tuple[float, float]:
        wide, high = self.panel_in
        width = 2 * EDGE_IN + self.row_label_in + self.columns * (wide + GAP_IN) - GAP_IN
        rows = self.blocks * len(self.rows)
        return max(width, LEAST_WIDTH_IN), HEAD_IN + FOOT_IN + rows * (high + GAP_IN) + (self.blocks - 1) * BLOCK_IN

    def panel_box_in(self, block: int, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, bottom, width, height of a panel, from the lower left corner of the figure."""
        wide, high = self.panel_in
        down = HEAD_IN + (block * len(self.rows) + row + 1) * (high + GAP_IN) - GAP_IN + block * BLOCK_IN
        left = EDGE_IN + self.row_label_in + column * (wide + GAP_IN)
        return left, self.size_in[1] - down, wide, high


def overlay_figure(
    pixels: np.ndarray,
    labels: np.ndarray,
    spacing_mm: Sequence[float] | None,
    path: str | Path,
    *,
    names: Mapping[int, str] | None = None,
    phases: Mapping[str, int | None] | None = None,
    slice_distance_mm: float | None = None,
    title: str = "Segmentation",
    facts: str = "",
    full_field: bool = False,
    dpi: int = 160,
) -> Path:
    """Draw outlines of the anatomy over the images and save them as PNG.

    Args:
        pixels (np.ndarray of shape (t, z, y, x), (z, y, x) or (y, x)): images.
        labels (np.ndarray of the same shape): label map.
        spacing_mm: distance of rows and of columns in mm; None draws square pixels and no scale bar.
        path: PNG file to write.
        names: label id -> name, for the legend.
        phases: row name -> phase index, such as `{"ED": 0, "ES": 9}`; by default the phases of most and of
            least LV. Entries that are None are not drawn.
        slice_distance_mm: only written under the title.
        title: first line.
        facts: right of the title, such as `"EF 58 %"`.
        full_field: draw the whole field of view instead of the surroundings of the heart.
        dpi: pixels per inch.

    Returns:
        The path written.
    """
    pixels, labels = as_stack(pixels), as_stack(labels)
    if pixels.shape != labels.shape:
        raise ValueError(f"`pixels` and `labels` need one shape, got {pixels.shape} and {labels.shape}")
    layout = _layout(labels, spacing_mm or (1.0, 1.0), phases, full_field)
    figure = _figure(layout)
    y0, y1, x0, x1 = layout.window
    for position, z in enumerate(layout.slices):
        block, column = divmod(position, layout.columns)
        # one window for all phases of a slice; views, no copies of the stack
        low, high = _window(pixels[[t for _, t in layout.rows], z])
        for row, (_, t) in enumerate(layout.rows):
            axes = _panel(figure, layout.panel_box_in(block, row, column), layout.size_in)
            extent = (-0.5, x1 - x0 - 0.5, y1 - y0 - 0.5, -0.5)
            crop = np.nan_to_num(pixels[t, z, y0:y1, x0:x1].astype(np.float32), posinf=high, neginf=low)
            axes.imshow(crop, cmap="gray", vmin=low, vmax=high, interpolation="bicubic", extent=extent, aspect="auto")
            _outlines(axes, labels[t, z, y0:y1, x0:x1])
            if row == 0 and len(layout.slices) > 1:
                _stamp(axes, f"slice {z + 1}" if position == 0 else f"{z + 1}", 0.035, 0.965, "top", 8.5)
            if spacing_mm is not None and position == 0 and row == len(layout.rows) - 1:
                _scale_bar(axes, spacing_mm[1], x1 - x0)
    geometry = _geometry(pixels.shape, len(layout.slices), spacing_mm, slice_distance_mm)
    _words(figure, layout, len(pixels), title, geometry, facts)
    _legend(figure, layout, labels, LABEL_NAMES if names is None else {int(i): n for i, n in names.items()})
    path = Path(path)
    with whole_file(path) as part:
        figure.savefig(part, dpi=dpi, facecolor=PAPER, metadata={"Software": "cmr_hf"})
    return path


def heart_window(labels: np.ndarray, spacing_mm: Sequence[float]) -> tuple[int, int, int, int]:
    """First and last row, first and last column (last excluded) around everything labelled, with a margin.

    Far-off specks do not widen it: the outermost 0.5 % of the labelled pixels on each side are ignored.
    Without any label it is the whole field of view.
    """
    stack = as_stack(labels)
    # (t, z, y, x) -> (y, x): how often each pixel is labelled
    counts = np.count_nonzero(stack, axis=(0, 1))
    if not counts.any():
        return 0, stack.shape[2], 0, stack.shape[3]
    bounds = []
    for axis, step_mm in ((1, spacing_mm[0]), (0, spacing_mm[1])):
        share = counts.sum(axis=axis).cumsum() / counts.sum()
        first, last = int(np.searchsorted(share, 0.005)), int(np.searchsorted(share, 0.995))
        half = max((last - first) / 2 + MARGIN_MM / step_mm, SMALLEST_FIELD_MM / 2 / step_mm)
        middle = (first + last) / 2
        bounds += [max(0, round(middle - half)), min(len(share), round(middle + half) + 1)]
    return tuple(bounds)


def _layout(
    labels: np.ndarray, spacing_mm: Sequence[float], phases: Mapping[str, int | None] | None, full_field: bool
) -> _Layout:
    slices = list(range(labels.shape[1]))
    if len(slices) > MOST_SLICES:
        slices = np.unique(np.linspace(0, len(slices) - 1, MOST_SLICES).round().astype(int)).tolist()
    rows = _rows(labels, phases)
    shown = labels[[t for _, t in rows]]
    window = heart_window(np.zeros_like(shown) if full_field else shown, spacing_mm)
    high_mm = (window[1] - window[0]) * spacing_mm[0]
    wide_mm = (window[3] - window[2]) * spacing_mm[1]
    per_block = -(-len(slices) // -(-len(slices) // MOST_COLUMNS))
    row_label_in = ROW_LABEL_IN if len(labels) > 1 else 0.0
    # few panels are drawn larger, so that title and legend have room above them
    room_in = (LEAST_WIDTH_IN - 2 * EDGE_IN - row_label_in) / per_block - GAP_IN
    scale = max(PANEL_IN / max(high_mm, wide_mm), min(room_in / wide_mm, TALLEST_IN / high_mm))
    return _Layout(slices, rows, per_block, window, (wide_mm * scale, high_mm * scale), row_label_in)


def _rows(labels: np.ndarray, phases: Mapping[str, int | None] | None) -> list[tuple[str, int]]:
    rows = [(name, int(t)) for name, t in (phases or {}).items() if t is not None]
    if rows:
        return rows
    lv = np.count_nonzero(labels == LV, axis=(1, 2, 3))
    if len(labels) == 1 or not lv.any():
        return [("", 0)]
    return [("ED", int(lv.argmax())), ("ES", int(np.where(lv > 0, lv, lv.max() + 1).argmin()))]


def _figure(layout: _Layout) -> "Figure":
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=layout.size_in, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def _panel(figure: "Figure", box_in: tuple[float, float, float, float], size_in: tuple[float, float]) -> "Axes":
    left, bottom, wide, high = box_in
    axes = figure.add_axes((left / size_in[0], bottom / size_in[1], wide / size_in[0], high / size_in[1]))
    axes.set_facecolor("black")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _window(images: np.ndarray) -> tuple[float, float]:
    values = np.asarray(images, dtype=np.float32)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(values, (1, 98))
    return float(low), float(high if high > low else low + 1)


def _outlines(axes: "Axes", labels: np.ndarray) -> None:
    """A faint fill and a line per structure: the LV's is the endocardium, the myocardium's the epicardium."""
    present = set(np.unique(labels).tolist()) - {0}
    wall = (MYOCARDIUM, SCAR)
    # inner structures last, so that their lines are on top
    order = sorted(present - {LV, SCAR}) + sorted(present & {SCAR}) + sorted(present & {LV})
    for label in order:
        colour = LABEL_COLOURS.get(label, OTHER)
        ids = wall if label == MYOCARDIUM else (label,)
        outline = (*wall, LV) if label == MYOCARDIUM else ids
        tint = np.zeros((*labels.shape, 4), dtype=np.float32)
        tint[np.isin(labels, ids)] = (*rgb_of(label), 0.13)
        extent = (-0.5, labels.shape[1] - 0.5, labels.shape[0] - 0.5, -0.5)
        axes.imshow(tint, interpolation="nearest", extent=extent, aspect="auto")
        soft = _softened(np.isin(labels, outline))
        if soft.max() > 0.5:
            for width, line, alpha in ((2.4, "black", 0.35), (1.25, colour, 1.0)):
                axes.contour(soft, levels=[0.5], colors=[line], linewidths=width, alpha=alpha)


def _softened(mask: np.ndarray) -> np.ndarray:
    """Binomial 3 x 3 smoothing: rounds the stairs of the line and moves it by less than half a pixel."""
    soft = np.pad(mask.astype(np.float32), 1)
    for axis in (0, 1):
        soft = 0.5 * soft + 0.25 * (np.roll(soft, 1, axis) + np.roll(soft, -1, axis))
    return soft[1:-1, 1:-1]


def _stamp(axes: "Axes", text: str, x: float, y: float, va: str, size: float, ha: str = "left") -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2, foreground="black", alpha=0.7)]
    axes.text(
        x,
        y,
        text,
        transform=axes.transAxes,
        ha=ha,
        va=va,
        color=INK,
        fontsize=size,
        family=FONT,
        path_effects=halo,
    )


def _scale_bar(axes: "Axes", column_mm: float, columns: int) -> None:
    field_mm = columns * column_mm
    length_mm = max((v for v in (5, 10, 20, 50, 100) if v < 0.45 * field_mm), default=5)
    share = length_mm / field_mm
    for width, colour in ((4, "black"), (1.8, INK)):
        axes.plot(
            [0.04, 0.04 + share],
            [0.05, 0.05],
            transform=axes.transAxes,
            color=colour,
            linewidth=width,
            solid_capstyle="butt",
        )
    _stamp(axes, f"{length_mm} mm", 0.04, 0.075, "bottom", 7)


def _words(figure: "Figure", layout: _Layout, phases: int, title: str, geometry: str, facts: str) -> None:
    """Title, geometry, facts, row names and footer."""
    wide, high = layout.size_in

    def write(text: str, x_in: float, down_in: float, size: float, colour: str = INK, **kwargs: Any) -> Any:
        return figure.text(x_in / wide, 1 - down_in / high, text, fontsize=size, color=colour, family=FONT, **kwargs)

    room = int((wide - 2 * EDGE_IN) / 0.14 - 0.75 * len(facts))
    short = title if len(title) <= room else f"{title[: room - 1]}…"
    write(short, EDGE_IN, 0.42, 13, fontweight="bold", va="baseline")
    write(geometry, EDGE_IN, 0.66, 8.5, QUIET, va="baseline")
    write(facts, wide - EDGE_IN, 0.42, 11, ha="right", va="baseline")
    for block in range(layout.blocks):
        for row, (name, t) in enumerate(layout.rows):
            _, bottom, _, panel = layout.panel_box_in(block, row, 0)
            middle = high - bottom - panel / 2
            number = f"phase {t + 1} of {phases}" if phases > 1 else ""
            if name:
                write(name, EDGE_IN, middle, 15, fontweight="bold", va="bottom")
            write(number, EDGE_IN, middle + 0.05, 7.5, QUIET, va="top")
    write(RESEARCH_USE_ONLY, EDGE_IN, high - 0.2, 7.5, QUIET, va="baseline")
    write("cmr_hf", wide - EDGE_IN, high - 0.2, 7.5, QUIET, va="baseline", ha="right")


def _geometry(
    shape: tuple[int, ...],
    shown: int,
    spacing_mm: Sequence[float] | None,
    slice_distance_mm: float | None,
) -> str:
    phases, slices = shape[:2]
    count = f"{slices} slice{'s' * (slices > 1)}"
    parts = [count if shown == slices else f"{shown} of {count}"]
    if phases > 1:
        parts.append(f"{phases} phases")
    if spacing_mm is None:
        parts.append("pixel spacing unknown")
    else:
        parts.append(f"{spacing_mm[0]:.2f} × {spacing_mm[1]:.2f} mm pixels")
    if slice_distance_mm and slices > 1:
        parts.append(f"slices {slice_distance_mm:.1f} mm apart")
    return "   ·   ".join(parts)


def _legend(figure: "Figure", layout: _Layout, labels: np.ndarray, names: Mapping[int, str]) -> None:
    from matplotlib.patches import Patch

    present = np.flatnonzero(np.bincount(labels.ravel().astype(np.uint8), minlength=256))
    shown = [i for i in present.tolist() if i != 0]
    handles = [
        Patch(facecolor=LABEL_COLOURS.get(i, OTHER), edgecolor="none", label=names.get(i, f"label {i}")) for i in shown
    ]
    wide, high = layout.size_in
    if not handles:
        figure.text(
            1 - EDGE_IN / wide,
            1 - 0.66 / high,
            "nothing was segmented",
            color=QUIET,
            fontsize=8.5,
            family=FONT,
            ha="right",
            va="baseline",
        )
        return
    legend = figure.legend(
        handles=handles,
        loc="center right",
        bbox_to_anchor=(1 - EDGE_IN / wide, 1 - 0.62 / high),
        ncols=len(handles),
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=0.9,
        handleheight=0.9,
        columnspacing=1.4,
        handletextpad=0.5,
        prop={"size": 8.5, "family": FONT},
    )
    for text in legend.get_texts():
        text.set_color(INK)
