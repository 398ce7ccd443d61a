"""Which model a pipeline takes; what the landmark and the feature pipelines say beyond the model's answer."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import Pipeline, pipeline

import cmr_hf
from cmr_hf import CMRViTModel, read_image
from cmr_hf.registration import DEFAULTS
from tests.dicom_factory import OBLIQUE, write_slice
from tests.model_factory import TASKS, randomised, tiny_encoder, tiny_model, tiny_processor, tiny_segmenter
from tests.source_factory import SPACING, scan, write_cine_folder

SPACED = {"spacing_mm": SPACING}
HEADS = [task for task in TASKS if task != "cmr-feature-extraction"]


def pipe_of(task: str, **options) -> Pipeline:
    return pipeline(task, model=tiny_model(task, **options), image_processor=tiny_processor())


def saved(model, folder):
    model.save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


# Which model


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_answers_offline_without_a_model_named(task):
    made = pipeline(task)
    assert Path(made.model.name_or_path).name == DEFAULTS[task]
    count = 3 if task in ("cmr-lge-detection", "cmr-disease-detection") else 1
    images = np.random.default_rng(0).random((count, 90, 80), dtype=np.float32)
    assert len(made(images if count == 3 else images[0], spacing_mm=(1.4, 1.4)))


def test_a_model_of_another_task_gives_its_features():
    features = pipeline("cmr-feature-extraction", model=cmr_hf.embedded("cine-sax"))(scan(40, 40), **SPACED)
    assert features.shape == (5 * 192,)


@pytest.mark.parametrize("task", HEADS)
def test_when_the_model_is_for_another_task_then_the_pipeline_refuses_it(task):
    model = tiny_model(task)
    for other in HEADS:
        model.config.task = other
        if other == task:
            assert pipeline(task, model=model, image_processor=tiny_processor()).model is model
            continue
        with pytest.raises(ValueError, match=f"this model is for {other}, not for {task}: name a model of this task"):
            pipeline(task, model=model, image_processor=tiny_processor())


@pytest.mark.parametrize("task", [task for task in HEADS if task != "cmr-segmentation"])
def test_when_the_weights_have_another_head_then_the_pipeline_refuses_a_random_one(task, tmp_path):
    folder = saved(tiny_segmenter(), tmp_path)
    with pytest.raises(
        ValueError, match=f"weights are of CMRForSemanticSegmentation, without the head that {task} needs"
    ):
        pipeline(task, model=str(folder))


@pytest.mark.parametrize("task", TASKS)
def test_a_saved_model_of_the_task_opens_by_its_folder(task, tmp_path):
    model = tiny_model(task)
    folder = saved(model, tmp_path)
    image = scan(3, 40, 36) if "detection" in task else scan(40, 36)
    pipe = pipeline(task, model=str(folder))
    assert type(pipe.model) is type(model)
    assert pipe.model.config.task == task
    assert all(torch.equal(pipe.model.state_dict()[name], value) for name, value in model.state_dict().items())
    assert pipe.image_processor.to_dict() == tiny_processor().to_dict()
    mine = pipeline(task, model=model, image_processor=tiny_processor())(image, **SPACED)
    assert len(pipe(image, **SPACED)) == len(mine)


def numbers_in(answer) -> np.ndarray:
    """All scores, points and features of an answer, in its order."""
    if isinstance(answer, np.ndarray):
        return answer.ravel()
    if isinstance(answer, dict):
        return answer["probabilities"].ravel()
    return np.array([one["score"] for one in sorted(answer, key=lambda one: one["label"])])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("decoder", ["hybrid", "unet"])
@pytest.mark.parametrize("task", TASKS)
def test_a_model_in_halves_answers_nearly_as_in_float32(task, decoder, dtype):
    stack = scan(3, 40, 36)
    options = SPACED | ({"return_probabilities": True} if task == "cmr-segmentation" else {})
    pipe = pipe_of(task, decoder_type=decoder)
    whole = numbers_in(pipe(stack, **options))
    pipe.model.to(dtype)
    halves = numbers_in(pipe(stack, **options))
    assert halves.dtype == whole.dtype
    assert np.abs(halves - whole).mean() < 0.02 * max(1.0, np.abs(whole).max())


@pytest.mark.parametrize("task", TASKS)
def test_batch_size_does_not_change_the_answer(task):
    sources = [{"image": scan(3, 40, 36), **SPACED}, {"image": scan(3, 50, 30), **SPACED}]
    options = {"return_probabilities": True} if task == "cmr-segmentation" else {}
    pipe = pipe_of(task)
    for one, five in zip(pipe(sources, batch_size=1, **options), pipe(sources, batch_size=5, **options), strict=True):
        np.testing.assert_allclose(numbers_in(one), numbers_in(five), atol=1e-4)


# Features


@pytest.mark.parametrize("decoder", ["hybrid", "unet"])
@pytest.mark.parametrize("task", TASKS)
def test_features_come_from_any_model(task, decoder):
    model, stack = tiny_model(task, decoder), scan(3, 40, 36)
    features = pipeline("cmr-feature-extraction", model=model, image_processor=tiny_processor())(stack, **SPACED)
    pixel_values = tiny_processor()(stack, **SPACED)["pixel_values"]
    with torch.no_grad():
        expected = model.backbone.image_features(model.backbone(pixel_values, output_hidden_states=True))
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, expected.numpy())
    assert features.shape == (3, 32 if decoder == "unet" else 5 * 32)


def test_features_come_from_a_bare_encoder_too():
    encoder = randomised(CMRViTModel(tiny_encoder()))
    extract = pipeline("cmr-feature-extraction", model=encoder, image_processor=tiny_processor())
    assert extract(scan(2, 40, 36), **SPACED).shape == (2, 3 * 32)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
@pytest.mark.parametrize(
    ("kind", "shape"), [("image", (160,)), ("cls", (32,)), ("patches", (8, 8, 32)), (None, (160,))]
)
def test_features_keep_the_leading_axes_of_the_source(lead, kind, shape):
    extract = pipe_of("cmr-feature-extraction")
    features = extract(scan(*lead, 40, 36), kind=kind, **SPACED)
    assert features.shape == (*lead, *shape)
    if lead:  # each at its own place
        last = extract(scan(*lead, 40, 36)[(-1,) * len(lead)], kind=kind, **SPACED)
        np.testing.assert_allclose(features[(-1,) * len(lead)], last, atol=1e-5)


def test_patches_lie_where_their_pixels_are():
    extract = pipe_of("cmr-feature-extraction")
    tokens = extract(scan(128, 128), kind="patches", spacing_mm=(1.0, 1.0))
    pixel_values = tiny_processor()(scan(128, 128), spacing_mm=(1.0, 1.0))["pixel_values"]
    with torch.no_grad():
        given = extract.model(pixel_values).last_hidden_state[0]
    for row, column in [(0, 0), (2, 7), (7, 2)]:
        np.testing.assert_array_equal(tokens[row, column], given[1 + 8 * row + column].numpy())
    np.testing.assert_array_equal(extract(scan(128, 128), kind="cls", spacing_mm=(1.0, 1.0)), given[0].numpy())


def test_a_resnet_gives_its_last_map_but_no_class_token():
    extract = pipe_of("cmr-feature-extraction", decoder_type="unet")
    patches, vector = (extract(scan(40, 36), kind=kind, **SPACED) for kind in ("patches", "image"))
    assert patches.shape == (2, 2, 32)
    np.testing.assert_allclose(patches.mean((0, 1)), vector, atol=1e-6)
    with pytest.raises(ValueError, match=r"a ResNet has no \[CLS\] token: ask for kind='image' or 'patches'"):
        extract(scan(40, 36), kind="cls", **SPACED)


def test_the_kind_of_the_pipeline_holds_until_a_call_asks_for_another():
    extract = pipeline(
        "cmr-feature-extraction",
        model=tiny_model("cmr-feature-extraction"),
        image_processor=tiny_processor(),
        kind="cls",
    )
    assert extract(scan(40, 36), **SPACED).shape == (32,)
    assert extract(scan(40, 36), kind="image", **SPACED).shape == (160,)
    with pytest.raises(ValueError, match="`kind` must be one of image, cls, patches, got 'mean'"):
        extract(scan(40, 36), kind="mean", **SPACED)
    with pytest.raises(TypeError, match="it takes spacing_mm, kind and batch_size"):
        extract(scan(40, 36), layer=3)


# Landmarks


def test_landmarks_lie_in_patient_space_where_their_pixel_does(tmp_path):
    pipe = pipe_of("cmr-landmark-detection")
    folder = write_cine_folder(tmp_path / "cine", scan(2, 3, 50, 46))
    affine = read_image(folder).affine
    found = pipe(folder)
    assert [(one["phase"], one["slice"], one["label"]) for one in found] == [
        (phase, k, label) for phase in range(2) for k in range(3) for label in ("anterior", "inferior")
    ]
    for one in found:
        row, column = one["pixel"]
        np.testing.assert_allclose(one["patient_mm"], (affine @ [column, row, one["slice"], 1.0])[:3])
        assert 0 <= one["score"] <= 1
        assert -0.5 <= row <= 49.5
        assert -0.5 <= column <= 45.5
        assert all(type(value) is float for value in (*one["pixel"], *one["patient_mm"], one["score"]))


def test_a_landmark_of_one_oblique_slice_lies_in_its_plane(tmp_path):
    pipe, origin = pipe_of("cmr-landmark-detection"), np.array([12.0, -34.0, 56.0])
    path = write_slice(
        tmp_path / "one.dcm",
        scan(50, 46).astype(np.uint16),
        PixelSpacing=list(SPACING),
        ImageOrientationPatient=OBLIQUE.tolist(),
        ImagePositionPatient=origin.tolist(),
    )
    for one in pipe(path):
        row, column = one["pixel"]
        by_hand = origin + column * SPACING[1] * OBLIQUE[:3] + row * SPACING[0] * OBLIQUE[3:]
        np.testing.assert_allclose(one["patient_mm"], by_hand, atol=1e-6)


def test_without_patient_space_a_landmark_has_its_pixel_alone():
    pipe = pipe_of("cmr-landmark-detection")
    for shape, places in [((50, 46), [(0, 0)]), ((2, 50, 46), [(0, 0), (0, 1)])]:
        found = pipe(scan(*shape), **SPACED)
        assert [(one["phase"], one["slice"]) for one in found[::2]] == places
        assert {one["patient_mm"] for one in found} == {None}


def test_landmarks_below_the_threshold_are_left_out():
    pipe = pipe_of("cmr-landmark-detection")
    whole = pipe(scan(4, 50, 46), **SPACED)
    middle = sorted(one["score"] for one in whole)[len(whole) // 2]
    kept = pipe(scan(4, 50, 46), threshold=middle, **SPACED)
    assert 0 < len(kept) < len(whole)
    assert kept == [one for one in whole if one["score"] >= middle]
    assert pipe(scan(4, 50, 46), threshold=1.1, **SPACED) == []
