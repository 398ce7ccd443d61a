"""`cmr-hf validate` on miniature tables with tiny models, end to end."""

import csv
import io
import json
import re
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cmr_hf import cli
from tests.data.volume_factory import gray, heart, write_nifti


def write_cohort(root: Path, patients: int = 4, **cells: str) -> Path:
    """Short-axis stacks with masks, ED and ES, from two centres; and one file that is none."""
    rows = []
    for number in range(patients):
        for phase, radius in (("ED", 9.0), ("ES", 7.0)):
            name = f"DOE_JANE_{number}_{phase}"
            masks = heart(radius - number / 4)
            write_nifti(root / f"{name}.nii.gz", gray(masks) + number)
            write_nifti(root / f"{name}_mask.nii.gz", masks)
            rows.append(
                {
                    "patient": f"DOE^JANE {number}",
                    "image": f"{name}.nii.gz",
                    "mask": f"{name}_mask.nii.gz",
                    "series": "SAX cine of DOE",
                    "phase": phase,
                    "view": "SAX",
                    "image_type": "cine",
                    "disease": ("NORM", "DCM")[number % 2],
                    "lge": ("none", "present")[number % 2],
                    "centre": ("Lyon", "Oslo")[number % 2],
                    "vendor": "GE MEDICAL SYSTEMS",
                }
                | cells
            )
    (root / "DOE_JANE_broken.nii.gz").write_bytes(b"damaged")
    rows.append(rows[0] | {"image": "DOE_JANE_broken.nii.gz", "phase": "", "series": "other"})
    with (root / "table.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return root / "table.csv"


def validate(table: Path, model: str, out: Path, *more: str) -> tuple[int, dict]:
    code = cli.main(["validate", "--data", str(table), "--model", model, "--out", str(out), "--failures", "2", *more])
    return code, json.loads((out / "report.json").read_text()) if (out / "report.json").is_file() else {}


@dataclass
class Run:
    out: Path
    report: dict
    code: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def run(tmp_path_factory, model_of) -> Run:
    """One report of a segmentation."""
    folder = tmp_path_factory.mktemp("validate")
    printed, told = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(told):
        code, report = validate(write_cohort(folder), model_of("cmr-segmentation"), folder / "out")
    return Run(folder / "out", report, code, printed.getvalue(), told.getvalue())


def test_a_segmentation_is_reported_by_group_with_pictures_and_what_failed(run):
    report = run.report
    assert run.code == 1, "one file is broken"
    assert report["counts"] == {"lines": 9, "patients": 4, "cases": 8}
    assert [(one["line"], one["patient"]) for one in report["problems"]] == [("10", "1")]
    assert set(report["groups"]) == {"centre", "vendor", "position", "phase", "disease"}
    assert {one["group"] for one in report["groups"]["centre"]} == {"Lyon", "Oslo"}
    assert {one["group"] for one in report["groups"]["vendor"]} == {"GE"}
    assert {one["word"] for one in report["groups"]["centre"]} == {"too few to say"}
    assert report["unknown_groups"] == ["field"]
    assert [one["rank"] for one in report["failures"]] == [1, 2]
    pictures = ["best.png", "median.png", "worst_01.png", "worst_02.png"]
    assert sorted(path.name for path in (run.out / "cases").iterdir()) == pictures
    assert "LV cavity" in run.stdout
    assert "too few to say: centre Lyon, centre Oslo, disease DCM, disease NORM; n = 2 patients" in run.stdout
    assert "error: line 10" in run.stderr
    assert run.stdout.count("not a medical device") == 1


def test_the_page_and_the_markdown_show_the_numbers_of_the_json(run):
    page, text = (run.out / "report.html").read_text(), (run.out / "report.md").read_text()
    value = f"{run.report['overall'][0]['value']:.3f}"
    for written in (page, text):
        assert value in written
        assert "n = 2 patients" in written
        assert "slice level" in written
        assert "cases/worst_01.png" in written
    assert all((run.out / name).is_file() for name in re.findall(r'src="([^"]+)"', page))
    assert "http" not in page


def test_no_name_of_the_table_is_in_any_output_unless_asked_for(run, model_of):
    texts = [path.read_text() for path in run.out.rglob("*") if path.suffix in (".json", ".md", ".csv", ".html")]
    assert len(texts) == 5
    for text in [*texts, run.stdout, run.stderr]:
        assert "DOE" not in text
        assert "JANE" not in text
    table = run.out.parent / "table.csv"
    validate(table, model_of("cmr-segmentation"), run.out.parent / "named", "--keep-identity")
    assert "DOE^JANE 0" in (run.out.parent / "named" / "values.csv").read_text()


@pytest.mark.parametrize(
    ("task", "metric", "target"),
    [
        ("cmr-view-classification", "accuracy", "SAX"),
        ("cmr-image-type-classification", "accuracy", "cine"),
        ("cmr-lge-detection", "accuracy", "present"),
        ("cmr-disease-detection", "accuracy", "DCM"),
        ("cmr-landmark-detection", "distance", "anterior RV insertion"),
    ],
)
def test_every_other_task_has_its_report(task, metric, target, tmp_path, model_of):
    table = write_cohort(tmp_path)
    if task == "cmr-landmark-detection":
        masks = heart(8.0)
        write_nifti(tmp_path / "one.nii.gz", gray(masks)[:1])
        table.write_text(
            "patient,image,anterior_row,anterior_column,inferior_row,inferior_column\n"
            + "".join(f"p{k},one.nii.gz,{12 + k},18,26,18\n" for k in range(3))
        )
    code, report = validate(table, model_of(task), tmp_path / "out")
    assert (code, report["metric"]) == (0 if metric == "distance" else 1, metric)
    assert target in {one["target"] for one in report["overall"]}
    assert len(report["failures"]) == 2
    if task == "cmr-disease-detection":
        assert "two phases only" in " ".join(report["notes"])


def test_a_heart_that_the_task_cannot_take_is_listed_with_its_reason(tmp_path, model_of, capsys, caplog):
    table = write_cohort(tmp_path)
    text = table.read_text().splitlines()
    masks = heart(8.0)
    write_nifti(tmp_path / "two.nii.gz", gray(masks)[:2])
    text.append(text[1].replace("DOE_JANE_0_ED.nii.gz", "two.nii.gz").replace("DOE_JANE_0_ED_mask.nii.gz", ""))
    text[2] = text[1]  # the same image twice
    table.write_text("\n".join(text) + "\n")
    _, report = validate(table, model_of("cmr-lge-detection"), tmp_path / "out")
    (one,) = [one for one in report["problems"] if "three slices" in one["reason"]]
    assert (one["line"], one["patient"]) == ("11", "1")
    rows = (tmp_path / "out" / "values.csv").read_text()
    assert "line 2/t0" in rows
    assert "line 3/t0" in rows
    assert "the data have no" not in caplog.text + capsys.readouterr().err


def test_ids_of_masks_are_translated(tmp_path, model_of):
    table = write_cohort(tmp_path)
    for path in tmp_path.glob("*_mask.nii.gz"):
        masks = heart(8.0)
        write_nifti(path, np.array([0, 3, 2, 1], np.uint8)[masks])
    validate(table, model_of("cmr-segmentation"), tmp_path / "out", "--labels", "1=3", "2=2", "3=1")
    with (tmp_path / "out" / "values.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    measure = next(row for row in rows if row["structure"] == "LV cavity volume")
    volume_ml = (heart(8.0) == 1).sum() * 1.5 * 1.25 * 8 / 1000
    assert float(measure["reference"]) == pytest.approx(volume_ml, rel=1e-3)


@pytest.mark.parametrize(
    ("table", "more", "says", "code"),
    [
        ("nowhere.csv", [], "needs a CSV", 2),
        ("empty.csv", [], "lacks the columns", 1),
        ("lost.csv", [], "not one line of lost.csv could be measured", 1),
    ],
)
def test_when_there_is_nothing_to_measure_then_it_says_why(table, more, says, code, tmp_path, model_of, capsys):
    (tmp_path / "empty.csv").write_text("who,what\n1,2\n")
    (tmp_path / "lost.csv").write_text("patient,image,mask\na,b.nii.gz,c.nii.gz\n")
    assert validate(tmp_path / table, model_of("cmr-segmentation"), tmp_path / "out", *more)[0] == code
    assert says in capsys.readouterr().err


def test_a_classifier_that_does_not_say_what_it_tells_needs_a_task(tmp_path, model_of, capsys):
    folder = tmp_path / "model"
    shutil.copytree(model_of("cmr-view-classification"), folder)
    config = json.loads((folder / "config.json").read_text())
    del config["task"]
    (folder / "config.json").write_text(json.dumps(config))
    table = write_cohort(tmp_path)
    assert validate(table, str(folder), tmp_path / "out")[0] == 1
    assert "name one of image_type, view, lge, disease" in capsys.readouterr().err
    assert validate(table, str(folder), tmp_path / "out", "--task", "view")[1]["metric"] == "accuracy"
