"""How much features know: k nearest neighbours and a linear classifier on frozen features, and what to beat."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..hub.encoding_cmr import CMRViTModel
from .canvas import to_pixel_values
from .intensities import fast_dtype


def knn_predict(train: Tensor, labels: Tensor, test: Tensor, k: int = 20, temperature: float = 0.07) -> Tensor:
    """Classes by a vote of the k nearest, weighted by exp(cosine / temperature).

    Args:
        train (`torch.Tensor` of shape `(n, width)`), labels (`torch.Tensor` of shape `(n,)`, class ids from 0).
        test (`torch.Tensor` of shape `(m, width)`).

    Returns:
        `torch.Tensor` of shape `(m,)`.

    Source: Wu et al. 2018; Caron et al. 2021, section 4.1 (k 20, temperature 0.07).
    """
    if not len(train) or len(train) != len(labels):
        raise ValueError(f"`train` needs one label each and at least one, got {len(train)} and {len(labels)}")
    cosine = F.normalize(test.float(), dim=1) @ F.normalize(train.float(), dim=1).T
    near, index = cosine.topk(min(k, len(train)), dim=1)
    votes = torch.zeros(len(test), int(labels.max()) + 1, device=near.device)
    votes.scatter_add_(1, labels[index], torch.exp((near - near[:, :1]) / temperature))
    return votes.argmax(dim=1)


def linear_predict(train: Tensor, labels: Tensor, test: Tensor, decay: float = 1e-3, steps: int = 60) -> Tensor:
    """Classes by multinomial logistic regression on standardised features, each class weighing the same.

    Args:
        train (`torch.Tensor` of shape `(n, width)`), labels (`torch.Tensor` of shape `(n,)`), test (`(m, width)`).
        decay (`float`): of the squared weights.
        steps (`int`): of L-BFGS on the whole set.
    """
    train = train.float()
    mean, deviation = train.mean(dim=0), train.std(dim=0, correction=0).clamp(min=1e-6)
    train, test = (train - mean) / deviation, (test.float() - mean) / deviation
    classes = int(labels.max()) + 1
    count = torch.bincount(labels, minlength=classes).float()
    weight = torch.where(count > 0, len(labels) / (count.clamp(min=1) * (count > 0).sum()), 0.0)
    matrix = torch.zeros(train.shape[1] + 1, classes, device=train.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([matrix], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(train @ matrix[:-1] + matrix[-1], labels, weight=weight)
        loss = loss + decay * matrix[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return (test @ matrix[:-1] + matrix[-1]).argmax(dim=1)


def accuracy(predicted: Tensor, truth: Tensor) -> dict[str, float]:
    """`accuracy` over images and `balanced`, the mean over the classes that occur in `truth`."""
    right = (predicted == truth).float()
    classes = [right[truth == one].mean() for one in truth.unique()]
    return {"accuracy": right.mean().item(), "balanced": torch.stack(classes).mean().item()}


@torch.no_grad()
def extract_features(
    backbone: CMRViTModel, images: Tensor, extents: Tensor, batch_size: int = 64, every_block: bool = False
) -> Tensor:
    """Features of packed pictures, float32 on the CPU; computed in bfloat16 where hardware has it.

    Args:
        images (`torch.Tensor` of shape `(n, side, side)`, uint8), extents (`torch.Tensor` of shape `(n, 2)`).
        every_block (`bool`): `CMRViTModel.image_features` instead of the last [CLS] alone.

    Returns:
        `torch.Tensor` of shape `(n, width)` or `(n, feature_size)`.
    """
    device, training = next(backbone.parameters()).device, backbone.training
    dtype = fast_dtype(device.type)
    backbone.eval()
    found = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        pixels = to_pixel_values(images[part].to(device), extents[part].to(device))
        pixels = pixels.expand(-1, backbone.config.num_channels, -1, -1)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            outputs = backbone(pixels, output_hidden_states=every_block)
            features = backbone.image_features(outputs) if every_block else outputs.last_hidden_state[:, 0]
        found.append(features.float().cpu())
    backbone.train(training)
    return torch.cat(found)


def raw_pixel_features(images: Tensor, extents: Tensor, side: int = 32) -> Tensor:
    """The picture itself, `side` × `side` means: what a representation must beat. Shape `(n, side * side)`."""
    return F.adaptive_avg_pool2d(to_pixel_values(images, extents), side).flatten(1)


def histogram_features(images: Tensor, extents: Tensor, bins: int = 64) -> Tensor:
    """Shares of grey values among the real pixels, shape `(n, bins)`: what a shortcut through contrast would know."""
    values = to_pixel_values(images, extents).flatten(1)
    level = ((values + 1) * (bins / 2)).long().clamp(0, bins - 1)
    shares = torch.zeros(len(images), bins).scatter_add_(1, level, torch.ones_like(values))
    return shares / values.shape[1]


def equalise(images: Tensor, extents: Tensor, side: int = 128, levels: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    """The middle of every picture in the same few grey values: neither matrix, padding nor bits say where it is from.

    Args:
        images (`torch.Tensor` of shape `(n, width, width)`, uint8), extents (`torch.Tensor` of shape `(n, 2)`).
        side (`int`): of the middle, in pixels.
        levels (`int`): grey values, from the least value of the middle to its 98th percentile.

    Returns:
        Pictures of shape `(m, side, side)`, their extents, and which of the `n` were large enough, shape `(n,)`.
    """
    large = (extents >= side).all(dim=1)
    start = (images.shape[-1] - side) // 2
    middle = images[large][:, start : start + side, start : start + side]
    sizes = torch.full((len(middle), 2), side)
    values = [to_pixel_values(part, size)[:, 0] for part, size in zip(middle.split(256), sizes.split(256), strict=True)]
    share = (torch.cat(values) + 1) / 2 if values else torch.empty(0, side, side)
    return (share * (levels - 1)).round().mul(255 / (levels - 1)).round().byte(), sizes, large
