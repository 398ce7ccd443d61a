"""Segmentation: slices for the Trainer, and Dice as it is reported, per slice and per volume."""

from collections.abc import Iterable

import numpy as np
import torch
from torch.utils.data import Dataset

from ..data.schema import LabelledStack
from ..hub.components_cmr import keep_largest_components
from ..hub.image_processing_cmr import CMRImageProcessor
from .augmentation import Augmentation, augment_batch


class SegmentationSlices(Dataset):
    """All slices of some stacks, each with the point around which to crop.

    Args:
        stacks (iterable of `LabelledStack`)
        end_slice_repeats (`int`, defaults to 1): how often each of the two slices at either end of a stack is seen
            for once of the others; whether there is still ventricle at base and apex is what is hard to tell.
    """

    def __init__(self, stacks: Iterable[LabelledStack], end_slice_repeats: int = 1):
        self.slices: list[dict] = []
        for stack in stacks:
            centre_mm = mask_centre_mm(stack.masks, stack.spacing_mm)
            images = stack.images.astype(np.float32)
            top = max(float(np.percentile(images, 99.9)), 1e-6)
            count = len(stack.images)
            for index, (image, mask) in enumerate(zip(images, stack.masks, strict=True)):
                item = {
                    "image": torch.from_numpy(np.clip(image / top, 0, 1).astype(np.float16)),
                    "mask": torch.from_numpy(mask),
                    "spacing_mm": stack.spacing_mm,
                    "heart_mm": centre_mm,
                }
                at_end = index < 2 or index >= count - 2
                self.slices += [item] * (end_slice_repeats if at_end else 1)

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> dict:
        return self.slices[index]


def mask_centre_mm(masks: np.ndarray, spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Centroid (row, column) of all labelled pixels, in mm from the centre of the slice; (0, 0) without any."""
    rows, columns = np.nonzero(masks.any(axis=0))
    if len(rows) == 0:
        return 0.0, 0.0
    height, width = masks.shape[-2:]
    return (
        float((rows.mean() - (height - 1) / 2) * spacing_mm[0]),
        float((columns.mean() - (width - 1) / 2) * spacing_mm[1]),
    )


class AugmentingCollator:
    """A batch of augmented crops; small crops around the heart train faster, full ones teach where no heart is.

    Args:
        crop_sizes (`list` of `int`): one is drawn for each batch; entries may repeat. Crops of the largest size are
            centred on the image as at inference, smaller ones on the heart.
        classes (`int`): number of labels.
        settings (`Augmentation`): how strongly to vary.
        seed (`int`): of all draws.
    """

    def __init__(self, crop_sizes: list[int], classes: int, settings: Augmentation, seed: int):
        self.crop_sizes = list(crop_sizes)
        self.classes = classes
        self.settings = settings
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, slices: list[dict]) -> dict[str, torch.Tensor]:
        pick = int(torch.randint(len(self.crop_sizes), (1,), generator=self.generator))
        size = self.crop_sizes[pick]
        on_image = size == max(self.crop_sizes)
        items = [{**item, "centre_mm": (0.0, 0.0) if on_image else item["heart_mm"]} for item in slices]
        pixel_values, labels = augment_batch(items, size, self.classes, self.settings, self.generator)
        return {"pixel_values": pixel_values, "labels": labels}


@torch.inference_mode()
def segment_stack(
    model: torch.nn.Module,
    processor: CMRImageProcessor,
    images: np.ndarray,
    spacing_mm: tuple[float, float],
    batch_size: int = 16,
) -> np.ndarray:
    """Label maps of shape `(z, y, x)`, uint8, on the source grid of a stack of the same shape."""
    device = next(model.parameters()).device
    pixel_values = processor(images, spacing_mm=spacing_mm)["pixel_values"]
    logits = [model(pixel_values=part.to(device)).logits.float().cpu() for part in pixel_values.split(batch_size)]
    labels = processor.segment(torch.cat(logits), images.shape[-2:], spacing_mm)[0]
    return keep_largest_components(labels[None], model.config.single_component_labels or [])[0].numpy()


def dice(predicted: np.ndarray, truth: np.ndarray) -> float | None:
    """Dice of two masks of one shape; `None` when the class is absent from both, 0 when from the truth alone."""
    total = int(predicted.sum()) + int(truth.sum())
    return None if total == 0 else 2.0 * int((predicted & truth).sum()) / total


def dice_table(
    cases: Iterable[tuple[np.ndarray, np.ndarray]], labels: dict[int, str]
) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """Mean and standard deviation of Dice, per slice and per volume.

    Args:
        cases: pairs (predicted, truth) of label maps of shape `(z, y, x)`.
        labels (`dict`): id → name of the classes to report.

    Returns:
        `{"per_slice": {name: {"mean", "sd", "n"}}, "per_volume": …}`; a class absent from both maps is left out.
    """
    cases = list(cases)
    table: dict[str, dict] = {"per_slice": {}, "per_volume": {}}
    for label, name in labels.items():
        volumes = [dice(predicted == label, truth == label) for predicted, truth in cases]
        slices = [
            dice(p == label, t == label) for predicted, truth in cases for p, t in zip(predicted, truth, strict=True)
        ]
        for level, values in (("per_slice", slices), ("per_volume", volumes)):
            present = [value for value in values if value is not None]
            table[level][name] = {
                "mean": float(np.mean(present)) if present else None,
                "sd": float(np.std(present)) if present else None,
                "n": len(present),
            }
    return table


def evaluate_stacks(
    model: torch.nn.Module, processor: CMRImageProcessor, stacks: Iterable[LabelledStack], labels: dict[int, str]
) -> dict:
    """`dice_table` of a model on stacks, on their own grids."""
    was_training = model.training
    model.eval()
    cases = [(segment_stack(model, processor, stack.images, stack.spacing_mm), stack.masks) for stack in stacks]
    model.train(was_training)
    return dice_table(cases, labels)
