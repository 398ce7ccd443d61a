"""Headers of phantom studies: what DICOM asks for is there, nobody is named, and exports differ as vendors' do."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

from cmr_hf import read_image
from cmr_hf.phantoms import Dialect, Heart, Protocol, Scanner, write_study
from cmr_hf.phantoms.people import Person, disease_and_seed, pseudonym
from cmr_hf.phantoms.protocol import series_of as planned
from tests.phantoms.study_factory import headers, series_of, small

# type 1 and 2 of the modules of PS3.3 A.4 (MR Image); type 1 has a value
TYPE_1 = """SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID Modality ImageType
    PixelSpacing ImageOrientationPatient ImagePositionPatient SamplesPerPixel PhotometricInterpretation Rows Columns
    BitsAllocated BitsStored HighBit PixelRepresentation PixelData ScanningSequence SequenceVariant""".split()
TYPE_2 = """PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID
    AccessionNumber SeriesNumber Manufacturer PositionReferenceIndicator InstanceNumber SliceThickness ScanOptions
    MRAcquisitionType RepetitionTime EchoTime EchoTrainLength TriggerTime PatientPosition""".split()
USUAL = """SeriesDescription ProtocolName SpacingBetweenSlices NominalInterval CardiacNumberOfImages FlipAngle
    MagneticFieldStrength WindowCenter WindowWidth PatientSize PatientWeight PatientIdentityRemoved""".split()
ENHANCED = """NumberOfFrames SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence DimensionIndexSequence
    DimensionOrganizationSequence ContentDate ContentTime ImageType PixelPresentation VolumetricProperties
    VolumeBasedCalculationTechnique ComplexImageComponent AcquisitionContrast ContentQualification ResonantNucleus
    MagneticFieldStrength DeviceSerialNumber ManufacturerModelName SoftwareVersions PresentationLUTShape
    BurnedInAnnotation LossyImageCompression AcquisitionDateTime AcquisitionDuration KSpaceFiltering
    ApplicableSafetyStandardAgency CardiacSynchronizationTechnique""".split()
KINDS = ("localizer", "cine_sax", "molli", "t1_native", "lge_sax_psir")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "study"
    write_study(folder, "DCM", 4, small(*KINDS, slices=3))
    return folder


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("name", KINDS)
def test_single_frames_have_what_the_mr_image_object_asks_for(study: Path, name: str):
    numbers = []
    for dataset in headers(study, name):
        assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == MRImageStorage
        for keyword in TYPE_1 + USUAL:
            assert dataset.get(keyword) not in (None, ""), keyword
        for keyword in TYPE_2:
            assert keyword in dataset, keyword
        assert dataset.get("InversionTime") is not None or "IR" not in dataset.ScanningSequence
        for element in dataset:
            if element.VR == "UI":
                assert element.value.is_valid
                assert len(element.value) <= 64
            if element.VR == "DS":
                assert all(len(str(value)) <= 16 for value in np.atleast_1d(element.value))
        cosines = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
        np.testing.assert_allclose(cosines @ cosines.T, np.eye(2), atol=1e-6)
        assert dataset.pixel_array.max() < 2**dataset.BitsStored
        assert str(dataset.PatientName).startswith("PHANTOM^")
        assert dataset.PatientIdentityRemoved == "YES"
        numbers.append(dataset.InstanceNumber)
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_instances_are_told_apart_and_belong_together(study: Path):
    files = [pydicom.dcmread(path) for path in study.rglob("*.dcm")]
    assert len({one.SOPInstanceUID for one in files}) == len(files)
    assert len({one.SeriesInstanceUID for one in files}) == len({one.SeriesNumber for one in files}) == len(KINDS)
    for shared in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert len({str(one[shared].value) for one in files}) == 1
    assert {one.PatientID for one in files} == {"PHANTOM-DCM-000004"}


def test_multiframe_files_have_what_the_enhanced_object_asks_for(tmp_path: Path):
    write_study(tmp_path / "a", "DCM", 4, small(*KINDS, slices=3), Dialect(multiframe=True))
    for name in KINDS:
        (dataset,) = headers(tmp_path / "a", name)
        assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == EnhancedMRImageStorage
        for keyword in ENHANCED:
            assert dataset.get(keyword) not in (None, ""), keyword
        frames = dataset.PerFrameFunctionalGroupsSequence
        assert dataset.NumberOfFrames == len(frames) == len(dataset.pixel_array)
        indices = [tuple(one.FrameContentSequence[0].DimensionIndexValues) for one in frames]
        assert len(set(indices)) == len(indices)
        assert indices == sorted(indices)
        shared = dataset.SharedFunctionalGroupsSequence[0]
        for sequence in ("PixelMeasuresSequence", "MRImageFrameTypeSequence", "FrameAnatomySequence"):
            assert len(shared[sequence].value) == 1
    molli = headers(tmp_path / "a", "molli")[0].PerFrameFunctionalGroupsSequence
    assert len({one.MRModifierSequence[0].InversionTimes for one in molli}) == 8


def test_equal_arguments_write_equal_files_and_others_share_no_identifier(tmp_path: Path):
    protocol = small("cine_4ch", "t2_map", phases=2)
    for name, seed, dialect in (("a", 1, None), ("again", 1, None), ("b", 2, None), ("c", 1, Dialect(multiframe=True))):
        write_study(tmp_path / name, "NORM", seed, protocol, dialect)
    assert digest(tmp_path / "a") == digest(tmp_path / "again")
    seen = [
        {pydicom.dcmread(path).StudyInstanceUID for path in (tmp_path / name).rglob("*.dcm")}
        for name in ("a", "b", "c")
    ]
    assert len(set.union(*seen)) == 3


def test_a_series_does_not_depend_on_what_else_is_scanned(tmp_path: Path):
    write_study(tmp_path / "a", "NORM", 1, small("cine_4ch", "t2_map", phases=2))
    write_study(tmp_path / "b", "NORM", 1, small("t2_map"))
    one, other = (headers(tmp_path / name, "t2_map")[0] for name in "ab")
    np.testing.assert_array_equal(one.pixel_array, other.pixel_array)


def test_exports_differ_as_vendors_do_and_still_read_as_one_stack(tmp_path: Path):
    protocol = small("cine_sax", slices=4)
    plain = tmp_path / "plain"
    write_study(plain, "RV", 2, protocol)
    expected = read_image(plain / "dicom")

    write_study(tmp_path / "a", "RV", 2, protocol, Dialect(trigger_times=False))
    assert not any("TriggerTime" in one for one in headers(tmp_path / "a", "cine_sax"))
    write_study(tmp_path / "b", "RV", 2, protocol, Dialect(series_per_slice=True))
    assert len({one.SeriesInstanceUID for one in headers(tmp_path / "b", "cine_sax")}) == 4
    assert len(series_of(tmp_path / "b", "cine_sax")["series_instance_uids"]) == 4
    write_study(tmp_path / "c", "RV", 2, protocol, Dialect(shuffled_names=True))
    names = sorted(path.name for path in (tmp_path / "c" / "dicom").iterdir())
    assert all(re.fullmatch("[0-9A-F]{8}", name) for name in names)
    numbers = [pydicom.dcmread(tmp_path / "c" / "dicom" / name).InstanceNumber for name in names]
    assert numbers != sorted(numbers)
    for name in "abc":
        image = read_image(tmp_path / name / "dicom")
        np.testing.assert_array_equal(image.pixels, expected.pixels)
        np.testing.assert_array_equal(image.affine, expected.affine)


def test_a_study_is_there_as_a_whole_or_not_at_all(tmp_path: Path):
    def broken(series):
        yield from series[:1]
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        write_study(tmp_path / "a", "NORM", 1, small("t2_map", "t1_post"), progress=broken)
    assert list(tmp_path.iterdir()) == []


def test_people_fit_their_chests_and_names_say_who_they_are():
    people = [Person.of(Heart.draw(["NORM"], seed), seed) for seed in range(30)]
    assert {one.sex for one in people} == {"M", "F"}
    assert all(1.4 <= one.height_m <= 2.0 and 40 < one.weight_kg < 130 for one in people)
    assert disease_and_seed(pseudonym("HCM", 1234567)) == ("HCM", 1234567)
    with pytest.raises(ValueError, match="`patient` needs a name like PHANTOM-NORM-000007"):
        disease_and_seed("PHANTOM-FLU-000001")


def test_when_arguments_make_no_sense_then_it_says_what_is_needed(tmp_path: Path):
    with pytest.raises(ValueError, match=r"`series` needs names of .* got \['cine'\]"):
        Protocol(("cine",))
    with pytest.raises(ValueError, match="`phases` needs a whole number from 1, got 0"):
        Protocol(phases=0)
    with pytest.raises(ValueError, match="`thickness_mm` and `spacing_mm` need positive mm"):
        Protocol(spacing_mm=float("nan"))
    with pytest.raises(ValueError, match="`series_per_slice` needs multiframe=False"):
        Dialect(multiframe=True, series_per_slice=True)
    with pytest.raises(ValueError, match="`seed` needs a whole number from 0"):
        write_study(tmp_path / "a", seed=-1)
    with pytest.raises(ValueError, match="`diseases` needs names of"):
        write_study(tmp_path / "a", "FLU")
    with pytest.raises(ValueError, match="`heart` needs one heart, got 2"):
        planned(Heart.draw(["NORM", "RV"], 1), Protocol(), 1)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="`folder` needs to be new or empty"):
        write_study(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_without_effects_the_pictures_have_no_noise(tmp_path: Path):
    for name, scanner in (("ideal", Scanner.ideal()), ("noisy", None)):
        write_study(tmp_path / name, "NORM", 1, small("cine_4ch", phases=1), scanner=scanner)
    ideal, noisy = (headers(tmp_path / name, "cine_4ch")[0].pixel_array for name in ("ideal", "noisy"))
    corner = (slice(0, 3), slice(-3, None))  # air
    assert ideal[corner].max() == 0 < noisy[corner].max()
