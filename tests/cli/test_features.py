import json
import sys

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from transformers import pipeline

import cmr_hf
from cmr_hf import cli
from cmr_hf.cli import extracting
from cmr_hf.cli.common import file_names
from cmr_hf.hub.pipeline_cmr_feature_extraction import KINDS
from cmr_hf.samples import sample
from tests.cli.conftest import PHASES, SLICES

TASK = extracting.TASK


@pytest.fixture
def model(model_of):
    return model_of(TASK)


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "scan.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(file)
    return file


def run(*words, **expected):
    code = cli.main(["features", *map(str, words)])
    assert code == expected.get("code", 0)


def load_parquet(file, tmp_path):
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset("parquet", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_parquet_file_opens_as_a_data_set_with_a_row_per_slice_and_phase(kind, stack, model, tmp_path, capsys):
    out = tmp_path / "new" / "features.parquet"
    run(stack, "--model", model, "--kind", kind, "--out", out)
    expected = pipeline(TASK, model=model)(str(stack), kind=kind)  # (t, z, …)
    rows = load_parquet(out, tmp_path)
    assert rows.column_names == ["source", "phase", "slice", "features"]
    assert set(rows["source"]) == {stack.name}
    assert list(zip(rows["phase"], rows["slice"], strict=True)) == [
        (t, z) for t in range(PHASES) for z in range(SLICES)
    ]
    assert rows.features["features"].length == expected.shape[2]
    found = np.array(rows["features"], np.float32)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-5)
    assert f"12 rows of {' × '.join(map(str, expected.shape[2:]))} numbers ({kind})" in capsys.readouterr().out
    assert b"DOE" not in out.read_bytes()


def test_a_parquet_file_says_how_it_was_made(stack, model, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "features.parquet"
    run(stack, "--model", model, "--out", out)
    about = json.loads(parquet.read_schema(out).metadata[b"cmr_hf"])
    assert (about["kind"], about["model"], about["cmr_hf_version"]) == ("image", TASK, cmr_hf.__version__)


@pytest.mark.parametrize("kind", KINDS)
def test_safetensors_hold_the_same_with_names_in_the_metadata(kind, stack, picture, model, tmp_path):
    out = tmp_path / "features.safetensors"
    run(stack, picture, "--model", model, "--kind", kind, "--out", out)
    pipe = pipeline(TASK, model=model)
    of_stack, of_picture = pipe(str(stack), kind=kind), pipe(str(picture), kind=kind)
    with safe_open(out, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        about = json.loads(file.metadata()["cmr_hf"])
    assert set(tensors) == {"features", "phase", "slice", "source"}
    expected = np.concatenate([of_stack.reshape(-1, *of_stack.shape[2:]), of_picture[None]])
    np.testing.assert_allclose(tensors["features"], expected, atol=1e-5)
    assert tensors["source"].tolist() == [0] * PHASES * SLICES + [1]
    assert tensors["phase"].tolist() == [t for t in range(PHASES) for _ in range(SLICES)] + [0]
    assert tensors["slice"].tolist() == [*range(SLICES)] * PHASES + [0]
    assert about["sources"] == [stack.name, picture.name]
    assert (about["kind"], about["model"], about["cmr_hf_version"]) == (kind, TASK, cmr_hf.__version__)


@pytest.mark.parametrize("suffix", [".parquet", ".safetensors"])
def test_when_one_of_several_is_bad_then_the_rest_is_done_and_the_exit_code_is_one(
    suffix, stack, broken, picture, model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(extracting, "ROW_GROUP_BYTES", 1)  # each image is written at once
    out = tmp_path / f"features{suffix}"
    run(stack, broken, tmp_path / "missing", picture, "--model", model, "--out", out, code=1)
    printed = capsys.readouterr()
    assert "13 rows" in printed.out
    problems = [line for line in printed.err.splitlines() if line.startswith("error:")]
    assert ["notes.dcm" in problems[0], "missing" in problems[1], len(problems)] == [True, True, 2]
    assert "Traceback" not in printed.err
    if suffix == ".parquet":
        rows = load_parquet(out, tmp_path)
        assert list(dict.fromkeys(rows["source"])) == [stack.name, picture.name]


def test_when_nothing_could_be_read_then_no_file_is_written(broken, model, tmp_path, capsys):
    for suffix in (".parquet", ".safetensors"):
        run(broken, "--model", model, "--out", tmp_path / f"features{suffix}", code=1)
    assert sorted(tmp_path.iterdir()) == [broken]
    assert capsys.readouterr().out == ""


def test_when_stopped_then_the_old_file_stays_and_nothing_half_written_is_left(
    stack, picture, model, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "features.parquet"
    run(stack, "--model", model, "--out", out)
    before, files = out.read_bytes(), sorted(tmp_path.iterdir())
    monkeypatch.setattr(extracting, "ROW_GROUP_BYTES", 1)
    monkeypatch.setattr(extracting, "read", reads_once(extracting.read))
    assert cli.main(["features", str(stack), str(picture), "--model", model, "--out", str(out)]) == 130
    assert out.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == files
    assert capsys.readouterr().err.rstrip().endswith("stopped")


def reads_once(read):
    """`read`, and the second time Ctrl-C."""
    calls = []

    def stopped(*args):
        if calls:
            raise KeyboardInterrupt
        calls.append(args)
        return read(*args)

    return stopped


def test_names_are_those_given_and_as_long_as_needed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert file_names(["/secret/a/heart.nii"]) == ["heart.nii"]
    assert file_names(["/secret/a/heart.nii", "/secret/b/heart.nii"]) == ["a/heart.nii", "b/heart.nii"]
    assert file_names(["x/heart.nii", "x/heart.nii"]) == ["heart.nii", "heart.nii"]
    assert file_names(["."]) == [tmp_path.name]
    assert file_names(["https://host/heart.nii?token=1"]) == ["heart.nii"]
    assert not any("word" in name for name in file_names(["https://u:word@a/h.nii", "https://u:word@b/h.nii"]))


def test_when_an_address_cannot_be_read_then_the_error_keeps_its_secrets(model, tmp_path, capsys):
    command = ["features", "ftp://user:word@host/heart.nii?token=1", "--model", model]
    assert cli.main([*command, "--out", str(tmp_path / "features.safetensors")]) == 1
    problem = capsys.readouterr().err
    assert "error: ftp://host/heart.nii: " in problem
    assert "word" not in problem
    assert "token" not in problem


def test_a_folder_of_dicom_is_one_image_and_headers_stay_out(model, tmp_path):
    out = tmp_path / "features.safetensors"
    first = [sample("sax_cine") / f"slice0{z}_phase{t}.dcm" for z in (1, 2) for t in ("01", "03")]
    folder = tmp_path / "study"
    folder.mkdir()
    for file in first:
        (folder / file.name).write_bytes(file.read_bytes())
    run(folder, "--model", model, "--out", out)
    with safe_open(out, "numpy") as file:
        assert file.get_tensor("phase").tolist() == [0, 0, 1, 1]
        assert json.loads(file.metadata()["cmr_hf"])["sources"] == ["study"]


def test_files_of_a_folder_that_were_left_out_are_counted_without_their_names(model, tmp_path, capsys):
    folder = tmp_path / "study"
    folder.mkdir()
    good = sample("sax_cine") / "slice01_phase01.dcm"
    (folder / good.name).write_bytes(good.read_bytes())
    (folder / "jane_doe.txt").write_text("not an image")
    run(folder, "--model", model, "--out", tmp_path / "features.safetensors")
    printed = capsys.readouterr().out
    assert "study: note: 1 left out" in printed
    assert "jane" not in printed


def test_any_model_of_the_package_gives_its_encoders_features(stack, model_of, tmp_path):
    out = tmp_path / "features.safetensors"
    run(stack, "--model", model_of("cmr-view-classification"), "--out", out)
    with safe_open(out, "numpy") as file:
        assert file.get_tensor("features").shape == (12, 160)


def test_without_a_model_named_the_embedded_encoder_answers(stack, tmp_path):
    out = tmp_path / "features.safetensors"
    run(stack, "--out", out)
    with safe_open(out, "numpy") as file:
        assert file.get_tensor("features").shape == (12, 960)


def test_when_out_cannot_be_written_then_one_line_says_so(stack, broken, tmp_path, capsys):
    run(stack, "--model", "/nowhere", "--out", broken / "features.parquet", code=1)
    assert "`--out` needs a place that can be written to" in capsys.readouterr().err
    folder = tmp_path / "folder.parquet"
    folder.mkdir()
    run(stack, "--model", "/nowhere", "--out", folder, code=1)
    assert "is a folder" in capsys.readouterr().err


def test_when_pyarrow_is_missing_then_the_error_names_the_extra(stack, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    run(stack, "--model", "/nowhere", "--out", tmp_path / "features.parquet", code=1)
    assert "pip install 'cmr_hf[train]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "bad", [["x"], ["x", "--out", "f.csv"], ["x", "--out", "f.parquet", "--kind", "mood"], ["--out", "f.parquet"]]
)
def test_wrong_usage_exits_with_two(bad, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["features", *bad])
    assert stopped.value.code == 2


def test_the_command_line_offers_the_kinds_of_the_pipeline():
    assert extracting.KINDS == KINDS
