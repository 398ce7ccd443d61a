"""Heads beside the segmentation: insertion points, diseases and late enhancement, on the images they are for."""

from dataclasses import replace

import numpy as np
import torch

from cmr_hf.assessment import Subject, assess_study
from cmr_hf.assessment.asking import Pixels
from cmr_hf.assessment.measuring import measure_lge_sax
from cmr_hf.assessment.recognition import recognise
from cmr_hf.assessment.results import StackAssessment
from cmr_hf.assessment.sources import Opinion, Source, Study
from cmr_hf.assessment.steps import best, share_masks, turn_of
from cmr_hf.hub.modeling_cmr import LandmarkDetectorOutput
from tests.assessment.study_factory import (
    GREY,
    GivenModels,
    cine_labels,
    decided,
    loaded,
    names,
    painted,
    randomised,
    tiny_config,
)
from tests.clinical.heart_factory import affine_of, ideal_heart

from cmr_hf import CMRForLandmarkDetection, CMRImageProcessor  # isort: skip


def source(number, labels, stack, opinion, **about):
    pixels = np.vectorize(GREY.get)(labels).astype(np.float32)
    return Source(number, labels.shape, stack, lambda: pixels, f"digest {number}", opinion, **about)


def study(*sources):
    return Study(sources, len(sources))


class PointingLocator(CMRForLandmarkDetection):
    """Puts both landmarks where it is told, in pixels of the processed image."""

    places = ((20.0, 30.0), (50.0, 30.0))

    def forward(self, pixel_values, encoder_outputs=None, **kwargs):
        self.encode(pixel_values, encoder_outputs)
        row, column = torch.meshgrid(torch.arange(80.0), torch.arange(80.0), indexing="ij")
        maps = [12 - ((row - y) ** 2 + (column - x) ** 2) / 18 for y, x in self.places]
        return LandmarkDetectorOutput(logits=torch.stack(maps)[None].expand(len(pixel_values), -1, -1, -1))


def pointing(encoder):
    config = tiny_config(**names(("anterior insertion", "inferior insertion")), landmark_sigma=3.0)
    model = randomised(PointingLocator(config))
    return loaded("rv-insertion", model, encoder, CMRImageProcessor(size=80, spacing_mm=1.5, percentile=100.0))


def cine(phases=8):
    labels, stack = cine_labels(phases)
    return source(1, labels, stack, Opinion("cine", "SAX"), cycle_ms=800.0)


def test_when_landmarks_have_their_own_encoder_then_ed_and_es_are_searched_and_points_lie_where_they_are():
    made = assess_study(study(cine()), GivenModels(painted(), pointing("other")))
    found = made.stacks[0].to_dict()["landmarks"]
    ed, es = made.stacks[0].measured.ed, made.stacks[0].measured.es
    assert {one["phase"] for one in found} == {ed, es}
    assert len(found) == 2 * 8 * 2
    np.testing.assert_allclose([one["pixel"] for one in found[:2]], [[20, 30], [50, 30]], atol=0.3)
    stack = made.stacks[0].source.stack
    np.testing.assert_allclose(found[0]["patient_mm"], stack.to_patient(0, np.array([20.0, 30.0])), atol=0.5)
    assert made.stacks[0].measured.segments["ED"].references[2] == "both insertion points"
    assert made.images_seen == 8 * 8 + 2 * 8


def test_when_landmarks_share_the_encoder_then_one_pass_gives_all_phases():
    made = assess_study(study(cine()), GivenModels(painted(), pointing("one")))
    assert made.images_seen == 8 * 8
    assert made.stacks[0].landmarks.phases == tuple(range(8))
    assert made.stacks[0].measured.segments["ED"].references[2] == "both insertion points"


def test_when_there_are_detectors_then_they_see_three_images_of_the_right_stacks():
    late, stack, _ = ideal_heart(8, affine_of(spacing_mm=(1.5, 1.5)), cap=False)
    lge = source(2, late[None], stack, Opinion("LGE", "SAX"))
    given = GivenModels(painted(), decided("disease", ("MINF", "NORM")), decided("lge-detection", ("present", "none")))
    made = assess_study(study(cine(), lge), given, Subject(), pixels=Pixels())
    assert made.classes["disease"].best == "MINF"
    assert made.stacks[1].measured.classes["lge"].best == "present"
    assert made.images_seen == 8 * 8 + 2
    assert made.stacks[1].not_measured[0] == 'not measured: no model for short-axis late enhancement ("lge-sax")'


def test_when_a_stack_has_too_few_slices_then_detection_is_refused_with_its_reason():
    late, stack, _ = ideal_heart(2, affine_of(spacing_mm=(1.5, 1.5)), cap=False)
    lge = source(1, late[None], stack, Opinion("LGE", "SAX"))
    made = assess_study(study(lge), GivenModels(decided("lge-detection", ("present", "none"))))
    assert "not measured: the presence of late enhancement needs three slices" in made.stacks[0].not_measured


def test_when_type_and_view_models_contradict_the_header_then_they_decide_and_it_is_shown():
    given = GivenModels(decided("image-type", ("cine", "LGE")), decided("cine-view", ("2CH", "SAX")))
    stack = assess_study(study(cine()), given).stacks[0]
    assert stack.kind == "cine 2CH"
    assert stack.recognition.view.uncertain
    assert any("the model says 2CH" in note and "the header says SAX" in note for note in stack.notes)
    assert "not segmented: nothing here segments cine 2CH" in stack.not_measured


def test_when_slices_have_no_place_then_masks_are_drawn_but_nothing_is_measured():
    labels, stack = cine_labels(5)
    made = assess_study(study(source(1, labels, stack, Opinion("cine", "SAX"), placed=False)), GivenModels(painted()))
    assert made.stacks[0].labels is not None
    assert made.measures == {}
    assert any("do not place the slices" in one for one in made.stacks[0].not_measured)


def test_when_scar_is_bright_then_late_enhancement_is_measured_in_grams_and_percent():
    labels, stack, _ = ideal_heart(8, affine_of(spacing_mm=(1.5, 1.5)), cap=False)
    pixels = np.vectorize(GREY.get)(labels).astype(np.float32)[None]
    scar = (labels == 2) & (np.arange(80)[None, None, :] > 50)
    rng = np.random.default_rng(0)
    shown = np.where(scar[None], 900, np.where(labels[None] == 2, 200 + 20 * rng.standard_normal(pixels.shape), pixels))
    bright = Source(2, shown.shape, stack, lambda: shown.astype(np.float32), "bright", Opinion("LGE", "SAX"))
    made = measure_lge_sax(bright, shown, labels[None], None, None, "stack 2")
    grams = scar.sum() * 1.5 * 1.5 * 10 / 1000 * 1.05
    assert abs(made.measures["lge_5sd_mass"].value - grams) < 0.15 * grams
    assert made.measures["lge_5sd_percent"].value < 40


def test_only_four_chamber_stacks_with_a_place_are_laid_upright():
    place = np.diag([-1.4, -1.4, 1.0, 1.0])[None]
    assert turn_of("cine-4ch", place).flipped == (-2, -1)
    assert not turn_of("cine-sax", place)
    assert not turn_of("cine-4ch", None)


def test_of_two_four_chamber_views_the_one_whose_headers_agree_is_believed_though_it_has_the_lower_number():
    labels, stack = cine_labels(8)
    views = [Opinion("cine", "4CH"), Opinion("cine", "4CH", view_agreed=False)]
    stacks = [
        StackAssessment(source(k, labels, stack, one), recognise(one, None, None)) for k, one in enumerate(views, 1)
    ]
    assert best(stacks) is None  # neither has masks
    for one in stacks:
        one.labels = labels
    assert best(stacks).number == 1
    assert best(stacks[::-1]).number == 1


def test_figures_of_a_stack_that_may_show_another_view_say_so():
    views = ("4CH", "SAX", "2CH", "3CH", "aorta", "other", "LVOT", "RVOT")  # so many that the header wins
    wrong = assess_study(study(cine()), GivenModels(painted(), decided("cine-view", views)))
    right = assess_study(study(cine()), GivenModels(painted(), decided("cine-view", ("SAX", "4CH"))))
    assert wrong.stack("cine SAX") is not None
    notes = [note for note in wrong.measures["lv_edv"].notes if "may show another view" in note]
    assert notes == ["stack 1 may show another view: " + wrong.stacks[0].recognition.view.notes[0]]
    assert not any("another view" in note for note in right.measures["lv_edv"].notes)


def enhanced(number, labels, stack, chance, **about):
    """A stack of late enhancement whose model gave what it drew one probability."""
    one = Opinion("LGE", "SAX")
    made = StackAssessment(source(number, labels, stack, one, **about), recognise(one, None, None))
    made.labels, made.masks_from = labels, "model"
    made.chances = {k: np.full(labels.shape, round(255 * chance), np.uint8) for k in (1, 2, 3)}
    return made


def test_magnitude_and_psir_of_one_grid_share_the_masks_that_the_model_is_surer_of():
    labels, stack = cine_labels(1)
    poor = np.where(labels == 2, 0, labels).astype(np.uint8)
    sure, unsure = enhanced(1, labels, stack, 0.95), enhanced(2, poor, stack, 0.80)
    share_masks([sure, unsure])
    np.testing.assert_array_equal(unsure.labels, labels)
    np.testing.assert_array_equal(sure.labels, labels)
    assert unsure.notes == ["the masks are those of stack 1, on the same grid: 0.95 there, 0.80 here"]
    assert sure.notes == []
    alike = enhanced(3, poor, stack, 0.94)
    share_masks([sure, alike])
    np.testing.assert_array_equal(alike.labels, poor)  # no surer to speak of


def test_masks_of_another_place_are_not_shared():
    labels, stack = cine_labels(1)
    moved = replace(stack, affines=stack.affines + np.array([0, 0, 0, 2.0]) * np.eye(4)[0][:, None])
    poor = np.where(labels == 2, 0, labels).astype(np.uint8)
    unsure = enhanced(2, poor, moved, 0.80)
    share_masks([enhanced(1, labels, stack, 0.95), unsure])
    np.testing.assert_array_equal(unsure.labels, poor)


def test_of_two_stacks_alike_the_one_with_the_surer_masks_is_believed_whatever_its_number():
    labels, stack = cine_labels(1)
    assert best([enhanced(1, labels, stack, 0.95), enhanced(2, labels, stack, 0.80)]).number == 1
    assert best([enhanced(1, labels, stack, 0.95), enhanced(2, labels, stack, 0.945)]).number == 2
