"""Backbones in and out: any ViT folder to start from, and a `CMRViTModel` folder to give away."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..hub.encoding_cmr import CMRViTModel
from ..hub.image_processing_cmr import CMRImageProcessor
from .states import whole_state

BACKBONE = "backbone"  # its folder within a release


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


def plain_backbone(backbone: CMRViTModel, state: Mapping[str, torch.Tensor] | None = None) -> CMRViTModel:
    """A backbone without stochastic depth, and with LoRA's additions merged into its weights.

    Args:
        state (mapping of `torch.Tensor`, *optional*): its weights, where FSDP has them in shards.
    """
    config = type(backbone.config).from_dict(backbone.config.to_dict() | {"drop_path_rate": 0.0})
    plain = CMRViTModel(config)
    state = dict(state or whole_state(backbone))
    for name, module in backbone.named_modules():
        if hasattr(module, "get_delta_weight"):
            for adapter in module.active_adapters:
                delta = module.get_delta_weight(adapter).detach().cpu()
                state[f"{name}.base_layer.weight"] = state[f"{name}.base_layer.weight"] + delta
    plain.load_state_dict({n.replace(".base_layer", ""): t for n, t in state.items() if "lora_" not in n})
    return plain.eval()


def save_backbone(folder: str | Path, backbone: CMRViTModel, state: Mapping[str, torch.Tensor] | None = None) -> None:
    """A `CMRViTModel` folder: configuration, safetensors, image processor."""
    plain_backbone(backbone, state).save_pretrained(folder)
    CMRImageProcessor().save_pretrained(folder)
