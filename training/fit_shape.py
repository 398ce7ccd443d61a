"""Disease from measured volumes and wall thickness: fitted to masks of models that never saw the heart, and judged so.

    python training/fit_shape.py split --data acdc=../shared/data/acdc --splits ../shared/data/splits.json \\
        --out runs/folds                                        # runs/folds/fold-0.json …, for training/finetune.py
    python training/finetune.py --config training/configs/segment_fold.yaml splits=runs/folds/fold-0.json \\
        output_dir=runs/folds/fold-0                            # and so for each fold
    python training/fit_shape.py fit --data acdc=../shared/data/acdc --splits ../shared/data/splits.json \\
        --folds runs/folds --out runs/shape
    python training/fit_shape.py test --data acdc=../shared/data/acdc --splits ../shared/data/splits.json \\
        --classifier runs/shape/classifier.json --model src/cmr_hf/weights/cine-sax --out runs/shape/test

Training and validation patients are taken together and shared out over the folds. `fit` measures each heart on the
masks of the model of its own fold, which did not learn from it, and judges the classifier on those, out of fold, by
several strengths of the penalty; it learns from them and from the masks drawn by hand, fits itself to all and writes
`classifier.json`. Without `--folds` there are only those drawn by hand, a bound on what masks can give. `test` is for
the final number.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from cmr_hf.clinical.shape import FEATURES, ShapeClassifier, shape_features
from cmr_hf.data.experiments import EXPERIMENTS
from cmr_hf.data.readers import read
from cmr_hf.data.schema import DISEASES, LabelledStack, only_labels
from cmr_hf.data.splits import load_split
from cmr_hf.evaluation import tables
from cmr_hf.evaluation.cases import Measurement, save
from cmr_hf.evaluation.classes import class_accuracy
from cmr_hf.evaluation.predicting import open_model, predicted_masks
from cmr_hf.finetuning.fewshot import fit_linear
from cmr_hf.finetuning.linear import folds_of

STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
LABELS = (0, 1, 2, 3)
Hearts = dict[str, dict[str, LabelledStack]]  # patient -> phase -> stack


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("split", "fit", "test"))
    parser.add_argument("--data", required=True, help="name=folder of a data set with diseases, ED and ES")
    parser.add_argument("--splits", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=5, help="of folds")
    parser.add_argument("--folds", type=Path, help="what `split` wrote, with a trained model in each fold-N/best")
    parser.add_argument("--model", type=Path, help="for test: a folder that segments cine SAX")
    parser.add_argument("--classifier", type=Path, help="for test: what `fit` wrote")
    parser.add_argument("--arm", default="shape of out-of-fold masks", help="what the tables call it")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if options.what == "test" and not (options.model and options.classifier):
        parser.error("test needs --model and --classifier")
    return options


def hearts_of(data: str, patients: list[str]) -> Hearts:
    """Stacks at ED and ES of each patient who has both, and a disease."""
    name, _, root = data.partition("=")
    found: Hearts = {}
    for stack in read(name, root, patients):
        if stack.disease in DISEASES and stack.phase in ("ED", "ES") and stack.masks is not None:
            found.setdefault(stack.patient, {})[stack.phase] = only_labels(stack, LABELS)
    return {patient: phases for patient, phases in found.items() if len(phases) == 2}


def write_folds(options: argparse.Namespace, sides: dict[str, list[str]], hearts: Hearts) -> None:
    """One file of splits for each fold, whose patients are its validation side, and the list of them."""
    folds = folds_of({patient: one["ED"].disease for patient, one in hearts.items()}, options.count, options.seed)
    name = options.data.partition("=")[0]
    options.out.mkdir(parents=True, exist_ok=True)
    for fold in range(options.count):
        held = sorted(patient for patient, place in folds.items() if place == fold)
        rest = sorted(set(sides["train"] + sides["validation"]) - set(held))
        split = {name: {"train": rest, "validation": held, "test": sides["test"]}}
        (options.out / f"fold-{fold}.json").write_text(json.dumps(split, indent=1), encoding="utf-8")
        print(f"fold {fold}: {len(rest)} to learn from, {len(held)} held out")


def measured(hearts: Hearts, model: Path | None) -> dict[str, dict[str, float]]:
    """Features of each heart that has them: on the masks of a model, or on those that were drawn."""
    opened = open_model(model)[:2] if model else None
    found = {}
    for patient, phases in hearts.items():
        masks = {}
        for phase, stack in phases.items():
            masks[phase] = predicted_masks(*opened, stack.images, stack.spacing_mm) if opened else stack.masks
        made = shape_features(masks["ED"], masks["ES"], phases["ED"].spacing_mm)
        if isinstance(made, str):
            print(f"{patient}: {made}")
        else:
            found[patient] = made
    return found


def fitted(
    features: Sequence[dict[str, float]], labels: Sequence[int], strength: float, licence: str = "unknown"
) -> ShapeClassifier:
    """A classifier of all diseases from features of some hearts."""
    values = torch.tensor([[one[name] for name in FEATURES] for one in features], dtype=torch.float32)
    mean, deviation = values.mean(0), values.std(0, correction=0).clamp(min=1e-6)
    layer = fit_linear((values - mean) / deviation, torch.tensor(labels), len(DISEASES), strength)
    weight = tuple(tuple(round(number, 6) for number in row) for row in layer.weight.tolist())
    rest = (tuple(round(number, 6) for number in one.tolist()) for one in (mean, deviation))
    bias = tuple(round(number, 6) for number in layer.bias.tolist())
    return ShapeClassifier(DISEASES, tuple(FEATURES), *rest, weight, bias, licence)


def rows_of(data: str, hearts: Hearts, chances: dict[str, dict[str, float]]) -> list[dict]:
    """One row per heart, as `cmr_hf.evaluation.measuring` has them; one without a shape is wrong, without a guess."""
    rows = []
    for patient, phases in sorted(hearts.items()):
        truth, odds = phases["ED"].disease, chances.get(patient, {})
        predicted = max(odds, key=odds.__getitem__) if odds else ""
        row = {"source": data.partition("=")[0], "patient": patient, "case": patient, "truth": truth}
        row |= {"predicted": predicted, "right": int(predicted == truth)}
        rows.append(row | {f"p:{name}": odds.get(name) for name in DISEASES})
    return rows


def score(rows: list[dict]) -> float:
    """Balanced accuracy; a heart without a guess counts as one of the next class."""
    truth = [DISEASES.index(row["truth"]) for row in rows]
    guesses = [row["predicted"] or DISEASES[(own + 1) % len(DISEASES)] for row, own in zip(rows, truth, strict=True)]
    return class_accuracy([DISEASES.index(one) for one in guesses], truth, len(DISEASES)).balanced


def keep(options: argparse.Namespace, rows: list[dict], side: str, notes: list[str], folder: Path) -> None:
    datasets = [options.data.partition("=")[0]]
    about = {
        "model": "shape classifier",
        "datasets": datasets,
        "data": tables.data_label(EXPERIMENTS["9"], datasets),
        "side": side,
    }
    about |= {"classes": list(DISEASES), "parameters": len(DISEASES) * (len(FEATURES) + 1), "notes": notes}
    save(Measurement("classification", options.arm, "9", rows, about), folder)


def fit(options: argparse.Namespace, hearts: Hearts) -> None:
    label_of = {patient: DISEASES.index(one["ED"].disease) for patient, one in hearts.items()}
    if options.folds:
        parts = sorted(options.folds.glob("fold-*.json"))
        name = options.data.partition("=")[0]
        folds = {
            patient: place
            for place, part in enumerate(parts)
            for patient in json.loads(part.read_text(encoding="utf-8"))[name]["validation"]
        }
        features: dict[str, dict[str, float]] = {}
        drawn = measured(hearts, None)
        for place, part in enumerate(parts):
            held = {patient: one for patient, one in hearts.items() if folds[patient] == place}
            features |= measured(held, part.with_suffix("") / "best")
    else:
        folds = folds_of({patient: one["ED"].disease for patient, one in hearts.items()}, options.count, options.seed)
        features, drawn = measured(hearts, None), {}
    scores, kept = {}, {}
    for strength in STRENGTHS:
        chances = {}
        for place in sorted(set(folds.values())):
            learnt = [(one[p], label_of[p]) for one in (features, drawn) for p in one if folds[p] != place]
            one = fitted(*zip(*learnt, strict=True), strength)
            chances |= {p: one.chances(features[p]) for p in features if folds[p] == place}
        kept[strength] = rows_of(options.data, hearts, chances)
        scores[strength] = score(kept[strength])
    strength = max(scores, key=scores.__getitem__)
    options.out.mkdir(parents=True, exist_ok=True)
    licence = next(iter(hearts.values()))["ED"].licence
    learnt = [(one[patient], label_of[patient]) for one in (features, drawn) for patient in one]
    final = fitted(*zip(*learnt, strict=True), strength, licence)
    final.save(options.out / "classifier.json")
    masks = "masks of models that did not learn from the heart" if options.folds else "masks drawn by hand"
    learnt_from = ", learnt from these and from masks drawn by hand" if drawn else ""
    notes = [f"{len(set(folds.values()))} folds over {len(hearts)} training and validation patients, {masks}"
             f"{learnt_from}; the strength of the penalty was chosen on the same folds"]  # fmt: skip
    keep(options, kept[strength], "out of fold", notes, options.out / "folds")
    record = {"strength": strength, "by_strength": {f"{one:g}": value for one, value in scores.items()}}
    record |= {"balanced_accuracy": scores[strength], "masks": masks, "patients": sorted(features)}
    (options.out / "training.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    print(f"balanced accuracy by strength: {record['by_strength']}, of {len(hearts)} hearts, {masks}")


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    sides = load_split(options.splits, options.data.partition("=")[0])
    side = sides["test"] if options.what == "test" else sides["train"] + sides["validation"]
    hearts = hearts_of(options.data, side)
    if options.what == "split":
        write_folds(options, sides, hearts)
    elif options.what == "fit":
        fit(options, hearts)
    else:
        classifier = ShapeClassifier.load(options.classifier)
        features = measured(hearts, options.model)
        rows = rows_of(options.data, hearts, {patient: classifier.chances(one) for patient, one in features.items()})
        keep(options, rows, "test", [f"masks of {options.model.name}"], options.out)
        right = sum(row["right"] for row in rows)
        print(f"{right} of {len(rows)} test hearts right, balanced accuracy {score(rows):.3f}")


if __name__ == "__main__":
    main()
