"""training/fewshot.py on miniature data: linear layers and decoders on frozen encoders, restarted without loss."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from tests.finetuning.mini_set import mini_recipe, write_encoders, write_mini_set


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fewshot")
    recipe = mini_recipe(write_mini_set(folder / "data"))
    encoders = write_encoders(folder)
    for key in ("2", "6", "7"):
        (folder / f"{key}.yaml").write_text(yaml.safe_dump(recipe | {"experiment": key}))
        few = {
            "recipe": f"{key}.yaml",
            "arms": {
                "CMR-DINO": {"init_from": str(encoders["dino"])},
                "ResNet": {"arm": "resnet"},
                "ImageNet": {"init_from": "nobody/vit-of-tests"},
            },
            "shots": [1, 2, 64, 128],
            "seeds": 2,
            "decoder": {"steps": 2, "batch_size": 2},
            "output_dir": str(folder / f"out_{key}"),
        }
        (folder / f"fewshot_{key}.yaml").write_text(yaml.safe_dump(few))
    return folder


@pytest.fixture
def run(repo_root, monkeypatch, capsys):
    script = repo_root / "training" / "fewshot.py"

    def run_script(*words: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, words)])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    return run_script


@pytest.mark.parametrize(
    ("key", "metric", "most"), [("2", "balanced_accuracy", 24), ("6", "dice", 8), ("7", "distance_mm", 24)]
)
def test_every_kind_of_task_gives_a_curve_for_each_arm(place, run, key, metric, most):
    said = run("--config", place / f"fewshot_{key}.yaml")
    out = place / f"out_{key}"
    results = json.loads((out / "results.json").read_text())
    assert list(results["not_measured"]) == ["ImageNet"]
    assert "ImageNet: not measured" in said
    summary = results["summary"]
    assert {(row["arm"], row["shots"]) for row in summary} == {
        (arm, shots) for arm in ("CMR-DINO", "ResNet") for shots in (1, 2, 64)
    }
    assert f"more than {most} samples: 64 shots are the most" in said
    assert all(row["seeds"] == 2 and row["metric"] == metric and row["mean"] >= 0 for row in summary)
    assert (out / "fewshot.png").stat().st_size > 1000


def test_it_goes_on_where_it_stopped_and_does_nothing_twice(place, run):
    run("--config", place / "fewshot_2.yaml")
    lines = place / "out_2" / "runs.jsonl"
    whole = lines.read_text().splitlines()
    assert len(whole) == 12
    lines.write_text("\n".join(whole[:7]) + "\n")
    run("--config", place / "fewshot_2.yaml")
    again = lines.read_text().splitlines()
    assert again[:7] == whole[:7]
    assert sorted(again) == sorted(whole)  # and the same draws give the same numbers
    with pytest.raises(ValueError, match="holds results of another side"):
        run("--config", place / "fewshot_2.yaml", "side=test")
