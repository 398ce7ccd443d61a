"""What the classification and detection pipelines share, and which three images stand for a heart."""

from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch

from .reading_cmr import CMRImage, ReadingError, read_image
from .slicewise_cmr import SlicewisePipeline

IMAGES_AT_MOST = 16  # of one stack or cine that are looked at
TO_APEX = np.array([1.0, -1.0, -1.0]) / 3**0.5  # from base to apex: left, anterior and down, in LPS
OBLIQUE = 0.7  # cosine; headers with a dummy orientation along the axes stay below it


class ClassificationPipeline(SlicewisePipeline):
    """Classes of an image, best first; of a stack or cine by the mean probability over its images."""

    after = ("top_k",)

    def samples(self, image: CMRImage) -> np.ndarray:
        slices = super().samples(image)
        count = min(len(slices), IMAGES_AT_MOST)
        return slices[np.linspace(0, len(slices) - 1, count).round().astype(int)]

    def postprocess(self, model_outputs: list[dict], top_k: int | None = None) -> list[dict]:
        if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"`top_k` must be a whole number of 1 or more, got {top_k!r}")
        logits = torch.cat([output["answers"] for output in model_outputs]).float()
        chances = logits.softmax(dim=-1).mean(dim=0)
        best = chances.argsort(descending=True, stable=True)[:top_k].tolist()
        return [{"label": self.model.config.id2label[index], "score": float(chances[index])} for index in best]


class DetectionPipeline(ClassificationPipeline):
    """Classes of a heart from three images, one per channel."""

    three: ClassVar[str] = ""  # what the three are

    def preprocess(self, inputs: Any, spacing_mm: Any = None, **options) -> Any:
        if isinstance(inputs, dict) and "images" in inputs:
            inputs = together(inputs, self.three, spacing_mm)
        return super().preprocess(inputs, spacing_mm=spacing_mm, **options)

    def samples(self, image: CMRImage, **options) -> np.ndarray:
        return self.three_images(image, **options)[None]

    @abstractmethod
    def three_images(self, image: CMRImage) -> np.ndarray:
        """The three channels, of shape `(3, y, x)`."""


def together(inputs: dict, three: str, spacing_mm: Any = None) -> CMRImage:
    """Three sources of one image each as one image of shape `(3, y, x)`; `spacing_mm` wins over what they say.

    Raises:
        ReadingError: another number, several slices in one of them, or other sizes or spacings.
    """
    sources = inputs["images"]
    unknown = set(inputs) - {"images", "spacing_mm"}
    if unknown or not isinstance(sources, (Sequence, np.ndarray, torch.Tensor)) or len(sources) != 3:
        raise ReadingError(f"a dict with 'images' needs three of them ({three}) and, if known, 'spacing_mm'")
    spacing_mm = inputs.get("spacing_mm") if spacing_mm is None else spacing_mm
    images = [read_image(source, spacing_mm=spacing_mm) for source in sources]
    first = images[0]
    planes = [image.pixels.reshape(-1, *image.pixels.shape[-2:]) for image in images]
    alike = all(
        plane.shape == (1, *first.pixels.shape[-2:]) and image.spacing_mm == first.spacing_mm
        for plane, image in zip(planes, images, strict=True)
    )
    if not alike:
        found = "; ".join(f"{image.pixels.shape} with spacing {image.spacing_mm}" for image in images)
        raise ReadingError(
            f"the three images ({three}) need one slice each, of one size and spacing, got {found}: "
            "crop or resample them first"
        )
    return CMRImage(np.concatenate(planes), first.spacing_mm, None, None, "images", "array")


def base_to_apex(image: CMRImage) -> list[int]:
    """Indices of the slices from base to apex: as stored, unless patient space says that they run upwards."""
    count = image.pixels.shape[-3] if image.pixels.ndim > 2 else 1
    order = list(range(count))
    if image.affine is None or count < 2:
        return order
    step = image.affine[:3, 2] / np.linalg.norm(image.affine[:3, 2])
    return order[::-1] if step @ TO_APEX < -OBLIQUE else order


def checked_indices(name: str, chosen: Any, counts: tuple[int, ...], length: int) -> list[int]:
    """What a caller chose, as a list of `int`.

    Args:
        name (`str`): of the argument.
        chosen: one number, or several.
        counts (`tuple` of `int`): how many there may be.
        length (`int`): they count from 0 to below this.

    Raises:
        ValueError: another number of them, not whole, or out of range.
    """
    indices = list(chosen) if isinstance(chosen, (Sequence, np.ndarray, torch.Tensor)) else [chosen]
    right = all(isinstance(index, Integral) and 0 <= index < length for index in indices)
    if not right or len(indices) not in counts:
        how_many = " or ".join(map(str, counts))
        raise ValueError(f"`{name}` needs {how_many} of the numbers 0 to {length - 1}, got {chosen!r}: count from 0")
    return [int(index) for index in indices]


def at_level(order: list[int], part: float) -> int:
    """The slice at a part (0 base … 1 apex) of the stack."""
    return order[round((len(order) - 1) * part)]
