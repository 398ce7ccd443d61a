"""Balanced accuracy: every class counts the same, however many samples it has."""

import evaluate

from cmr_hf.evaluation.classes import class_accuracy
from cmr_hf.evaluation.metrics import class_ids, described

CITATION = "Brodersen et al. 2010, The balanced accuracy and its posterior distribution, ICPR"


class BalancedAccuracy(evaluate.Metric):
    """`compute(predictions, references, classes)`: `{"balanced_accuracy": mean recall of the classes with samples}`."""

    def _info(self) -> evaluate.MetricInfo:
        return described(self.__doc__ or "", CITATION, class_ids())

    def _compute(self, predictions: list, references: list, classes: int) -> dict:
        return {"balanced_accuracy": class_accuracy(predictions, references, classes).balanced}
