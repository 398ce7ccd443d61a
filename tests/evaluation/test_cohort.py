"""A user's table read line by line: groups, numbers instead of names, and reasons without file names."""

import csv
import logging
from pathlib import Path

import numpy as np
import pytest

from cmr_hf.data.experiments import EXPERIMENTS
from cmr_hf.evaluation.cohort import Cohort, asked_of, field_of, has_label, scanner_of, vendor_of, without_names
from cmr_hf.hub.reading_cmr import ReadingError
from tests.data.volume_factory import gray, heart, write_nifti
from tests.dicom_factory import write_slice
from tests.evaluation.hearts import Reads, Says, stack

SEGMENTS = EXPERIMENTS["3"]


def write_table(root: Path, rows: list[dict[str, str]]) -> Path:
    with (root / "table.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        table.writeheader()
        table.writerows(rows)
    return root / "table.csv"


def line(root: Path, patient: str, name: str, **cells: str) -> dict[str, str]:
    """A line of the table, whose image and mask are written."""
    masks = heart(8.0)
    write_nifti(root / f"{name}.nii.gz", gray(masks))
    write_nifti(root / f"{name}_mask.nii.gz", masks)
    return {"patient": patient, "image": f"{name}.nii.gz", "mask": f"{name}_mask.nii.gz", **cells}


def read(cohort: Cohort) -> dict[str, list]:
    return dict(iter(cohort))


def test_patients_are_numbered_and_series_called_after_their_lines(tmp_path):
    rows = [
        line(tmp_path, "DOE^JANE", "ed", series="S1", phase="ED"),
        line(tmp_path, "DOE^JANE", "es", series="S1", phase="ES"),
        line(tmp_path, "ROE^JIM", "x"),
    ]
    cohort = Cohort(write_table(tmp_path, rows), SEGMENTS)
    found = read(cohort)
    assert list(found) == ["1", "2"]
    assert [(one.series, one.phase) for one in found["1"]] == [("line 2", "ED"), ("line 2", "ES")]
    assert found["2"][0].series == "line 4"
    assert cohort.of(found["1"][0]) == {"line": "2", "phase": "ED"}
    own = read(Cohort(tmp_path / "table.csv", SEGMENTS, keep_identity=True))
    assert list(own) == ["DOE^JANE", "ROE^JIM"]
    assert own["DOE^JANE"][0].series == "S1"


def test_studies_of_one_patient_stay_apart(tmp_path):
    rows = [line(tmp_path, "a", f"f{k}", study=study, series="S") for k, study in enumerate(("2020", "2021"))]
    (stacks,) = read(Cohort(write_table(tmp_path, rows), SEGMENTS)).values()
    assert [(one.study, one.series) for one in stacks] == [("study 1", "line 2"), ("study 2", "line 3")]


def test_slices_of_a_line_each_become_a_stack(tmp_path):
    masks, rows = heart(8.0), []
    for z in (1, 0, 2):
        write_nifti(tmp_path / f"{z}.nii.gz", gray(masks)[z : z + 1])
        write_nifti(tmp_path / f"{z}_mask.nii.gz", masks[z : z + 1])
        rows.append(
            {"patient": "a", "image": f"{z}.nii.gz", "mask": f"{z}_mask.nii.gz", "series": "s", "slice": str(z)}
        )
    ((one,),) = read(Cohort(write_table(tmp_path, rows), SEGMENTS)).values()
    assert one.slice_indices == (0, 1, 2)
    assert np.array_equal(one.masks, masks)


def test_what_cannot_be_read_or_has_no_label_is_listed_without_a_name(tmp_path):
    rows = [
        line(tmp_path, "DOE^JANE", "DOE_JANE_1970"),
        line(tmp_path, "DOE^JANE", "DOE_JANE_1971"),
        {"patient": "DOE^JANE", "image": "DOE_lost.nii.gz", "mask": "DOE_JANE_1970_mask.nii.gz"},
        {"patient": "ROE^JIM", "image": "DOE_JANE_1970.nii.gz", "mask": ""},
    ]
    (tmp_path / "DOE_JANE_1971_mask.nii.gz").write_bytes(b"damaged")
    broken = gray(heart(8.0)).astype(np.float32)
    broken[0, 0, 0] = np.nan
    rows.append(line(tmp_path, "NaN^N", "NaN"))
    write_nifti(tmp_path / "NaN.nii.gz", broken)
    cohort = Cohort(write_table(tmp_path, rows), SEGMENTS)
    found = read(cohort)
    assert [len(stacks) for stacks in found.values()] == [1, 0, 0]
    assert [(one["line"], one["patient"]) for one in cohort.problems] == [
        ("3", "1"),
        ("4", "1"),
        ("5", "2"),
        ("6", "3"),
    ]
    assert cohort.problems[2]["reason"] == "has no label of this task"
    for one in cohort.problems:
        assert not any(word in one["reason"] for word in ("DOE", "JANE", "ROE", str(tmp_path))), one
    assert "the image" in cohort.problems[1]["reason"]
    named = Cohort(tmp_path / "table.csv", SEGMENTS, keep_identity=True)
    read(named)
    assert "DOE_lost" in named.problems[1]["reason"]


def test_names_of_files_in_a_folder_are_taken_out_too(tmp_path):
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "Jane.dcm").write_bytes(b"")
    row = {"patient": "4711", "image": "scan", "mask": ""}
    text = f"{tmp_path}/scan needs one stack, got 2 like Jane.dcm, 4711 and 4711.5 mm; {tmp_path} is full"
    found = without_names(text, row, tmp_path)
    expected = "the image needs one stack, got 2 like a file of it, the patient and 4711.5 mm; the folder is full"
    assert found == expected
    assert without_names("7 slices", row | {"patient": "7"}, tmp_path) == "7 slices"


def test_groups_come_from_the_table_in_any_usual_spelling(tmp_path):
    cells = {"Center": "Lyon", "Manufacturer": "SIEMENS Healthineers", "Field Strength": "1,5", "disease": "DCM"}
    cohort = Cohort(write_table(tmp_path, [line(tmp_path, "a", "x", **cells)]), SEGMENTS)
    ((one,),) = read(cohort).values()
    expected = {"line": "2", "centre": "Lyon", "vendor": "Siemens", "field": "1.5 T", "disease": "DCM"}
    assert cohort.of(one) == expected
    assert (vendor_of("GE MEDICAL SYSTEMS"), vendor_of("Philips"), vendor_of("Acme")) == ("GE", "Philips", "Acme")
    assert [field_of(text) for text in ("3T", "2.89362", "15000", "high")] == ["3 T", "2.9 T", "1.5 T", "high"]


def test_groups_come_from_the_header_where_the_table_does_not_say(tmp_path):
    for z in range(3):
        tags = {"Manufacturer": "Philips Medical Systems", "MagneticFieldStrength": 3, "InstanceNumber": z + 1}
        write_slice(tmp_path / "dicom" / f"{z}.dcm", ImagePositionPatient=[0, 0, 8.0 * z], **tags)
    (tmp_path / "dicom" / "0.txt").write_text("no DICOM")
    assert scanner_of(tmp_path / "dicom") == {"vendor": "Philips Medical Systems", "field": "3.0"}
    assert scanner_of(tmp_path / "nowhere") == {}
    row = {"patient": "a", "image": "dicom", "view": "SAX", "field": "1.5"}
    cohort = Cohort(write_table(tmp_path, [row]), EXPERIMENTS["2"])
    ((one,),) = read(cohort).values()
    assert cohort.of(one) == {"line": "2", "vendor": "Philips", "field": "1.5 T", "view": "SAX"}


def test_a_table_that_is_none_is_refused(tmp_path):
    with pytest.raises(ReadingError, match="does not exist"):
        Cohort(tmp_path / "table.csv", SEGMENTS)


def test_what_a_model_can_be_asked_is_read_from_it():
    assert asked_of(Reads(), "segmentation").compares == ("LV cavity", "myocardium", "RV")
    assert asked_of(Reads(), "landmarks").label == "landmarks"
    model = Says([], {0: "a"})
    with pytest.raises(ValueError, match="does not say what it classifies"):
        asked_of(model, "classification")
    assert asked_of(model, "classification", "lge").label == "lge"
    model.config.task = "cmr-view-classification"
    chosen = asked_of(model, "classification")
    assert (chosen.label, chosen.image_types) == ("view", ())


def test_which_stacks_have_a_label_of_the_task():
    plain, scar = stack(), stack(drawn=(1, 2, 6))
    assert has_label(SEGMENTS, plain)
    assert not has_label(EXPERIMENTS["7"], plain)
    assert has_label(EXPERIMENTS["2"], plain)
    assert not has_label(EXPERIMENTS["9"], plain)
    assert [has_label(EXPERIMENTS["8B"], one) for one in (plain, scar, stack(lge="none"))] == [False, True, True]


def test_nothing_of_it_is_logged_by_name(tmp_path, caplog):
    rows = [line(tmp_path, "DOE^JANE", "DOE_JANE_1970")]
    with caplog.at_level(logging.WARNING):
        read(Cohort(write_table(tmp_path, rows), SEGMENTS))
    assert "DOE" not in caplog.text
