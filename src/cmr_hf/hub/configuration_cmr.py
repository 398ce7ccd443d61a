"""Configurations of the CMR encoder and of the models that stand on it."""

from typing import Any, ClassVar

from transformers import PreTrainedConfig, ResNetConfig
from transformers.models.vit.configuration_vit import ViTConfig

DECODERS = ("unetr", "hybrid")


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
        decoder_type (`str`, defaults to `"hybrid"`):
            Segmentation decoder. `"unetr"`: skips from the ViT's own blocks (the paper's). `"hybrid"`: skips from a
            convolutional pyramid of the image, ViT tokens at the bottleneck.
        decoder_channels (`tuple` of `int`, defaults to `(16, 32, 64, 128)`):
            Channels at 1/1, 1/2, 1/4 and 1/8 of the image size; patch 16 repeats the last at 1/16.
        jaccard_smoothing (`float`, defaults to 1.0):
            Added to intersection and union of each sample and class, in pixels.
        cross_entropy_weight (`float`, defaults to 0.0):
            Weight of a cross-entropy term beside the soft Jaccard loss; the paper has none.
        ignore_index (`int`, defaults to 255):
            Label of pixels that count in no loss.
        single_component_labels (`list` of `int`, *optional*):
            Classes of which the pipeline keeps only the largest connected piece of each stack and phase.
        weights_license (`str`, *optional*):
            Licence of trained weights, "cc-by-nc-sa-4.0" say; one that forbids commercial use is told once on loading.
    """

    model_type = "cmr"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {"backbone_config": CMRViTConfig}

    backbone_config: dict | PreTrainedConfig | None = None
    decoder_type: str = "hybrid"
    decoder_channels: list[int] | tuple[int, ...] = (16, 32, 64, 128)
    jaccard_smoothing: float = 1.0
    cross_entropy_weight: float = 0.0
    ignore_index: int = 255
    single_component_labels: list[int] | tuple[int, ...] | None = None
    weights_license: str | None = None

    def __post_init__(self, **kwargs):
        self.backbone_config = backbone_config_from(self.backbone_config)
        self.decoder_channels = [int(channels) for channels in self.decoder_channels]
        if self.decoder_type not in DECODERS:
            raise ValueError(f"`decoder_type` must be one of {DECODERS}, got {self.decoder_type!r}")
        if len(self.decoder_channels) != 4 or min(self.decoder_channels) < 1:
            raise ValueError(
                "`decoder_channels` needs four positive numbers (at 1/1, 1/2, 1/4 and 1/8), "
                f"got {self.decoder_channels}"
            )
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
