"""What a user would pick instead: a plain U-Net under the same trainer. MONAI, in training only."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import SemanticSegmenterOutput

from ..hub.configuration_cmr import CMRConfig
from ..hub.decoding_cmr import segmentation_loss


class PlainUNet(nn.Module):
    """MONAI's DynUNet, residual, 16 to 256 channels in six levels (5.3 M parameters), one input channel.

    Takes and gives what `CMRForSemanticSegmentation` does, with the same loss.
    """

    def __init__(self, config: CMRConfig):
        super().__init__()
        from monai.networks.nets import DynUNet

        self.config = config
        filters = [16, 32, 64, 128, 256, 256]
        self.network = DynUNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=config.num_labels,
            kernel_size=[3] * 6,
            strides=[1] + [2] * 5,
            upsample_kernel_size=[2] * 5,
            filters=filters,
            res_block=True,
        )

    def state_dict(self, *args, **kwargs) -> dict[str, torch.Tensor]:
        """Each tensor once: DynUNet holds its layers a second time under `skip_layers`, which safetensors refuses."""
        state = super().state_dict(*args, **kwargs)
        return {name: tensor for name, tensor in state.items() if ".skip_layers." not in name}

    def load_state_dict(self, state_dict: Mapping[str, torch.Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Takes what `state_dict` gives; the second names are the same tensors."""
        result = super().load_state_dict(state_dict, strict=False, assign=assign)
        missing = [name for name in result.missing_keys if ".skip_layers." not in name]
        if strict and (missing or result.unexpected_keys):
            raise RuntimeError(f"the weights lack {missing} and have unknown {result.unexpected_keys}")
        return type(result)(missing, result.unexpected_keys)

    def forward(
        self, pixel_values: torch.Tensor, labels: torch.LongTensor | None = None, **kwargs
    ) -> SemanticSegmenterOutput:
        logits = self.network(pixel_values[:, :1])
        loss = None if labels is None else segmentation_loss(logits, labels, self.config)
        return SemanticSegmenterOutput(loss=loss, logits=logits)
