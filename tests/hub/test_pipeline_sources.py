"""Every pipeline takes every source, and answers as the model does by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Pipeline, pipeline

from cmr_hf import CMRImage, read_image
from tests.answers import ask, open_source, plain
from tests.model_factory import TASKS, tiny_model, tiny_processor
from tests.source_factory import DETECTION, PHASES, SLICES, SOURCES, every_source, heart

BATCH = 8  # what the pipelines take by default


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict]]:
    return every_source(tmp_path_factory.mktemp("sources"), tuple(TASKS))


@pytest.fixture(scope="module")
def pipe_for() -> Callable[[str], Pipeline]:
    """The pipeline of a task with a tiny model, one for all tests."""
    made: dict[str, Pipeline] = {}

    def find(task: str) -> Pipeline:
        if task not in made:
            torch.manual_seed(0)
            made[task] = pipeline(task, model=tiny_model(task), image_processor=tiny_processor())
        return made[task]

    return find


def seen(task: str, image: CMRImage) -> np.ndarray:
    """What the model is to see of `heart()`, from the rules as the pipelines' texts tell them."""
    if task not in DETECTION:
        return image.pixels.reshape(-1, *image.pixels.shape[-2:])  # 12 slices: fewer than the 16 that are looked at
    if image.source == "images":
        return image.pixels[None]
    from_apex = image.kind == "dicom"  # oblique, from apex to base
    if task == "cmr-lge-detection":
        return image.pixels[0][[3, 2, 0] if from_apex else [0, 1, 3]][None]
    return image.pixels[:, 2 if from_apex else 1][None]  # 3 phases: ED, half-way, ES


def finished(task: str, pipe: Pipeline, image: CMRImage, given: torch.Tensor) -> Any:
    """The answer from what the model gave for one image."""
    names, processor = pipe.model.config.id2label, pipe.image_processor
    lead, size = image.pixels.shape[:-2], image.pixels.shape[-2:]
    if task == "cmr-feature-extraction":
        return given.numpy().reshape(*lead, -1)
    if task == "cmr-segmentation":
        labels, _ = processor.segment(given, size, image.spacing_mm)
        return labels.numpy().reshape(image.pixels.shape)
    if task == "cmr-landmark-detection":
        points, scores = processor.find_landmarks(given, size, image.spacing_mm, pipe.model.config.landmark_sigma)
        places = [(t, z) for t in range(lead[0]) for z in range(lead[1])] if lead else [(0, 0)]
        return [
            (names[label], *place, tuple(points[index, label].tolist()), scores[index, label].item())
            for index, place in enumerate(places)
            for label in range(2)
        ]
    chances = given.softmax(dim=-1).mean(dim=0)
    return [{"label": names[i], "score": float(chances[i])} for i in np.argsort(-chances.numpy(), kind="stable")]


def by_hand(task: str, pipe: Pipeline, images: list[CMRImage]) -> list:
    """Processor and model called as a user would, on the batches that the pipeline makes."""
    parts = [
        pipe.image_processor(part, spacing_mm=image.spacing_mm, stack_channels=part.ndim == 4)["pixel_values"]
        for image, part in ((image, seen(task, image)) for image in images)
    ]
    with torch.inference_mode():
        given = []
        for batch in torch.cat(parts).split(BATCH):
            if task == "cmr-feature-extraction":
                given.append(pipe.model.image_features(pipe.model(batch, output_hidden_states=True)))
            else:
                given.append(pipe.model(batch).logits)
    each = torch.cat(given).split([len(part) for part in parts])
    return [finished(task, pipe, image, answer) for image, answer in zip(images, each, strict=True)]


def essence(task: str, answer: Any) -> Any:
    """The part of a pipeline's answer that comes from the model."""
    if task == "cmr-segmentation":
        return answer["segmentation"]
    if task == "cmr-landmark-detection":
        return [(one["label"], one["phase"], one["slice"], one["pixel"], one["score"]) for one in answer]
    return answer


def read(source: Any, spacing_mm: Any) -> CMRImage:
    if isinstance(source, dict) and "images" in source:
        images = [read_image(item, spacing_mm=spacing_mm) for item in source["images"]]
        pixels = np.concatenate([image.pixels.reshape(1, *image.pixels.shape[-2:]) for image in images])
        return CMRImage(pixels, images[0].spacing_mm, None, None, "images", "array")
    return read_image(source, spacing_mm=spacing_mm)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("task", TASKS)
def test_a_pipeline_answers_as_its_model_does_by_hand(task, source, sources, pipe_for):
    pipe, given = pipe_for(task), sources[task][source]
    opened, spacing = open_source(given["recipe"]), given["options"].get("spacing_mm")
    several = isinstance(opened, list)
    expected = by_hand(task, pipe, [read(one, spacing) for one in (opened if several else [opened])])
    answer = pipe(opened, **given["options"])
    found = [essence(task, one) for one in (answer if several else [answer])]
    assert plain(found) == plain(expected)
    assert ask(pipe, given) == plain(answer)  # and again


@pytest.mark.parametrize("task", TASKS)
def test_one_heart_in_several_forms_gets_one_answer(task, sources, pipe_for):
    pipe = pipe_for(task)
    answers = {name: ask(pipe, sources[task][name]) for name in ("array", "dict", "list", "DICOM folder", "NIfTI")}
    answers["multi-frame DICOM"] = ask(pipe, sources[task]["multi-frame DICOM"])
    assert answers["dict"] == answers["array"]
    assert answers["DICOM folder"]
    # geometry tells them apart: compare what the pixels say
    assert strip(answers["multi-frame DICOM"]) == strip(answers["DICOM folder"])
    assert strip(answers["NIfTI"]) == strip(answers["array"])
    if task not in DETECTION:
        assert strip(answers["DICOM folder"]) == strip(answers["array"])


def strip(answer: Any) -> Any:
    if isinstance(answer, list):
        return [strip(item) for item in answer]
    places = ("patient_mm", "affine", "slice_distance_mm", "left_out")
    return {key: value for key, value in answer.items() if key not in places}


def test_the_three_pictures_of_a_heart_are_those_that_its_cine_is_seen_by(sources, pipe_for):
    pipe, cine = pipe_for("cmr-disease-detection"), heart()
    whole = pipe(cine, spacing_mm=(1.75, 2.25))
    three = pipe({"images": [cine[phase, 1] for phase in range(PHASES)], "spacing_mm": (1.75, 2.25)})
    assert whole == three == pipe(cine[:, 1][None], spacing_mm=(1.75, 2.25))
    assert cine.shape[:2] == (PHASES, SLICES)
