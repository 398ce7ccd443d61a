"""DINO's projection head, and the network of backbone and head that student and teacher both are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from ..hub.encoding_cmr import CMRViTModel


class DINOHead(nn.Module):
    """Three-layer perceptron, a bottleneck on the unit sphere, and a weight-normalised last layer.

    The last layer's rows have length 1 unless `free_length`, so an output is a cosine in −1 … 1. It is computed in
    fp32 even under autocast: divided by a temperature of 0.04, a cosine of bf16 would be wrong by 0.1.

    Args:
        in_dim (`int`): width of the backbone.
        out_dim (`int`): number of outputs ("prototypes").
        hidden_dim (`int`), bottleneck_dim (`int`): widths within.
        free_length (`bool`): train the length of the last layer's rows too; unstable for small data.

    Source: Caron et al. 2021, section 3.1 and appendix C.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        free_length: bool = False,
    ):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(in_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, bottleneck_dim),
        )
        self.last_layer = nn.Linear(bottleneck_dim, out_dim, bias=False)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        weight_norm(self.last_layer)
        length = self.last_layer.parametrizations.weight.original0
        nn.init.ones_(length)
        length.requires_grad_(free_length)

    def forward(self, features: Tensor) -> Tensor:
        """`features` of shape `(n, in_dim)` to outputs of shape `(n, out_dim)`, float32."""
        hidden = self.mlp(features)
        with torch.autocast(hidden.device.type, enabled=False):
            return F.linear(F.normalize(hidden.float(), dim=-1, eps=1e-6), self.last_layer.weight.float())


class DINONetwork(nn.Module):
    """Backbone and head: crops of several sizes to outputs.

    Args:
        backbone (`CMRViTModel`), head (`DINOHead`).
    """

    def __init__(self, backbone: CMRViTModel, head: DINOHead):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, views: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """
        Args:
            views (`list` of `torch.Tensor` of shape `(n, 1, size, size)`): one entry per crop size; each is one pass
                of the backbone.

        Returns:
            Outputs of shape `(sum of n, out_dim)`, float32, and the [CLS] features of shape `(sum of n, width)`.
        """
        channels = self.backbone.config.num_channels
        features = [self.backbone(view.expand(-1, channels, -1, -1)).last_hidden_state[:, 0] for view in views]
        features = torch.cat(features)
        return self.head(features), features
