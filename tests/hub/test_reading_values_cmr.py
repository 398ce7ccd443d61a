"""Stored numbers -> values: real-world mappings, rescale, Philips' scale slope, floating point pixels."""

import numpy as np
import pytest

from cmr_hf.hub.reading_cmr import ReadingError, read_image
from tests.dicom_factory import pixels_of, slice_dataset, write_slice
from tests.multiframe_factory import enhanced_dataset, group

STORED = pixels_of(0, 0)  # 0 to 191
REAL = STORED.astype(np.float64)
LINE = {"RealWorldValueSlope": 2.0, "RealWorldValueIntercept": 5.0}
RESCALE = {"RescaleSlope": 4, "RescaleIntercept": 8}


def unit(code):
    return {"MeasurementUnitsCodeSequence": {"CodeValue": code, "CodingSchemeDesignator": "UCUM"}}


def table(first, last, values):
    return {
        "RealWorldValueFirstValueMapped": first,
        "RealWorldValueLastValueMapped": last,
        "RealWorldValueLUTData": [float(value) for value in values],
    }


def read_mapped(path, *mappings, **tags):
    mapping = {"RealWorldValueMappingSequence": [group(mapping) for mapping in mappings]}
    return read_image(write_slice(path, STORED, **(RESCALE | mapping | tags))).pixels[0, 0]


def test_of_several_mappings_the_one_in_ms_is_applied_else_the_first_that_covers_the_values(tmp_path):
    covers = {"RealWorldValueFirstValueMapped": 0, "RealWorldValueLastValueMapped": 191}
    short = {"RealWorldValueFirstValueMapped": 0, "RealWorldValueLastValueMapped": 9}
    other = {"RealWorldValueSlope": 7.0, "RealWorldValueIntercept": 0.0}
    path = tmp_path / "a.dcm"
    assert np.allclose(read_mapped(path, other | covers | unit("1"), LINE | unit("ms")), REAL * 2 + 5)
    assert np.allclose(read_mapped(path, other | covers, LINE | short | unit("ms")), REAL * 2 + 5)
    assert np.allclose(read_mapped(path, other | short, LINE | covers), REAL * 2 + 5)
    assert np.allclose(read_mapped(path, LINE | short, other | short), REAL * 2 + 5)
    assert np.allclose(read_mapped(path, LINE | covers, other | covers), REAL * 2 + 5)


def test_a_mapping_table_gives_its_entries_and_is_never_continued(tmp_path):
    path, squares = tmp_path / "a.dcm", np.arange(-2, 200.0) ** 2
    mapped = read_mapped(path, table(0, 191, np.arange(192.0) ** 2))
    assert mapped.dtype == np.float32
    assert np.allclose(mapped, REAL**2)
    signed = STORED.astype(np.int16) - 2
    tags = {"PixelRepresentation": 1, "PixelData": signed.tobytes()}
    assert np.allclose(read_mapped(path, table(-2, 199, squares), **tags), signed.astype(float) ** 2)
    for broken, says in ((table(0, 100, np.arange(101)), "cover the stored values 0 to 191"),
                         (table(0, 191, np.arange(5)), "192 entries for integer pixels"),
                         ({"RealWorldValueLUTData": [1.0, 2.0]}, "cover")):  # fmt: skip
        with pytest.raises(ReadingError, match=says):
            read_mapped(path, broken)


@pytest.mark.parametrize("slope", [0.0, float("nan"), float("inf")])
def test_when_a_mapping_is_bogus_then_reader_raises_and_does_not_fall_back_to_rescale(tmp_path, slope):
    with pytest.raises(ReadingError, match=r"a\.dcm: RealWorldValueSlope and -Intercept need finite numbers"):
        read_mapped(tmp_path / "a.dcm", LINE | {"RealWorldValueSlope": slope})


def test_when_a_mapping_is_present_then_monochrome1_changes_no_number(tmp_path):
    assert np.allclose(read_mapped(tmp_path / "a.dcm", LINE, PhotometricInterpretation="MONOCHROME1"), REAL * 2 + 5)


# ---- Philips: (stored * slope + intercept) / (slope * scale slope) for magnitude images in no unit


def philips(creator="Philips MR Imaging DD 001", scale=0.5, dataset=None, **tags):
    dataset = slice_dataset(STORED, Manufacturer="Philips", **(RESCALE | tags)) if dataset is None else dataset
    block = dataset.private_block(0x2005, creator, create=True)
    block.add_new(0x0D, "FL", 123.0)
    block.add_new(0x0E, "FL", scale)
    return dataset


def values_of(dataset, path):
    dataset.save_as(path)
    return read_image(path).pixels[0, 0]


FLOATING = (REAL * 4 + 8) / (4 * 0.5)
DISPLAYED = REAL * 4 + 8


@pytest.mark.parametrize("kind", ["M", "M_FFE"])
@pytest.mark.parametrize("unit_of_rescale", [None, "normalized", "US"])
def test_philips_magnitude_becomes_the_floating_point_value(tmp_path, kind, unit_of_rescale):
    dataset = philips(ImageType=["ORIGINAL", "PRIMARY", kind, "M", "FFE"], RescaleType=unit_of_rescale)
    assert np.allclose(values_of(dataset, tmp_path / "a.dcm"), FLOATING)


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleType": "ms"},
        {"ImageType": ["DERIVED", "PRIMARY", "T1 MAP", "T1", "UNSPECIFIED"]},
        {"ImageType": ["DERIVED", "PRIMARY", "M", "T2 MAP"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]},
        {"creator": "Philips MR Imaging DD 002"},
        {"creator": "SIEMENS MR HEADER"},
        {"scale": 0.0},
    ],
)
def test_maps_phase_units_other_creators_and_a_zero_scale_keep_the_rescale(tmp_path, tags):
    assert np.allclose(values_of(philips(**tags), tmp_path / "a.dcm"), DISPLAYED)


def test_a_real_world_mapping_wins_over_philips_scale(tmp_path):
    dataset = philips(RealWorldValueMappingSequence=[group(LINE)])
    assert np.allclose(values_of(dataset, tmp_path / "a.dcm"), REAL * 2 + 5)


def test_philips_scale_of_each_enhanced_frame_is_its_own(tmp_path):
    frame_type = {"MRImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", "M_FFE", "NONE"],
                                               "ComplexImageComponent": "MAGNITUDE"}}  # fmt: skip
    frames = [
        {
            "PlanePositionSequence": {"ImagePositionPatient": [0, 0, 8 * k]},
            "PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
            "PixelValueTransformationSequence": RESCALE,
            **frame_type,
        }
        for k in range(2)
    ]
    dataset = enhanced_dataset(np.stack([STORED, STORED]), frames)
    for k, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        block = item.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
        block.add_new(0x0F, "SQ", [philips(scale=0.5 * (k + 1), dataset=group({}))])
    dataset.save_as(tmp_path / "a.dcm")
    image = read_image(tmp_path / "a.dcm")
    assert np.allclose(image.pixels[0, 0], FLOATING)
    assert np.allclose(image.pixels[0, 1], FLOATING / 2)


# ---- nothing is squeezed


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)])
def test_floating_point_pixels_of_a_map_stay(tmp_path, keyword, dtype):
    pixels = np.linspace(-1.5, 3000.25, 192).astype(dtype).reshape(12, 16)
    path = write_slice(tmp_path / "a.dcm", pixels, PixelData=None, **{keyword: pixels.tobytes()})
    read = read_image(path).pixels[0, 0]
    assert read.dtype == np.float32
    assert np.array_equal(read, pixels.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint8, np.int32])
def test_integer_pixels_keep_their_type_and_all_bits(tmp_path, dtype):
    limits = np.iinfo(dtype)
    pixels = np.linspace(limits.min, limits.max, 192).astype(dtype).reshape(12, 16)
    read = read_image(write_slice(tmp_path / "a.dcm", pixels)).pixels[0, 0]
    assert read.dtype == dtype
    assert np.array_equal(read, pixels)
