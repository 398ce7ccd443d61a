"""MR augmentation by the batch: one smooth warp from the source grid to the crop, then what scanners do to contrast.

Geometry and intensities follow `CMRImageProcessor`: 1 mm pixels, the 98th percentile of the real pixels at +1,
padding at −1. Every sample draws its own parameters.
"""

from dataclasses import dataclass

import torch
from torch.nn import functional as F
from torch.utils.data import get_worker_info

from ..data.schema import UNKNOWN
from .artefacts import gibbs_ringing, motion

SPREAD = 6364136223846793005  # Knuth's multiplier: sums of small seeds would meet


@dataclass(frozen=True)
class Augmentation:
    """How strongly to vary; every probability is per sample.

    Attributes:
        rotation_deg (`float`): standard deviation of the in-plane rotation.
        any_rotation (`float`): probability of a rotation by any angle, and a mirror in half of them, as files whose
            axes were stored another way show.
        scale (`float`): standard deviation of the log of the size; spacing is often nominal or missing.
        stretch (`float`): standard deviation of the log of the ratio of height to width.
        shift_mm (`float`): standard deviation of the centre of a 224 mm crop; smaller crops move in proportion.
        elastic_mm (`float`): standard deviation of the control points of a smooth warp, 32 mm apart.
        gamma (`float`): standard deviation of the log of the exponent.
        bias (`float`): standard deviation of the log of the coil's sensitivity over the field of view.
        noise (`float`): greatest standard deviation of Rician noise, of the 98th percentile.
        resolution_loss (`float`): probability of a coarser acquisition.
        small_field_of_view (`float`): probability that the image ends inside the crop.
        mirror (`float`): probability of a mirror where any rotation is drawn; 0 where left and right matter.
        gibbs (`float`): probability of ringing at edges, as of few phase-encoding lines.
        motion (`float`): probability that the patient moved.
    """

    rotation_deg: float = 25.0
    any_rotation: float = 0.15
    scale: float = 0.15
    stretch: float = 0.06
    shift_mm: float = 18.0
    elastic_mm: float = 3.0
    gamma: float = 0.35
    bias: float = 0.35
    noise: float = 0.06
    resolution_loss: float = 0.35
    small_field_of_view: float = 0.15
    mirror: float = 0.5
    gibbs: float = 0.0
    motion: float = 0.0


def random_transforms(count: int, settings: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Matrices of shape `(count, 2, 2)` from crop millimetres to source millimetres, (row, column)."""

    def normal() -> torch.Tensor:
        return torch.randn(count, generator=generator)

    def uniform() -> torch.Tensor:
        return torch.rand(count, generator=generator)

    anywhere = uniform() < settings.any_rotation
    mirror = torch.where(anywhere & (uniform() < settings.mirror), -1.0, 1.0)
    angle = torch.where(anywhere, uniform() * 2 * torch.pi, normal() * settings.rotation_deg * torch.pi / 180)
    size = torch.exp(-normal() * settings.scale)
    ratio = torch.exp(normal() * settings.stretch)
    cos, sin = angle.cos(), angle.sin()
    rows = torch.stack((cos * ratio, -sin * mirror / ratio), dim=-1)
    columns = torch.stack((sin * ratio, cos * mirror / ratio), dim=-1)
    return torch.stack((rows, columns), dim=-2) * size[:, None, None]


def smooth_field(shape: tuple[int, int, int, int], points: int, generator: torch.Generator) -> torch.Tensor:
    """Standard-normal control points, `points` a side, as a smooth field of shape `(batch, channels, h, w)`."""
    control = torch.randn(shape[0], shape[1], points, points, generator=generator)
    return F.interpolate(control, size=shape[2:], mode="bicubic", align_corners=True)


def warp(
    image: torch.Tensor, mask: torch.Tensor, positions_mm: torch.Tensor, spacing_mm: tuple[float, float], classes: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Samples one slice at positions in millimetres from its centre.

    Args:
        image (`torch.Tensor` of shape `(h, w)`), mask (same shape): the slice on its source grid; `UNKNOWN` stays.
        positions_mm (`torch.Tensor` of shape `(size, size, 2)`): (row, column).

    Returns:
        image, labels and "is a real pixel", each of shape `(size, size)`.
    """
    extent = torch.tensor(image.shape, dtype=torch.float32)
    pixels = positions_mm / torch.tensor(spacing_mm) + (extent - 1) / 2
    inside = ((pixels >= -0.5) & (pixels <= extent - 0.5)).all(dim=-1)
    grid = (2 * pixels / (extent - 1) - 1).flip(-1)[None]  # grid_sample wants (x, y)
    told = mask.long().where(mask != UNKNOWN, classes)
    layers = torch.cat((image[None], F.one_hot(told, classes + 1).movedim(-1, 0).float()))
    sampled = F.grid_sample(layers[None], grid, mode="bilinear", padding_mode="border", align_corners=True)[0]
    labels = sampled[1:].argmax(dim=0)
    return sampled[0], labels.where(labels != classes, UNKNOWN).where(inside, 0), inside


def vary_intensities(images: torch.Tensor, settings: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Contrast, coil sensitivity, noise, resolution and artefacts of images of shape `(batch, c, h, w)` in 0…1.

    The 98th percentile is 1; the images of one sample share contrast and coil.
    """
    count, _, height, width = images.shape

    def draw(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    exponent = torch.exp(torch.randn(count, 1, 1, 1, generator=generator) * settings.gamma)
    images = images.clamp(min=0) ** exponent
    images = images * torch.exp(settings.bias * smooth_field((count, 1, height, width), 3, generator))
    for index in torch.nonzero(draw(0, 1).flatten() < settings.resolution_loss).flatten().tolist():
        factor = (0.4 + 0.5 * torch.rand(2, generator=generator)).tolist()
        small = [max(16, round(side * part)) for side, part in zip((height, width), factor, strict=True)]
        coarse = F.interpolate(images[index : index + 1], size=small, mode="bilinear", antialias=True)
        images[index] = F.interpolate(coarse, size=(height, width), mode="bicubic")[0]
    for chance, artefact in ((settings.gibbs, gibbs_ringing), (settings.motion, motion)):
        chosen = (
            draw(0, 1).flatten() < chance if chance else None
        )  # off, it draws nothing: other draws stay as they are
        if chosen is not None and chosen.any():
            images[chosen] = artefact(images[chosen], generator)
    level = settings.noise * draw(0, 1) ** 2
    noise = torch.randn(2, *images.shape, generator=generator) * level
    return torch.sqrt((images + noise[0]) ** 2 + noise[1] ** 2)


def limit_field_of_view(inside: torch.Tensor, settings: Augmentation, generator: torch.Generator) -> torch.Tensor:
    """Ends some images inside the crop: `inside` of shape `(batch, h, w)` with some borders set to padding."""
    count, height, width = inside.shape
    chosen = torch.rand(count, generator=generator) < settings.small_field_of_view
    borders = torch.rand(count, 4, generator=generator) * 0.16 * chosen[:, None]
    rows = torch.arange(height)[None] / height
    columns = torch.arange(width)[None] / width
    keep_rows = (rows >= borders[:, :1]) & (rows <= 1 - borders[:, 1:2])
    keep_columns = (columns >= borders[:, 2:3]) & (columns <= 1 - borders[:, 3:])
    return inside & keep_rows[:, :, None] & keep_columns[:, None, :]


def normalise(images: torch.Tensor, inside: torch.Tensor, percentile: float = 98.0) -> torch.Tensor:
    """Real pixels from their least value … 98th percentile to −1 … 1, padding to −1; shape `(batch, 1, h, w)`."""
    out = torch.full_like(images, -1.0)
    for index, real in enumerate(inside):
        values = images[index, 0][real]
        low, high = values.min(), torch.quantile(values, percentile / 100)
        if high > low:
            out[index, 0][real] = ((values - low) / (high - low)).clamp(0, 1) * 2 - 1
    return out


def augment_batch(
    slices: list[dict], size: int, classes: int, settings: Augmentation, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of crops of `size` × `size` mm at 1 mm.

    Args:
        slices (`list` of `dict`): `image` and `mask` of shape `(h, w)`, `spacing_mm`, and `centre_mm` (row, column),
            the point, from the slice's centre, around which to crop.
        size (`int`): side of the crop, pixels of 1 mm.
        classes (`int`): number of labels in the masks.

    Returns:
        `pixel_values` of shape `(batch, 3, size, size)`, `labels` of shape `(batch, size, size)`.
    """
    count = len(slices)
    steps = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    crop_mm = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)  # (size, size, 2)
    matrices = random_transforms(count, settings, generator)
    shifts = torch.randn(count, 2, generator=generator) * settings.shift_mm * size / 224
    elastic = settings.elastic_mm * smooth_field((count, 2, size, size), max(3, size // 32), generator).movedim(1, -1)
    warped = []
    for index, item in enumerate(slices):
        positions = crop_mm @ matrices[index].T + elastic[index] + shifts[index] + torch.tensor(item["centre_mm"])
        warped.append(warp(item["image"].float(), item["mask"], positions, item["spacing_mm"], classes))
    images = torch.stack([entry[0] for entry in warped])[:, None]
    labels = torch.stack([entry[1] for entry in warped])
    inside = limit_field_of_view(torch.stack([entry[2] for entry in warped]), settings, generator)
    inside[inside.flatten(1).sum(1) < 1024] = True  # a crop that missed the image: its border colour, no heart
    images = (normalise(images, inside) + 1) / 2
    images = normalise(vary_intensities(images, settings, generator), inside)
    return images.expand(-1, 3, -1, -1).contiguous(), labels.where(inside, 0)


class Draws:
    """The random numbers of a collator: other ones in each worker of a loader, and in each of its epochs.

    Args:
        seed (`int`): of all draws where the loader has no workers; each worker's own seed is mixed with it.
    """

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)
        self._worker_seed: int | None = None

    def draws(self) -> torch.Generator:
        """What to draw the next batch from."""
        worker = get_worker_info()
        if worker is not None and worker.seed != self._worker_seed:  # a copy of the collator has come to a worker
            mixed = worker.seed * SPREAD + self.generator.initial_seed()
            self.generator.manual_seed(mixed % 2**63)
            self._worker_seed = worker.seed
        return self.generator
