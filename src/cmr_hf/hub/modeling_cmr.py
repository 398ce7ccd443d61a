"""The CMR encoder (transformers' own ViT) and the models on it."""

import torch
from torch import nn
from transformers import PreTrainedModel, ResNetModel
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling, SemanticSegmenterOutput
from transformers.models.vit.modeling_vit import ViTModel
from transformers.utils import logging

from .configuration_cmr import CMRConfig, CMRViTConfig
from .decoding_cmr import HybridDecoder, UNETRDecoder, segmentation_loss

logger = logging.get_logger(__name__)


class StochasticDepth(nn.Module):
    """Drops a residual branch for whole samples during training (Huang et al. 2016)."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, branch: torch.Tensor) -> torch.Tensor:
        if not self.training or self.rate == 0.0:
            return branch
        keep = 1.0 - self.rate
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        return branch * branch.new_empty(shape).bernoulli_(keep) / keep

    def extra_repr(self) -> str:
        return f"rate={self.rate:.3f}"


class OwnNames:
    """Saves the weights under the model's own names.

    transformers would turn them back into the ViT's older names, which its Trainer (resuming, best model) and code
    from the Hub without our registration cannot load.
    """

    def save_pretrained(self, *args, save_original_format: bool = False, **kwargs) -> None:
        super().save_pretrained(*args, save_original_format=save_original_format, **kwargs)


class CMRViTModel(OwnNames, ViTModel):
    """The encoder: a ViT that takes any image size its patch divides.

    Weights of a transformers `ViTModel` (a published DINO ViT-S/8, say) load into it with equal outputs. Position
    embeddings are interpolated when the image is not `config.image_size`.

    Source: Caron et al. 2021, *Emerging properties in self-supervised vision transformers*.
    """

    config_class = CMRViTConfig
    config: CMRViTConfig
    base_model_prefix = "backbone"

    def __init__(self, config: CMRViTConfig, add_pooling_layer: bool = False, use_mask_token: bool = False):
        super().__init__(config, add_pooling_layer=add_pooling_layer, use_mask_token=use_mask_token)
        if config.drop_path_rate > 0.0:
            if config.hidden_dropout_prob > 0.0:
                raise ValueError("`drop_path_rate` and `hidden_dropout_prob` exclude each other: set one to 0")
            last = max(1, len(self.layers) - 1)
            for index, layer in enumerate(self.layers):
                layer.dropout = StochasticDepth(config.drop_path_rate * index / last)

    def forward(
        self,
        pixel_values: torch.Tensor,
        bool_masked_pos: torch.BoolTensor | None = None,
        interpolate_pos_encoding: bool | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPooling:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(batch, 3, height, width)`): −1…1, from `CMRImageProcessor`.
            bool_masked_pos (`torch.BoolTensor` of shape `(batch, patches)`, *optional*): patches to mask.
            interpolate_pos_encoding (`bool`, *optional*): by default, wherever the size needs it.

        Returns:
            `last_hidden_state` of shape `(batch, 1 + patches, hidden_size)`, [CLS] first, after the final norm.

        Raises:
            ValueError: the patch size does not divide height and width.
        """
        patch = self.config.patch_size
        if pixel_values.ndim != 4 or pixel_values.shape[-2] % patch or pixel_values.shape[-1] % patch:
            raise ValueError(
                f"`pixel_values` must be (batch, channels, height, width) with sides that {patch} divides, "
                f"got {tuple(pixel_values.shape)}: use CMRImageProcessor, or pad"
            )
        if interpolate_pos_encoding is None:
            interpolate_pos_encoding = tuple(pixel_values.shape[-2:]) != tuple(self.embeddings.image_size)
        return super().forward(
            pixel_values,
            bool_masked_pos=bool_masked_pos,
            interpolate_pos_encoding=interpolate_pos_encoding,
            **kwargs,
        )


class CMRPreTrainedModel(OwnNames, PreTrainedModel):
    """What all models with a head share: the encoder under `backbone`, loading and saving."""

    config_class = CMRConfig
    config: CMRConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["ViTEmbeddings", "ViTLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def __init__(self, config: CMRConfig):
        super().__init__(config)
        if config.weights_license and "-nc" in config.weights_license:
            logger.warning_once(
                f"these weights are licensed {config.weights_license}: not for commercial use; see LICENSE beside them"
            )


def build_encoder(config: CMRConfig) -> PreTrainedModel:
    """The encoder that `config.backbone_config` describes, with random weights."""
    if config.backbone_config.model_type == "resnet":
        return ResNetModel(config.backbone_config)
    return CMRViTModel(config.backbone_config)


class CMRModel(CMRPreTrainedModel):
    """The encoder alone out of any published model, whatever its head: what `AutoModel` opens."""

    _keys_to_ignore_on_load_unexpected = [r"^decoder\."]

    def __init__(self, config: CMRConfig):
        super().__init__(config)
        self.backbone = build_encoder(config)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **kwargs) -> BaseModelOutputWithPooling:
        """`pixel_values` of shape `(batch, 3, height, width)` to what the encoder gives, see `CMRViTModel`."""
        return self.backbone(pixel_values.to(self.dtype), **kwargs)


class CMRForSemanticSegmentation(CMRPreTrainedModel):
    """Encoder and decoder: one logit per class and pixel, at the size of the input.

    The decoder is `config.decoder_type`: the paper's UNETR or the hybrid with a convolutional pyramid.

    Source: Jacob et al. 2024, section 3.3; Hatamizadeh et al. 2021 (UNETR).
    """

    def __init__(self, config: CMRConfig):
        super().__init__(config)
        if config.backbone_config.model_type == "resnet":
            raise ValueError("a segmentation decoder over ResNet is not part of this release: use a ViT backbone")
        if config.num_labels < 2:
            raise ValueError(f"segmentation needs two labels or more, background first, got {config.num_labels}")
        self.backbone = build_encoder(config)
        decoder = UNETRDecoder if config.decoder_type == "unetr" else HybridDecoder
        self.decoder = decoder(config)
        self.post_init()

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.LongTensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> SemanticSegmenterOutput | tuple:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(batch, 3, height, width)`): −1…1, from `CMRImageProcessor`.
            labels (`torch.LongTensor` of shape `(batch, height, width)`, *optional*): class ids;
                `config.ignore_index` counts in no loss.
            encoder_outputs (`BaseModelOutput`, *optional*): what the backbone gave for these pixels with
                `output_hidden_states=True`, so that several heads share one pass.

        Returns:
            `loss` (if `labels`), `logits` of shape `(batch, num_labels, height, width)`.
        """
        pixel_values = pixel_values.to(self.dtype)
        if encoder_outputs is None:
            encoder_outputs = self.backbone(pixel_values, output_hidden_states=True, **kwargs)
        if encoder_outputs.hidden_states is None:
            raise ValueError("`encoder_outputs` lack hidden_states: run the backbone with output_hidden_states=True")
        logits = self.decoder(pixel_values, encoder_outputs.hidden_states, encoder_outputs.last_hidden_state)
        loss = None if labels is None else segmentation_loss(logits, labels, self.config)
        output = SemanticSegmenterOutput(
            loss=loss,
            logits=logits,
            hidden_states=encoder_outputs.hidden_states if output_hidden_states else None,
            attentions=encoder_outputs.attentions,
        )
        return output if return_dict is not False else output.to_tuple()
