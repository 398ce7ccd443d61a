"""Puts a trained model into the package: half-precision weights, configuration, processor and measured results.

    python training/embed.py --model runs/segment_sax/best --name cine-sax --license cc-by-nc-sa-4.0 \
        --results acdc.json --also lge=emidec.json \
        --control-training runs/segment_cine_sax_unet/best/training.json --control-results unet.json

`--results`, `--also` and `--control-results` are what `training/evaluate.py --side test` wrote, of this model and of
the plain U-Net. A control and earlier weights that are embedded already stay in the results, the latter as `earlier`,
if the new ones went on from them. Licence and card beside the weights are written by hand; tests compare the card with
the results.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

import cmr_hf
from cmr_hf.publishing import save_embedded
from cmr_hf.weights import FOLDER

LOCAL = ("data_root", "splits", "output_dir", "threads", "root")  # where it ran, not what was done


def without_places(value: Any) -> Any:
    """A recipe without the paths of the machine it ran on, at every depth."""
    if isinstance(value, dict):
        return {key: without_places(one) for key, one in value.items() if key not in LOCAL}
    return [without_places(one) for one in value] if isinstance(value, list) else value


def training_record(path: Path) -> dict:
    """What was done, and for how long."""
    record = json.loads(path.read_text(encoding="utf-8"))
    record["recipe"] = without_places(record["recipe"])
    record.pop("best_checkpoint", None)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--name", required=True, help="short name, cine-sax say")
    parser.add_argument("--license", required=True, help="SPDX name in lower case, of the weights")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--also", action="append", default=[], metavar="SECTION=FILE", help="results on other data")
    parser.add_argument("--control-training", type=Path)
    parser.add_argument("--control-results", type=Path)
    options = parser.parse_args()
    if (options.control_training is None) != (options.control_results is None):
        parser.error("--control-training and --control-results need each other")

    known = FOLDER / options.name / "results.json"
    before = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
    model = cmr_hf.CMRForSemanticSegmentation.from_pretrained(options.model, dtype=torch.float32)
    model.config.weights_license = options.license
    folder = save_embedded(model, cmr_hf.CMRImageProcessor.from_pretrained(options.model), FOLDER / options.name)
    results = {
        "model": options.name,
        "training": training_record(options.model / "training.json"),
        "test": json.loads(options.results.read_text(encoding="utf-8")),
    }
    for entry in options.also:
        section, _, file = entry.partition("=")
        results[section] = json.loads(Path(file).read_text(encoding="utf-8"))
    if options.control_results:
        results["control"] = {
            "training": training_record(options.control_training),
            "test": json.loads(options.control_results.read_text(encoding="utf-8")),
        }
    elif "control" in before:
        results["control"] = before["control"]
    if before and str(results["training"]["recipe"].get("init_from", "")).endswith(options.name):
        results["earlier"] = {"training": before["training"], "test": before["test"]}
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
