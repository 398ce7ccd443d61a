"""The package's metrics as `evaluate` modules: a folder each, loaded by its path, so that no network is needed.

metric = load_metric("dice")
metric.add_batch(predictions=label_maps, references=label_maps)
metric.compute(labels=[1, 2, 3])
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import datasets
    import evaluate

FOLDER = Path(__file__).parent
NAMES = (
    "agreement",
    "auc",
    "balanced_accuracy",
    "calibration_error",
    "class_accuracy",
    "dice",
    "hausdorff95",
    "landmark_distance",
    "surface_distance",
)


def load_metric(name: str, **options: object) -> evaluate.EvaluationModule:
    """A metric of this package, ready for `add_batch` and `compute`.

    Args:
        name (`str`): one of `NAMES`.
        options: of `evaluate.load`, `experiment_id` say.

    Raises:
        ValueError: no such metric.
        ImportError: `evaluate` is not installed.
    """
    if name not in NAMES:
        raise ValueError(f"`name` must be one of {', '.join(NAMES)}, got {name!r}")
    try:
        import evaluate
    except ImportError as error:
        raise ImportError("metrics as modules need evaluate: pip install cmr_hf[train]") from error
    return evaluate.load(str(FOLDER / name), **options)


def described(text: str, citation: str, features: datasets.Features | list[datasets.Features]) -> evaluate.MetricInfo:
    """What `evaluate` wants to know of a metric."""
    import evaluate

    return evaluate.MetricInfo(description=text, citation=citation, inputs_description=text, features=features)


def label_maps() -> list[datasets.Features]:
    """Pairs of label maps: stacks `(z, y, x)`, each of its own shape, or slices `(y, x)`."""
    import datasets

    plane = datasets.List(datasets.List(datasets.Value("uint8")))
    return [datasets.Features({"predictions": kind, "references": kind}) for kind in (datasets.List(plane), plane)]


def class_ids() -> datasets.Features:
    """Pairs of class ids."""
    import datasets

    return datasets.Features({"predictions": datasets.Value("int32"), "references": datasets.Value("int32")})


def class_chances() -> datasets.Features:
    """Probabilities of all classes, and the true id."""
    import datasets

    chances = datasets.List(datasets.Value("float64"))
    return datasets.Features({"predictions": chances, "references": datasets.Value("int32")})


def summary(values: list[float | None]) -> dict[str, float | int | None]:
    """Mean, standard deviation (n − 1) and number of the values that are there; how many are not, as `undefined`."""
    there = np.array([value for value in values if value is not None and np.isfinite(value)])
    return {
        "mean": float(there.mean()) if len(there) else None,
        "sd": float(there.std(ddof=1)) if len(there) > 1 else None,
        "n": len(there),
        "undefined": len(values) - len(there),
    }
