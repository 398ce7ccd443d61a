"""Where the [CLS] token of the last block looks, as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..hub.encoding_cmr import CMRViTModel
from .canvas import to_pixel_values


@torch.no_grad()
def attention_maps(backbone: CMRViTModel, pixel_values: Tensor) -> Tensor:
    """Attention of [CLS] to the patches in the last block, enlarged to the picture.

    Args:
        backbone (`CMRViTModel`): with attention "eager", the only one that gives its weights.
        pixel_values (`torch.Tensor` of shape `(n, 1, height, width)`): −1 … 1.

    Returns:
        `torch.Tensor` of shape `(n, heads, height, width)`; over the patches a head's weights sum to at most 1.

    Source: Caron et al. 2021, figure 1.
    """
    patch = backbone.config.patch_size
    before, training = backbone.config._attn_implementation, backbone.training
    backbone.eval().set_attn_implementation("eager")
    outputs = backbone(pixel_values.expand(-1, backbone.config.num_channels, -1, -1), output_attentions=True)
    backbone.train(training).set_attn_implementation(before)
    weights = outputs.attentions[-1][:, :, 0, 1:]  # (n, heads, patches)
    weights = weights.unflatten(2, (pixel_values.shape[-2] // patch, pixel_values.shape[-1] // patch)).float()
    return F.interpolate(weights, scale_factor=patch, mode="nearest")


def attention_picture(backbone: CMRViTModel, images: Tensor, extents: Tensor) -> np.ndarray:
    """A row for each picture: itself, then each head's attention, brightest at its greatest; uint8 `(rows, columns)`.

    Args:
        images (`torch.Tensor` of shape `(n, side, side)`, uint8), extents (`torch.Tensor` of shape `(n, 2)`).
    """
    device = next(backbone.parameters()).device
    pixels = to_pixel_values(images.to(device), extents.to(device))
    maps = attention_maps(backbone, pixels)
    maps = maps / maps.amax(dim=(2, 3), keepdim=True)
    tiles = torch.cat(((pixels + 1) / 2, maps), dim=1)  # (n, 1 + heads, side, side)
    count, columns, height, width = tiles.shape
    picture = tiles.permute(0, 2, 1, 3).reshape(count * height, columns * width)
    return (picture * 255).round().byte().cpu().numpy()


def save_attention_maps(
    backbone: CMRViTModel, images: Tensor, extents: Tensor, folder: Path, step: int, count: int = 6
) -> Path | None:
    """Writes `folder/step-N.png` of `count` pictures, evenly spread; all processes look, the first one writes."""
    from PIL import Image

    chosen = torch.linspace(0, len(images) - 1, min(count, len(images))).round().long()
    picture = attention_picture(backbone, images[chosen], extents[chosen])
    if torch.distributed.is_initialized() and torch.distributed.get_rank():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"step-{step:08d}.png"
    Image.fromarray(picture).save(file)
    return file
