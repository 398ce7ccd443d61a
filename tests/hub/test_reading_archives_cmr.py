"""Zips and DICOMDIRs: what is read, what is left out, and what is refused before it does harm."""

import os
import stat
import struct
import tempfile
import zipfile

import nibabel
import numpy as np
import pytest
from PIL import Image
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from cmr_hf.clinical.writers import write_mask
from cmr_hf.hub import unpacking_cmr
from cmr_hf.hub.reading_cmr import ReadingError, read_image, restore_axes
from tests.dicom_factory import PATIENT, pixels_of, write_slice, write_stack
from tests.multiframe_factory import group


def refusal(source):
    with pytest.raises(ReadingError) as caught:
        read_image(source)
    return str(caught.value)


def zipped(path, entries, method=zipfile.ZIP_DEFLATED):
    """A zip of {name or ZipInfo: bytes or file}."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content if isinstance(content, bytes) else content.read_bytes())
    return path


def stack_entries(folder, **options):
    write_stack(folder, slices=2, phases=3, **options)
    return {f"study/{path.name}": path for path in sorted(folder.iterdir())}


@pytest.fixture(autouse=True)
def temporary_files_are_gone(tmp_path_factory, monkeypatch):
    """Nothing that was unpacked stays."""
    private = tmp_path_factory.mktemp("private")
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    yield
    assert list(private.iterdir()) == []


# ---- zip


def test_a_zip_of_a_stack_reads_like_its_folder(tmp_path):
    entries = stack_entries(tmp_path / "stack")
    image = read_image(zipped(tmp_path / "study.zip", entries | {"study/notes.txt": b"a note", "empty/": b""}))
    folder = read_image(tmp_path / "stack")
    assert np.array_equal(image.pixels, folder.pixels)
    assert np.allclose(image.affine, folder.affine)
    assert (image.kind, image.source) == ("dicom", str(tmp_path / "study.zip"))
    assert [item["file"] for item in image.left_out] == ["study/notes.txt"]


def test_a_zip_of_one_nifti_file_is_read_whole_and_its_mask_can_be_written(tmp_path):
    array = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.5, 1.25, 8, 1])), tmp_path / "heart.nii")
    image = read_image(zipped(tmp_path / "a.zip", {"heart.nii": tmp_path / "heart.nii", "readme.txt": b"hello"}))
    assert np.array_equal(restore_axes(image.pixels, image), array)
    assert not isinstance(image.pixels.base, np.memmap)
    assert (image.spacing_mm, image.kind, image.source) == ((1.25, 1.5), "array", str(tmp_path / "a.zip"))
    assert image.left_out == [{"file": "readme.txt", "reason": "not an image"}]
    written = write_mask({"segmentation": image.pixels % 3}, image, tmp_path / "out")
    assert np.allclose(nibabel.load(written).affine, np.diag([1.5, 1.25, 8, 1]))


def test_a_zip_of_one_picture_is_read_and_of_two_is_refused(tmp_path):
    Image.fromarray(pixels_of(0, 0).astype(np.uint8)).save(tmp_path / "a.png")
    image = read_image(zipped(tmp_path / "a.zip", {"a.png": tmp_path / "a.png"}))
    assert (image.pixels.shape, image.kind) == ((12, 16), "picture")
    message = refusal(zipped(tmp_path / "b.zip", {"a.png": tmp_path / "a.png", "b.png": tmp_path / "a.png"}))
    assert "one NIfTI, PNG or JPEG file, got 2 of these: pass them one by one" in message


@pytest.mark.parametrize("name", ["../out.dcm", "a/../../out.dcm", "/etc/out.dcm", "C:/out.dcm", "..\\out.dcm"])
def test_when_a_name_leaves_the_folder_then_the_whole_zip_is_refused(tmp_path, name):
    entries = stack_entries(tmp_path / "stack") | {name: b"gotcha"}
    message = refusal(zipped(tmp_path / "a.zip", entries))
    assert "needs names inside its own folder" in message
    assert "pack it again" in message
    assert not list(tmp_path.rglob("out.dcm"))


def test_links_inner_zips_doubles_and_damaged_entries_are_left_out_with_their_reasons(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    inner = zipped(tmp_path / "inner.zip", {"a": b"a"})
    entries = stack_entries(tmp_path / "stack") | {link: b"/etc/passwd", "inner.zip": inner, "cut.dcm": b"x" * 5000}
    zipped(tmp_path / "a.zip", entries | {"twice.txt": b"a"})
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("twice.txt", b"b")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[content.index(b"cut.dcm") + 9] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    image = read_image(tmp_path / "a.zip")
    assert image.pixels.shape[:2] == (3, 2)
    told = [(item["file"], item["reason"].split(":")[0].split(" (")[0]) for item in image.left_out]
    assert told[:4] == [("link", "a link, not a file"), ("inner.zip", "a zip inside the zip"),
                        ("cut.dcm", "cannot be unpacked"), ("twice.txt", "a name used twice in the zip")]  # fmt: skip


def test_when_a_zip_is_encrypted_then_reader_raises(tmp_path):
    path = zipped(tmp_path / "a.zip", {"a.dcm": b"x" * 300})
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + place] |= 1
    path.write_bytes(content)
    assert "is encrypted: unpack it with its password" in refusal(path)


def test_when_a_zip_is_a_bomb_then_reader_raises_before_it_fills_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking_cmr, "_ALWAYS_ALLOWED_BYTES", 1000)
    bomb = zipped(tmp_path / "bomb.zip", {"a.dcm": b"\0" * 3_000_000})
    assert "at most 4 GiB unpacked and 200 times its own size" in refusal(bomb)
    lying = bytearray(bomb.read_bytes())  # says that it is small
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = lying.index(signature) + place
        lying[start : start + 4] = struct.pack("<L", 500)
    bomb.write_bytes(lying)
    assert "cannot be unpacked" in refusal(bomb)
    monkeypatch.setattr(unpacking_cmr, "MAX_ENTRIES", 20)
    many = zipped(tmp_path / "many.zip", {str(number): b"" for number in range(21)})
    assert "at most 20 entries, got 21" in refusal(many)
    monkeypatch.setattr(unpacking_cmr, "_MAX_DIRECTORY_BYTES", 500)
    assert "at most 20 entries: pack one stack's folder" in refusal(many)


@pytest.mark.parametrize("content", [b"PK\x05\x06" + b"\0" * 18, b"PK\x03\x04", b"PK\x03\x04" + b"text" * 999])
def test_when_a_zip_is_empty_or_damaged_then_reader_raises(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    message = refusal(tmp_path / "a.zip")
    assert "a.zip needs at least one readable MR file" in message or "a.zip is a damaged zip" in message


def test_the_unpacked_folder_is_private_and_no_patient_data_is_told(tmp_path, monkeypatch):
    modes = []
    read = unpacking_cmr._unpack
    monkeypatch.setattr(
        unpacking_cmr,
        "_unpack",
        lambda file, folder, *rest: modes.append(stat.S_IMODE(os.stat(folder).st_mode)) or read(file, folder, *rest),
    )
    write_slice(tmp_path / "a.dcm", PixelSpacing=[0, 0])
    message = refusal(zipped(tmp_path / "a.zip", {"a.dcm": tmp_path / "a.dcm"}))
    assert modes == [0o700]
    assert not any(secret in message for secret in (*PATIENT.values(), "cmr_hf_zip_"))
    assert "PixelSpacing" in message


# ---- DICOMDIR


def write_dicomdir(path, *references, **tags):
    index = Dataset()
    index.file_meta = FileMetaDataset()
    index.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    index.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    index.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    patient = {"DirectoryRecordType": "PATIENT", **PATIENT}
    records = [patient] + [{"DirectoryRecordType": "IMAGE", "ReferencedFileID": parts} for parts in references]
    with disable_value_validation():  # names longer than eight capitals
        index.DirectoryRecordSequence = [group(record) for record in records]
        dcmwrite(path, index, enforce_file_format=True)
    return path


@pytest.mark.parametrize("named", ["DICOMDIR", "dicomdir", "renamed"])
def test_only_files_that_a_dicomdir_names_are_read_in_any_capitals(tmp_path, named):
    paths = write_stack(tmp_path / "dicom", slices=2, phases=3)
    references = [["DICOM", path.name.upper()] for path in paths]
    write_slice(tmp_path / "survey.dcm")
    index = write_dicomdir(tmp_path / named, *references)
    for source in (index, tmp_path)[: 1 if named == "renamed" else 2]:
        image = read_image(source)
        assert image.pixels.shape[:2] == (3, 2)
        assert (image.left_out, image.source) == ([], str(source))


def test_references_that_are_missing_or_leave_the_folder_are_listed(tmp_path):
    medium = tmp_path / "medium"
    paths = write_stack(medium, slices=2, phases=2)
    write_slice(tmp_path / "secret.dcm")
    (medium / "LINK").symlink_to(tmp_path / "secret.dcm")
    references = [path.name for path in paths]
    references += ["ABSENT", ["..", "secret.dcm"], str(tmp_path / "secret.dcm"), "LINK", ["A\nPatient", "B"]]
    write_dicomdir(medium / "DICOMDIR", *references)
    image = read_image(medium)
    assert image.pixels.shape[:2] == (2, 2)
    assert [(item["file"], item["reason"].split(": ")[0].rpartition(", but ")[2]) for item in image.left_out] == [
        ("ABSENT", "missing"),
        ("../secret.dcm", "leaves its folder"),
        ("a damaged name", "leaves its folder"),
        ("LINK", "a link out of its folder"),
        ("a damaged name", "missing"),
    ]
    write_dicomdir(tmp_path / "DICOMDIR", "ABSENT")
    message = refusal(tmp_path / "DICOMDIR")
    assert "needs to name at least one file, got none (ABSENT named by the DICOMDIR, but missing" in message
    assert not any(secret in repr(image) + message for secret in PATIENT.values())


def test_a_zip_of_a_medium_is_read_by_its_dicomdir(tmp_path):
    paths = write_stack(tmp_path / "IMAGES", slices=2, phases=2)
    index = write_dicomdir(tmp_path / "DICOMDIR", *(["IMAGES", path.name] for path in paths))
    entries = {"DICOMDIR": index, "VIEWER.EXE": b"MZ"} | {f"IMAGES/{path.name}": path for path in paths}
    image = read_image(zipped(tmp_path / "disc.zip", entries))
    assert image.pixels.shape[:2] == (2, 2)
    assert image.left_out == []
