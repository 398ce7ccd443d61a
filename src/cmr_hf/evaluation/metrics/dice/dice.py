"""Dice of label maps, per slice and per volume."""

import evaluate
import numpy as np

from cmr_hf.evaluation.metrics import described, label_maps, summary
from cmr_hf.evaluation.overlap import dice, dice_per_slice

CITATION = "Dice 1945, Measures of the amount of ecologic association between species, Ecology 26(3)"


class Dice(evaluate.Metric):
    """`compute(predictions, references, labels)`: label maps `(z, y, x)` or `(y, x)`, and the ids to report.

    Returns `{"dice": mean of the labels' per volume, "per_volume": {id: …}, "per_slice": {id: …}}`, each with mean,
    sd, n and undefined. A label absent from both maps is undefined, one absent from the truth but predicted is 0.
    """

    def _info(self) -> evaluate.MetricInfo:
        return described(self.__doc__ or "", CITATION, label_maps())

    def _compute(self, predictions: list, references: list, labels: list[int]) -> dict:
        pairs = [(np.asarray(one), np.asarray(other)) for one, other in zip(predictions, references, strict=True)]
        volumes = {k: summary([dice(p == k, t == k) for p, t in pairs]) for k in labels}
        flat = [(np.atleast_3d(p.T).T, np.atleast_3d(t.T).T) for p, t in pairs]  # (y, x) -> (1, y, x)
        slices = {k: summary([v for p, t in flat for v in dice_per_slice(p == k, t == k)]) for k in labels}
        means = [entry["mean"] for entry in volumes.values() if entry["mean"] is not None]
        return {"dice": float(np.mean(means)) if means else None, "per_volume": volumes, "per_slice": slices}
