"""DINO's loss with its centre."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


class DINOLoss(nn.Module):
    """Cross-entropy between the teacher's centred, sharpened global views and the student's other views.

    Args:
        out_dim (`int`): number of outputs.
        student_temperature (`float`), centre_momentum (`float`).

    Attributes:
        centre (`torch.Tensor` of shape `(out_dim,)`, a buffer): moving mean of the teacher's outputs. It moves once a
            step, with all micro-batches and processes, so that splitting a batch changes nothing.

    Source: Caron et al. 2021, equations 1 to 4.
    """

    def __init__(self, out_dim: int, student_temperature: float = 0.1, centre_momentum: float = 0.9):
        super().__init__()
        self.student_temperature, self.centre_momentum = student_temperature, centre_momentum
        self.register_buffer("centre", torch.zeros(out_dim))
        self.register_buffer("_sum", torch.zeros(out_dim), persistent=False)
        self._seen = 0

    def forward(
        self, student: Tensor, teacher: Tensor, batch: int, teacher_temperature: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """
        Args:
            student (`torch.Tensor` of shape `(crops * batch, out_dim)`): the global crops first, crop after crop.
            teacher (`torch.Tensor` of shape `(global crops * batch, out_dim)`).
            batch (`int`): number of images.
            teacher_temperature (`float`).

        Returns:
            The loss, float32, and what to watch, detached: `teacher_entropy` of one output and `mean_entropy` of the
            batch's mean output (both in nats; ln(out_dim) is uniform), and `kl` from teacher to student.
        """
        with torch.autocast(student.device.type, enabled=False):
            scores = student.float().view(-1, batch, student.shape[-1]) / self.student_temperature  # (crops, b, k)
            outputs = teacher.detach().float().view(-1, batch, teacher.shape[-1])  # (global, b, k)
            log_target = torch.log_softmax((outputs - self.centre) / teacher_temperature, dim=-1)
            target = log_target.exp()
            # sum of -t log softmax(s) = logsumexp(s) - t s, as t sums to 1: no softmax of the student is stored
            agreement = torch.einsum("gbk,vbk->gvb", target, scores)
            entropies = torch.logsumexp(scores, dim=-1)[None] - agreement  # (global, crops, b)
            other = ~torch.eye(len(outputs), len(scores), dtype=torch.bool, device=scores.device)
            loss = entropies.mean(dim=-1)[other].mean()
        self._sum += outputs.sum(dim=(0, 1))
        self._seen += outputs.shape[0] * batch
        entropy = -(target * log_target).sum(dim=-1).mean()
        mean = target.mean(dim=(0, 1))
        watched = {
            "teacher_entropy": entropy,
            "mean_entropy": -(mean * mean.clamp(min=1e-12).log()).sum(),
            "kl": loss.detach() - entropy,
        }
        return loss, watched

    @torch.no_grad()
    def update_centre(self, average: Callable[[Tensor], Tensor] = lambda value: value) -> None:
        """Moves the centre by what `forward` saw since the last call.

        Args:
            average: mean over processes, `lambda x: accelerator.reduce(x, "mean")` for one; each has seen as much.
        """
        if not self._seen:
            raise RuntimeError("`update_centre` needs a forward pass since the last update: call it once a step")
        mean = average(self._sum / self._seen)
        self.centre.lerp_(mean, 1 - self.centre_momentum)
        self._sum.zero_()
        self._seen = 0

    @property
    def highest_entropy(self) -> float:
        """ln(out_dim), of a uniform output."""
        return math.log(len(self.centre))
