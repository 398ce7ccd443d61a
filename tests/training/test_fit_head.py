"""training/fit_head.py and fit_shape.py on miniature data: judged out of fold, and saved for the pipelines."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import pipeline

import cmr_hf
from cmr_hf.clinical.shape import ShapeClassifier
from cmr_hf.data.schema import DISEASES
from cmr_hf.evaluation.cases import load
from cmr_hf.finetuning.linear import folds_of
from cmr_hf.publishing import save_embedded
from tests.acdc_factory import write_patient
from tests.finetuning.mini_set import mini_recipe, write_encoders, write_mini_set
from tests.model_factory import tiny_processor, tiny_segmenter


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    recipe = mini_recipe(write_mini_set(folder / "data")) | {"balance": True}
    recipe["init_from"] = str(write_encoders(folder)["dino"])
    for key in ("2", "8B", "3"):
        own = recipe | {"experiment": key, "output_dir": str(folder / f"out_{key}")}
        (folder / f"{key}.yaml").write_text(yaml.safe_dump(own | ({"balance": False} if key == "3" else {})))
    return folder


@pytest.fixture
def run(repo_root, monkeypatch):
    def run_script(name: str, *words: str | Path) -> None:
        script = repo_root / "training" / name
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, words)])
        runpy.run_path(str(script), run_name="__main__")

    return run_script


def test_a_head_is_fitted_chosen_on_validation_and_opens_in_its_pipeline(place, run):
    run("fit_head.py", "--config", place / "2.yaml", "--copies", "1", "--strengths", "1", "1000")
    best = place / "out_2" / "best"
    record = json.loads((best / "training.json").read_text())
    assert set(record["by_strength"]) == {"1", "1000"}
    assert record["validation"]["eval_balanced_accuracy"] == max(record["by_strength"].values())
    assert not {"table p4", "table p5"} & set(record["train_patients"])
    encoder, whole = load_file(place / "dino" / "model.safetensors"), load_file(best / "model.safetensors")
    assert all(torch.equal(whole[f"backbone.{name}"], value) for name, value in encoder.items())
    answer = pipeline("cmr-view-classification", model=str(best))(torch.rand(60, 50).numpy(), spacing_mm=(1.0, 1.0))
    assert {one["label"] for one in answer} <= set(cmr_hf.CMRConfig.from_pretrained(best).id2label.values())


@pytest.mark.parametrize("neighbours", [0, 1])
def test_of_a_cross_validation_every_patient_has_one_row_out_of_fold(place, run, neighbours):
    words = ("--folds", "3", "--copies", "1", "--arm", "tiny", f"output_dir={place / 'folded'}")
    words += (f"neighbours={neighbours}",)
    run("fit_head.py", "--config", place / "8B.yaml", *words)
    found = load(place / "folded" / "folds")
    assert (found.kind, found.arm, found.experiment, found.about["side"]) == (
        "classification",
        "tiny",
        "8B",
        "out of fold",
    )
    assert sorted(row["patient"] for row in found.rows) == [f"p{number}" for number in range(6)]
    for row in found.rows:
        chances = {name: row[f"p:{name}"] for name in found.classes}
        assert sum(chances.values()) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == max(chances, key=chances.get)
        assert row["right"] == (row["predicted"] == row["truth"])


def test_masks_have_no_linear_head(place, run):
    with pytest.raises(SystemExit, match="classes of images"):
        run("fit_head.py", "--config", place / "3.yaml")


def test_folds_share_out_every_label():
    labels = {f"p{number}": number % 3 for number in range(31)}
    folds = folds_of(labels, 4, seed=1)
    assert folds == folds_of(labels, 4, seed=1)
    assert folds != folds_of(labels, 4, seed=2)
    for label in range(3):
        counts = [sum(folds[p] == fold for p in labels if labels[p] == label) for fold in range(4)]
        assert max(counts) - min(counts) <= 1
    with pytest.raises(ValueError, match="31 patients"):
        folds_of(labels, 32)


@pytest.fixture(scope="module")
def hearts(tmp_path_factory) -> Path:
    """Ten patients of two groups, whose right ventricles differ in nothing but whose names of diseases do."""
    folder = tmp_path_factory.mktemp("shape")
    names = [f"patient{number:03d}" for number in range(1, 11)]
    for number, name in enumerate(names):
        write_patient(folder / "acdc", name, slices=4)
        config = folder / "acdc" / name / "Info.cfg"
        config.write_text(config.read_text().replace("NOR", "DCM" if number % 2 else "NOR"))
    sides = {"train": names[:6], "validation": names[6:8], "test": names[8:]}
    (folder / "splits.json").write_text(json.dumps({"acdc": sides}))
    return folder


def test_a_shape_classifier_is_judged_out_of_fold_and_tested_on_masks_of_a_model(hearts, run, capsys):
    data = ("--data", f"acdc={hearts / 'acdc'}", "--splits", hearts / "splits.json")
    run("fit_shape.py", "split", *data, "--count", "4", "--out", hearts / "folds")
    parts = [json.loads(path.read_text())["acdc"] for path in sorted((hearts / "folds").glob("fold-*.json"))]
    held = [patient for part in parts for patient in part["validation"]]
    assert sorted(held) == [f"patient{number:03d}" for number in range(1, 9)]
    assert all(not set(part["train"]) & {*part["validation"], *part["test"]} for part in parts)

    run("fit_shape.py", "fit", *data, "--count", "4", "--out", hearts / "shape")
    classifier = ShapeClassifier.load(hearts / "shape" / "classifier.json")
    assert classifier.classes == DISEASES
    found = load(hearts / "shape" / "folds")
    assert (len(found.rows), found.experiment, found.about["side"]) == (8, "9", "out of fold")

    model = save_embedded(tiny_segmenter(), tiny_processor(), hearts / "model")
    words = ("--classifier", hearts / "shape" / "classifier.json", "--model", model, "--out", hearts / "test")
    capsys.readouterr()
    run("fit_shape.py", "test", *data, *words)
    assert "of 2 test hearts right" in capsys.readouterr().out
    tested = load(hearts / "test")
    assert {row["patient"] for row in tested.rows} == {"patient009", "patient010"}
    assert tested.about["side"] == "test"
