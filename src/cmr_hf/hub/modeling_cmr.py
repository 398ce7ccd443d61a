"""The heads: image classification, semantic segmentation and landmarks, over either encoder."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPooling,
    ImageClassifierOutput,
    ModelOutput,
    SemanticSegmenterOutput,
)
from transformers.utils import logging

from .configuration_cmr import CMRConfig
from .decoding_cmr import build_decoder, segmentation_loss
from .encoding_cmr import OwnNames, build_encoder, hidden_states_of
from .landmarks_cmr import landmark_loss

logger = logging.get_logger(__name__)


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


class CMRModel(CMRPreTrainedModel):
    """The encoder alone out of any published model, whatever its head: what `AutoModel` opens."""

    _keys_to_ignore_on_load_unexpected = [r"^decoder\.", r"^classifier\."]

    def __init__(self, config: CMRConfig):
        super().__init__(config)
        self.backbone = build_encoder(config)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, **kwargs) -> BaseModelOutputWithPooling:
        """`pixel_values` of shape `(batch, 3, height, width)` to what the encoder gives, see `CMRViTModel`."""
        return self.backbone(pixel_values.to(self.dtype), **kwargs)

    def image_features(self, outputs: BaseModelOutput) -> torch.Tensor:
        """One vector per image, see `CMRViTModel.image_features`."""
        return self.backbone.image_features(outputs)


class CMRModelWithHead(CMRPreTrainedModel):
    """One pass of the encoder, or a pass that was made before, for the head above it."""

    def encode(
        self, pixel_values: torch.Tensor | None, encoder_outputs: BaseModelOutput | None, **kwargs
    ) -> BaseModelOutput:
        if encoder_outputs is None:
            if pixel_values is None:
                raise ValueError("give `pixel_values`, or `encoder_outputs` of a pass that was made before")
            encoder_outputs = self.backbone(pixel_values, output_hidden_states=True, **kwargs)
        hidden_states_of(encoder_outputs)
        return encoder_outputs


class CMRForImageClassification(CMRModelWithHead):
    """Encoder and one linear layer: image type, view, LGE, disease.

    Tasks on one image repeat it in the three channels; LGE detection puts a basal, a mid and an apical slice there,
    disease detection a slice at end-diastole, half-way and at end-systole.

    Source: Jacob et al. 2024, sections 3.2 and 3.3.
    """

    def __init__(self, config: CMRConfig):
        super().__init__(config)
        self.backbone = build_encoder(config)
        self.classifier = nn.Linear(self.backbone.feature_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        pixel_values: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> ImageClassifierOutput | tuple:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(batch, 3, height, width)`): −1…1, from `CMRImageProcessor`; not
                needed with `encoder_outputs`.
            labels (`torch.LongTensor` of shape `(batch,)`, *optional*): class ids; −100 counts in no loss.
            encoder_outputs (`BaseModelOutput`, *optional*): what the backbone gave for these pixels with
                `output_hidden_states=True`, so that several heads share one pass.

        Returns:
            `loss` (cross-entropy, if `labels`), `logits` of shape `(batch, num_labels)`.
        """
        pixel_values = None if pixel_values is None else pixel_values.to(self.dtype)
        encoder_outputs = self.encode(pixel_values, encoder_outputs, **kwargs)
        logits = self.classifier(self.backbone.image_features(encoder_outputs))
        output = ImageClassifierOutput(
            loss=None if labels is None else F.cross_entropy(logits.float(), labels),
            logits=logits,
            hidden_states=encoder_outputs.hidden_states if output_hidden_states else None,
        )
        return output if return_dict is not False else output.to_tuple()


class CMRModelWithDecoder(CMRModelWithHead):
    """Encoder and decoder: a map per class at the size of the input.

    The decoder is `config.decoder_type`: over a ViT the paper's UNETR or the hybrid with a convolutional pyramid,
    over a ResNet the U-Net.
    """

    level_start = False  # of the maps: the last layer stays small at first, so that no place is preferred

    def __init__(self, config: CMRConfig):
        super().__init__(config)
        self.backbone = build_encoder(config)
        self.decoder = build_decoder(config)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Convolutions of a ViT's decoder start as He et al. 2015 have them; with transformers' 0.02, which the U-Net
        over a ResNet keeps, they hardly learn at first."""
        super()._init_weights(module)
        kept = self.config.decoder_type == "unet" or (self.level_start and module is self.decoder.classifier)
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and not kept:
            init.kaiming_normal_(module.weight, a=0.01)

    def maps(
        self, pixel_values: torch.Tensor, encoder_outputs: BaseModelOutput | None, **kwargs
    ) -> tuple[torch.Tensor, BaseModelOutput]:
        """Logits of shape `(batch, num_labels, height, width)`, and what the encoder gave."""
        pixel_values = pixel_values.to(self.dtype)
        encoder_outputs = self.encode(pixel_values, encoder_outputs, **kwargs)
        maps = self.decoder(pixel_values, encoder_outputs.hidden_states, encoder_outputs.last_hidden_state)
        return maps, encoder_outputs


class CMRForSemanticSegmentation(CMRModelWithDecoder):
    """Encoder and decoder: one logit per class and pixel, at the size of the input.

    Source: Jacob et al. 2024, section 3.3; Hatamizadeh et al. 2021 (UNETR).
    """

    def __init__(self, config: CMRConfig):
        if config.num_labels < 2:
            raise ValueError(f"segmentation needs two labels or more, background first, got {config.num_labels}")
        super().__init__(config)

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
        logits, encoder_outputs = self.maps(pixel_values, encoder_outputs, **kwargs)
        output = SemanticSegmenterOutput(
            loss=None if labels is None else segmentation_loss(logits, labels, self.config),
            logits=logits,
            hidden_states=encoder_outputs.hidden_states if output_hidden_states else None,
            attentions=encoder_outputs.get("attentions"),
        )
        return output if return_dict is not False else output.to_tuple()


@dataclass
class LandmarkDetectorOutput(ModelOutput):
    """
    Args:
        loss (`torch.Tensor`, *optional*): of the heatmaps, if labels were given.
        logits (`torch.Tensor` of shape `(batch, num_labels, height, width)`): one map per landmark;
            `CMRImageProcessor.post_process_landmark_detection` reads points from them.
        hidden_states (`tuple` of `torch.Tensor`, *optional*): of the encoder.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None


class CMRForLandmarkDetection(CMRModelWithDecoder):
    """Encoder and decoder: a heatmap per landmark, `config.id2label` names them (no background).

    Source: Jacob et al. 2024, section 3.3; the heatmaps of Xue et al. 2021, here as one distribution over the pixels
    and "not in this image".
    """

    level_start = True

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        counts: torch.BoolTensor | None = None,
        encoder_outputs: BaseModelOutput | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> LandmarkDetectorOutput | tuple:
        """
        Args:
            pixel_values (`torch.Tensor` of shape `(batch, 3, height, width)`): −1…1, from `CMRImageProcessor`.
            labels (`torch.Tensor` of shape `(batch, num_labels, 2)`, *optional*): (row, column) in pixels of
                `pixel_values`; NaN where the image does not show the landmark.
            counts (`torch.BoolTensor` of shape `(batch, num_labels)`, *optional*): `False` where nobody looked for
                the landmark, so that it counts in no loss.
            encoder_outputs (`BaseModelOutput`, *optional*): as for `CMRForSemanticSegmentation`.

        Returns:
            `loss` (if `labels`), `logits` of shape `(batch, num_labels, height, width)`.
        """
        logits, encoder_outputs = self.maps(pixel_values, encoder_outputs, **kwargs)
        output = LandmarkDetectorOutput(
            loss=None if labels is None else landmark_loss(logits, labels, self.config.landmark_sigma, counts),
            logits=logits,
            hidden_states=encoder_outputs.hidden_states if output_hidden_states else None,
        )
        return output if return_dict is not False else output.to_tuple()
