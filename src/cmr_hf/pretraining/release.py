"""What a run gives away: the backbone as a model folder, and the full release for continued pretraining."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ..hub.encoding_cmr import CMRViTModel
from ..hub.image_processing_cmr import CMRImageProcessor
from .checkpoints import load_whole_state
from .head import DINOHead

BACKBONE, HEAD, RECORD = "backbone", "head.safetensors", "pretraining.json"


def load_backbone(folder: str | Path, **fields: Any) -> CMRViTModel:
    """The encoder in a folder: ours, a full release, or a transformers `ViTModel` such as ImageNet's DINO ViT-S/8.

    Args:
        folder (`str` or `Path`): local, or a name on the Hub.
        fields: of `CMRViTConfig` that are set anew, `drop_path_rate` say.

    Raises:
        ValueError: weights of the backbone are missing.
    """
    if (Path(folder) / BACKBONE / "config.json").is_file():
        folder = Path(folder) / BACKBONE
    model, report = CMRViTModel.from_pretrained(
        folder, **fields, dtype=torch.float32, output_loading_info=True, add_pooling_layer=False
    )
    if report["missing_keys"]:
        raise ValueError(
            f"`init_from` needs all weights of a ViT backbone, {folder} lacks {sorted(report['missing_keys'])[:4]}: "
            "give the folder of a CMRViTModel or of a transformers ViTModel"
        )
    return model


def load_head(folder: str | Path, head: DINOHead) -> bool:
    """Takes the student's head of a full release if it has as many outputs; says whether it did."""
    file = Path(folder) / HEAD
    if not file.is_file():
        return False
    state = {name[len("student.") :]: t for name, t in load_file(file).items() if name.startswith("student.")}
    if {n: t.shape for n, t in state.items()} != {n: t.shape for n, t in head.state_dict().items()}:
        return False
    load_whole_state(head, state)
    return True


def plain_backbone(backbone: CMRViTModel) -> CMRViTModel:
    """A backbone without stochastic depth, and with LoRA's additions merged into its weights."""
    config = type(backbone.config).from_dict(backbone.config.to_dict() | {"drop_path_rate": 0.0})
    plain = CMRViTModel(config)
    merged = {}
    for name, module in backbone.named_modules():
        if hasattr(module, "get_delta_weight"):
            delta = sum(module.get_delta_weight(adapter) for adapter in module.active_adapters)
            merged[f"{name}.weight"] = (module.base_layer.weight + delta).detach()
    state = {
        name.replace(".base_layer", ""): tensor for name, tensor in backbone.state_dict().items() if "lora_" not in name
    }
    plain.load_state_dict(state | merged)
    return plain.eval()


def save_backbone(folder: str | Path, backbone: CMRViTModel) -> None:
    """A `CMRViTModel` folder: configuration, safetensors, image processor."""
    plain_backbone(backbone).save_pretrained(folder)
    CMRImageProcessor().save_pretrained(folder)
