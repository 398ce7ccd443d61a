"""Configurations of the CMR encoder and of the models that stand on it."""

from typing import Any, ClassVar

from transformers import PreTrainedConfig, ResNetConfig
from transformers.models.vit.configuration_vit import ViTConfig

# decoder -> channels at 1/1, 1/2, 1/4, … of the image size
DECODERS = {
    "unetr": (16, 32, 64, 128),
    "hybrid": (16, 32, 64, 128),
    "unet": (16, 32, 64, 128, 256),
}


class CMRViTConfig(ViTConfig):
    """A vision transformer for cardiac MR; the defaults are the paper's ViT-S/8 (21.7 M parameters).

    All fields of `transformers.ViTConfig` apply, so the config of a published DINO ViT can be read as it is.

    Args:
        drop_path_rate (`float`, defaults to 0.0):
            Stochastic depth of the last block during training; it grows linearly from 0 at the first block.

    Source: Dosovitskiy et al. 2021; Touvron et al. 2021 (ViT-S); Caron et al. 2021 (patch 8).
    """

    model_type = "cmr_vit"

    hidden_size: int = 384
    num_hidden_layers: int = 12
    num_attention_heads: int = 6
    intermediate_size: int = 1536
    patch_size: int | list[int] | tuple[int, int] = 8
    drop_path_rate: float = 0.0

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if not isinstance(self.patch_size, int):
            if len(set(self.patch_size)) != 1:
                raise ValueError(f"`patch_size` must be square, got {self.patch_size}: use 8 or 16")
            self.patch_size = int(self.patch_size[0])
        if not 0.0 <= self.drop_path_rate < 1.0:
            raise ValueError(f"`drop_path_rate` must lie in [0, 1), got {self.drop_path_rate}: use 0.1 for DINO")


BACKBONES = {"cmr_vit": CMRViTConfig, "vit": CMRViTConfig, "resnet": ResNetConfig}


class CMRConfig(PreTrainedConfig):
    """An encoder and the head on it.

    Args:
        backbone_config (`dict` or `PreTrainedConfig`, *optional*):
            The encoder, told apart by its `model_type`: `cmr_vit` (default) or `resnet`.
        task (`str`, *optional*):
            The pipeline that the trained head is for, "cmr-view-classification" say; another refuses the model.
        decoder_type (`str`, *optional*):
            Decoder of segmentation and landmarks. `"unetr"`: skips from the ViT's own blocks (the paper's).
            `"hybrid"` (default over a ViT): skips from a convolutional pyramid of the image, ViT tokens at the
            bottleneck. `"unet"` (over a ResNet, the paper's ResNet50-Unet): skips from the ResNet's stages.
        decoder_channels (`tuple` of `int`, *optional*):
            Channels at 1/1, 1/2, 1/4 and 1/8 of the image size, by default 16, 32, 64 and 128; patch 16 repeats the
            last at 1/16. The U-Net takes a fifth at 1/16, by default 256.
        jaccard_smoothing (`float`, defaults to 1.0):
            Added to intersection and union of each sample and class, in pixels.
        cross_entropy_weight (`float`, defaults to 0.0):
            Weight of a cross-entropy term beside the soft Jaccard loss; the paper has none.
        ignore_index (`int`, defaults to 255):
            Label of pixels that count in no loss.
        landmark_sigma (`float`, defaults to 4.0):
            Standard deviation of a landmark's Gaussian heatmap, in pixels of the processed image (mm by default).
        single_component_labels (`list` of `int`, *optional*):
            Classes of which the pipeline keeps only the largest connected piece of each stack and phase, without holes.
        weights_license (`str`, *optional*):
            Licence of trained weights, "cc-by-nc-sa-4.0" say; one that forbids commercial use is told once on loading.
    """

    model_type = "cmr"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {"backbone_config": CMRViTConfig}

    backbone_config: dict | PreTrainedConfig | None = None
    task: str | None = None
    decoder_type: str | None = None
    decoder_channels: list[int] | tuple[int, ...] | None = None
    jaccard_smoothing: float = 1.0
    cross_entropy_weight: float = 0.0
    ignore_index: int = 255
    landmark_sigma: float = 4.0
    single_component_labels: list[int] | tuple[int, ...] | None = None
    weights_license: str | None = None

    def __post_init__(self, **kwargs):
        self.backbone_config = backbone_config_from(self.backbone_config)
        over_resnet = self.backbone_config.model_type == "resnet"
        self.decoder_type = self.decoder_type or ("unet" if over_resnet else "hybrid")
        if self.decoder_type not in DECODERS or (self.decoder_type == "unet") != over_resnet:
            raise ValueError(
                "`decoder_type` must be unet over a ResNet, and unetr or hybrid over a ViT, got "
                f"{self.decoder_type!r} over {self.backbone_config.model_type}"
            )
        usual = DECODERS[self.decoder_type]
        self.decoder_channels = [int(channels) for channels in self.decoder_channels or usual]
        if len(self.decoder_channels) != len(usual) or min(self.decoder_channels) < 1:
            raise ValueError(
                f"`decoder_channels` of {self.decoder_type} needs {len(usual)} positive numbers, one per level from "
                f"the full size down, got {self.decoder_channels}"
            )
        if not self.landmark_sigma > 0:
            raise ValueError(f"`landmark_sigma` must be a positive number of pixels, got {self.landmark_sigma}")
        if not type(self).__module__.startswith("transformers_modules."):
            # The installed package has its own pipelines; this entry would make transformers ask for remote code.
            kwargs.pop("custom_pipelines", None)
        super().__post_init__(**kwargs)


def backbone_config_from(value: dict | PreTrainedConfig | None) -> PreTrainedConfig:
    """The encoder's configuration from what a `config.json` or a caller gives.

    Raises:
        ValueError: the `model_type` is of no encoder that the heads can stand on.
    """
    if value is None:
        return CMRViTConfig()
    if isinstance(value, PreTrainedConfig):
        if value.model_type in ("cmr_vit", "resnet"):
            return value
        value = value.to_dict()
    fields = dict(value)
    model_type = fields.pop("model_type", "cmr_vit")
    if model_type not in BACKBONES:
        raise ValueError(f"`backbone_config` has model_type {model_type!r}; the encoders are {sorted(BACKBONES)}")
    return BACKBONES[model_type](**fields)
