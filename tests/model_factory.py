"""Models small enough for a test: 32 wide, 2 to 4 blocks, 64 px."""

from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel, ResNetConfig

from cmr_hf import (
    CMRConfig,
    CMRForImageClassification,
    CMRForLandmarkDetection,
    CMRForSemanticSegmentation,
    CMRImageProcessor,
    CMRModel,
    CMRViTConfig,
)

LABELS = {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV"}

# task -> the model it needs, and names of its classes or landmarks
TASKS = {
    "cmr-segmentation": (CMRForSemanticSegmentation, tuple(LABELS.values())),
    "cmr-view-classification": (CMRForImageClassification, ("SAX", "2CH", "3CH", "4CH", "other")),
    "cmr-image-type-classification": (CMRForImageClassification, ("cine", "LGE", "T1")),
    "cmr-lge-detection": (CMRForImageClassification, ("no LGE", "LGE")),
    "cmr-disease-detection": (CMRForImageClassification, ("NOR", "DCM", "HCM", "MINF", "RV")),
    "cmr-landmark-detection": (CMRForLandmarkDetection, ("anterior", "inferior")),
    "cmr-feature-extraction": (CMRModel, ()),
}

Model = TypeVar("Model", bound=PreTrainedModel)


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


def tiny_resnet(**fields: Any) -> ResNetConfig:
    """A ResNet of one bottleneck per stage, 8 to 32 wide."""
    values = {"embedding_size": 8, "hidden_sizes": [8, 16, 16, 32], "depths": [1, 1, 1, 1]}
    return ResNetConfig(**(values | fields))


def names(labels: tuple[str, ...]) -> dict[str, dict]:
    """`id2label` and `label2id` of a config."""
    return {"id2label": dict(enumerate(labels)), "label2id": {name: index for index, name in enumerate(labels)}}


def tiny_config(decoder_type: str = "hybrid", encoder: dict | None = None, **fields: Any) -> CMRConfig:
    """The ViT above (four blocks), or for "unet" the ResNet, and a decoder of 4 to 16 channels for four classes."""
    over_resnet = decoder_type == "unet"
    backbone = tiny_resnet() if over_resnet else tiny_encoder(**({"num_hidden_layers": 4} | (encoder or {})))
    values = {
        "backbone_config": backbone,
        "decoder_type": decoder_type,
        "decoder_channels": (4, 6, 8, 16, 16) if over_resnet else (4, 6, 8, 16),
        **names(tuple(LABELS.values())),
    }
    return CMRConfig(**(values | fields))


def randomised(model: Model) -> Model:
    """The model in `eval` with every parameter and running statistic random, so that all of it reaches the output.

    Zero biases would hide a swapped one, and transformers' small first weights let a ResNet's signal die away.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.02
            parameter.add_(scale * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
    return model.eval()


def tiny_segmenter(decoder_type: str = "hybrid", **options: Any) -> CMRForSemanticSegmentation:
    """A segmentation model of `tiny_config`."""
    return randomised(CMRForSemanticSegmentation(tiny_config(decoder_type, **options)))


def tiny_classifier(decoder_type: str = "hybrid", labels: int = 3, **options: Any) -> CMRForImageClassification:
    """A classification model over the ViT, or over the ResNet for "unet"."""
    return randomised(
        CMRForImageClassification(tiny_config(decoder_type, **names(tuple("abcdefgh"[:labels])), **options))
    )


def tiny_locator(decoder_type: str = "hybrid", **options: Any) -> CMRForLandmarkDetection:
    """A landmark model of two landmarks."""
    options = {"landmark_sigma": 3.0} | options
    return randomised(CMRForLandmarkDetection(tiny_config(decoder_type, **names(("anterior", "inferior")), **options)))


def tiny_model(task: str, decoder_type: str = "hybrid", **fields: Any) -> PreTrainedModel:
    """A model that the pipeline of this task takes."""
    kind, labels = TASKS[task]
    model = randomised(kind(tiny_config(decoder_type, **(names(labels) if labels else {}), **fields)))
    model.config.task = task
    return model


def tiny_processor() -> CMRImageProcessor:
    """64 px of 2 mm."""
    return CMRImageProcessor(size=64, spacing_mm=2.0)
