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

from .canvas import as_canvas, checked
from .intensities import COIL_WAVES, NoisePool, fast_dtype, filter_in_k_space, vary_contrast
from .randomness import Draws

Range = tuple[float, float]
_NOTHING = 1e-9  # less than float32 can add to −1
_AT_ONCE = 1 << 19  # pixels of a chunk on a CPU: larger ones leave its cache, smaller ones spend time on calls


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


class Intensities(NamedTuple):
    """What varies each crop, every field of shape `(n, …)`; see `ViewSettings`."""

    gamma: Tensor
    scale: Tensor
    coil: Tensor
    sigma: Tensor
    kept: Tensor
    level: Tensor
    place: Tensor
    shift: Tensor


class MultiCrop:
    """Makes the views of a batch.

    Args:
        settings (`ViewSettings`): how.
        seed (`int`): with the step and a sample's key, all that the views depend on.
    """

    def __init__(self, settings: ViewSettings, seed: int):
        self.settings, self.seed = settings, seed
        self.noise = NoisePool(seed)

    def __call__(self, images: Tensor, extents: Tensor, keys: Tensor, step: int) -> list[Tensor]:
        """
        Args:
            images (`torch.Tensor` of shape `(batch, height, width)`, uint8): square, 0 … 255, padding around the
                middle.
            extents (`torch.Tensor` of shape `(batch, 2)`): rows and columns that are real.
            keys (`torch.Tensor` of shape `(batch,)`, int64): identity of each sample.
            step (`int`): of the optimiser; the same sample looks different in the next.

        Returns:
            Global and, if any, local crops, of shape `(count * batch, 1, size, size)`, −1 … 1, padding −1; the first
            crops of all samples come first.
        """
        checked(images)
        one, extents = self.settings, extents.to(images.device)
        draws = Draws(self.seed, step, keys.to(images.device))
        first, others, local = one.blur
        kinds = [Crops(one.global_size, one.global_scale, [first] + [others] * (one.global_count - 1))]
        if one.local_count:
            kinds.append(Crops(one.local_size, one.local_scale, [local] * one.local_count))
        batch, parts = len(images), extents / images.shape[-1]
        most = max(len(kind.blur) * kind.size**2 for kind in kinds)
        some = max(1, _AT_ONCE // most) if images.device.type == "cpu" else batch
        affines = [random_boxes(parts, draws, len(kind.blur), kind.scale, one).split(some) for kind in kinds]
        drawn = [self._draw_intensities(draws, kind.blur, some) for kind in kinds]
        views = [torch.empty(len(k.blur), batch, k.size, k.size, device=images.device) for k in kinds]
        for number, start in enumerate(range(0, batch, some)):
            part = slice(start, start + some)
            canvas = as_canvas(images[part], extents[part])
            for kind, affine, values, out in zip(kinds, affines, drawn, views, strict=True):
                crops = cut(canvas, affine[number], kind.size)
                self._vary(crops, values[number], out[:, part].transpose(0, 1))
        return [out.flatten(0, 1)[:, None] for out in views]

    def _draw_intensities(self, draws: Draws, blur: list[float], some: int) -> list[Intensities]:
        """Parameters of each crop of `some` samples at a time."""
        one, crops = self.settings, len(blur)

        def uniform(low: float, high: float, count: int = 1) -> Tensor:
            return draws.uniform(low, high, crops * count).unflatten(1, (crops, count))

        coil = draws.normal(COIL_WAVES * crops).unflatten(1, (crops, COIL_WAVES)) * (one.coil / math.sqrt(COIL_WAVES))
        blurred = draws.uniform(count=crops)[:, :, None] < torch.tensor(blur, device=coil.device)[:, None]
        gamma = (draws.normal(crops)[:, :, None] * one.gamma).exp()
        sigma = uniform(*one.blur_sigma) * blurred
        kept = torch.where(uniform(0, 1) < one.gibbs, uniform(*one.gibbs_kept, 2), 1.0)
        level = one.noise_level * uniform(0, 1) ** 2 * (uniform(0, 1) < one.noise)
        place = uniform(0, 1, 2)
        scale = 2 * uniform(1 - one.window, 1 + one.window)  # −1 … 1 is two wide
        shift = uniform(-one.window, one.window) - 1
        values = (gamma, scale, coil, sigma, kept, scale * level, place, shift)
        parts = (value.flatten(0, 1).split(some * crops) for value in values)
        return [Intensities(*part) for part in zip(*parts, strict=True)]

    def _vary(self, crops: Tensor, drawn: Intensities, out: Tensor) -> None:
        """Crops as `cut` gives them, to −1 … 1 in `out` of shape `(batch, crops, size, size)`."""
        bound = crops.clamp_(min=_NOTHING)  # padding is less than can be told from 0, real pixels are 2 and more
        images = vary_contrast(bound, drawn.gamma, drawn.scale, drawn.coil)
        chosen = ((drawn.sigma > 0) | (drawn.kept < 1)).any(dim=1).nonzero()[:, 0]
        if len(chosen):
            some = images.index_select(0, chosen).to(fast_dtype(images.device.type))
            images.index_copy_(0, chosen, filter_in_k_space(some, drawn.sigma[chosen], drawn.kept[chosen]).float())
        self.noise.add(images, drawn.level, drawn.place)
        images.add_(drawn.shift[:, :, None]).clamp_(-1, 1)
        torch.minimum(images.view_as(out), bound.sub_(1).view_as(out), out=out)


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
