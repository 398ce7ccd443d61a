"""Copies of one study, shuffled, renamed, duplicated, truncated, stripped and in other dialects, sort alike."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset

from cmr_hf.studies import Study, read_studies, read_study
from tests.studies.study_factory import cine, codes, small_study, sorted_codes, statuses, write

SETTINGS = settings(
    max_examples=3, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
COUNT = len(small_study())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    return sorted_codes(read_study(write(tmp_path_factory.mktemp("study"), small_study())))


def written_and_read(files: list[FileDataset], names: list[str] | None = None) -> Study:
    """Reads the study; decodes it while the folder is there."""
    with tempfile.TemporaryDirectory() as folder:
        study = read_study(write(Path(folder), files, names))
        object.__setattr__(study, "codes", sorted_codes(study))
        return study


@SETTINGS
@given(seed=st.integers(0, 2**32), copies=st.integers(0, 12))
def test_when_files_are_shuffled_renamed_and_copied_then_the_stacks_are_the_same(original, seed: int, copies: int):
    rng = random.Random(seed)
    files = small_study()
    files += [rng.choice(files) for _ in range(copies)]
    rng.shuffle(files)
    names = [f"{'/'.join(rng.choices('abc', k=rng.randrange(3)))}/{rng.random()}".lstrip("/") for _ in files]
    study = written_and_read(files, names)
    assert study.codes == original
    assert statuses(study) == {"used": COUNT} | ({"left out": copies} if copies else {})
    assert {one.reason for one in study.files if one.status == "left out"} <= {
        "a copy of another file: same identifiers, place and time"
    }


def dialect(change: Callable[[FileDataset, int], None]) -> list[FileDataset]:
    files = small_study()
    for number, one in enumerate(files):
        change(one, number)
    return files


def without(*keywords: str) -> Callable[[FileDataset, int], None]:
    def change(one: FileDataset, _: int) -> None:
        for keyword in keywords:
            if keyword in one:
                delattr(one, keyword)

    return change


def with_tags(**tags: object) -> Callable[[FileDataset, int], None]:
    def change(one: FileDataset, number: int) -> None:
        for keyword, value in tags.items():
            setattr(one, keyword, value(number) if callable(value) else value)

    return change


def ge(one: FileDataset, _: int) -> None:
    """ImageType says OTHER for all but maps; a private tag tells magnitude, phase and real; field in gauss."""
    if "T1 MAP" not in one.ImageType:
        part = {"M": 0, "P": 1, "R": 2}[one.ImageType[2]]
        one.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
        one.add_new(0x00430010, "LO", "GEMS_PARM_01")
        one.add_new(0x0043102F, "SS", part)
    one.Manufacturer, one.MagneticFieldStrength = "GE MEDICAL SYSTEMS", "15000"


def philips(one: FileDataset, _: int) -> None:
    types = {"M": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"], "P": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "PCA"],
             "R": ["ORIGINAL", "PRIMARY", "CR_IR", "CR", "IR"]}  # fmt: skip
    one.ImageType = types.get(one.ImageType[2], one.ImageType)
    one.Manufacturer = "Philips Medical Systems"


def series_per_slice(one: FileDataset, _: int) -> None:
    if one.SeriesNumber in (2, 4, 5, 6):
        place = int(one.pixel_array[0, 0]) % 1000 // 50
        one.SeriesInstanceUID += f".{place}"
        one.SeriesNumber = int(one.SeriesNumber) * 100 + place


DIALECTS: dict[str, Callable[[FileDataset, int], None]] = {
    "no trigger times": without("TriggerTime"),
    "trigger times all 0": lambda one, _: with_tags(TriggerTime="0")(one, 0) if "TriggerTime" in one else None,
    "trigger times of any beat": lambda one, n: (
        with_tags(TriggerTime=str(float(one.TriggerTime) + 900 * (n % 7)))(one, n) if "TriggerTime" in one else None
    ),
    "phase percentages": lambda one, _: (
        with_tags(NominalPercentageOfCardiacPhase=float(one.TriggerTime) / 9, TriggerTime=None, InstanceNumber=None)(
            one, 0
        )
        if "TriggerTime" in one
        else None
    ),
    "one UID for all series": with_tags(SeriesInstanceUID="1.2.3"),
    "a series UID for each image": with_tags(SeriesInstanceUID=lambda n: f"1.2.3.{n}"),
    "no series UIDs": without("SeriesInstanceUID"),
    "invalid UIDs": with_tags(StudyInstanceUID="1.2.003.x", FrameOfReferenceUID="0.00.1"),
    "one instance UID for all": with_tags(SOPInstanceUID="1.2.3"),
    "no instance UIDs": without("SOPInstanceUID"),
    "no study, patient, place": without("StudyInstanceUID", "PatientID", "PatientName", "FrameOfReferenceUID"),
    "no descriptions, no maker": without("SeriesDescription", "Manufacturer", "MagneticFieldStrength"),
    "no times of acquisition": without("AcquisitionDate", "AcquisitionTime"),
    "no modality": without("Modality"),
    "no timing of the sequence": without("EchoTime", "RepetitionTime", "FlipAngle", "ScanningSequence"),
    "GE": ge,
    "Philips": philips,
    "a series for each slice": series_per_slice,
    "a series for each slice, no times": lambda one, n: (
        series_per_slice(one, n),
        without("AcquisitionDate", "AcquisitionTime")(one, n),
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_when_a_study_is_written_in_another_way_then_the_stacks_are_the_same(original, name: str):
    study = written_and_read(dialect(DIALECTS[name]))
    assert study.codes == original
    assert statuses(study) == {"used": COUNT}


@SETTINGS
@given(seed=st.integers(0, 2**32), names=st.sets(st.sampled_from(sorted(DIALECTS)), min_size=2, max_size=2))
def test_when_dialects_and_names_mix_then_no_file_is_lost_and_most_stacks_are_the_same(
    original, seed: int, names: set[str]
):
    rng = random.Random(seed)
    files = small_study()
    for name in sorted(names):
        for number, one in enumerate(files):
            DIALECTS[name](one, number)
    rng.shuffle(files)
    study = written_and_read(files, [f"{rng.random()}" for _ in files])
    assert len(study.files) == COUNT
    told = all(one.status == "used" or one.reason for one in study.files)
    assert told
    if study.codes != original:  # with this little left it may be sorted otherwise, but never mixed up
        for _, rows in study.codes:
            series = {code // 1000 for row in rows for code in row}
            assert len(series) == 1


@SETTINGS
@given(seed=st.integers(0, 2**32), broken=st.integers(1, 6))
def test_when_files_are_truncated_then_they_are_named_and_the_rest_is_sorted(seed: int, broken: int):
    rng = random.Random(seed)
    files = small_study()
    with tempfile.TemporaryDirectory() as place:
        folder = write(Path(place), files)
        chosen = rng.sample(sorted(folder.iterdir()), broken)
        for path in chosen:
            data = path.read_bytes()
            path.write_bytes(data[: rng.randrange(200, len(data) - 1)])
        study = read_study(folder)
        for stack in study.stacks:
            assert stack.image().pixels.shape == stack.shape
    bad = {one.path for one in study.files if one.status in ("unreadable", "listed")}
    assert bad == {path.name for path in chosen}
    assert all(one.reason for one in study.files if one.status != "used")
    assert len(study.files) == COUNT


def test_when_a_phase_of_a_slice_is_missing_then_the_nearest_stands_for_it_and_it_is_said(tmp_path: Path):
    files = cine(2, 4, small_study()[6].ImageOrientationPatient, "cine SAX", phases=10)
    (stack,) = read_study(write(tmp_path, files[:13] + files[14:])).stacks
    assert stack.shape[:2] == (10, 4)
    assert "slice 2 has 9 phases where the stack has 10: the nearest are taken" in stack.notes
    assert [row[1] % 50 for row in codes(stack)] == [0, 1, 2, 2, 4, 5, 6, 7, 8, 9]
    assert [row[0] % 50 for row in codes(stack)] == list(range(10))


def test_when_everything_that_sorts_is_gone_then_the_order_of_the_export_is_left_and_it_is_said(tmp_path: Path):
    files = [one for one in small_study() if one.SeriesNumber == 2]
    strip = without("ImageOrientationPatient", "ImagePositionPatient", "SliceLocation", "SOPInstanceUID")
    for number, one in enumerate(files):
        strip(one, number)
    (stack,) = read_study(write(tmp_path, files)).stacks
    assert stack.shape[:2] == (6, 4)
    assert codes(stack) == tuple(tuple(2000 + 50 * z + t for z in range(4)) for t in range(6))
    assert stack.affine is None
    assert stack.slice_distance_mm is None
    assert any("does not place the slices" in note for note in stack.notes)


def test_when_a_header_is_full_of_nonsense_then_nothing_stops(tmp_path: Path):
    files = small_study()
    for number, one in enumerate(files[:12]):
        tag = (0x00181060, 0x00200032, 0x00280030, 0x00200037)[number % 4]
        one[tag] = DataElement(tag, "DS", "nonsense", already_converted=True)
        one.SpecificCharacterSet = "nonsense"
        one.ReferencedImageSequence = [Dataset()]
    study = read_study(write(tmp_path, files))
    assert len(study.files) == COUNT
    assert sum(one.status == "used" for one in study.files) >= COUNT - 12


@SETTINGS
@given(seed=st.integers(0, 2**32))
def test_when_bytes_are_damaged_then_every_file_is_still_accounted_for(seed: int):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = write(Path(place), small_study())
        for path in folder.iterdir():
            data = bytearray(path.read_bytes())
            for _ in range(rng.choice((0, 1, 3, 20))):
                data[rng.randrange(len(data))] = rng.randrange(256)
            path.write_bytes(data)
        studies = read_studies(folder)
        for stack in (stack for study in studies for stack in study.stacks):
            rest, broken = stack.readable()
            assert (rest.image().pixels.shape == rest.shape) if rest else broken
    entries = [one for study in studies for one in study.files]
    assert len(entries) == COUNT
    assert all(one.status == "used" or one.reason for one in entries)
