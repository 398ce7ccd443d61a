import itertools

import numpy as np
import pydicom
import pytest
from cmr_space.deidentifying import Deidentifier, terms_text
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from cmr_hf.hub.checking_cmr import ReadingError
from cmr_hf.samples import sample
from cmr_hf.studies import read_study
from cmr_hf.studies.words import _PATTERNS, t2_preparation_ms, terms_of
from tests.spaces.served import sample_files

SECRET = "MUSTERMANN"


def planted(path, day="20240229"):
    """A file of the sample with a person in every corner that a real one has."""
    made = pydicom.dcmread(path)
    made.PatientName, made.PatientID, made.PatientBirthDate = f"{SECRET}^MAX", f"{SECRET}4711", "19500203"
    made.ReferringPhysicianName, made.InstitutionName = f"Dr {SECRET}", f"{SECRET} Hospital"
    made.OperatorsName, made.StationName, made.AccessionNumber = SECRET, SECRET, SECRET
    made.StudyDescription, made.PatientComments, made.DeviceSerialNumber = SECRET, SECRET, SECRET
    made.SeriesDescription = f"cine sax {SECRET} native"
    made.ProtocolName, made.ImageComments = f"{SECRET} trufi", f"{SECRET} T2 prep. duration = 25 ms"
    made.AcquisitionDate, made.AcquisitionTime, made.StudyDate = day, "101112", day
    made.PatientSex, made.PatientSize, made.PatientWeight = "M", "1.80", "80"
    inner = Dataset()
    inner.PatientName, inner.CodeMeaning, inner.CodeValue = SECRET, SECRET, "121401"
    made.RequestAttributesSequence = Sequence([inner])
    made.RealWorldValueMappingSequence = Sequence([inner])
    made.private_block(0x0029, f"{SECRET} HEADER", create=True).add_new(0x10, "LO", SECRET)
    made.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.25)
    made.private_block(0x2005, "Philips MR Imaging DD 001").add_new(0x10, "LO", SECRET)
    made.file_meta.SourceApplicationEntityTitle = SECRET[:16]
    made.preamble = (SECRET.encode() * 13)[:128]
    return made


def test_when_a_person_is_in_every_corner_of_a_file_then_none_is_in_the_copy(tmp_path):
    planted(sample_files()[0]).save_as(tmp_path / "in.dcm")
    copier = Deidentifier()
    copier.copy(tmp_path / "in.dcm", tmp_path / "out.dcm")
    made = pydicom.dcmread(tmp_path / "out.dcm")
    texts = [str(element.value) for element in made.iterall()] + [str(made.file_meta), str(made.preamble)]
    assert not [text for text in texts if SECRET in text.upper() or "4711" in text or "2024" in text or "1950" in text]
    assert {element.VR for element in made.iterall()} & {"PN", "DA"} <= {"DA"}
    assert made.AcquisitionDate == "20000101"
    assert terms_of(made.SeriesDescription) == ("SAX", "cine", "native")
    assert made.private_block(0x2005, "Philips MR Imaging DD 001")[0x0E].value == 0.25
    assert 0x10 not in made.private_block(0x2005, "Philips MR Imaging DD 001")
    np.testing.assert_array_equal(made.pixel_array, pydicom.dcmread(sample_files()[0]).pixel_array)


def test_when_every_file_is_copied_then_the_study_is_sorted_as_before(tmp_path):
    copier = Deidentifier()
    for number, file in enumerate(sorted(sample("sax_cine").glob("*.dcm"))):
        copier.copy(file, tmp_path / f"{number}.dcm")
    before, after = read_study(sample("sax_cine")).stacks, read_study(tmp_path).stacks
    assert [one.shape for one in after] == [one.shape for one in before] == [(13, 6, 208, 256)]
    assert after[0].view.value == before[0].view.value == "SAX"
    assert after[0].rr_ms == before[0].rr_ms
    np.testing.assert_array_equal(after[0].image().pixels, before[0].image().pixels)
    np.testing.assert_array_equal(after[0].slice_affines, before[0].slice_affines)


def test_when_days_lie_between_files_then_they_still_do(tmp_path):
    copier, days = Deidentifier(), []
    for day in ("20240229", "20240301", "20240228"):
        planted(sample_files()[0], day).save_as(tmp_path / "in.dcm")
        copier.copy(tmp_path / "in.dcm", tmp_path / "out.dcm")
        days.append(pydicom.dcmread(tmp_path / "out.dcm").AcquisitionDate)
    assert days == ["20000101", "20000102", "19991231"]


def test_when_two_patients_are_handed_in_then_they_are_still_told_apart(tmp_path):
    numbers = []
    copier = Deidentifier()
    for name in ("A1", "A1", "B2"):
        made = planted(sample_files()[0])
        made.PatientID = name
        made.save_as(tmp_path / "in.dcm")
        copier.copy(tmp_path / "in.dcm", tmp_path / "out.dcm")
        numbers.append(pydicom.dcmread(tmp_path / "out.dcm").PatientID)
    assert numbers[0] == numbers[1] != numbers[2]
    Deidentifier().copy(tmp_path / "in.dcm", tmp_path / "out.dcm")
    assert pydicom.dcmread(tmp_path / "out.dcm").PatientID != numbers[2]


def test_every_term_and_every_pair_of_terms_is_found_again_in_its_spelling():
    known = list(_PATTERNS)
    for pair in [(one,) for one in known] + list(itertools.combinations(known, 2)):
        spelt = terms_text(*(terms_text(term) or term for term in pair))
        assert set(terms_of(spelt)) >= set(terms_of(*pair))
        assert terms_of(terms_text(spelt)) == terms_of(spelt)


def test_a_duration_of_t2_preparation_survives():
    assert t2_preparation_ms([terms_text("Mr X, T2 prep. duration = 25 ms")]) == 25


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04\x95pickle", b"\0" * 128 + b"DICM" + b"\xff" * 40])
def test_when_a_file_is_damaged_or_no_dicom_then_a_reading_error_says_so_and_nothing_is_written(tmp_path, content):
    (tmp_path / "Mustermann.dcm").write_bytes(content)
    with pytest.raises(ReadingError) as caught:
        Deidentifier().copy(tmp_path / "Mustermann.dcm", tmp_path / "out.dcm")
    assert "Mustermann" not in str(caught.value)
    assert not (tmp_path / "out.dcm").exists()
