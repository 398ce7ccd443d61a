import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import cmr_hf
from cmr_hf import cli, weights
from cmr_hf.cli.common import stems
from cmr_hf.hub.reading_cmr import read_image
from cmr_hf.samples import sample

has_weights = bool(weights.embedded_names())


class FakePipeline:
    """Finds an LV in the middle of every image that shrinks until the middle phase, a wall and an RV."""

    def __init__(self):
        self.calls = []

    def __call__(self, source, batch_size=1):
        image = read_image(source)
        self.calls.append({"source": image.source, "spacing_mm": image.spacing_mm, "batch_size": batch_size})
        shape = (1,) * (4 - image.pixels.ndim) + image.pixels.shape
        y, x = np.mgrid[: shape[2], : shape[3]]
        radius = np.hypot(y - shape[2] / 2, x - shape[3] / 2)
        labels = np.zeros(shape, np.uint8)
        for t in range(shape[0]):
            cavity = 6 + abs(t - shape[0] // 2)
            labels[t, :, radius <= cavity + 5] = 2
            labels[t, :, radius <= cavity] = 1
        labels[..., :4, :4] = 3
        return {
            "segmentation": labels.reshape(image.pixels.shape),
            "labels": {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV"},
            "scores": {"LV cavity": 0.9, "myocardium": 0.8, "RV": None},
            "spacing_mm": image.spacing_mm,
            "slice_distance_mm": image.slice_distance_mm,
            "affine": image.affine,
            "left_out": image.left_out,
        }


@pytest.fixture
def pipe(monkeypatch):
    fake = FakePipeline()
    monkeypatch.setattr("cmr_hf.cli.segmenting.load_pipeline", lambda task, args: fake)
    return fake


@pytest.fixture
def stack(tmp_path):
    """A NIfTI cine of 4 slices and 5 phases, named as a user might."""
    pixels = np.random.default_rng(0).integers(0, 500, (40, 36, 4, 5)).astype(np.int16)
    file = tmp_path / "my heart (1).nii.gz"
    nib.save(nib.Nifti1Image(pixels, np.diag([1.4, 1.5, 8.0, 1.0])), file)
    return file


def test_segment_writes_mask_overlay_and_measures_and_prints_a_table(pipe, stack, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    assert cli.main(["segment", str(stack), "--out", str(out), "--batch-size", "3"]) == 0
    assert sorted(f.name for f in out.iterdir()) == [
        "my_heart_1_mask.nii.gz",
        "my_heart_1_measures.json",
        "my_heart_1_overlay.png",
    ]
    assert nib.load(out / "my_heart_1_mask.nii.gz").shape == (40, 36, 4, 5)
    content = json.loads((out / "my_heart_1_measures.json").read_text())
    assert content["es_phase"] == 2
    assert content["model"] == "cine-sax"
    assert content["lv_edv_ml"] > content["lv_esv_ml"] > 0
    printed = capsys.readouterr().out
    assert re.search(rf"my_heart_1 +4 +5 +{content['lv_edv_ml']:.0f} ", printed)
    assert printed.count("not a medical device") == 1
    assert pipe.calls == [{"source": str(stack), "spacing_mm": pytest.approx((1.5, 1.4)), "batch_size": 3}]


def test_when_one_of_several_is_bad_then_the_rest_is_done_and_the_exit_code_is_one(pipe, stack, tmp_path, capsys):
    bad = tmp_path / "notes.dcm"
    bad.write_text("not an image")
    out = tmp_path / "out"
    picture = tmp_path / "scan.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), dtype=np.uint8)).save(picture)
    paths = [str(stack), str(bad), str(tmp_path / "missing"), str(picture)]
    assert cli.main(["segment", *paths, "--out", str(out)]) == 1
    printed = capsys.readouterr()
    assert (out / "my_heart_1_mask.nii.gz").exists()
    assert (out / "scan_mask.png").exists()
    problems = [line for line in printed.err.splitlines() if line.startswith("error:")]
    assert len(problems) == 2
    assert "notes.dcm" in problems[0]
    assert "missing" in problems[1]
    assert "Traceback" not in printed.err
    assert "scan: no LV and RV volumes and EF, LV mass, areas: pixel spacing unknown" in printed.out


def test_when_nothing_could_be_read_then_no_table_and_no_notice(pipe, tmp_path, capsys):
    assert cli.main(["segment", str(tmp_path / "missing"), "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().out == ""


def test_spacing_reaches_the_pipeline_and_the_measures(pipe, tmp_path):
    picture = tmp_path / "scan.png"
    Image.fromarray(np.full((40, 40), 9, np.uint8)).save(picture)
    out = tmp_path / "out"
    assert cli.main(["segment", str(picture), "--out", str(out), "--spacing-mm", "1.5", "2"]) == 0
    assert pipe.calls[0]["spacing_mm"] == (1.5, 2.0)
    content = json.loads((out / "scan_measures.json").read_text())
    assert content["spacing_mm"] == [1.5, 2.0]
    assert content["lv_ef_percent"] is None
    assert content["refusals"]["lv_ef_percent"] == "one slice is not a volume"


def test_demo_reads_the_sample_and_prints_slices_volumes_and_paths(pipe, tmp_path, capsys):
    assert cli.main(["demo", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert len(re.findall(r"^slice \d", printed, re.MULTILINE)) == 6
    assert "ES is phase 7 of 13" in printed
    assert "17.7 mm apart" in printed
    for name in ("sax_cine_overlay.png", "sax_cine_mask.nii.gz", "sax_cine_measures.json"):
        assert (tmp_path / name).is_file()
        assert str(tmp_path / name) in printed
    assert re.search(r"in \d+\.\d s", printed)


def test_stems_are_safe_and_unique():
    paths = ["a/heart.nii.gz", "b/heart.nii", "c/Ä ö?.dcm", "scan.tar", "../heart", "...png"]
    assert stems(paths) == ["heart", "heart_2", "image", "scan.tar", "heart_3", "image_2"]
    assert stems(["."]) == [re.sub(r"[^A-Za-z0-9._-]+", "_", Path().resolve().name)]
    assert stems(["https://user:word@host/heart.nii.gz?token=1", "https://user:word@host"]) == ["heart", "host"]


def test_info_names_versions_samples_and_models(monkeypatch, tmp_path, capsys):
    folder = tmp_path / "cine-sax"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "LICENSE").write_text("\n# CC BY-NC-SA 4.0\n")
    dice = {"LV": {"mean": 0.934, "sd": 0.02, "n": 40}, "RV": {"mean": 0.9, "sd": 0.03, "n": 40}}
    test = {"dataset": "acdc", "side": "test", "patients": 20, "dice": {"per_slice": dice, "per_volume": dice}}
    results = {"test": test, "control": {"test": test}}
    (folder / "results.json").write_text(json.dumps(results))
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    assert cli.main(["info"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"cine-sax +CC BY-NC-SA 4.0", printed)
    assert printed.count("ACDC, 20 patients, test: Dice, per volume: LV 0.934 (0.02), RV 0.900 (0.03)") == 1
    assert "per slice" not in printed
    assert "sax_cine" in printed
    assert "transformers" in printed


@pytest.mark.parametrize("bad", [["segment", "x"], [], ["demo", "--out", "o", "--batch-size", "0"]])
def test_wrong_usage_exits_with_two(bad, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(bad)
    assert stopped.value.code == 2


def test_help_does_not_load_what_only_commands_need():
    # the subprocess finds this checkout, installed or not
    environment = os.environ | {"PYTHONPATH": str(Path(cmr_hf.__file__).parents[1])}
    code = (
        "import sys; from cmr_hf import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('matplotlib',) if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert "segment" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


@pytest.mark.skipif(not has_weights, reason="no embedded weights in this checkout")
def test_demo_finds_a_beating_heart_with_the_embedded_weights(tmp_path):
    assert cli.main(["demo", "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "sax_cine_measures.json").read_text())
    # the study's own contours give 165 and 53 ml over these slices and phases
    assert 120 < content["lv_edv_ml"] < 210
    assert 30 < content["lv_esv_ml"] < 90
    assert 50 < content["lv_ef_percent"] < 80
    mask = read_image(tmp_path / "sax_cine_mask.nii.gz")
    np.testing.assert_allclose(mask.affine, read_image(sample("sax_cine")).affine, atol=1e-3)
