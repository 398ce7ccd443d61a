"""Accuracy of each class, the paper's metric of classification and detection."""

import evaluate

from cmr_hf.evaluation.classes import class_accuracy
from cmr_hf.evaluation.metrics import class_ids, described

CITATION = "Jacob et al. 2024, Towards a vision foundation model for comprehensive assessment of cardiac MRI, 3.3"


class ClassAccuracy(evaluate.Metric):
    """`compute(predictions, references, classes)`: ids, and how many classes there are.

    Returns `{"per_class": right among the samples of each class (None without any), "counts", "total": right among
    all samples, "mean": mean of the classes}`.
    """

    def _info(self) -> evaluate.MetricInfo:
        return described(self.__doc__ or "", CITATION, class_ids())

    def _compute(self, predictions: list, references: list, classes: int) -> dict:
        found = class_accuracy(predictions, references, classes)
        return {
            "per_class": found.per_class,
            "counts": found.counts,
            "total": found.total,
            "mean": found.balanced,
        }
