"""`pipeline("cmr-lge-detection")`: is there late gadolinium enhancement in this short-axis stack?"""

from collections.abc import Sequence

import numpy as np

from .classifying_cmr import DetectionPipeline, at_level, base_to_apex
from .reading_cmr import CMRImage, ReadingError

LEVELS = (0.25, 0.5, 0.75)  # basal, mid, apical: parts of the stack from base to apex


class CMRLGEDetectionPipeline(DetectionPipeline):
    """Late gadolinium enhancement from a basal, a mid and an apical slice: a list of `{"label", "score"}`, best first.

    Takes an LGE short-axis stack as `cmr-segmentation` does (of several phases the first), or
    `{"images": [basal, mid, apical]}`. Of a stack of three slices all are taken, of a taller one those nearest to a
    quarter, half and three quarters of the way from base to apex. Base comes first as stored, unless the position in
    patient space says otherwise.

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
        order = base_to_apex(image)
        if slices is None:
            slices = order if len(order) == 3 else [at_level(order, part) for part in LEVELS]
        if len(slices) != 3:
            raise ValueError(f"`slices` needs three numbers (basal, mid, apical), got {slices!r}")
        return stack[list(slices)]
