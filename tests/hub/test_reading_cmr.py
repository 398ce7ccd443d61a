"""Reading one file, picture or array: pixels, geometry and every refusal's words."""

import gzip
import logging
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import JPEG2000Lossless, RLELossless

from cmr_hf.hub.reading_cmr import CMRImage, ReadingError, read_image, restore_axes
from tests.dicom_factory import PATIENT, pixels_of, slice_dataset, write_slice


def refusal(source: Any, **options: Any) -> str:
    with pytest.raises(ReadingError) as caught:
        read_image(source, **options)
    return str(caught.value)


def first_pixels(image: CMRImage) -> list[list[float]]:
    return image.pixels[:, :, 0, 0].tolist()


def write_nifti(path: Path, array: np.ndarray, zooms: tuple[float, ...] = (), **codes: Any) -> Path:
    image = nibabel.Nifti1Image(array, np.diag([1.5, 1.25, 8.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    for index, zoom in enumerate(zooms):
        image.header["pixdim"][1 + index] = zoom
    for code, value in codes.items():
        image.header[code] = value
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as file:  # as nibabel.save would mend pixdim
        image.header["magic"], image.header["vox_offset"] = b"n+1", 352
        file.write(image.header.binaryblock + b"\0" * 4 + array.tobytes(order="F"))
    return path


# ---- DICOM: one file


def test_a_single_file_gives_pixels_and_geometry_from_its_header(tmp_path):
    image = read_image(str(write_slice(tmp_path / "a.dcm", ImagePositionPatient=[-10, 20, 30], TriggerTime=40)))
    assert image.pixels.shape == (1, 1, 12, 16)
    assert image.pixels.dtype == np.uint16
    assert (image.spacing_mm, image.slice_distance_mm, image.kind) == ((1.25, 1.5), None, "dicom")
    assert image.trigger_times_ms == (40.0,)
    assert np.allclose(image.affine, [[1.5, 0, 0, -10], [0, 1.25, 0, 20], [0, 0, 1, 30], [0, 0, 0, 1]])


def test_when_spacing_is_passed_then_it_replaces_the_header_and_scales_the_affine(tmp_path):
    path = write_slice(tmp_path / "a.dcm", PixelSpacing=[0, 0])
    for image in (read_image(path, spacing_mm=(2, 3)), read_image({"image": path, "spacing_mm": [2, 3]})):
        assert image.spacing_mm == (2.0, 3.0)
        assert np.allclose(np.diag(image.affine), [3, 2, 1, 1])


@pytest.mark.parametrize("spacing", [(0.0, 1.4), (1.4,), (1, 1, 1), (-1, 1), (float("nan"), 1), "12", 1.4, (None, 1)])
def test_when_passed_spacing_is_not_two_positive_numbers_then_reader_raises(spacing):
    message = refusal(np.zeros((4, 4)), spacing_mm=spacing)
    assert "`spacing_mm` needs two positive numbers (row, column) in mm, got" in message
    assert "pass spacing_mm=" in message


@pytest.mark.parametrize("spacing", [[0, 0], [-1, 1], [1.4]])
def test_when_spacing_in_the_header_is_zero_then_reader_raises(tmp_path, spacing):
    message = refusal(write_slice(tmp_path / "a.dcm", PixelSpacing=spacing))
    assert "a.dcm: PixelSpacing needs two positive numbers" in message
    assert "pass spacing_mm=" in message


def test_when_spacing_or_orientation_is_missing_then_geometry_is_unknown_and_not_invented(tmp_path):
    bare = read_image(write_slice(tmp_path / "a.dcm", PixelSpacing=None, ImagerPixelSpacing=[1, 1]))
    assert (bare.spacing_mm, bare.affine) == (None, None)
    for index, cosines in enumerate(([0] * 6, [1, 0, 0, 1, 0, 0], None, [1, 0, 0])):
        image = read_image(write_slice(tmp_path / f"{index}.dcm", ImageOrientationPatient=cosines))
        assert image.affine is None
        assert image.spacing_mm == (1.25, 1.5)


def test_rescale_gives_float32_and_a_trivial_one_keeps_integers(tmp_path):
    stored = pixels_of(1, 2)
    scaled = read_image(write_slice(tmp_path / "a.dcm", stored, RescaleSlope=0.5, RescaleIntercept=-3))
    assert scaled.pixels.dtype == np.float32
    assert np.allclose(scaled.pixels[0, 0], stored * 0.5 - 3)
    trivial = read_image(write_slice(tmp_path / "b.dcm", stored, RescaleSlope=1, RescaleIntercept=0))
    assert trivial.pixels.dtype == np.uint16


def test_a_real_world_mapping_is_applied_to_stored_values_instead_of_rescale(tmp_path):
    mapping = Dataset()
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 2.0, 5.0
    tags = {"RescaleSlope": 10, "RescaleIntercept": 1, "RealWorldValueMappingSequence": [mapping]}
    image = read_image(write_slice(tmp_path / "a.dcm", **tags))
    assert np.allclose(image.pixels[0, 0], pixels_of(0, 0) * 2.0 + 5)


def test_monochrome1_is_inverted_so_that_bright_is_high(tmp_path):
    image = read_image(write_slice(tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1"))
    assert np.array_equal(image.pixels[0, 0], 65535 - pixels_of(0, 0).astype(int))


def test_a_file_without_preamble_and_an_rle_file_are_read(tmp_path):
    bare = slice_dataset()
    bare.preamble, bare.file_meta = None, FileMetaDataset()
    pydicom.dcmwrite(tmp_path / "bare", bare, implicit_vr=True, little_endian=True)
    packed = slice_dataset()
    packed.compress(RLELossless)
    packed.save_as(tmp_path / "rle.dcm")
    for name in ("bare", "rle.dcm"):
        assert np.array_equal(read_image(tmp_path / name).pixels[0, 0], pixels_of(0, 0)), name


REFUSED = [
    ({"Modality": "CT"}, "needs Modality MR, got 'CT'", "pass an MR series"),
    ({"Modality": None}, "needs Modality MR", "pass an MR series"),
    ({"pixels": np.zeros((12, 16, 3), np.uint8)}, "RGB", "original gray series"),
    ({"PhotometricInterpretation": "PALETTE COLOR"}, "palette", "original gray series"),
    ({"PixelData": None}, "no PixelData", "export the image"),
    ({"PixelData": b"\0" * 100}, "truncated: needs 384 bytes of pixels, got 100", "copy it again"),
    ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "MOSAIC", "one by one"),
    ({"Rows": 60000, "Columns": 60000}, "1 to 8192 Rows and Columns, got (60000, 60000)", "check the export"),
    ({"Rows": 0}, "1 to 8192 Rows and Columns", "check the export"),
    ({"RescaleSlope": 0, "RescaleIntercept": 0}, "RescaleSlope", "correct the header"),
    ({"pixels": np.full((12, 16), np.nan, np.float32), "PixelData": None}, "192 of 192", "nan_to_num"),
]


@pytest.mark.parametrize(("tags", "says", "remedy"), REFUSED)
def test_when_a_file_is_not_one_gray_mr_image_then_reader_raises(tmp_path, tags, says, remedy):
    tags = dict(tags)
    if tags.get("pixels") is not None and tags["pixels"].dtype == np.float32:
        tags["FloatPixelData"] = tags["pixels"].tobytes()
    message = refusal(write_slice(tmp_path / "scan.dcm", tags.pop("pixels", None), **tags))
    assert "scan.dcm" in message
    assert says in message
    assert remedy in message


def test_when_a_code_stream_is_damaged_then_reader_raises(tmp_path):
    dataset = slice_dataset()
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = pydicom.encaps.encapsulate([b"no code stream"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "j2k.dcm")
    message = refusal(tmp_path / "j2k.dcm")
    assert "j2k.dcm: pixels stored as JPEG 2000" in message
    assert "are damaged, or not of the size in the header: export or copy it again" in message


@given(cut=st.floats(0.0, 0.999))
@settings(max_examples=40, deadline=None)
def test_wherever_a_file_is_cut_then_reader_raises_its_own_error(tmp_path_factory, cut):
    path = write_slice(tmp_path_factory.mktemp("cut") / "cut.dcm")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    assert "cut.dcm" in refusal(path)


@pytest.mark.parametrize("name", ["notes.dcm", "notes.png", "notes.nii", "notes.nii.gz", "notes.npy"])
@pytest.mark.parametrize("content", [b"", b"just text, long enough to look like something" * 20, b"\0" * 5000])
def test_when_a_file_is_something_else_then_reader_raises_its_own_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert name in refusal(tmp_path / name)


def test_when_a_path_is_missing_then_reader_raises():
    for source in ("", "absent/file.dcm", "a\0b"):
        assert "existing file or folder" in refusal(source)


def test_no_patient_data_in_errors_warnings_logs_or_results(tmp_path, caplog, recwarn):
    caplog.set_level(logging.DEBUG)
    bad = {"PatientBirthDate": "SECRET-4711", "PatientID": PATIENT["PatientID"] * 20}
    with pydicom.config.disable_value_validation():
        for number, tags in enumerate(({}, {"Modality": "CT"}, {"PixelSpacing": [0, 0]}, {"PixelData": None})):
            write_slice(tmp_path / f"{number}.dcm", **bad, **tags)
    told = [refusal(tmp_path / f"{number}.dcm") for number in (1, 2, 3)]
    told += [repr(read_image(tmp_path)), repr(read_image(tmp_path / "0.dcm")), caplog.text]
    told += [str(item.message) for item in recwarn]
    for text in told:
        assert not any(secret in text for secret in ("SECRET", "Secret", "1947"))


# ---- NIfTI


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3), (5, 6, 3, 2), (5, 6, 3, 2, 1), (5, 6, 1, 2)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_axes_turn_to_t_z_y_x_and_back(tmp_path, shape, suffix):
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    image = read_image(write_nifti(tmp_path / f"a{suffix}", array))
    x, y, z, t = (*shape, 1, 1)[:4]
    assert image.pixels.shape == (t, z, y, x)
    assert image.pixels.dtype == np.int16
    assert image.pixels[-1, -1, 2, 3] == array.reshape(x, y, z, t)[3, 2, -1, -1]
    assert np.array_equal(restore_axes(image.pixels, image), array)
    assert image.spacing_mm == (1.25, 1.5)
    assert image.slice_distance_mm == (8.0 if z > 1 else None)
    with pytest.raises(ReadingError, match="resample the labels"):
        restore_axes(image.pixels[:, :, 1:], image)


def test_nifti_ras_becomes_lps_and_an_unset_orientation_stays_unknown(tmp_path):
    affine = np.array([[0, 1.25, 0, 5], [1.5, 0, 0, 6], [0, 0, 8, 7], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 2), np.int16), affine), tmp_path / "a.nii.gz")
    image = read_image(tmp_path / "a.nii.gz", spacing_mm=(2.5, 3))
    assert np.allclose(image.affine, [[0, -2.5, 0, -5], [-3, 0, 0, -6], [0, 0, 8, 7], [0, 0, 0, 1]])
    unset = write_nifti(tmp_path / "b.nii", np.zeros((4, 5), np.uint8), (1, 1), sform_code=0, qform_code=0)
    assert (read_image(unset).affine, read_image(unset).spacing_mm) == (None, (1.0, 1.0))


def test_nifti_scaling_gives_float32(tmp_path):
    path = write_nifti(tmp_path / "a.nii", np.full((4, 5), 7, np.int16), scl_slope=2, scl_inter=1)
    pixels = read_image(path).pixels
    assert (pixels.dtype, pixels.max()) == (np.float32, 15)


@pytest.mark.parametrize("zooms", [(0, 1, 1), (1, -1.5, 1), (1, 1, 0), (float("nan"), 1, 1)])
def test_when_nifti_spacing_is_not_positive_then_reader_raises(tmp_path, zooms):
    message = refusal(write_nifti(tmp_path / "a.nii", np.zeros((4, 5, 3), np.int16), zooms))
    assert "a.nii: pixdim needs" in message
    assert "correct the header" in message


def test_when_nifti_is_five_dimensional_complex_nan_huge_or_cut_then_reader_raises(tmp_path):
    assert "2 to 4 axes" in refusal(write_nifti(tmp_path / "a.nii", np.zeros((2, 2, 2, 2, 2), np.int16)))
    assert "real gray values" in refusal(write_nifti(tmp_path / "b.nii", np.zeros((4, 5), np.complex64)))
    assert "20 of 20" in refusal(write_nifti(tmp_path / "c.nii", np.full((4, 5), np.nan, np.float32)))
    dim = [3, 30000, 30000, 30, 1, 1, 1, 1]
    assert "4 GiB" in refusal(write_nifti(tmp_path / "d.nii.gz", np.zeros((4, 5, 2), np.int16), dim=dim))
    path = write_nifti(tmp_path / "e.nii.gz", np.random.default_rng(0).integers(0, 99, (40, 50), np.int16))
    path.write_bytes(path.read_bytes()[:-900])
    assert "e.nii.gz is damaged or truncated" in refusal(path)


# ---- pictures and arrays


def test_gray_pictures_are_read_and_colour_is_refused(tmp_path):
    gray = pixels_of(0, 0).astype(np.uint8)
    for name in ("L", "RGB", "P", "RGBA", "LA"):
        Image.fromarray(gray).convert(name).save(tmp_path / f"{name}.png")
        assert np.array_equal(read_image(tmp_path / f"{name}.png").pixels, gray), name
    Image.fromarray(gray).convert("RGB").save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").pixels.shape == (12, 16)
    deep = gray.astype(np.uint16) * 200
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(Image.open(tmp_path / "deep.png")).pixels, deep)
    assert read_image(tmp_path / "deep.png").kind == "picture"
    Image.fromarray(np.stack([gray, gray, 255 - gray], axis=-1)).save(tmp_path / "colour.png")
    message = refusal(tmp_path / "colour.png")
    assert "colour.png is an RGB picture, not MR" in message
    assert "8192" in refusal(Image.new("L", (9000, 2)))


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (2, 3, 4, 5), (2, 30, 3)])
def test_arrays_and_tensors_keep_their_shape_and_type(shape):
    for dtype in (np.uint8, np.int16, ">i2", np.float32, np.float64, bool):
        array = np.ones(shape, dtype)
        image = read_image(array)
        assert (image.pixels.shape, image.spacing_mm, image.affine, image.source) == (
            shape,
            None,
            None,
            "array",
        )
        wanted = {"b": np.uint8, "f": np.float32}.get(array.dtype.kind, array.dtype.newbyteorder("="))
        assert image.pixels.dtype == wanted
        assert restore_axes(image.pixels, image) is image.pixels
    for dtype in (torch.bfloat16, torch.float64, torch.int16, torch.bool):
        assert read_image(torch.ones(shape, dtype=dtype)).pixels.shape == shape
    assert read_image(torch.ones(shape, requires_grad=True)).pixels.dtype == np.float32


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (np.zeros(5), "reshape it"), (np.zeros((1,) * 5), "reshape it"), (np.zeros((0, 4)), "one pixel"),
        (np.zeros((20, 20, 3)), "pass one channel"), (np.zeros((4, 4), complex), "convert it"),
        (np.array([["a", "b"]]), "convert it"), (np.array([[None]]), "convert it"), ([[1, 2]], "numpy array"),
        (np.array([[np.inf, 1.0]]), "got 1 of 2"), (torch.zeros(2, 2, dtype=torch.complex64), "dense real"),
        (torch.zeros(2, 2).to_sparse(), "dense real"), ({"picture": 1}, "'image'"), (None, "numpy array"),
    ],
)  # fmt: skip
def test_when_a_source_is_not_an_image_then_reader_raises(source, says):
    assert says in refusal(source)
