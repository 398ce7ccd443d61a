"""Expected calibration error: whether probabilities can be believed."""

import evaluate
import numpy as np

from cmr_hf.evaluation.classes import BINS, calibration_error
from cmr_hf.evaluation.metrics import class_chances, described

CITATION = "Guo et al. 2017, On calibration of modern neural networks, ICML"


class CalibrationError(evaluate.Metric):
    """`compute(predictions, references, bins=15)`: probabilities of all classes, and the true id of each sample.

    Returns `{"calibration_error"}`, from 0 (it happens as often as it says) to 1.
    """

    def _info(self) -> evaluate.MetricInfo:
        return described(self.__doc__ or "", CITATION, class_chances())

    def _compute(self, predictions: list, references: list, bins: int = BINS) -> dict:
        return {"calibration_error": calibration_error(np.asarray(predictions), references, bins)}
