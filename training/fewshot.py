"""Few-shot learning on frozen encoders: 1, 2, 4 … 512 labelled samples per class, several draws, any arms.

    python training/fewshot.py --config training/configs/fewshot_2_view.yaml
    python training/fewshot.py --config training/configs/fewshot_2_view.yaml seeds=3 "shots=[1, 4, 16]"

The YAML names a recipe of `training/finetune.py` (task and data) and the arms, each a few keys of that recipe. Features
are extracted once; classes of images are told by a linear layer, masks and landmarks by a decoder. Writes `runs.jsonl`
(every run), `results.json` and `results.csv` (mean and standard deviation over draws) and `fewshot.png`. Run it again
with the same `output_dir` and it goes on where it stopped.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module
from tqdm import tqdm

from cmr_hf.finetuning.arguments import RecipeArguments, command_line, merged, overridden, parsed, recipe_values
from cmr_hf.finetuning.fewshot import (
    DecoderSettings,
    Encodings,
    draw,
    draw_per_class,
    features_of,
    judge_decoder,
    judge_linear,
    train_decoder,
)
from cmr_hf.finetuning.fewshot_results import ResultLines, write_results
from cmr_hf.finetuning.models import NotMeasuredError, build_model
from cmr_hf.finetuning.tasks import Material, gather
from cmr_hf.hub.image_processing_cmr import CMRImageProcessor

METRICS = {"segmentation": "dice", "landmarks": "distance_mm"}  # of the others balanced_accuracy


@dataclass
class FewShotArguments:
    recipe: str = field(metadata={"help": "YAML of training/finetune.py, beside this one: task and data"})
    output_dir: str = field(metadata={"help": "folder of the results"})
    arms: dict = field(metadata={"help": "name: keys of the recipe (arm, init_from, model) of each encoder"})
    shots: list[int] = field(default_factory=lambda: [2**power for power in range(10)])
    seeds: int = 5
    side: str = "validation"  # "test" for the final number only
    decoder: dict = field(default_factory=dict, metadata={"help": "fields of DecoderSettings"})
    overrides: dict = field(default_factory=dict, metadata={"help": "keys of the recipe that all arms change"})
    threads: int = 0


def recipe_of(args: FewShotArguments, folder: Path, arm: dict[str, Any]) -> RecipeArguments:
    values = merged(merged(recipe_values(folder / args.recipe), args.overrides), arm) | {"output_dir": args.output_dir}
    values = {name: value for name, value in values.items() if name in RecipeArguments.__dataclass_fields__}
    return parsed(values | {"freeze": "encoder", "balance": False, "lora": {}, "output_dir": args.output_dir})[0]


def runs_of(args: FewShotArguments, most: int) -> list[tuple[int, int]]:
    """(shots, seed) of all runs; no more shots than the first number that takes all there is."""
    enough = next((shots for shots in sorted(args.shots) if shots >= most), max(args.shots))
    if enough < max(args.shots):
        print(f"no class has more than {most} samples: {enough} shots are the most")
    return [(shots, seed) for shots in sorted(args.shots) if shots <= enough for seed in range(args.seeds)]


def classify_arm(
    arm: str, model: Module, processor: CMRImageProcessor, material: Material, args: FewShotArguments, out: ResultLines
) -> None:
    """Features once, then a linear layer for each run."""
    names = model.config.id2label
    items = [item for one in material.train_sets for item in one]
    labels = torch.tensor([item["label"] for item in items])
    train = features_of(model, processor, items)
    test = features_of(model, processor, material.validation)
    truth = torch.tensor([sample["label"] for sample in material.validation])
    for shots, seed in tqdm(runs_of(args, int(labels.bincount().max())), arm):
        if not out.has(arm=arm, shots=shots, seed=seed):
            chosen = draw_per_class(labels.tolist(), shots, seed)
            found = judge_linear((train[chosen], labels[chosen]), (test, truth), names)
            out.add({"arm": arm, "shots": shots, "seed": seed, "samples": len(chosen)} | found)


def decode_arm(
    arm: str, model: Module, processor: CMRImageProcessor, material: Material, args: FewShotArguments, out: ResultLines
) -> None:
    """Encodings once, then a decoder for each run."""
    items = [item for one in material.train_sets for item in one]
    runs = runs_of(args, len(items))
    wanted = sorted({index for shots, seed in runs for index in draw(len(items), shots, seed)})
    places = {index: place for place, index in enumerate(wanted)}
    data = Encodings(model, [items[index] for index in wanted], processor.size)
    for shots, seed in tqdm(runs, arm):
        if not out.has(arm=arm, shots=shots, seed=seed):
            chosen = [places[index] for index in draw(len(items), shots, seed)]
            train_decoder(model, data, chosen, DecoderSettings(**args.decoder), seed)
            found = judge_decoder(model, processor, material.validation)
            out.add({"arm": arm, "shots": shots, "seed": seed, "samples": len(chosen)} | found)


def main() -> None:
    options = command_line(__doc__)
    args = FewShotArguments(**overridden(recipe_values(options.config), options.overrides))
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = options.config.parent
    first = recipe_of(args, folder, {})
    processor = CMRImageProcessor(**first.processor)
    settings = {name: asdict(args)[name] for name in ("recipe", "side", "decoder", "overrides")}
    out = ResultLines(args.output_dir, settings)
    metric = METRICS.get(first.kind, "balanced_accuracy")
    title = f"experiment {first.experiment}, {args.side} patients" if first.experiment else f"{args.side} patients"

    material, not_measured = gather(first, args.side), {}
    for arm, keys in args.arms.items():
        if all(out.has(arm=arm, shots=shots, seed=seed) for shots in args.shots for seed in range(args.seeds)):
            continue
        recipe = recipe_of(args, folder, keys or {})
        torch.manual_seed(0)
        try:
            model = build_model(recipe)
        except NotMeasuredError as error:
            print(f"{arm}: {error}")
            not_measured[arm] = str(error)
            continue
        judge = decode_arm if recipe.kind in METRICS else classify_arm
        judge(arm, model, processor, material, args, out)
        write_results(args.output_dir, out.rows, metric, title, not_measured)
    for row in write_results(args.output_dir, out.rows, metric, title, not_measured):
        print(f"{row['arm']}: {row['shots']} shots, {metric} {row['mean']:.3f} ({row['sd']:.3f}), {row['seeds']} draws")


if __name__ == "__main__":
    main()
