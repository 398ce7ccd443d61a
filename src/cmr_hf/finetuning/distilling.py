"""Distillation: a small student learns what a trained teacher answers, on labelled and on unlabelled images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ..hub.landmarks_cmr import with_nowhere
from .arguments import RecipeArguments, _help
from .models import HEADS
from .trainer import ClassificationTrainer, CMRTrainer, LandmarkTrainer, SegmentationTrainer


@dataclass
class DistillArguments(RecipeArguments):
    """Those of the student, and its teacher."""

    teacher: str = _help("folder of a trained model of the same task and labels", "")
    temperature: float = _help("of the softmax of both; higher tells more of the second best class", 2.0)
    teacher_weight: float = _help("of the teacher's answers in the loss, 1 − that of the labels", 0.5)
    unlabelled_on: list[dict] = _help("data sets of whose train patients the images are used without labels", [])
    unlabelled_share: float = _help("of what is seen", 0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.teacher or not (Path(self.teacher) / "config.json").is_file():
            raise ValueError(f"`teacher` needs the folder of a trained model, got {self.teacher!r}: give its best/")
        if not self.temperature > 0 or not 0 < self.teacher_weight <= 1 or not 0 < self.unlabelled_share < 1:
            raise ValueError(
                "`temperature` > 0, 0 < `teacher_weight` <= 1 and 0 < `unlabelled_share` < 1 are needed, got "
                f"{self.temperature}, {self.teacher_weight} and {self.unlabelled_share}"
            )


def load_teacher(recipe: DistillArguments) -> nn.Module:
    """The teacher, frozen.

    Raises:
        ValueError: it is for another task or has other labels than the student.
    """
    head = HEADS[recipe.kind]
    teacher = head.from_pretrained(recipe.teacher, dtype=torch.float32)
    architecture = (teacher.config.architectures or [head.__name__])[0]
    if architecture != head.__name__ or teacher.config.id2label != recipe.id2label:
        raise ValueError(
            f"`teacher` needs a {head.__name__} with labels {recipe.id2label}, {recipe.teacher} is a {architecture} "
            f"with {teacher.config.id2label}: distil a teacher of the same experiment"
        )
    return teacher.requires_grad_(False).eval()


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Kullback-Leibler divergence of the student's softmax from the teacher's, times the squared temperature.

    Args:
        student, teacher (`torch.Tensor` of shape `(batch, classes, …)`): logits; the mean is over batch and places.

    Source: Hinton et al. 2015, "Distilling the knowledge in a neural network".
    """
    own = (student.float() / temperature).log_softmax(dim=1)
    told = (teacher.float() / temperature).log_softmax(dim=1)
    return F.kl_div(own, told, log_target=True, reduction="none").sum(dim=1).mean() * temperature**2


class Distilling(CMRTrainer):
    """Mixes the loss of the labels with that of a teacher's answers; stands before a trainer of this package.

    Args:
        teacher (`nn.Module`): frozen, of the same labels.
        temperature (`float`): of both softmaxes.
        teacher_weight (`float`): of the teacher's answers; labels have the rest.
    """

    def __init__(self, *args, teacher: nn.Module, temperature: float, teacher_weight: float, **kwargs):
        super().__init__(*args, **kwargs)
        self.teacher = teacher.to(self.args.device)
        self.temperature = temperature
        self.teacher_weight = teacher_weight

    def loss_of(self, model: nn.Module, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        loss, outputs = super().loss_of(model, inputs)
        with torch.no_grad():
            told = self.teacher(pixel_values=inputs["pixel_values"]).logits
        followed = distillation_loss(self.answers(outputs.logits), self.answers(told), self.temperature)
        # without any label in the batch the mean over labels is NaN, which has no gradient
        return self.teacher_weight * followed + (1 - self.teacher_weight) * loss.nan_to_num(), outputs

    @staticmethod
    def answers(logits: torch.Tensor) -> torch.Tensor:
        """Logits with what excludes each other along dimension 1."""
        return logits


class ClassificationDistiller(Distilling, ClassificationTrainer):
    """Distils a classifier or detector."""


class SegmentationDistiller(Distilling, SegmentationTrainer):
    """Distils a segmentation model, pixel by pixel."""


class LandmarkDistiller(Distilling, LandmarkTrainer):
    """Distils a landmark model: where each landmark is, over all pixels and "not here"."""

    @staticmethod
    def answers(logits: torch.Tensor) -> torch.Tensor:
        return with_nowhere(logits).flatten(0, 1)  # (b, k, h, w) -> (b·k, pixels + 1)


DISTILLERS: dict[str, type[Distilling]] = {
    "classification": ClassificationDistiller,
    "detection": ClassificationDistiller,
    "segmentation": SegmentationDistiller,
    "landmarks": LandmarkDistiller,
}
