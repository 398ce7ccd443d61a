"""Distance of landmarks from where they are, in mm."""

import datasets
import evaluate
import numpy as np

from cmr_hf.evaluation.metrics import described, summary
from cmr_hf.evaluation.surfaces import landmark_distances_mm

CITATION = "Xue et al. 2021, Landmark detection in cardiac MRI, Radiology: AI 3(5)"


class LandmarkDistance(evaluate.Metric):
    """`compute(predictions, references, spacings_mm)`: points `(landmarks, 2)`, (row, column), of each image.

    NaN where there is none; one spacing (row, column) in mm per image. Returns `{"mean", "sd", "n", "undefined",
    "per_landmark"}`, the distances in mm.
    """

    def _info(self) -> evaluate.MetricInfo:
        points = datasets.List(datasets.List(datasets.Value("float64")))
        features = datasets.Features({"predictions": points, "references": points})
        return described(self.__doc__ or "", CITATION, features)

    def _compute(self, predictions: list, references: list, spacings_mm: list) -> dict:
        predicted, truth = np.array(predictions, dtype=float), np.array(references, dtype=float)
        found = landmark_distances_mm(predicted, truth, np.asarray(spacings_mm, dtype=float)[:, None])
        return summary(list(found.ravel())) | {"per_landmark": [summary(list(one)) for one in found.T]}
