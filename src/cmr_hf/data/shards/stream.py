"""Images for training, shuffled, in batches, from a folder of shards: endless, resumable, in flat memory.

stream = ShardStream("shards", batch_size=64, rank=0, world_size=1, threads=2)
for batch in stream:
    batch["image"]          # uint8 (64, 224, 224)
    stream.state_dict()     # where to go on, as JSON
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .order import Window, WindowedOrder
from .records import SIDE
from .shard_set import decoded, load_manifest, open_shard, pictures, read_group

WINDOW_SHARDS = 8  # of 2048 images: 460 MB of pictures a window, and two windows at a time

Picture = tuple[int, Path, Any]  # number of the image, its shard, its PNG


class ShardStream:
    """Batches of images in an order that depends on the seed and the position alone.

    All ranks together go through the sequence in global batches of `batch_size * world_size` images, of which each
    takes its slice. Another number of ranks with the same global batch sees the same images in the same global
    batches, and so does a stream that goes on from a `state_dict`, in the middle of an epoch too.

    Args:
        folder (`str` or `Path`): the `--out` of `training/prepare.py`.
        batch_size (`int`): images of one rank.
        seed (`int`)
        rank, world_size (`int`): which slice of each global batch.
        threads (`int`): that decode; two batches a thread wait ready at most.
        epochs (`int`, *optional*): where to end, by default never. A last global batch that is not full is given as
            far as it goes, so the last ranks may get less of it, or nothing.
        window_shards (`int`): shards that are shuffled together, which a rank holds in memory as PNG, as far as they
            are its own, and once more to read ahead.

    Raises:
        ShardError: the folder has no manifest, or a shard is missing or damaged; the error names it.
        ValueError: another argument is out of range.
    """

    def __init__(
        self,
        folder: str | Path,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        threads: int = 2,
        epochs: int | None = None,
        window_shards: int = WINDOW_SHARDS,
    ):
        positive = {"batch_size": batch_size, "world_size": world_size, "threads": threads}
        positive |= {"epochs": 1 if epochs is None else epochs, "window_shards": window_shards}
        for name, value in positive.items():
            if value < 1:
                raise ValueError(f"`{name}` needs to be 1 or more, got {value}")
        if not 0 <= rank < world_size:
            raise ValueError(f"`rank` needs 0 to {world_size - 1} for a `world_size` of {world_size}, got {rank}")
        self.folder, self.batch_size, self.seed = Path(folder), batch_size, seed
        self.rank, self.world_size, self.threads, self.epochs = rank, world_size, threads, epochs
        shards = load_manifest(folder)["shards"]
        self.paths = [self.folder / "shards" / shard["file"] for shard in shards]
        self.order = WindowedOrder([shard["images"] for shard in shards], seed, window_shards)
        self.fingerprint = hashlib.sha256(
            json.dumps([[shard["file"], shard["images"]] for shard in shards]).encode()
        ).hexdigest()[:16]
        self.position = 0  # images that all ranks together have been given

    def __len__(self) -> int:
        """Images of one epoch."""
        return len(self.order)

    @property
    def epoch(self) -> int:
        return self.position // len(self)

    def state_dict(self) -> dict[str, int | str]:
        """Where the stream is, after the batch that it gave last."""
        return {
            "position": self.position,
            "seed": self.seed,
            "window_shards": self.order.window_shards,
            "shards": self.fingerprint,
        }

    def load_state_dict(self, state: dict[str, int | str]) -> None:
        """Goes on where another stream was.

        Raises:
            ValueError: that stream had other shards, another seed or window.
        """
        for name, own in self.state_dict().items():
            if name != "position" and state.get(name) != own:
                raise ValueError(
                    f"`state` needs the same {name} as this stream, {own!r}, got {state.get(name)!r}: continue with "
                    "the folder and arguments of the run that saved it"
                )
        self.position = int(state["position"])

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yields `image` (uint8, `(b, 224, 224)`), `extent` (int64, `(b, 2)`, height and width without padding) and
        `index` (int64, `(b,)`, number of the image in `ShardSet`)."""
        end = None if self.epochs is None else self.epochs * len(self)
        if end is not None and self.position >= end:
            self.position = 0
        step = self.batch_size * self.world_size
        reader, decoders = ThreadPoolExecutor(1), ThreadPoolExecutor(self.threads)
        waiting: deque[Future] = deque()
        try:
            mine = self._pictures(self.position, end, reader)
            for start in range(self.position, end, step) if end is not None else _count(self.position, step):
                size = self.batch_size
                if end is not None:
                    size = min(size, max(0, end - start - self.rank * size))
                waiting.append(decoders.submit(_batch, list(islice(mine, size))))
                if len(waiting) > 2 * self.threads:
                    yield from self._next(waiting, step, end)
            while waiting:
                yield from self._next(waiting, step, end)
        finally:
            for pool in (reader, decoders):
                pool.shutdown(cancel_futures=True)

    def _next(self, waiting: deque[Future], step: int, end: int | None) -> Iterator[dict[str, torch.Tensor]]:
        batch = waiting.popleft().result()
        self.position += step
        if end is not None:
            self.position = min(self.position, end)
        if len(batch["index"]):
            yield batch

    def _pictures(self, start: int, end: int | None, reader: ThreadPoolExecutor) -> Iterator[Picture]:
        """This rank's pictures in order; the next window is read while one is used."""
        ahead: Future | None = None
        for window in self.order.windows(start):
            if end is not None and window.start >= end:
                break
            following = reader.submit(self._load, window, start, end)
            if ahead is not None:
                yield from ahead.result()
            ahead = following
        if ahead is not None:
            yield from ahead.result()

    def _load(self, window: Window, start: int, end: int | None) -> list[Picture]:
        """Reads what this rank needs of a window."""
        position = window.start + np.arange(len(window.images))
        step = self.batch_size * self.world_size
        mine = (position - start) % step // self.batch_size == self.rank
        mine &= (position >= start) & (end is None or position < end)
        images = window.images[mine]
        places: dict[int, list[int]] = defaultdict(list)  # shard -> places in `images`
        shards = self.order.shard_of(images)
        for place, shard in enumerate(shards.tolist()):
            places[shard].append(place)
        found: list[Picture | None] = [None] * len(images)
        for shard, here in places.items():
            path = self.paths[shard]
            rows = images[here] - self.order.first[shard]
            for place, data in zip(here, _rows(path, rows), strict=True):
                found[place] = int(images[place]), path, data
        return found


def _rows(path: Path, rows: np.ndarray) -> list[Any]:
    """PNG files of some rows of a shard, in that order; what is not asked for is not kept."""
    found: list[Any] = [None] * len(rows)
    with open_shard(path) as file:
        first = 0
        for group in range(file.num_row_groups):
            last = first + file.metadata.row_group(group).num_rows
            here = np.flatnonzero((rows >= first) & (rows < last))
            if len(here):
                column = pictures(read_group(file, path, group, ["image.bytes"]))
                wanted = rows[here] - first
                if len(here) < len(column):
                    column, wanted = column.take(wanted), np.arange(len(here))
                for place, row in zip(here.tolist(), wanted.tolist(), strict=True):
                    found[place] = column[row].as_buffer()
            first = last
    return found


def _batch(chosen: list[Picture]) -> dict[str, torch.Tensor]:
    images = np.zeros((len(chosen), SIDE, SIDE), np.uint8)
    extents = [decoded(data, canvas, path) for canvas, (_, path, data) in zip(images, chosen, strict=True)]
    return {
        "image": torch.from_numpy(images),
        "extent": torch.tensor(extents, dtype=torch.int64).reshape(-1, 2),
        "index": torch.tensor([number for number, _, _ in chosen], dtype=torch.int64),
    }


def _count(start: int, step: int) -> Iterator[int]:
    while True:
        yield start
        start += step
