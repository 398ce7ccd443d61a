"""training/probe.py as a user runs it on a run in miniature."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from cmr_hf.data.shards import Record, ShardWriter
from cmr_hf.pretraining.backbones import save_backbone
from tests.pretraining.pretrain_factory import tiny_student


@pytest.fixture
def probe(repo_root: Path):
    return runpy.run_path(str(repo_root / "training" / "probe.py"), run_name="probe")["main"]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    with ShardWriter(tmp_path / "shards", unit="test") as writer:
        for number in range(48):
            picture = rng.integers(0, 120, (64, 64)).astype(np.uint8)
            picture[:32] += 80 * (number % 2)
            view, side = ("SAX", "4CH")[number % 2], ("train", "validation")[number // 2 % 2]
            writer.add(picture, Record(source="phantoms", view=view, side=side))
    return tmp_path / "shards"


def test_a_run_is_probed_step_by_step_and_only_new_steps_when_it_runs_again(probe, shards, tmp_path, capsys):
    run = tmp_path / "run"
    save_backbone(run / "step-00000002" / "backbone", tiny_student().backbone)
    arguments = ["--run", str(run), "--shards", str(shards), "--side", "32", "--seeds", "2"]
    probe(arguments)
    assert "| view | phantoms → other hearts | 4CH, SAX | 24 → 24 | 50 |" in capsys.readouterr().out
    file = run / "probes" / "probes.json"
    first = json.loads(file.read_text())
    assert list(first["backbones"]) == ["2"]
    save_backbone(run / "step-00000004" / "backbone", tiny_student().backbone)
    probe(arguments)
    second = json.loads(file.read_text())
    assert list(second["backbones"]) == ["2", "4"]
    assert second["backbones"]["2"] == first["backbones"]["2"]
    assert second["baselines"] == first["baselines"]
    assert (run / "probes" / "probes.md").read_text().startswith("Backbone 4, 48 images.")
    assert (run / "probes" / "curves.png").stat().st_size > 1000


def test_when_nothing_is_named_then_it_says_what_to_give(probe, tmp_path, capsys):
    with pytest.raises(SystemExit):
        probe(["--shards", str(tmp_path)])
    assert "--run or --backbones is needed" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="save_every"):
        probe(["--shards", str(tmp_path), "--run", str(tmp_path)])
