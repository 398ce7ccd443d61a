"""Puts a trained model into the package: half-precision weights, configuration, processor and measured results.

    python training/embed.py --model runs/segment_cine_sax/best --name cine-sax --license cc-by-nc-sa-4.0 \
        --results test.json --control-training runs/segment_cine_sax_unet/best/training.json --control-results unet.json

`--results` and `--control-results` are what `training/evaluate.py --side test` wrote, of this model and of the plain
U-Net. Licence and card beside the weights are written by hand; tests compare the card with the results.
"""

import argparse
import json
from pathlib import Path

import torch

import cmr_hf
from cmr_hf.publishing import save_embedded
from cmr_hf.weights import FOLDER

LOCAL = ("data_root", "splits", "output_dir", "threads")  # where it ran, not what was done


def training_record(path: Path) -> dict:
    """What was done, and for how long, without the paths of the machine it ran on."""
    record = json.loads(path.read_text(encoding="utf-8"))
    record["recipe"] = {key: value for key, value in record["recipe"].items() if key not in LOCAL}
    record.pop("best_checkpoint", None)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--name", required=True, help="short name, cine-sax say")
    parser.add_argument("--license", required=True, help="SPDX name in lower case, of the weights")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--control-training", type=Path, required=True)
    parser.add_argument("--control-results", type=Path, required=True)
    options = parser.parse_args()

    model = cmr_hf.CMRForSemanticSegmentation.from_pretrained(options.model, dtype=torch.float32)
    model.config.weights_license = options.license
    folder = save_embedded(model, cmr_hf.CMRImageProcessor.from_pretrained(options.model), FOLDER / options.name)
    results = {
        "model": options.name,
        "training": training_record(options.model / "training.json"),
        "test": json.loads(options.results.read_text(encoding="utf-8")),
        "control": {
            "training": training_record(options.control_training),
            "test": json.loads(options.control_results.read_text(encoding="utf-8")),
        },
    }
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
