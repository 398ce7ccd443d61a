"""The registry: what is embedded, what is given, what is switched off, and what is missing."""

import pytest

from cmr_hf.assessment import ROLES, Models
from cmr_hf.clinical.shape import ShapeClassifier
from cmr_hf.weights import known_names
from tests.model_factory import tiny_classifier, tiny_model, tiny_processor, tiny_segmenter


def saved(folder, model):
    model.save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


def test_when_nothing_is_given_then_embedded_models_are_found():
    assert Models().names() == [name for name in ROLES if name in known_names()]


def test_when_a_folder_is_given_then_it_is_opened_once_and_told_by_its_last_part(tmp_path):
    models = Models({"cine-view": saved(tmp_path / "mine", tiny_classifier())})
    one = models.load("cine-view")
    assert models.load("cine-view") is one
    assert models.about()["cine-view"]["model"] == "mine"
    assert str(tmp_path) not in str(models.about())


def test_when_encoders_are_equal_then_they_are_kept_once_and_marked(tmp_path):
    first, second, third = tiny_segmenter(), tiny_classifier(), tiny_classifier()
    second.backbone = first.backbone
    roles = dict(zip(("cine-sax", "cine-view", "image-type"), (first, second, third), strict=True))
    models = Models({name: saved(tmp_path / name, model) for name, model in roles.items()})
    sax, view, other = (models.load(name) for name in roles)
    assert sax.encoder == view.encoder != other.encoder
    assert sax.model.backbone is view.model.backbone is not other.model.backbone


def test_when_weights_change_then_the_digest_does(tmp_path):
    folder = saved(tmp_path / "mine", tiny_classifier())
    before = Models({"cine-view": folder}).digest("cine-view")
    assert Models({"cine-view": folder}).digest("cine-view") == before
    saved(folder, tiny_classifier())
    assert Models({"cine-view": folder}).digest("cine-view") != before


def test_when_a_role_has_no_model_then_the_sentence_says_so():
    models = Models({"cine-sax": None})
    assert "cine-sax" not in models
    assert models.why_missing("cine-sax") == "not measured: no model for short-axis cines: switched off"
    assert models.why_missing("disease") == 'not measured: no model for diseases ("disease")'


def test_when_names_or_folders_are_wrong_then_errors_name_them(tmp_path):
    with pytest.raises(ValueError, match="got sax"):
        Models({"sax": tmp_path})
    with pytest.raises(ValueError, match="config.json"):
        Models({"cine-sax": tmp_path})


def test_when_a_model_is_for_another_task_then_it_is_refused(tmp_path):
    models = Models({"cine-view": saved(tmp_path / "mine", tiny_model("cmr-lge-detection"))})
    with pytest.raises(ValueError, match="got one of cmr-lge-detection"):
        models.load("cine-view")


def test_diseases_by_shape_are_told_where_they_are_asked_for(tmp_path, monkeypatch):
    file = tmp_path / "disease-shape" / "classifier.json"
    monkeypatch.setattr("cmr_hf.assessment.models.SHAPE_CLASSIFIER", file)
    assert Models().shape is None
    assert "disease-by-shape" not in Models().about()
    file.parent.mkdir()
    one = ShapeClassifier(("NORM", "DCM"), ("lv_ef",), (0.5,), (0.1,), ((1.0,), (-1.0,)), (0.0, 0.0))
    one.save(file)
    assert Models().shape == one
    assert Models().about()["disease-by-shape"]["model"] == "disease-shape"
    assert Models({"disease": None}).shape is None
