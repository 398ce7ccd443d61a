"""Imaging planes through a phantom: where every pixel lies in the patient.

A plane's affine takes (column, row, slice) to LPS in mm; pixel (0, 0) is a centre. Pictures are turned as scanners
turn them: near axial and coronal ones have the patient's left on the right, near sagittal ones the front on the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .anatomy import Heart
from .places import Phase
from .vessels import aorta_path, pulmonary_path, tricuspid_angle

LONG_AXES = ("2CH", "3CH", "4CH")
AORTA = ("candy cane", "ascending")
OTHERS = ("LVOT", "RVOT", "axial", "coronal", "off-axis")
_LAST_INSERTION = 0.88  # of the right ventricle's length: below, it is a sliver and nobody marks its insertions


@dataclass
class Planes:
    """Single slices, `m` of them, of one matrix size.

    Attributes:
        affine (`torch.Tensor` of shape `(m, 4, 4)`, float32): (column, row, slice) → LPS mm; the third column is as
            long as the distance between slices, centre to centre.
        heart (`torch.Tensor` of shape `(m,)`, int64): index of the heart that each one cuts.
        thickness_mm (`torch.Tensor` of shape `(m,)`).
        size (`int`): rows and columns.
        view (list of `str`): of `cmr_hf.data.VIEWS`.
        kind (list of `str`): more closely, "LVOT" where the view is "other".
        slice_index (`torch.Tensor` of shape `(m,)`, int64): position in its stack, from the base.
    """

    affine: Tensor
    heart: Tensor
    thickness_mm: Tensor
    size: int
    view: list[str]
    kind: list[str]
    slice_index: Tensor

    def __len__(self) -> int:
        return len(self.heart)

    def points(self, through: int = 1, in_plane: int = 1) -> Tensor:
        """Sample points in LPS mm, shape `(m, through, size * in_plane, size * in_plane, 3)`.

        Args:
            through (`int`): samples through the thickness, at equal distances, none on its faces. Layers are staggered
                within the pixel, so that they smooth its outlines too.
            in_plane (`int`): samples along each side of a pixel, likewise.
        """
        if through < 1 or in_plane < 1:
            raise ValueError(
                f"`through` and `in_plane` need whole numbers from 1, got {through} and {in_plane}: use 1 for the "
                "middle of the slice alone"
            )
        column, row, normal, origin = self.affine[:, :3].unbind(2)
        side = (torch.arange(self.size * in_plane, device=origin.device) + 0.5) / in_plane - 0.5
        deep = (torch.arange(through, device=origin.device) + 0.5) / through - 0.5
        normal = normal / normal.norm(dim=1, keepdim=True) * self.thickness_mm[:, None]
        place = origin[:, None, None, None] + deep[None, :, None, None, None] * normal[:, None, None, None]
        diagonal = (row + column) / in_plane  # of a pixel
        place = place + deep[None, :, None, None, None] * diagonal[:, None, None, None]
        place = place + side[None, None, :, None, None] * row[:, None, None, None]
        return place + side[None, None, None, :, None] * column[:, None, None, None]

    def to_pixels(self, points: Tensor) -> Tensor:
        """LPS mm of shape `(m, n, 3)` → (row, column, slice) in pixels, of the same shape."""
        back = torch.linalg.inv(self.affine.double())
        found = points.double() @ back[:, :3, :3].transpose(1, 2) + back[:, None, :3, 3]
        return found[..., [1, 0, 2]].float()

    def select(self, index: Tensor) -> Planes:
        """The planes at the positions of `index`."""
        places = index.tolist()
        return Planes(
            self.affine[index],
            self.heart[index],
            self.thickness_mm[index],
            self.size,
            [self.view[place] for place in places],
            [self.kind[place] for place in places],
            self.slice_index[index],
        )

    def insertions(self, heart: Heart, phase: Phase) -> Tensor:
        """Anterior and inferior RV insertion as (row, column) in pixels, shape `(m, 2, 2)`; NaN where undefined.

        Args:
            heart, phase: of each plane, that is `heart.select(planes.heart)` and its phase.
        """
        middle = (self.size - 1) / 2
        centre = self.affine[:, :3, 3] + middle * (self.affine[:, :3, 0] + self.affine[:, :3, 1])
        depth = heart.to_heart(centre[:, None])[:, :, 2]
        points, height = heart.insertions(phase, depth)
        found = self.to_pixels(points[:, 0])[..., :2]
        short_axis = torch.tensor([view == "SAX" for view in self.view], device=found.device)
        first = 0.02 + heart.rv_start[:, None]
        defined = short_axis & ((height[:, 0] > first) & (height[:, 0] < _LAST_INSERTION * heart.rv_end[:, None])).all(
            1
        )
        return torch.where(defined[:, None, None], found, torch.nan)


def _build(
    centre: Tensor,
    column: Tensor,
    row: Tensor,
    heart: Tensor,
    view: str,
    kind: str,
    spacing_mm: float,
    size: int,
    thickness_mm: float,
    distance_mm: float,
) -> Planes:
    """Planes with their middle at `centre` (m, 3); `column` and `row` are unit vectors (m, 3)."""
    normal = torch.linalg.cross(column, row)
    affine = torch.eye(4, device=centre.device).repeat(len(centre), 1, 1)
    affine[:, :3, 0], affine[:, :3, 1] = column * spacing_mm, row * spacing_mm
    affine[:, :3, 2] = normal * distance_mm
    affine[:, :3, 3] = centre - (column + row) * (spacing_mm * (size - 1) / 2)
    return Planes(
        affine,
        heart,
        torch.full((len(centre),), float(thickness_mm), device=centre.device),
        size,
        [view] * len(centre),
        [kind] * len(centre),
        torch.zeros(len(centre), dtype=torch.int64, device=centre.device),
    )


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm(dim=-1, keepdim=True)


def _in_plane_axes(normal: Tensor, from_the_side: bool = False) -> tuple[Tensor, Tensor]:
    """Column and row directions as a scanner chooses them for a normal of shape (m, 3); those of a sagittal picture
    with `from_the_side`."""
    left, behind, up = torch.eye(3, device=normal.device)
    sagittal = (normal[:, :1].abs() > normal[:, 1:2].abs()) & (normal[:, :1].abs() > normal[:, 2:].abs())
    sagittal = sagittal | from_the_side
    column = torch.where(sagittal, behind, left)
    column = _unit(column - (column * normal).sum(1, keepdim=True) * normal)
    row = torch.linalg.cross(normal, column)
    down = torch.where(normal[:, 2:].abs() > normal[:, 1:2].abs(), behind - 0.3 * up, -up)
    down = torch.where(sagittal, -up.expand_as(normal), down)
    return column, torch.where((row * down).sum(1, keepdim=True) < 0, -row, row)


def _turn(column: Tensor, row: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    cosine, sine = angle.cos()[:, None], angle.sin()[:, None]
    return cosine * column + sine * row, cosine * row - sine * column


def sax_stack(
    heart: Heart,
    slices: int = 10,
    thickness_mm: float = 8.0,
    gap_mm: float = 2.0,
    spacing_mm: float = 1.4,
    size: int = 224,
    lead_mm: float = 0.0,
    seed: int | None = None,
) -> Planes:
    """Short-axis slices from the base to the apex of every heart, one heart after the other.

    Args:
        lead_mm (`float`): how far the first slice's upper face lies behind the valve plane at end diastole.
        seed (`int`, *optional*): turns the pictures and moves the middle a little; without it they are exactly central.
    """
    if slices < 1 or thickness_mm <= 0 or gap_mm < 0:
        raise ValueError(
            f"`slices`, `thickness_mm` and `gap_mm` need >= 1, > 0 and >= 0, got {slices}, {thickness_mm}, {gap_mm}: "
            "10, 8.0 and 2.0 are usual"
        )
    count, distance = len(heart), thickness_mm + gap_mm
    order = torch.arange(slices, device=heart.device)
    depth = heart.rest_base_mm[:, None] - lead_mm + thickness_mm / 2 + order * distance  # (b, slices)
    angle, offset = _jitter(count, seed, heart.device, 0.6, 12.0)
    middle = torch.zeros(count, slices, 3, device=heart.device)
    middle[..., 0], middle[..., 1] = 12 + offset[:, :1], offset[:, 1:2]
    middle[..., 2] = depth
    centre = heart.to_patient(middle).flatten(0, 1)
    column, row = _turn(-heart.traits.rotation[:, :, 0], heart.traits.rotation[:, :, 1], angle)
    index = torch.arange(count, device=heart.device).repeat_interleave(slices)
    planes = _build(centre, column[index], row[index], index, "SAX", "SAX", spacing_mm, size, thickness_mm, distance)
    planes.affine[:, :3, 2] = heart.traits.rotation[index][:, :, 2] * distance  # the stack runs to the apex
    planes.slice_index = order.repeat(count)
    return planes


def _jitter(count: int, seed: int | None, device: torch.device, turn: float, shift_mm: float) -> tuple[Tensor, Tensor]:
    if seed is None:
        return torch.zeros(count, device=device), torch.zeros(count, 3, device=device)
    generator = torch.Generator().manual_seed(seed)
    angle = turn * (2 * torch.rand(count, generator=generator) - 1)
    offset = shift_mm * (2 * torch.rand(count, 3, generator=generator) - 1)
    return angle.to(device), offset.to(device)


def long_axis(
    heart: Heart,
    view: str,
    thickness_mm: float = 8.0,
    spacing_mm: float = 1.4,
    size: int = 224,
    seed: int | None = None,
) -> Planes:
    """The 2CH, 3CH or 4CH view of every heart; `seed` tilts, turns and moves it a little.

    Raises:
        ValueError: for another view.
    """
    if view not in LONG_AXES:
        raise ValueError(f"`view` needs one of {LONG_AXES}, got {view!r}: short-axis slices come from sax_stack")
    turn, offset = _jitter(len(heart), seed, heart.device, 0.3, 6.0)
    _, error = _jitter(len(heart), None if seed is None else seed + 7919, heart.device, 0.0, 1.0)
    swing, tilt = 0.24 * error[:, 0], 0.07 * error[:, 1]  # round the axis and out of it, radians
    valve, apical, across = _view_axes(heart, view)
    normal = torch.linalg.cross(apical, across)
    normal = normal * swing.cos()[:, None] + across * swing.sin()[:, None]
    normal = normal * tilt.cos()[:, None] + apical * tilt.sin()[:, None]
    column, row = _in_plane_axes(normal, view != "4CH")  # the apex is on the left where the front is
    if view == "4CH":  # the apex is above
        row = torch.where((row * apical).sum(1, keepdim=True) > 0, -row, row)
    column, row = _turn(column, row, turn)
    middle = valve + (10.0 if view == "4CH" else 0.0) * across + 28.0 * apical
    centre = middle + offset[:, :1] * column + offset[:, 1:2] * row + 0.6 * offset[:, 2:] * normal
    index = torch.arange(len(heart), device=heart.device)
    return _build(centre, column, row, index, view, view, spacing_mm, size, thickness_mm, thickness_mm)


def _view_axes(heart: Heart, view: str) -> tuple[Tensor, Tensor, Tensor]:
    """Middle of the mitral valve in LPS mm, and unit vectors from it to the apex and, at right angles to that, to what
    else defines the view: middle of the tricuspid valve (4CH), anterior wall (2CH) or aortic outflow (3CH).

    Cut across, the views make some 30, 90 and 150 degrees with the septum's middle, as the walls that they show do:
    Cerqueira et al., Circulation 2002;105:539.
    """
    phase = heart.phase(torch.zeros(len(heart), device=heart.device))
    side = torch.zeros(len(heart), device=heart.device)

    def at(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        bent = heart.deformation.bend(x[:, None], y[:, None], z[:, None])
        return heart.to_patient(torch.stack(bent, dim=2))[:, 0]

    valve, apex = at(side, side, phase.base_mm), at(side, side, phase.base_mm + 0.97 * phase.length_mm)
    if view == "3CH":
        third = aorta_path(heart)[:, 0]
    else:
        angle = tricuspid_angle(heart) if view == "4CH" else heart.traits.rv_angle - 0.5 * torch.pi
        third = at(45 * angle.cos(), 45 * angle.sin(), phase.base_mm)
    apical = _unit(apex - valve)
    across = third - valve
    return valve, apical, _unit(across - (across * apical).sum(1, keepdim=True) * apical)


def other_plane(
    heart: Heart,
    kind: str,
    thickness_mm: float = 8.0,
    spacing_mm: float = 1.4,
    size: int = 224,
    seed: int | None = None,
) -> Planes:
    """Planes of the aorta (`AORTA`) and those of the view "other" (`OTHERS`).

    Raises:
        ValueError: for a kind that is in neither.
    """
    if kind not in AORTA + OTHERS:
        raise ValueError(f"`kind` needs one of {AORTA + OTHERS}, got {kind!r}: 2CH, 3CH, 4CH come from long_axis")
    turn, offset = _jitter(len(heart), seed, heart.device, 0.15, 8.0)
    aorta, lung = aorta_path(heart), pulmonary_path(heart)
    apical = heart.traits.rotation[:, :, 2]
    up = torch.tensor([0.0, 0.0, 1.0], device=heart.device).expand(len(heart), 3)
    heart_middle = heart.traits.position_mm
    if kind == "candy cane":
        centre = (aorta[:, 2] + aorta[:, 5]) / 2 - 20 * up
        normal = torch.linalg.cross(aorta[:, 5] - aorta[:, 2], up)
    elif kind == "ascending":
        centre, normal = (aorta[:, 1] + aorta[:, 2]) / 2 + 0.5 * offset[:, :1] * up, up
    elif kind == "LVOT":  # along the outflow tract, across the three-chamber view
        centre = aorta[:, 0]
        _, axis, outflow = _view_axes(heart, "3CH")
        normal = torch.linalg.cross(aorta[:, 1] - heart_middle, torch.linalg.cross(axis, outflow))
    elif kind == "RVOT":
        centre = lung[:, 0]
        normal = torch.linalg.cross(lung[:, 2] - lung[:, 0], up - 0.2 * apical)
    elif kind == "off-axis":
        centre, normal = heart_middle + offset, apical + 0.12 * offset / 1.5
    else:
        centre = heart_middle + offset
        normal = up if kind == "axial" else torch.tensor([0.0, 1.0, 0.0], device=heart.device).expand(len(heart), 3)
    column, row = _in_plane_axes(_unit(normal))
    column, row = _turn(column, row, turn)
    view = "aorta" if kind in AORTA else "other"
    index = torch.arange(len(heart), device=heart.device)
    return _build(centre, column, row, index, view, kind, spacing_mm, size, thickness_mm, thickness_mm)


def join(planes: Sequence[Planes]) -> Planes:
    """Several sets of planes of one size as one."""
    sizes = {one.size for one in planes}
    if len(sizes) != 1:
        raise ValueError(f"`planes` need one matrix size, got {sorted(sizes)}: render each size by itself")
    return Planes(
        torch.cat([one.affine for one in planes]),
        torch.cat([one.heart for one in planes]),
        torch.cat([one.thickness_mm for one in planes]),
        sizes.pop(),
        [view for one in planes for view in one.view],
        [kind for one in planes for kind in one.kind],
        torch.cat([one.slice_index for one in planes]),
    )
