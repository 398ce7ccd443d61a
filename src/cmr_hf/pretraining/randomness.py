"""Random numbers as a pure function of (seed, step, sample): equal on any device and for any split over processes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed integer
_FIRST = -4658895280553007687  # 0xBF58476D1CE4E5B9
_SECOND = -7723592293110705685  # 0x94D049BB133111EB


def mix(value: Tensor) -> Tensor:
    """Scrambles int64 values (Steele et al. 2014, *Fast splittable pseudorandom number generators*)."""
    value = (value ^ ((value >> 30) & ((1 << 34) - 1))) * _FIRST
    value = (value ^ ((value >> 27) & ((1 << 37) - 1))) * _SECOND
    return value ^ ((value >> 31) & ((1 << 33) - 1))


class Draws:
    """The random numbers of one batch; each call gives new ones, the same for the same arguments and order of calls.

    Args:
        seed (`int`): of the run.
        step (`int`): of the optimiser.
        keys (`torch.Tensor` of shape `(batch,)`, int64): identity of each sample, whichever process holds it.
    """

    def __init__(self, seed: int, step: int, keys: Tensor):
        start = torch.tensor([seed * 1_000_003 + 1, step], dtype=torch.int64, device=keys.device)
        scrambled = mix(start * _GOLDEN)
        self._state = mix(mix(keys ^ scrambled[0]) ^ scrambled[1])
        self._used = 0

    def uniform(self, low: float = 0.0, high: float = 1.0, count: int = 1) -> Tensor:
        """Values in [low, high), shape `(batch, count)`, float32."""
        counter = torch.arange(self._used + 1, self._used + count + 1, device=self._state.device)
        self._used += count
        bits = mix(self._state[:, None] + counter * _GOLDEN)
        return low + (high - low) * (((bits >> 40) & ((1 << 24) - 1)).float() / (1 << 24))

    def normal(self, count: int = 1) -> Tensor:
        """Standard normal values, shape `(batch, count)`."""
        return math.sqrt(2) * torch.erfinv((2 * self.uniform(count=count) - 1).clamp(-1 + 1e-7, 1 - 1e-7))

    def happens(self, probability: float, count: int = 1) -> Tensor:
        """True with this probability, shape `(batch, count)`."""
        return self.uniform(count=count) < probability


def step_seed(seed: int, step: int, rank: int) -> int:
    """Seed of torch's own generator in one step, so that a run that goes on draws what it would have drawn."""
    value = mix(torch.tensor((seed << 40) ^ (rank << 28)) ^ mix(torch.tensor(step * _GOLDEN % (1 << 62))))
    return int(value) & ((1 << 62) - 1)
