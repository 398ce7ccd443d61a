"""Saving all that a run is, and going on from it exactly."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from safetensors.torch import load_file, save_file

from .backbones import BACKBONE, save_backbone
from .head import DINONetwork
from .loss import DINOLoss
from .schedules import Schedules
from .sources import Mixture
from .states import backbone_of, load_whole_state, whole_state

_NAME = "step-{:08d}"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint in a run's folder."""
    found = sorted(folder.glob(_NAME.format(0)[:5] + "[0-9]*"))
    return next((path for path in reversed(found) if (path / "run.json").is_file()), None)


def save_checkpoint(
    accelerator: Accelerator,
    folder: Path,
    step: int,
    teacher: DINONetwork,
    loss: DINOLoss,
    streams: Mixture,
    schedules: Schedules,
    keep: int = 2,
    keep_backbones: int = 0,
) -> Path:
    """Writes `folder/step-N`: student, optimiser and random state by Accelerate, the rest as safetensors and JSON,
    and the teacher's backbone as a model folder.

    It is written under another name and renamed when complete, so that a crash leaves no half checkpoint.

    Args:
        step (`int`): the next one to do.
        keep (`int`): how many of the newest to leave.
        keep_backbones (`int`): of older ones whose step is a multiple of this the backbone stays; 0 for none.
    """
    target = folder / _NAME.format(step)
    if (target / "run.json").is_file():
        return target
    draft = folder / f"draft-{target.name}"
    if accelerator.is_main_process:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(draft))
    weights = whole_state(teacher)
    if accelerator.is_main_process:
        save_file(weights, draft / "teacher.safetensors")
        save_backbone(draft / BACKBONE, teacher.backbone, backbone_of(weights))
        save_file({"centre": loss.centre.cpu()}, draft / "centre.safetensors")
        record = {"step": step, "schedules": schedules.to_dict(), "streams": streams.state_dict()}
        (draft / "run.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        os.replace(draft, target)
        for old in sorted(folder.glob("step-[0-9]*"))[:-keep]:
            _forget(old, keep_backbones)
    accelerator.wait_for_everyone()
    return target


def _forget(checkpoint: Path, keep_backbones: int) -> None:
    """Removes a checkpoint, or all of it but the backbone; `run.json` goes first, without which it is none."""
    (checkpoint / "run.json").unlink(missing_ok=True)
    if not keep_backbones or int(checkpoint.name[5:]) % keep_backbones:
        shutil.rmtree(checkpoint)
        return
    for path in checkpoint.iterdir():
        if path.name != BACKBONE:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def read_record(checkpoint: Path) -> dict[str, Any]:
    """Step, schedules and data position of a checkpoint."""
    return json.loads((checkpoint / "run.json").read_text(encoding="utf-8"))


def load_checkpoint(
    accelerator: Accelerator, checkpoint: Path, teacher: DINONetwork, loss: DINOLoss, streams: Mixture
) -> int:
    """Puts everything back as it was; any number of processes. Gives the step to do next."""
    accelerator.load_state(str(checkpoint))
    load_whole_state(teacher, load_file(checkpoint / "teacher.safetensors"))
    loss.centre.copy_(load_file(checkpoint / "centre.safetensors")["centre"])
    record = read_record(checkpoint)
    streams.load_state_dict(record["streams"])
    return int(record["step"])
