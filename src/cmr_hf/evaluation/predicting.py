"""What a model says of images, in the ids and words of this package.

Any module counts as a model that takes `pixel_values`, gives `logits` and has `config.id2label`; so does the plain
U-Net of the training scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedConfig

from ..data.labels.names import landmark_of, plain, structure_of
from ..data.labels.tables import word_of
from ..data.schema import LABELS, LANDMARKS
from ..hub.components_cmr import clean_labels
from ..hub.image_processing_cmr import CMRImageProcessor
from ..hub.modeling_cmr import CMRForImageClassification, CMRForLandmarkDetection, CMRForSemanticSegmentation
from ..hub.reading_cmr import ReadingError

IMAGES_AT_ONCE = 16
HEADS = {
    "CMRForSemanticSegmentation": (CMRForSemanticSegmentation, "segmentation"),
    "CMRForImageClassification": (CMRForImageClassification, "classification"),
    "CMRForLandmarkDetection": (CMRForLandmarkDetection, "landmarks"),
}
CALLED = {("lge", "lge"): "present", ("lge", "no lge"): "none"}  # class names that are no words of a label table
FIELDS = {  # task of a classification model -> what of a stack it tells
    "cmr-view-classification": "view",
    "cmr-image-type-classification": "image_type",
    "cmr-lge-detection": "lge",
    "cmr-disease-detection": "disease",
}


def open_model(name: str | Path, device: str | None = None) -> tuple[torch.nn.Module, CMRImageProcessor, str]:
    """A saved model with a head, in `eval` and float32, its processor, and its kind.

    Args:
        name (`str` or `Path`): a folder that `save_pretrained` wrote, or a name on the Hub.
        device (`str`, *optional*): "cuda" say.

    Raises:
        ValueError: a folder without config, or a model without a head of this package.
        OSError: no such folder or name.
    """
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise ValueError(f"`model` needs a folder with config.json, got {name}: save it with save_pretrained")
    config = PreTrainedConfig.get_config_dict(str(name))[0]
    found = (config.get("architectures") or [""])[0]
    if found not in HEADS:
        raise ValueError(f"`model` needs one of {', '.join(HEADS)}, got {found or 'no architecture'} in {name}")
    head, kind = HEADS[found]
    model = head.from_pretrained(name, dtype=torch.float32).eval()
    try:
        processor = CMRImageProcessor.from_pretrained(name)
    except OSError:  # saved without one
        processor = CMRImageProcessor()
    return model.to(device or "cpu"), processor, kind


def structures_of(id2label: Mapping[int, str]) -> dict[int, int]:
    """Id of a segmentation model → id of `LABELS`, by their names.

    Raises:
        ValueError: a name that no table of this package knows, or two of one structure.
    """
    house = {name: index for index, name in LABELS.items()}
    found: dict[int, int] = {}
    for index, name in id2label.items():
        structure = structure_of(int(index), name)
        if structure not in house:
            raise ValueError(f"the model's label {index} is called {name!r}, which is none of {list(house)}: rename it")
        found[int(index)] = house[structure]
    if len(set(found.values())) < len(found):
        raise ValueError(f"the model's labels {dict(id2label)} name one structure twice: rename them")
    return found


def landmarks_of(id2label: Mapping[int, str]) -> list[str]:
    """The landmarks of a model as `LANDMARKS` calls them, in its own order.

    Raises:
        ValueError: a name that is none of them.
    """
    short = {name.split()[0]: name for name in LANDMARKS}
    found = [landmark_of(name) or short.get(plain(name)) for _, name in sorted(id2label.items())]
    if None in found:
        raise ValueError(f"the model's landmarks {list(id2label.values())} need to be {LANDMARKS}: rename them")
    return found


def columns_of(id2label: Mapping[int, str], field: str, classes: Sequence[str]) -> list[int | None]:
    """For each class, the model's id of it, `None` where the model does not know it.

    Args:
        id2label: of the model.
        field (`str`): "view", "image_type", "lge" or "disease".
        classes (`Sequence` of `str`): of this package.

    Raises:
        ValueError: the model has a class that is none of these.
    """
    ids: dict[str, int] = {}
    for index, name in id2label.items():
        try:
            word = name if name in classes else CALLED.get((field, plain(name))) or word_of(field, name)
        except ReadingError:
            word = None
        if word not in classes:
            raise ValueError(
                f"the model's class {name!r} is none of {', '.join(classes)}: name the task it was trained for, or "
                "rename its classes"
            )
        ids[word] = int(index)
    return [ids.get(name) for name in classes]


@torch.inference_mode()
def logits_of(
    model: torch.nn.Module, processor: CMRImageProcessor, images: np.ndarray, spacing_mm: Sequence[float] | None
) -> torch.Tensor:
    """Logits of `(n, y, x)` images, each repeated in the channels, or of `(n, 3, y, x)`; float32 on the CPU."""
    device = next(model.parameters()).device
    found = []
    for start in range(0, len(images), IMAGES_AT_ONCE):
        part = images[start : start + IMAGES_AT_ONCE]
        pixels = processor(part, spacing_mm=spacing_mm, stack_channels=part.ndim == 4)["pixel_values"]
        found.append(model(pixel_values=pixels.to(device)).logits.float().cpu())
    return torch.cat(found)


def predicted_masks(
    model: torch.nn.Module, processor: CMRImageProcessor, images: np.ndarray, spacing_mm: Sequence[float] | None
) -> np.ndarray:
    """Label maps `(z, y, x)`, uint8, ids of `LABELS`, on the grid of a stack `(z, y, x)`.

    Islands are taken away and holes filled as the segmentation pipeline does (`config.single_component_labels`).
    """
    labels = processor.segment(logits_of(model, processor, images, spacing_mm), images.shape[-2:], spacing_mm)[0]
    labels = clean_labels(labels[None], model.config.single_component_labels or [])[0].numpy()
    table = np.zeros(256, np.uint8)
    for ours, theirs in structures_of(model.config.id2label).items():
        table[ours] = theirs
    return table[labels]


def predicted_chances(
    model: torch.nn.Module,
    processor: CMRImageProcessor,
    images: np.ndarray,
    spacing_mm: Sequence[float] | None,
    columns: Sequence[int | None],
) -> np.ndarray:
    """Probabilities `(n, classes)` of `(n, y, x)` or `(n, 3, y, x)` images; 0 for a class the model does not know."""
    own = logits_of(model, processor, images, spacing_mm).softmax(dim=-1).double().numpy()
    chances = np.zeros((len(own), len(columns)))
    for place, column in enumerate(columns):
        if column is not None:
            chances[:, place] = own[:, column]
    return chances


def predicted_points(
    model: torch.nn.Module, processor: CMRImageProcessor, images: np.ndarray, spacing_mm: Sequence[float] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Points `(n, landmarks, 2)`, (row, column) in pixels of `(n, y, x)` images, and their scores `(n, landmarks)`."""
    logits = logits_of(model, processor, images, spacing_mm)
    points, scores = processor.find_landmarks(logits, images.shape[-2:], spacing_mm, model.config.landmark_sigma)
    return points.double().numpy(), scores.double().numpy()
