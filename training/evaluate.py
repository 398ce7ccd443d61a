"""Measures a trained model on patients it never saw, and draws what it did.

    python training/evaluate.py --model runs/segment_cine_sax/best --config training/configs/segment_cine_sax.yaml \
        --side test --out results.json --overlays overlays/

Dice per slice and per volume on the source grid, mean and standard deviation; a class absent from prediction and truth
is left out, one predicted where there is none counts 0. `--sunnybrook` adds another hospital's and vendor's hearts
(endocardium and epicardium; no spacing, so the processor's default is used), which no training here has seen.
`--side test` is for the final number only: choose on `validation`.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import load_file

from cmr_hf.clinical.figures import overlay_figure
from cmr_hf.data.readers import read
from cmr_hf.data.schema import only_labels
from cmr_hf.data.splits import SIDES, load_split
from cmr_hf.data.sunnybrook_slices import read_sunnybrook_slices
from cmr_hf.finetuning.controls import PlainUNet
from cmr_hf.finetuning.segmentation import dice, dice_table, segment_stack
from cmr_hf.hub.configuration_cmr import CMRConfig
from cmr_hf.hub.image_processing_cmr import CMRImageProcessor
from cmr_hf.hub.modeling_cmr import CMRForSemanticSegmentation


def load_model(folder: Path, recipe: dict) -> torch.nn.Module:
    """The ViT by `from_pretrained`; the control, which is no pretrained model, by its recipe and weights."""
    if recipe.get("arm", "vit") == "vit":
        return CMRForSemanticSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
    labels = {int(index): name for index, name in recipe["labels"].items()}
    model = PlainUNet(CMRConfig(**recipe["model"], id2label=labels, label2id={n: i for i, n in labels.items()}))
    model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)  # without DynUNet's second names
    return model.eval()


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True, help="the YAML it was trained with")
    parser.add_argument("--side", choices=SIDES, default="validation")
    parser.add_argument("--dataset", help="another one than it was trained for, of `cmr_hf.data.load`")
    parser.add_argument("--root", type=Path, help="the folder of that one")
    parser.add_argument("--sunnybrook", type=Path, help="folder with Sunnybrook's images, i_labels and o_labels")
    parser.add_argument("--out", type=Path, required=True, help="JSON with the numbers")
    parser.add_argument("--overlays", type=Path, help="folder for one picture per stack")
    options = parser.parse_args()
    recipe = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    model, processor = load_model(options.model, recipe), CMRImageProcessor()
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


if __name__ == "__main__":
    main()
