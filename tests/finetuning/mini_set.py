"""A miniature table of a user's own files that has samples for all eleven experiments, and tiny encoders."""

import csv
from pathlib import Path

import numpy as np
from transformers import ResNetModel, ViTConfig, ViTModel

from cmr_hf import CMRViTModel
from tests.data.volume_factory import gray, heart, write_nifti
from tests.model_factory import randomised, tiny_encoder, tiny_resnet

SIZE = 64  # of the crop, in mm
VIT = {
    "model_type": "cmr_vit",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": SIZE,
    "patch_size": 16,
}
SIDES = ("train", "train", "train", "train", "validation", "validation")
DISEASES = ("NORM", "DCM", "HCM", "MINF", "NORM", "DCM")


def four_chambers(radius: float) -> np.ndarray:
    """Masks (1, y, x) with cavity, muscle, RV and two atria."""
    masks = heart(radius)[:1].copy()
    masks[0, 30:36, 4:16], masks[0, 30:36, 24:36] = 5, 4
    return masks


def write_mini_set(root: Path) -> Path:
    """Six patients with cine SAX (ED, ES), LGE SAX, cine 4CH and a T1 map each; gives the path of their table."""
    rng = np.random.default_rng(0)
    rows = []
    for number, (side, disease) in enumerate(zip(SIDES, DISEASES, strict=True)):
        radius = 7.0 + number / 2
        scarred = heart(radius)
        scarred[:, 18:22, 28:32] = np.where(scarred[:, 18:22, 28:32] == 2, 6, scarred[:, 18:22, 28:32])
        present = number % 2 == 1
        common = {"patient": f"p{number}", "split": side}
        sax = {"view": "SAX", "image_type": "cine", "series": "sax", "disease": disease}
        series = {
            "ed": (heart(radius), sax | {"phase": "ED"}),
            "es": (heart(radius - 2), sax | {"phase": "ES"}),
            "lge": (scarred if present else heart(radius), {"view": "SAX", "image_type": "LGE", "series": "lge"}),
            "4ch": (four_chambers(radius), {"view": "4CH", "image_type": "cine", "series": "4ch"}),
            "t1": (heart(radius)[:2], {"view": "SAX", "image_type": "T1", "series": "t1"}),
        }
        series["lge"][1]["lge"] = "present" if present else "none"
        for name, (masks, words) in series.items():
            image, mask = f"p{number}/{name}.nii.gz", f"p{number}/{name}_mask.nii.gz"
            write_nifti(root / image, gray(masks) + rng.integers(0, 20, masks.shape).astype(np.int16))
            write_nifti(root / mask, masks)
            rows.append(common | words | {"image": image, "mask": mask})
    with (root / "table.csv").open("w", newline="") as file:
        names = ["patient", "split", "image", "mask", "series", "phase", "view", "image_type", "disease", "lge"]
        table = csv.DictWriter(file, names)
        table.writeheader()
        table.writerows(rows)
    return root / "table.csv"


def write_encoders(root: Path) -> dict[str, Path]:
    """Folders of a backbone as pretraining leaves it, of a ViT as DINO's is published, and of a ResNet."""
    fields = {name: value for name, value in VIT.items() if name != "model_type"}
    models = {
        "dino": randomised(CMRViTModel(tiny_encoder(**fields))),
        "imagenet": randomised(ViTModel(ViTConfig(**fields), add_pooling_layer=False)),
        "resnet": randomised(ResNetModel(tiny_resnet())),
    }
    for name, model in models.items():
        model.save_pretrained(root / name)
    return {name: root / name for name in models}


def mini_recipe(table: Path, **more: object) -> dict:
    """A recipe for the set above: two steps of two small crops, evaluated and saved after each."""
    return {
        "train_on": [{"name": "table", "root": str(table)}],
        "choose_on": [{"name": "table", "root": str(table)}],
        "model": {"backbone_config": VIT, "decoder_channels": [4, 6, 8, 8]},
        "resnet_model": {
            "backbone_config": {"model_type": "resnet", **_plain(tiny_resnet().to_dict())},
            "decoder_channels": [4, 6, 8, 8, 8],
        },
        "processor": {"size": SIZE},
        "crop_sizes": [SIZE],
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "learning_rate": 1.0e-2,
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": 2,
        "save_steps": 1,
        "load_best_model_at_end": False,
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 3,
    } | more


def _plain(values: dict) -> dict:
    kept = ("embedding_size", "hidden_sizes", "depths")
    return {name: values[name] for name in kept}
