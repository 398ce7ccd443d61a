"""training/finetune.py as a user runs it, on four miniature patients: it trains, chooses, saves and goes on."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from cmr_hf import CMRConfig, CMRForSemanticSegmentation, CMRImageProcessor
from cmr_hf.finetuning.controls import PlainUNet
from tests.acdc_factory import write_acdc
from tests.data.own_set_factory import write_own_set

BACKBONE = {
    "model_type": "cmr_vit",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "patch_size": 16,
}


@pytest.fixture(scope="module")
def script(repo_root) -> Path:
    return repo_root / "training" / "finetune.py"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, repo_root) -> Path:
    """A recipe as in training/configs, but for the miniature set and a tiny model; its folder holds the data."""
    folder = tmp_path_factory.mktemp("finetune")
    values = yaml.safe_load((repo_root / "training" / "configs" / "segment_cine_sax.yaml").read_text())
    values |= {
        "data_root": str(folder / "acdc"),
        "splits": str(write_acdc(folder)),
        "model": values["model"] | {"backbone_config": BACKBONE, "decoder_channels": [4, 6, 8, 8]},
        "crop_sizes": [64, 64, 96],
        "output_dir": str(folder / "run"),
        "max_steps": 4,
        "per_device_train_batch_size": 4,
        "warmup_steps": 1,
        "eval_steps": 2,
        "save_steps": 2,
        "save_total_limit": None,
        "logging_steps": 1,
        "use_cpu": True,
        "disable_tqdm": True,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values))
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def first_run(script, recipe, repo_root) -> tuple[Path, subprocess.CompletedProcess]:
    environment = os.environ | {"PYTHONPATH": str(repo_root / "src")}
    command = [sys.executable, str(script), "--config", str(recipe)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return recipe.parent / "run", done


def run_here(script: Path, monkeypatch, recipe: Path, *overrides: str) -> None:
    """The script once more without the price of a new interpreter."""
    monkeypatch.setattr(sys, "argv", [str(script), "--config", str(recipe), *overrides])
    runpy.run_path(str(script), run_name="__main__")


def test_it_says_what_it_trains_on_and_where_the_result_is(first_run):
    folder, done = first_run
    assert "24 slices a pass of 2 patients to train on, 2 stacks of 1 patients to choose on" in done.stdout
    assert f"{folder / 'best'}" in done.stdout
    assert "missing keys" not in done.stderr
    assert "unexpected keys" not in done.stderr


def test_the_best_model_opens_with_its_processor_and_labels(first_run):
    folder, _ = first_run
    model, info = CMRForSemanticSegmentation.from_pretrained(folder / "best", output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.id2label == {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV"}
    assert CMRImageProcessor.from_pretrained(folder / "best").size == 224


def test_the_best_model_is_the_best_checkpoint(first_run):
    folder, _ = first_run
    record = json.loads((folder / "best" / "training.json").read_text())
    best, chosen = (
        load_file(Path(path) / "model.safetensors") for path in (folder / "best", record["best_checkpoint"])
    )
    assert best.keys() == chosen.keys()
    assert all(torch.equal(best[name], chosen[name]) for name in best)
    assert record["steps"] == 4
    assert record["train_patients"] == ["acdc patient001", "acdc patient002"]
    assert 0.0 <= record["validation"]["eval_dice"] <= 1.0
    assert "eval_dice_per_slice_LV_cavity" in record["validation"]


def test_every_trainable_parameter_moves(first_run):
    folder, _ = first_run
    early, late = (load_file(folder / f"checkpoint-{step}" / "model.safetensors") for step in (2, 4))
    assert early.keys() == late.keys()
    still = {name for name in early if torch.equal(early[name], late[name])}
    assert not {name for name in still if not name.endswith("k_proj.bias")}  # see test_segmentation_model_cmr.py


def test_when_it_is_run_again_then_it_goes_on_from_the_last_checkpoint(first_run, script, recipe, monkeypatch, caplog):
    folder, _ = first_run
    kept = folder / "checkpoint-4" / "model.safetensors"
    written = kept.stat().st_mtime_ns
    run_here(script, monkeypatch, recipe, "max_steps=6")

    assert kept.stat().st_mtime_ns == written  # steps 1 to 4 were not done again
    state = json.loads((folder / "checkpoint-6" / "trainer_state.json").read_text())
    assert state["global_step"] == 6
    losses = [entry["step"] for entry in state["log_history"] if "loss" in entry]
    assert losses == [1, 2, 3, 4, 5, 6]
    assert not [record for record in caplog.records if "missing keys" in record.getMessage()]
    before, after = load_file(kept), load_file(folder / "checkpoint-6" / "model.safetensors")
    biggest = max((before[name] - after[name]).abs().max().item() for name in before)
    assert 0 < biggest < 0.05  # two small steps from the checkpoint, not from new random weights


def test_the_plain_u_net_trains_with_the_same_recipe(script, recipe, monkeypatch, capsys):
    pytest.importorskip("monai")
    folder = recipe.parent / "unet"
    run_here(script, monkeypatch, recipe, "arm=unet", f"output_dir={folder}", "max_steps=2")
    assert "missing keys" not in capsys.readouterr().err
    weights = load_file(folder / "best" / "model.safetensors")
    assert sum(value.numel() for value in weights.values()) == pytest.approx(5.3e6, rel=0.02)
    record = json.loads((folder / "best" / "training.json").read_text())
    assert record["steps"] == 2
    config = CMRConfig(num_labels=4)
    PlainUNet(config).load_state_dict(weights, strict=True)
    with pytest.raises(RuntimeError, match="network.input_block.conv1.conv.weight"):
        PlainUNet(config).load_state_dict({}, strict=True)


def test_when_the_arm_is_unknown_then_it_raises_before_training(script, recipe, monkeypatch):
    with pytest.raises(ValueError, match="`arm` must be one of"):
        run_here(script, monkeypatch, recipe, "arm=transformer", f"output_dir={recipe.parent / 'none'}")


def test_several_data_sets_train_one_model_and_the_choice_is_made_on_one(script, recipe, monkeypatch, capsys):
    phantoms = "{name: phantoms, hearts: 1, first_seed: 5, series: [lge_4ch]}"
    folder = recipe.parent / "together"
    run_here(
        script, monkeypatch, recipe, f"train_on=[{{name: acdc}}, {phantoms}]", f"output_dir={folder}", "max_steps=2"
    )
    assert "of 3 patients to train on, 2 stacks of 1 patients to choose on" in capsys.readouterr().out
    trained_on = json.loads((folder / "best" / "training.json").read_text())["train_patients"]
    assert trained_on[:2] == ["acdc patient001", "acdc patient002"]
    assert trained_on[2].startswith("phantoms ")


def test_what_nobody_drew_in_a_data_set_is_neither_learnt_there_nor_judged(script, recipe, monkeypatch, capsys):
    table = write_own_set(recipe.parent / "own", {f"p{number}": {"drawn": "1 2"} for number in range(6)})
    own = f"{{name: table, root: {table}}}"
    folder = recipe.parent / "partly"
    run_here(
        script,
        monkeypatch,
        recipe,
        f"train_on=[{{name: acdc, share: 0.25}}, {own[:-1]}, share: 0.75}}]",
        f"choose_on=[{{name: acdc, root: {recipe.parent / 'acdc'}}}, {own}]",
        f"output_dir={folder}",
        "max_steps=2",
    )
    assert "of 6 patients to train on, 3 stacks of 2 patients to choose on" in capsys.readouterr().out
    found = json.loads((folder / "best" / "training.json").read_text())["validation"]
    assert "eval_acdc_dice_per_volume_RV" in found
    assert "eval_table_dice_per_volume_myocardium" in found
    assert "eval_table_dice_per_volume_RV" not in found


def test_when_a_data_set_has_no_root_then_it_raises(script, recipe, monkeypatch):
    with pytest.raises(ValueError, match="needs a root for emidec"):
        run_here(script, monkeypatch, recipe, "train_on=[{name: emidec}]", f"output_dir={recipe.parent / 'none'}")
