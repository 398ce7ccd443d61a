import json
import re
import shutil

import pytest
from transformers import pipeline

from cmr_hf import cli
from cmr_hf.cli.classifying import TASKS
from cmr_hf.weights import embedded_names


@pytest.mark.parametrize("task", TASKS)
def test_classify_prints_and_writes_what_the_pipeline_says(task, stack, model_of, tmp_path, capsys):
    model, out = model_of(TASKS[task]), tmp_path / "new" / "classes.json"
    command = ["classify", str(stack), "--task", task, "--model", model, "--top-k", "2", "--out", str(out)]
    assert cli.main(command) == 0
    expected = pipeline(TASKS[task], model=model)(str(stack), top_k=2)
    content = json.loads(out.read_text())
    assert content["task"] == content["model"] == TASKS[task]
    (image,) = content["images"]
    assert image["source"] == stack.name
    assert [one["label"] for one in image["classes"]] == [one["label"] for one in expected]
    assert [one["score"] for one in image["classes"]] == pytest.approx([one["score"] for one in expected], abs=1e-5)
    printed = capsys.readouterr().out
    best = expected[0]
    assert re.search(rf"^{re.escape(stack.name)} +{best['label']} +{best['score']:.3f}$", printed, re.MULTILINE)
    assert printed.count("not a medical device") == 1
    assert "DOE" not in printed + out.read_text()


def test_when_no_file_is_asked_for_then_none_is_written(stack, model_of, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["classify", str(stack), "--task", "view", "--model", model_of(TASKS["view"])]) == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_spacing_changes_what_the_model_sees(stack, model_of, tmp_path):
    answers = []
    for spacing in ([], ["--spacing", "3", "0.9"]):
        out = tmp_path / "classes.json"
        command = ["classify", str(stack), "--task", "view", "--model", model_of(TASKS["view"]), "--out", str(out)]
        assert cli.main([*command, *spacing]) == 0
        answers.append(json.loads(out.read_text())["images"])
    assert answers[0] != answers[1]


def test_when_one_of_several_is_bad_then_the_rest_is_classified_and_the_exit_code_is_one(
    stack, broken, model_of, tmp_path, capsys
):
    out = tmp_path / "classes.json"
    paths = [str(broken), str(stack), str(tmp_path / "missing")]
    assert cli.main(["classify", *paths, "--task", "view", "--model", model_of(TASKS["view"]), "--out", str(out)]) == 1
    printed = capsys.readouterr()
    assert [image["source"] for image in json.loads(out.read_text())["images"]] == [stack.name]
    problems = [line for line in printed.err.splitlines() if line.startswith("error:")]
    assert ["notes.dcm" in problems[0], "missing" in problems[1], len(problems)] == [True, True, 2]
    assert "Traceback" not in printed.err


def test_when_a_stack_is_too_short_for_the_task_then_the_error_says_so(stack, model_of, capsys):
    import nibabel as nib

    nib.save(nib.load(stack).slicer[:, :, :2], stack)
    assert cli.main(["classify", str(stack), "--task", "lge", "--model", model_of(TASKS["lge"])]) == 1
    problem = capsys.readouterr().err
    assert "three slices or more" in problem
    assert "Traceback" not in problem


@pytest.mark.parametrize("task", TASKS)
def test_without_a_model_named_the_embedded_one_answers(task, stack, capsys):
    assert cli.main(["classify", str(stack), "--task", task]) == 0
    assert capsys.readouterr().out


@pytest.mark.skipif("cine-sax" not in embedded_names(), reason="no embedded weights in this checkout")
def test_when_the_model_has_no_head_for_the_task_then_it_is_refused(stack, capsys):
    assert cli.main(["classify", str(stack), "--task", "view", "--model", "cine-sax"]) == 2
    assert "CMRForSemanticSegmentation" in capsys.readouterr().err


def test_when_the_model_is_for_another_task_then_it_is_refused(stack, model_of, capsys):
    assert cli.main(["classify", str(stack), "--task", "lge", "--model", model_of(TASKS["view"])]) == 2
    assert "this model is for cmr-view-classification" in capsys.readouterr().err


def test_when_the_weights_are_damaged_then_one_line_says_so(stack, model_of, tmp_path, capsys):
    folder = shutil.copytree(model_of(TASKS["view"]), tmp_path / "model")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    assert cli.main(["classify", str(stack), "--task", "view", "--model", str(folder)]) == 1
    problem = capsys.readouterr().err
    assert "error: SafetensorError: " in problem
    assert "Traceback" not in problem


def test_when_the_model_is_of_another_kind_then_the_error_is_short(stack, tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert cli.main(["classify", str(stack), "--task", "view", "--model", str(tmp_path)]) == 2
    problem = capsys.readouterr().err
    assert "error: Could not load model" in problem
    assert "Traceback" not in problem


def test_when_out_cannot_be_written_then_it_is_said_before_the_model_is_loaded(stack, broken, capsys):
    out = broken / "below_a_file.json"
    assert cli.main(["classify", str(stack), "--task", "view", "--model", "/nowhere", "--out", str(out)]) == 1
    problem = capsys.readouterr().err
    assert "`--out` needs a place that can be written to" in problem
    assert "Traceback" not in problem


@pytest.mark.parametrize(
    "bad",
    [
        ["classify", "x"],
        ["classify", "x", "--task", "weather"],
        ["classify", "x", "--task", "view", "--top-k", "0"],
        ["classify", "x", "--task", "view", "--out", "answers.xlsx"],
    ],
)
def test_wrong_usage_exits_with_two(bad, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(bad)
    assert stopped.value.code == 2
