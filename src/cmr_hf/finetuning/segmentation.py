"""Segmentation: slices for the Trainer, and Dice as it is reported, per slice and per volume."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import Dataset

from ..data.schema import UNKNOWN, LabelledStack, known_of
from ..evaluation.overlap import dice
from ..hub.components_cmr import clean_labels
from ..hub.image_processing_cmr import CMRImageProcessor
from .augmentation import Augmentation, Draws, augment_batch

NOMINAL_SPACING_MM = (1.4, 1.4)  # of the processor, for sources without any
NEVER = -1e4  # a logit whose softmax is 0


class SegmentationSlices(Dataset):
    """All slices of some stacks on which somebody drew, each with the point around which to crop.

    Args:
        stacks (iterable of `LabelledStack`)
        labels (iterable of `int`): ids of the model; those that were not drawn on a slice count in no loss there.
        end_slice_repeats (`int`, defaults to 1): how often each of the two slices at either end of a stack is seen
            for once of the others; whether there is still ventricle at base and apex is what is hard to tell.
        keep_untold (`bool`, defaults to `False`): keep slices on which nobody drew, for a teacher to tell.
    """

    def __init__(
        self,
        stacks: Iterable[LabelledStack],
        labels: Iterable[int],
        end_slice_repeats: int = 1,
        keep_untold: bool = False,
    ):
        self.slices: list[dict] = []
        labels = sorted(labels)
        for stack in stacks:
            centre_mm = mask_centre_mm(stack.masks, stack.spacing_mm or NOMINAL_SPACING_MM)
            images = stack.images.astype(np.float32)
            top = max(float(np.percentile(images, 99.9)), 1e-6)
            count = len(stack.images)
            for index, (image, mask) in enumerate(zip(images, stack.masks, strict=True)):
                mask, drawn = known_of(mask, stack.drawn)
                if not drawn and not keep_untold:
                    continue
                item = {
                    "image": torch.from_numpy(np.clip(image / top, 0, 1).astype(np.float16)),
                    "mask": torch.from_numpy(mask),
                    "drawn": torch.tensor([label == 0 or label in drawn for label in labels]),
                    "absent": torch.tensor([label in stack.absent for label in labels]),
                    "spacing_mm": stack.spacing_mm or NOMINAL_SPACING_MM,
                    "heart_mm": centre_mm,
                }
                at_end = index < 2 or index >= count - 2
                self.slices += [item] * (end_slice_repeats if at_end else 1)

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> dict:
        return self.slices[index]


def weights_of(lengths: Sequence[int], shares: Sequence[float]) -> torch.Tensor:
    """Weight of each slice of data sets set end to end, so that each set has its share of what is seen.

    Args:
        lengths: number of slices of each set.
        shares: of each set, in any unit.

    Raises:
        ValueError: a share is missing or not positive, or a set is empty.
    """
    if len(lengths) != len(shares) or min((*lengths, *shares)) <= 0:
        raise ValueError(
            f"`share` needs a positive number for each data set, and each set slices; got shares {list(shares)} for "
            f"{list(lengths)} slices: give `share` to all of `train_on` or to none"
        )
    parts = [torch.full((count,), share / count) for count, share in zip(lengths, shares, strict=True)]
    return torch.cat(parts).double()


def merge_undrawn(logits: torch.Tensor, drawn: torch.Tensor, absent: torch.Tensor | None = None) -> torch.Tensor:
    """Logits in which classes that nobody drew are part of the background, as they are in the labels.

    Args:
        logits (`torch.Tensor` of shape `(batch, classes, height, width)`)
        drawn (`torch.BoolTensor` of shape `(batch, classes)`): the background is always drawn.
        absent (`torch.BoolTensor` of the same shape, *optional*): classes that are not asked for, see `LabelledStack`.

    Returns:
        Logits of the same shape, float32: the softmax of class 0 is the sum over all undrawn classes, theirs is 0, as
        is that of absent classes, which learn nothing.

    Source: the marginal loss of Shi et al. 2021, "Marginal loss and exclusion loss for partially supervised
    multi-organ segmentation".
    """
    logits = logits.float()
    if absent is not None:
        logits = logits.masked_fill(absent[:, :, None, None], NEVER)
    own = drawn[:, :, None, None].clone()
    own[:, 0] = False
    rest = logits.masked_fill(own, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.cat((rest, logits.masked_fill(~own, NEVER)[:, 1:]), dim=1)


def mask_centre_mm(masks: np.ndarray, spacing_mm: tuple[float, float]) -> tuple[float, float]:
    """Centroid (row, column) of all labelled pixels, in mm from the centre of the slice; (0, 0) without any."""
    rows, columns = np.nonzero(((masks != 0) & (masks != UNKNOWN)).any(axis=0))
    if len(rows) == 0:
        return 0.0, 0.0
    height, width = masks.shape[-2:]
    return (
        float((rows.mean() - (height - 1) / 2) * spacing_mm[0]),
        float((columns.mean() - (width - 1) / 2) * spacing_mm[1]),
    )


class AugmentingCollator(Draws):
    """A batch of augmented crops; small crops around the heart train faster, full ones teach where no heart is.

    Args:
        crop_sizes (`list` of `int`): one is drawn for each batch; entries may repeat. Crops of the largest size are
            centred on the image as at inference, smaller ones on the heart.
        classes (`int`): number of labels.
        settings (`Augmentation`): how strongly to vary.
        seed (`int`): of all draws.
    """

    def __init__(self, crop_sizes: list[int], classes: int, settings: Augmentation, seed: int):
        super().__init__(seed)
        self.crop_sizes = list(crop_sizes)
        self.classes = classes
        self.settings = settings

    def __call__(self, slices: list[dict]) -> dict[str, torch.Tensor]:
        generator = self.draws()
        pick = int(torch.randint(len(self.crop_sizes), (1,), generator=generator))
        size = self.crop_sizes[pick]
        on_image = size == max(self.crop_sizes)
        items = [{**item, "centre_mm": (0.0, 0.0) if on_image else item["heart_mm"]} for item in slices]
        pixel_values, labels = augment_batch(items, size, self.classes, self.settings, generator)
        told = {name: torch.stack([item[name] for item in slices]) for name in ("drawn", "absent")}
        return {"pixel_values": pixel_values, "labels": labels, **told}


@torch.inference_mode()
def segment_stack(
    model: torch.nn.Module,
    processor: CMRImageProcessor,
    images: np.ndarray,
    spacing_mm: tuple[float, float],
    batch_size: int = 16,
    absent: Sequence[int] = (),
) -> np.ndarray:
    """Label maps of shape `(z, y, x)`, uint8, on the source grid of a stack of the same shape; none of `absent` ids."""
    device = next(model.parameters()).device
    pixel_values = processor(images, spacing_mm=spacing_mm)["pixel_values"]
    logits = [model(pixel_values=part.to(device)).logits.float().cpu() for part in pixel_values.split(batch_size)]
    logits = torch.cat(logits)
    logits[:, list(absent)] = NEVER
    labels = processor.segment(logits, images.shape[-2:], spacing_mm)[0]
    return clean_labels(labels[None], model.config.single_component_labels or [])[0].numpy()


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
    """`dice_table` of a model on stacks, on their own grids; what nobody drew on a stack is not judged there."""
    was_training = model.training
    model.eval()
    cases = []
    for stack in stacks:
        predicted = segment_stack(model, processor, stack.images, stack.spacing_mm, absent=stack.absent)
        judged = stack.drawn or list(labels)
        known = stack.masks != UNKNOWN
        cases.append((predicted * (np.isin(predicted, judged) & known), stack.masks * np.isin(stack.masks, judged)))
    model.train(was_training)
    return dice_table(cases, labels)


def told_slices(stack: LabelledStack) -> LabelledStack | None:
    """The slices of a stack on which somebody drew, as `known_of` has them; `None` when there are none."""
    told = [known_of(mask, stack.drawn) for mask in stack.masks]
    kept = [index for index, (_, drawn) in enumerate(told) if drawn]
    if not kept:
        return None
    return replace(
        stack,
        images=stack.images[kept],
        masks=np.stack([told[index][0] for index in kept]),
        drawn=tuple(sorted(set.intersection(*(set(told[index][1]) for index in kept)))),
        slice_indices=tuple(stack.slice_indices[index] for index in kept),
        landmarks=[stack.landmarks[index] for index in kept],
    )
