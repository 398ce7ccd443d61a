"""A card says what the files say: numbers of results.json, words of card.toml, facts of the export."""

import copy
import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from cmr_hf.publishing import Words, export, prepare, read_words
from cmr_hf.publishing.export import TASKS
from cmr_hf.publishing.full_card import full_card
from cmr_hf.publishing.measured import controls, eval_results, key_of, numbers
from cmr_hf.publishing.release import check_card
from cmr_hf.publishing.words import Data
from tests.model_factory import tiny_model, tiny_processor
from tests.publishing.conftest import RESULTS

WORDS = Words(
    title="A tiny model",
    summary="Segments nothing well.",
    intended=["Tests."],
    out_of_scope=["Patients."],
    limits=["All of them."],
    bias=["Phantoms only."],
    not_measured=["by sex", "by age"],
    how_measured="By nobody.",
    licence="Apache-2.0.",
    tags=["tiny"],
    data=[Data("Phantoms", "trained on", "phantoms", "Apache-2.0", "by heart", "The phantoms of cmr_hf")],
)


@pytest.fixture(scope="module")
def folder(trained_for, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(trained_for("cmr-segmentation"), "ORG/tiny", tmp_path_factory.mktemp("export") / "tiny").folder


def card_of(folder: Path, results: dict | None, words: Words | None = WORDS, **options) -> str:
    return full_card(folder, "ORG/tiny", "cmr-segmentation", words, results, **options)


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0].strip()


# ---- numbers


def test_every_number_of_the_file_is_in_the_header_and_in_the_table(folder):
    results = copy.deepcopy(RESULTS)
    results["test"]["hd95_mm"] = {"per_volume": {"LV cavity": {"mean": 7.25, "low": 6.0, "high": 8.5, "n": 6}}}
    results["test"]["sunnybrook"] = {"patients": 4, "dice": {"per_patient": {"endocardium": {"mean": 0.9, "sd": 0.1}}}}
    results["cross_validation"] = {"dataset": "acdc", "side": "folds", "patients": 50, "accuracy": 0.62}
    text = card_of(folder, results)
    found = {
        (one.dataset_type, one.dataset_split, one.metric_type, one.metric_name): one.metric_value
        for one in ModelCard(text).data.eval_results
    }
    assert found == {
        ("phantoms", "test", "dice", "Dice, LV cavity, per volume"): 0.8123,
        ("phantoms", "test", "hd95_mm", "Hausdorff distance 95 % (mm), LV cavity, per volume"): 7.25,
        ("sunnybrook", "test", "dice", "Dice, endocardium, per patient"): 0.9,
        ("acdc", "folds", "accuracy", "accuracy"): 0.62,
        ("phantoms", "validation", "dice", "Dice, RV, per volume"): 0.71,
    }
    table = section(text, "Measured")
    assert "| phantoms, 3 patients | test | Dice, LV cavity, per volume | 0.812 (0.05) | 6 |" in table
    assert "| 7.250 (6.00 to 8.50) | 6 |" in table
    assert "| Sunnybrook, 4 patients | test | Dice, endocardium, per patient | 0.900 (0.10) |" in table
    assert "| ACDC, 50 patients | folds | accuracy | 0.620 |" in table


def test_what_was_not_measured_is_said_and_is_no_result(folder):
    text = card_of(folder, RESULTS)
    assert "| phantoms, 3 patients | test | Dice, RV, per volume | not measured |" in section(text, "Measured")
    names = [one.metric_name for one in ModelCard(text).data.eval_results if one.dataset_split == "test"]
    assert names == ["Dice, LV cavity, per volume"]
    assert "**Not measured:** by sex; by age." in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "high", True])
def test_what_is_no_number_is_no_result(value):
    found = numbers({"test": {"dataset": "acdc", "patients": 1, "dice": {"RV": {"mean": value}}}})
    assert [one.shown for one in found] == ["not measured"]
    assert eval_results(found, "image-segmentation", "x") == []


def test_without_results_the_card_says_not_measured(folder):
    text = card_of(folder, None)
    assert "Not measured on any test patients." in section(text, "Measured")
    assert "model-index" not in text
    assert ModelCard(text).data.eval_results is None


def test_the_numbers_of_the_checkpoints_choice_stand_apart(folder):
    measured = section(card_of(folder, RESULTS), "Measured")
    before, after = measured.split("The checkpoint was chosen by these")
    assert "validation" not in before
    assert "| validation | Dice, RV, per volume | 0.710 |" in after
    assert "0.3" not in after, "a loss is no result"


def test_a_control_stands_beside_what_it_was_measured_on(folder):
    results = copy.deepcopy(RESULTS)
    results["control"] = {"test": copy.deepcopy(RESULTS["test"]), "training": {"minutes": 3, "steps": 9}}
    results["control"]["test"]["dice"]["per_volume"]["LV cavity"]["mean"] = 0.5
    del results["control"]["test"]["dice"]["per_volume"]["RV"]
    table = section(card_of(folder, results), "Measured")
    assert "| 0.812 (0.05) | 6 | 0.500 (0.05) |" in table
    assert "| Dice, RV, per volume | not measured | 0 | not measured |" in table
    values = [one.metric_value for one in ModelCard(card_of(folder, results)).data.eval_results]
    assert 0.5 not in values, "the control's number is not the model's"
    assert len(controls(results)) == 1
    assert key_of(numbers(results)[0]) in controls(results)


# ---- recipe, cost, facts


def test_recipe_and_cost_are_those_of_the_training(folder):
    trained = section(card_of(folder, RESULTS), "Trained on")
    assert "| `max_steps` | 20 |" in trained
    assert "| `learning_rate` | 0.001 |" in trained
    assert "20 steps in 0.5 minutes on 1 CPU thread." in trained
    assert "2 patients were trained on; `results.json` lists their pseudonyms." in trained
    assert "| Phantoms | trained on | Apache-2.0 | by heart |" in trained


def test_training_json_serves_where_results_have_no_training(folder):
    record = copy.deepcopy(RESULTS["training"])
    record["recipe"] |= {
        "train_on": [{"name": "acdc", "root": "/data/acdc", "share": 0.5}],
        "init_from": "/runs/dino/best",
    }
    trained = section(card_of(folder, None, training=record), "Trained on")
    assert "20 steps in 0.5 minutes" in trained
    assert "| `train_on` | name acdc share 0.5 |" in trained
    assert "| `init_from` | best |" in trained
    assert "results.json" not in trained, "training.json stays behind, and no results are there"


def test_the_facts_are_those_of_the_export(folder):
    facts = section(card_of(folder, None), "What it is")
    assert "| encoder | vision transformer, 4 blocks, 32 wide, 2 heads, patches of 8 px |" in facts
    assert "| decoder | hybrid, channels 4, 6, 8, 16 |" in facts
    assert "| classes | background, LV cavity, myocardium, RV |" in facts
    assert "64 × 64 px of 2 mm" in facts
    assert "0.06 M numbers, stored as float32" in facts


@pytest.mark.parametrize("decoder", ["hybrid", "unet"])
@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_card_that_the_hub_takes(task, decoder, tmp_path):
    folder = export(tiny_model(task, decoder), tmp_path / "tiny", image_processor=tiny_processor())
    text = full_card(folder, "ORG/tiny", task, WORDS, RESULTS)
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    check_card(tmp_path / "README.md")
    data = ModelCard(text).data
    assert data.pipeline_tag == TASKS[task].tag
    assert data.library_name == "transformers"
    assert {task, "tiny", "cardiac-mri"} <= set(data.tags)
    assert {one.task_type for one in data.eval_results} == {TASKS[task].tag}
    assert text.count(f'pipeline("{task}", model="ORG/tiny"') == 2
    assert ("ResNet" if decoder == "unet" else "vision transformer") in text
    assert "{{" not in text.replace("{{The cmr", "")


def test_a_licence_of_ones_own_is_linked(folder, tmp_path):
    own = shutil.copytree(folder, tmp_path / "tiny")
    (own / "LICENSE").write_text("ask me")
    data = ModelCard(card_of(own, None)).data
    assert (data.license, data.license_name, data.license_link) == ("other", "see-licence-file", "LICENSE")


def test_without_words_each_section_says_that_nothing_is_stated(folder):
    text = card_of(folder, None, words=None)
    for title in ("Intended use", "Out of scope", "Limits", "Bias"):
        assert section(text, title) == "Not stated."
    assert "**Not measured:** not stated." in text
    assert "Research use only. Not a medical device." in text
    assert "Jacob, Athira J" in text


# ---- words


def test_words_are_read_from_a_folder_or_a_file(tmp_path):
    file = tmp_path / "card.toml"
    file.write_text('summary = """\nOne.\n"""\nlimits = ["a"]\n[[data]]\nname = "ACDC"\nuse = "trained on"\n')
    words = read_words(tmp_path)
    assert words == read_words(file)
    assert words.summary == "One."
    assert words.data == [Data("ACDC", "trained on")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("summary = ", "needs TOML"),
        ('sumary = "x"', "has sumary, which a card has not: use bias"),
        ('limits = "one"', "needs a list of texts in `limits`, got 'one'"),
        ("summary = 3", "needs a text in `summary`"),
        ("limits = [1]", "needs a list of texts in `limits`"),
        ('data = ["ACDC"]', r"needs `name` in each \[\[data\]\]"),
        ('[[data]]\nname = "ACDC"', "needs `use`"),
        ('[[data]]\nname = "ACDC"\nuse = "x"\nwhere = "y"', "has where"),
    ],
)
def test_when_words_are_wrong_then_the_error_names_the_entry(text, says, tmp_path):
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(ValueError, match=says):
        read_words(tmp_path)


# ---- what the Hub would refuse


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# no header", "needs a header"),
        ("---\nlicense: [\n---\n", "needs a header that is YAML"),
        ("---\n- a\n---\n", "needs a header that is YAML"),
        ("---\ntags: [a]\n---\n# x", "needs `license:`"),
        ("---\nlicense: mit\nmodel-index: 3\n---\n", "needs a header that is YAML"),
        ("---\nlicense: mit\nmodel-index:\n- name: x\n---\n", "needs a header that is YAML"),
    ],
)
def test_when_the_header_is_wrong_then_it_is_found_without_the_hub(text, says, tmp_path):
    (tmp_path / "README.md").write_text(text)
    with pytest.raises(ValueError, match=says):
        check_card(tmp_path / "README.md")


def test_results_that_are_no_json_are_told(trained, tmp_path):
    broken = shutil.copytree(trained, tmp_path / "trained")
    (broken / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"results\.json needs JSON"):
        prepare(broken, "ORG/tiny", tmp_path / "out")


def test_a_card_of_ones_own_is_kept(trained, tmp_path):
    own = shutil.copytree(trained, tmp_path / "trained")
    (own / "README.md").write_text("---\nlicense: apache-2.0\n---\n# mine\n")
    kept = prepare(own, "ORG/tiny", tmp_path / "kept").folder / "README.md"
    assert kept.read_text() == (own / "README.md").read_text()
    rendered = prepare(own, "ORG/tiny", tmp_path / "rendered", words=WORDS).folder / "README.md"
    assert "# A tiny model" in rendered.read_text()
    assert json.loads((tmp_path / "kept" / "results.json").read_text()) == RESULTS
