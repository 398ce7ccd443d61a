"""The classifier of shapes as it lies on the Hub: one JSON file of a linear layer, no transformers model.

Beside it are its licence, its results and its card. `ShapeClassifier.load` opens it, or NumPy alone, as the card shows.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..clinical.shape import FEATURES, ShapeClassifier
from .card import is_generated
from .export import LEGAL

TASK = "cmr-disease-by-shape"  # what its card calls it; no pipeline of transformers
TAG = "tabular-classification"  # the Hub's own name of such a task
FILE = "classifier.json"


def is_shape(folder: Path) -> bool:
    """Whether a folder holds a classifier of shapes, and no model."""
    return (folder / FILE).is_file() and not (folder / "config.json").exists()


def export_shape(source: Path, folder: Path) -> Path:
    """Copies a classifier, its results and its licence into a folder of its own.

    Args:
        source (`Path`): holds `classifier.json`.
        folder (`Path`): absent, empty, or what this wrote before.

    Returns:
        The folder.

    Raises:
        ValueError: the file is no classifier of shapes; `folder` is a file or holds something else.
    """
    ShapeClassifier.load(source / FILE)
    if folder.exists() and not (folder.is_dir() and (is_shape(folder) or not any(folder.iterdir()))):
        raise ValueError(f"`folder` must be empty or hold an earlier {FILE}, got {folder}: choose another one")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").unlink(missing_ok=True)
    readme = [] if not (source / "README.md").is_file() or is_generated(source / "README.md") else ["README.md"]
    kept = {file for pattern in (FILE, "results.json", *LEGAL, *readme) for file in source.glob(pattern)}
    for file in sorted(kept):
        shutil.copyfile(file, folder / file.name)
    return folder


def answer_of(folder: Path) -> dict[str, float]:
    """What it says about a heart that lies one deviation above the mean in every other feature."""
    one = ShapeClassifier.load(folder / FILE)
    places = zip(one.features, one.mean, one.deviation, strict=True)
    return one.chances({name: mean + (n % 2) * deviation for n, (name, mean, deviation) in enumerate(places)})


def facts_of(folder: Path) -> dict[str, str]:
    """Rows of the card's table "What it is"."""
    one = ShapeClassifier.load(folder / FILE)
    count = len(one.classes) * (len(one.features) + 1)
    return {
        "classifier": f"linear on standardised features: {len(one.features)} to {len(one.classes)}, {count} numbers",
        "classes": ", ".join(one.classes),
        "input": "label maps of one heart at end-diastole and end-systole (LV cavity, myocardium, RV), of which it "
        "takes ratios without a unit:",
    } | {f"`{name}`": FEATURES[name] for name in one.features}


def recipe_of(training: Mapping[str, Any]) -> str:
    """How it was fitted, as far as `results.json` says."""
    rows = {
        "fitted to": training.get("masks"),
        "strength of the penalty": training.get("strength"),
        "balanced accuracy by strength": ", ".join(
            f"{strength}: {value:.2f}" for strength, value in (training.get("by_strength") or {}).items()
        ),
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value not in (None, "")]
    more = "By `training/fit_shape.py`, a linear layer with a penalty on its weights."
    return "\n".join(["| recipe | |", "|---|---|", *lines, "", more])


def licence_of_shape(folder: Path) -> str | None:
    """What the file itself says of its licence."""
    told = json.loads((folder / FILE).read_text(encoding="utf-8")).get("weights_license")
    return None if told == "unknown" else told
