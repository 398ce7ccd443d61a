"""Bias, Bland-Altman limits and ICC of volumes, ejection fractions or any other measure of a patient."""

import datasets
import evaluate

from cmr_hf.evaluation.agreement import bland_altman, icc
from cmr_hf.evaluation.metrics import described

CITATION = "Bland and Altman 1986, Lancet 327; Shrout and Fleiss 1979, Psychological Bulletin 86(2)"


class Agreement(evaluate.Metric):
    """`compute(predictions, references)`: one measured value and one reference of each patient, in one unit.

    Returns `{"bias", "sd", "lower", "upper", "n", "icc_agreement", "icc_consistency"}`: measured minus reference, the
    limits bias ± 1.96 SD, ICC(2,1) = ICC(A,1) and ICC(3,1) = ICC(C,1).
    """

    def _info(self) -> evaluate.MetricInfo:
        number = datasets.Value("float64")
        features = datasets.Features({"predictions": number, "references": number})
        return described(self.__doc__ or "", CITATION, features)

    def _compute(self, predictions: list, references: list) -> dict:
        return vars(bland_altman(predictions, references)) | {
            f"icc_{kind}": icc(predictions, references, kind) for kind in ("agreement", "consistency")
        }
