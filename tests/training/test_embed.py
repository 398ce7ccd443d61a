"""training/embed.py: shared weights, fewer labels, and the numbers of measurements in results.json."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import cmr_hf
from cmr_hf.evaluation.cases import Measurement, save
from cmr_hf.publishing.measured import numbers
from tests.model_factory import randomised, tiny_model, tiny_processor, tiny_segmenter


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    weights = tmp_path / "weights"
    weights.mkdir()
    monkeypatch.setattr("cmr_hf.weights.FOLDER", weights)
    monkeypatch.setattr("cmr_hf.weights.SHARED", weights / "shared")
    return tmp_path


@pytest.fixture
def embed(repo_root, monkeypatch):
    def run_script(*words: str | Path) -> None:
        script = repo_root / "training" / "embed.py"
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, words)])
        runpy.run_path(str(script), run_name="__main__")

    return run_script


def trained(model, folder: Path) -> Path:
    model.save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    record = {"recipe": {"seed": 1, "data_root": "/home/me"}, "minutes": 2.0, "steps": 5, "best_checkpoint": "/x"}
    (folder / "training.json").write_text(json.dumps(record))
    return folder


def measurement(folder: Path) -> Path:
    names = ("SAX", "2CH", "3CH", "4CH", "aorta", "other")
    rows = []
    for number in range(12):
        truth, predicted = names[number % 6], names[number % 5]
        row = {"source": "acdc", "patient": f"p{number}", "case": f"p{number}", "truth": truth, "predicted": predicted}
        odds = {f"p:{name}": 0.9 if name == predicted else 0.02 for name in names}
        rows.append(row | {"right": int(truth == predicted)} | odds)
    about = {"datasets": ["acdc"], "side": "test", "classes": list(names), "data": "other data", "notes": []}
    save(Measurement("classification", "ours", "2", rows, about), folder)
    return folder


def test_models_stand_on_one_encoder_and_keep_their_own_labels(place, embed):
    torch.manual_seed(0)
    whole = randomised(tiny_segmenter())
    source = trained(whole, place / "segmenter")
    common = ("--license", "apache-2.0", "--measured", measurement(place / "2_view"))
    embed("--model", source, "--name", "two", "--labels", "0", "1", "3", "--share", "first", *common)
    embed("--model", source, "--name", "all", *common)
    view = tiny_model("cmr-view-classification")
    view.backbone.load_state_dict(whole.backbone.state_dict())
    embed("--model", trained(view, place / "view"), "--name", "view", *common)

    weights = place / "weights"
    shared = {path.name.partition(".")[0]: path.stat().st_size for path in (weights / "shared").iterdir()}
    parts = {"embeddings", "layernorm", *(f"layers_{number}" for number in range(4))}
    decoder = {name for name in shared if name.startswith("first_decoder_")}
    assert set(shared) - decoder == {f"first_backbone_{name}" for name in parts}
    assert {"first_decoder_stem", "first_decoder_ups_0"} <= decoder
    sizes = {
        name: sum(f.stat().st_size for f in (weights / name).glob("*.safetensors")) for name in ("two", "all", "view")
    }
    assert all(size < shared["first_backbone_layers_0"] for size in sizes.values())
    two, six = (cmr_hf.CMRForSemanticSegmentation.from_pretrained(weights / name) for name in ("two", "all"))
    assert list(two.config.id2label.values()) == [whole.config.id2label[index] for index in (0, 1, 3)]
    pixels = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(two.eval()(pixels).logits, six.eval()(pixels).logits[:, [0, 1, 3]])
    opened = cmr_hf.CMRForImageClassification.from_pretrained(weights / "view")
    assert torch.equal(opened.backbone.layernorm.weight, six.backbone.layernorm.weight)


def test_results_hold_numbers_without_patients_and_paths(place, embed):
    source = trained(tiny_model("cmr-view-classification"), place / "view")
    embed("--model", source, "--name", "view", "--license", "apache-2.0", "--measured", measurement(place / "2_view"))
    text = (place / "weights" / "view" / "results.json").read_text()
    results = json.loads(text)
    assert "/home/me" not in text
    assert '"p3"' not in text
    found = {number.name: number for number in numbers(results)}
    assert found["accuracy, total"].value == pytest.approx(np.mean([n % 6 == n % 5 for n in range(12)]))
    assert found["accuracy, total"].low < found["accuracy, total"].value < found["accuracy, total"].high
    assert (found["AUC, all"].dataset, found["AUC, all"].side, found["AUC, all"].patients) == ("acdc", "test", 12)
