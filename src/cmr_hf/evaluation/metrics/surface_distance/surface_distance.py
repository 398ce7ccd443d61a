"""The average symmetric surface distance of label maps, in mm."""

import evaluate
import numpy as np

from cmr_hf.evaluation.metrics import described, label_maps, summary
from cmr_hf.evaluation.surfaces import surface_distances

CITATION = "Heimann et al. 2009, Comparison and evaluation of methods for liver segmentation, IEEE TMI 28(8)"


class SurfaceDistance(evaluate.Metric):
    """`compute(predictions, references, labels, spacings_mm)`: the average symmetric surface distance.

    Label maps `(z, y, x)` or `(y, x)`; one spacing in mm per map, in the order of its axes, along z the distance
    between slice centres. Returns `{id: {"mean", "sd", "n", "undefined"}}`; a map in which a label is missing on
    either side is undefined for that label.
    """

    def _info(self) -> evaluate.MetricInfo:
        return described(self.__doc__ or "", CITATION, label_maps())

    def _compute(self, predictions: list, references: list, labels: list[int], spacings_mm: list) -> dict:
        if len(spacings_mm) != len(predictions):
            raise ValueError(
                f"`spacings_mm` needs one entry for each of {len(predictions)} maps, got {len(spacings_mm)}"
            )
        found: dict[int, list] = {label: [] for label in labels}
        for predicted, truth, spacing in zip(predictions, references, spacings_mm, strict=True):
            predicted, truth = np.asarray(predicted), np.asarray(truth)
            for label, values in found.items():
                distances = surface_distances(predicted == label, truth == label, spacing)
                values.append(None if distances is None else distances.average_mm)
        return {label: summary(values) for label, values in found.items()}
