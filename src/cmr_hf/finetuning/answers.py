"""What a model says of samples, by the processor and without augmentation, as its pipeline would."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..hub.image_processing_cmr import CMRImageProcessor
from .segmentation import NOMINAL_SPACING_MM


def pixel_values_of(processor: CMRImageProcessor, sample: Mapping[str, Any]) -> torch.Tensor:
    """A sample of `cmr_hf.data.experiments.samples_of` as the processor shows it: `(3, size, size)`."""
    image = np.asarray(sample["image"])
    spacing_mm = sample["spacing_mm"] or NOMINAL_SPACING_MM
    return processor(image, spacing_mm=spacing_mm, stack_channels=image.ndim == 3)["pixel_values"][0]


@torch.inference_mode()
def logits_of(
    model: torch.nn.Module, processor: CMRImageProcessor, samples: Sequence[Mapping[str, Any]], batch_size: int = 16
) -> Iterator[torch.Tensor]:
    """Logits of each batch of samples, float32 on the CPU; the model is in `eval` for it and then as it was."""
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    for start in range(0, len(samples), batch_size):
        part = [pixel_values_of(processor, sample) for sample in samples[start : start + batch_size]]
        yield model(pixel_values=torch.stack(part).to(device)).logits.float().cpu()
    model.train(was_training)


def classify(
    model: torch.nn.Module, processor: CMRImageProcessor, samples: Sequence[Mapping[str, Any]]
) -> torch.Tensor:
    """Logits of shape `(samples, classes)`."""
    return torch.cat(list(logits_of(model, processor, samples)))


def landmark_distances_mm(
    model: torch.nn.Module, processor: CMRImageProcessor, samples: Sequence[Mapping[str, Any]]
) -> np.ndarray:
    """Distance of each landmark to where it was marked.

    Returns:
        `np.ndarray` of shape `(samples, landmarks)` in mm on the source grid; NaN where nobody marked it.
    """
    logits = torch.cat(list(logits_of(model, processor, samples)))
    distances = []
    for maps, sample in zip(logits, samples, strict=True):
        spacing_mm = sample["spacing_mm"] or NOMINAL_SPACING_MM
        size = np.asarray(sample["image"]).shape[-2:]
        points, _ = processor.find_landmarks(maps[None], size, spacing_mm, model.config.landmark_sigma)
        apart = (points[0].numpy() - np.asarray(sample["points"], float)) * spacing_mm
        distances.append(np.linalg.norm(apart, axis=-1))
    return np.stack(distances)
