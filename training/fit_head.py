"""A linear head on a frozen encoder: fitted to the optimum, cross-validated, and saved as a model for its pipeline.

    python training/fit_head.py --config training/configs/experiment_8b_lge_detection.yaml \\
        init_from=runs/pretrain_vit_tiny/release output_dir=runs/lge_detection
    python training/fit_head.py --config training/configs/experiment_9_disease.yaml --folds 5 \\
        --arm "CMR-DINO ViT, frozen" init_from=runs/pretrain_vit_tiny/release output_dir=runs/disease

The recipe is that of `training/finetune.py`; features of its training samples are taken once as they are and in
`--copies` augmented ones, and a linear layer is fitted to them by L-BFGS. `--strengths` (of the penalty) are tried on
the validation side, and the best is kept. With `--folds` training and validation patients are taken together: the best
strength is that of the cross-validation, whose rows go to `output_dir/folds` in the form of `training/evaluate.py`
(which makes the tables of them), and the head is fitted to all of them. The model is in `output_dir/best`.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from cmr_hf.data.experiments import samples_of
from cmr_hf.evaluation import tables
from cmr_hf.evaluation.cases import Measurement, save
from cmr_hf.evaluation.classes import class_accuracy
from cmr_hf.evaluation.measuring import kind_of
from cmr_hf.finetuning.arguments import RecipeArguments, overridden, parsed, recipe_values
from cmr_hf.finetuning.augmentation import Augmentation
from cmr_hf.finetuning.linear import FrozenFeatures, folds_of
from cmr_hf.finetuning.models import build_model, fingerprint
from cmr_hf.finetuning.tasks import choose_entries, stacks_of, train_entries
from cmr_hf.hub.image_processing_cmr import CMRImageProcessor

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="YAML of training/finetune.py")
    parser.add_argument("--folds", type=int, default=0, help="of a cross-validation over training and validation")
    parser.add_argument("--arm", default="frozen encoder", help="what the tables call it")
    parser.add_argument("--copies", type=int, default=6, help="augmented ones of each sample")
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS, help="of the penalty, to choose from")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    return parser.parse_args(arguments)


def samples_on(recipe: RecipeArguments, side: str, neighbours: int = 0) -> list[dict]:
    """Samples of all data sets on one side; phantoms have sides by their seeds."""
    entries = train_entries(recipe) if side == "train" else choose_entries(recipe)
    return [one for entry in entries for one in samples_of(recipe.chosen, stacks_of(recipe, entry, side), neighbours)]


def answers(layer: torch.nn.Linear, taken: FrozenFeatures, judged: torch.Tensor) -> torch.Tensor:
    return layer(taken.features[0, judged]).softmax(-1)


def balanced(chances: torch.Tensor, labels: torch.Tensor, classes: int) -> float:
    return class_accuracy(chances.argmax(-1).tolist(), labels.tolist(), classes).balanced


def rows_of(samples: list[dict], chances: torch.Tensor, names: dict[int, str]) -> list[dict]:
    """One row per sample, as `cmr_hf.evaluation.measuring` has them."""
    rows = []
    for sample, odds in zip(samples, chances.tolist(), strict=True):
        truth, predicted = names[int(sample["label"])], names[max(range(len(odds)), key=odds.__getitem__)]
        row = {"source": sample["source"], "patient": sample["patient"], "case": sample["key"]}
        row |= {"truth": truth, "predicted": predicted, "right": int(truth == predicted)}
        rows.append(row | {f"p:{names[index]}": value for index, value in enumerate(odds)})
    return rows


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    values = overridden(recipe_values(options.config), options.overrides)
    recipe, training = parsed(values | {"freeze": "encoder"})
    if recipe.kind not in ("classification", "detection"):
        raise SystemExit(f"a linear head tells classes of images, {options.config.name} is {recipe.kind}")
    torch.manual_seed(training.seed)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    started = time.monotonic()
    names, classes = recipe.id2label, len(recipe.id2label)
    model = build_model(recipe)
    processor = CMRImageProcessor(**recipe.processor)
    settings = Augmentation(**recipe.augmentation)
    learnt = samples_on(recipe, "train", recipe.neighbours)
    held = samples_on(recipe, "validation", recipe.neighbours if options.folds else 0)
    samples = learnt + held
    own = torch.tensor([not sample.get("shift") for sample in samples])  # not a neighbour's slice: to judge on
    print(f"{len(learnt)} samples to learn from, {len(held)} to choose on, neighbours' slices among them")

    taken = FrozenFeatures(model, processor, samples, settings, options.copies, training.seed)
    of_training = torch.arange(len(samples)) < len(learnt)
    found: dict[float, torch.Tensor] = {}
    if options.folds:
        label_of = dict(zip(taken.patients, taken.labels.tolist(), strict=True))
        folds = folds_of(label_of, options.folds, training.seed)
        places = torch.tensor([folds[patient] for patient in taken.patients])
        judged = own
        for strength in options.strengths:
            chances = torch.zeros(len(samples), classes)
            for fold in range(options.folds):
                layer = taken.fit(places != fold, classes, strength, recipe.balance)
                chances[places == fold] = answers(layer, taken, places == fold)
            found[strength] = chances[own]
    else:
        judged = ~of_training
        for strength in options.strengths:
            layer = taken.fit(of_training, classes, strength, recipe.balance)
            found[strength] = answers(layer, taken, judged)
    scores = {one: balanced(chances, taken.labels[judged], classes) for one, chances in found.items()}
    strength = max(scores, key=scores.__getitem__)
    print("balanced accuracy by strength: " + ", ".join(f"{one:g}: {score:.3f}" for one, score in scores.items()))

    everyone = torch.ones(len(samples), dtype=torch.bool)
    layer = taken.fit(everyone if options.folds else of_training, classes, strength, recipe.balance)
    model.classifier.load_state_dict(layer.state_dict())
    best = Path(training.output_dir) / "best"
    model.save_pretrained(best)
    processor.save_pretrained(best)
    record = {
        "recipe": values,
        "experiment": recipe.experiment,
        "arm": options.arm,
        "init_from": recipe.init_from,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "steps": 0,
        "strength": strength,
        "copies": options.copies,
        "folds": options.folds,
        "validation": {"eval_balanced_accuracy": scores[strength]},
        "by_strength": {f"{one:g}": score for one, score in scores.items()},
        "train_patients": sorted(
            {f"{one['source']} {one['patient']}" for one in (samples if options.folds else learnt)}
        ),
        "validation_patients": sorted({f"{one['source']} {one['patient']}" for one in held}),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trained_parameters": sum(parameter.numel() for parameter in model.classifier.parameters()),
        "encoder_sha256": fingerprint(model),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    (best / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    if options.folds:
        datasets = sorted({one["source"] for one in samples})
        about = {
            "model": Path(training.output_dir).name,
            "datasets": datasets,
            "data": tables.data_label(recipe.chosen, datasets),
            "side": "out of fold",
            "classes": list(names.values()),
            "parameters": record["parameters"],
            "notes": [f"{options.folds} folds of {len(label_of)} training and validation patients; the strength of the "
                      "penalty was chosen on the same folds"],
        }  # fmt: skip
        rows = rows_of([one for one, alone in zip(samples, own.tolist(), strict=True) if alone], found[strength], names)
        save(Measurement(kind_of(recipe.chosen), options.arm, recipe.experiment, rows, about), best.parent / "folds")
    print(f"{scores[strength]:.3f} with strength {strength:g}: {best}")


if __name__ == "__main__":
    main()
