import json

import pydicom
import pytest

from cmr_hf import cli, read_image
from cmr_hf.cli.making import DISEASES, SERIES
from cmr_hf.phantoms import DISEASES as REAL_DISEASES
from cmr_hf.phantoms import SERIES as REAL_SERIES

TINY = ["--matrix", "40", "48", "--spacing-mm", "5", "--phases", "2", "--slices", "3"]


def test_phantom_writes_a_study_and_says_what_is_true(tmp_path, capsys):
    out = tmp_path / "study"
    options = ["--disease", "MINF", "--seed", "3", "--series", "cine_sax", "t1_native", *TINY]
    assert cli.main(["phantom", "--out", str(out), *options]) == 0
    printed = capsys.readouterr().out
    known = json.loads((out / "truth" / "study.json").read_text())
    assert printed.startswith("PHANTOM-MINF-000003, MINF, ")
    assert f"EF {100 * known['lv_ef']:.1f} %" in printed
    assert "1 cine_sax: 6 files, (t, z, y, x) = (2, 3, 40, 48)" in printed
    assert "no patient" in printed
    assert read_image(out / "dicom" / "01_cine_sax").pixels.shape == (2, 3, 40, 48)


def test_the_options_are_those_of_the_study(tmp_path):
    options = ["--multiframe", "--no-trigger-times", "--real-world-values", "--shuffled-names", "--ideal"]
    assert cli.main(["phantom", "--out", str(tmp_path / "a"), "--series", "t2_map", *TINY, *options]) == 0
    (path,) = (tmp_path / "a" / "dicom").iterdir()
    shared = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0]
    assert "RealWorldValueMappingSequence" in shared
    options = ["--series-per-slice", "--thickness-mm", "6", "--gap-mm", "1"]
    assert cli.main(["phantom", "--out", str(tmp_path / "b"), "--series", "lge_sax", *TINY, *options]) == 0
    assert read_image(tmp_path / "b" / "dicom").slice_distance_mm == pytest.approx(7.0, abs=1e-4)


def test_wrong_usage_exits_with_two_and_a_full_folder_with_one(tmp_path, capsys):
    assert cli.main(["phantom", "--out", str(tmp_path / "a"), "--spacing-mm", "0"]) == 2
    assert "`thickness_mm` and `spacing_mm` need positive mm" in capsys.readouterr().err
    assert cli.main(["phantom", "--out", str(tmp_path / "a"), "--multiframe", "--series-per-slice"]) == 2
    assert "`series_per_slice` needs multiframe=False" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.main(["phantom", "--out", str(tmp_path)]) == 1
    assert "`folder` needs to be new or empty" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        cli.main(["phantom", "--out", str(tmp_path / "a"), "--disease", "FLU"])
    assert stopped.value.code == 2


def test_the_choices_are_those_of_the_package():
    assert DISEASES == REAL_DISEASES
    assert SERIES == REAL_SERIES
