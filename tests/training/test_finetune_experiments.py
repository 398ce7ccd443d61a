"""All eleven experiments with every arm, on miniature data: they train, choose, save, go on and open in a pipeline."""

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
from transformers import pipeline

from cmr_hf.data.experiments import EXPERIMENTS
from cmr_hf.data.own_set import read_own_set
from cmr_hf.finetuning.models import HEADS
from tests.finetuning.mini_set import mini_recipe, write_encoders, write_mini_set

# arm → key and folder of its weights; random ones are tried with freezing, LoRA and the other options below
ARMS = {"CMR-DINO": ("vit", "dino"), "ImageNet-DINO": ("vit", "imagenet"), "ResNet": ("resnet", "resnet")}
HEAD_TYPES = {"2": "classification", "3": "segmentation", "7": "landmarks"}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with the miniature set, tiny encoders and one recipe for each experiment."""
    folder = tmp_path_factory.mktemp("experiments")
    table = write_mini_set(folder / "data")
    write_encoders(folder)
    (folder / "base.yaml").write_text(yaml.safe_dump(mini_recipe(table)))
    for key in EXPERIMENTS:
        recipe = {"base": "base.yaml", "experiment": key, "output_dir": str(folder / "runs" / key)}
        (folder / f"{key}.yaml").write_text(yaml.safe_dump(recipe))
    return folder


@pytest.fixture
def run(repo_root, monkeypatch, capsys):
    """Runs the script in this process; gives what it printed."""
    script = repo_root / "training" / "finetune.py"

    def run_script(*words: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, words)])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    return run_script


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def moved(folder: Path) -> tuple[set[str], set[str]]:
    """Names of what changed between the first and the second step, and of what did not."""
    early, late = weights(folder / "checkpoint-1"), weights(folder / "checkpoint-2")
    assert early.keys() == late.keys()
    changed = {name for name in early if not torch.equal(early[name], late[name])}
    return changed, set(early) - changed


def without_gradient(name: str) -> bool:
    return name.endswith("k_proj.bias")  # a softmax does not see it: test_segmentation_model_cmr.py


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("key", EXPERIMENTS)
def test_every_experiment_trains_with_every_arm(place, run, key, arm):
    name, weights_of_arm = ARMS[arm]
    output = place / "runs" / f"{key}_{arm}"
    run("--config", place / f"{key}.yaml", f"arm={name}", f"init_from={place / weights_of_arm}", f"output_dir={output}")

    record = json.loads((output / "best" / "training.json").read_text())
    assert (record["steps"], record["experiment"], record["arm"]) == (2, key, name)
    assert record["train_patients"] == [f"table p{number}" for number in range(4)]
    assert record["validation_patients"] == ["table p4", "table p5"]
    kind = EXPERIMENTS[key].kind
    measured = record["validation"]
    assert {"segmentation": "eval_dice", "landmarks": "eval_distance_mm"}.get(
        kind, "eval_balanced_accuracy"
    ) in measured
    model = HEADS[kind].from_pretrained(output / "best")
    assert model.config.id2label == EXPERIMENTS[key].id2label
    assert model.config.task == EXPERIMENTS[key].task
    changed, still = moved(output)
    assert changed
    assert not {name for name in still if not without_gradient(name) and "num_batches" not in name}


@pytest.mark.parametrize("key", ["2", "4", "7", "9"])
@pytest.mark.parametrize("arm", ["CMR-DINO", "ResNet"])
def test_a_frozen_encoder_stays_as_it_was_and_the_head_moves(place, run, key, arm):
    name, source = ARMS[arm]
    output = place / "runs" / f"{key}_{arm}_frozen"
    said = run(
        "--config", place / f"{key}.yaml", f"arm={name}", f"init_from={place / source}", "freeze=encoder",
        f"output_dir={output}",
    )  # fmt: skip
    assert "M trained" in said
    changed, still = moved(output)
    assert changed
    assert all(not name.startswith("backbone.") for name in changed)
    assert all(name.startswith("backbone.") for name in still)
    before, after = weights(place / source), weights(output / "best")
    shared = [name for name in after if name.removeprefix("backbone.") in before]
    assert len(shared) > 5
    assert all(torch.equal(after[name], before[name.removeprefix("backbone.")]) for name in shared)


@pytest.mark.parametrize("key", ["2", "3"])
def test_lora_trains_low_rank_matrices_and_leaves_a_plain_model(place, run, key):
    output = place / "runs" / f"{key}_lora"
    run(
        "--config", place / f"{key}.yaml", f"init_from={place / 'dino'}", "lora={r: 2}", "load_best_model_at_end=true",
        "save_steps=2", f"output_dir={output}",
    )  # fmt: skip
    merged, start = weights(output / "best"), weights(place / "dino")
    trained = weights(output / "checkpoint-2")
    assert any("lora_B" in name for name in trained)
    assert not any("lora" in name or "base_layer" in name for name in merged)
    for name, tensor in start.items():
        same = torch.equal(tensor, merged[f"backbone.{name}"])
        assert same is not name.endswith(("q_proj.weight", "v_proj.weight")), name
    report = HEADS[EXPERIMENTS[key].kind].from_pretrained(output / "best", output_loading_info=True)[1]
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_two_processes_train_each_head_and_one_goes_on(place, run, repo_root):
    """One launch for all, as heads on a shared frozen encoder are trained; then two more steps in one process."""
    output = place / "together"
    configs = [word for key in HEAD_TYPES for word in ("--config", str(place / f"{key}.yaml"))]
    options = [f"init_from={place / 'dino'}", "freeze=encoder", f"output_dir={output}"]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    script = str(repo_root / "training" / "finetune.py")
    done = subprocess.run(
        [sys.executable, *launch, script, *configs, *options],
        env=os.environ | {"PYTHONPATH": str(repo_root / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    together = json.loads((output / "together.json").read_text())
    assert list(together) == list(HEAD_TYPES)
    assert {record["processes"] for record in together.values()} == {2}
    assert len({record["encoder_sha256"] for record in together.values()}) == 1

    said = run(*configs, *options, "max_steps=4")
    assert said.count("done in") == 3
    for key in HEAD_TYPES:
        state = json.loads((output / key / "checkpoint-4" / "trainer_state.json").read_text())
        assert [entry["step"] for entry in state["log_history"] if "loss" in entry] == [1, 2, 3, 4]
        early, late = (weights(output / key / f"checkpoint-{step}") for step in (2, 4))
        assert 0 < max((early[name] - late[name]).abs().max().item() for name in early) < 0.1
    again = json.loads((output / "together.json").read_text())
    assert again["2"]["processes"] == 1
    assert again["2"]["encoder_sha256"] == together["2"]["encoder_sha256"]


def test_options_of_training_work_together(place, run):
    output = place / "runs" / "options"
    run(
        "--config", place / "1.yaml", "balance=true", "layer_decay=0.5", "early_stopping=1", "bf16=true",
        "max_steps=40", "eval_steps=1", "load_best_model_at_end=true", "learning_rate=0.0",
        "augmentation.gibbs=1.0", "augmentation.motion=1.0", f"output_dir={output}",
    )  # fmt: skip
    record = json.loads((output / "best" / "training.json").read_text())
    assert record["steps"] == 2  # the second evaluation is no better than the first
    assert record["best_checkpoint"].endswith("checkpoint-1")


def test_own_files_are_fine_tuned_by_one_command_and_the_result_opens_in_a_pipeline(place, run):
    run("--config", place / "2.yaml", f"output_dir={place / 'mine'}")
    views = pipeline("cmr-view-classification", model=str(place / "mine" / "best"))
    answers = views(str(place / "data" / "p5" / "4ch.nii.gz"))
    assert {answer["label"] for answer in answers} == set(EXPERIMENTS["2"].classes)
    assert sum(answer["score"] for answer in answers) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ValueError, match="cmr-view-classification"):
        pipeline("cmr-lge-detection", model=str(place / "mine" / "best"))(str(place / "data" / "p5" / "lge.nii.gz"))


@pytest.mark.parametrize(("key", "source"), [("3", "ed"), ("7", "ed"), ("8B", "lge")])
def test_every_head_opens_in_its_pipeline(place, run, key, source):
    output = place / "runs" / f"{key}_opened"
    run("--config", place / f"{key}.yaml", f"output_dir={output}", "max_steps=1")
    answer = pipeline(EXPERIMENTS[key].task, model=str(output / "best"))(
        str(place / "data" / "p5" / f"{source}.nii.gz")
    )
    if key == "3":
        assert (
            answer["segmentation"].shape[-2:]
            == next(read_own_set(place / "data" / "table.csv", ["p5"])).images.shape[-2:]
        )
    else:
        assert answer


def test_weights_that_cannot_be_reached_are_said_to_be_not_measured(place, run):
    output = place / "runs" / "unreached"
    said = run("--config", place / "2.yaml", "arm=resnet", "init_from=nobody/resnet-of-tests", f"output_dir={output}")
    assert "not measured: the weights nobody/resnet-of-tests cannot be reached" in said
    assert "not measured" in json.loads((output / "not_measured.json").read_text())["not_measured"]
    assert not (output / "best").exists()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["init_from=./nowhere/at/all"], "`init_from` needs a folder that exists"),
        (["arm=resnet", "init_from={place}/dino"], "of arm resnet needs an encoder of"),
        (["init_from={place}/resnet"], "of arm vit needs an encoder of"),
        (["arm=unet"], "`arm` unet segments only"),
        (["freeze=head"], "`freeze` must be encoder"),
        (["layer_decay=0"], "`layer_decay` must lie in"),
        (["experiment=10"], "`experiment` must be one of"),
        (["train_on=[{name: emidec}]"], "`train_on` needs a root for emidec"),
        (["processor.spacing_mm=2.0"], "`processor` needs pixels of 1 mm"),
        (["max_step=2"], "max_step"),
        (["max_steps"], "an override needs the form key=value"),
    ],
)
def test_when_an_argument_is_wrong_then_it_raises_before_training(place, run, overrides, says):
    given = [one.replace("{place}", str(place)) for one in overrides]
    with pytest.raises(ValueError, match=says):
        run("--config", place / "2.yaml", f"output_dir={place / 'none'}", *given)


@pytest.mark.parametrize(("key", "option"), [("3", "balance=true"), ("7", "augmentation.mirror=0.5")])
def test_when_an_option_does_not_suit_the_task_then_it_raises(place, run, key, option):
    with pytest.raises(ValueError, match="mirror landmarks|`balance` needs a task with classes"):
        run("--config", place / f"{key}.yaml", option, f"output_dir={place / 'none'}")


def test_when_a_patient_is_on_both_sides_then_it_raises(place, run):
    phantoms = "[{name: phantoms, hearts: 1, first_seed: 5, series: [lge_4ch]}]"
    with pytest.raises(ValueError, match="a patient may be on one side only"):
        run(
            "--config",
            place / "1.yaml",
            f"train_on={phantoms}",
            f"choose_on={phantoms}",
            f"output_dir={place / 'none'}",
        )
