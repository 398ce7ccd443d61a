"""Repeats, gaps, mixed numbers of phases, several axes of time, enhanced files and broken pixels."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from cmr_hf.hub.reading_cmr import ReadingError
from cmr_hf.studies import read_study
from tests.multiframe_factory import cine_frames, write_multiframe
from tests.studies.study_factory import CINE, FOUR_CHAMBER, LATE, SAX, cine, codes, picture, statuses, write


def later(files: list[FileDataset], series: int, minutes: int) -> list[FileDataset]:
    """The same slices acquired again, as another series with other pixels."""
    for one in files:
        one.SeriesNumber, one.SeriesInstanceUID = series, f"1.2.3.4.{series}"
        one.SOPInstanceUID += f".{series}"
        one.AcquisitionTime = f"09{2 + minutes:02d}{one.AcquisitionTime[4:]}"
        one.PixelData = (one.pixel_array + 10_000).tobytes()
    return files


def place_of(one: FileDataset) -> int:
    return int(one.pixel_array[0, 0]) % 1000 // 50


def test_when_a_slice_is_acquired_again_then_the_later_one_is_kept_and_it_is_said(tmp_path: Path):
    again = [one for one in cine(2, 4, SAX, "cine SAX") if place_of(one) == 2]
    study = read_study(write(tmp_path, cine(2, 4, SAX, "cine SAX") + later(again, 9, 8)))
    (stack,) = study.stacks
    assert codes(stack)[0] == (2000, 2050, 12100, 2150)
    (reason,) = {one.reason for one in study.files if one.status == "left out"}
    assert reason == "a repeat of a slice position: the one kept was acquired later (stack 1)"
    assert statuses(study) == {"used": 24, "left out": 6}


def test_when_the_later_one_is_cut_short_then_the_fuller_one_is_kept(tmp_path: Path):
    again = [one for one in cine(2, 4, SAX, "cine SAX") if place_of(one) == 2][:4]
    study = read_study(write(tmp_path, cine(2, 4, SAX, "cine SAX") + later(again, 9, 8)))
    assert codes(study.stacks[0])[0] == (2000, 2050, 2100, 2150)
    reasons = {one.reason for one in study.files if one.status == "left out"}
    assert reasons == {"a repeat of a slice position: the one kept has 6 images instead of 4 (stack 1)"}


def test_when_a_whole_stack_is_acquired_again_then_both_are_kept_and_it_is_said(tmp_path: Path):
    study = read_study(write(tmp_path, cine(2, 4, SAX, "cine SAX") + later(cine(2, 4, SAX, "cine SAX"), 9, 8)))
    assert [codes(one)[0][0] for one in study.stacks] == [2000, 12000]
    assert [(one.kind, one.stacks) for one in study.relations] == [("acquired again", (2, 1))]
    assert statuses(study) == {"used": 48}


@pytest.mark.parametrize("description", ["MOLLI T1 MAP", ""])
def test_when_maps_come_before_and_after_contrast_then_they_are_never_taken_for_repeats(
    tmp_path: Path, description: str
):
    tags = {"ImageType": ["DERIVED", "PRIMARY", "T1 MAP"], "RescaleType": "ms"}
    before = [picture(5, place, 0, SAX, description, place + 1, **tags) for place in range(3)]
    after = later([picture(5, place, 0, SAX, description, place + 1, **tags) for place in range(3)], 30, 25)
    study = read_study(write(tmp_path, before + after))
    assert [one.shape[:2] for one in study.stacks] == [(1, 3), (1, 3)]


def test_when_slices_are_missing_then_the_gap_is_named(tmp_path: Path):
    files = [one for one in cine(2, 8, SAX, "cine SAX") if place_of(one) not in (3, 4)]
    (stack,) = read_study(write(tmp_path, files)).stacks
    assert stack.slice_distance_mm == pytest.approx(10.0)
    (gap,) = stack.gaps
    assert (gap.after, gap.missing) == (2, 2)
    assert gap.distance_mm == pytest.approx(30.0)
    assert "a gap of 30.0 mm between slices 3 and 4, where 10.0 mm is usual: 2 missing" in stack.notes
    np.testing.assert_allclose(
        stack.slice_affines[3][:3, 3], files[18].ImagePositionPatient, atol=1e-6
    )  # exact beyond the gap


def test_when_slices_differ_in_their_number_of_phases_then_they_share_the_usual_one(tmp_path: Path):
    more = [one for one in cine(2, 4, SAX, "cine SAX", phases=12) if place_of(one) == 1]
    files = [one for one in cine(2, 4, SAX, "cine SAX") if place_of(one) != 1]
    study = read_study(write(tmp_path, files + more))
    (stack,) = study.stacks
    assert stack.shape[:2] == (6, 4)
    assert [row[1] for row in codes(stack)] == [2050, 2052, 2054, 2056, 2058, 2060]
    np.testing.assert_array_equal(stack.trigger_times_ms[:, 1], 150.0 * np.arange(6))
    assert statuses(study) == {"used": 24, "left out": 6}


def test_when_a_slice_has_too_few_phases_then_it_is_left_out_and_it_is_said(tmp_path: Path):
    files = cine(2, 5, SAX, "cine SAX", phases=10)
    study = read_study(write(tmp_path, files[:13] + files[20:]))
    (stack,) = study.stacks
    assert stack.shape[:2] == (10, 4)
    assert stack.gaps[0].missing == 1
    reasons = {one.reason for one in study.files if one.status == "left out"}
    assert reasons == {"a slice position with 3 images where the stack has 10 (stack 1)"}


def test_when_slices_come_as_series_then_only_those_of_one_place_and_grid_are_joined(tmp_path: Path):
    files = cine(2, 6, SAX, "cine SAX")
    for one in files:
        place = place_of(one)
        one.SeriesInstanceUID += f".{place}"
        one.SeriesNumber = 20 + place
        if place == 4:
            one.FrameOfReferenceUID = "1.2.3.4.98"
        if place == 5:
            one.PixelSpacing = [1.3, 1.5]
    study = read_study(write(tmp_path, files))
    assert sorted(one.shape[1] for one in study.stacks) == [1, 1, 4]


def test_when_images_come_beat_after_beat_then_they_are_repeats_not_phases(tmp_path: Path):
    files = []
    for beat in range(12):
        for place in range(3):
            time = {"AcquisitionTime": f"10{beat // 60:02d}{beat % 60:02d}.{place}", "TriggerTime": str(100 + place)}
            more = CINE | time | {"NominalInterval": 900}
            files.append(picture(2, place, beat, SAX, "perf stress", beat * 3 + place + 1, **more))
    (stack,) = read_study(write(tmp_path, files)).stacks
    assert (stack.axis, stack.shape[:2], stack.image_type.value) == ("repeat", (12, 3), "other")
    assert codes(stack) == tuple(tuple(2000 + 50 * z + t for z in range(3)) for t in range(12))
    assert stack.phase_times_ms is None


def test_when_echoes_follow_each_other_then_they_are_the_axis(tmp_path: Path):
    files = [
        picture(
            2,
            place,
            echo,
            SAX,
            "T2 star",
            place * 8 + echo + 1,
            EchoTime=f"{2 + 2.2 * echo:.1f}",
            ScanningSequence="GR",
        )
        for place in range(2)
        for echo in range(8)
    ]
    (stack,) = read_study(write(tmp_path, files)).stacks
    assert (stack.axis, stack.shape[:2]) == ("echo", (8, 2))
    np.testing.assert_allclose(stack.echo_times_ms[:, 0], 2 + 2.2 * np.arange(8))


def test_when_late_enhancement_changes_its_inversion_time_then_it_stays_one_stack(tmp_path: Path):
    files = [picture(6, k, 0, SAX, "LGE", k + 1, **LATE | {"InversionTime": str(280 + 10 * k)}) for k in range(4)]
    (stack,) = read_study(write(tmp_path, files)).stacks
    assert (stack.axis, stack.shape[:2], stack.image_type.value) == ("still", (1, 4), "LGE")
    np.testing.assert_array_equal(stack.inversion_times_ms, [[280, 290, 300, 310]])


def test_when_a_file_is_enhanced_then_its_frames_are_sorted_and_known_by_number(tmp_path: Path):
    pixels, frames = cine_frames(range(3), 5, seed=4)
    for macros in frames:
        macros["CardiacSynchronizationSequence"]["RRIntervalTimeNominal"] = 800.0
    write_multiframe(tmp_path / "a", pixels, frames, SeriesDescription="cine", TriggerTime=None)
    study = read_study(tmp_path)
    (stack,) = study.stacks
    assert (stack.axis, stack.shape) == ("phase", (5, 3, 12, 16))
    assert codes(stack) == tuple(tuple(100 * z + t for z in range(3)) for t in range(5))
    for t, row in enumerate(stack.frames):
        for z, frame in enumerate(row):
            assert pixels[frame.slice.index][0, 0] == 100 * z + t
    assert stack.rr_ms == 800
    assert stack.phase_times_ms == (0, 40, 80, 120, 160)
    assert statuses(study) == {"used": 1}


def test_when_pixels_cannot_be_decoded_then_the_stack_says_so_and_goes_on_without(tmp_path: Path):
    files = cine(2, 3, SAX, "cine SAX") + [picture(3, 0, 0, FOUR_CHAMBER, "LGE 4ch", 1, **LATE)]
    study = read_study(write(tmp_path, files))
    for name in ("IM0008", "IM0018"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-50])
    stack, still = study.stacks
    with pytest.raises(ReadingError, match=r"stack 1 needs frames that can be decoded, got 1 .*readable"):
        stack.image()
    rest, broken = stack.readable()
    assert rest.shape[:2] == (6, 3)
    assert [row[1] % 50 for row in codes(rest)][2] in (1, 3)
    assert list(broken) == [9]
    assert "truncated" in broken[9]
    assert still.readable() == (None, {19: broken[9]})


def test_when_words_and_orientation_differ_then_the_opinion_is_not_agreed(tmp_path: Path):
    files = cine(2, 5, SAX, "cine SAX") + cine(3, 1, FOUR_CHAMBER, "cine 2ch")
    study = read_study(write(tmp_path, files))
    assert [(one.view.value, one.view.agreed) for one in study.stacks] == [("SAX", True), ("2CH", False)]
    assert any("4CH" in line for line in study.stacks[1].view.evidence)


def test_when_a_heart_rate_cannot_be_then_it_is_not_believed_but_the_trigger_times_are(tmp_path: Path):
    files = cine(2, 2, SAX, "cine SAX")
    for one in files:
        del one.NominalInterval
        one.HeartRate = 172
    (stack,) = read_study(write(tmp_path, files)).stacks
    assert stack.time_source == "TriggerTime"
    assert stack.phase_times_ms == (0, 150, 300, 450, 600, 750)
    assert stack.rr_ms is stack.heart_rate_bpm is None
    assert "a heart beat of 349 ms is not believed: the trigger times run on for longer" in stack.notes


def test_when_a_series_holds_a_slice_twice_then_its_two_acquisitions_are_not_mixed(tmp_path: Path):
    again = [one for one in cine(2, 4, SAX, "cine SAX") if place_of(one) == 2]
    for one in later(again, 2, 5):
        one.InstanceNumber += 100
        one.AcquisitionTime = None
        one.AcquisitionNumber = 2
    files = cine(2, 4, SAX, "cine SAX")
    for one in files:
        one.AcquisitionTime = None
        one.AcquisitionNumber = 1
    study = read_study(write(tmp_path, files + again))
    (stack,) = study.stacks
    assert [row[2] for row in codes(stack)] == [12100 + t for t in range(6)]
    assert {one.reason for one in study.files if one.status == "left out"} == {
        "a repeat of a slice position: the one kept comes later in the series (stack 1)"
    }


def test_when_a_stack_is_taken_twice_and_a_slice_thrice_then_the_last_whole_one_takes_the_third(tmp_path: Path):
    first, second = cine(2, 4, SAX, "cine SAX"), later(cine(2, 4, SAX, "cine SAX"), 9, 8)
    third = later(later([one for one in cine(2, 4, SAX, "cine SAX") if place_of(one) == 1], 9, 8), 12, 10)
    study = read_study(write(tmp_path, first + second + third))
    assert [codes(one)[0] for one in study.stacks] == [(2000, 2050, 2100, 2150), (12000, 22050, 12100, 12150)]
    assert statuses(study) == {"used": 48, "left out": 6}
