"""From a recipe to what the Trainer needs: samples to learn from, samples to choose on, and the trainer itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import ConcatDataset, Dataset
from tqdm import tqdm
from transformers import TrainingArguments

from ..data.experiments import Experiment, samples_of
from ..data.insertion_points import with_insertion_points
from ..data.loading import sides_of
from ..data.readers import patients_of, read, reader_of
from ..data.schema import UNKNOWN, LabelledStack, only_labels
from ..hub.image_processing_cmr import CMRImageProcessor
from .arguments import RecipeArguments
from .augmentation import Augmentation
from .crops import ImageCollator, ImageSamples
from .segmentation import AugmentingCollator, SegmentationSlices, told_slices, weights_of
from .trainer import ClassificationTrainer, CMRTrainer, FreshDraws, LandmarkTrainer, SegmentationTrainer

TRAINERS: dict[str, type[CMRTrainer]] = {
    "classification": ClassificationTrainer,
    "detection": ClassificationTrainer,
    "segmentation": SegmentationTrainer,
    "landmarks": LandmarkTrainer,
}
NOT_OF_READERS = ("name", "root", "share", "absent")


@dataclass
class Material:
    """What one training learns from and is chosen on.

    Attributes:
        train_sets: one `Dataset` for each entry of `train_on`.
        validation: samples, or stacks for segmentation.
        train_patients, chosen_on: "source patient", sorted.
        weights (`torch.Tensor`, *optional*): how often each training sample is drawn.
    """

    train_sets: list[Dataset]
    validation: list[Any]
    train_patients: list[str]
    chosen_on: list[str]
    weights: torch.Tensor | None = None
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def train_set(self) -> ConcatDataset:
        return ConcatDataset(self.train_sets)


def split_for(recipe: RecipeArguments, name: str) -> str | None:
    """Where the sides of a data set stand; a table of a user's own has a column for them."""
    return None if name == "table" else recipe.splits


def train_entries(recipe: RecipeArguments) -> list[dict[str, Any]]:
    return recipe.train_on or [{"name": recipe.dataset, "root": recipe.data_root}]


def choose_entries(recipe: RecipeArguments) -> list[dict[str, Any]]:
    return recipe.choose_on or [{"name": recipe.dataset, "root": recipe.data_root}]


def stacks_of(recipe: RecipeArguments, entry: Mapping[str, Any], side: str) -> Iterator[LabelledStack]:
    """Stacks of a data set on one side of its split, or all of one that is made.

    Raises:
        ValueError: no `root` where files are read.
    """
    name = entry["name"]
    options = {key: value for key, value in entry.items() if key not in NOT_OF_READERS}
    root = entry.get("root", recipe.data_root if name == recipe.dataset else "")
    if reader_of(name).stamp:
        patients = patients_of(name, root, **options)
    elif root:
        patients = sides_of(name, root, split_for(recipe, name), **options)[side]
    else:
        where = "train_on" if side == "train" else "choose_on"
        raise ValueError(f"`{where}` needs a root for {name}: name its folder")
    for stack in tqdm(read(name, root, patients, **options), name, unit=" stacks"):
        if recipe.kind == "landmarks" and stack.masks is not None and not any(stack.landmarks):
            stack = with_insertion_points(stack)[0]
        yield stack


def fits(chosen: Experiment | None, stack: LabelledStack) -> bool:
    """Whether a stack's image type and view are among those of an experiment; unknown ones are."""
    if chosen is None:
        return True
    pairs = ((stack.image_type, chosen.image_types), (stack.view, chosen.views))
    return all(value is None or not wanted or value in wanted for value, wanted in pairs)


def drawn_stacks(recipe: RecipeArguments, entry: Mapping[str, Any], side: str) -> Iterator[LabelledStack]:
    """For segmentation: stacks with masks, in the labels of the recipe but for those that the entry calls `absent`."""
    absent = set(entry.get("absent", ()))
    if strange := sorted(absent - set(recipe.id2label) | absent & {0}):
        raise ValueError(f"`absent` of {entry['name']} needs ids of {recipe.id2label}, got {strange}: leave them out")
    for stack in stacks_of(recipe, entry, side):
        if stack.masks is not None and fits(recipe.chosen, stack):
            yield replace(only_labels(stack, set(recipe.id2label) - absent), absent=tuple(sorted(absent)))


def gather(recipe: RecipeArguments, side: str = "validation") -> Material:
    """Reads all that a recipe learns from and is chosen on.

    Args:
        side (`str`): of the split, that is measured on: "test" for a final number only.

    Raises:
        ValueError: nothing to learn from, nothing to choose on, or a patient on both sides.
    """
    found = _gather_stacks(recipe, side) if recipe.kind == "segmentation" else _gather_samples(recipe, side)
    for name, count in (("train_on", sum(map(len, found.train_sets))), ("choose_on", len(found.validation))):
        if not count:
            raise ValueError(f"`{name}` gave no sample of {recipe.kind}: check labels, view and the sides of the split")
    if both := sorted(set(found.train_patients) & set(found.chosen_on)):
        raise ValueError(
            f"{both[:3]} are in `train_on` and in `choose_on`: a patient may be on one side only; phantoms of other "
            "people have another `first_seed`"
        )
    shares = [entry["share"] for entry in train_entries(recipe) if "share" in entry]
    lengths = [len(one) for one in found.train_sets]
    found.weights = weights_of(lengths, shares) if shares else None
    if recipe.balance:
        found.weights = balanced(found.train_sets, shares)
    return found


def _gather_stacks(recipe: RecipeArguments, side: str) -> Material:
    stacks = [list(drawn_stacks(recipe, entry, "train")) for entry in train_entries(recipe)]
    sets = [SegmentationSlices(own, recipe.id2label, recipe.end_slice_repeats) for own in stacks]
    validation = [
        told
        for entry in choose_entries(recipe)
        for stack in drawn_stacks(recipe, entry, side)
        if (told := told_slices(stack)) is not None
    ]
    trained_on = sorted({f"{stack.source} {stack.patient}" for own in stacks for stack in own})
    return Material(sets, validation, trained_on, sorted({f"{stack.source} {stack.patient}" for stack in validation}))


def _gather_samples(recipe: RecipeArguments, side: str) -> Material:
    chosen = recipe.chosen
    sets = [
        ImageSamples(samples_of(chosen, stacks_of(recipe, entry, "train"), recipe.neighbours))
        for entry in train_entries(recipe)
    ]
    validation = [
        sample for entry in choose_entries(recipe) for sample in samples_of(chosen, stacks_of(recipe, entry, side))
    ]
    trained_on = sorted({f"{source} {patient}" for own in sets for source, patient in own.patients})
    names = sorted({f"{sample['source']} {sample['patient']}" for sample in validation})
    counts: Counter[str] = Counter()
    if recipe.kind != "landmarks":
        counts.update(chosen.id2label[label] for own in sets for label in own.labels)
    return Material(sets, validation, trained_on, names, counts=dict(counts))


def balanced(sets: Sequence[ImageSamples], shares: Sequence[float] = ()) -> torch.Tensor:
    """Weight of each sample, so that each class of a data set is seen as often; each set has its share.

    Without shares the sets are taken together.
    """
    groups = [list(one.labels) for one in sets] if shares else [[label for one in sets for label in one.labels]]
    parts = []
    for labels, share in zip(groups, shares or [1.0], strict=True):
        counts = Counter(labels)
        parts.append(torch.tensor([share / len(counts) / counts[label] for label in labels], dtype=torch.float64))
    return torch.cat(parts)


def collator_of(recipe: RecipeArguments, processor: CMRImageProcessor, seed: int) -> Callable:
    """Augmenting collator of a recipe's task.

    Raises:
        ValueError: landmarks would be mirrored, which swaps left and right but not their names.
    """
    if recipe.kind == "segmentation":
        settings = Augmentation(**recipe.augmentation)
        return AugmentingCollator(recipe.crop_sizes, len(recipe.id2label), settings, seed)
    settings = Augmentation(**({"mirror": 0.0} if recipe.kind == "landmarks" else {}) | recipe.augmentation)
    if recipe.kind == "landmarks" and settings.mirror:
        raise ValueError(f"`augmentation` must not mirror landmarks, got mirror={settings.mirror}: leave it out")
    return ImageCollator(processor.size, settings, seed)


def build_trainer(
    recipe: RecipeArguments,
    training: TrainingArguments,
    material: Material,
    model: nn.Module,
    kind: type[CMRTrainer] | None = None,
    **more: Any,
) -> CMRTrainer:
    """The Trainer of a recipe's task; `kind` and `more` for one that does more, distillation say."""
    processor = CMRImageProcessor(**recipe.processor)
    collator = collator_of(recipe, processor, training.seed)
    validation = "eval_stacks" if recipe.kind == "segmentation" else "eval_samples"
    return (kind or TRAINERS[recipe.kind])(
        model=model,
        args=training,
        train_dataset=material.train_set,
        data_collator=collator,
        processor=processor,
        weights=material.weights,
        layer_decay=recipe.layer_decay,
        last_layer_rate=recipe.last_layer_rate,
        callbacks=[FreshDraws(collator, training.seed)],
        **{validation: material.validation},
        **more,
    )


def unlabelled_samples(recipe: RecipeArguments, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All pictures of some data sets' train patients, in the form of a recipe's training samples, without labels.

    Raises:
        ValueError: the task takes three pictures together, which only labelled hearts are known to have.
    """
    if entries and recipe.kind == "detection":
        raise ValueError("`unlabelled_on` is not for detection, whose three pictures stand for one heart: leave it out")
    items: list[dict[str, Any]] = []
    for entry in entries:
        for stack in stacks_of(recipe, entry, "train"):
            if not fits(recipe.chosen, stack):
                continue
            if recipe.kind == "segmentation":
                nobody = replace(stack, masks=np.full(stack.images.shape, UNKNOWN, np.uint8), drawn=())
                items += SegmentationSlices([nobody], recipe.id2label, keep_untold=True).slices
                continue
            label = {"points": np.full((len(recipe.id2label), 2), np.nan)} if recipe.kind == "landmarks" else {}
            about = {"spacing_mm": stack.spacing_mm, "source": stack.source, "patient": stack.patient, "label": None}
            items += ImageSamples([about | label | {"image": image} for image in stack.images]).items
    return items
