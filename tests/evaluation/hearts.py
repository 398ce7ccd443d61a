"""Stacks whose truth is known, and models that say what they are told, so that every number can be foreseen."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from cmr_hf.data.schema import LabelledStack
from cmr_hf.hub.image_processing_cmr import CMRImageProcessor

SPACING_MM = (2.0, 2.0)
SIZE = 48
LABELS = {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV"}


def masks(radius: float = 8.0, slices: int = 6) -> np.ndarray:
    """LV, myocardium and RV `(z, y, x)`; smaller from slice to slice, gone in the last."""
    z, y, x = np.indices((slices, SIZE, SIZE))
    far = np.hypot(y - SIZE / 2, x - SIZE / 2)
    found = np.zeros((slices, SIZE, SIZE), np.uint8)
    found[np.hypot(y - SIZE / 2, x - SIZE / 2 + 13) < 5 - z] = 3
    found[far < radius - z + 3] = 2
    found[far < radius - z] = 1
    found[-1] = 0
    return found


def stack(patient: str = "a", radius: float = 8.0, phase: str = "ED", **fields) -> LabelledStack:
    """A short-axis stack whose gray values are 10, 60, 110 and 160 for the labels 0 to 3."""
    truth = masks(radius)
    known = {
        "source": "acdc",
        "masks": truth,
        "drawn": (1, 2, 3),
        "spacing_mm": SPACING_MM,
        "slice_distance_mm": 8.0,
        "series": "sax",
        "phase": phase,
        "phase_index": 0 if phase == "ED" else 5,
        "image_type": "cine",
        "view": "SAX",
    }
    return LabelledStack(images=(10 + 50 * truth).astype(np.int16), patient=patient, **(known | fields))


class Reads(nn.Module):
    """Segments by gray value: what `stack` painted comes back, on every slice that shows the RV or not."""

    def __init__(self, shift: int = 0, labels: dict[int, str] = LABELS):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.shift = shift
        self.config = SimpleNamespace(id2label=labels, single_component_labels=None, landmark_sigma=3.0)

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        level = ((pixel_values[:, 0] + 1) / 2 * self.top(pixel_values)).round().clamp(0, 3).long()
        level = torch.roll(level, self.shift, dims=-1)
        return SimpleNamespace(logits=20.0 * nn.functional.one_hot(level, 4).movedim(-1, 1).float())

    @staticmethod
    def top(pixel_values: torch.Tensor) -> torch.Tensor:
        """The greatest label of each slice: +1 stands for it."""
        steps = [(len(torch.unique(one.round(decimals=2))) - 1) for one in pixel_values[:, 0]]
        return torch.tensor(steps, dtype=torch.float32)[:, None, None]


class Says(nn.Module):
    """Gives one class after another, each with the same certainty."""

    def __init__(self, answers: list[int], labels: dict[int, str], certainty: float = 2.0):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.answers = list(answers)
        self.certainty = certainty
        self.config = SimpleNamespace(id2label=labels)

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        logits = torch.zeros(len(pixel_values), len(self.config.id2label))
        for row in logits:
            row[self.answers.pop(0)] = self.certainty
        return SimpleNamespace(logits=logits)


def processor() -> CMRImageProcessor:
    """Takes the pictures as they are: the same grid and no cap."""
    return CMRImageProcessor(size=SIZE, spacing_mm=SPACING_MM[0], percentile=100.0)
