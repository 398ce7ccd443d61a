"""The encoders: transformers' own ViT, and its ResNet as the paper's baseline."""

import torch
from torch import nn
from transformers import PreTrainedModel, ResNetConfig, ResNetModel
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPooling,
    BaseModelOutputWithPoolingAndNoAttention,
)
from transformers.models.vit.modeling_vit import ViTModel

from .configuration_cmr import CMRConfig, CMRViTConfig

TAPPED_BLOCKS = 4  # whose [CLS] tokens describe an image


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

    @property
    def tapped_blocks(self) -> int:
        return min(TAPPED_BLOCKS, self.config.num_hidden_layers)

    @property
    def feature_size(self) -> int:
        return (self.tapped_blocks + 1) * self.config.hidden_size

    def image_features(self, outputs: BaseModelOutput) -> torch.Tensor:
        """One vector per image: [CLS] of the last four blocks, and the mean patch token of the last, all normed.

        Args:
            outputs (`BaseModelOutput`): what the encoder gave with `output_hidden_states=True`.

        Returns:
            `torch.Tensor` of shape `(batch, feature_size)`: 1920 for the ViT-S.

        Source: the linear evaluation of Caron et al. 2021; Jacob et al. 2024, section 3.3.
        """
        last = outputs.last_hidden_state
        earlier = hidden_states_of(outputs)[-self.tapped_blocks : -1]
        class_tokens = [self.layernorm(state[:, 0]) for state in earlier] + [last[:, 0]]
        return torch.cat((*class_tokens, last[:, 1:].mean(dim=1)), dim=-1)


class CMRResNetModel(ResNetModel):
    """The paper's baseline encoder: transformers' ResNet, whose `hidden_states` are the maps at 1/2, 1/4, … 1/32.

    Weights of a transformers `ResNetModel` (ResNet-50 of ImageNet, say) load into it with equal outputs.

    Source: He et al. 2016, *Deep residual learning for image recognition*.
    """

    config_class = ResNetConfig

    def forward(
        self, pixel_values: torch.Tensor, output_hidden_states: bool | None = None, **kwargs
    ) -> BaseModelOutputWithPoolingAndNoAttention:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(batch, 3, height, width)`): −1…1, from `CMRImageProcessor`.
            output_hidden_states (`bool`, *optional*): give the five maps too.

        Raises:
            ValueError: 32 does not divide height and width.
        """
        if pixel_values.ndim != 4 or pixel_values.shape[-2] % 32 or pixel_values.shape[-1] % 32:
            raise ValueError(
                "`pixel_values` must be (batch, channels, height, width) with sides that 32 divides, "
                f"got {tuple(pixel_values.shape)}: use CMRImageProcessor, or pad"
            )
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        half = self.embedder.embedder(pixel_values)
        encoded = self.encoder(self.embedder.pooler(half), output_hidden_states=True)
        return BaseModelOutputWithPoolingAndNoAttention(
            last_hidden_state=encoded.last_hidden_state,
            pooler_output=self.pooler(encoded.last_hidden_state),
            hidden_states=(half, *encoded.hidden_states[1:]) if output_hidden_states else None,
        )

    @property
    def feature_size(self) -> int:
        return self.config.hidden_sizes[-1]

    def image_features(self, outputs: BaseModelOutput) -> torch.Tensor:
        """The last map averaged over its pixels: `(batch, feature_size)`, 2048 for the ResNet-50."""
        return outputs.last_hidden_state.mean(dim=(-2, -1))


def hidden_states_of(outputs: BaseModelOutput) -> tuple[torch.Tensor, ...]:
    if outputs.hidden_states is None:
        raise ValueError("`encoder_outputs` lack hidden_states: run the encoder with output_hidden_states=True")
    return outputs.hidden_states


def build_encoder(config: CMRConfig) -> PreTrainedModel:
    """The encoder that `config.backbone_config` describes, with random weights."""
    encoder = CMRResNetModel if config.backbone_config.model_type == "resnet" else CMRViTModel
    return encoder(config.backbone_config)
