"""training/distill.py: a student follows its teacher, on labelled and on unlabelled images."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional as F

from cmr_hf.data.experiments import EXPERIMENTS
from cmr_hf.finetuning.distilling import DISTILLERS, distillation_loss
from cmr_hf.finetuning.models import HEADS
from tests.finetuning.mini_set import mini_recipe, write_mini_set

STUDENT = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("distill")
    table = write_mini_set(folder / "data")
    (folder / "base.yaml").write_text(yaml.safe_dump(mini_recipe(table)))
    for key in ("2", "3", "7", "9"):
        recipe = {"base": "base.yaml", "experiment": key, "output_dir": str(folder / "teacher" / key)}
        (folder / f"{key}.yaml").write_text(yaml.safe_dump(recipe))
        student = {
            "base": f"{key}.yaml",
            "teacher": str(folder / "teacher" / key / "best"),
            "model": {"backbone_config": STUDENT},
            "unlabelled_on": [] if key == "9" else [{"name": "table", "root": str(table)}],
            "output_dir": str(folder / "student" / key),
        }
        (folder / f"student_{key}.yaml").write_text(yaml.safe_dump(student))
    return folder


@pytest.fixture
def run(repo_root, monkeypatch, capsys):
    def run_script(name: str, *words: str | Path) -> str:
        script = repo_root / "training" / name
        monkeypatch.setattr(sys, "argv", [str(script), *map(str, words)])
        runpy.run_path(str(script), run_name="__main__")
        return capsys.readouterr().out

    return run_script


@pytest.mark.parametrize("key", ["2", "3", "7", "9"])
def test_a_small_student_is_distilled_for_every_kind_of_task(place, run, key):
    run("finetune.py", "--config", place / f"{key}.yaml", "max_steps=1")
    said = run("distill.py", "--config", place / f"student_{key}.yaml")
    best = place / "student" / key / "best"
    record = json.loads((best / "training.json").read_text())
    assert record["parameters"] < record["teacher_parameters"]
    assert (record["unlabelled"] > 0) is (key != "9")
    assert f"{record['labelled']} labelled and {record['unlabelled']} unlabelled images" in said
    assert record["validation"].keys() == record["teacher_validation"].keys()
    student = HEADS[EXPERIMENTS[key].kind].from_pretrained(best)
    assert student.config.task == EXPERIMENTS[key].task
    assert student.config.backbone_config.hidden_size == 16


def test_when_teacher_and_student_do_not_fit_then_it_raises(place, run):
    run("finetune.py", "--config", place / "2.yaml", "max_steps=1")
    with pytest.raises(ValueError, match="`teacher` needs a CMRForImageClassification with labels"):
        run("distill.py", "--config", place / "student_9.yaml", f"teacher={place / 'teacher' / '2' / 'best'}")
    with pytest.raises(ValueError, match="`teacher` needs the folder of a trained model"):
        run("distill.py", "--config", place / "student_2.yaml", "teacher=nowhere")
    unlabelled = f"unlabelled_on=[{{name: table, root: {place / 'data' / 'table.csv'}}}]"
    run("finetune.py", "--config", place / "9.yaml", "max_steps=1")
    with pytest.raises(ValueError, match="`unlabelled_on` is not for detection"):
        run("distill.py", "--config", place / "student_9.yaml", unlabelled)


def test_the_loss_is_the_divergence_of_the_softened_answers():
    student, teacher = torch.randn(2, 5, 3, 4), torch.randn(2, 5, 3, 4)
    p, q = (teacher / 3).softmax(1).double(), (student / 3).softmax(1).double()
    expected = 9 * (p * (p / q).log()).sum(1).mean()
    assert distillation_loss(student, teacher, 3.0).item() == pytest.approx(expected.item(), rel=1e-4)
    assert distillation_loss(teacher, teacher, 3.0).item() == pytest.approx(0.0, abs=1e-6)


class Fixed(torch.nn.Module):
    """A model whose logits are its parameter."""

    def __init__(self, logits: torch.Tensor):
        super().__init__()
        self.logits = torch.nn.Parameter(logits.clone())

    def forward(self, pixel_values=None, labels=None):
        from transformers.modeling_outputs import ImageClassifierOutput

        loss = None if labels is None else F.cross_entropy(self.logits, labels)
        return ImageClassifierOutput(loss=loss, logits=self.logits)


@pytest.mark.parametrize("labels", [[-100, -100], [-100, 1]])
def test_images_without_a_label_teach_by_the_teachers_answer_alone(labels):
    """`loss_of` without the rest of a Trainer."""
    distiller = DISTILLERS["classification"].__new__(DISTILLERS["classification"])
    distiller.teacher, distiller.temperature, distiller.teacher_weight = (
        Fixed(torch.tensor([[3.0, 0], [0, 3]])),
        2.0,
        0.5,
    )
    student = Fixed(torch.zeros(2, 2))
    loss, _ = distiller.loss_of(student, {"pixel_values": torch.zeros(2), "labels": torch.tensor(labels)})
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.logits.grad).all()
    assert student.logits.grad[0, 0] < 0 < student.logits.grad[0, 1]  # towards the teacher's first class
