"""Multi-frame DICOM: the same rules as a folder of single frames, whatever the file looks like inside."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from cmr_hf.hub import dicom_pixels_cmr
from cmr_hf.hub.reading_cmr import ReadingError, read_image
from tests.dicom_factory import pixels_of, write_slice, write_stack
from tests.multiframe_factory import cine_frames, enhanced_dataset, write_multiframe


def refusal(source, **options):
    with pytest.raises(ReadingError) as caught:
        read_image(source, **options)
    return str(caught.value)


def first_pixels(image):
    return image.pixels[:, :, 0, 0].tolist()


def geometry_macros(k, **content):
    return {
        "PlanePositionSequence": {"ImagePositionPatient": [0, 0, 8 * k]},
        "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
        **content,
    }


def assert_same_image(image, other):
    assert np.array_equal(image.pixels, other.pixels)
    assert image.pixels.dtype == other.pixels.dtype
    assert np.allclose(image.affine, other.affine)
    assert image.spacing_mm == other.spacing_mm
    assert image.slice_distance_mm == pytest.approx(other.slice_distance_mm)
    assert image.trigger_times_ms == other.trigger_times_ms
    assert image.left_out == other.left_out == []


def test_a_multi_frame_cine_equals_the_same_frames_as_single_files(tmp_path):
    write_stack(tmp_path / "single", slices=3, phases=4)
    image = read_image(write_multiframe(tmp_path / "cine.dcm", *cine_frames(range(3), 4)))
    assert first_pixels(image) == [[100 * k + t for k in range(3)] for t in range(4)]
    assert_same_image(image, read_image(tmp_path / "single"))
    assert image.kind == "dicom"


@pytest.mark.parametrize("series", ["1.2.3.10", None])
def test_a_folder_may_mix_multi_frame_files_per_slice_with_single_frames(tmp_path, series):
    write_stack(tmp_path / "single", slices=4, phases=3)
    mixed = tmp_path / "mixed"
    for k in (2, 0, 1):
        tags = {"SeriesInstanceUID": series or f"1.2.3.{20 + k}"}
        write_multiframe(mixed / f"slice{k}.dcm", *cine_frames(range(k, k + 1), 3, seed=k), **tags)
    whole = write_stack(tmp_path / "rest", slices=4, phases=3)
    for path in whole[9:]:
        path.rename(mixed / path.name)
    assert_same_image(read_image(mixed), read_image(tmp_path / "single"))


def test_a_file_per_phase_in_one_series_is_one_cine(tmp_path):
    for t in range(3):
        pixels = np.stack([pixels_of(k, t) for k in range(2)])
        frames = [geometry_macros(k) for k in range(2)]
        write_multiframe(tmp_path / f"{9 - t}.dcm", pixels, frames, InstanceNumber=t + 1)
    image = read_image(tmp_path)
    assert first_pixels(image) == [[0, 100], [1, 101], [2, 102]]
    assert image.trigger_times_ms is None


TIME_MACROS = {
    "trigger delay": lambda t: {"CardiacSynchronizationSequence": {"NominalCardiacTriggerDelayTime": 30.0 * t}},
    "percentage": lambda t: {"CardiacSynchronizationSequence": {"NominalPercentageOfCardiacPhase": 25.0 * t}},
    "temporal index": lambda t: {"FrameContentSequence": {"TemporalPositionIndex": t + 1}},
    "dimension index": lambda t: {"FrameContentSequence": {"DimensionIndexValues": [1, t + 1]}},
    "converted": lambda t: {"UnassignedPerFrameConvertedAttributesSequence": {"TriggerTime": 30 * t}},
}


@pytest.mark.parametrize("macro", TIME_MACROS)
def test_whichever_tag_tells_the_time_then_phases_are_in_order(tmp_path, macro):
    moments = [2, 0, 3, 1]
    pixels = np.stack([pixels_of(0, t) for t in moments])
    frames = [geometry_macros(0, **TIME_MACROS[macro](t)) for t in moments]
    dimensions = []
    for pointer in (0x00209056, 0x00209128):
        dimensions.append(pydicom.Dataset())
        dimensions[-1].DimensionIndexPointer = pointer
    image = read_image(write_multiframe(tmp_path / "a.dcm", pixels, frames, DimensionIndexSequence=dimensions))
    assert first_pixels(image) == [[0], [1], [2], [3]]
    timed = macro in ("trigger delay", "converted")
    assert image.trigger_times_ms == ((0.0, 30.0, 60.0, 90.0) if timed else None)


def test_without_any_time_tag_phases_keep_the_order_of_the_frames(tmp_path):
    pixels = np.stack([pixels_of(0, t) for t in (0, 1, 2)])
    image = read_image(write_multiframe(tmp_path / "a.dcm", pixels, [geometry_macros(0)] * 3))
    assert first_pixels(image) == [[0], [1], [2]]


def test_without_geometry_the_position_in_the_stack_orders_slices(tmp_path):
    frames = [{"FrameContentSequence": {"InStackPositionNumber": k, "TemporalPositionIndex": t}}
              for k, t in ((2, 1), (1, 2), (2, 2), (1, 1))]  # fmt: skip
    pixels = np.stack([pixels_of(k, t) for k, t in ((1, 0), (0, 1), (1, 1), (0, 0))])
    image = read_image(write_multiframe(tmp_path / "a.dcm", pixels, frames))
    assert first_pixels(image) == [[0, 100], [1, 101]]
    assert (image.affine, image.slice_distance_mm) == (None, None)


def test_values_are_those_of_each_frame_and_stored_pixels_are_decoded_once(tmp_path, monkeypatch):
    pixels = np.stack([pixels_of(k, 0) for k in range(3)])
    frames = [
        geometry_macros(0, PixelValueTransformationSequence={"RescaleSlope": 2, "RescaleIntercept": -1}),
        geometry_macros(1, PixelValueTransformationSequence={"RescaleSlope": 1, "RescaleIntercept": 0}),
        geometry_macros(2, RealWorldValueMappingSequence={"RealWorldValueSlope": 0.5, "RealWorldValueIntercept": 3.0}),
    ]
    path = write_multiframe(tmp_path / "a.dcm", pixels, frames, RescaleSlope=100, RescaleIntercept=0)
    parsed = []
    parse = dicom_pixels_cmr.parse
    monkeypatch.setattr(dicom_pixels_cmr, "parse", lambda *args, **kw: parsed.append(1) or parse(*args, **kw))
    image = read_image(path)
    assert parsed == [1]
    assert image.pixels.dtype == np.float32
    for k, (slope, intercept) in enumerate(((2, -1), (1, 0), (0.5, 3))):
        assert np.allclose(image.pixels[0, k], pixels[k] * float(slope) + intercept)


def test_a_compressed_multi_frame_file_reads_like_the_plain_one(tmp_path):
    plain = enhanced_dataset(*cine_frames(range(2), 3))
    plain.save_as(tmp_path / "plain.dcm")
    plain.compress(RLELossless)
    plain.save_as(tmp_path / "rle.dcm")
    assert_same_image(read_image(tmp_path / "rle.dcm"), read_image(tmp_path / "plain.dcm"))


def test_old_frames_are_times_when_the_file_says_so(tmp_path):
    pixels = np.stack([pixels_of(0, t) for t in range(4)])
    old = {"NumberOfFrames": 4, "ImagePositionPatient": [1, 2, 3]}
    said = (
        ({"FrameIncrementPointer": 0x00181063, "FrameTime": 25}, (0.0, 25.0, 50.0, 75.0)),
        ({"FrameTimeVector": [0, 20, 30, 20]}, (0.0, 20.0, 50.0, 70.0)),
        ({"FrameIncrementPointer": 0x00181065}, None),
    )
    for number, (tags, times) in enumerate(said):
        image = read_image(write_slice(tmp_path / f"{number}.dcm", pixels, **old, **tags))
        assert first_pixels(image) == [[0], [1], [2], [3]]
        assert image.trigger_times_ms == times
        assert np.allclose(image.affine[:3, 3], [1, 2, 3])


def test_old_frames_are_slices_else_with_a_known_or_unknown_distance(tmp_path):
    pixels = np.stack([pixels_of(k, 0) for k in range(3)])
    tags = {"NumberOfFrames": 3, "ImagePositionPatient": [1, 2, 3], "TriggerTime": 300}
    image = read_image(write_slice(tmp_path / "a.dcm", pixels, SpacingBetweenSlices=9, **tags))
    assert first_pixels(image) == [[0, 100, 200]]
    assert image.slice_distance_mm == pytest.approx(9)
    assert np.allclose(image.affine[:3, 2], [0, 0, 9])
    image = read_image(write_slice(tmp_path / "b.dcm", pixels, **tags))
    assert first_pixels(image) == [[0, 100, 200]]
    assert (image.slice_distance_mm, image.affine, image.spacing_mm) == (None, None, (1.25, 1.5))


def test_frames_that_do_not_fit_are_left_out_by_number_or_refused(tmp_path):
    pixels = np.stack([pixels_of(k, 0) for k in range(4)])
    turned = {"ImageOrientationPatient": [0, 1, 0, 0, 0, 1]}
    frames = [geometry_macros(k) for k in range(3)] + [geometry_macros(3) | {"PlaneOrientationSequence": turned}]
    image = read_image(write_multiframe(tmp_path / "scout.dcm", pixels, frames))
    assert [item["file"].rpartition("/")[2] for item in image.left_out] == ["scout.dcm frame 4"]
    phase = {"MRImageFrameTypeSequence": {"ComplexImageComponent": "PHASE"}}
    magnitude = {"MRImageFrameTypeSequence": {"ComplexImageComponent": "MAGNITUDE"}}
    frames = [geometry_macros(k // 2, **(phase if k % 2 else magnitude)) for k in range(4)]
    message = refusal(write_multiframe(tmp_path / "both.dcm", pixels, frames))
    assert "2 that differ in orientation, matrix, spacing or image type (2 frames like" in message
    assert "emf2sf" in message


REFUSED = [
    ({"NumberOfFrames": 5}, "functional group for each of its 5 frames, got 2"),
    ({"NumberOfFrames": 30000}, "1 to 20000 frames, got 30000"),
    ({"PixelData": b"\0" * 384}, "truncated: needs 768 bytes of pixels, got 384"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "MOSAIC"),
    ({"PerFrameFunctionalGroupsSequence": None, "Rows": 8000, "Columns": 8000, "NumberOfFrames": 900}, "4 GiB"),
]


@pytest.mark.parametrize(("tags", "says"), REFUSED)
def test_when_a_multi_frame_file_is_damaged_then_reader_raises(tmp_path, tags, says):
    pixels = np.stack([pixels_of(k, 0) for k in range(2)])
    message = refusal(write_multiframe(tmp_path / "a.dcm", pixels, [geometry_macros(0), geometry_macros(1)], **tags))
    assert "a.dcm" in message
    assert says in message


def test_when_frame_spacing_is_zero_then_it_can_be_passed(tmp_path):
    pixels, frames = cine_frames(range(2), 2)
    path = write_multiframe(tmp_path / "a.dcm", pixels, frames, {"PixelMeasuresSequence": {"PixelSpacing": [0, 0]}})
    assert "PixelSpacing needs two positive numbers" in refusal(path)
    assert read_image(path, spacing_mm=(1, 2)).spacing_mm == (1.0, 2.0)
