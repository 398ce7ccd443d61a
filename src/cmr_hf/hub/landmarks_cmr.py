"""Landmarks as Gaussian heatmaps: the loss, and the way from a heatmap to a point between the pixels.

A landmark's logits over the pixels, and one more of 0 for "not in this image", make one probability distribution.
Points are (row, column) in pixels, (0, 0) is the centre of the first.
"""

import torch

FAR = 4.0  # standard deviations around a point that count as "there"


def gaussian_heatmaps(points: torch.Tensor, size: tuple[int, int], sigma: float) -> torch.Tensor:
    """Gaussians around points, each with a mass of 1 in the plane.

    Args:
        points (`torch.Tensor` of shape `(batch, landmarks, 2)`): NaN where a landmark is absent.
        size (two `int`): height and width.
        sigma (`float`): standard deviation in pixels.

    Returns:
        `torch.Tensor` of shape `(batch, landmarks, height, width)`; zero for an absent landmark.
    """
    profiles = []
    for axis, length in enumerate(size):
        distance = torch.arange(length, device=points.device, dtype=torch.float32) - points[..., axis, None].float()
        profiles.append(torch.exp(-(distance**2) / (2 * sigma**2)) / (sigma * (2 * torch.pi) ** 0.5))
    return (profiles[0][..., :, None] * profiles[1][..., None, :]).nan_to_num(0.0)


def with_nowhere(logits: torch.Tensor) -> torch.Tensor:
    """Logits `(batch, landmarks, height, width)` as `(batch, landmarks, pixels + 1)`; the last, 0, is "absent"."""
    flat = logits.float().flatten(2)
    return torch.cat((flat, flat.new_zeros(*flat.shape[:2], 1)), dim=-1)


def landmark_loss(
    logits: torch.Tensor, points: torch.Tensor, sigma: float, counts: torch.Tensor | None = None
) -> torch.Tensor:
    """Cross-entropy between the heatmap of each landmark and the Gaussian around its true point.

    Args:
        logits (`torch.Tensor` of shape `(batch, landmarks, height, width)`)
        points (`torch.Tensor` of shape `(batch, landmarks, 2)`): (row, column), NaN where absent.
        sigma (`float`): in pixels.
        counts (`torch.BoolTensor` of shape `(batch, landmarks)`, *optional*): `False` where nobody marked it.

    Raises:
        ValueError: points of another shape.
    """
    if points.shape != (*logits.shape[:2], 2):
        raise ValueError(f"`labels` must be (batch, landmarks, 2) of {tuple(logits.shape)}, got {tuple(points.shape)}")
    target = gaussian_heatmaps(points.to(logits.device), tuple(logits.shape[-2:]), sigma).flatten(2)
    target = torch.cat((target, (1 - target.sum(-1, keepdim=True)).clamp(min=0)), dim=-1)
    losses = -(target * with_nowhere(logits).log_softmax(dim=-1)).sum(dim=-1)
    if counts is None:
        return losses.mean()
    counts = counts.to(losses.device, losses.dtype)
    return (losses * counts).sum() / counts.sum().clamp(min=1)


def read_landmarks(logits: torch.Tensor, sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The mode of each heatmap, between the pixels, and how sure it is.

    From the highest pixel a Gaussian window (twice as wide as the target) climbs to the mode by mean shift.

    Args:
        logits (`torch.Tensor` of shape `(batch, landmarks, height, width)`)
        sigma (`float`): what the model was trained with, in pixels.

    Returns:
        Points of shape `(batch, landmarks, 2)`, (row, column), and scores of shape `(batch, landmarks)`: the
        probability that the landmark lies within 4 sigma of the point; float32.
    """
    height, width = logits.shape[-2:]
    flat = logits.float().flatten(2)
    present = flat.logsumexp(dim=-1).sigmoid()  # all pixels against the 0 of "not in this image"
    # of one that is present, so that a landmark that is nearly certain to be absent has a place too
    chances = flat.softmax(dim=-1).unflatten(-1, (height, width))
    peak = flat.max(dim=-1).indices
    rows = torch.arange(height, device=logits.device, dtype=torch.float32)
    columns = torch.arange(width, device=logits.device, dtype=torch.float32)
    row, column = (peak // width).float(), (peak % width).float()
    for _ in range(8):
        near_row = torch.exp(-((rows - row[..., None]) ** 2) / (8 * sigma**2))
        near_column = torch.exp(-((columns - column[..., None]) ** 2) / (8 * sigma**2))
        window = torch.einsum("bkh,bkhw,bkw->bk", near_row, chances, near_column)
        row, column = (
            torch.einsum("bkh,bkhw,bkw->bk", near_row * rows, chances, near_column) / window,
            torch.einsum("bkh,bkhw,bkw->bk", near_row, chances, near_column * columns) / window,
        )
    apart = (rows - row[..., None])[..., :, None] ** 2 + (columns - column[..., None])[..., None, :] ** 2
    scores = present * (chances * (apart <= (FAR * sigma) ** 2)).sum((-2, -1))
    return torch.stack((row, column), dim=-1), scores
