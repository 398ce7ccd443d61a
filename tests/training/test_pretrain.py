"""training/pretrain.py as a user runs it: alone, on two processes, killed, resumed, stopped by the machine."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import ViTConfig, ViTModel

from cmr_hf import CMRViTModel
from cmr_hf.pretraining.alarms import NonFiniteLossError
from cmr_hf.pretraining.checkpoints import read_record
from cmr_hf.pretraining.loss import DINOLoss
from cmr_hf.pretraining.run_log import RunLog
from tests.pretraining.pretrain_factory import BACKBONE, command, environment, log_of, recipe, run, run_here


def weights(run_folder: Path, step: int) -> dict[str, torch.Tensor]:
    """Student, teacher and centre after a step."""
    checkpoint = run_folder / f"step-{step:08d}"
    found = {}
    for name in ("model", "teacher", "centre"):
        found |= {f"{name}.{key}": value for key, value in load_file(checkpoint / f"{name}.safetensors").items()}
    return found


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        run_here(patch, recipe(folder))
    return folder / "run"


def killed_after(file: Path, checkpoint: Path) -> int:
    """Runs until the checkpoint is there, then kills it; gives the return code."""
    process = subprocess.Popen(
        command(file), env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    end = time.monotonic() + 120
    while not checkpoint.is_dir() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    return process.wait(timeout=60)


def test_when_it_is_killed_and_run_again_then_student_and_teacher_are_bit_identical(whole_run, tmp_path, monkeypatch):
    file = recipe(tmp_path)
    assert killed_after(file, tmp_path / "run" / "step-00000002") == -signal.SIGKILL
    assert not (tmp_path / "run" / "backbone").exists()
    run_here(monkeypatch, file)
    ours, theirs = weights(tmp_path / "run", 6), weights(whole_run, 6)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_when_backbones_are_kept_then_they_outlive_their_checkpoints(tmp_path, monkeypatch):
    run_here(monkeypatch, recipe(tmp_path, save_every=1, keep_checkpoints=1, keep_backbones=2))
    left = {path.relative_to(tmp_path / "run").as_posix() for path in (tmp_path / "run").glob("step-*/*")}
    kept = {name for name in left if not name.startswith("step-00000006")}
    assert kept == {"step-00000002/backbone", "step-00000004/backbone"}
    assert "step-00000006/run.json" in left
    assert CMRViTModel.from_pretrained(tmp_path / "run" / "step-00000002" / "backbone").config.hidden_size == 32


def test_every_trainable_parameter_moves(whole_run):
    early, late = weights(whole_run, 2), weights(whole_run, 6)
    still = {name for name in early if torch.equal(early[name], late[name])}
    assert {name for name in still if not name.endswith("k_proj.bias")} == {  # lengths of the last layer's rows: all 1
        f"{network}.head.last_layer.parametrizations.weight.original0" for network in ("model", "teacher")
    }


def test_when_two_processes_take_four_each_then_it_is_one_process_that_takes_eight(whole_run, tmp_path):
    done = run(recipe(tmp_path), processes=2)
    assert done.returncode == 0, done.stderr[-3000:]
    for line, other in zip(log_of(whole_run), log_of(tmp_path / "run"), strict=True):
        assert other["loss"] == pytest.approx(line["loss"], abs=2e-5)
        assert other["gradient_norm"] == pytest.approx(line["gradient_norm"], rel=1e-3)
    ours, theirs = weights(tmp_path / "run", 6), weights(whole_run, 6)
    for name in theirs:  # the bias of keys changes nothing: its gradient is rounding error, which Adam makes large
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(ours[name], theirs[name], atol=2e-5, rtol=1e-4, msg=name)


def test_when_the_machine_is_taken_away_then_it_saves_leaves_and_can_go_on(whole_run, tmp_path, monkeypatch):
    usual = RunLog.write

    def terminated(self, step, values):
        usual(self, step, values)
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    file = recipe(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunLog, "write", terminated)
        run_here(patch, file)
    assert sorted(path.name for path in (tmp_path / "run").glob("step-*"))[-1] == "step-00000003"
    assert not (tmp_path / "run" / "release").exists()
    run_here(monkeypatch, file)
    ours, theirs = weights(tmp_path / "run", 6), weights(whole_run, 6)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_when_the_world_changes_on_resume_then_the_schedules_are_those_saved(whole_run, tmp_path, monkeypatch):
    shutil.copytree(whole_run, tmp_path / "run")
    for step in (4, 6):
        shutil.rmtree(tmp_path / "run" / f"step-{step:08d}")
    file = recipe(tmp_path, max_steps=99, batch_size=4, schedules={"base_learning_rate": 9.0})  # would be other ones
    run_here(monkeypatch, file)
    for line, other in zip(log_of(whole_run), log_of(tmp_path / "run"), strict=True):
        for name in ("learning_rate", "weight_decay", "teacher_momentum", "teacher_temperature"):
            assert other[name] == line[name]


def test_phantoms_are_rendered_while_it_trains_and_mixed_by_weight(tmp_path, monkeypatch):
    data = [{"noise": 40, "weight": 3, "name": "noise"}, {"phantoms": {"group": 2}, "weight": 1, "name": "phantoms"}]
    run_here(monkeypatch, recipe(tmp_path, data=data, max_steps=2, save_every=1))
    streams = read_record(tmp_path / "run" / "step-00000002")["streams"]
    assert streams["noise"]["position"] == 2 * 6
    assert streams["phantoms"]["position"] == 2 * 2
    assert all(line["loss"] > 0 for line in log_of(tmp_path / "run"))


@pytest.mark.slow
def test_when_two_processes_go_on_from_one_then_the_steps_are_those_of_one(whole_run, tmp_path):
    shutil.copytree(whole_run, tmp_path / "run")
    for step in (4, 6):
        shutil.rmtree(tmp_path / "run" / f"step-{step:08d}")
    done = run(recipe(tmp_path), processes=2)
    assert done.returncode == 0, done.stderr[-3000:]
    for line, other in zip(log_of(whole_run), log_of(tmp_path / "run"), strict=True):
        assert other["learning_rate"] == line["learning_rate"]
        assert other["loss"] == pytest.approx(line["loss"], abs=2e-5)
    ours, theirs = weights(tmp_path / "run", 6), weights(whole_run, 6)
    for name in theirs:
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(ours[name], theirs[name], atol=2e-5, rtol=1e-4, msg=name)


def test_when_the_loss_is_not_a_number_then_it_stops_and_keeps_the_batch(tmp_path, monkeypatch):
    usual = DINOLoss.forward

    def broken(self, *args):
        loss, watched = usual(self, *args)
        broken.calls += 1
        return (loss * float("nan") if broken.calls == 3 else loss), watched

    broken.calls = 0
    monkeypatch.setattr(DINOLoss, "forward", broken)
    with pytest.raises(NonFiniteLossError, match="the loss is nan at step 2 .* lower learning_rate"):
        run_here(monkeypatch, recipe(tmp_path))
    batch = load_file(tmp_path / "run" / "nan-step-2-rank-0.safetensors")
    assert batch["image"].shape == (8, 224, 224)
    assert json.loads((tmp_path / "run" / "nan-step-2-rank-0.json").read_text())["step"] == 2
    assert sorted(path.name for path in (tmp_path / "run").glob("step-*")) == ["step-00000002"]


def test_when_batches_come_in_pieces_then_the_steps_are_the_same(whole_run, tmp_path, monkeypatch):
    run_here(monkeypatch, recipe(tmp_path, micro_batch=4, max_steps=2, save_every=1))
    run_here(monkeypatch, recipe(tmp_path / "whole", max_steps=2, save_every=1))
    ours, theirs = weights(tmp_path / "run", 2), weights(tmp_path / "whole" / "run", 2)
    for name in theirs:
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(ours[name], theirs[name], atol=2e-5, rtol=1e-4, msg=name)


def test_the_backbone_opens_as_a_model_and_is_the_teacher_s(whole_run):
    model = CMRViTModel.from_pretrained(whole_run / "release" / "backbone")
    teacher = load_file(whole_run / "step-00000006" / "teacher.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(value, teacher[f"backbone.{name}"])
    assert model.config.drop_path_rate == 0.0


def test_the_release_is_whole_and_without_pickle(whole_run):
    release = whole_run / "release"
    assert {path.suffix for path in release.rglob("*") if path.is_file()} == {".safetensors", ".json"}
    record = json.loads((release / "pretraining.json").read_text())
    assert record["step"] == 6
    assert record["arguments"]["out_dim"] == 24
    assert record["schedules"]["learning_rate"]["total_steps"] == 6
    assert {"image", "source", "view", "spacing_mm"} <= set(record["data_schema"]["columns"])
    student = load_file(release / "student.safetensors")
    assert any(name.startswith("head.last_layer") for name in student)
    moments = load_file(release / "optimizer.safetensors")
    trained = {name for name in student if not name.endswith("original0")}
    assert {name.removeprefix("exp_avg.") for name in moments if name.startswith("exp_avg.")} == trained
    assert moments["centre"].shape == (24,)


def test_when_a_release_is_continued_then_student_teacher_centre_and_moments_are_its(whole_run, tmp_path, monkeypatch):
    file = recipe(tmp_path, init_from=str(whole_run / "release"), backbone={}, max_steps=1, save_every=1)
    text = file.read_text().replace("base_learning_rate: 0.05", "base_learning_rate: 0.0")
    file.write_text(text)
    run_here(monkeypatch, file)
    ours, theirs = weights(tmp_path / "run", 1), weights(whole_run, 6)
    for name in theirs:
        if name.startswith("model."):
            assert torch.equal(ours[name], theirs[name]), name
    moments = load_file(tmp_path / "run" / "release" / "optimizer.safetensors")
    before = load_file(whole_run / "release" / "optimizer.safetensors")
    assert moments.keys() == before.keys()
    steps = {name for name in moments if name.startswith("step.") and ".last_layer." not in name}
    assert all(moments[name] == before[name] + 1 for name in steps)


def test_when_it_starts_from_a_transformers_vit_then_its_weights_are_taken(tmp_path, monkeypatch):
    config = ViTConfig(**BACKBONE)
    theirs = ViTModel(config)
    theirs.save_pretrained(tmp_path / "dino")
    file = recipe(tmp_path, init_from=str(tmp_path / "dino"), backbone={"drop_path_rate": 0.1}, max_steps=1)
    file.write_text(file.read_text().replace("base_learning_rate: 0.05", "base_learning_rate: 0.0"))
    run_here(monkeypatch, file)
    ours = CMRViTModel.from_pretrained(tmp_path / "run" / "release" / "backbone").eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = theirs.eval()(pixels).last_hidden_state
        torch.testing.assert_close(ours(pixels).last_hidden_state, expected, atol=1e-5, rtol=1e-5)


def test_when_lora_is_asked_for_then_only_additions_move_and_the_release_is_plain(whole_run, tmp_path, monkeypatch):
    pytest.importorskip("peft")
    start = whole_run / "release"
    run_here(monkeypatch, recipe(tmp_path, init_from=str(start), backbone={}, lora={"r": 2}, max_steps=3))
    before = load_file(start / "backbone" / "model.safetensors")
    after = load_file(tmp_path / "run" / "release" / "backbone" / "model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.endswith(("q_proj.weight", "v_proj.weight"))}


def test_when_activations_are_recomputed_then_the_weights_are_the_same(whole_run, tmp_path, monkeypatch):
    run_here(monkeypatch, recipe(tmp_path, gradient_checkpointing=True))
    ours, theirs = weights(tmp_path / "run", 2), weights(whole_run, 2)
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-5, rtol=1e-4, msg=name)


def test_bfloat16_trains_weights_of_float32_and_tensorboard_has_the_curves(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    run_here(monkeypatch, recipe(tmp_path, mixed_precision="bf16", trackers="tensorboard", max_steps=2))
    assert all(0 < line["loss"] < 10 for line in log_of(tmp_path / "run"))
    assert list((tmp_path / "run" / "pretrain").glob("events.*"))
    assert load_file(tmp_path / "run" / "release" / "teacher.safetensors")["head.mlp.0.weight"].dtype == torch.float32


@pytest.mark.slow
def test_when_it_is_compiled_then_the_weights_are_the_same(whole_run, tmp_path, monkeypatch):
    run_here(monkeypatch, recipe(tmp_path, compile=True, max_steps=6))
    ours, theirs = weights(tmp_path / "run", 2), weights(whole_run, 2)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(ours[name], theirs[name], atol=1e-3, rtol=1e-3, msg=name)
