"""Planted identities reach no repr, report, note, error or log; only the list of files has the user's own names."""

import json
import logging
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset

from cmr_hf.hub.reading_cmr import ReadingError
from cmr_hf.studies import Study, read_studies, read_study
from cmr_hf.studies.words import terms_of, vendor_of
from tests.studies.study_factory import small_study, write

SECRETS = ("Zyxwvut", "SECRET-4711", "19470131", "Qwertzu", "4711")


def planted() -> list[FileDataset]:
    files = small_study()
    for one in files:
        one.PatientName, one.PatientID, one.PatientBirthDate = "Zyxwvut^Qwertzu", "SECRET-4711", "19470131"
        one.SeriesDescription += " Zyxwvut SECRET-4711"
        one.ProtocolName = "Qwertzu"
        one.SequenceName, one.StudyDescription = "Zyxwvut", "Qwertzu"
        one.ImageComments = one.PatientComments = "Zyxwvut 19470131"
        one.Manufacturer, one.InstitutionName, one.StationName = "Zyxwvut", "Qwertzu", "SECRET-4711"
        one.ManufacturerModelName, one.ContrastBolusAgent = "Qwertzu", "Zyxwvut"
        one.ImageType = [*one.ImageType, "ZYXWVUT"]
        one.OperatorsName = one.ReferringPhysicianName = "Qwertzu^Z"
        one.add_new(0x00210010, "LO", "SIEMENS MR SDI 02")
        one.add_new(0x00211019, "OB", b"Zyxwvut 4711")
        one.RequestAttributesSequence = [Dataset()]
        one.RequestAttributesSequence[0].ScheduledProcedureStepDescription = "Zyxwvut"
    return files


def everything_shown(study: Study) -> str:
    """All that a user may print or write without asking for file names."""
    shown = [repr(study), str(study), repr(study.files), repr(study.patient), json.dumps(study.report())]
    shown += [repr(study.stacks), repr(study.relations), *study.notes, *(one.reason for one in study.files)]
    for stack in study.stacks:
        frame = stack.frames[0][0]
        shown += [repr(stack), repr(stack.frames), repr(frame.slice), repr(stack.slices), repr(stack.image())]
        shown += [repr(stack.view), repr(stack.image_type), repr(stack.terms), stack.vendor, *stack.notes]
    return "\n".join(shown)


def found(text: str) -> set[str]:
    return {secret for secret in SECRETS if secret.lower() in text.lower()}


def test_when_identities_are_planted_then_nothing_that_is_shown_holds_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
):
    files = planted()
    names = [f"Zyxwvut/SECRET-4711 19470131 {number}.dcm" for number in range(len(files))]
    folder = write(tmp_path / "Qwertzu", files, names)
    for number in (3, 20):  # truncated within the pixels, and within the header
        path = folder / names[number]
        path.write_bytes(path.read_bytes()[: -10 if number == 3 else 900])
    (folder / "Zyxwvut.txt").write_text("Zyxwvut")
    path = folder / names[30]
    path.write_bytes(path.read_bytes().replace(b"1.25\\1.5", b"Zyxwvut "))  # as PixelSpacing
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        study = read_study(folder)
        text = everything_shown(study)
    assert not found(text)
    assert not found(caplog.text)
    assert not found("".join(str(one.message) for one in told))
    assert not found("".join(capfd.readouterr()))
    assert found(json.dumps(study.report(file_names=True))) == {"Zyxwvut", "SECRET-4711", "19470131", "4711"}
    assert len(study.stacks) >= 10
    assert sum(one.status != "used" for one in study.files) == 4


def test_when_words_of_descriptions_are_known_then_only_these_are_kept(tmp_path: Path):
    study = read_study(write(tmp_path, planted()))
    terms = {term for stack in study.stacks for term in stack.terms}
    assert {"SAX", "4CH", "cine", "LGE", "MOLLI"} <= terms
    assert study.stacks[0].vendor == "other"


def test_when_something_goes_wrong_then_its_error_has_no_name(tmp_path: Path):
    place = tmp_path / "Zyxwvut"
    with zipfile.ZipFile(tmp_path / "Qwertzu.zip", "w") as packed:
        packed.writestr("../Zyxwvut", "x")
    write(place / "a", planted()[:3])
    other = planted()[3:6]
    for one in other:
        one.PatientID, one.StudyInstanceUID = "SECRET-4711-2", "1.2"
    write(place / "b", other)
    (tmp_path / "DICOMDIR").write_bytes((place / "a" / "IM0000").read_bytes())
    for source in (tmp_path / "Qwertzu.zip", place, tmp_path / "DICOMDIR", tmp_path / "Zyxwvut-absent"):
        with pytest.raises(ReadingError) as caught:
            read_study(source)
        assert not found(str(caught.value)), source
    assert not found(repr(read_studies(place)))


def test_when_digests_of_a_patient_are_made_then_they_are_no_known_hash(tmp_path: Path):
    from cmr_hf.studies.headers import read_header

    write(tmp_path, planted()[:1])
    header = read_header(tmp_path / "IM0000", 1)
    assert all(len(part) == 24 for part in header.person)
    assert not found(repr(vars(header)))


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("cine_trufi_retro 4CH", {"4CH", "cine", "bSSFP"}),
        ("sBTFE_BH_SA", {"SAX"}),
        ("MOLLI_5(3)3_native_SAX_T1_MAP", {"SAX", "MOLLI", "T1 map", "native"}),
        ("T2* map sax", {"SAX", "T2* map"}),
        ("PSIR_late_short axis", {"SAX", "LGE", "PSIR"}),
        ("DE_psir 4 chamber", {"4CH", "LGE", "PSIR"}),
        ("fl2d_pc_venc150 aortic valve", {"aorta", "flow"}),
        ("Coupe de Mr Ka", set()),
        ("", set()),
    ],
)
def test_when_a_description_is_read_then_its_terms_are_found(text: str, terms: set[str]):
    assert terms <= set(terms_of(text))
    if not terms:
        assert terms_of(text) == ()


def test_when_a_maker_is_unknown_then_it_is_not_named():
    assert [vendor_of(text) for text in ("SIEMENS", "GE MEDICAL SYSTEMS", "Philips", "Zyxwvut", "")] == [
        "Siemens", "GE", "Philips", "other", ""
    ]  # fmt: skip
    assert np.all([vendor_of("cmr_hf phantom") == "phantom"])
