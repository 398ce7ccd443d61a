import csv
import json

import numpy as np
import pytest
from PIL import Image
from transformers import pipeline

from cmr_hf import cli
from cmr_hf.cli.locating import COLUMNS, TASK
from tests.cli.conftest import PHASES, SLICES


def read_csv(file):
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def expected(stack, model_of):
    return pipeline(TASK, model=model_of(TASK))(str(stack))


def test_landmarks_prints_a_line_for_each(stack, model_of, expected, capsys):
    assert cli.main(["landmarks", str(stack), "--model", model_of(TASK)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == stack.name
    printed = [line.split() for line in lines if line.split()[0] in ("anterior", "inferior")]
    assert len(printed) == len(expected) == 2 * PHASES * SLICES
    for words, one in zip(printed, expected, strict=True):
        assert words[:3] == [one["label"], str(one["phase"] + 1), str(one["slice"] + 1)]
        numbers = [*one["pixel"], one["score"], *one["patient_mm"]]
        np.testing.assert_allclose([float(word) for word in words[3:]], numbers, atol=0.06)


def test_a_folder_gets_json_and_csv_with_what_the_pipeline_says(stack, model_of, expected, tmp_path):
    out = tmp_path / "out"
    assert cli.main(["landmarks", str(stack), "--model", model_of(TASK), "--out", str(out)]) == 0
    assert sorted(file.name for file in out.iterdir()) == ["my_heart_1_landmarks.csv", "my_heart_1_landmarks.json"]
    content = json.loads((out / "my_heart_1_landmarks.json").read_text())
    assert content["model"] == TASK
    assert content["phase_index_starts_at"] == content["slice_index_starts_at"] == 0
    (image,) = content["images"]
    assert image["source"] == stack.name
    assert image["spacing_mm"] == pytest.approx([1.5, 1.4])
    rows = read_csv(out / "my_heart_1_landmarks.csv")
    assert tuple(rows[0]) == COLUMNS
    for row, one, truth in zip(rows, image["landmarks"], expected, strict=True):
        assert row["source"] == stack.name
        assert row["label"] == one["label"] == truth["label"]
        assert (
            (int(row["phase"]), int(row["slice"])) == (one["phase"], one["slice"]) == (truth["phase"], truth["slice"])
        )
        np.testing.assert_allclose([float(row["row"]), float(row["column"])], truth["pixel"], atol=1e-3)
        np.testing.assert_allclose(one["pixel"], truth["pixel"], atol=1e-3)
        position = [float(row[name]) for name in ("lps_x_mm", "lps_y_mm", "lps_z_mm")]
        np.testing.assert_allclose(position, truth["patient_mm"], atol=1e-3)
        assert float(row["score"]) == pytest.approx(truth["score"], abs=1e-5)
    assert "DOE" not in "".join(file.read_text() for file in out.iterdir())


@pytest.mark.parametrize("suffix", [".json", ".csv", ".JSON"])
def test_one_file_holds_all_images_and_a_bad_one_is_told(stack, broken, model_of, tmp_path, suffix, capsys):
    picture = tmp_path / "scan.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(picture)
    out = tmp_path / f"all{suffix}"
    paths = [str(stack), str(broken), str(picture)]
    assert cli.main(["landmarks", *paths, "--model", model_of(TASK), "--out", str(out)]) == 1
    if suffix == ".csv":
        rows = read_csv(out)
        sources = list(dict.fromkeys(row["source"] for row in rows))
        # a picture has no place in space
        assert [rows[-1][name] for name in ("lps_x_mm", "lps_y_mm", "lps_z_mm")] == ["", "", ""]
    else:
        sources = [image["source"] for image in json.loads(out.read_text())["images"]]
    assert sources == [stack.name, picture.name]
    assert f"error: {broken}" in capsys.readouterr().err


def test_when_no_landmark_reaches_the_threshold_then_the_output_is_empty_and_says_so(stack, model_of, tmp_path, capsys):
    options = ["--model", model_of(TASK), "--threshold", "1"]
    assert cli.main(["landmarks", str(stack), *options]) == 0
    assert "no landmark reached the threshold" in capsys.readouterr().out
    out = tmp_path / "out"
    assert cli.main(["landmarks", str(stack), *options, "--out", str(out), "--overlay"]) == 0
    assert sorted(file.suffix for file in out.iterdir()) == [".csv", ".json"]
    assert read_csv(out / "my_heart_1_landmarks.csv") == []


@pytest.mark.parametrize("out", ["pictures", "all.json"])
def test_overlay_draws_the_landmarks_beside_what_is_written(stack, model_of, tmp_path, out):
    command = ["landmarks", str(stack), "--model", model_of(TASK), "--out", str(tmp_path / out), "--overlay"]
    assert cli.main(command) == 0
    folder = tmp_path / "pictures" if out == "pictures" else tmp_path
    with Image.open(folder / "my_heart_1_landmarks.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**24)}
    assert {(86, 180, 233), (240, 228, 66)} <= colours  # those of the two landmarks


def test_overlay_without_a_place_is_wrong_usage(stack, capsys):
    assert cli.main(["landmarks", str(stack), "--overlay"]) == 2
    assert "add --out" in capsys.readouterr().err


def test_without_a_model_named_the_embedded_one_answers(stack, capsys):
    assert cli.main(["landmarks", str(stack)]) == 0
    assert "anterior" in capsys.readouterr().out


def test_when_out_cannot_be_written_then_one_line_says_so(stack, broken, model_of, capsys):
    for out in (broken / "folder", broken / "file.csv"):
        assert cli.main(["landmarks", str(stack), "--model", model_of(TASK), "--out", str(out)]) == 1
        assert "`--out` needs a place that can be written to" in capsys.readouterr().err


@pytest.mark.parametrize("bad", [["--threshold", "2"], ["--threshold", "nan"], ["--out", "points.txt"]])
def test_wrong_usage_exits_with_two(bad, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["landmarks", "x", *bad])
    assert stopped.value.code == 2
