"""What is computed of hearts before a point is looked up: the moment, places on the wall, radii there."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor

from .wall_fields import WallFields


@dataclass
class Phase:
    """The heart at one moment; every field is a tensor of shape `(batch,)`."""

    base_mm: Tensor  # z of the valve plane
    length_mm: Tensor  # valve plane to epicardial apex
    squeeze: Tensor  # fraction by which the squared inner radius has shrunk
    rv_reach_mm: Tensor  # greatest thickness of the right ventricle
    shut: Tensor  # bool: the valves to the atria are closed

    def select(self, index: Tensor) -> Phase:
        """The phases of the hearts at the positions of `index`."""
        return Phase(**{one.name: getattr(self, one.name)[index] for one in fields(self)})


@dataclass
class Wall:
    """Squared radii of the left ventricle in mm² and the region's weight, at heights and angles."""

    inner: Tensor
    outer: Tensor
    region: Tensor


@dataclass
class Site:
    """Places in the regular heart, each field of shape `(b, n)`, and what is special there."""

    height: Tensor
    cosine: Tensor
    sine: Tensor
    angle: Tensor
    fields: WallFields
