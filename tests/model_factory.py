"""Models small enough for a test: 32 wide, 2 to 4 blocks, 64 px."""

from typing import Any

import torch

from cmr_hf import CMRConfig, CMRForSemanticSegmentation, CMRViTConfig

LABELS = {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV"}


def tiny_encoder(**fields: Any) -> CMRViTConfig:
    """A ViT of 32 × 2 blocks for 64 px and patch 8."""
    values = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": 64,
        "patch_size": 8,
    }
    return CMRViTConfig(**(values | fields))


def tiny_config(decoder_type: str = "hybrid", encoder: dict | None = None, **fields: Any) -> CMRConfig:
    """The encoder above (four blocks) and a decoder of 4 to 16 channels for four classes."""
    backbone = tiny_encoder(**({"num_hidden_layers": 4} | (encoder or {})))
    values = {
        "backbone_config": backbone,
        "decoder_type": decoder_type,
        "decoder_channels": (4, 6, 8, 16),
        "id2label": LABELS,
        "label2id": {name: index for index, name in LABELS.items()},
    }
    return CMRConfig(**(values | fields))


def tiny_segmenter(decoder_type: str = "hybrid", **options: Any) -> CMRForSemanticSegmentation:
    """A model of `tiny_config` whose every parameter is random, zero-initialised biases too."""
    model = CMRForSemanticSegmentation(tiny_config(decoder_type, **options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model
