"""Where images come from: an endless stream of batches whose order is a pure function of (seed, position).

Every stream yields `image` (uint8, `(b, side, side)`), `extent` (int64, `(b, 2)`, real rows and columns) and `index`
(int64, `(b,)`), and has a `state_dict` of JSON values, so that a run goes on in mid-epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from .randomness import mix


class Stream(Protocol):
    """What `cmr_hf.data.shards.ShardStream` and its like offer."""

    def __iter__(self) -> Iterator[dict[str, Tensor]]: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class MemoryStream:
    """Images in memory, shuffled anew in each epoch.

    Args:
        images (`torch.Tensor` of shape `(n, side, side)`, uint8).
        batch_size (`int`): of this process.
        extents (`torch.Tensor` of shape `(n, 2)`, *optional*): real rows and columns, by default all.
        seed (`int`), rank (`int`), world_size (`int`): of `world_size` successive batches of the global order, this
            process takes the one at `rank`.
    """

    def __init__(
        self,
        images: Tensor,
        batch_size: int,
        extents: Tensor | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        if images.ndim != 3 or not len(images):
            raise ValueError(f"`images` must be (n, side, side) with n >= 1, got {tuple(images.shape)}: give some")
        self.images, self.batch_size, self.seed = images, batch_size, seed
        self.extents = torch.full((len(images), 2), images.shape[-1]) if extents is None else extents
        self.rank, self.world_size = rank, world_size
        self.position = 0  # images that all processes together have taken
        self._order: tuple[int, Tensor] | None = None

    def _index(self, position: int) -> int:
        epoch, place = divmod(position, len(self.images))
        if self._order is None or self._order[0] != epoch:
            keys = mix(mix(torch.arange(len(self.images)) + (epoch << 32)) ^ self.seed)
            self._order = epoch, keys.argsort()
        return int(self._order[1][place])

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        while True:
            start = self.position + self.rank * self.batch_size
            index = torch.tensor([self._index(start + offset) for offset in range(self.batch_size)])
            self.position += self.batch_size * self.world_size
            yield {"image": self.images[index], "extent": self.extents[index], "index": index}

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = int(state["position"])


def apportion(batch: int, weights: Sequence[float]) -> list[int]:
    """How many images of a batch each source gives: largest remainders, at least one each.

    Raises:
        ValueError: weights that are not positive, or more sources than images.
    """
    if min(weights) <= 0 or batch < len(weights):
        raise ValueError(
            f"`weights` need to be positive and no more than the {batch} images of a batch, got {list(weights)}: "
            "leave a source out, or take a larger micro_batch"
        )
    shares = [batch * weight / sum(weights) for weight in weights]
    counts = [max(1, int(share)) for share in shares]
    while sum(counts) != batch:
        lack = [share - count for share, count in zip(shares, counts, strict=True)]
        step = 1 if sum(counts) < batch else -1
        able = [index for index in range(len(counts)) if counts[index] + step >= 1]
        counts[max(able, key=lambda index: step * lack[index])] += step
    return counts


class Mixture:
    """Batches with a fixed number of images from each stream.

    Adds `key`, the identity of each image among all streams, which its views are drawn from.

    Args:
        streams (dict of `Stream`): by name; each yields its part of a batch.
    """

    def __init__(self, streams: dict[str, Stream]):
        self.streams = streams
        self._iterators: list[Iterator] | None = None

    def __iter__(self) -> Mixture:
        return self

    def __next__(self) -> dict[str, Tensor]:
        if self._iterators is None:
            self._iterators = [iter(stream) for stream in self.streams.values()]
        parts = [next(iterator) for iterator in self._iterators]
        batch = {name: torch.cat([part[name] for part in parts]) for name in ("image", "extent", "index")}
        keys = [part["index"].long() + (number << 48) for number, part in enumerate(parts)]
        return batch | {"key": torch.cat(keys)}

    def state_dict(self) -> dict[str, Any]:
        return {name: stream.state_dict() for name, stream in self.streams.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if set(state) != set(self.streams):
            raise ValueError(
                f"`state` must be of the sources {sorted(self.streams)}, got {sorted(state)}: "
                "go on with the same `data`, or start another output_dir with init_from"
            )
        for name, stream in self.streams.items():
            stream.load_state_dict(state[name])
        self._iterators = None
