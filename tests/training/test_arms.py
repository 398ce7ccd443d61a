"""training/arms.py: short runs and few-shot curves on one page, whose words stay."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from cmr_hf.evaluation import rendering
from cmr_hf.evaluation.cases import Measurement
from cmr_hf.evaluation.tables import build

DINO, RANDOM, RESNET = (f"{name} (short run)" for name in ("CMR-DINO ViT", "random ViT", "random ResNet-18"))
WORDS = "# Arms\n\nWords.\n\n<!-- arms -->\nold\n<!-- end of arms -->\n\nMore.\n"


def detection(arm: str, right: str) -> Measurement:
    rows = [
        {"source": "emidec", "patient": str(number), "case": "0", "truth": "none", "right": int(digit)}
        | {"predicted": "none" if digit == "1" else "present"}
        for number, digit in enumerate(right)
    ]
    about = {"datasets": ["emidec"], "data": "public substitute", "side": "test", "classes": ["none", "present"]}
    return Measurement("classification", arm, "8B", rows, about)


@pytest.fixture
def write(repo_root, monkeypatch, tmp_path):
    script = str(repo_root / "training" / "arms.py")
    measured = [(DINO, "1111111101"), (RANDOM, "0000111100"), (RESNET, "1111111111"), ("CMR-DINO ViT", "1010101010")]
    rendering.write(build(detection(arm, right) for arm, right in measured), tmp_path)

    def run(text: str, *words: str) -> str:
        (tmp_path / "arms.md").write_text(text, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", [script, "--docs", str(tmp_path), *words])
        runpy.run_path(script, run_name="__main__")
        return (tmp_path / "arms.md").read_text(encoding="utf-8")

    return run


def test_short_runs_stand_beside_each_other_with_what_pretraining_gained(write):
    text = write(WORDS)
    assert text.startswith("# Arms\n\nWords.")
    assert text.endswith("More.\n")
    assert "old" not in text
    head, _, total, mean = [line for line in text.splitlines() if line.startswith("|")]
    assert "| CMR-DINO ViT | random ViT | random ResNet-18 | DINO − random | p |" in head
    assert "| 8B LGE detection | total | accuracy | 0.900 [" in total
    assert "| +0.500 [" in total
    assert "| mean of classes |" in mean
    assert "| – | – |" in mean  # a mean of classes has no test
    assert "0.500 [" not in total.split("|")[4]  # the arm of other set-ups has no column
    assert write(text) == text


def test_few_shot_results_come_with_their_figure_and_what_was_not_measured(write, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    summary = [
        {"arm": "DINO", "shots": shots, "mean": 0.5 + shots / 100, "sd": 0.02, "seeds": 3, "metric": "accuracy"}
        for shots in (1, 4)
    ]
    curve = {"title": "views", "summary": summary, "not_measured": {"ImageNet": "out of reach"}}
    (folder / "results.json").write_text(json.dumps(curve))
    (folder / "fewshot.png").write_bytes(b"a picture")
    text = write(f"{WORDS}<!-- views -->\n<!-- end of views -->\n", "--fewshot", f"views={folder}")
    assert "| arm | 1 | 4 |" in text
    assert "| DINO | 0.51 (0.02) | 0.54 (0.02) |" in text
    assert "| ImageNet | not measured | not measured |" in text
    assert "![views](fewshot_views.png)" in text
    assert (tmp_path / "fewshot_views.png").read_bytes() == b"a picture"


def test_a_page_without_marks_is_refused(write):
    with pytest.raises(ValueError, match="needs the marks <!-- arms -->"):
        write("# Arms\n")


def test_the_page_of_the_project_has_the_tables_of_its_results(repo_root):
    docs: Path = repo_root / "docs"
    arms = runpy.run_path(str(repo_root / "training" / "arms.py"))
    results = json.loads((docs / "results.json").read_text(encoding="utf-8"))
    curves = {path.stem[8:]: json.loads(path.read_text()) for path in sorted(docs.glob("fewshot_*.json"))}
    text = (docs / "arms.md").read_text(encoding="utf-8")
    assert arms["page"](text, results, curves) == text, "write it again: python training/arms.py"
