"""Fine-tunes a CMR model with the transformers Trainer: any of the paper's eleven experiments, on any data.

    accelerate launch training/finetune.py --config training/configs/experiment_2_view.yaml
    accelerate launch training/finetune.py --config training/configs/experiment_2_view.yaml \\
        init_from=runs/pretrain/release arm=vit output_dir=runs/view_dino
    accelerate launch training/finetune.py --config training/configs/experiment_2_view.yaml arm=resnet \\
        init_from=microsoft/resnet-50 output_dir=runs/view_resnet

The keys of the YAML file are the arguments: those of `cmr_hf.finetuning.arguments.RecipeArguments` and of
`transformers.TrainingArguments`; `key=value` on the command line overrides the file. Run it again with the same
`output_dir` and it goes on from the last checkpoint. The best model on the validation patients is saved, with its
processor, in `output_dir/best`, which `pipeline(task, model=…)` opens.

Several tasks on one frozen encoder, heads and decoders alone (or LoRA: `lora={r: 8}` instead of `freeze`):

    accelerate launch training/finetune.py freeze=encoder init_from=runs/pretrain/release output_dir=runs/shared \\
        --config training/configs/experiment_2_view.yaml --config training/configs/experiment_3_cine_sax.yaml
"""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, TrainingArguments, set_seed
from transformers.trainer_utils import get_last_checkpoint

from cmr_hf.finetuning.arguments import RecipeArguments, command_line, overridden, parsed, recipe_values
from cmr_hf.finetuning.models import (
    NotMeasuredError,
    build_model,
    fingerprint,
    merge_lora,
    start_of,
    write_not_measured,
)
from cmr_hf.finetuning.tasks import Material, build_trainer, gather
from cmr_hf.finetuning.trainer import CMRTrainer, ElapsedTime, keep_mean


def train(recipe: RecipeArguments, training: TrainingArguments, values: dict[str, Any]) -> dict[str, Any]:
    """One training from data to the folder `best`; gives the record that it leaves there."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    set_seed(training.seed)
    if recipe.init_from and recipe.arm != "unet":
        start_of(recipe.init_from)

    # ---- what is learnt from, and what the best model is chosen on
    material = gather(recipe)
    tell(recipe, material)

    # ---- encoder and head
    model = build_model(recipe)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {trainable / 1e6:.2f} M trained")

    # ---- training
    trainer = build_trainer(recipe, training, material, model)
    if recipe.early_stopping:
        trainer.add_callback(EarlyStoppingCallback(recipe.early_stopping))
    elapsed = ElapsedTime()
    trainer.add_callback(elapsed)
    output = Path(training.output_dir)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(output) if output.is_dir() else None)
    minutes = elapsed.minutes

    # ---- the best model, and how it came about
    averaged = keep_mean(trainer, recipe.averaged_checkpoints) if recipe.averaged_checkpoints else []
    merge_lora(model)
    trainer.save_model(str(output / "best"))
    about = {"minutes": round(minutes, 1), "averaged_steps": averaged, "trained_parameters": trainable}
    record = record_of(recipe, values, material, trainer) | about
    if trainer.is_world_process_zero():
        (output / "best" / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        print(f"done in {minutes:.1f} minutes: {output / 'best'}")
    return record


def tell(recipe: RecipeArguments, material: Material) -> None:
    """Prints how much there is to learn from and to choose on."""
    segments = recipe.kind == "segmentation"
    what, chosen_on = ("slices a pass", "stacks") if segments else ("samples a pass", "samples")
    print(
        f"{len(material.train_set)} {what} of {len(material.train_patients)} patients to train on, "
        f"{len(material.validation)} {chosen_on} of {len(material.chosen_on)} patients to choose on"
    )
    if material.counts:
        print(", ".join(f"{count} {name}" for name, count in material.counts.items()))


def record_of(
    recipe: RecipeArguments, values: dict[str, Any], material: Material, trainer: CMRTrainer
) -> dict[str, Any]:
    """What a trained model came from and what it reaches on validation, JSON-safe."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    return {
        "recipe": values,
        "experiment": recipe.experiment,
        "arm": recipe.arm,
        "init_from": recipe.init_from,
        "steps": trainer.state.global_step,
        "best_checkpoint": trainer.state.best_model_checkpoint,
        "validation": trainer.evaluate(),
        "train_patients": material.train_patients,
        "validation_patients": material.chosen_on,
        "train_counts": material.counts,
        "parameters": sum(p.numel() for p in model.parameters()),
        "encoder_sha256": fingerprint(model),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": trainer.args.world_size,
    }


def main() -> None:
    options = command_line(__doc__, several=True)
    together = {}
    for config in options.config:
        values = overridden(recipe_values(config), options.overrides)
        folder = Path(values["output_dir"])
        if len(options.config) > 1:
            values["output_dir"] = str(folder / config.stem)
        recipe, training = parsed(values)
        try:
            record = train(recipe, training, values)
        except NotMeasuredError as error:
            print(error)
            write_not_measured(training.output_dir, error, values)
            continue
        together[config.stem] = {name: value for name, value in record.items() if name != "recipe"}
        if len(options.config) > 1 and training.process_index == 0:
            (folder / "together.json").write_text(json.dumps(together, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
