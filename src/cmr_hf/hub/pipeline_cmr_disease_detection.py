"""`pipeline("cmr-disease-detection")`: normal, DCM, HCM, previous infarct or abnormal RV, from a short-axis cine."""

from collections.abc import Sequence

import numpy as np

from .classifying_cmr import DetectionPipeline, at_level, base_to_apex, checked_indices
from .reading_cmr import CMRImage, ReadingError

BASAL = 0.25  # part of the stack from base to apex


class CMRDiseaseDetectionPipeline(DetectionPipeline):
    """Disease from a basal slice at end-diastole, half-way and at end-systole: `{"label", "score"}`, best first.

    Takes a short-axis cine of shape `(t, z, y, x)` as `cmr-segmentation` does, or `{"images": [ED, between, ES]}`;
    an array or file of three images and one phase is taken as these. Of a cine, the slice nearest to a quarter of the
    way from base to apex; end-diastole is the first phase (triggered by the R wave), end-systole the one that differs
    most from it in the middle half of the picture. Of two phases the second counts for the half-way image too.

    Call arguments:
        phases (two or three `int`, *optional*): end-diastole, (between,) end-systole, instead of this rule.
        slice_index (`int`, *optional*): the slice, instead of this rule.
        top_k (`int`, *optional*): how many labels, by default all.
        spacing_mm (two `float`, *optional*): (row, column), instead of what the source says.
        batch_size (`int`, defaults to 8): hearts per forward pass.

    Research use only; not a medical device. Source: Jacob et al. 2024, task 9.
    """

    for_task = "cmr-disease-detection"
    before = ("spacing_mm", "phases", "slice_index")
    three = "end-diastole, between, end-systole"

    def three_images(
        self, image: CMRImage, phases: Sequence[int] | None = None, slice_index: int | None = None
    ) -> np.ndarray:
        cine = image.pixels.reshape((1,) * (4 - image.pixels.ndim) + image.pixels.shape)  # (t, z, y, x)
        order = base_to_apex(image)
        if cine.shape[:2] == (1, 3):  # the three themselves
            cine, order = cine.swapaxes(0, 1), [0]
            phases = (0, 1, 2) if phases is None else phases
        if len(cine) < 2:
            raise ReadingError(
                f"{image.source} needs phases, (t, z, y, x) ({self.three}), got shape {image.pixels.shape}: "
                "pass the whole cine, or {'images': [ED, between, ES]}"
            )
        if slice_index is None:
            slice_index = at_level(order, BASAL)
        frames = cine[:, checked_indices("slice_index", slice_index, (1,), cine.shape[1])[0]]
        chosen = (0, end_systole(frames)) if phases is None else checked_indices("phases", phases, (2, 3), len(cine))
        ed, *between, es = chosen
        half_way = between[0] if between else -(-(ed + es) // 2)  # rounded up: of two phases the second
        return frames[[ed, half_way, es]]


def end_systole(frames: np.ndarray) -> int:
    """The phase that differs most from the first, by the mean absolute difference in the middle half; (t, y, x)."""
    height, width = frames.shape[-2:]
    middle = frames[:, height // 4 : height - height // 4, width // 4 : width - width // 4].astype(np.float32)
    return 1 + int(np.abs(middle[1:] - middle[:1]).mean(axis=(1, 2)).argmax())
