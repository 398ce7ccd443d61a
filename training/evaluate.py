"""Measures trained models on patients they never saw, and writes the paper's tables with ours beside them.

One model on one of the paper's experiments, case by case, with its best, median and worst page:

    python training/evaluate.py --experiment 3 --model runs/cine_sax/best --arm "CMR-DINO ViT" \
        --data acdc=data/acdc --split splits.json --side validation --out runs/measured/3_vit
    python training/evaluate.py --experiment 1 --model runs/image_type/best --arm "random ViT" \
        --data acdc=data/acdc emidec=data/emidec phantoms --split splits.json --side test --out runs/measured/1_random

Tables 2, 3 and 4 of all that was measured so, without the models again (`results.md`, `.csv` and `.json`):

    python training/evaluate.py --tables runs/measured --out docs

The numbers that stand beside embedded weights (`training/embed.py` reads them):

    python training/evaluate.py --model runs/segment_cine_sax/best --config training/configs/segment_cine_sax.yaml \
        --side test --out results.json --overlays overlays/ --sunnybrook data/sunnybrook/slices

`--side test` is for the final number only: choose on `validation`. For a cross-validation give each fold's patients
with `--patients`, under one arm: the tables take the folds together. Pages show patients: those of ACDC and EMIDEC may
not be published with the code.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tqdm import tqdm

from cmr_hf.clinical.figures import overlay_figure
from cmr_hf.data.experiments import EXPERIMENTS, Experiment
from cmr_hf.data.insertion_points import with_insertion_points
from cmr_hf.data.loading import sides_of
from cmr_hf.data.readers import READERS, patients_of, read
from cmr_hf.data.schema import LabelledStack, only_labels
from cmr_hf.data.splits import SIDES, load_split
from cmr_hf.data.sunnybrook_slices import read_sunnybrook_slices
from cmr_hf.evaluation import rendering, tables
from cmr_hf.evaluation.cases import Measurement, found_below, load, save
from cmr_hf.evaluation.measuring import kind_of, measured
from cmr_hf.evaluation.overlap import dice
from cmr_hf.evaluation.pages import Gallery, draw_page
from cmr_hf.evaluation.predicting import open_model
from cmr_hf.finetuning.arguments import recipe_values
from cmr_hf.finetuning.controls import PlainUNet
from cmr_hf.finetuning.segmentation import dice_table, segment_stack
from cmr_hf.hub.configuration_cmr import CMRConfig
from cmr_hf.hub.image_processing_cmr import CMRImageProcessor

OUT_OF_FOLD = "out of fold"

# --- one experiment -------------------------------------------------------------------------------------------------


def load_model(folder: Path, recipe: dict) -> tuple[torch.nn.Module, CMRImageProcessor]:
    """Any model with a head by `from_pretrained`; the plain U-Net, which is none, by its recipe and weights."""
    if recipe.get("arm", "vit") != "unet":
        return open_model(folder)[:2]
    key = recipe.get("experiment")
    labels = EXPERIMENTS[str(key)].id2label if key is not None else {int(k): v for k, v in recipe["labels"].items()}
    model = PlainUNet(CMRConfig(**recipe["model"], id2label=labels, label2id={n: i for i, n in labels.items()}))
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)  # without DynUNet's second names
    own = (folder / "preprocessor_config.json").is_file()
    return model.eval(), CMRImageProcessor.from_pretrained(folder) if own else CMRImageProcessor()


def record_of(folder: Path) -> dict:
    """What training wrote beside the model, if it did."""
    path = folder / "training.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def refuse_trained_on(measurement: Measurement, record: dict) -> None:
    """A number on patients that a model learnt from is no measurement."""
    learnt = set(record.get("train_patients", ()))
    names = {(row.get("source", ""), row["patient"]) for row in measurement.rows}
    seen = sorted(patient for source, patient in names if f"{source} {patient}" in learnt or patient in learnt)
    if seen and measurement.about["side"] != "train":
        raise SystemExit(
            f"the model was trained on {len(seen)} of these patients ({', '.join(seen[:5])}): measure others, phantoms "
            "of other seeds say, or pass --side train to look at the training itself"
        )


def stacks_of(options: argparse.Namespace, chosen: Experiment, problems: list[str]) -> Iterator[LabelledStack]:
    """Stacks of the side that was asked for, of one data set after another."""
    given = json.loads(options.options)
    listed = options.patients.read_text(encoding="utf-8").split() if options.patients else None
    for entry in options.data:
        name, _, root = entry.partition("=")
        own = given.get(name, {})
        if listed:
            patients = [patient for patient in patients_of(name, root, **own) if patient in listed]
        elif READERS[name].stamp:  # made, of seeds that were asked for: they count whole
            patients = patients_of(name, root, **own)
        else:
            patients = sides_of(name, root, options.split, options.seed, **own)[options.side]

        def note(patient: str, error: Exception, name: str = name) -> None:
            problems.append(f"{name} {patient}: {error}")

        derived = chosen.label == "landmarks" and "landmarks" not in READERS[name].has
        for stack in read(name, root, tqdm(patients, name, unit=" patients"), on_error=note, **own):
            yield with_insertion_points(stack)[0] if derived else stack


def measure_experiment(options: argparse.Namespace) -> None:
    chosen = EXPERIMENTS[options.experiment]
    record = record_of(options.model)
    recipe = recipe_values(options.config) if options.config else record.get("recipe", {})
    model, processor = load_model(options.model, recipe)
    model.to(options.device)
    names = [entry.partition("=")[0] for entry in options.data]
    problems: list[str] = []
    gallery, rows = Gallery(), []
    for found, shown in measured(model, processor, chosen, stacks_of(options, chosen, problems)):
        rows += found
        gallery.add(shown)
    if not rows:
        raise SystemExit(f"nothing was measured: {options.data} has no labels of experiment {chosen.key}; {problems}")
    about = {
        "model": options.model.resolve().parent.name if options.model.name == "best" else options.model.resolve().name,
        "datasets": names,
        "data": tables.data_label(chosen, names),
        "side": OUT_OF_FOLD if options.patients else options.side,
        "classes": list(chosen.classes),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "notes": [*options.note, *(f"could not be read: {problem}" for problem in problems)],
    }
    measurement = Measurement(kind_of(chosen), options.arm, chosen.key, rows, about)
    refuse_trained_on(measurement, record)
    save(measurement, options.out)
    for which, shown in gallery.three().items():
        title = f"{which}: experiment {chosen.key}, {options.arm}, {shown.patient} {shown.case}"
        draw_page(shown, options.out / f"{which}.png", title)
    lines = [line for line in tables.build([measurement])["tables"]["2"] if line["experiment"] == chosen.key]
    for line in lines:
        print(f"{line['class']} {line['level']}: {rendering.cell(line['ours'][options.arm], line['unit'])}")
    print(f"{len(rows)} rows of {len(measurement.patients)} patients in {options.out}")


def write_tables(options: argparse.Namespace) -> None:
    results = tables.build(load(folder) for folder in found_below(options.tables))
    print(rendering.markdown(results))
    for path in rendering.write(results, options.out):
        print(f"wrote {path}")


# --- numbers of embedded weights ------------------------------------------------------------------------------------


def summary(values: list[float]) -> dict[str, float | int]:
    return {"mean": float(np.mean(values)), "sd": float(np.std(values)), "n": len(values)}


def measure_sunnybrook(
    model: torch.nn.Module, processor: CMRImageProcessor, root: Path, patients: list[str]
) -> dict[str, dict]:
    """Dice of endocardium and epicardium, per slice and with all slices of a patient taken together."""
    per_slice, per_patient = defaultdict(list), defaultdict(list)
    spacing_mm = (processor.default_spacing_mm, processor.default_spacing_mm)
    for patient in patients:
        pairs = {"endocardium": [], "epicardium": []}
        for stack in read_sunnybrook_slices(root, [patient]):
            found = segment_stack(model, processor, stack.images, spacing_mm)
            pairs["endocardium"] += list(zip(found == 1, stack.masks == 1, strict=True))
            if 2 in stack.drawn:
                pairs["epicardium"] += list(zip(np.isin(found, (1, 2)), np.isin(stack.masks, (1, 2)), strict=True))
        for name, entries in pairs.items():
            if entries:
                per_slice[name] += [dice(predicted, truth) for predicted, truth in entries]
                predicted, truth = (np.stack(side) for side in zip(*entries, strict=True))
                per_patient[name].append(dice(predicted, truth))
    return {
        "per_slice": {name: summary([v for v in values if v is not None]) for name, values in per_slice.items()},
        "per_patient": {name: summary([v for v in values if v is not None]) for name, values in per_patient.items()},
    }


def measure_embedded(options: argparse.Namespace) -> None:
    """Dice per slice and per volume on the source grid of one data set, and of Sunnybrook, seen by no training here."""
    recipe = recipe_values(options.config)
    model, processor = load_model(options.model, recipe)[0], CMRImageProcessor()
    labels = {int(index): name for index, name in recipe["labels"].items() if int(index) != 0}
    dataset, root = options.dataset or recipe["dataset"], options.root or recipe["data_root"]
    patients = load_split(recipe["splits"], dataset)[options.side]
    cases = []
    for stack in read(dataset, root, patients):
        stack = only_labels(stack, [0, *labels])
        labels = {label: name for label, name in labels.items() if label in stack.drawn}  # what nobody drew
        found = segment_stack(model, processor, stack.images, stack.spacing_mm)
        cases.append((found, stack.masks))
        if options.overlays:
            options.overlays.mkdir(parents=True, exist_ok=True)
            name = f"{stack.patient}_{stack.phase}"
            overlay_figure(stack.images, found, stack.spacing_mm, options.overlays / f"{name}.png", title=name)
    results = {
        "dataset": dataset,
        "side": options.side,
        "patients": len(patients),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dice": dice_table(cases, labels),
    }
    if options.sunnybrook:
        others = load_split(recipe["splits"], "sunnybrook")[options.side]
        results["sunnybrook"] = {
            "patients": len(others),
            "dice": measure_sunnybrook(model, processor, options.sunnybrook, others),
        }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(json.dumps(results, indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of a trained model")
    parser.add_argument("--out", type=Path, required=True, help="folder; for embedded weights the JSON to write")
    parser.add_argument("--side", choices=SIDES, default="validation")
    parser.add_argument("--config", type=Path, help="the YAML it was trained with; by default training.json beside it")

    one = parser.add_argument_group("one of the paper's experiments")
    one.add_argument("--experiment", choices=list(EXPERIMENTS))
    one.add_argument("--arm", help='what is compared: "CMR-DINO ViT", "ImageNet ResNet-50", "random ViT" …')
    one.add_argument("--data", nargs="+", metavar="NAME[=ROOT]", help="data sets of `cmr_hf.data.load`")
    one.add_argument("--split", help="JSON with the patients of each side; data sets that are made count whole")
    one.add_argument("--seed", type=int, default=0, help="of the draw where there is no split")
    one.add_argument("--patients", type=Path, help="file with the patients of a fold, instead of a side")
    one.add_argument("--options", default="{}", help='options of the readers as JSON: {"phantoms": {"hearts": 20}}')
    one.add_argument("--note", action="append", default=[], help="stands below the tables; may be repeated")
    one.add_argument("--device", default="cpu")

    parser.add_argument("--tables", nargs="+", type=Path, metavar="FOLDER", help="folders of measured experiments")

    other = parser.add_argument_group("numbers of embedded weights")
    other.add_argument("--dataset", help="another one than it was trained for, of `cmr_hf.data.load`")
    other.add_argument("--root", type=Path, help="the folder of that one")
    other.add_argument("--sunnybrook", type=Path, help="folder with Sunnybrook's images, i_labels and o_labels")
    other.add_argument("--overlays", type=Path, help="folder for one picture per stack")
    options = parser.parse_args()
    if not options.tables and not options.model:
        parser.error("needs --model, or --tables with folders of measured experiments")
    if options.experiment and not (options.arm and options.data):
        parser.error("--experiment needs --arm and --data")
    if options.model and not options.experiment and not options.config:
        parser.error("needs --experiment, or --config for the numbers of embedded weights")
    return options


def main() -> None:
    options = parse()
    if options.tables:
        write_tables(options)
    elif options.experiment:
        measure_experiment(options)
    else:
        measure_embedded(options)


if __name__ == "__main__":
    main()
