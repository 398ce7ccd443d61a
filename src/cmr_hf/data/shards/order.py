"""The order in which images are seen: a pure function of the seed and the position, the same for ever.

Shards are shuffled anew in each epoch and taken in windows of a few; images are shuffled within their window. So a
reader holds one window, and any position is found without the ones before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Window:
    """Images that are shuffled together.

    Attributes:
        start (`int`): position of the first of them, counted over all epochs.
        images (`np.ndarray` of shape `(n,)`, int64): their numbers, in order.
    """

    start: int
    images: np.ndarray


def shuffled(count: int, *key: int) -> np.ndarray:
    """A permutation of `count` numbers by the hash of each (splitmix64), so that no library's version changes it.

    Source: Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195.
    """
    state = 0
    for word in key:
        state = int(_mixed(np.array([(state ^ word) & _MASK], np.uint64))[0])
    return np.argsort(_mixed(np.arange(count, dtype=np.uint64) ^ np.uint64(state)), kind="stable")


def _mixed(values: np.ndarray) -> np.ndarray:
    values = values + np.uint64(0x9E3779B97F4A7C15)  # modulo 2**64, as are the products
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class WindowedOrder:
    """The order of all images over all epochs.

    Args:
        counts (sequence of `int`): images of each shard.
        seed (`int`)
        window_shards (`int`): shards that are shuffled together.
    """

    def __init__(self, counts: Sequence[int], seed: int, window_shards: int):
        self.counts = np.asarray(counts, np.int64)
        self.first = np.concatenate([[0], np.cumsum(self.counts)])  # number of each shard's first image
        self.seed, self.window_shards = seed, window_shards

    def __len__(self) -> int:
        return int(self.first[-1])

    def shard_of(self, images: np.ndarray) -> np.ndarray:
        """Which shard each image lies in."""
        return np.searchsorted(self.first, images, side="right") - 1

    def windows(self, position: int) -> Iterator[Window]:
        """Windows from the one that holds `position` on, without end."""
        epoch = position // len(self)
        while True:
            start = epoch * len(self)
            shards = shuffled(len(self.counts), self.seed, epoch)
            for number, at in enumerate(range(0, len(shards), self.window_shards)):
                chosen = shards[at : at + self.window_shards]
                end = start + int(self.counts[chosen].sum())
                if end > position:
                    images = np.concatenate([np.arange(self.first[one], self.first[one + 1]) for one in chosen])
                    yield Window(start, images[shuffled(len(images), self.seed, epoch, number + 1)])
                start = end
            epoch += 1
