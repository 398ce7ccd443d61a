"""Compressed DICOM against a second reader: files made here and the samples that travel with pydicom."""

import io
import warnings

import gdcm
import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from cmr_hf.hub import dicom_pixels_cmr
from cmr_hf.hub.reading_cmr import ReadingError, read_image
from tests.dicom_factory import slice_dataset, write_slice

RNG = np.random.default_rng(0)
PICTURE = (2000 * np.hypot(*np.mgrid[-1:1:48j, -1:1:40j])).astype(np.uint16) + RNG.integers(0, 50, (48, 40), np.uint16)


def second_reader(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).squeeze()


def refusal(source):
    with pytest.raises(ReadingError) as caught:
        read_image(source)
    return str(caught.value)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, DeflatedExplicitVRLittleEndian])
def test_lossless_files_keep_every_number(tmp_path, syntax, signed):
    pixels = PICTURE.astype(np.int16) - 900 if signed else PICTURE
    dataset = slice_dataset(pixels)
    if syntax.is_encapsulated:
        dataset.compress(syntax)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(tmp_path / "a.dcm")
    read = read_image(tmp_path / "a.dcm").pixels[0, 0]
    assert read.dtype == pixels.dtype
    assert np.array_equal(read, pixels)
    assert np.array_equal(read, second_reader(tmp_path / "a.dcm"))


def write_jpeg_lossless(path, pixels, syntax="JPEGLosslessProcess14_1", bits=16):
    plain = write_slice(path.with_suffix(".plain"), pixels, BitsStored=bits, HighBit=bits - 1)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1"])
def test_jpeg_lossless_files_keep_every_number(tmp_path, syntax, bits):
    pixels = (PICTURE >> 4).astype(np.uint8) if bits == 8 else PICTURE
    path = write_jpeg_lossless(tmp_path / "a.dcm", pixels, syntax, bits)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID.name.startswith("JPEG Lossless")
    read = read_image(path).pixels[0, 0]
    assert read.dtype == pixels.dtype
    assert np.array_equal(read, pixels)


@pytest.mark.parametrize(
    ("syntax", "header", "place"),
    [
        *((JPEGLSLossless, b"\xff\xf7\x00\x0b", place) for place in (1, 3, 5)),  # rows, columns, components
        *((JPEG2000Lossless, b"\xff\x51", place) for place in (4, 9, 13, 36)),
    ],
)
def test_when_a_stream_is_larger_than_dicom_says_then_it_is_not_decoded(tmp_path, syntax, header, place):
    dataset = slice_dataset(PICTURE)
    dataset.compress(syntax)
    dataset.save_as(tmp_path / "a.dcm")
    content = bytearray((tmp_path / "a.dcm").read_bytes())
    content[content.index(header) + len(header) + place] ^= 0x40
    (tmp_path / "a.dcm").write_bytes(content)
    assert "not of the size in the header" in refusal(tmp_path / "a.dcm")


@pytest.mark.parametrize("broken", [1, 3, 5, 6, 8, 10, 11, 13, 15, 17])
def test_when_the_header_of_a_lossless_jpeg_is_damaged_then_reader_raises_and_the_process_lives(tmp_path, broken):
    path = write_jpeg_lossless(tmp_path / "a.dcm", PICTURE)
    content = bytearray(path.read_bytes())
    content[content.index(b"\xff\xd8\xff\xc3") + broken] ^= 0x79
    path.write_bytes(content)
    assert "a.dcm: pixels stored as JPEG Lossless" in (message := refusal(path))
    assert "are damaged, or not of the size in the header: export or copy it again" in message


@pytest.mark.parametrize("syntax", [JPEGLSNearLossless, JPEG2000, JPEGBaseline8Bit])
def test_lossy_files_read_as_the_second_reader_does(tmp_path, syntax):
    pixels = (PICTURE >> 4).astype(np.uint8)
    dataset = slice_dataset(pixels)
    if syntax == JPEGBaseline8Bit:
        packed = io.BytesIO()
        Image.fromarray(pixels).save(packed, "JPEG", quality=90)
        dataset.PixelData = encapsulate([packed.getvalue()])
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset["PixelData"].VR = "OB"
    else:
        dataset.compress(syntax, **({"jls_error": 2} if syntax == JPEGLSNearLossless else {"j2k_cr": [5]}))
    dataset.save_as(tmp_path / "a.dcm")
    read = read_image(tmp_path / "a.dcm").pixels[0, 0]
    assert np.abs(read.astype(int) - pixels).max() <= 20
    assert np.abs(read.astype(int) - second_reader(tmp_path / "a.dcm")).max() <= 1


SAMPLES = [
    "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_padded.dcm", "693_J2KI.dcm",
    "J2K_pixelrep_mismatch.dcm", "JPEG2000.dcm", "JPEGLSNearLossless_08.dcm", "JPEGLSNearLossless_16.dcm",
    "CT_small.dcm", "image_dfl.dcm", "examples_overlay.dcm",
]  # fmt: skip


@pytest.mark.parametrize("sample", SAMPLES)
def test_pydicoms_samples_read_as_the_second_reader_does(tmp_path, sample):
    path = get_testdata_file(sample, download=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path)
        dataset.Modality = "MR"
        dataset.save_as(tmp_path / sample)
    read = read_image(tmp_path / sample).pixels
    assert read.shape[:2] == (1, 1)
    expected = second_reader(path).astype(np.float64)
    if (
        sample == "J2K_pixelrep_mismatch.dcm"
    ):  # the code stream is signed, the header says unsigned: the stream is right
        expected = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    assert np.array_equal(read[0, 0].astype(np.float64), expected)


def test_when_only_a_gpl_package_decodes_a_file_then_the_message_says_so(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(get_testdata_file("JPEG-lossy.dcm", download=False))
        dataset.Modality = "MR"
        dataset.save_as(tmp_path / "a.dcm")
    assert dataset.file_meta.TransferSyntaxUID == JPEGExtended12Bit
    message = refusal(tmp_path / "a.dcm")
    assert "a.dcm: pixels stored as JPEG Extended" in message
    assert "pip install pylibjpeg pylibjpeg-libjpeg (under the GPL)" in message


@pytest.mark.parametrize("syntax", dicom_pixels_cmr._DECODERS)
def test_when_a_decoder_is_missing_then_the_message_names_its_package(tmp_path, syntax, monkeypatch):
    packages, plugin = dicom_pixels_cmr._DECODERS[syntax]
    monkeypatch.setitem(dicom_pixels_cmr._DECODERS, syntax, (packages, "not installed"))
    monkeypatch.setattr(dicom_pixels_cmr, "has_sound_header", lambda *args: True)
    dataset = slice_dataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = encapsulate([b"no code stream"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "a.dcm")
    message = refusal(tmp_path / "a.dcm")
    assert f"a.dcm: pixels stored as {UID(syntax).name} cannot be decoded" in message
    assert f"pip install {packages}, or decompress it (gdcmconv --raw)" in message


def test_when_a_syntax_is_a_film_then_reader_raises(tmp_path):
    dataset = slice_dataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    dataset.PixelData = encapsulate([b"film"])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "a.dcm")
    assert "decompress it (gdcmconv --raw) or export it again" in refusal(tmp_path / "a.dcm")
