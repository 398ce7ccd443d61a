"""UK Biobank's zips in their published layout (names, manifest columns; see `cmr_hf.data.ukbb`)."""

import dataclasses
import zipfile

import numpy as np
import pytest

from cmr_hf import ReadingError
from cmr_hf.data.readers import read
from cmr_hf.data.ukbb import list_ukbb_patients, pseudonym, read_ukbb
from tests.dicom_factory import OBLIQUE, pixels_of, write_slice

EID = "1234567"
SALT = "a secret"
MANIFEST = "filename,patientid,studyid,studydate,seriesid,series discription,date\n"
LONG_AXIS = np.array([0.0, 0.0, -1.0, 0.8, 0.6, 0.0])


def write_zip(root, field, series, manifest="manifest.cvs"):
    """`series`: description, series number, value, orientation, position of three phases."""
    work = root / "work" / field
    lines = [MANIFEST]
    for description, number, value, orientation, position in series:
        for t in range(3):
            name = f"1.3.12.{number}.{value}.{t}.dcm"
            write_slice(
                work / name,
                pixels_of(value, t),
                SeriesInstanceUID=f"1.3.12.{number}",
                SeriesNumber=number,
                PatientID=EID,
                TriggerTime=30 * t,
                ImageOrientationPatient=orientation.tolist(),
                ImagePositionPatient=np.round(position, 6).tolist(),
            )
            lines.append(f"{name},{EID},1,Aug 30, 2015,{number},{description},x\n")  # the comma is not quoted
    path = root / "20209" / f"{EID}_{field}_2_0.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for own in sorted(work.iterdir()):
            file.write(own, own.name)
        if manifest:
            file.writestr(manifest, "".join(lines))
    return path


@pytest.fixture
def biobank(tmp_path):
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    sax = [(f"CINE_segmented_SAX_b{z + 1}", 10 + z, z, OBLIQUE, 10.0 * z * normal) for z in range(3)]
    sax.append(("CINE_segmented_SAX_b2", 20, 5, OBLIQUE, 10.0 * normal))  # the second slice again
    sax.append(("CINE_segmented_SAX_InlineVF", 21, 6, OBLIQUE, 10.0 * normal))
    write_zip(tmp_path, "20209", sax)
    lax = [(f"CINE_segmented_LAX_{n}Ch", 30 + n, n, LONG_AXIS, np.zeros(3)) for n in (2, 3, 4)]
    write_zip(tmp_path, "20208", lax, "manifest.csv")
    return tmp_path


def test_slices_and_views_come_from_the_manifest(biobank):
    stacks = list(read_ukbb(biobank, salt=SALT))
    assert [(stack.series, stack.view, stack.phase_index) for stack in stacks] == [
        (series, view, t)
        for series, view in (("2ch", "2CH"), ("3ch", "3CH"), ("4ch", "4CH"), ("sax", "SAX"))
        for t in range(3)
    ]
    assert {stack.study for stack in stacks} == {"2_0"}
    for t, stack in enumerate(stacks[9:]):
        assert stack.images[:, 0, 0].tolist() == [t, 500 + t, 200 + t]  # of the slice taken twice, the last
    assert [stack.images[0, 0, 0] for stack in stacks[:9:3]] == [200, 300, 400]


def test_the_participant_number_appears_nowhere(biobank):
    (patient,) = list_ukbb_patients(biobank, salt=SALT)
    assert patient == pseudonym(EID, SALT) != pseudonym(EID, "another secret")
    for stack in read_ukbb(biobank, salt=SALT):
        assert stack.patient == patient
        assert EID not in str(dataclasses.asdict(stack))
    path = next(biobank.rglob(f"{EID}_20209_2_0.zip"))
    path.write_bytes(path.read_bytes()[:500])
    problems = []
    assert list(read("ukbb", biobank, on_error=lambda *found: problems.append(found), salt=SALT)) == []
    ((who, error),) = problems
    assert who == patient
    assert "damaged zip" in str(error)
    assert EID not in str(error)


def test_the_salt_is_needed_unless_the_number_may_be_seen(biobank, monkeypatch):
    monkeypatch.delenv("CMR_HF_SALT", raising=False)
    with pytest.raises(ReadingError, match="set CMR_HF_SALT or pass salt="):
        list_ukbb_patients(biobank)
    monkeypatch.setenv("CMR_HF_SALT", SALT)
    assert list_ukbb_patients(biobank) == [pseudonym(EID, SALT)]
    assert list_ukbb_patients(biobank, keep_eid=True) == [EID]
    assert next(read_ukbb(biobank, keep_eid=True)).patient == EID


def test_when_a_zip_is_not_ukbbs_then_the_reader_says_so(tmp_path):
    with pytest.raises(ReadingError, match="point `root` above UK Biobank's zips"):
        list_ukbb_patients(tmp_path, salt=SALT)
    series = [("flow_250_tp_AoV_bh_ePAT@c", 1, 1, OBLIQUE, np.zeros(3))]
    write_zip(tmp_path, "20209", series)
    with pytest.raises(ReadingError, match="names no CINE_segmented_SAX_"):
        list(read_ukbb(tmp_path, salt=SALT))
    write_zip(tmp_path, "20209", series, manifest=None)
    with pytest.raises(ReadingError, match="has no manifest.csv or manifest.cvs"):
        list(read_ukbb(tmp_path, salt=SALT))
    with pytest.raises(ReadingError, match="with the salt of before"):
        list(read_ukbb(tmp_path, ["ukbb-0"], salt=SALT))
