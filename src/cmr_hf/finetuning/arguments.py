"""The arguments of the fine-tuning scripts, and the YAML files they come from."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments

from ..data.experiments import Experiment, experiment

ARMS = ("vit", "resnet", "unet")

# kind of task → what chooses the best checkpoint, and whether more of it is better
CHOSEN_BY = {
    "classification": ("eval_balanced_accuracy", True),
    "detection": ("eval_balanced_accuracy", True),
    "segmentation": ("eval_dice", True),
    "landmarks": ("eval_distance_mm", False),
}


def _help(text: str, default: object = None) -> Any:
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass
class RecipeArguments:
    """What is learnt, from what, by which model; what `transformers.TrainingArguments` does not say."""

    experiment: str | None = _help('a line of the paper\'s Table 1, "1" … "9"; without it, segmentation of `labels`')
    data_root: str = _help("folder of `dataset`", "")
    splits: str | None = _help("JSON with the patients of each side; a table of one's own has a column for them")
    dataset: str = _help("data set of `cmr_hf.data.load` to choose the model on", "acdc")
    train_on: list[dict] = _help(
        "data sets to learn from: `name`, `root`, `share` of what is seen, options of their readers, and for "
        "segmentation `absent`, ids that are not told from the background there; by default `dataset` alone",
        [],
    )
    choose_on: list[dict] = _help(
        "data sets whose validation patients choose the best model, `name`, `root`, options; phantoms count whole; by "
        "default `dataset`",
        [],
    )
    arm: str = _help("vit; resnet; or, for segmentation, unet: the plain U-Net that the ViT must beat", "vit")
    model: dict = _help("fields of CMRConfig", {})
    resnet_model: dict = _help(
        "fields of CMRConfig in place of the ViT's encoder and decoder, for arm resnet; by default a ResNet-50",
        {"backbone_config": {"model_type": "resnet"}},
    )
    init_from: str | None = _help("folder or Hub name of a backbone, of a ViT or ResNet of transformers, or of a model")
    freeze: str | None = _help(
        "encoder: train the head alone, on features as they are; a number: so many blocks of a ViT from the first, and "
        "its patch embedding, stay as they are"
    )
    trained_doublings: int | None = _help(
        "of a ViT's decoder, train this many of the last doublings of size and the last layer alone; what lies before "
        "them stays as `init_from` has it"
    )
    lora: dict = _help("fields of peft.LoraConfig: of the encoder, train low-rank additions alone", {})
    layer_decay: float = _help("learning rate of each block over that of the next; 1 is none, 0.75 usual", 1.0)
    last_layer_rate: float = _help(
        "learning rate of a decoder's last layer over that of the rest; at 10 a decoder from random weights tells "
        "classes apart three times as soon",
        1.0,
    )
    balance: bool = _help("see every class as often, whatever its number of samples", False)
    neighbours: int = _help(
        "for detection: learn from each heart in so many slices nearer to base and apex too, where its few samples are "
        "soon known by heart; it is chosen and judged on the pipeline's own slices",
        0,
    )
    averaged_checkpoints: int = _help(
        "keep the mean of the weights of so many checkpoints, the last of those that `save_total_limit` leaves, where "
        "it is better than the best of them (model soup, Wortsman et al. 2022); 0 never",
        0,
    )
    early_stopping: int = _help("stop after so many evaluations without a better one; 0 never", 0)
    labels: dict = _help("without `experiment`: id: name, background first", {})
    processor: dict = _help("fields of CMRImageProcessor; its pixels are 1 mm", {})
    augmentation: dict = _help("fields of Augmentation", {})
    crop_sizes: list[int] = _help("for segmentation: one is drawn for each batch", [224])
    end_slice_repeats: int = _help("for segmentation: how often slices at base and apex are seen", 1)
    attention: str | None = _help("sdpa, eager (faster on a CPU), flash_attention_2")
    threads: int = _help("CPU threads of torch; 0 leaves its choice", 0)

    def __post_init__(self) -> None:
        if self.arm not in ARMS:
            raise ValueError(f"`arm` must be one of {', '.join(ARMS)}, got {self.arm!r}")
        if self.experiment is not None:
            self.experiment = str(self.experiment)
        if self.experiment is None and len(self.labels) < 2:
            raise ValueError(f"give `experiment`, or `labels` of two classes or more, got {self.labels}")
        if self.arm == "unet" and self.kind != "segmentation":
            raise ValueError(f"`arm` unet segments only, got it for {self.kind}: take vit or resnet")
        if self.freeze is not None:
            self.freeze = str(self.freeze)
        blocks = self.freeze is not None and self.freeze.isdecimal() and self.arm == "vit"
        if not (self.freeze is None or blocks or (self.freeze == "encoder" and self.arm != "unet")):
            raise ValueError(
                f"`freeze` must be encoder (not for arm unet), a number of blocks (for arm vit) or left out, got "
                f"{self.freeze!r} for {self.arm}"
            )
        if self.trained_doublings is not None and (
            self.trained_doublings < 0 or self.arm != "vit" or self.kind not in ("segmentation", "landmarks")
        ):
            raise ValueError(
                f"`trained_doublings` must be 0 or more, for arm vit and a task with a decoder, got "
                f"{self.trained_doublings} for {self.arm} and {self.kind}: leave it out"
            )
        if self.lora and (self.arm != "vit" or self.freeze):
            raise ValueError("`lora` is for arm vit and freezes the encoder by itself: leave `freeze` out")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"`layer_decay` must lie in (0, 1], got {self.layer_decay}: 0.75 is usual, 1 is none")
        if self.last_layer_rate <= 0:
            raise ValueError(f"`last_layer_rate` must be positive, got {self.last_layer_rate}: 1 is that of the rest")
        if self.balance and self.kind not in ("classification", "detection"):
            raise ValueError(f"`balance` needs a task with classes of images, got {self.kind}: leave it out")
        if self.averaged_checkpoints == 1 or self.averaged_checkpoints < 0:
            raise ValueError(
                f"`averaged_checkpoints` needs two or more, got {self.averaged_checkpoints}: leave it out for none"
            )
        if self.neighbours and self.kind != "detection":
            raise ValueError(f"`neighbours` is for detection, got it for {self.kind}: leave it out")
        if self.processor.get("spacing_mm", 1.0) != 1.0:
            raise ValueError(f"`processor` needs pixels of 1 mm to train, got {self.processor}: leave spacing_mm out")

    @property
    def chosen(self) -> Experiment | None:
        """The line of Table 1, if it is one."""
        return None if self.experiment is None else experiment(self.experiment)

    @property
    def kind(self) -> str:
        """Of `Experiment.kind`."""
        return "segmentation" if self.chosen is None else self.chosen.kind

    @property
    def id2label(self) -> dict[int, str]:
        """The model's."""
        if self.chosen is not None:
            return self.chosen.id2label
        return {int(index): name for index, name in self.labels.items()}


def merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with those of `over` in their place; mappings in both are merged in turn."""
    both = dict(values)
    for key, value in over.items():
        known = both.get(key)
        both[key] = merged(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return both


def recipe_values(path: str | Path) -> dict[str, Any]:
    """What a YAML file says, over what its `base` says, a file in the same folder."""
    path = Path(path)
    values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    base = values.pop("base", None)
    return values if base is None else merged(recipe_values(path.parent / base), values)


def overridden(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Values with `key=value` pairs of a command line in their place; `key.field=value` reaches into a mapping.

    Raises:
        ValueError: a pair without "=".
    """
    values = dict(values)
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign:
            raise ValueError(f"an override needs the form key=value, got {override!r}")
        *path, last = key.split(".")
        place = values
        for part in path:
            place[part] = dict(place.get(part) or {})
            place = place[part]
        place[last] = yaml.safe_load(value)
    return values


def parsed(values: Mapping[str, Any], kind: type = RecipeArguments) -> tuple[Any, TrainingArguments]:
    """Recipe and Trainer's arguments from values; what chooses the best checkpoint follows from the task."""
    values = dict(values)
    own = {name: value for name, value in values.items() if name in kind.__dataclass_fields__}
    recipe = kind(**own)
    metric, more_is_better = CHOSEN_BY[recipe.kind]
    values.setdefault("metric_for_best_model", metric)
    values.setdefault("greater_is_better", more_is_better)
    values.setdefault("remove_unused_columns", False)
    values.setdefault("use_cpu", not torch.accelerator.is_available())  # bf16 on a CPU must be asked for
    rest = {name: value for name, value in values.items() if name not in own}
    return recipe, HfArgumentParser(TrainingArguments).parse_dict(rest)[0]


def command_line(description: str | None, several: bool = False) -> argparse.Namespace:
    """`--config FILE` (of which there may be several) and `key=value` overrides."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    help_text = "YAML of the arguments" + ("; of several, each runs in its own folder of output_dir" if several else "")
    parser.add_argument("--config", required=True, type=Path, action="append" if several else "store", help=help_text)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    return parser.parse_args()
