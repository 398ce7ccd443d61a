"""Images through the models: in batches over all stacks, one pass of an encoder for all its heads."""

import numpy as np
import pytest
import torch

from cmr_hf.assessment.inference import Classes, Masks, Points, Request, answers, passes
from cmr_hf.hub.pipeline_cmr_segmentation import CMRSegmentationPipeline
from tests.assessment.study_factory import loaded
from tests.model_factory import names, tiny_classifier, tiny_locator, tiny_processor, tiny_segmenter


def images_of(count, seed=0, size=(40, 52)):
    return np.random.default_rng(seed).uniform(0, 900, (count, *size)).astype(np.float32)


def request(key, count, roles, seed=0, size=(40, 52)):
    return Request(key, lambda: images_of(count, seed, size), count, (2.0, 1.8), roles)


def three_heads():
    """A segmenter, a classifier and a landmark finder on one encoder."""
    models = [tiny_segmenter(), tiny_classifier(), tiny_locator()]
    for model in models[1:]:
        model.backbone = models[0].backbone
    roles = ("cine-sax", "cine-view", "rv-insertion")
    return [loaded(role, model) for role, model in zip(roles, models, strict=True)]


def counted(model):
    """How many images an encoder sees, batch by batch."""
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    return seen


def test_when_heads_share_an_encoder_then_each_image_passes_it_once_and_batches_span_stacks():
    models = three_heads()
    seen = counted(models[0].model)
    roles = tuple(one.name for one in models)
    requests = [request("1", 3, roles), request("2", 4, roles, 1, (44, 40)), request("3", 2, roles[:1], 2)]
    got = {(one.key, role): answer for one, role, answer in answers(requests, models, batch_size=4)}
    assert seen == [4, 4, 1]
    assert passes(requests, models) == 9
    assert set(got) == {(key, role) for key in "12" for role in roles} | {("3", "cine-sax")}
    assert got["2", "cine-sax"].labels.shape == (4, 44, 40)
    assert isinstance(got["1", "cine-view"], Classes)
    assert isinstance(got["1", "rv-insertion"], Points)


def test_when_batches_are_shared_then_the_masks_are_those_of_the_pipeline():
    model = tiny_segmenter()
    pipe = CMRSegmentationPipeline(model=model, image_processor=tiny_processor())
    requests = [request("1", 3, ("cine-sax",)), request("2", 4, ("cine-sax",), 1)]
    got = {one.key: answer for one, _, answer in answers(requests, [loaded("cine-sax", model)], 5)}
    expected = pipe({"image": images_of(4, 1), "spacing_mm": (2.0, 1.8)}, return_probabilities=True)
    assert isinstance(got["2"], Masks)
    assert (got["2"].labels == expected["segmentation"]).mean() > 0.999
    assert np.abs(got["2"].chances[1] / 255 - expected["probabilities"][1]).max() < 0.01


def test_when_encoders_differ_then_each_model_answers_with_its_own():
    torch.manual_seed(1)
    models = [loaded("cine-sax", tiny_segmenter(), "a"), loaded("cine-view", tiny_classifier(), "b")]
    asked = [request("1", 2, ("cine-sax", "cine-view"))]
    alone = [answer for one in models for _, _, answer in answers(asked, [one])]
    both = {role: answer for _, role, answer in answers(asked, models)}
    assert passes(asked, models) == 4
    np.testing.assert_array_equal(both["cine-sax"].labels, alone[0].labels)
    assert both["cine-view"].scores == pytest.approx(alone[1].scores, abs=1e-5)


def test_when_one_stack_cannot_be_read_then_the_others_are_answered():
    def broken():
        raise OSError("damaged")

    failures = []
    asked = [
        request("1", 2, ("cine-sax",)),
        Request("2", broken, 3, (2.0, 2.0), ("cine-sax",)),
        request("3", 2, ("cine-sax",)),
    ]
    got = list(
        answers(asked, [loaded("cine-sax", tiny_segmenter())], failed=lambda one, error: failures.append(one.key))
    )
    assert [one.key for one, _, _ in got] == ["1", "3"]
    assert failures == ["2"]


def test_when_nobody_takes_failures_then_the_error_is_raised():
    asked = [Request("1", lambda: images_of(2), 5, (2.0, 2.0), ("cine-sax",))]
    with pytest.raises(ValueError, match="got 5 for 2"):
        list(answers(asked, [loaded("cine-sax", tiny_segmenter())]))


def test_when_a_model_numbers_its_classes_its_own_way_then_labels_are_the_package_s():
    own = names(("background", "LV cavity", "myocardium", "LA", "RA"))
    model = loaded("cine-4ch", tiny_segmenter(**own, single_component_labels=[3]))
    answer = next(iter(answers([request("1", 1, ("cine-4ch",))], [model])))[2]
    assert set(answer.chances) == {1, 2, 4, 5}
    assert answer.single == (4,)
    assert set(np.unique(answer.labels)) <= {0, 1, 2, 4, 5}


def test_when_a_class_has_no_number_in_the_package_then_it_is_refused():
    model = loaded("cine-4ch", tiny_segmenter(**names(("background", "liver"))))
    with pytest.raises(ValueError, match="liver"):
        list(answers([request("1", 1, ("cine-4ch",))], [model]))
