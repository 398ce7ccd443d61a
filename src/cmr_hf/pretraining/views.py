"""Multi-crop views for DINO, by the batch, in torch: every crop of every sample draws its own parameters.

No hue, saturation, grey scale or solarisation: they mean nothing in MR. Instead what differs between scanners.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .canvas import as_canvas, checked, limits, real_lines
from .intensities import (
    COIL_WAVES,
    NoisePool,
    contrast_rows,
    fast_dtype,
    filter_some,
    k_space_kernels,
    vary_contrast,
)
from .randomness import Draws

Range = tuple[float, float]
_AT_ONCE = 1 << 20  # pixels of a chunk on a CPU: larger ones leave its cache, smaller ones spend time on calls


@dataclass(frozen=True)
class ViewSettings:
    """How views are cut and varied; probabilities are per crop.

    Attributes:
        global_count, global_size, global_scale: number of crops for teacher and student, their side in pixels, and
            the range of their area as a part of the image's real (not padded) pixels.
        local_count, local_size, local_scale: of those for the student alone.
        ratio: range of width to height.
        overhang: how far a crop may reach over the image's border, as a part of its side; beyond lies padding.
        rotation_deg: standard deviation of the in-plane rotation.
        flip: probability of a mirror image. Anatomy has a left and a right: 0 unless measured to help.
        gamma: standard deviation of the log of the exponent.
        coil: standard deviation of the log of the coil's sensitivity over the crop.
        window: greatest change of contrast and of twice the brightness.
        blur: probabilities for the first global crop, the other global crops, and the local ones.
        blur_sigma: standard deviation of the blur in pixels.
        gibbs: probability of a smaller acquired matrix.
        gibbs_kept: part of k-space that is left then, along rows and columns.
        noise: probability of noise.
        noise_level: greatest standard deviation of Rician noise; 1 is white.

    Source: Caron et al. 2021 (crops); the intensities are ours.
    """

    global_count: int = 2
    global_size: int = 224
    global_scale: Range = (0.4, 1.0)
    local_count: int = 8
    local_size: int = 96
    local_scale: Range = (0.05, 0.4)
    ratio: Range = (3 / 4, 4 / 3)
    overhang: float = 0.0
    rotation_deg: float = 10.0
    flip: float = 0.0
    gamma: float = 0.3
    coil: float = 0.25
    window: float = 0.2
    blur: tuple[float, float, float] = (0.5, 0.1, 0.3)
    blur_sigma: Range = (0.3, 1.5)
    gibbs: float = 0.2
    gibbs_kept: Range = (0.5, 0.9)
    noise: float = 0.5
    noise_level: float = 0.08

    def __post_init__(self):
        for name in ("global_scale", "local_scale", "gibbs_kept"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise ValueError(f"`{name}` needs 0 < low <= high <= 1, got {(low, high)}: DINO takes 0.4 to 1")
        if self.global_count < 2 or self.local_count < 0:
            raise ValueError(
                f"`global_count` and `local_count` need at least 2 and 0, got {self.global_count} and "
                f"{self.local_count}: the loss compares two global views"
            )


class Crops(NamedTuple):
    """Crops of one size: side in pixels, range of the area, and each one's probability of a blur."""

    size: int
    scale: Range
    blur: list[float]


class Plan(NamedTuple):
    """All that is drawn for crops of one size, every field of shape `(batch, crops, …)`; see `ViewSettings`."""

    affine: Tensor
    padded: Tensor
    gamma: Tensor
    rows: Tensor
    kernels: Tensor
    filtered: Tensor
    level: Tensor
    place: Tensor
    shift: Tensor

    def split(self, some: int) -> list[Plan]:
        """For `some` samples at a time."""
        return [Plan(*fields) for fields in zip(*(field.split(some) for field in self), strict=True)]


class MultiCrop:
    """Makes the views of a batch.

    Args:
        settings (`ViewSettings`): how.
        seed (`int`): with the step and a sample's key, all that the views depend on.
    """

    def __init__(self, settings: ViewSettings, seed: int):
        self.settings, self.seed = settings, seed
        self.noise = NoisePool(seed)

    def __call__(
        self, images: Tensor, extents: Tensor, keys: Tensor, step: int, out: list[Tensor] | None = None
    ) -> list[Tensor]:
        """
        Args:
            images (`torch.Tensor` of shape `(batch, height, width)`, uint8): square, 0 … 255, padding around the
                middle.
            extents (`torch.Tensor` of shape `(batch, 2)`): rows and columns that are real.
            keys (`torch.Tensor` of shape `(batch,)`, int64): identity of each sample.
            step (`int`): of the optimiser; the same sample looks different in the next.
            out (`list` of `torch.Tensor`, *optional*): views of an earlier call, which are overwritten if they fit;
                new memory costs a CPU as much time as a tenth of the views.

        Returns:
            Global and, if any, local crops, of shape `(count * batch, 1, size, size)`, −1 … 1, padding −1; the first
            crops of all samples come first.
        """
        checked(images)
        one, batch, first, others, local = self.settings, len(images), *self.settings.blur
        kinds = [Crops(one.global_size, one.global_scale, [first] + [others] * (one.global_count - 1))]
        if one.local_count:
            kinds.append(Crops(one.local_size, one.local_scale, [local] * one.local_count))
        shapes = [(len(kind.blur) * batch, 1, kind.size, kind.size) for kind in kinds]
        if out is None or [tuple(view.shape) for view in out] != shapes or out[0].device != images.device:
            out = [torch.empty(shape, device=images.device) for shape in shapes]
        with torch.inference_mode():  # what is in `out` stays fit to train on
            draws = Draws(self.seed, step, keys.to(images.device))
            self._fill(
                images, extents.to(images.device), draws, kinds, [view.unflatten(0, (-1, batch)) for view in out]
            )
        return out

    def _fill(self, images: Tensor, extents: Tensor, draws: Draws, kinds: list[Crops], views: list[Tensor]) -> None:
        """Makes the crops of all kinds, in views of shape `(crops, batch, 1, size, size)`."""
        batch, side = images.shape[:2]
        most = max(len(kind.blur) * kind.size**2 for kind in kinds)
        some = max(1, _AT_ONCE // most) if images.device.type == "cpu" else batch
        boxes = [random_boxes(extents / side, draws, len(kind.blur), kind.scale, self.settings) for kind in kinds]
        plans = [
            self._draw(draws, kind, affine, extents, side).split(some)
            for kind, affine in zip(kinds, boxes, strict=True)
        ]
        bounds = limits(images, real_lines(extents, side))
        for number, start in enumerate(range(0, batch, some)):
            part = slice(start, start + some)
            canvas = as_canvas(images[part], extents[part], bounds[part])
            for kind, plan, view in zip(kinds, plans, views, strict=True):
                crops = cut(canvas, plan[number].affine, kind.size)
                self._vary(crops, plan[number], view[:, part, 0].transpose(0, 1))

    def _draw(self, draws: Draws, kind: Crops, affine: Tensor, extents: Tensor, side: int) -> Plan:
        """Parameters of each crop of a batch that `affine` cuts, see `random_boxes`."""
        one, crops = self.settings, len(kind.blur)

        def uniform(low: float, high: float, count: int = 1) -> Tensor:
            return draws.uniform(low, high, crops * count).unflatten(1, (crops, count))

        coil = draws.normal(COIL_WAVES * crops).unflatten(1, (crops, COIL_WAVES)) * (one.coil / math.sqrt(COIL_WAVES))
        blurred = draws.uniform(count=crops)[:, :, None] < torch.tensor(kind.blur, device=coil.device)[:, None]
        gamma = (draws.normal(crops)[:, :, None] * one.gamma).exp()
        sigma = uniform(*one.blur_sigma) * blurred
        kept = torch.where(uniform(0, 1) < one.gibbs, uniform(*one.gibbs_kept, 2), 1.0)
        level = one.noise_level * uniform(0, 1) ** 2 * (uniform(0, 1) < one.noise)
        place = uniform(0, 1, 2)
        scale = 2 * uniform(1 - one.window, 1 + one.window)  # −1 … 1 is two wide
        return Plan(
            affine=affine,
            padded=reaches_padding(affine, extents, side),
            gamma=gamma,
            rows=contrast_rows(kind.size, gamma, scale, coil),
            kernels=k_space_kernels(kind.size, sigma, kept).to(fast_dtype(coil.device.type)),
            filtered=((sigma > 0) | (kept < 1)).any(dim=2),
            level=scale * level,
            place=place,
            shift=uniform(-one.window, one.window) - 1,
        )

    def _vary(self, crops: Tensor, plan: Plan, out: Tensor) -> None:
        """Crops as `cut` gives them, to −1 … 1 in `out` of shape `(batch, crops, size, size)`."""
        images = vary_contrast(crops, plan.gamma.flatten(0, 1), plan.rows.flatten(0, 1))
        chosen = plan.filtered.flatten().nonzero()[:, 0]
        if len(chosen):
            filter_some(images, chosen, plan.kernels.flatten(0, 1)[chosen])
        self.noise.add(images, plan.level.flatten(0, 1), plan.place.flatten(0, 1))
        torch.add(images.view_as(out), plan.shift[..., None], out=out).clamp_(-1, 1)
        if crops.device.type != "cpu":
            torch.minimum(out, crops.sub_(1).view_as(out), out=out)  # padding is 0, real pixels are 2 and more
            return
        crops = crops.view_as(out)
        for sample, crop in plan.padded.nonzero().tolist():
            view = out[sample, crop]
            torch.minimum(view, crops[sample, crop].sub_(1), out=view)


def random_boxes(extents: Tensor, draws: Draws, crops: int, scale: Range, settings: ViewSettings) -> Tensor:
    """From a crop's coordinates to the image's, both −1 … 1 and (x, y): shape `(batch, crops, 2, 3)`.

    Args:
        extents (`torch.Tensor` of shape `(batch, 2)`): real rows and columns as a part of the side.
        scale: range of the area as a part of the real pixels.
    """
    ratio = torch.exp(draws.uniform(math.log(settings.ratio[0]), math.log(settings.ratio[1]), crops))
    area = draws.uniform(*scale, crops) * extents.prod(dim=1, keepdim=True)
    height = torch.minimum((area / ratio).sqrt(), extents[:, :1])  # (batch, crops)
    width = torch.minimum((area * ratio).sqrt(), extents[:, 1:])

    def middle(side: Tensor, extent: Tensor) -> Tensor:
        free = extent - side + 2 * settings.overhang * side
        return (2 * draws.uniform(count=crops) - 1) * free

    y, x = middle(height, extents[:, :1]), middle(width, extents[:, 1:])
    angle = draws.normal(crops) * (settings.rotation_deg * math.pi / 180)
    width = torch.where(draws.happens(settings.flip, crops), -width, width)
    cosine, sine = angle.cos(), angle.sin()
    rows = (cosine * width, -sine * height, x, sine * width, cosine * height, y)
    return torch.stack(rows, dim=-1).unflatten(-1, (2, 3))


def reaches_padding(affine: Tensor, extents: Tensor, side: int) -> Tensor:
    """Whether a crop may show anything but real pixels, shape `(batch, crops)`.

    Args:
        affine (`torch.Tensor` of shape `(batch, crops, 2, 3)`): see `random_boxes`.
        extents (`torch.Tensor` of shape `(batch, 2)`): real rows and columns; side (`int`): of the picture, in pixels.
    """
    farthest = affine.abs().sum(dim=-1)  # of the middle of the picture, as (x, y)
    return (farthest > ((extents - 2) / side).flip(-1)[:, None]).any(dim=-1)  # a pixel less for the interpolation


def cut(canvas: Tensor, affine: Tensor, size: int) -> Tensor:
    """Bilinear crops of shape `(batch * crops, size, size)`; outside the canvas lies 0.

    Args:
        canvas (`torch.Tensor` of shape `(batch, 1, side, side)`), affine (`torch.Tensor` of shape
            `(batch, crops, 2, 3)`): see `random_boxes`.
    """
    batch, crops = affine.shape[:2]
    at = (2 * torch.arange(size, device=canvas.device) + 1) / size - 1
    columns, rows, middle = affine.permute(3, 0, 2, 1).contiguous()[..., None]  # each (batch, 2, crops, 1)
    # x and y as planes, which is quicker than pairs
    grid = (rows * at + middle)[..., :, None] + (columns * at)[..., None, :]  # (batch, 2, crops, size, size)
    grid = grid.flatten(2, 3).permute(0, 2, 3, 1)
    sampled = F.grid_sample(canvas, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return sampled.view(batch * crops, size, size)
