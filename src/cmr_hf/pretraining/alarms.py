"""What stops or warns a run: a loss that is not a number, collapse, and a machine that is taken away."""

from __future__ import annotations

import json
import logging
import signal
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

logger = logging.getLogger(__name__)


class NonFiniteLossError(RuntimeError):
    """The loss or its gradient is NaN or infinite; the step and the batch are on disk."""


def check_finite(what: str, value: Tensor, batch: dict[str, Tensor], step: int, folder: Path) -> None:
    """Stops at a loss or gradient that is not finite, before it reaches the weights, and keeps the batch that gave it.

    Args:
        what (`str`): its name in the error.
        value (`torch.Tensor` of shape `()`).
        batch (dict of `torch.Tensor`): the last that was seen.

    Raises:
        NonFiniteLossError: after `nan-step-N-rank-R.safetensors` (image, extent, index, key) and a JSON were written.
    """
    if torch.isfinite(value):
        return
    rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"nan-step-{step}-rank-{rank}.safetensors"
    save_file({name: tensor.cpu().contiguous() for name, tensor in batch.items()}, file)
    record = {"step": step, "rank": rank, what: str(value.item())}
    file.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    raise NonFiniteLossError(
        f"the {what} is {value.item()} at step {step} on rank {rank}; the batch is in {file}: look at its images, then "
        "go on from the last checkpoint with a lower learning_rate, a longer warm-up, or mixed_precision: 'no'"
    )


@dataclass
class CollapseAlarm:
    """Watches the signs of collapse: an output that is the same for every image.

    Attributes:
        highest_entropy (`float`): ln(out_dim) in nats.
        patience (`int`): how many looks in a row must be bad.
        uniform (`float`): part of `highest_entropy` above which the teacher's output says nothing.
        single (`float`): entropy in nats of the batch's mean output below which one output takes all.
        agreement (`float`): KL in nats below which student and teacher agree on everything.
        rank (`float`): effective rank of the features below which they have no content.
    """

    highest_entropy: float
    patience: int = 3
    uniform: float = 0.995
    single: float = 0.05
    agreement: float = 1e-3
    rank: float = 1.5
    _bad: int = 0

    def look(self, watched: dict[str, float], step: int) -> str | None:
        """A warning with its remedy once the signs have lasted; `watched` as `DINOLoss` and `feature_rank` give."""
        sign = self._sign(watched)
        self._bad = self._bad + 1 if sign else 0
        if sign is None or self._bad < self.patience:
            return None
        self._bad = 0
        text = f"step {step}: the training has collapsed: {sign}"
        logger.warning(text)
        return text

    def _sign(self, watched: dict[str, float]) -> str | None:
        if watched["teacher_entropy"] > self.uniform * self.highest_entropy and watched["kl"] < self.agreement:
            return (
                f"the teacher's output is uniform (entropy {watched['teacher_entropy']:.3f} of "
                f"{self.highest_entropy:.3f} nats). Lower teacher_temperature or the learning rate, lengthen its "
                "warm-up, or take a smaller out_dim"
            )
        if watched["mean_entropy"] < self.single:
            return (
                f"one output takes all images (entropy of the mean {watched['mean_entropy']:.4f} nats). Raise "
                "teacher_temperature, and look whether the centre moves (centre_momentum below 1)"
            )
        if watched["feature_rank"] < self.rank:
            return (
                f"the features have an effective rank of {watched['feature_rank']:.2f}. Lower the learning rate, "
                "lengthen its warm-up, or raise teacher_momentum (0.9995 for small batches)"
            )
        return None


def feature_rank(features: Tensor) -> Tensor:
    """Effective rank of features of shape `(n, width)`: e to the entropy of the normed singular values.

    Source: Roy and Vetterli 2007; Garrido et al. 2023 (RankMe).
    """
    features = features.detach().float()
    values = torch.linalg.svdvals(features - features.mean(dim=0))
    part = values / values.sum().clamp(min=1e-12)
    return torch.exp(-(part * part.clamp(min=1e-12).log()).sum())


class StopSignal:
    """Remembers SIGTERM, which preemptible machines get shortly before they are taken away."""

    def __init__(self) -> None:
        self.received = False
        signal.signal(signal.SIGTERM, self._receive)

    def _receive(self, number: int, frame: object) -> None:
        self.received = True

    def anywhere(self, device: torch.device) -> bool:
        """True in all processes once one has received it."""
        if not torch.distributed.is_initialized():
            return self.received
        flag = torch.tensor(int(self.received), device=device)
        torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
        return bool(flag.item())
