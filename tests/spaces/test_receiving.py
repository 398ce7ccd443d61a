import io
import pickle
import shutil
import zipfile

import nibabel
import numpy as np
import pytest
from cmr_space import receiving
from cmr_space.receiving import PICKLE, Received, receive
from PIL import Image

from cmr_hf.hub.checking_cmr import ReadingError
from tests.spaces.served import sample_files


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "private"
    made.mkdir()
    return made


def zipped(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return path


def nifti(path, shape=(20, 24, 3, 4)):
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.5, 1.4, 8, 1])), path)
    return path


def test_when_a_zip_of_dicom_comes_then_nameless_copies_are_kept_and_the_upload_goes(folder, small_zip, tmp_path):
    upload = shutil.copy(small_zip, tmp_path / "Mustermann_Max.zip")
    gone = []
    made = receive([upload], folder, gone.append)
    assert (made.kind, made.files, made.used, made.left_out) == ("DICOM", 18, 18, {})
    assert [file.name for file in sorted((folder / "dicom").iterdir())] == [f"{n:05d}.dcm" for n in range(1, 19)]
    assert gone == [upload]
    assert Received.load(folder) == made
    everything = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert b"mustermann" not in everything.lower()


def test_when_files_of_all_kinds_come_then_dicom_is_used_and_each_other_has_its_reason(folder, tmp_path):
    loaded = tmp_path / "x.pkl"
    loaded.write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "notes.txt").write_text("hello")
    files = [*sample_files()[:2], loaded, tmp_path / "notes.txt", nifti(tmp_path / "a.nii.gz")]
    made = receive(files, folder)
    assert (made.files, made.used) == (5, 2)
    assert set(made.left_out) == {PICKLE, receiving.NOT_AN_IMAGE, "a NIfTI file beside DICOM: hand it in by itself"}


def test_when_one_nifti_comes_then_pixels_and_geometry_are_kept_without_its_header(folder, tmp_path):
    made = receive([nifti(tmp_path / "Mustermann.nii.gz")], folder)
    assert (made.kind, made.has_spacing) == ("NIfTI", True)
    with np.load(folder / "image.npz", allow_pickle=False) as stored:
        assert stored["pixels"].shape == (4, 3, 24, 20)
        np.testing.assert_allclose(stored["spacing_mm"], (1.4, 1.5))
        assert stored["slice_distance_mm"] == 8


def test_when_a_picture_comes_then_its_spacing_is_unknown(folder, tmp_path):
    Image.fromarray(np.arange(2500, dtype=np.uint8).reshape(50, 50)).save(tmp_path / "a.png")
    made = receive([tmp_path / "a.png"], folder)
    assert (made.kind, made.has_spacing) == ("picture", False)


def bomb(path):
    return zipped(path, {"big.dcm": b"\0" * (66 * 1024**2)})


def numpy_file(path):
    np.save(path, np.zeros(3))
    return path


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("a.pkl", lambda path: path.write_bytes(pickle.dumps([1])) and path, "pickle"),
        ("renamed.dcm", lambda path: path.write_bytes(pickle.dumps([1], protocol=4)) and path, "pickle"),
        ("a.npy", numpy_file, "pickle"),
        ("model.pt", lambda path: zipped(path, {"archive/data.pkl": b"\x80\x02"}), "pickle"),
        ("a.zip", lambda path: zipped(path, {"model/data.pkl": b"\x80\x02}q."}), "pickle"),
        ("a.zip", lambda path: zipped(path, {"../../evil.dcm": b"x"}), "inside its own folder"),
        ("a.zip", lambda path: zipped(path, {"/etc/evil.dcm": b"x"}), "inside its own folder"),
        ("a.zip", bomb, "4 GiB unpacked"),
        ("a.zip", lambda path: zipped(path, {}), "empty or damaged"),
        ("a.zip", lambda path: path.write_bytes(b"PK\x03\x04 cut") and path, "damaged"),
        ("a.zip", lambda path: zipped(path, {"b.zip": b"PK\x03\x04"}), "unpack it first"),
        ("a.tar.gz", lambda path: path.write_bytes(b"\x1f\x8b\x08") and path, "as a zip"),
        ("a.txt", lambda path: path.write_text("hello") and path, "This page takes a DICOM study"),
        ("a.nii", lambda path: path.write_bytes(b"\0" * 400) and path, "NIfTI"),
        ("a.png", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 50) and path, "export it again"),
        ("a.dcm", lambda path: path.write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 64) and path, "can be read"),
    ],
)
def test_when_a_file_must_not_or_cannot_be_opened_then_the_message_says_what_to_do(tmp_path, folder, name, make, said):
    path = make(tmp_path / f"Mustermann_{name}")
    gone = []
    with pytest.raises(ReadingError, match=said) as caught:
        receive([path], folder, gone.append)
    assert "Mustermann" not in str(caught.value)
    assert gone == [path]
    assert not list(tmp_path.parent.glob("evil*"))


def test_when_a_colour_picture_comes_then_it_is_refused(tmp_path, folder):
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[..., 0] = 200
    Image.fromarray(picture).save(tmp_path / "a.png")
    with pytest.raises(ReadingError, match="RGB"):
        receive([tmp_path / "a.png"], folder)


def test_when_several_nifti_files_come_then_one_is_asked_for(tmp_path, folder):
    with pytest.raises(ReadingError, match="hand in one"):
        receive([nifti(tmp_path / "a.nii"), nifti(tmp_path / "b.nii")], folder)


def test_when_there_is_too_much_then_the_limit_and_a_way_out_are_named(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(receiving, "MOST_FILES", 3)
    with pytest.raises(ReadingError, match=r"more than 3 files.*cmr-hf assess"):
        receive(sample_files(), folder)
    monkeypatch.setattr(receiving, "MOST_BYTES", 1000)
    with pytest.raises(ReadingError, match=r"this page takes.*cmr-hf assess"):
        receive(sample_files()[:2], folder)


def test_when_nothing_was_uploaded_then_it_says_what_to_hand_in(folder):
    with pytest.raises(ReadingError, match="Nothing was uploaded"):
        receive([], folder)


def test_when_dicom_lies_in_a_zip_beside_an_index_then_the_index_is_not_counted_as_an_image(tmp_path, folder):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        made.write(sample_files()[0], "DICOM/1")
        made.writestr("DICOMDIR", b"\0" * 128 + b"DICM")
    (tmp_path / "a.zip").write_bytes(content.getvalue())
    made = receive([tmp_path / "a.zip"], folder)
    assert (made.used, made.left_out) == (1, {receiving.INDEX: 1})
