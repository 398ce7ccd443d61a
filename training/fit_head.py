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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module

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


@dataclass
class Candidates:
    """What a head may learn from and is judged on, as a frozen encoder sees it.

    Attributes:
        samples: of the training patients, then of those of validation.
        learnt (`int`): how many of them are of training patients.
        taken (`FrozenFeatures`): of all samples.
        own (`torch.BoolTensor` of shape `(samples,)`): `False` for a neighbour's slice, which nobody is judged on.
    """

    samples: list[dict]
    learnt: int
    taken: FrozenFeatures
    own: torch.Tensor

    @property
    def of_training(self) -> torch.Tensor:
        return torch.arange(len(self.samples)) < self.learnt


def candidates_of(
    recipe: RecipeArguments, model: Module, processor: CMRImageProcessor, options: argparse.Namespace, seed: int
) -> Candidates:
    """Reads both sides and runs the encoder once over all of it."""
    learnt = samples_on(recipe, "train", recipe.neighbours)
    held = samples_on(recipe, "validation", recipe.neighbours if options.folds else 0)
    print(f"{len(learnt)} samples to learn from, {len(held)} to choose on, neighbours' slices among them")
    samples = learnt + held
    taken = FrozenFeatures(model, processor, samples, Augmentation(**recipe.augmentation), options.copies, seed)
    return Candidates(samples, len(learnt), taken, torch.tensor([not sample.get("shift") for sample in samples]))


def judged_on_validation(
    given: Candidates, classes: int, strengths: Sequence[float], balance: bool
) -> tuple[dict[float, torch.Tensor], torch.Tensor]:
    """Chances of each strength's layer for the validation samples, and the mask of those samples."""
    held = ~given.of_training
    fitted = {one: given.taken.fit(given.of_training, classes, one, balance) for one in strengths}
    return {one: answers(layer, given.taken, held) for one, layer in fitted.items()}, held


def judged_out_of_fold(
    given: Candidates, classes: int, strengths: Sequence[float], balance: bool, folds: Mapping[str, int]
) -> tuple[dict[float, torch.Tensor], torch.Tensor]:
    """Chances of each strength for every patient's own samples, by the layers that did not see the patient."""
    places = torch.tensor([folds[patient] for patient in given.taken.patients])
    found = {}
    for strength in strengths:
        chances = torch.zeros(len(given.samples), classes)
        for fold in range(max(folds.values()) + 1):
            layer = given.taken.fit(places != fold, classes, strength, balance)
            chances[places == fold] = answers(layer, given.taken, places == fold)
        found[strength] = chances[given.own]
    return found, given.own


def save_head(
    best: Path, model: Module, processor: CMRImageProcessor, given: Candidates, record: Mapping[str, Any]
) -> None:
    """The model, its processor and how it came about."""
    model.save_pretrained(best)
    processor.save_pretrained(best)
    samples, held = given.samples, given.samples[given.learnt :]
    of_training = samples if record["folds"] else samples[: given.learnt]
    sides = {"train_patients": of_training, "validation_patients": held}
    whole = dict(record) | {
        name: sorted({f"{one['source']} {one['patient']}" for one in side}) for name, side in sides.items()
    }
    whole |= {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trained_parameters": sum(parameter.numel() for parameter in model.classifier.parameters()),
        "encoder_sha256": fingerprint(model),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    (best / "training.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")


def save_folds(
    output: Path,
    recipe: RecipeArguments,
    given: Candidates,
    chances: torch.Tensor,
    arm: str,
    folds: int,
    parameters: int,
) -> None:
    """The rows of a cross-validation, for the tables of `training/evaluate.py`."""
    datasets = sorted({one["source"] for one in given.samples})
    patients = len(set(given.taken.patients))
    about = {
        "model": output.name,
        "datasets": datasets,
        "data": tables.data_label(recipe.chosen, datasets),
        "side": "out of fold",
        "classes": list(recipe.id2label.values()),
        "parameters": parameters,
        "notes": [f"{folds} folds of {patients} training and validation patients; the strength of the penalty was "
                  "chosen on the same folds"],
    }  # fmt: skip
    judged = [one for one, alone in zip(given.samples, given.own.tolist(), strict=True) if alone]
    rows = rows_of(judged, chances, recipe.id2label)
    save(Measurement(kind_of(recipe.chosen), arm, recipe.experiment, rows, about), output / "folds")


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

    # ---- what the frozen encoder sees
    model, processor = build_model(recipe), CMRImageProcessor(**recipe.processor)
    given = candidates_of(recipe, model, processor, options, training.seed)

    # ---- the strength of the penalty
    classes = len(recipe.id2label)
    fixed = given, classes, options.strengths, recipe.balance
    if options.folds:
        label_of = dict(zip(given.taken.patients, given.taken.labels.tolist(), strict=True))
        found, judged = judged_out_of_fold(*fixed, folds_of(label_of, options.folds, training.seed))
    else:
        found, judged = judged_on_validation(*fixed)
    scores = {one: balanced(chances, given.taken.labels[judged], classes) for one, chances in found.items()}
    strength = max(scores, key=scores.__getitem__)
    print("balanced accuracy by strength: " + ", ".join(f"{one:g}: {score:.3f}" for one, score in scores.items()))

    # ---- the head, and how it came about
    everyone = torch.ones(len(given.samples), dtype=torch.bool)
    layer = given.taken.fit(everyone if options.folds else given.of_training, classes, strength, recipe.balance)
    model.classifier.load_state_dict(layer.state_dict())
    output = Path(training.output_dir)
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
    }
    save_head(output / "best", model, processor, given, record)
    if options.folds:
        size = sum(parameter.numel() for parameter in model.parameters())
        save_folds(output, recipe, given, found[strength], options.arm, options.folds, size)
    print(f"{scores[strength]:.3f} with strength {strength:g}: {output / 'best'}")


if __name__ == "__main__":
    main()
