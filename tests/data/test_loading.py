"""Any data set by one call, split by patient; what leaks or is wrong is found before training."""

import json
import logging
import os

import datasets
import numpy as np
import pytest

from cmr_hf import ReadingError
from cmr_hf.cli import main
from cmr_hf.data import check_leakage, check_stacks, load, rows_of, sides_of, stacks_by_side, stacks_of
from cmr_hf.data.leakage import image_hash
from cmr_hf.data.schema import LabelledStack
from tests.acdc_factory import write_acdc
from tests.data.own_set_factory import write_own_set
from tests.data.volume_factory import OBLIQUE, cut, gray, heart, write_nifti

RNG = np.random.default_rng(0)


# load


def test_when_a_public_set_is_loaded_then_its_split_is_kept_and_rows_make_its_stacks(tmp_path):
    splits = write_acdc(tmp_path)
    sides = load("acdc", tmp_path / "acdc", split=splits, cache_dir=tmp_path / "cache")
    assert {side: sorted(rows.unique("patient")) for side, rows in sides.items()} == {
        "train": ["patient001", "patient002"],
        "validation": ["patient003"],
        "test": ["patient004"],
    }
    assert sides["train"].num_rows == 2 * 2 * 3  # patients, phases, slices
    about = json.loads(sides["test"].info.description)
    assert about["split"] == str(splits)
    assert about["patients"] == ["patient004"]
    read = list(stacks_by_side("acdc", tmp_path / "acdc", splits)[0]["train"])
    for one, other in zip(stacks_of(sides["train"]), read, strict=True):
        np.testing.assert_array_equal(one.images, other.images)
        np.testing.assert_array_equal(one.masks, other.masks)


def test_when_no_split_is_given_then_the_seed_decides_and_every_patient_is_on_one_side(tmp_path):
    write_acdc(tmp_path)
    first, again, other = (sides_of("acdc", tmp_path / "acdc", seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert sorted(sum(first.values(), [])) == [f"patient{number:03d}" for number in range(1, 5)]


def test_when_a_patient_is_broken_then_the_rest_is_loaded_and_it_is_named(tmp_path, caplog):
    splits = write_acdc(tmp_path)
    cut(tmp_path / "acdc/patient002/patient002_frame01.nii.gz")
    logging.getLogger("transformers").propagate = True
    with caplog.at_level(logging.WARNING):
        sides = load("acdc", tmp_path / "acdc", split=splits, cache_dir=tmp_path / "cache")
    assert sides["train"].unique("patient") == ["patient001"]
    sides, problems = stacks_by_side("acdc", tmp_path / "acdc", splits)
    assert [stack.patient for stack in sides["train"]] == ["patient001"] * 2
    assert len(problems) == 1
    assert "patient002" in problems[0]


def test_when_files_change_then_the_cache_is_not_used(tmp_path):
    table = write_own_set(tmp_path)
    before = load("table", table, cache_dir=tmp_path / "cache")["test"][0]["image"]
    write_nifti(tmp_path / "p5/image.nii.gz", gray(heart(7.0)) + np.int16(500))
    after = load("table", table, cache_dir=tmp_path / "cache")["test"][0]["image"]
    assert np.asarray(after).min() > np.asarray(before).min() + 400


@pytest.mark.parametrize(
    ("name", "split", "says"),
    [
        ("acdcc", None, "must be one of"),
        ("acdc", {"train": ["patient009"]}, "names none of the patients of"),
        ("acdc", {"training": ["patient001"]}, r"has sides \['training'\]"),
        ("acdc", {"train": ["patient001"], "test": ["patient001"]}, r"\['patient001'\] on more than one side"),
    ],
)
def test_when_the_set_or_its_split_is_wrong_then_load_raises(tmp_path, name, split, says):
    write_acdc(tmp_path)
    with pytest.raises(ValueError, match=says):
        load(name, tmp_path / "acdc", split=split)


def test_when_the_cache_lies_beside_the_table_then_it_is_used_again(tmp_path):
    table = write_own_set(tmp_path)
    load("table", table, cache_dir=tmp_path / "cache")
    os.symlink(tmp_path / "nowhere", tmp_path / "p0" / "link")
    before = sorted((tmp_path / "cache").rglob("*.arrow"))
    sides = load("table", table, cache_dir=tmp_path / "cache")
    assert before
    assert sorted((tmp_path / "cache").rglob("*.arrow")) == before
    assert json.loads(sides["train"].info.description)["split"] == "column `split` of table.csv"
    write_nifti(tmp_path / "p5/mask.nii.gz", heart(12.0))
    load("table", table, cache_dir=tmp_path / "cache")
    assert sorted((tmp_path / "cache").rglob("*.arrow")) != before


def test_when_a_reader_has_options_then_its_patients_are_found_by_them(tmp_path):
    for name in ("a", "b", "c", "d"):
        write_nifti(tmp_path / f"images/{name}_0000.nii.gz", gray(heart()))
        write_nifti(tmp_path / f"labels/{name}.nii.gz", heart())
    options = {"image": "images/{patient}_0000.nii.gz", "mask": "labels/{patient}.nii.gz", "labels": {1: 1, 2: 2, 3: 3}}
    sides = load("nifti-pairs", tmp_path, cache_dir=tmp_path / "cache", **options)
    assert sorted(name for rows in sides.values() for name in rows.unique("patient")) == ["a", "b", "c", "d"]


def test_when_no_patient_of_a_side_can_be_read_then_load_says_so(tmp_path):
    table = write_own_set(tmp_path, {"p5": {"image": "nowhere.nii.gz"}})
    with pytest.raises(ReadingError, match="table, test: none of its 1 patients can be read"):
        load("table", table, cache_dir=tmp_path / "cache")


# Leaks and reports


def one(patient: str, images: np.ndarray, source: str = "mini", **fields) -> LabelledStack:
    return LabelledStack(images, patient, source, spacing_mm=(1.4, 1.4), **fields)


def test_when_a_picture_is_stored_in_other_values_then_its_hash_is_the_same_and_a_flat_one_has_none():
    picture = RNG.integers(0, 256, (30, 20)).astype(np.uint8)
    picture[0, :2] = 0, 255
    assert image_hash(picture) == image_hash(picture.astype(np.float32) * 7 + 100)
    assert image_hash(picture) != image_hash(picture[::-1])
    assert image_hash(np.full((5, 5), 3)) is None


def test_when_a_patient_or_a_picture_is_on_two_sides_then_it_is_found_across_sets():
    pictures = RNG.normal(size=(6, 1, 20, 20)).astype(np.float32)
    sides = {
        "train": [one("a", pictures[0]), one("b", pictures[1])],
        "test": [one("a", pictures[2]), one("c", pictures[3])],
        "other set": [one("z", 5 * pictures[1] + 3, "other"), one("a", pictures[4], "other")],
    }
    leaks = check_leakage({side: [row for s in stacks for row in rows_of(s)] for side, stacks in sides.items()})
    assert [(leak.kind, leak.what, leak.sides) for leak in leaks] == [
        ("patient", "mini a", ("test", "train")),
        ("image", "mini b = other z (1 images)", ("other set", "train")),
    ]
    clean = {"train": [row for s in sides["train"] for row in rows_of(s)]}
    assert check_leakage(clean) == []


def test_when_a_set_has_faults_then_the_report_tells_errors_from_warnings():
    pictures = RNG.normal(size=(4, 2, 20, 20)).astype(np.float32)
    masks = np.zeros((2, 20, 20), np.uint8)
    masks[0, 5:9, 5:9] = 3
    sides = {
        "train": [one("a", pictures[0], masks=masks, drawn=(1, 3)), one("a", pictures[1], masks=masks, drawn=(1,))],
        "test": [LabelledStack(pictures[2], "b", "mini", view="SAX"), one("a", pictures[3])],
    }
    sides["test"][1].spacing_mm = (4.0, 4.0)
    report = check_stacks(sides, ["c: is damaged"])
    assert not report.ok
    assert report.sides == {
        "train": {"patients": 1, "stacks": 2, "images": 4},
        "test": {"patients": 2, "stacks": 2, "images": 4},
    }
    assert report.labels == {"RV": {"train": 2}}
    text = str(report)
    for said in (
        "ERROR cannot be read: c: is damaged",
        "ERROR train: mini a, series - comes twice",
        "ERROR train: mini a shows ['RV'], which `drawn` does not name",
        "ERROR patient mini a on test and train",
        "warning test: 1 of 2 stacks have no pixel spacing",
        "warning pixel spacing goes from 1.40 to 4.00 mm",
        "warning view SAX does not occur on train",
        "warning the sides have other structures drawn",
    ):
        assert said in text, said


def test_data_check_prints_the_report_and_ends_with_1_where_something_must_be_mended(tmp_path, capsys):
    table = write_own_set(tmp_path)
    assert main(["data", "check", str(table)]) == 0
    printed = capsys.readouterr().out
    assert "train: 4 patients, 4 stacks, 12 images" in printed
    assert printed.endswith("nothing to mend\n")

    write_nifti(tmp_path / "p1/mask.nii.gz", heart()[:2], OBLIQUE)
    assert main(["data", "check", str(table), "--labels", "1=1", "2=2", "3=3"]) == 1
    printed = capsys.readouterr().out
    assert "ERROR cannot be read: p1" in printed
    assert "1 to mend before training" in printed

    assert main(["data", "check", str(tmp_path)]) == 2
    assert "`--name` is needed" in capsys.readouterr().err
    assert main(["data", "check", str(tmp_path), "--name", "acdc", "--labels", "1=3"]) == 2
    assert "`--labels` is for masks of a table" in capsys.readouterr().err


def test_when_masks_have_acdcs_ids_or_lack_a_structure_then_the_report_says_so():
    masks = heart()
    stack = one("a", gray(masks), masks=masks, drawn=(1, 2, 3, 6))
    report = check_stacks({"train": [stack]})
    assert report.ok
    assert "no mask shows scar, which counts as looked for" in str(report)
    swapped = one("a", gray(masks), masks=np.array([0, 3, 2, 1], np.uint8)[masks], drawn=(1, 2, 3))
    assert "the myocardium lies around the RV" in str(check_stacks({"train": [swapped]}))


def test_a_data_set_of_a_table_can_be_saved_and_opened_again(tmp_path):
    sides = load("table", write_own_set(tmp_path), cache_dir=tmp_path / "cache")
    sides.save_to_disk(tmp_path / "saved")
    again = datasets.load_from_disk(tmp_path / "saved")
    np.testing.assert_array_equal(stacks_of(again["test"])[0].images, stacks_of(sides["test"])[0].images)
