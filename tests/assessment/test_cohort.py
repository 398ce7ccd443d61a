"""Many studies: shared out, gone on with, one row each, and nobody named."""

import csv
import json

import pytest

from cmr_hf.assessment.cohort import assess_many, studies_below, study_name
from cmr_hf.cli import assessing, main
from tests.assessment.study_factory import GivenModels, painted, write_study


@pytest.fixture
def oracle_of_many(oracle, monkeypatch):
    monkeypatch.setattr("cmr_hf.assessment.cohort.Models", lambda models, device=None: oracle)
    return oracle


@pytest.fixture
def root(tmp_path):
    """Two studies in folders that name patients, and one that is none."""
    (tmp_path / "root").mkdir()
    for name in ("Planted_A", "Planted_B"):
        folder, _, _ = write_study(tmp_path / "made" / name, phases=4, maps=False)
        folder.rename(tmp_path / "root" / name)
    (tmp_path / "root" / "Planted_empty").mkdir()
    return tmp_path / "root"


def rows_of(table):
    with table.open(encoding="utf-8") as stream:
        return {row["study"]: row for row in csv.DictReader(stream)}


def test_when_studies_are_shared_out_then_each_is_done_once_and_the_table_holds_all(root, tmp_path, oracle_of_many):
    said = []
    options = {"progress": False, "seg_phases": "none", "told": said.append}
    assess_many(root, tmp_path / "out", rank=0, world_size=2, **options)
    first = dict(rows_of(tmp_path / "out" / "studies.csv"))
    table = assess_many(root, tmp_path / "out", rank=1, world_size=2, **options)
    rows = rows_of(table)
    assert len(first) == 2
    assert set(rows) == {study_name(one) for one in studies_below(root)}
    assert float(rows[study_name("Planted_A")]["lv_edv"]) > 50
    assert "Planted" not in table.read_text(encoding="utf-8") + "".join(said)
    assert not list((tmp_path / "out").rglob("*Planted*"))
    assert rows[study_name("Planted_empty")]["stacks"] in ("0", "")
    said.clear()
    assess_many(root, tmp_path / "out", rank=0, world_size=1, **options)
    assert sum(text.endswith("done before") for text in said) >= 2


def test_when_a_row_is_of_other_models_then_the_study_is_done_again(root, tmp_path, oracle_of_many, monkeypatch):
    said = []
    options = {"progress": False, "seg_phases": "none", "told": said.append, "keep_identity": True}
    table = assess_many(root, tmp_path / "out", **options)
    assert {row["folder"] for row in rows_of(table).values()} == {"Planted_A", "Planted_B", "Planted_empty"}
    other = painted()
    other.digest = "other"
    monkeypatch.setattr("cmr_hf.assessment.cohort.Models", lambda models, device=None: GivenModels(other))
    said.clear()
    assess_many(root, tmp_path / "out", **options)
    assert not any(text.endswith("done before") for text in said)


def test_when_there_are_no_studies_then_the_error_says_what_is_needed(tmp_path):
    with pytest.raises(FileNotFoundError, match="a folder or zip for each study"):
        assess_many(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="`rank` needs 0 to 1, got 2"):
        assess_many(tmp_path, tmp_path / "out", rank=2, world_size=2)


def test_when_the_command_line_assesses_a_study_then_figures_and_files_are_told(tmp_path, oracle, capsys):
    folder, _, _ = write_study(tmp_path, phases=4, maps=False)
    out = tmp_path / "out"
    assert main(["assess", str(folder), "--out", str(out), "--seg", "none", "--weight", "80", "--height", "180"]) == 0
    said = capsys.readouterr()
    assert "cine SAX" in said.out
    assert "lv_edv" in said.out
    assert "Research use only" in said.out
    assert "Planted" not in said.out + said.err
    content = json.loads((out / "assessment.json").read_text(encoding="utf-8"))
    assert content["subject"] == {"height_cm": 180.0, "weight_kg": 80.0}


def test_when_the_command_line_has_roles_then_they_are_those_of_the_package():
    from cmr_hf.assessment import ROLES

    assert assessing.ROLES == tuple(ROLES)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--model", "sax=x"], "needs ROLE=FOLDER"), (["--many", "--masks", "x"], "--masks is for one study")],
)
def test_when_usage_is_wrong_then_the_exit_code_is_two(tmp_path, arguments, words, capsys):
    try:
        code = main(["assess", str(tmp_path), "--out", str(tmp_path / "out"), *arguments])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert words in capsys.readouterr().err


def test_when_the_package_is_asked_for_assess_then_it_is_that_of_this_room():
    import cmr_hf
    from cmr_hf.assessment import assess

    assert cmr_hf.assess is assess
    assert "assess" in cmr_hf.__all__
    with pytest.raises(AttributeError, match="has no attribute 'asses'"):
        _ = cmr_hf.asses
