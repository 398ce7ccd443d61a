"""Each head as it goes to the Hub: its export opens with this package and from a bare transformers, for every source.

The bare side is one process for all tasks, with an empty HF_HOME, no network, a closed stdin, and `cmr_hf` forbidden.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, pipeline

from cmr_hf.publishing import export
from cmr_hf.publishing.export import HEADS
from tests import answers
from tests.model_factory import TASKS, names, randomised, tiny_classifier, tiny_config, tiny_model, tiny_processor
from tests.publishing.closure import closure
from tests.publishing.processes import SECONDS, environment
from tests.source_factory import SOURCES, every_source, scan

OVER_RESNET = ("cmr-image-type-classification", "cmr-landmark-detection")  # the others have a ViT
DATA = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """task → the folder of a tiny model of it."""
    folders = {}
    for task in TASKS:
        torch.manual_seed(0)
        model = tiny_model(task, "unet" if task in OVER_RESNET else "hybrid")
        folders[task] = export(model, tmp_path_factory.mktemp("exported") / task, image_processor=tiny_processor())
    return folders


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict]]:
    return every_source(tmp_path_factory.mktemp("sources"), tuple(TASKS))


@pytest.fixture(scope="module")
def bare(exported, sources, tmp_path_factory) -> Iterator[Callable[[], dict]]:
    """Starts the process at once, and gives what it wrote when asked."""
    folder = tmp_path_factory.mktemp("bare")
    job = {"models": {task: str(path) for task, path in exported.items()}, "sources": sources}
    (folder / "job.json").write_text(json.dumps(job | {"out": str(folder / "answers.json")}), encoding="utf-8")
    with (folder / "errors.txt").open("w") as errors:
        running = subprocess.Popen(
            [sys.executable, answers.__file__, str(folder / "job.json")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=folder,
            env=environment(folder, needs_package=False),
        )

    def finished() -> dict:
        assert running.wait(timeout=SECONDS) == 0, (folder / "errors.txt").read_text()[-4000:]
        return json.loads((folder / "answers.json").read_text(encoding="utf-8"))

    yield finished
    running.kill()
    running.wait()


@pytest.fixture(scope="module")
def installed(exported, sources, bare) -> Iterator[Callable[[str, str], dict]]:
    """The answer of the installed package to a source; one thread, as in the other process."""
    threads, pipes = torch.get_num_threads(), {}
    torch.set_num_threads(1)

    def answer(task: str, source: str) -> dict:
        if task not in pipes:
            pipes[task] = pipeline(task, model=str(exported[task]))
            assert type(pipes[task]).__module__.startswith("cmr_hf.")
        return answers.ask(pipes[task], sources[task][source])

    yield answer
    torch.set_num_threads(threads)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("task", TASKS)
def test_a_bare_transformers_answers_as_the_package_to_the_bit(task, source, installed, bare):
    expected = installed(task, source)
    assert bare()["answers"][task][source] == json.loads(json.dumps(expected))


def test_a_bare_transformers_runs_the_code_beside_the_weights(bare):
    modules = bare()["modules"]
    assert len(modules) == 6 * len(TASKS)
    assert {module.partition(".")[0] for module in modules} == {"transformers_modules"}


@pytest.mark.parametrize("task", TASKS)
def test_every_export_gives_features_in_both_ways(task, exported, sources, bare, installed):
    extract = pipeline("cmr-feature-extraction", model=str(exported[task]))
    found = answers.ask(extract, sources["cmr-feature-extraction"]["array"])
    assert found["shape"] == [3, 4, 32 if task in OVER_RESNET else 5 * 32]
    assert bare()["features"][task] == found


@pytest.mark.parametrize("task", TASKS)
def test_an_export_holds_the_code_of_its_task_and_of_the_features_and_no_other(task, exported):
    own = f"pipeline_{task.replace('-', '_')}"
    needed = closure(
        "configuration_cmr", "modeling_cmr", "image_processing_cmr", own, "pipeline_cmr_feature_extraction"
    )
    assert {path.name for path in exported[task].iterdir()} == DATA | needed
    pipelines = {name for name in needed if name.startswith("pipeline_")}
    assert pipelines == {f"{own}.py", "pipeline_cmr_feature_extraction.py"}


@pytest.mark.parametrize("task", TASKS)
def test_the_config_of_an_export_names_both_pipelines_and_what_opens_them(task, exported):
    config = json.loads((exported[task] / "config.json").read_text(encoding="utf-8"))
    kind = TASKS[task][0].__name__
    auto_class = HEADS[kind][0]
    assert config["task"] == task
    assert config["architectures"] == [kind]
    assert config["auto_map"] == {
        "AutoConfig": "configuration_cmr.CMRConfig",
        "AutoModel": "modeling_cmr.CMRModel",
        auto_class: f"modeling_cmr.{kind}",
    }
    assert set(config["custom_pipelines"]) == {task, "cmr-feature-extraction"}
    assert config["custom_pipelines"]["cmr-feature-extraction"]["pt"] == ["AutoModel"]
    assert config["custom_pipelines"][task]["pt"] == [auto_class]
    for entry in config["custom_pipelines"].values():
        module, name = entry["impl"].split(".")
        assert f"class {name}(" in (exported[task] / f"{module}.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("task", TASKS)
def test_the_card_of_an_export_names_its_task_and_classes(task, exported):
    card = (exported[task] / "README.md").read_text(encoding="utf-8")
    assert f'pipeline("{task}"' in card
    labels = TASKS[task][1]
    assert ("classes: " + ", ".join(labels) in card) if labels else ("classes" not in card)


def test_the_weights_of_a_resnet_keep_their_running_statistics(exported):
    model = AutoModel.from_pretrained(exported["cmr-landmark-detection"])
    torch.manual_seed(0)
    mine = tiny_model("cmr-landmark-detection", "unet").backbone.state_dict()
    assert any(name.endswith("running_var") for name in mine)
    assert all(torch.equal(model.backbone.state_dict()[name], value) for name, value in mine.items())


# Which task an export is for


def config_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("task", [None, "cmr-segmentation", "cmr-feature-extraction", "cmr-typo"])
def test_when_a_classifier_has_no_task_of_its_own_then_the_error_lists_them(task, tmp_path):
    model = tiny_classifier(task=task)
    with pytest.raises(
        ValueError, match=f"cmr-view-classification.*cmr-disease-detection, got {task}: set model.config.task"
    ):
        export(model, tmp_path / "out", image_processor=tiny_processor())
    assert not list(tmp_path.iterdir())


def test_the_task_of_a_classifier_is_that_of_its_pipeline(tmp_path):
    pipe = pipeline("cmr-lge-detection", model=tiny_classifier(labels=2), image_processor=tiny_processor())
    folder = export(pipe, tmp_path / "out")
    assert config_of(folder)["task"] == "cmr-lge-detection"
    assert pipe.model.config.task is None  # what is in memory stays as it is
    again = pipeline("cmr-lge-detection", model=str(folder))
    stack = scan(5, 40, 36)
    assert [one["label"] for one in again(stack, spacing_mm=(1.5, 1.5))] == [
        one["label"] for one in pipe(stack, spacing_mm=(1.5, 1.5))
    ]
    with pytest.raises(ValueError, match="this model is for cmr-lge-detection, not for cmr-view-classification"):
        pipeline("cmr-view-classification", model=str(folder))


def test_an_encoder_out_of_another_export_is_exported_for_features(exported, tmp_path):
    encoder = AutoModel.from_pretrained(exported["cmr-segmentation"])
    assert encoder.config.task == "cmr-segmentation"
    folder = export(encoder, tmp_path / "out")
    config = config_of(folder)
    assert config["task"] == "cmr-feature-extraction"
    assert config["architectures"] == ["CMRModel"]
    assert set(config["custom_pipelines"]) == {"cmr-feature-extraction"}
    extract = pipeline("cmr-feature-extraction", model=str(folder))
    assert extract(scan(40, 36), spacing_mm=(1.5, 1.5)).shape == (160,)
    with pytest.raises(ValueError, match="this model is for cmr-feature-extraction, not for cmr-segmentation"):
        pipeline("cmr-segmentation", model=str(folder))


@pytest.mark.parametrize("task", ["cmr-segmentation", "cmr-lge-detection"])
def test_when_a_model_with_a_head_is_exported_from_the_feature_pipeline_then_it_keeps_its_task(task, tmp_path):
    pipe = pipeline("cmr-feature-extraction", model=tiny_model(task), image_processor=tiny_processor())
    assert config_of(export(pipe, tmp_path / "out"))["task"] == task


def test_labels_and_fields_of_the_config_survive(tmp_path):
    fields = names(("vorn", "hinten")) | {"landmark_sigma": 2.5, "task": "cmr-landmark-detection"}
    model = randomised(TASKS["cmr-landmark-detection"][0](tiny_config(**fields)))
    folder = export(model, tmp_path / "out", image_processor=tiny_processor(), dtype=torch.float16)
    opened = pipeline("cmr-landmark-detection", model=str(folder)).model
    assert opened.config.landmark_sigma == 2.5
    assert opened.config.id2label == {0: "vorn", 1: "hinten"}
    assert opened.dtype == torch.float32
