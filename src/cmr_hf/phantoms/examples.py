"""One phantom as labelled stacks to train on: every series, cines at end diastole and end systole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from .anatomy import Heart
from .people import pseudonym
from .protocol import Protocol, series_of
from .scanner import Scanner
from .scanning import Scanned, scan
from .signal import SHOWS_SCAR
from .stored import stored
from .truth import LANDMARKS


def examples_of(
    disease: str, seed: int, protocol: Protocol | None = None, scanner: Scanner | None = None, between: int = 0
) -> Iterator[dict[str, Any]]:
    """The stacks of one heart, one for each series and moment; equal arguments give equal ones.

    Args:
        disease (`str`): of `cmr_hf.phantoms.DISEASES`.
        seed (`int`): who the phantom is; the heart of `Heart.draw([disease], seed)`, as `write_study` has it.
        protocol (`Protocol`, *optional*): how it is scanned, by default `Protocol.drawn(seed)`.
        scanner (`Scanner`, *optional*): ranges of noise and other effects; `Scanner.ideal()` for none: T1 and T2 maps
            are the truth then.
        between (`int`, defaults to 0): how many more moments of each cine, drawn from its whole cycle.

    Yields:
        Fields of `cmr_hf.data.LabelledStack`, without source and licence. Weighted pictures are uint16; maps in ms and
        phase-sensitive ones float32. Slices are in order along row × column.
    """
    protocol = protocol or Protocol.drawn(seed)
    heart = Heart.draw([disease], seed)
    systole = float(heart.traits.es_time[0])
    about = {
        "patient": pseudonym(disease, seed),
        "disease": disease,
        "lge": "present" if bool(heart.traits.has_scar[0]) else "none",
    }
    more = torch.rand(between, generator=torch.Generator().manual_seed(seed + 104729)).tolist()
    for series in series_of(heart, protocol, seed, (0.0, systole, *more)):
        scanned = scan(heart, series, protocol, seed, scanner)
        held = stored(scanned)
        values = held.pixels if (held.slope, held.intercept) == (1.0, 0.0) else held.values
        for t in range(len(values)):
            for suffix, places in _grids(scanned):
                yield about | _stack(scanned, values, t, suffix, places)


def _grids(scanned: Scanned) -> list[tuple[str, list[int]]]:
    """Slices that share one grid, and what their series is called besides."""
    if scanned.is_stack:
        return [("", list(range(len(scanned.affines))))]
    return [(f"-{kind}", [index]) for index, kind in enumerate(scanned.kinds)]


def _stack(scanned: Scanned, values: np.ndarray, t: int, suffix: str, places: list[int]) -> dict[str, Any]:
    series = scanned.series
    several = len(places) > 1
    return {
        "images": values[t, places],
        "masks": scanned.masks[t, places],
        "drawn": (1, 2, 3, 4, 5, 6) if series.contrast in SHOWS_SCAR else (1, 2, 3, 4, 5),
        "spacing_mm": scanned.spacing_mm,
        "slice_distance_mm": scanned.distance_mm if several else None,
        "affine": scanned.stack_affine(places[0]),
        "series": series.name + suffix,
        "phase_index": t,
        "phase": ("ED", "ES")[t] if series.is_cine and t < 2 else "",
        "image_type": series.image_type,
        "view": scanned.views[places[0]],
        "landmarks": [_points(scanned.landmarks[t, place]) for place in places],
    }


def _points(points: np.ndarray) -> dict[str, tuple[float, float]]:
    """Name → (row, column) of those that are there."""
    pairs = zip(LANDMARKS, points.tolist(), strict=True)
    return {name: (row, column) for name, (row, column) in pairs if np.isfinite([row, column]).all()}
