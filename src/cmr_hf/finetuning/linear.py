"""Linear heads on frozen encoders, fitted to the optimum on augmented copies of samples, and folds to judge them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ..hub.image_processing_cmr import CMRImageProcessor
from .augmentation import Augmentation
from .crops import ImageSamples, augment_images
from .fewshot import BATCH, features_of, fit_linear


def folds_of(labels: Mapping[str, Any], count: int, seed: int = 0) -> dict[str, int]:
    """Patient → fold, 0 … count − 1, each with as many of each label as can be.

    Args:
        labels (mapping of `str`): patient → label, any value that sorts.
        count (`int`): of folds.
        seed (`int`): of the draw.

    Raises:
        ValueError: fewer patients than folds.
    """
    if not 2 <= count <= len(labels):
        raise ValueError(f"`count` must lie between 2 and the {len(labels)} patients, got {count}: ask for fewer folds")
    draws = np.random.default_rng(seed)
    order: list[str] = []
    for label in sorted(set(labels.values())):
        order += draws.permutation(sorted(patient for patient, own in labels.items() if own == label)).tolist()
    return {patient: place % count for place, patient in enumerate(order)}


class FrozenFeatures:
    """What a frozen encoder makes of some samples, as they are and in augmented copies.

    Args:
        model: with `backbone`; it is put into evaluation.
        processor (`CMRImageProcessor`)
        samples (sequence of `dict`): of `samples_of`, with `label` and `patient`.
        settings (`Augmentation`): how copies vary.
        copies (`int`): of each sample.
        seed (`int`): of the draws.
    """

    def __init__(
        self,
        model: nn.Module,
        processor: CMRImageProcessor,
        samples: Sequence[Mapping[str, Any]],
        settings: Augmentation,
        copies: int = 6,
        seed: int = 0,
    ):
        model.eval()
        self.labels = torch.tensor([int(sample["label"]) for sample in samples])
        self.patients = [str(sample["patient"]) for sample in samples]
        generator = torch.Generator().manual_seed(seed)
        items = ImageSamples(samples).items
        parts = [features_of(model, processor, samples)]
        for _ in range(copies):
            parts.append(torch.cat(list(_varied(model, items, processor.size, settings, generator))))
        self.features = torch.stack(parts)  # (copies + 1, samples, features)

    def fit(self, chosen: torch.Tensor, classes: int, strength: float, balance: bool = True) -> nn.Linear:
        """A linear layer fitted to the samples of a mask `(samples,)`, and all their copies.

        Args:
            balance (`bool`, defaults to `True`): every class counts as much, whatever its number of samples.
        """
        features = self.features[:, chosen].flatten(0, 1)
        labels = self.labels[chosen].repeat(len(self.features))
        return fit_linear(features, labels, classes, strength, balance=balance)


@torch.inference_mode()
def _varied(
    model: nn.Module, items: Sequence[dict], size: int, settings: Augmentation, generator: torch.Generator
) -> Iterator[torch.Tensor]:
    device = next(model.parameters()).device
    for start in range(0, len(items), BATCH):
        pixel_values, _ = augment_images(items[start : start + BATCH], size, settings, generator)
        outputs = model.backbone(pixel_values.to(device), output_hidden_states=True)
        yield model.backbone.image_features(outputs).float().cpu()
