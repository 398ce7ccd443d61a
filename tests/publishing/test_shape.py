"""The classifier of shapes on the Hub: prepared, pushed, checked, one of the family; and the blocks of its card."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard, constants

from cmr_hf.cli import main
from cmr_hf.clinical.shape import FEATURES, ShapeClassifier
from cmr_hf.publishing import Words, prepare, publish, publish_family
from cmr_hf.publishing.checking import NotAsPushedError, check_pushed
from cmr_hf.publishing.measured import notes, numbers
from cmr_hf.publishing.shape import FILE, TASK
from tests.hub_server import WRITER

REPO = "ORG/cmr-disease-shape"
ROOT = Path(__file__).resolve().parents[2]
NAMES = tuple(FEATURES)


def of_patients(what: str, value: float, patients: int, side: str = "out of fold") -> dict:
    leaf = {"mean": value, "sd": None, "n": patients, "low": value - 0.1, "high": value + 0.1}
    return {"dataset": "acdc", "side": side, "patients": patients, "notes": [what], "accuracy": {"total": leaf}}


RESULTS = {
    "training": {"strength": 3.0, "by_strength": {"1": 0.71, "3": 0.82}, "masks": "masks drawn by hand"},
    "hand_masks": of_patients("drawn masks", 0.81, 50),
    "other_masks": of_patients("masks of five models", 0.62, 50),
    "test": of_patients("masks of one model", 0.73, 10, "test"),
}


def classifier(scale: float = 1.0, licence: str = "cc-by-nc-sa-4.0") -> ShapeClassifier:
    rng = np.random.default_rng(0)
    weight = tuple(tuple(row) for row in (scale * rng.normal(size=(3, len(NAMES)))).round(4).tolist())
    return ShapeClassifier(
        ("NORM", "DCM", "HCM"), NAMES, (0.5,) * len(NAMES), (0.2,) * len(NAMES), weight, (0.1, 0.0, -0.1), licence
    )


@pytest.fixture
def fitted(tmp_path: Path) -> Path:
    """A classifier as `training/fit_shape.py` and the package leave it."""
    folder = tmp_path / "disease-shape"
    folder.mkdir()
    classifier().save(folder / FILE)
    (folder / "results.json").write_text(json.dumps(RESULTS), encoding="utf-8")
    (folder / "LICENSE").write_text("CC BY-NC-SA 4.0", encoding="utf-8")
    return folder


def test_the_export_holds_numbers_licence_results_and_card(fitted, tmp_path):
    made = prepare(fitted, REPO, tmp_path / "out")
    assert made.task == TASK
    assert set(made.files) == {"LICENSE", "README.md", FILE, "results.json"}
    assert ShapeClassifier.load(made.folder / FILE) == classifier()
    card = ModelCard.load(made.folder / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("cmr_hf", "tabular-classification")
    assert card.data.license == "cc-by-nc-sa-4.0"
    assert "| `lv_ef` | LV ejection fraction, 0 … 1 |" in card.text
    assert "| strength of the penalty | 3.0 |" in card.text
    assert "| balanced accuracy by strength | 1: 0.71, 3: 0.82 |" in card.text
    assert prepare(fitted, REPO, tmp_path / "out", words=Words(title="Again")).folder == made.folder


def test_two_measurements_of_the_same_patients_are_told_apart():
    found = {(one.side, one.name): one.value for one in numbers(RESULTS)}
    assert found == {
        ("out of fold", "accuracy, total, hand masks"): 0.81,
        ("out of fold", "accuracy, total, other masks"): 0.62,
        ("test", "accuracy, total"): 0.73,
    }
    assert notes(RESULTS) == [
        "ACDC, 50 patients, out of fold, hand masks: drawn masks.",
        "ACDC, 50 patients, out of fold, other masks: masks of five models.",
        "ACDC, 10 patients, test: masks of one model.",
    ]


@pytest.mark.parametrize("content", ["{}", "no JSON", '{"classes": ["NORM"], "features": ["age"]}'])
def test_when_the_file_is_no_classifier_then_nothing_is_written(content, fitted, tmp_path):
    (fitted / FILE).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="classifier"):
        prepare(fitted, REPO, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_licence_it_is_not_published(fitted, tmp_path):
    (fitted / "LICENSE").unlink()
    with pytest.raises(ValueError, match="needs a licence"):
        prepare(fitted, REPO, tmp_path / "out")


def test_a_folder_with_something_else_in_it_is_left_alone(fitted, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="choose another"):
        prepare(fitted, REPO, tmp_path)


def test_what_was_pushed_is_opened_again_and_gives_the_same_answer(fitted, hub, tmp_path):
    done = publish(fitted, REPO, folder=tmp_path / "out", endpoint=hub.endpoint, token=WRITER)
    assert json.loads(hub.files(REPO)[FILE]) == json.loads((fitted / FILE).read_text())
    again = publish(fitted, REPO, endpoint=hub.endpoint, token=WRITER)
    assert (again.commit, bool(again.changes)) == (done.commit, False)
    classifier(scale=2).save(tmp_path / "out" / FILE)
    with pytest.raises(NotAsPushedError, match="another classifier.json"):
        check_pushed(tmp_path / "out", REPO, done.commit, TASK, hub.endpoint, WRITER)


def test_it_is_one_of_the_family(fitted, trained, hub):
    models = {"cmr-seg": trained, "cmr-disease-shape": fitted}
    done, _ = publish_family(models, "ORG", endpoint=hub.endpoint, token=WRITER, check=False)
    assert [one.repo for one in done] == ["ORG/cmr-seg", REPO]
    (collection,) = hub.collections.values()
    assert REPO in [item["id"] for item in collection["items"]]


def test_the_command_downloads_it_and_tells_its_licence(fitted, hub, tmp_path, capsys):
    publish(fitted, REPO, endpoint=hub.endpoint, token=WRITER, check=False)
    out = tmp_path / "down"
    assert main(["download", REPO, "--endpoint", hub.endpoint, "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "licence of the weights: cc-by-nc-sa-4.0" in told.out
    assert "no model of this package" not in told.err
    assert ShapeClassifier.load(out / FILE) == classifier()


@pytest.mark.parametrize("place", [0, 1])
def test_the_blocks_of_its_card_run_on_what_they_download(place, fitted, hub, monkeypatch, tmp_path):
    publish(fitted, REPO, endpoint=hub.endpoint, token=WRITER, check=False)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    text = (ROOT / "model_cards" / "disease-shape" / "README.md").read_text(encoding="utf-8")
    block = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)[place]
    names: dict = {"__name__": "card"}
    exec(compile(block, "card", "exec"), names)
    assert list((tmp_path / "cache").rglob(FILE))
    assert set(names["result"]) == {"NORM", "DCM", "HCM"}
    assert sum(names["result"].values()) == pytest.approx(1)
    if place:
        mean = dict(zip(NAMES, classifier().mean, strict=True))
        assert names["result"] == pytest.approx(classifier().chances(mean))
