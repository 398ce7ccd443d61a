"""`pipeline("cmr-segmentation")`: any cardiac MR image in, a label map on its own grid out."""

import numpy as np
import torch

from .components_cmr import clean_labels
from .reading_cmr import CMRImage
from .slicewise_cmr import SLICES_AT_ONCE, SlicewisePipeline
from .turning_cmr import Turn, turn_for


class CMRSegmentationPipeline(SlicewisePipeline):
    """Segments an image, a stack or a cine, slice by slice, on the source grid.

    Takes a path to DICOM (a file, or a folder that is one stack, over time where there are phases), NIfTI, PNG or
    JPEG; a numpy array, torch tensor or PIL image of shape `(y, x)`, `(z, y, x)` or `(t, z, y, x)`; a dict
    `{"image": …, "spacing_mm": (row, column)}`; or a list of these. Slices of one call, and of one list, are batched.
    Models of four-chamber views see those whose header places them in the patient with the apex up; what comes back
    lies as the source does.

    Call arguments:
        spacing_mm (two `float`, *optional*): (row, column), instead of what the source says.
        return_probabilities (`bool`, defaults to `False`): add `probabilities`.
        batch_size (`int`, defaults to 8): slices per forward pass.

    Returns a `dict` (a list of them for a list):
        segmentation (`np.ndarray`, uint8): class ids; arrays and pictures keep their shape, files give `(t, z, y, x)`.
        labels (`dict`): id → name.
        scores (`dict`): name → mean probability over the pixels that the model gave to that class and that stayed in
            it; `None` where there are none.
        spacing_mm (two `float`): (row, column); `spacing_known` is `False` where it is the processor's default.
        slice_distance_mm (`float` or `None`): centre to centre.
        affine (`np.ndarray` of shape `(4, 4)` or `None`): (column, row, slice) → patient LPS mm.
        left_out (`list` of `dict`): files of a folder that were not used, and why.
        probabilities (`np.ndarray` of shape `(classes, …)`, float32): only with `return_probabilities`; the
            model's own, before islands are taken away and holes filled (`config.single_component_labels`).

    Research use only; not a medical device.
    """

    for_task = "cmr-segmentation"
    after = ("return_probabilities",)

    def turn(self, image: CMRImage) -> Turn:
        """Four-chamber pictures with the apex up, for models that know the atria."""
        return turn_for(self.model.config.id2label.values(), image.affine)

    def postprocess(self, model_outputs: list[dict], return_probabilities: bool = False) -> dict:
        image: CMRImage = model_outputs[0]["image"]
        names = {int(index): name for index, name in self.model.config.id2label.items()}
        spacing = self.image_processor.spacing_or_default(image.spacing_mm)
        turn = self.turn(image)
        laid = turn.pair(image.pixels.shape[-2:]), turn.pair(spacing)  # size and spacing of what the model saw
        labels, foreground, probabilities, everywhere = [], [], [], 0.0
        for start in range(0, len(model_outputs), SLICES_AT_ONCE):
            logits = torch.cat([output["answers"] for output in model_outputs[start : start + SLICES_AT_ONCE]])
            if return_probabilities:
                found, chances = self.image_processor.segment(logits, *laid)
                probabilities.append(turn.back(chances.numpy()))
                confidence = chances.amax(dim=1)
            else:
                found, confidence = self.image_processor.segment_with_confidence(logits, *laid)
            labels.append(turn.back(found.numpy()))
            sure = turn.back(confidence.numpy())
            foreground.append(sure[labels[-1] > 0])
            everywhere += float(sure.sum(dtype=np.float64))
        stacked = torch.from_numpy(np.concatenate(labels))
        shape = (1,) * (4 - image.pixels.ndim) + image.pixels.shape  # (t, z, y, x)
        cleaned = clean_labels(stacked.view(shape), self.model.config.single_component_labels or [])
        flat = cleaned.flatten().numpy()
        totals, counts = sums_per_class(
            stacked.flatten().numpy(), flat, np.concatenate(foreground), everywhere, len(names)
        )
        result = {
            "segmentation": flat.reshape(image.pixels.shape),
            "labels": names,
            "scores": {
                name: float(totals[index] / counts[index]) if counts[index] else None for index, name in names.items()
            },
            "spacing_mm": spacing,
            "spacing_known": image.spacing_mm is not None,
            "slice_distance_mm": image.slice_distance_mm,
            "affine": image.affine,
            "left_out": image.left_out,
        }
        if return_probabilities:
            slices = np.concatenate(probabilities)  # (n, classes, y, x)
            result["probabilities"] = np.moveaxis(slices, 1, 0).reshape(len(names), *image.pixels.shape)
        return result


def sums_per_class(
    found: np.ndarray, cleaned: np.ndarray, foreground: np.ndarray, everywhere: float, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the confidence, and number of pixels, of each class, without the pixels of islands and filled holes.

    Most pixels are background, whose sum is what the others leave; float64 holds these sums without rounding.

    Args:
        found, cleaned (`np.ndarray` of shape `(pixels,)`): labels before and after islands were taken away and holes
            filled; what was background counts as background.
        foreground (`np.ndarray` of shape `(n,)`): confidence where `found` is not background.
        everywhere (`float`): sum of the confidence of all pixels.
        classes (`int`): number of classes.

    Returns:
        Two arrays of shape `(classes,)`.
    """
    at = np.flatnonzero(found)
    kept = cleaned[at] == found[at]
    totals = np.bincount(found[at[kept]], weights=foreground[kept], minlength=classes)
    counts = np.bincount(found[at[kept]], minlength=classes)
    totals[0] = everywhere - foreground.sum(dtype=np.float64)
    counts[0] = len(found) - len(at)
    return totals, counts
