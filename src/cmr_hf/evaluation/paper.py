"""What the paper reports, read from `paper.json`, the one place of its numbers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

TOTAL, BALANCED = "total", "mean of classes"
BASELINE, PROPOSED, NATURAL = "ImageNet ResNet-50", "CMR-DINO ViT", "ImageNet-DINO ViT"
PAPER_ARMS = {BASELINE: "baseline", PROPOSED: "proposed", NATURAL: "natural"}  # ours -> the paper's


@cache
def paper() -> dict[str, Any]:
    """The file: `source`, `arms`, `notes`, `results` (Tables 2 and 4) and `prior` (Table 3)."""
    return json.loads(Path(__file__).with_name("paper.json").read_text(encoding="utf-8"))


def paper_cells(experiment: str, name: str) -> dict[str, dict[str, float]]:
    """Arm of `PAPER_ARMS` → `{"value", "sd"}` of a class, as far as the paper has a number for it."""
    for row in paper()["results"]:
        if row["experiment"] == experiment and row["class"] == name:
            return {arm: row[theirs] for arm, theirs in PAPER_ARMS.items() if row.get(theirs)}
    return {}


def paper_classes(experiment: str) -> list[str]:
    """Classes of an experiment for which the paper has a number, in its order."""
    return [row["class"] for row in paper()["results"] if row["experiment"] == experiment]
