"""Pixels and millimetres in, `pixel_values` out; and masks back on the source grid."""

from collections.abc import Iterator, Sequence
from types import EllipsisType
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from transformers.image_processing_base import BatchFeature, ImageProcessingMixin
from transformers.image_processing_utils import BaseImageProcessor
from transformers.utils import logging

from .landmarks_cmr import read_landmarks

logger = logging.get_logger(__name__)

LARGEST_SIDE = 8192
VECTOR = 16  # float32 values in the widest register
LARGEST_VALUE = 1e37  # the range of one slice must not overflow float32


def checked_spacing(spacing_mm: Any) -> tuple[float, float]:
    """Pixel spacing as two positive numbers (row, column) in mm; one number counts for both.

    Raises:
        ValueError: anything else, zero and NaN included.
    """
    try:
        values = np.atleast_1d(np.asarray(spacing_mm, dtype=np.float64))
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape == (1,):
        values = values.repeat(2)
    if values.shape != (2,) or not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(
            f"`spacing_mm` needs two positive numbers (row, column) in mm, got {spacing_mm!r}: "
            "read it from PixelSpacing or pass spacing_mm="
        )
    return float(values[0]), float(values[1])


def resampling_matrix(
    source: int, source_mm: float, target: int, target_mm: float
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Linear interpolation along one axis between two grids that share their centre.

    When the target is coarser its pixels average over what they cover (a triangle of their own width), so nothing
    aliases. Pixel 0 is a centre; a grid of n pixels covers −0.5 … n − 0.5.

    Args:
        source (`int`), target (`int`): number of pixels.
        source_mm (`float`), target_mm (`float`): pixel size in mm.

    Returns:
        Weights of shape `(target, source)`, and the half-open range of target pixels inside the source, (0, 0) where
        there are none; the rows outside are zero.
    """
    index = torch.arange(target, dtype=torch.float64)
    position = (index - (target - 1) / 2) * (target_mm / source_mm) + (source - 1) / 2
    inside = (position >= -0.5 - 1e-9) & (position <= source - 0.5 + 1e-9)
    reach = max(1.0, target_mm / source_mm)
    distance = position.clamp(0, source - 1)[:, None] - torch.arange(source, dtype=torch.float64)
    weights = (1 - distance.abs() / reach).clamp(min=0)
    weights = weights / weights.sum(dim=1, keepdim=True) * inside[:, None]
    covered = torch.nonzero(inside).flatten()
    return weights.float(), (int(covered[0]), int(covered[-1]) + 1) if len(covered) else (0, 0)


def resampled(rows: torch.Tensor, images: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """`images` of shape `(…, h, w)` between two of `resampling_matrix`, in float32 whatever `autocast` says around."""
    with torch.autocast(images.device.type, enabled=False):
        return rows @ images @ columns


def percentile_per_slice(values: torch.Tensor, percentile: float) -> torch.Tensor:
    """Linear-interpolated percentile of each row of `values` of shape `(n, pixels)`."""
    rank = (values.shape[1] - 1) * percentile / 100
    lower = int(rank)
    parted = torch.from_numpy(np.partition(values.numpy(), lower, axis=1))
    low = parted[:, lower]
    high = parted[:, lower + 1 :].amin(dim=1) if lower + 1 < values.shape[1] else low
    return low + (high - low) * (rank - lower)


def finite(maps: torch.Tensor) -> torch.Tensor:
    """The same in float32, looked through in one pass, a tenth of the time of `torch.isfinite`.

    Raises:
        ValueError: NaN or infinite values.
    """
    if maps.numel() and not torch.isfinite(torch.stack(torch.aminmax(maps))).all():
        raise ValueError("the model gave NaN or infinite values: load it in float32 or bfloat16, not float16")
    return maps.float()


def softmax_per_pixel(maps: torch.Tensor) -> torch.Tensor:
    """Softmax over the channels of `(channels, rows, columns)`; what a pixel gets does not depend on the size."""
    # filled up to whole vector registers, because torch takes the exponentials of a remainder by another formula
    flat, pixels = maps.flatten(1), maps[0].numel()
    flat = F.pad(flat, (0, -pixels % VECTOR)) if pixels % VECTOR else flat
    return flat.softmax(dim=0)[:, :pixels].unflatten(1, maps.shape[1:])


class CMRImageProcessor(BaseImageProcessor):
    """Resample → crop or pad around the centre → cap at a percentile → −1…1 → three channels, and back.

    Resampling and cropping are one step: each source pixel is weighted straight into the crop, so that the way back
    is exact for any spacing and any odd size.

    Args:
        size (`int`, defaults to 224): side of the square crop in pixels.
        spacing_mm (`float`, defaults to 1.0): pixel size of the crop in mm.
        percentile (`float`, defaults to 98.0): intensity that becomes +1, over the real (not padded) pixels of each
            slice; the least of them becomes −1, and so does padding.
        default_spacing_mm (`float`, defaults to 1.4): assumed, with one warning, where a source has no spacing.

    Source: Jacob et al. 2024, section 3.3.
    """

    model_input_names = ["pixel_values"]

    def __init__(
        self,
        size: int = 224,
        spacing_mm: float = 1.0,
        percentile: float = 98.0,
        default_spacing_mm: float = 1.4,
        **kwargs,
    ):
        ImageProcessingMixin.__init__(self, **kwargs)
        self.size = int(size)
        self.spacing_mm = checked_spacing(spacing_mm)[0]
        self.percentile = float(percentile)
        self.default_spacing_mm = checked_spacing(default_spacing_mm)[0]
        if self.size < 1 or not 0 < self.percentile <= 100:
            raise ValueError(f"`size` must be positive and `percentile` in (0, 100], got {size} and {percentile}")

    def __call__(self, images: Any, spacing_mm: Any = None, **kwargs) -> BatchFeature:
        return self.preprocess(images, spacing_mm=spacing_mm, **kwargs)

    def preprocess(
        self,
        images: Any,
        spacing_mm: Any = None,
        stack_channels: bool = False,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """
        Args:
            images (array, tensor, PIL image, or a list of them): `(y, x)`, a stack `(z, y, x)` or `(t, z, y, x)`;
                a list may mix sizes.
            spacing_mm (two `float`, or a list of such pairs, *optional*): (row, column), for all or for each.
            stack_channels (`bool`, defaults to `False`): take the last stack axis, of length 3, as the three
                channels of one sample, instead of repeating each image.
            return_tensors (`str`, *optional*, defaults to `"pt"`): "pt" or "np".

        Returns:
            `BatchFeature` with `pixel_values` of shape `(n, 3, size, size)`; n counts all slices in order.

        Raises:
            ValueError: wrong rank, empty or giant image, NaN or infinite pixels, a spacing that is not positive.
        """
        if return_tensors not in ("pt", "np"):
            raise ValueError(f'`return_tensors` must be "pt" or "np", got {return_tensors!r}')
        items = list(images) if isinstance(images, (list, tuple)) else [images]
        if not items:
            raise ValueError("`images` is empty: pass at least one image")
        spacings = self._spacings(spacing_mm, len(items))
        batches = [
            self._process(to_slices(item, stack_channels), spacing)
            for item, spacing in zip(items, spacings, strict=True)
        ]
        pixel_values = batches[0] if len(batches) == 1 else torch.cat(batches)
        return BatchFeature({"pixel_values": pixel_values if return_tensors == "pt" else pixel_values.numpy()})

    def _spacings(self, spacing_mm: Any, count: int) -> list[tuple[float, float]]:
        several = isinstance(spacing_mm, (list, tuple)) and any(one is None or np.ndim(one) for one in spacing_mm)
        if not several and np.ndim(spacing_mm) < 2:
            return [self.spacing_or_default(spacing_mm)] * count
        if len(spacing_mm) != count:
            raise ValueError(f"`spacing_mm` has {len(spacing_mm)} entries for {count} images: give one pair each")
        return [self.spacing_or_default(pair) for pair in spacing_mm]

    def spacing_or_default(self, spacing_mm: Any) -> tuple[float, float]:
        """(row, column) in mm; without any, `default_spacing_mm` and one warning."""
        if spacing_mm is None:
            logger.warning_once(
                f"an image has no pixel spacing: {self.default_spacing_mm} mm is assumed, so sizes, areas and volumes "
                "are as uncertain as that; pass spacing_mm=(row, column) if you know it"
            )
            return self.default_spacing_mm, self.default_spacing_mm
        return checked_spacing(spacing_mm)

    def _process(self, slices: torch.Tensor, spacing_mm: tuple[float, float]) -> torch.Tensor:
        height, width = slices.shape[-2:]
        rows, (top, bottom) = resampling_matrix(height, spacing_mm[0], self.size, self.spacing_mm)
        columns, (left, right) = resampling_matrix(width, spacing_mm[1], self.size, self.spacing_mm)
        flat = slices.flatten(0, 1)  # (n, c, h, w) -> (n·c, h, w)
        crop = torch.full((len(slices), 3, self.size, self.size), -1.0)
        if top == bottom or left == right:  # the image is smaller than one pixel of the crop
            return crop
        real = resampled(rows[top:bottom], flat, columns[left:right].T)
        values = real.flatten(1)
        low = values.amin(dim=1)[:, None, None]
        high = percentile_per_slice(values, self.percentile)[:, None, None]
        rounding = 1e-5 * torch.maximum(low.abs(), high.abs())  # a constant image must not become its rounding errors
        reach = torch.where(high - low > rounding, high - low, torch.inf)
        scaled = real.sub_(low).div_(reach).clamp_(0, 1).mul_(2).sub_(1)
        crop[..., top:bottom, left:right] = scaled.unflatten(0, slices.shape[:2])
        return crop

    def to_source_grid(self, maps: torch.Tensor, size: Sequence[int], spacing_mm: Any = None) -> torch.Tensor:
        """Interpolates maps on the crop (logits, heatmaps) to the grid they came from.

        Args:
            maps (`torch.Tensor` of shape `(n, channels, size, size)`)
            size (two `int`): rows and columns of the source.
            spacing_mm (two `float`, *optional*): of the source, (row, column).

        Returns:
            `torch.Tensor` of shape `(n, channels, rows, columns)`, float32; NaN where the crop does not reach.

        Raises:
            ValueError: NaN or infinite values in the maps.
        """
        covered, parts = self._covered(maps, size, spacing_mm)
        source = maps.new_full((*maps.shape[:2], size[0], size[1]), torch.nan, dtype=torch.float32)
        for number, part in enumerate(parts):
            source[number][covered] = part
        return source

    def _covered(
        self, maps: torch.Tensor, size: Sequence[int], spacing_mm: Any
    ) -> tuple[tuple[slice | EllipsisType, ...], Iterator[torch.Tensor]]:
        """Where on the source grid the crop reaches, and each slice's maps there, `(channels, rows, columns)`.

        One slice after the other: each stays in the processor's cache through all that is done with it.
        """
        spacing = self.spacing_or_default(spacing_mm)
        side = maps.shape[-1]
        rows, (top, bottom) = resampling_matrix(side, self.spacing_mm, size[0], spacing[0])
        columns, (left, right) = resampling_matrix(side, self.spacing_mm, size[1], spacing[1])
        rows, columns = rows[top:bottom].to(maps.device), columns[left:right].T.to(maps.device)
        return (..., slice(top, bottom), slice(left, right)), (resampled(rows, finite(one), columns) for one in maps)

    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Sequence[Sequence[int]],
        spacing_mm: Any = None,
        return_probabilities: bool = False,
    ) -> list:
        """Label maps on the source grid: the logits are interpolated first, then compared.

        Args:
            outputs: what a segmentation model returned, with `logits` of shape `(n, classes, size, size)`.
            target_sizes (`list` of two `int`): rows and columns of each source slice.
            spacing_mm (two `float`, or a list of pairs, *optional*): of the source, for all or for each.
            return_probabilities (`bool`, defaults to `False`): also the softmax on the source grid.

        Returns:
            A list of `torch.Tensor` of shape `(rows, columns)`, uint8, background where the crop does not reach; with
            probabilities a list of pairs, the second of shape `(classes, rows, columns)`.
        """
        logits = outputs.logits
        if len(target_sizes) != len(logits):
            raise ValueError(f"`target_sizes` has {len(target_sizes)} entries for {len(logits)} images: one each")
        spacings = self._spacings(spacing_mm, len(logits))
        results: list = []
        for image, size, spacing in zip(logits, target_sizes, spacings, strict=True):
            labels, probabilities = self.segment(image[None], size, spacing)
            results.append((labels[0], probabilities[0]) if return_probabilities else labels[0])
        return results

    def segment(
        self, logits: torch.Tensor, size: Sequence[int], spacing_mm: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Labels and probabilities of slices that share one source grid.

        Args:
            logits (`torch.Tensor` of shape `(n, classes, size, size)`)
            size (two `int`), spacing_mm (two `float`, *optional*): of the source, (row, column).

        Returns:
            Labels of shape `(n, rows, columns)`, uint8, and probabilities `(n, classes, rows, columns)`, float32, on
            the CPU; certain background where the crop does not reach.
        """
        covered, parts = self._covered(logits.cpu(), size, spacing_mm)
        labels = torch.zeros(len(logits), size[0], size[1], dtype=torch.uint8)
        probabilities = torch.zeros(*logits.shape[:2], size[0], size[1])
        probabilities[:, 0] = 1.0
        for number, part in enumerate(parts):
            labels[number][covered] = part.max(dim=0).indices  # on the CPU ten times as fast as argmax
            probabilities[number][covered] = softmax_per_pixel(part)
        return labels, probabilities

    def segment_with_confidence(
        self, logits: torch.Tensor, size: Sequence[int], spacing_mm: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `segment`, but of the probabilities only the greatest of each pixel, `(n, rows, columns)`."""
        covered, parts = self._covered(logits.cpu(), size, spacing_mm)
        labels = torch.zeros(len(logits), size[0], size[1], dtype=torch.uint8)
        confidence = torch.ones(len(logits), size[0], size[1])
        for number, part in enumerate(parts):
            labels[number][covered] = part.max(dim=0).indices
            confidence[number][covered] = softmax_per_pixel(part).amax(dim=0)
        return labels, confidence

    def post_process_landmark_detection(
        self,
        outputs: Any,
        target_sizes: Sequence[Sequence[int]],
        spacing_mm: Any = None,
        sigma: float = 4.0,
    ) -> list[dict[str, torch.Tensor]]:
        """Landmarks on the source grid.

        Args:
            outputs: what a landmark model returned, with `logits` of shape `(n, landmarks, size, size)`.
            target_sizes (`list` of two `int`): rows and columns of each source slice.
            spacing_mm (two `float`, or a list of pairs, *optional*): of the source, for all or for each.
            sigma (`float`): the model's `config.landmark_sigma`, in pixels of the crop.

        Returns:
            A list of `dict`: `points` of shape `(landmarks, 2)`, (row, column) in source pixels, and `scores` of
            shape `(landmarks,)`; see `find_landmarks`.
        """
        if len(target_sizes) != len(outputs.logits):
            raise ValueError(f"`target_sizes` has {len(target_sizes)} entries for {len(outputs.logits)} images")
        results = []
        spacings = self._spacings(spacing_mm, len(outputs.logits))
        for maps, size, spacing in zip(outputs.logits, target_sizes, spacings, strict=True):
            points, scores = self.find_landmarks(maps[None], size, spacing, sigma)
            results.append({"points": points[0], "scores": scores[0]})
        return results

    def find_landmarks(
        self, logits: torch.Tensor, size: Sequence[int], spacing_mm: Any, sigma: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Landmarks of slices that share one source grid; what is padding of the crop cannot hold one.

        Args:
            logits (`torch.Tensor` of shape `(n, landmarks, size, size)`)
            size (two `int`), spacing_mm (two `float`, *optional*): of the source, (row, column).
            sigma (`float`): width of the heatmaps, in pixels of the crop.

        Returns:
            Points of shape `(n, landmarks, 2)`, (row, column) in source pixels, and scores `(n, landmarks)`, the
            probability that the landmark lies within 4 sigma of the point; float32 on the CPU.
        """
        spacing = self.spacing_or_default(spacing_mm)
        side = logits.shape[-1]
        inside = torch.zeros(side, side, dtype=torch.bool)
        edges = [resampling_matrix(size[axis], spacing[axis], side, self.spacing_mm)[1] for axis in (0, 1)]
        inside[edges[0][0] : edges[0][1], edges[1][0] : edges[1][1]] = True
        points, scores = read_landmarks(finite(logits.cpu()).where(inside, torch.finfo(torch.float32).min), sigma)
        sides = torch.tensor([float(size[0]), float(size[1])])
        step = self.spacing_mm / torch.tensor(spacing, dtype=torch.float32)
        points = (points - (side - 1) / 2) * step + (sides - 1) / 2
        return points.clamp(min=-0.5).minimum(sides - 0.5), scores  # the outer pixels reach half a pixel further


def to_slices(image: Any, stack_channels: bool = False) -> torch.Tensor:
    """Any image as float32 slices of shape `(n, channels, y, x)`; channels is 1, or 3 with `stack_channels`.

    Raises:
        ValueError: rank other than 2 to 4, no or too many pixels, NaN or infinite values, complex numbers.
    """
    if len(getattr(image, "getbands", tuple)()) > 1:
        raise ValueError(f"a picture must be gray, got mode {image.mode}: pass image.convert('L') if it is MR")
    array = image.detach().cpu() if isinstance(image, torch.Tensor) else np.asarray(image)
    if array.ndim not in (2, 3, 4):
        raise ValueError(
            f"an image must be (y, x), (z, y, x) or (t, z, y, x), got shape {tuple(array.shape)}: "
            "select one volume, or drop the extra axes"
        )
    if not isinstance(array, torch.Tensor):
        if array.dtype.kind not in "buif":
            raise ValueError(f"pixels must be real numbers, got {array.dtype}: pass the magnitude image")
        array = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    elif array.is_complex():
        raise ValueError(f"pixels must be real numbers, got {array.dtype}: pass the magnitude image")
    array = array.float()
    if min(array.shape) < 1 or max(array.shape[-2:]) > LARGEST_SIDE:
        raise ValueError(
            f"an image side must be 1 to {LARGEST_SIDE} pixels and no axis empty, got {tuple(array.shape)}: crop it"
        )
    least, most = torch.aminmax(array)
    if not (-LARGEST_VALUE < least and most < LARGEST_VALUE):
        broken = array.numel() - int((array.abs() < LARGEST_VALUE).sum())
        raise ValueError(
            f"{broken} of {array.numel()} pixels are NaN, infinite or beyond {LARGEST_VALUE:g}: "
            "replace them (numpy.nan_to_num) or leave the slice out"
        )
    if not stack_channels:
        return array.reshape(-1, 1, *array.shape[-2:])
    if array.ndim < 3 or array.shape[-3] != 3:
        raise ValueError(f"`stack_channels` needs three images (3, y, x) per sample, got {tuple(array.shape)}")
    return array.reshape(-1, *array.shape[-3:])
