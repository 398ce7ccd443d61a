"""Puts a trained model into the package: half-precision weights, configuration, processor and measured results.

    python training/embed.py --model runs/segment_all/best --name cine-sax --labels 0 1 2 3 --share segmentation \
        --license cc-by-nc-sa-4.0 --results acdc.json --also lge=emidec.json
    python training/embed.py --model runs/view/best --name cine-view --license cc-by-nc-sa-4.0 \
        --measured runs/measured/2_view runs/measured/2_view_phantoms

`--results`, `--also` and `--control-results` are what `training/evaluate.py --side test` wrote, of this model and of
the plain U-Net; `--measured` are folders of its `--experiment`, or of a cross-validation. A control and earlier weights
that are embedded already stay in the results, the latter as `earlier`, if the new ones went on from them; the first of
several stay, with the control that they had when another takes its place.

Weights that a model has in common with those in `weights/shared` are not stored again. `--share` first writes this
model's there, encoder and decoder, part by part, but for the last layer; embed others that stand on them after it.
Licence and card beside the weights are written by hand; tests compare the card with the results.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

import cmr_hf
from cmr_hf.data.experiments import EXPERIMENTS
from cmr_hf.evaluation.cases import load
from cmr_hf.evaluation.estimates import VALUES, estimate, estimate_of_chances
from cmr_hf.evaluation.tables import lines_of
from cmr_hf.publishing import save_embedded, write_part
from cmr_hf.weights import FOLDER, SHARED

LOCAL = ("data_root", "splits", "output_dir", "threads", "root")  # where it ran, not what was done


def without_places(value: Any) -> Any:
    """A recipe without the paths of the machine it ran on, at every depth."""
    if isinstance(value, dict):
        return {key: without_places(one) for key, one in value.items() if key not in LOCAL}
    return [without_places(one) for one in value] if isinstance(value, list) else value


def training_record(path: Path) -> dict:
    """What was done, and for how long."""
    record = json.loads(path.read_text(encoding="utf-8"))
    record = without_places(record)
    for place in (record, record["recipe"]):
        if Path(str(place.get("init_from", ""))).is_absolute():
            place["init_from"] = "/".join(Path(place["init_from"]).parts[-2:])
    record.pop("best_checkpoint", None)
    return record


def opened(folder: Path) -> PreTrainedModel:
    """The model of a folder, whatever its head, in float32."""
    architecture = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"][0]
    return getattr(cmr_hf, architecture).from_pretrained(folder, dtype=torch.float32)


def with_labels(model: PreTrainedModel, kept: list[int]) -> PreTrainedModel:
    """A segmentation model that tells some of the classes alone, background first, numbered from 0."""
    config = type(model.config).from_dict(model.config.to_dict())
    config.id2label = {new: model.config.id2label[old] for new, old in enumerate(kept)}
    config.label2id = {name: index for index, name in config.id2label.items()}
    if config.single_component_labels:
        config.single_component_labels = [kept.index(one) for one in config.single_component_labels if one in kept]
    fewer = type(model)(config)
    weights = model.state_dict()
    last = {f"decoder.classifier.{name}": weights[f"decoder.classifier.{name}"][kept] for name in ("weight", "bias")}
    fewer.load_state_dict(weights | last)
    return fewer


def write_shared(model: PreTrainedModel, prefix: str) -> None:
    """Encoder, block by block, and decoder, part by part but for the last layer, in files for others to stand on."""
    SHARED.mkdir(exist_ok=True)
    for file in SHARED.glob(f"{prefix}_*.safetensors"):
        file.unlink()
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in model.state_dict().items():
        if name.startswith(("classifier.", "decoder.classifier.")):
            continue
        place = name.split(".")
        depth = 3 if place[1] in ("layers", "ups") else 2
        parts.setdefault("_".join(place[:depth]), {})[name] = tensor.half().contiguous()
    for name, weights in parts.items():
        write_part(SHARED / f"{prefix}_{name}.safetensors", weights)


def section_of(folder: Path) -> dict:
    """Numbers of a measurement by class, as a card shows them: mean and interval, no patient."""
    found = load(folder)
    value = VALUES[found.kind]
    metric = "accuracy" if value == "right" else value
    about = found.about
    section: dict[str, Any] = {"dataset": "+".join(about["datasets"]), "side": about["side"]}
    section |= {"patients": len(found.patients), "notes": about.get("notes", []), metric: {}}
    for name, level in lines_of(EXPERIMENTS[found.experiment]):
        if (numbers := estimate(found, name, level)) is not None:
            place = section[metric].setdefault(f"per_{level}", {}) if level else section[metric]
            place[name] = _leaf(numbers)
    if found.kind == "landmarks":
        for name in EXPERIMENTS[found.experiment].compares:
            apart = [row[value] for row in found.rows if row["structure"] == name and row[value] is not None]
            section.setdefault("median_distance_mm", {})[name] = {"mean": float(np.median(apart)), "n": len(apart)}
    if found.kind == "classification":
        numbers = estimate_of_chances(found, "auc")
        if numbers and "refused" not in numbers:
            section["auc"] = {"all": _leaf(numbers)}
    return section


def sections_of(entries: list[str]) -> dict[str, Any]:
    """What the files of "SECTION=FILE" hold, by section."""
    pairs = (entry.partition("=") for entry in entries)
    return {section: json.loads(Path(file).read_text(encoding="utf-8")) for section, _, file in pairs}


def _leaf(numbers: dict) -> dict:
    leaf = {"mean": numbers["value"], "sd": numbers["sd"], "n": numbers["cases"]}
    return leaf | {"low": numbers["lower"], "high": numbers["upper"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--name", required=True, help="short name, cine-sax say")
    parser.add_argument("--license", required=True, help="SPDX name in lower case, of the weights")
    parser.add_argument("--labels", type=int, nargs="+", help="ids that the embedded model tells, 0 first; all")
    parser.add_argument("--share", metavar="PREFIX", help="write this model's parts into weights/shared, so named")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--measured", type=Path, nargs="+", default=[], help="folders that evaluate.py wrote")
    parser.add_argument("--also", action="append", default=[], metavar="SECTION=FILE", help="results on other data")
    parser.add_argument("--control-training", type=Path)
    parser.add_argument("--control-results", type=Path)
    parser.add_argument("--control-also", action="append", default=[], metavar="SECTION=FILE", help="of the control")
    options = parser.parse_args()
    if (options.control_training is None) != (options.control_results is None):
        parser.error("--control-training and --control-results need each other")

    known = FOLDER / options.name / "results.json"
    before = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
    model = opened(options.model)
    if options.labels:
        model = with_labels(model, options.labels)
    model.config.weights_license = options.license
    if options.share:
        write_shared(model, options.share)
    processor = cmr_hf.CMRImageProcessor.from_pretrained(options.model)
    shared = sorted(SHARED.glob("*.safetensors"))
    folder = save_embedded(model, processor, FOLDER / options.name, shared=shared)
    results = {
        "model": options.name,
        "training": training_record(options.model / "training.json"),
    }
    if options.results:
        results["test"] = json.loads(options.results.read_text(encoding="utf-8"))
    for measured in options.measured:
        results[measured.name] = section_of(measured)
    results |= sections_of(options.also)
    if options.control_results:
        results["control"] = {
            "training": training_record(options.control_training),
            "test": json.loads(options.control_results.read_text(encoding="utf-8")),
            **sections_of(options.control_also),
        }
    elif "control" in before:
        results["control"] = before["control"]
    if "earlier" in before:
        results["earlier"] = before["earlier"]
        if options.control_results and "control" in before:
            results["earlier"].setdefault("control", before["control"])
    elif before and str(results["training"]["recipe"].get("init_from", "")).endswith(options.name):
        results["earlier"] = {name: before[name] for name in ("training", "test") if name in before}
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
