"""Who says what a stack is: the model, the header beside it, and what becomes of disagreement."""

from cmr_hf.assessment.inference import Classes
from cmr_hf.assessment.recognition import recognise
from cmr_hf.assessment.sources import Opinion

HEADER = Opinion("cine", "4CH")


def test_when_model_and_header_agree_then_the_answer_is_the_model_s_and_sure():
    found = recognise(HEADER, Classes({"cine": 0.98, "LGE": 0.02}, 1.0), Classes({"4CH": 0.9, "SAX": 0.1}, 1.0))
    assert (found.kind, found.view.by, found.view.probability) == ("cine 4CH", "model", 0.9)
    assert not found.view.uncertain
    assert found.view.notes == ()


def test_when_model_and_header_differ_then_the_model_decides_and_it_is_shown():
    view = recognise(HEADER, None, Classes({"3CH": 0.95, "4CH": 0.05}, 1.0)).view
    assert (view.value, view.header, view.uncertain) == ("3CH", "4CH", True)
    assert view.notes == ("view: the model says 3CH (0.95), the header says 4CH",)


def test_when_the_model_is_not_sure_then_the_answer_is_uncertain():
    view = recognise(HEADER, None, Classes({"4CH": 0.5, "3CH": 0.3, "SAX": 0.2}, 0.5)).view
    assert view.uncertain
    assert "not sure" in view.notes[0]


def test_when_there_is_no_model_then_the_header_answers_and_is_uncertain_if_it_contradicts_itself():
    sure, torn = recognise(HEADER, None, None), recognise(Opinion("cine", "4CH", view_agreed=False), None, None)
    assert (sure.view.value, sure.view.by, sure.view.uncertain) == ("4CH", "header", False)
    assert "no model for views" in sure.view.notes[0]
    assert torn.view.uncertain


def test_when_nobody_knows_then_it_is_other_and_uncertain():
    found = recognise(Opinion(), None, None)
    assert (found.kind, found.view.by, found.view.uncertain) == ("other", "nobody", True)


def test_when_models_spell_classes_their_own_way_then_they_are_understood():
    found = recognise(Opinion(), Classes({"lge": 1.0}, 1.0), Classes({"Others": 0.8, "sax": 0.2}, 1.0))
    assert (found.image_type.value, found.view.value) == ("LGE", "other")


def test_when_images_are_those_that_a_map_is_made_of_then_they_are_no_map():
    kinds = [recognise(Opinion("T1", "SAX", post, is_map), None, None).kind for post, is_map in
             ((None, False), (None, True), (True, True))]  # fmt: skip
    assert kinds == ["T1 source SAX", "T1 SAX", "T1 post SAX"]


def test_a_header_is_outvoted_by_a_model_that_is_sure_and_outweighs_one_that_is_not():
    sure = recognise(HEADER, None, Classes({"3CH": 0.97, "2CH": 0.02, "4CH": 0.01}, 1.0)).view
    unsure = recognise(HEADER, None, Classes({"3CH": 0.6, "4CH": 0.3, "SAX": 0.1}, 0.6)).view
    assert (sure.value, sure.by, sure.uncertain) == ("3CH", "model", True)
    assert (unsure.value, unsure.by, unsure.uncertain) == ("4CH", "header", True)
    assert unsure.notes[0] == "view: the model says 3CH (0.60), the header says 4CH"
    torn = recognise(
        Opinion("cine", "4CH", view_agreed=False), None, Classes({"3CH": 0.6, "4CH": 0.1, "SAX": 0.3}, 1.0)
    )
    assert torn.view.value == "3CH"
