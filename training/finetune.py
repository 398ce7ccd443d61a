"""Fine-tunes a CMR model on labelled stacks with the transformers Trainer.

    accelerate launch training/finetune.py --config training/configs/segment_cine_sax.yaml
    accelerate launch training/finetune.py --config training/configs/segment_cine_sax.yaml \\
        max_steps=100 output_dir=runs/try

The keys of the YAML file are the arguments: those of `RecipeArguments` below and of `transformers.TrainingArguments`;
`key=value` on the command line overrides the file. Run it again with the same `output_dir` and it goes on from the
last checkpoint. The best model on the validation patients is saved, with its processor, in `output_dir/best`.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import yaml
from torch.utils.data import ConcatDataset
from tqdm import tqdm
from transformers import HfArgumentParser, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

from cmr_hf.data.loading import sides_of
from cmr_hf.data.readers import READERS, patients_of, read
from cmr_hf.data.schema import LabelledStack, only_labels
from cmr_hf.finetuning.augmentation import Augmentation
from cmr_hf.finetuning.controls import PlainUNet
from cmr_hf.finetuning.segmentation import AugmentingCollator, SegmentationSlices, told_slices, weights_of
from cmr_hf.finetuning.trainer import ElapsedTime, SegmentationTrainer
from cmr_hf.hub.configuration_cmr import CMRConfig
from cmr_hf.hub.image_processing_cmr import CMRImageProcessor
from cmr_hf.hub.modeling_cmr import CMRForSemanticSegmentation


@dataclass
class RecipeArguments:
    data_root: str = field(metadata={"help": "folder of `dataset`"})
    splits: str = field(metadata={"help": "JSON with the patients of each side"})
    dataset: str = field(default="acdc", metadata={"help": "data set of `cmr_hf.data.load` to choose the model on"})
    train_on: list[dict] = field(
        default_factory=list,
        metadata={
            "help": "data sets to learn from: `name`, `root`, `share` of what is seen, options of their readers; "
            "by default `dataset` alone"
        },
    )
    choose_on: list[dict] = field(
        default_factory=list,
        metadata={
            "help": "data sets whose validation patients choose the best model, `name` and `root`; by default `dataset`"
        },
    )
    arm: str = field(default="vit", metadata={"help": "vit, or unet: the plain U-Net that the ViT must beat"})
    model: dict = field(default_factory=dict, metadata={"help": "fields of CMRConfig"})
    init_from: str | None = field(default=None, metadata={"help": "folder of a ViT model of this shape to go on from"})
    labels: dict = field(default_factory=dict, metadata={"help": "id: name, background first"})
    augmentation: dict = field(default_factory=dict, metadata={"help": "fields of Augmentation"})
    crop_sizes: list[int] = field(default_factory=lambda: [224], metadata={"help": "one is drawn for each batch"})
    end_slice_repeats: int = field(default=1, metadata={"help": "how often slices at base and apex are seen"})
    threads: int = field(default=0, metadata={"help": "CPU threads of torch; 0 leaves its choice"})

    def __post_init__(self) -> None:
        if self.arm not in ("vit", "unet"):
            raise ValueError(f"`arm` must be one of vit and unet, got {self.arm!r}")


def parse() -> tuple[RecipeArguments, TrainingArguments, dict]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    options = parser.parse_args()
    values = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    for override in options.overrides:
        key, _, value = override.partition("=")
        values[key] = yaml.safe_load(value)
    values.setdefault("use_cpu", not torch.accelerator.is_available())  # bf16 on a CPU must be asked for
    recipe, training = HfArgumentParser((RecipeArguments, TrainingArguments)).parse_dict(values)
    return recipe, training, values


def split_for(recipe: RecipeArguments, name: str) -> str | None:
    """Where the sides of a data set stand; a table of a user's own has a column for them."""
    return None if name == "table" else recipe.splits


def train_stacks(recipe: RecipeArguments, entry: dict, labels: dict[int, str]) -> Iterator[LabelledStack]:
    """Stacks of a data set to learn from: the train side of the split, or all of one that is made."""
    name = entry["name"]
    options = {key: value for key, value in entry.items() if key not in ("name", "root", "share")}
    root = entry.get("root", recipe.data_root if name == recipe.dataset else "")
    if READERS[name].stamp:
        patients = patients_of(name, root, **options)
    elif root:
        patients = sides_of(name, root, split_for(recipe, name), **options)["train"]
    else:
        raise ValueError(f"`train_on` needs a root for {name}: name its folder")
    for stack in tqdm(read(name, root, patients, **options), name, unit=" stacks"):
        if stack.masks is not None:
            yield only_labels(stack, labels)


def validation_stacks(recipe: RecipeArguments, labels: dict[int, str]) -> Iterator[LabelledStack]:
    """What was drawn on the validation patients of each data set to choose on."""
    for entry in recipe.choose_on or [{"name": recipe.dataset, "root": recipe.data_root}]:
        patients = sides_of(entry["name"], entry["root"], split_for(recipe, entry["name"]))["validation"]
        for stack in read(entry["name"], entry["root"], patients):
            told = told_slices(only_labels(stack, labels)) if stack.masks is not None else None
            if told is not None:
                yield told


def main() -> None:
    recipe, training, values = parse()
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    set_seed(training.seed)

    id2label = {int(index): name for index, name in recipe.labels.items()}
    entries = recipe.train_on or [{"name": recipe.dataset}]
    stacks = [list(train_stacks(recipe, entry, id2label)) for entry in entries]
    train_sets = [SegmentationSlices(own, id2label, recipe.end_slice_repeats) for own in stacks]
    train_set = ConcatDataset(train_sets)
    shares = [entry["share"] for entry in entries if "share" in entry]
    validation = list(validation_stacks(recipe, id2label))
    chosen_on = {f"{stack.source} {stack.patient}" for stack in validation}
    patients = sorted({f"{stack.source} {stack.patient}" for own in stacks for stack in own})
    print(
        f"{len(train_set)} slices a pass of {len(patients)} patients to train on, "
        f"{len(validation)} stacks of {len(chosen_on)} patients to choose on"
    )

    config = CMRConfig(**recipe.model, id2label=id2label, label2id={name: index for index, name in id2label.items()})
    if recipe.arm == "unet":
        model = PlainUNet(config)
    elif recipe.init_from:
        model = CMRForSemanticSegmentation.from_pretrained(recipe.init_from, config=config, dtype=torch.float32)
    else:
        model = CMRForSemanticSegmentation(config)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")

    settings = Augmentation(**recipe.augmentation)
    trainer = SegmentationTrainer(
        model=model,
        args=training,
        train_dataset=train_set,
        data_collator=AugmentingCollator(recipe.crop_sizes, config.num_labels, settings, training.seed),
        processor=CMRImageProcessor(),
        eval_stacks=validation,
        weights=weights_of([len(one) for one in train_sets], shares) if shares else None,
    )
    elapsed = ElapsedTime()
    trainer.add_callback(elapsed)
    output = Path(training.output_dir)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(output) if output.is_dir() else None)
    minutes = elapsed.minutes

    trainer.save_model(str(output / "best"))
    record = {
        "recipe": values,
        "minutes": round(minutes, 1),
        "steps": trainer.state.global_step,
        "best_checkpoint": trainer.state.best_model_checkpoint,
        "validation": trainer.evaluate(),
        "train_patients": patients,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    (output / "best" / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    print(f"done in {minutes:.1f} minutes: {output / 'best'}")


if __name__ == "__main__":
    main()
