from pathlib import Path

import numpy as np
import pydicom
import pytest

from cmr_hf.samples import SAMPLES, sample

FOLDER = Path(sample("sax_cine"))
FILES = sorted(FOLDER.glob("*.dcm"))


@pytest.fixture(scope="module")
def headers():
    return [pydicom.dcmread(file) for file in FILES]


def test_every_sample_is_a_folder_that_exists():
    assert all(sample(name).is_dir() for name in SAMPLES)


def test_when_the_name_is_unknown_then_it_raises_and_lists_the_names():
    with pytest.raises(ValueError, match="sax_cine"):
        sample("lax")


def test_the_sample_is_six_slices_by_thirteen_phases_and_under_six_megabytes():
    assert len(FILES) == 78
    assert {f.name for f in FOLDER.iterdir()} == {f.name for f in FILES}
    assert sum(f.stat().st_size for f in FOLDER.parent.rglob("*") if f.is_file()) <= 6_000_000


def test_no_private_elements_and_no_identity(headers):
    names = {
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "StudyID",
    }
    dated = {"DA", "DT", "TM", "PN"}
    for header in headers:
        elements = list(header.iterall())
        assert not [e.tag for e in elements if e.tag.is_private]
        assert not [e for e in elements if (e.VR in dated or e.keyword in names) and str(e.value or "")]
        assert not {e.keyword for e in elements} & {"DeviceSerialNumber", "InstitutionName", "ImageComments"}
        assert header.PatientIdentityRemoved == "YES"


def test_uids_carry_neither_serial_number_nor_date(headers):
    # the root of the scanner's own UIDs, and of the anonymiser's (which end in the time of export)
    for header in headers:
        uids = [e.value for e in header.iterall() if e.VR == "UI"] + [header.file_meta.MediaStorageSOPInstanceUID]
        assert not [u for u in uids if str(u).startswith(("1.3.12.2.1107", "1.2.826.0.1.3680043.9.1400"))]
    assert len({h.SOPInstanceUID for h in headers}) == len(headers)


def test_slices_are_17_7_mm_apart_and_phases_are_in_time_order(headers):
    positions_mm = {}
    for file, header in zip(FILES, headers, strict=True):
        across, down = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        position = np.cross(across, down) @ np.array(header.ImagePositionPatient, float)
        positions_mm.setdefault(file.name[:7], []).append((float(header.TriggerTime), position))
    assert len(positions_mm) == 6
    for frames in positions_mm.values():
        assert [t for t, _ in frames] == sorted(t for t, _ in frames)
        assert len(frames) == 13
    centres = [frames[0][1] for frames in positions_mm.values()]
    np.testing.assert_allclose(np.diff(centres), 17.7, atol=0.01)
    assert {tuple(map(float, h.PixelSpacing)) for h in headers} == {(1.40625, 1.40625)}


def test_pixels_can_be_read_and_are_an_image(headers):
    for header in headers[::13]:
        pixels = header.pixel_array
        assert pixels.shape == (208, 256)
        assert 0 < pixels.max() <= header.LargestImagePixelValue


def test_licence_and_attribution_are_beside_the_sample():
    assert "Apache License" in (FOLDER.parent / "LICENSE").read_text()
    assert "biv-me" in (FOLDER.parent / "ATTRIBUTION.md").read_text()
