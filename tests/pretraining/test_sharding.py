"""Average, clipping, saving and loading where FSDP has the weights in shards, and a run of it from end to end."""

import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.pretraining.pretrain_factory import ROOT, environment, log_of, recipe, run_here


def launched(*words: str) -> str:
    """What `python -m …` printed, started where the repository is, with its tests at hand."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env=environment() | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=600,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_when_weights_are_in_shards_then_a_step_is_the_same():
    several = ("torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert "sharded step is the whole step" in launched(*several, "-m", "tests.pretraining.sharded_step")


def launch_sharded(file) -> None:
    """training/pretrain.py as `accelerate launch` starts it with our FSDP configuration, on two processes."""
    config = ROOT / "training" / "configs" / "accelerate_fsdp.yaml"
    options = [
        "--config_file",
        str(config),
        "--num_processes",
        "2",
        "--mixed_precision",
        "no",
        "--main_process_port",
        "0",
    ]
    launched("accelerate.commands.launch", *options, "training/pretrain.py", "--config", str(file))


@pytest.mark.slow
def test_when_a_run_is_in_shards_and_goes_on_then_it_is_the_run_of_one_process(tmp_path, monkeypatch):
    file = recipe(tmp_path, max_steps=4)
    launch_sharded(file)
    folder = tmp_path / "run"
    assert len(list((folder / "step-00000002" / "pytorch_model_fsdp_0").glob("*.distcp"))) == 2  # in shards indeed
    first = load_file(folder / "release" / "student.safetensors")
    shutil.rmtree(folder / "step-00000004")
    shutil.rmtree(folder / "release")
    launch_sharded(file)  # goes on from step 2
    again = load_file(folder / "release" / "student.safetensors")
    assert all(torch.equal(again[name], first[name]) for name in first)

    run_here(monkeypatch, recipe(tmp_path / "one", max_steps=4))
    whole = tmp_path / "one" / "run"
    for line, other in zip(log_of(whole), log_of(folder), strict=True):
        assert other["learning_rate"] == line["learning_rate"]
        assert other["loss"] == pytest.approx(line["loss"], abs=2e-5)
    for part in ("student", "teacher"):
        ours, theirs = (load_file(run / "release" / f"{part}.safetensors") for run in (folder, whole))
        assert ours.keys() == theirs.keys()
        for name in theirs:  # the bias of keys changes nothing: its gradient is rounding error, which Adam makes large
            if not name.endswith("k_proj.bias"):
                torch.testing.assert_close(ours[name], theirs[name], atol=2e-5, rtol=1e-4, msg=name)
    moments = [load_file(run / "release" / "optimizer.safetensors") for run in (folder, whole)]
    assert moments[0].keys() == moments[1].keys()
