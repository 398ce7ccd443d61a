"""A bend of space that keeps every volume: no heart is turned on a lathe.

Three shears in turn, each moving one coordinate by a smooth function of the other two. The Jacobian of each is 1, so
volumes that are known in closed form before stay exact after, and the way back is as simple as the way there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PARAMETERS = 24
_LONG_MM, _SHORT_MM = 95.0, 42.0


@dataclass
class Deformation:
    """From the bent heart to the regular one, and back; lengths in mm.

    Attributes:
        shape (`torch.Tensor` of shape `(b, 24)`, each -1 … 1): what makes each heart its own.
    """

    shape: Tensor

    def __post_init__(self) -> None:
        if self.shape.shape[-1] != PARAMETERS:
            raise ValueError(f"`shape` needs {PARAMETERS} numbers a heart, got {self.shape.shape[-1]}: see draw_traits")

    def _wave(self, first: int, u: Tensor, v: Tensor, long_mm: float, short_mm: float) -> Tensor:
        """Two sines over the plane (u, v) with amplitudes in mm, from four parameters."""
        k = self.shape[:, first : first + 4, None]  # (b, 4, 1)
        turn = 2 * torch.pi
        angle, bend = torch.pi * k[:, 0], torch.pi * k[:, 1]
        slow = torch.sin(turn / _LONG_MM * (angle.cos() * u + angle.sin() * v) + torch.pi * k[:, 2])
        fast = torch.sin(turn / _SHORT_MM * (bend.cos() * u + bend.sin() * v) + torch.pi * k[:, 3])
        return (long_mm * slow).add_(fast, alpha=short_mm)

    def _tilt(self, x: Tensor, y: Tensor) -> Tensor:
        """How far a point of the plane (x, y) lies along the axis; the base slopes, and its rim waves."""
        slope = self.shape[:, 8:10, None]
        lean_x, lean_y = 0.12 + 0.12 * slope[:, 0], 0.12 * slope[:, 1]  # the septal side lies deeper
        return (lean_x * x + lean_y * y).add_(self._wave(10, x, y, 0.0, 1.5))

    def straighten(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bent → regular; each coordinate of shape `(b, n)`."""
        x = x + self._wave(0, y, z, 3.2, 1.3)
        y = y + self._wave(4, x, z, 3.2, 1.3)
        return x, y, z + self._tilt(x, y)

    def bend(self, x: Tensor, y: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Regular → bent, the exact inverse of `straighten`."""
        z = z - self._tilt(x, y)
        y = y - self._wave(4, x, z, 3.2, 1.3)
        return x - self._wave(0, y, z, 3.2, 1.3), y, z

    def depth(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """Regular z of the points whose regular (x, y) and bent z are given, shape `(b, n)`."""
        return z + self._tilt(x, y)
