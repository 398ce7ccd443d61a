"""training/evaluate.py as a user runs it, on four miniature patients: three uses of one script."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from cmr_hf import CMRForSemanticSegmentation
from cmr_hf.evaluation.cases import load
from cmr_hf.finetuning.controls import PlainUNet
from tests.acdc_factory import write_acdc
from tests.model_factory import tiny_config, tiny_model, tiny_processor


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Data, its split, and a tiny model of each kind."""
    folder = tmp_path_factory.mktemp("evaluate")
    write_acdc(folder)
    torch.manual_seed(0)
    for task in ("cmr-segmentation", "cmr-landmark-detection", "cmr-disease-detection", "cmr-view-classification"):
        tiny_model(task).save_pretrained(folder / task)
        tiny_processor().save_pretrained(folder / task)
    return folder


@pytest.fixture
def evaluate(repo_root, monkeypatch):
    def run(*words: object) -> None:
        script = repo_root / "training" / "evaluate.py"
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, words)])
        runpy.run_path(str(script), run_name="__main__")

    return run


def options(place: Path, experiment: str, task: str, arm: str, out: Path) -> list:
    data = ["--data", f"acdc={place / 'acdc'}", "--split", place / "splits.json", "--side", "train"]
    return ["--experiment", experiment, "--model", place / task, "--arm", arm, *data, "--out", out]


@pytest.mark.parametrize(
    ("experiment", "task", "kind", "data"),
    [
        ("3", "cmr-segmentation", "segmentation", "the paper's data set, other patients"),
        ("7", "cmr-landmark-detection", "landmarks", "public substitute"),
        ("9", "cmr-disease-detection", "classification", "the paper's data set, other patients"),
        ("2", "cmr-view-classification", "classification", "public substitute"),
    ],
)
def test_an_experiment_is_measured_case_by_case_with_three_pages(
    experiment, task, kind, data, place, evaluate, tmp_path, capsys
):
    evaluate(*options(place, experiment, task, "random ViT", tmp_path / "m"), "--note", "mm are nominal")
    one = load(tmp_path / "m")
    assert (one.kind, one.experiment, one.arm) == (kind, experiment, "random ViT")
    assert one.patients == {"acdc/patient001", "acdc/patient002"}
    assert (one.about["data"], one.about["side"], one.about["notes"]) == (data, "train", ["mm are nominal"])
    assert all((tmp_path / "m" / f"{name}.png").stat().st_size > 5000 for name in ("best", "median", "worst"))
    assert "of 2 patients" in capsys.readouterr().out


def test_tables_are_made_of_what_was_measured_without_the_models(place, evaluate, tmp_path, capsys):
    for arm in ("CMR-DINO ViT", "random ViT"):
        evaluate(*options(place, "3", "cmr-segmentation", arm, tmp_path / "measured" / arm))
    capsys.readouterr()
    evaluate("--tables", tmp_path / "measured", "--out", tmp_path / "docs")
    printed = capsys.readouterr().out
    assert (tmp_path / "docs" / "results.md").read_text() in printed
    results = json.loads((tmp_path / "docs" / "results.json").read_text())
    assert {test["test"] for test in results["tests"]} == {"too few patients"}
    line = next(line for line in results["tables"]["2"] if line["experiment"] == "3")
    assert line["ours"]["CMR-DINO ViT"] == line["ours"]["random ViT"]


def test_folds_name_their_patients_and_a_broken_one_is_noted(place, evaluate, tmp_path):
    broken = tmp_path / "acdc"
    write_acdc(tmp_path)
    (broken / "patient002" / "patient002_frame01_gt.nii.gz").write_bytes(b"no")
    (tmp_path / "fold.txt").write_text("patient002\npatient003\n")
    words = options(place, "3", "cmr-segmentation", "random ViT", tmp_path / "m")
    words[words.index("--data") + 1] = f"acdc={broken}"
    evaluate(*words, "--patients", tmp_path / "fold.txt")
    one = load(tmp_path / "m")
    assert one.patients == {"acdc/patient003"}
    assert one.about["side"] == "out of fold"
    assert one.about["notes"][0].startswith("could not be read: acdc patient002")


def test_patients_that_the_model_learnt_from_are_refused(place, evaluate, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(place / "cmr-segmentation", model)
    (model / "training.json").write_text(json.dumps({"train_patients": ["acdc patient003"]}))
    words = options(place, "3", "cmr-segmentation", "random ViT", tmp_path / "m")
    words[words.index("--model") + 1] = model
    words[words.index("--side") + 1] = "validation"
    with pytest.raises(SystemExit, match="trained on 1 of these patients"):
        evaluate(*words)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("arm", ["vit", "unet"])
def test_numbers_of_embedded_weights_are_written_as_the_cards_want_them(arm, place, evaluate, tmp_path):
    labels = {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV"}
    config = tiny_config()
    fields = {"backbone_config": config.backbone_config.to_dict(), "decoder_channels": config.decoder_channels}
    recipe = {"dataset": "acdc", "data_root": str(place / "acdc"), "splits": str(place / "splits.json")}
    recipe |= {"labels": labels, "arm": arm, "model": fields}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(recipe))))
    model = place / "cmr-segmentation"
    if arm == "unet":
        from safetensors.torch import save_file

        model = tmp_path / "unet"
        model.mkdir()
        torch.manual_seed(0)
        save_file(PlainUNet(config).state_dict(), model / "model.safetensors")
    words = ["--model", model, "--config", tmp_path / "recipe.yaml", "--side", "test", "--out", tmp_path / "r.json"]
    evaluate(*words, "--overlays", tmp_path / "overlays")
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["dataset"], found["side"], found["patients"]) == ("acdc", "test", 1)
    assert list(found["dice"]["per_slice"]) == ["LV cavity", "myocardium", "RV"]
    assert found["dice"]["per_volume"]["RV"].keys() == {"mean", "sd", "n"}
    parameters = sum(p.numel() for p in CMRForSemanticSegmentation(config).parameters())
    assert (found["parameters"] == parameters) == (arm == "vit")
    assert len(list((tmp_path / "overlays").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--out", "x"], "needs --model, or --tables"),
        (["--out", "x", "--model", "m", "--experiment", "3"], "--experiment needs --arm"),
        (["--out", "x", "--model", "m"], "needs --experiment, or --config"),
    ],
)
def test_when_options_are_missing_then_it_says_which(words, says, evaluate, capsys):
    with pytest.raises(SystemExit):
        evaluate(*words)
    assert says in capsys.readouterr().err
