"""Area under the ROC curve, ties counted half."""

import evaluate
import numpy as np

from cmr_hf.evaluation.classes import mean_auc
from cmr_hf.evaluation.metrics import class_chances, described

CITATION = "Hanley and McNeil 1982, The meaning and use of the area under a ROC curve, Radiology 143"


class Auc(evaluate.Metric):
    """`compute(predictions, references)`: probabilities of all classes, and the true id of each sample.

    Returns `{"auc"}`: of two classes the second's, of more the mean of each against the others. With samples of one
    class only it raises a ValueError.
    """

    def _info(self) -> evaluate.MetricInfo:
        return described(self.__doc__ or "", CITATION, class_chances())

    def _compute(self, predictions: list, references: list) -> dict:
        return {"auc": mean_auc(np.asarray(predictions), references)}
