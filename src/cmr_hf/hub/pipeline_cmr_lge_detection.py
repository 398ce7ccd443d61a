"""`pipeline("cmr-lge-detection")`: is there late gadolinium enhancement in this short-axis stack?"""

from collections.abc import Sequence

import numpy as np

from .classifying_cmr import DetectionPipeline, base_to_apex, checked_indices
from .reading_cmr import CMRImage, ReadingError


class CMRLGEDetectionPipeline(DetectionPipeline):
    """Late gadolinium enhancement from a basal, a mid and an apical slice: a list of `{"label", "score"}`, best first.

    Takes an LGE short-axis stack as `cmr-segmentation` does (of several phases the first), or
    `{"images": [basal, mid, apical]}`. Of a stack of three slices all are taken, of a taller one those a quarter, half
    and three quarters of the way from base to apex. Base comes first as stored, unless the position in patient space
    says otherwise.

    Call arguments:
        slices (three `int`, *optional*): basal, mid and apical slice of the stack, instead of this rule.
        top_k (`int`, *optional*): how many labels, by default all.
        spacing_mm (two `float`, *optional*): (row, column), instead of what the source says.
        batch_size (`int`, defaults to 8): hearts per forward pass.

    Research use only; not a medical device. Source: Jacob et al. 2024, task 8.
    """

    for_task = "cmr-lge-detection"
    before = ("spacing_mm", "slices")
    three = "basal, mid and apical slice"

    def three_images(self, image: CMRImage, slices: Sequence[int] | None = None) -> np.ndarray:
        stack = image.pixels if image.pixels.ndim < 4 else image.pixels[0]
        if stack.ndim < 3 or len(stack) < 3:
            raise ReadingError(
                f"{image.source} needs three slices or more ({self.three}), got shape {image.pixels.shape}: "
                "pass the whole stack, or {'images': [basal, mid, apical]}"
            )
        if slices is None:
            order = base_to_apex(image)
            slices = [order[level] for level in levels(len(order))]
        return stack[checked_indices("slices", slices, (3,), len(stack))]


def levels(count: int) -> list[int]:
    """A quarter, half and three quarters of the way down a stack of three slices or more: three different ones.

    The outer two are rounded outwards, so that they lie alike from base and apex.
    """
    basal = (count - 1) // 4
    return [basal, (count - 1) // 2, count - 1 - basal]
