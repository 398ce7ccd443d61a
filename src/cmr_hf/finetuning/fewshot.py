"""Few-shot learning on a frozen encoder: what little labelled data is enough, for several encoders.

Features are extracted once. Classes of images are told by one linear layer on them, masks and landmarks by a decoder
on the stored encodings, without augmentation. All arms see the same draws of samples.

Source: Jacob et al. 2024, section 4 (few-shot learning).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers.modeling_outputs import BaseModelOutput

from ..evaluation.classes import class_accuracy
from ..hub.decoding_cmr import segmentation_loss
from ..hub.image_processing_cmr import CMRImageProcessor
from ..hub.landmarks_cmr import landmark_loss
from .answers import landmark_distances_mm, pixel_values_of
from .augmentation import Augmentation, augment_batch
from .crops import augment_images
from .segmentation import evaluate_stacks, merge_undrawn

OFF = Augmentation(**dict.fromkeys(Augmentation.__dataclass_fields__, 0.0))
BATCH = 16


@dataclass(frozen=True)
class DecoderSettings:
    """How a decoder is trained on stored encodings.

    Attributes:
        steps (`int`): whatever the number of samples.
        batch_size (`int`): drawn with replacement.
        learning_rate (`float`): of AdamW at the start; it falls to 0 as a cosine.
    """

    steps: int = 300
    batch_size: int = 8
    learning_rate: float = 1e-3


def draw_per_class(labels: Sequence[int], shots: int, seed: int) -> list[int]:
    """Indices of `shots` samples of each class, all of one that has fewer; larger draws hold the smaller ones."""
    labels = np.asarray(labels)
    chosen = []
    for label in np.unique(labels).tolist():
        order = np.random.default_rng([seed, label]).permutation(np.flatnonzero(labels == label))
        chosen += order[:shots].tolist()
    return sorted(chosen)


def draw(count: int, shots: int, seed: int) -> list[int]:
    """Indices of `shots` of `count` samples; larger draws hold the smaller ones."""
    return sorted(np.random.default_rng(seed).permutation(count)[:shots].tolist())


# Classes of images: a linear layer


@torch.inference_mode()
def features_of(model: nn.Module, processor: CMRImageProcessor, samples: Sequence[dict[str, Any]]) -> torch.Tensor:
    """What the classifier stands on, `(samples, feature_size)`, float32; images of shape `(y, x)` or `(c, y, x)`."""
    model.eval()
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(samples), BATCH):
        pictures = []
        for sample in samples[start : start + BATCH]:
            image = np.asarray(sample["image"], np.float32)
            image = image[0] if image.ndim == 3 and len(image) == 1 else image
            pictures.append(pixel_values_of(processor, {"image": image, "spacing_mm": sample["spacing_mm"]}))
        outputs = model.backbone(torch.stack(pictures).to(device), output_hidden_states=True)
        parts.append(model.backbone.image_features(outputs).float().cpu())
    return torch.cat(parts)


def fit_linear(
    features: torch.Tensor, labels: torch.Tensor, classes: int, strength: float = 1.0, balance: bool = False
) -> nn.Linear:
    """One linear layer by cross-entropy, to the optimum (L-BFGS), on features of mean 0 and deviation 1.

    Args:
        features (`torch.Tensor` of shape `(n, d)`), labels (`(n,)`).
        strength (`float`): of the squared norm of the weights, over n, as scikit-learn's 1 / C.
        balance (`bool`): every class counts as much, as scikit-learn's `class_weight="balanced"`.

    Returns:
        A layer for features as they are: the scaling is in its weights.
    """
    mean, deviation = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
    scaled = (features - mean) / deviation
    layer = nn.Linear(features.shape[1], classes)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    weights = len(labels) / (int((torch.bincount(labels) > 0).sum()) * counts.float()) if balance else None

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (
            F.cross_entropy(layer(scaled), labels, weight=weights)
            + strength / (2 * len(labels)) * layer.weight.square().sum()
        )
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        layer.weight /= deviation
        layer.bias -= layer.weight @ mean
    return layer.requires_grad_(False)


def judge_linear(
    train: tuple[torch.Tensor, torch.Tensor], test: tuple[torch.Tensor, torch.Tensor], names: dict[int, str]
) -> dict[str, float]:
    """Accuracies on `test` of a linear layer fitted to `train`, both pairs of features and class ids."""
    layer = fit_linear(*train, len(names))
    found = class_accuracy(layer(test[0]).argmax(-1).tolist(), test[1].tolist(), len(names))
    by_class = {f"accuracy_{names[index]}": value for index, value in enumerate(found.per_class) if value is not None}
    return {"balanced_accuracy": found.balanced, "accuracy": found.total} | by_class


# Masks and landmarks: a decoder


class Encodings(Dataset):
    """Crops without augmentation and what the frozen encoder makes of them, in float16.

    Args:
        model: with `backbone` and `decoder`.
        items: of `SegmentationSlices` or `ImageSamples`.
        size (`int`): side of the crop, in pixels of 1 mm.
    """

    def __init__(self, model: nn.Module, items: Sequence[dict[str, Any]], size: int):
        self.entries: list[dict[str, Any]] = []
        needed = _needed(model)
        model.eval()
        for start in range(0, len(items), BATCH):
            batch = _plain_crops(items[start : start + BATCH], size, model.config.num_labels)
            with torch.inference_mode():
                outputs = model.encode(batch["pixel_values"].to(next(model.parameters()).device), None)
            for index in range(len(batch["pixel_values"])):
                states = [
                    state[index].half().cpu() if place in needed else None
                    for place, state in enumerate(outputs.hidden_states)
                ]
                entry = {name: values[index] for name, values in batch.items()}
                self.entries.append(entry | {"last": outputs.last_hidden_state[index].half().cpu(), "states": states})

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.entries[index]

    def batch(self, indices: Sequence[int], device: torch.device) -> tuple[dict[str, torch.Tensor], BaseModelOutput]:
        """Pictures and labels, and the encoder's output for them."""
        rows = [self.entries[index] for index in indices]
        plain = {
            name: torch.stack([row[name] for row in rows]).clone().to(device)
            for name in rows[0]
            if name not in ("last", "states")
        }
        states = tuple(
            None if part[0] is None else torch.stack(part).float().to(device)
            for part in zip(*(row["states"] for row in rows), strict=True)
        )
        last = torch.stack([row["last"] for row in rows]).float().to(device)
        return plain, BaseModelOutput(last_hidden_state=last, hidden_states=states)


def _needed(model: nn.Module) -> set[int]:
    """Which hidden states the decoder takes beside the last."""
    if model.config.decoder_type == "unetr":
        return set(model.decoder.tap_blocks[1:])
    return set(range(100)) if model.config.decoder_type == "unet" else set()


def _plain_crops(items: Sequence[dict[str, Any]], size: int, classes: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    if "mask" in items[0]:
        centred = [item | {"centre_mm": (0.0, 0.0)} for item in items]
        pixel_values, labels = augment_batch(centred, size, classes, OFF, generator)
        told = {name: torch.stack([item[name] for item in items]) for name in ("drawn", "absent")}
        return {"pixel_values": pixel_values, "labels": labels, **told}
    pixel_values, points = augment_images(items, size, OFF, generator)
    counts = torch.stack([~item["points"].isnan().any(-1) for item in items])
    return {"pixel_values": pixel_values, "labels": points, "counts": counts}


def train_decoder(
    model: nn.Module, data: Encodings, indices: Sequence[int], settings: DecoderSettings, seed: int
) -> None:
    """Trains a new decoder on some of the stored encodings, in place; the encoder is not run."""
    torch.manual_seed(seed)
    model.decoder = copy.deepcopy(type(model)(model.config).decoder).to(next(model.parameters()).device)
    device = next(model.parameters()).device
    optimizer = torch.optim.AdamW(model.decoder.parameters(), lr=settings.learning_rate)
    generator = np.random.default_rng(seed)
    model.decoder.train()
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1 + math.cos(math.pi * step / settings.steps)) / 2
        chosen = generator.choice(indices, settings.batch_size).tolist()
        batch, outputs = data.batch(chosen, device)
        logits = model.decoder(batch["pixel_values"], outputs.hidden_states, outputs.last_hidden_state)
        if "drawn" in batch:
            loss = segmentation_loss(
                merge_undrawn(logits, batch["drawn"], batch["absent"]), batch["labels"], model.config
            )
        else:
            loss = landmark_loss(logits, batch["labels"], model.config.landmark_sigma, batch["counts"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def judge_decoder(model: nn.Module, processor: CMRImageProcessor, validation: Sequence[Any]) -> dict[str, float]:
    """Dice per volume, or distances in mm, of a model on held-out stacks or samples; means over the classes first."""
    names = model.config.id2label
    if isinstance(validation[0], dict):
        apart = landmark_distances_mm(model, processor, validation)
        found = {name: float(np.nanmean(apart[:, index])) for index, name in names.items()}
        prefix = "distance_mm"
    else:
        labels = {index: name for index, name in names.items() if index}
        table = evaluate_stacks(model, processor, validation, labels)["per_volume"]
        found = {name: entry["mean"] for name, entry in table.items() if entry["mean"] is not None}
        prefix = "dice"
    mean = float(np.mean(list(found.values()))) if found else 0.0
    return {prefix: mean} | {f"{prefix}_{name}": value for name, value in found.items()}
