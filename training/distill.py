"""Distils a trained model into a small student, which sees the teacher's answers beside the labels.

    accelerate launch training/distill.py --config training/configs/distill_cine_sax.yaml \\
        teacher=runs/experiment_3_cine_sax/best output_dir=runs/cine_sax_student

The keys of the YAML file are those of `training/finetune.py` for the student (a small `model`), and `teacher`,
`temperature`, `teacher_weight`, `unlabelled_on` and `unlabelled_share`: see `cmr_hf.finetuning.distilling`. Images
without labels teach too, as the teacher answers for them. Run it again and it goes on from the last checkpoint; the
best student is in `output_dir/best`, as `training/finetune.py` leaves it.
"""

import json
from pathlib import Path

import torch
from transformers import set_seed
from transformers.trainer_utils import get_last_checkpoint

from cmr_hf.finetuning.arguments import command_line, overridden, parsed, recipe_values
from cmr_hf.finetuning.distilling import DISTILLERS, DistillArguments, load_teacher
from cmr_hf.finetuning.models import build_model, merge_lora
from cmr_hf.finetuning.segmentation import weights_of
from cmr_hf.finetuning.tasks import build_trainer, gather, unlabelled_samples
from cmr_hf.finetuning.trainer import ElapsedTime


def main() -> None:
    options = command_line(__doc__)
    values = overridden(recipe_values(options.config), options.overrides)
    recipe, training = parsed(values, DistillArguments)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    set_seed(training.seed)

    teacher = load_teacher(recipe)

    # ---- labelled images, and unlabelled ones in their share
    material = gather(recipe)
    labelled = len(material.train_set)
    unlabelled = unlabelled_samples(recipe, recipe.unlabelled_on)
    if unlabelled:
        known = material.weights if material.weights is not None else torch.ones(labelled, dtype=torch.float64)
        shares = [1 - recipe.unlabelled_share, recipe.unlabelled_share]
        material.weights = weights_of([labelled, len(unlabelled)], shares)
        material.weights[:labelled] = known / known.sum() * shares[0]
        material.train_sets.append(unlabelled)
    print(f"{labelled} labelled and {len(unlabelled)} unlabelled images to train on")

    # ---- the student
    student = build_model(recipe)
    sizes = [sum(p.numel() for p in one.parameters()) for one in (teacher, student)]
    print(f"teacher {sizes[0] / 1e6:.2f} M parameters, student {sizes[1] / 1e6:.2f} M")

    # ---- training
    more = {name: getattr(recipe, name) for name in ("temperature", "teacher_weight")}
    trainer = build_trainer(recipe, training, material, student, DISTILLERS[recipe.kind], teacher=teacher, **more)
    elapsed = ElapsedTime()
    trainer.add_callback(elapsed)
    output = Path(training.output_dir)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(output) if output.is_dir() else None)
    minutes = elapsed.minutes

    # ---- the best student, beside what the teacher reaches on the same patients
    merge_lora(student)
    trainer.save_model(str(output / "best"))
    record = {
        "recipe": values,
        "minutes": round(minutes, 1),
        "steps": trainer.state.global_step,
        "best_checkpoint": trainer.state.best_model_checkpoint,
        "validation": trainer.evaluate(),
        "teacher_parameters": sizes[0],
        "parameters": sizes[1],
        "labelled": labelled,
        "unlabelled": len(unlabelled),
        "train_patients": material.train_patients,
        "validation_patients": material.chosen_on,
    }
    trainer.model = trainer.teacher
    record["teacher_validation"] = trainer.evaluate()
    if trainer.is_world_process_zero():
        (output / "best" / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        print(f"done in {minutes:.1f} minutes: {output / 'best'}")


if __name__ == "__main__":
    main()
