"""The registry, and reading on past a broken patient."""

import pytest

from cmr_hf import ReadingError
from cmr_hf.data.readers import READERS, patients_of, read
from tests.acdc_factory import write_patient
from tests.data.volume_factory import cut, gray, heart, write_nifti

NAMES = {
    "acdc", "emidec", "mnms", "mnms2", "mscmrseg", "myops", "sunnybrook", "sunnybrook-slices", "kaggle-dsb", "ukbb",
    "nifti-pairs",
}  # fmt: skip


def test_every_set_has_a_licence_and_is_cited():
    assert set(READERS) >= NAMES
    for name in NAMES - {"nifti-pairs"}:
        assert READERS[name].licence in ("cc-by-nc-sa-4.0", "cc0-1.0", "other")
        assert READERS[name].citation
    assert {name for name in NAMES if READERS[name].volumes} == {"kaggle-dsb"}
    assert {name for name in NAMES if "masks" not in READERS[name].has} == {"kaggle-dsb", "ukbb"}


@pytest.mark.parametrize("name", sorted(NAMES - {"nifti-pairs"}))
def test_when_the_folder_is_another_then_each_reader_says_where_to_point(tmp_path, name):
    options = {"salt": "s"} if name == "ukbb" else {}
    with pytest.raises(ReadingError, match="point `root`|is missing"):
        patients_of(name, tmp_path, **options)
    with pytest.raises(ReadingError):
        list(read(name, tmp_path, **options))
    problems = []
    assert list(read(name, tmp_path, ["nobody"], lambda *found: problems.append(found), **options)) == []
    assert [who for who, _ in problems] == ["nobody"]


def test_a_broken_patient_is_reported_whole_and_the_rest_goes_on(tmp_path):
    for number in (1, 2, 3):
        write_patient(tmp_path, f"patient{number:03d}")
    cut(tmp_path / "patient002" / "patient002_frame07.nii.gz")  # its ES; ED could be read
    problems = []
    stacks = list(read("acdc", tmp_path, on_error=lambda patient, error: problems.append((patient, str(error)))))
    assert [stack.patient for stack in stacks] == ["patient001"] * 2 + ["patient003"] * 2
    ((patient, text),) = problems
    assert patient == "patient002"
    assert "patient002_frame07.nii.gz is damaged or truncated" in text
    with pytest.raises(ReadingError, match="patient002_frame07"):
        list(read("acdc", tmp_path))


def test_errors_of_other_kinds_name_set_and_patient(tmp_path):
    write_nifti(tmp_path / "p1.nii.gz", gray(heart()))
    with pytest.raises(ReadingError, match="nifti-pairs p1: .*`view` must be one of"):
        list(read("nifti-pairs", tmp_path, mask=None, view="short axis"))
    with pytest.raises(ValueError, match="`name` must be one of .*'acdc'.* got 'adcd'"):
        list(read("adcd", tmp_path))


def test_options_reach_the_list_of_patients_where_they_change_it(tmp_path):
    write_nifti(tmp_path / "a" / "p1_x.nii.gz", gray(heart()))
    options = {"image": "a/{patient}_x.nii.gz", "mask": None}
    assert patients_of("nifti-pairs", tmp_path, view="SAX", **options) == ["p1"]
    (stack,) = read("nifti-pairs", tmp_path, view="SAX", **options)
    assert (stack.patient, stack.view) == ("p1", "SAX")
