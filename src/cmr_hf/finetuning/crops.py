"""Augmented crops of one image or of three together, without masks, and where points in them go."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import Dataset

from .augmentation import (
    Augmentation,
    Draws,
    limit_field_of_view,
    normalise,
    random_transforms,
    smooth_field,
    vary_intensities,
)
from .segmentation import NOMINAL_SPACING_MM

STEPS = 12  # of the search for a point's place in the crop


class ImageSamples(Dataset):
    """Samples of `cmr_hf.data.experiments.samples_of`, for classification, detection or landmarks, in memory.

    Args:
        samples (iterable of `dict`): with `image` of shape `(y, x)` or `(3, y, x)`, `spacing_mm`, and `label` or
            `points`; one without a label (`None`) counts in no loss but a teacher's.
    """

    def __init__(self, samples: Iterable[Mapping[str, Any]]):
        self.items = [self._item(sample) for sample in samples]
        self.patients = sorted({(item["source"], item["patient"]) for item in self.items})

    @staticmethod
    def _item(sample: Mapping[str, Any]) -> dict[str, Any]:
        images = np.asarray(sample["image"], np.float32)
        images = images.reshape(-1, *images.shape[-2:])  # (y, x) -> (1, y, x)
        low = images.min()
        reach = max(float(images.max() - low), 1e-6)
        item = {"image": torch.from_numpy(((images - low) / reach).astype(np.float16))}
        item["spacing_mm"] = sample["spacing_mm"] or NOMINAL_SPACING_MM
        if "points" in sample:
            item["points"] = torch.tensor(np.asarray(sample["points"]), dtype=torch.float32)
        else:
            item["label"] = -100 if sample["label"] is None else int(sample["label"])
        return item | {name: sample[name] for name in ("source", "patient")}

    @property
    def labels(self) -> list[int]:
        """Class ids, in order; −100 without one."""
        return [item["label"] for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


def positions_of(
    count: int, size: int, settings: Augmentation, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A smooth random map from crop to source for each of some samples.

    Returns:
        matrices `(count, 2, 2)`, shifts `(count, 2)` and the elastic field `(count, 2, size, size)`: a place p of the
        crop, in mm from its centre, shows the source at `matrix · p + shift + field(p)`, mm from the source's centre.
    """
    matrices = random_transforms(count, settings, generator)
    shifts = torch.randn(count, 2, generator=generator) * settings.shift_mm * size / 224
    elastic = settings.elastic_mm * smooth_field((count, 2, size, size), max(3, size // 32), generator)
    return matrices, shifts, elastic


def place_points(
    points_mm: torch.Tensor, matrix: torch.Tensor, shift: torch.Tensor, elastic: torch.Tensor
) -> torch.Tensor:
    """Where source points lie in the crop: the map of `positions_of` turned round by fixed-point steps.

    Args:
        points_mm (`torch.Tensor` of shape `(n, 2)`): (row, column) in mm from the source's centre; NaN stays.
        matrix (`(2, 2)`), shift (`(2,)`), elastic (`(2, size, size)`): of one sample.

    Returns:
        `torch.Tensor` of shape `(n, 2)`: (row, column) in pixels of 1 mm of the crop; NaN outside it.
    """
    size = elastic.shape[-1]
    known = points_mm.nan_to_num(0.0)
    inverse = torch.linalg.inv(matrix)
    place = (known - shift) @ inverse.T
    for _ in range(STEPS):
        grid = (2 * place / (size - 1)).flip(-1)[None, None]  # grid_sample wants (x, y) in −1…1
        field = F.grid_sample(elastic[None], grid, padding_mode="border", align_corners=True)[0, :, 0].T
        place = (known - shift - field) @ inverse.T
    pixels = place + (size - 1) / 2
    inside = ((pixels >= -0.5) & (pixels <= size - 0.5)).all(-1, keepdim=True) & ~points_mm.isnan()
    return pixels.where(inside, torch.nan)


def augment_images(
    items: Sequence[Mapping[str, Any]], size: int, settings: Augmentation, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A batch of crops of `size` × `size` mm at 1 mm, centred on the images.

    Args:
        items (sequence of `dict`): `image` of shape `(c, h, w)`, one image or three that move together, `spacing_mm`,
            and perhaps `points` of shape `(landmarks, 2)`, (row, column) in pixels, NaN where not marked.

    Returns:
        `pixel_values` of shape `(batch, 3, size, size)`, and the points in its pixels, `(batch, landmarks, 2)`, NaN
        where the crop does not hold one, or `None`.
    """
    steps = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    crop_mm = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
    matrices, shifts, elastic = positions_of(len(items), size, settings, generator)
    images, inside, points = [], [], []
    for index, item in enumerate(items):
        positions = crop_mm @ matrices[index].T + elastic[index].movedim(0, -1) + shifts[index]
        image, real = _sample(item["image"].float(), positions, item["spacing_mm"])
        images.append(image)
        inside.append(real)
        if "points" in item:
            middle = (torch.tensor(item["image"].shape[-2:]) - 1) / 2
            points_mm = (item["points"] - middle) * torch.tensor(item["spacing_mm"], dtype=torch.float32)
            points.append(place_points(points_mm, matrices[index], shifts[index], elastic[index]))
    real = limit_field_of_view(torch.stack(inside), settings, generator)
    real[real.flatten(1).sum(1) < 1024] = True  # a crop that missed the image: its border colour
    pixels = _normalised(torch.stack(images), real)
    pixels = _normalised(vary_intensities((pixels + 1) / 2, settings, generator), real)
    placed = torch.stack([_seen(one, shown) for one, shown in zip(points, real, strict=True)]) if points else None
    return pixels.expand(-1, 3, -1, -1).contiguous(), placed


def _sample(
    image: torch.Tensor, positions_mm: torch.Tensor, spacing_mm: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """An image of shape `(c, h, w)` at positions `(size, size, 2)` in mm from its centre, and which lie on it."""
    extent = torch.tensor(image.shape[-2:], dtype=torch.float32)
    pixels = positions_mm / torch.tensor(spacing_mm, dtype=torch.float32) + (extent - 1) / 2
    inside = ((pixels >= -0.5) & (pixels <= extent - 0.5)).all(dim=-1)
    grid = (2 * pixels / (extent - 1) - 1).flip(-1)[None]
    return F.grid_sample(image[None], grid, mode="bilinear", padding_mode="border", align_corners=True)[0], inside


def _normalised(images: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """`normalise` of every channel by itself, as the processor does; shape `(batch, c, h, w)`."""
    channels = images.shape[1]
    flat = normalise(images.flatten(0, 1)[:, None], inside.repeat_interleave(channels, dim=0))
    return flat[:, 0].unflatten(0, (-1, channels))


def _seen(points: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Points of shape `(landmarks, 2)`, NaN where the crop has padding."""
    nearest = points.nan_to_num(0.0).round().long().clamp(0, len(real) - 1)
    return points.where(real[nearest[:, 0], nearest[:, 1]][:, None], torch.nan)


class ImageCollator(Draws):
    """A batch of augmented crops with class ids, or with points, for the Trainer.

    Args:
        size (`int`): side of the crop, in pixels of 1 mm: the processor's, so that all is seen as at inference.
        settings (`Augmentation`): how strongly to vary.
        seed (`int`): of all draws.
    """

    def __init__(self, size: int, settings: Augmentation, seed: int):
        super().__init__(seed)
        self.size = size
        self.settings = settings

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        pixel_values, points = augment_images(items, self.size, self.settings, self.draws())
        if points is None:
            return {"pixel_values": pixel_values, "labels": torch.tensor([item["label"] for item in items])}
        counts = torch.stack(
            [~item["points"].isnan().any(-1) for item in items]
        )  # what nobody marked counts in no loss
        return {"pixel_values": pixel_values, "labels": points, "counts": counts}
