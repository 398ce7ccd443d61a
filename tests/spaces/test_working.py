"""From an upload to what the page shows, with the embedded model, without a browser."""

import json
import zipfile

import nibabel
import numpy as np
import pydicom
import pytest
from cmr_space import pages, working
from cmr_space.receiving import receive
from cmr_space.working import Options, work
from PIL import Image

from cmr_hf.hub.checking_cmr import ReadingError
from cmr_hf.hub.reading_cmr import read_image
from tests.spaces.served import sample_files


@pytest.fixture(scope="module")
def assessed(tmp_path_factory, small_zip):
    folder = tmp_path_factory.mktemp("session")
    private, shown = folder / "private", folder / "shown"
    private.mkdir()
    shown.mkdir()
    receive([small_zip], private)
    work(private, shown, Options(height_cm=180, weight_kg=80))
    return shown


def test_when_a_study_is_assessed_then_volumes_stand_in_the_json_and_on_the_page(assessed):
    made = json.loads((assessed / "out" / "assessment.json").read_text())
    volume = made["measures"]["lv_edv"]["value"]
    assert 50 < volume < 250
    page = pages.figures(assessed)
    assert f"<b>{volume:.0f} <small>ml</small></b>" in page
    assert made["measures"]["lv_edv_index"]["value"] == pytest.approx(
        volume / made["measures"]["bsa"]["value"], rel=1e-3
    )


def test_when_a_study_is_assessed_then_the_viewer_gets_every_slice_with_masks_and_letters(assessed):
    told = pages.manifest(assessed)
    (stack,) = told["stacks"]
    assert (stack["phases"], len(stack["slices"]), stack["kind"]) == (3, 6, "cine SAX")
    assert {one["name"] for one in stack["labels"]} == {"LV cavity", "myocardium", "RV"}
    assert stack["letters"]["left"].startswith("R")
    assert told["base"].endswith("/view/")
    drawn = [one for one in stack["slices"] if one["mask"]]
    assert len(drawn) >= 5
    for one in drawn:
        with Image.open(assessed / "view" / one["image"]) as sheet, Image.open(assessed / "view" / one["mask"]) as mask:
            assert sheet.size == mask.size == (stack["columns"] * stack["width"], stack["height"])
            assert np.asarray(mask.convert("RGBA"))[..., 3].max() == 255


def test_when_a_study_is_assessed_then_every_download_is_there_and_names_nobody(assessed):
    page = pages.downloads(assessed)
    for name in ("report.html", "assessment.json", "masks_nifti.zip", "dicom_seg.zip", "cmr_assessment.zip"):
        assert f'download="{name}"' in page
    with zipfile.ZipFile(assessed / "cmr_assessment.zip") as archive:
        assert "assessment.json" in archive.namelist()
        assert not [name for name in archive.namelist() if name.startswith("cache")]
    everything = b"".join(file.read_bytes() for file in assessed.rglob("*") if file.is_file())
    assert b"mustermann" not in everything.lower()


def test_when_a_role_has_no_model_then_the_page_says_so():
    about = working.roles()
    page = pages.models_table(about)
    without = [name for name, one in about.items() if one["model"] is None]
    assert about["cine-sax"]["model"] == "cine-sax"
    assert page.count("no model") == len(without)


def test_when_a_nifti_cine_comes_then_it_is_measured_as_what_the_person_says(tmp_path, small_zip):
    image = read_image(str(small_zip))
    array = np.ascontiguousarray(image.pixels[:2].transpose(3, 2, 1, 0)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([-1, -1, 1, 1]) @ image.affine), tmp_path / "a.nii.gz")
    made = assessed_single(tmp_path / "a.nii.gz", tmp_path, Options("short-axis cine"))
    assert made["measures"]["lv_edv"]["value"] > 50
    (stack,) = pages.manifest(tmp_path / "shown")["stacks"]
    assert [one["by"] for one in stack["recognised"]] == ["you", "you"]
    mask = nibabel.load(tmp_path / "shown" / "out" / made["stacks"][0]["files"]["mask"])
    assert mask.shape == array.shape
    np.testing.assert_allclose(mask.affine, nibabel.load(tmp_path / "a.nii.gz").affine, atol=1e-3)


def test_when_a_picture_has_no_size_then_there_are_masks_and_no_figure(tmp_path, small_zip):
    pixels = read_image(str(small_zip)).pixels[0, 1].astype(float)
    Image.fromarray((255 * pixels / pixels.max()).astype(np.uint8)).save(tmp_path / "a.png")
    made = assessed_single(tmp_path / "a.png", tmp_path, Options("short-axis cine"))
    assert not [one for one in made["measures"].values() if one["value"] is not None]
    assert made["not_measured"] == [working.NO_SIZE]
    (stack,) = pages.manifest(tmp_path / "shown")["stacks"]
    assert 1 in [one["id"] for one in stack["labels"]]
    assert stack["letters"] is None


def assessed_single(path, folder, options):
    for name in ("private", "shown"):
        (folder / name).mkdir()
    receive([path], folder / "private")
    work(folder / "private", folder / "shown", options)
    return json.loads((folder / "shown" / "out" / "assessment.json").read_text())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"height_cm": 1.8}, "Height needs 30 to 250 cm"),
        ({"haematocrit": 42}, "0.1 to 0.7"),
        ({"shows": "x"}, "one of"),
    ],
)
def test_when_a_number_cannot_be_then_the_message_names_the_limits(wrong, said):
    with pytest.raises(ReadingError, match=said):
        Options(**wrong)


def test_when_a_message_holds_markup_then_it_is_shown_as_text():
    assert "<script>" not in pages.message("<script>alert(1)</script>", "alarm")
    assert 'role="alert"' in pages.message("no", "alarm")


def test_when_another_modality_is_handed_in_then_the_message_names_it(tmp_path):
    for number, file in enumerate(sample_files("34", ("11",))):
        made = pydicom.dcmread(file)
        made.Modality, made.SOPClassUID = "CT", pydicom.uid.CTImageStorage
        made.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        made.save_as(tmp_path / f"Mustermann_{number}.dcm")
    for name in ("private", "shown"):
        (tmp_path / name).mkdir()
    receive(sorted(tmp_path.glob("*.dcm")), tmp_path / "private")
    with pytest.raises(ReadingError, match="no MR image.*computed tomography") as caught:
        work(tmp_path / "private", tmp_path / "shown", Options())
    assert "Mustermann" not in str(caught.value)


def test_the_start_page_shows_the_built_in_study_with_its_source():
    card = pages.sample_card(b"RIFF")
    assert 'src="data:image/webp;base64,UklGRg=="' in card
    assert "biv-me, Apache 2.0" in card
