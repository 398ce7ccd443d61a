"""`pipeline("cmr-landmark-detection")`: where the RV meets the septum, in pixels and patient millimetres."""

import numpy as np
import torch

from .reading_cmr import CMRImage
from .slicewise_cmr import SlicewisePipeline


class CMRLandmarkDetectionPipeline(SlicewisePipeline):
    """Landmarks of each slice and phase: a list of `dict`, in the order of the slices.

    Takes what `cmr-segmentation` takes. Each `dict` has

        label (`str`): the landmark's name.
        phase (`int`), slice (`int`): where in the source, from 0.
        pixel (two `float`): (row, column) on the source grid; (0, 0) is the centre of the first pixel.
        patient_mm (three `float` or `None`): LPS, where the source has a position in space.
        score (`float`): probability that it lies within 4 standard deviations of the heatmap (16 mm) of this point.

    Call arguments:
        threshold (`float`, defaults to 0): landmarks with a lower score are left out.
        spacing_mm (two `float`, *optional*): (row, column), instead of what the source says.
        batch_size (`int`, defaults to 8): slices per forward pass.

    Research use only; not a medical device. Source: Jacob et al. 2024, task 7.
    """

    for_task = "cmr-landmark-detection"
    after = ("threshold",)

    def postprocess(self, model_outputs: list[dict], threshold: float = 0.0) -> list[dict]:
        image: CMRImage = model_outputs[0]["image"]
        size, slices = image.pixels.shape[-2:], image.pixels.shape[-3] if image.pixels.ndim > 2 else 1
        points, scores = self.image_processor.find_landmarks(
            torch.cat([output["answers"] for output in model_outputs]),
            size,
            self.image_processor.spacing_or_default(image.spacing_mm),
            self.model.config.landmark_sigma,
        )
        found = []
        for index, (places, chances) in enumerate(zip(points.tolist(), scores.tolist(), strict=True)):
            for label, (row, column), score in zip(range(len(places)), places, chances, strict=True):
                if score < threshold:
                    continue
                position = None
                if image.affine is not None:
                    place = np.array([column, row, index % slices, 1.0])
                    position = tuple(float(value) for value in (image.affine @ place)[:3])
                found.append(
                    {
                        "label": self.model.config.id2label[label],
                        "phase": index // slices,
                        "slice": index % slices,
                        "pixel": (row, column),
                        "patient_mm": position,
                        "score": score,
                    }
                )
        return found
