"""Phantoms rendered while a training reads them, on any device: as many hearts as it asks for, none of them twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..phantoms import (
    AORTA,
    CONTRASTS,
    DISEASES,
    LONG_AXES,
    OTHERS,
    Heart,
    Planes,
    join,
    long_axis,
    other_plane,
    sax_stack,
)
from ..phantoms import render as render_phantoms

SIDE = 224  # pixels of 1 mm
_SLICES = 10  # of a short-axis stack, of which one is taken


class PhantomStream:
    """Endless batches of phantoms; what is at a position is a pure function of (seed, position).

    Hearts are rendered `group` at a time in one contrast, a view each, and the hearts of a batch all differ.

    Args:
        batch_size (`int`): of this process.
        seed (`int`), rank (`int`), world_size (`int`): of `world_size` successive batches of the global order, this
            process takes the one at `rank`.
        group (`int`): pictures that share a contrast, rendered at once; large on a GPU. Part of the order.
        short_axis (`float`): share of short-axis views; the others are long-axis views, the aorta and odd planes.
        device (`str`): where to render.

    Attributes:
        position (`int`): images that all processes together have taken.
    """

    def __init__(
        self,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        group: int = 8,
        short_axis: float = 0.5,
        device: str = "cpu",
    ):
        if min(batch_size, group, world_size) < 1 or not 0 <= rank < world_size or not 0 <= short_axis <= 1:
            raise ValueError(
                "`batch_size`, `group` and `world_size` need 1 or more, `rank` 0 to world_size - 1 and `short_axis` 0 "
                f"to 1, got {batch_size}, {group}, {world_size}, {rank} and {short_axis}"
            )
        self.batch_size, self.seed, self.rank, self.world_size = batch_size, seed, rank, world_size
        self.group, self.short_axis, self.device = group, short_axis, device
        self.position = 0
        self._made: OrderedDict[int, tuple[Tensor, Tensor]] = OrderedDict()

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yields `image` (uint8, `(b, 224, 224)`), `extent` (int64, `(b, 2)`) and `index` (int64, `(b,)`)."""
        while True:
            start = self.position + self.rank * self.batch_size
            index = torch.arange(start, start + self.batch_size)
            images, extents = [], []
            for number in (index // self.group).unique().tolist():
                pictures, sizes = self._group(number)
                inside = index[index // self.group == number] - number * self.group
                images.append(pictures[inside.to(pictures.device)])
                extents.append(sizes[inside])
            self.position += self.batch_size * self.world_size
            yield {"image": torch.cat(images), "extent": torch.cat(extents), "index": index}

    def _group(self, number: int) -> tuple[Tensor, Tensor]:
        """Pictures and extents of the group with this number; the last two are kept, for batches that part one."""
        if number not in self._made:
            self._made[number] = self._render(number)
            if len(self._made) > 2:
                self._made.popitem(last=False)
        return self._made[number]

    def _render(self, number: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.seed, number])
        seeds = rng.integers(0, 2**31, size=4).tolist()
        heart = Heart.draw(rng.choice(DISEASES, size=self.group).tolist(), seeds[0], self.device)
        planes = [self._plane(heart.select(torch.tensor([one])), rng) for one in range(self.group)]
        planes = join(planes)
        planes.heart = torch.arange(self.group, device=planes.heart.device)
        contrast = str(rng.choice(list(CONTRASTS)))
        times = torch.as_tensor(rng.uniform(0, 1, self.group), dtype=torch.float32, device=self.device)
        pictures = windowed(render_phantoms(heart, planes, contrast, times, seed=seeds[1]).images)
        extents = torch.as_tensor(rng.integers(150, SIDE + 1, size=(self.group, 2)))
        extents[torch.as_tensor(rng.random(self.group) < 0.5)] = SIDE
        return pictures * _inside(extents.to(pictures.device)), extents

    def _plane(self, heart: Heart, rng: np.random.Generator) -> Planes:
        """A plane of one heart."""
        seed = int(rng.integers(0, 2**31))
        if rng.random() < self.short_axis:
            planes = sax_stack(heart, _SLICES, spacing_mm=1.0, size=SIDE, seed=seed)
            return planes.select(torch.tensor([int(rng.integers(0, _SLICES))]))
        view = str(rng.choice([*LONG_AXES, *LONG_AXES, *AORTA, *OTHERS]))
        make = long_axis if view in LONG_AXES else other_plane
        return make(heart, view, spacing_mm=1.0, size=SIDE, seed=seed)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, after the batch that it gave last."""
        return {"position": self.position, "seed": self.seed, "group": self.group}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where another stream was.

        Raises:
            ValueError: that stream had another seed or group.
        """
        for name in ("seed", "group"):
            if state.get(name) != getattr(self, name):
                raise ValueError(
                    f"`state` needs the same {name} as this stream, {getattr(self, name)}, got {state.get(name)}: "
                    "continue with the arguments of the run that saved it"
                )
        self.position = int(state["position"])


def windowed(images: Tensor) -> Tensor:
    """Pictures of shape `(n, h, w)` as uint8: the 0.1th and 99.9th percentile of each become 0 and 255."""
    ordered = images.flatten(1).sort(dim=1).values
    last = ordered.shape[1] - 1
    low, high = ordered[:, round(0.001 * last)], ordered[:, round(0.999 * last)]
    scale = 255 / (high - low).clamp(min=1e-6)
    return ((images - low[:, None, None]) * scale[:, None, None]).round_().clamp_(0, 255).byte()


def _inside(extents: Tensor) -> Tensor:
    """1 in the middle `extents` rows and columns, 0 in the padding, shape `(n, SIDE, SIDE)`."""
    start = (SIDE - extents) // 2
    at = torch.arange(SIDE, device=extents.device)
    inside = (at >= start[..., None]) & (at < (start + extents)[..., None])  # (n, 2, SIDE)
    return inside[:, 0, :, None] & inside[:, 1, None, :]
