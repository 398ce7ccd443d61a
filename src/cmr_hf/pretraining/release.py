"""What a run gives away: the backbone as a model folder, and the full release for continued pretraining.

release/
  backbone/             the teacher's: a CMRViTModel folder, what everybody needs
  student.safetensors   backbone and head of the student
  teacher.safetensors   of the teacher
  optimizer.safetensors centre, and AdamW's moments by parameter name
  pretraining.json      arguments, schedules, step, last measurements, columns of the data
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from ..data.shards.records import NAMES, SIDE, SPACING_MM
from .backbones import BACKBONE, save_backbone
from .head import DINONetwork
from .loss import DINOLoss
from .states import backbone_of, load_whole_state, whole, whole_state

logger = logging.getLogger(__name__)

RECORD = "pretraining.json"
_MOMENTS = ("exp_avg", "exp_avg_sq", "step")


def save_release(
    accelerator: Accelerator,
    folder: str | Path,
    student: nn.Module,
    teacher: DINONetwork,
    loss: DINOLoss,
    optimizer: torch.optim.Optimizer,
    record: Mapping[str, Any],
) -> None:
    """Writes all that continued pretraining needs, without pickle; every process must call it.

    Args:
        student (`nn.Module`): without what wraps it, see `Accelerator.unwrap_model`.
        record (mapping of JSON values): arguments, schedules, step, measurements.
    """
    folder = Path(folder)
    states = {"student": whole_state(student), "teacher": whole_state(teacher)}
    moments = {"centre": loss.centre.detach().cpu()}
    for name, parameter in student.named_parameters():
        for kind, value in optimizer.state.get(parameter, {}).items():
            moments[f"{kind}.{name}"] = whole(value).detach().cpu().contiguous()
    if accelerator.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        for name, state in states.items():
            save_file(state, folder / f"{name}.safetensors")
        save_file(moments, folder / "optimizer.safetensors")
        save_backbone(folder / BACKBONE, teacher.backbone, backbone_of(states["teacher"]))
        schema = {"columns": ["image", *NAMES], "image": f"uint8, at most {SIDE} x {SIDE} at {SPACING_MM} mm"}
        text = json.dumps(dict(record) | {"data_schema": schema, "torch": torch.__version__}, indent=1)
        (folder / RECORD).write_text(text, encoding="utf-8")
    accelerator.wait_for_everyone()


def is_release(folder: str | Path | None) -> bool:
    """Whether a folder is a full release."""
    return folder is not None and (Path(folder) / RECORD).is_file()


def load_release(
    folder: str | Path, student: nn.Module, teacher: nn.Module, loss: DINOLoss, optimizer: torch.optim.Optimizer
) -> bool:
    """Student, teacher, centre and moments of a full release, if the network is the same; says whether it was.

    Another head or other crops of the same backbone go on from the backbone alone, which is told.
    """
    folder = Path(folder)
    own = {name: tuple(tensor.shape) for name, tensor in student.state_dict().items()}
    with safe_open(folder / "student.safetensors", "pt") as file:
        theirs = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    if own != theirs:
        logger.warning("%s has another network: only its backbone is taken, head and optimiser start anew", folder)
        return False
    load_whole_state(student, load_file(folder / "student.safetensors"))
    load_whole_state(teacher, load_file(folder / "teacher.safetensors"))
    moments = load_file(folder / "optimizer.safetensors")
    loss.centre.copy_(moments["centre"])
    for name, parameter in student.named_parameters():
        found = {kind: moments[f"{kind}.{name}"] for kind in _MOMENTS if f"{kind}.{name}" in moments}
        if found:
            optimizer.state[parameter] = {kind: _like(value, parameter) for kind, value in found.items()}
    return True


def _like(value: torch.Tensor, parameter: nn.Parameter) -> torch.Tensor:
    """On the parameter's device, and in shards where the parameter is."""
    value = value.to(parameter.device)
    if value.ndim and hasattr(parameter, "device_mesh"):
        return torch.distributed.tensor.distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value
