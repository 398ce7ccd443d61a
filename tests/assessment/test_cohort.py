"""Many studies: shared out, gone on with, one row each, and nobody named."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from cmr_hf.assessment import cohort
from cmr_hf.assessment.cohort import BEGUN, assess_many, studies_below, study_name
from cmr_hf.cli import assessing, main
from tests.assessment.study_factory import GivenModels, painted, write_study
from tests.model_factory import tiny_processor, tiny_segmenter


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


def test_when_a_process_fell_over_a_study_then_it_comes_last_and_is_tried_again(root, tmp_path, oracle_of_many):
    out, said = tmp_path / "out", []
    fell = out / study_name("Planted_A") / "row.json"
    fell.parent.mkdir(parents=True)
    fell.write_text(json.dumps({"study": study_name("Planted_A"), "failed": BEGUN}))
    table = assess_many(root, out, progress=False, seg_phases="none", told=said.append)
    assert study_name("Planted_A") in said[-1]
    assert rows_of(table)[study_name("Planted_A")]["failed"] == ""


def test_while_a_study_is_assessed_then_its_row_says_that_it_was_begun(root, tmp_path, oracle_of_many, monkeypatch):
    def stopped(folder, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(cohort, "assess", stopped)
    with pytest.raises(KeyboardInterrupt):
        assess_many(root, tmp_path / "out", progress=False)
    (row,) = (tmp_path / "out").glob("study_*/row.json")
    assert json.loads(row.read_text())["failed"] == BEGUN


def test_when_files_were_added_to_a_study_then_it_alone_is_done_again(root, tmp_path, oracle_of_many):
    options = {"progress": False, "seg_phases": "none"}
    assess_many(root, tmp_path / "out", **options)
    (root / "Planted_B" / "note.txt").write_text("one more")
    said = []
    assess_many(root, tmp_path / "out", told=said.append, **options)
    assert {text.split(", ")[1] for text in said if text.endswith(": done")} == {f"{study_name('Planted_B')}: done"}


def test_when_a_row_comes_while_the_table_is_written_then_the_table_has_it(tmp_path, monkeypatch):
    names = ("study_a", "study_b")

    def add(name):
        (tmp_path / name).mkdir()
        (tmp_path / name / "row.json").write_text(json.dumps({"study": name, "failed": None}))

    add("study_a")
    write = cohort._parquet

    def late(*args):
        write(*args)
        if not (tmp_path / "study_b").exists():
            add("study_b")

    monkeypatch.setattr(cohort, "_parquet", late)
    assert set(rows_of(cohort._table(tmp_path, set(names)))) == set(names)


@pytest.mark.slow
def test_two_launched_processes_killed_in_the_middle_go_on_and_leave_one_row_a_study(tmp_path, repo_root):
    from pyarrow import parquet

    from cmr_hf.phantoms import Protocol
    from cmr_hf.phantoms import write_study as write_phantom

    small = Protocol(("cine_sax",), phases=4, slices=5, rows=48, columns=48, spacing_mm=5.0)
    for seed in range(90100, 90104):
        write_phantom(tmp_path / "made" / f"Planted_{seed}", "NORM", seed, small)
        (tmp_path / "made" / f"Planted_{seed}" / "dicom").rename(_made(tmp_path / "root") / f"Planted_{seed}")
    broken = _made(tmp_path / "root" / "Planted_broken")
    for file in (tmp_path / "root" / "Planted_90100").rglob("*.dcm"):
        (broken / file.name).write_bytes(file.read_bytes()[:700])
    tiny_segmenter().save_pretrained(tmp_path / "model")
    tiny_processor().save_pretrained(tmp_path / "model")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "-m", "cmr_hf.cli"]
    models = [f"cine-sax={tmp_path / 'model'}", *(f"{role}=none" for role in assessing.ROLES if role != "cine-sax")]
    command = [*launch, "assess", str(tmp_path / "root"), "--many", "--out", str(tmp_path / "out"), "--seg", "none"]
    command += ["--model", *models]
    env = os.environ | {"PYTHONPATH": str(repo_root / "src"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    first = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0)
    until = time.monotonic() + 1200
    while first.poll() is None and not (before := _ended(tmp_path / "out")) and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert 1 <= len(before) < 5, "killed in the middle"
    again = subprocess.run(command, env=env, capture_output=True, text=True, timeout=1200, stdin=subprocess.DEVNULL)
    assert again.returncode == 0, again.stderr[-3000:]
    names = {study_name(one) for one in studies_below(tmp_path / "root")}
    told = [line for line in again.stdout.splitlines() if " of 5, study_" in line]
    assert len(told) == 5
    assert {line.split(", ")[1].split(":")[0] for line in told} == names
    assert before <= {line.split(", ")[1].split(":")[0] for line in told if line.endswith("done before")}
    with (tmp_path / "out" / "studies.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(row["study"] for row in rows) == sorted(names)
    assert sorted(parquet.read_table(tmp_path / "out" / "studies.parquet")["study"].to_pylist()) == sorted(names)
    assert {row["study"] for row in rows if row["stacks"] == "1"} == names - {study_name("Planted_broken")}
    assert "Planted" not in again.stdout + again.stderr


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _ended(out):
    """Studies whose assessment has ended."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("study_*/row.json")]
    return {row["study"] for row in rows if row["failed"] != BEGUN}


def test_when_studies_fail_then_the_exit_code_says_so_but_not_to_a_launcher(tmp_path, monkeypatch, capsys):
    def failing(root, out, told, **options):
        told("1 of 1, study_x: ValueError: broken")
        return out / "studies.csv"

    monkeypatch.setattr(cohort, "assess_many", failing)
    arguments = ["assess", str(tmp_path), "--out", str(tmp_path / "out"), "--many"]
    assert main(arguments) == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(arguments) == 0
    assert "broken" in capsys.readouterr().out


def test_when_there_are_no_studies_then_the_error_says_what_is_needed(tmp_path):
    with pytest.raises(FileNotFoundError, match="a folder or zip for each study"):
        assess_many(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="`rank` needs 0 to 1, got 2"):
        assess_many(tmp_path, tmp_path / "out", rank=2, world_size=2)


def test_when_the_output_lies_beside_the_studies_then_it_is_none_of_them(tmp_path, monkeypatch):
    root = tmp_path / "root"
    for name in ("one", "two", "results"):
        (root / name).mkdir(parents=True)
    monkeypatch.setattr(cohort, "assess", lambda folder, **options: (_ for _ in ()).throw(ValueError("nothing in it")))
    table = assess_many(root, root / "results")
    assert set(rows_of(table)) == {study_name("one"), study_name("two")}


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
