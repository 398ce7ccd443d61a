import json

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cmr_hf.clinical.volumes import measure
from cmr_hf.clinical.writers import json_safe, whole_file, write_mask, write_measures_json, write_nifti_mask
from cmr_hf.hub.reading_cmr import CMRImage, read_image
from cmr_hf.samples import sample

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def turned(angles, zooms_mm, origin_mm, flip):
    """An oblique affine: rotation about three axes, maybe mirrored, times voxel sizes."""
    a, b, c = angles
    rx = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    ry = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    rz = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rx @ ry @ rz @ np.diag([-1.0 if flip else 1.0, 1.0, 1.0]) @ np.diag(zooms_mm)
    affine[:3, 3] = origin_mm
    return affine


OBLIQUE = st.builds(
    turned,
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(st.floats(0.6, 2.5), st.floats(0.6, 2.5), st.floats(3, 18)),
    st.tuples(*[st.floats(-200, 200)] * 3),
    st.booleans(),
)


def dicom_image(affine, shape=(2, 3, 5, 7)):
    across, down, through = np.linalg.norm(affine[:3, :3], axis=0)
    return CMRImage(
        pixels=np.zeros(shape, np.uint16),
        spacing_mm=(down, across),
        slice_distance_mm=through,
        affine=affine,
        source="a folder",
        kind="dicom",
        trigger_times_ms=tuple(40.0 * t for t in range(shape[0])),
    )


def world_mm(affine, index):
    return (affine @ [*index, 1.0])[:3]


@settings(max_examples=40, deadline=None)
@given(affine=OBLIQUE)
def test_a_dicom_mask_has_each_label_where_it_is_in_the_patient(tmp_path_factory, affine):
    image = dicom_image(affine)
    labels = np.zeros(image.pixels.shape, np.uint8)
    labels[1, 2, 3, 6] = 3
    path = tmp_path_factory.mktemp("mask") / "m.nii.gz"
    written = nib.load(write_nifti_mask({"segmentation": labels}, image, path))
    assert written.shape == (7, 5, 3, 2)
    assert written.get_data_dtype() == np.uint8
    (found,) = np.argwhere(np.asarray(written.dataobj) == 3)
    assert found[3] == 1
    ras = world_mm(written.affine, found[:3])
    np.testing.assert_allclose(ras * [-1, -1, 1], world_mm(affine, (6, 3, 2)), atol=2e-3)
    assert written.header.get_zooms()[3] == pytest.approx(0.04)


@settings(max_examples=40, deadline=None)
@given(
    affine=OBLIQUE,
    shape=st.sampled_from([(6, 5), (6, 5, 4), (6, 5, 1), (6, 5, 4, 3)]),
    use=st.sampled_from(["sform", "qform", "both"]),
    image_class=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
)
def test_a_nifti_mask_lies_on_its_source(tmp_path_factory, affine, shape, use, image_class):
    folder = tmp_path_factory.mktemp("nifti")
    values = np.zeros(shape, np.int16)
    values[(4, 1) + (0,) * (len(shape) - 2)] = 100
    source = image_class(values, affine)
    source.set_sform(affine, code=0 if use == "qform" else 1)
    source.set_qform(affine, code=0 if use == "sform" else 1)
    nib.save(source, folder / "heart.nii.gz")
    source = nib.load(folder / "heart.nii.gz")

    image = read_image(folder / "heart.nii.gz")
    labels = (image.pixels > 50).astype(np.uint8)
    mask = nib.load(write_nifti_mask({"segmentation": labels}, image, folder / "mask.nii.gz"))

    assert mask.shape == source.shape
    np.testing.assert_array_equal(np.asarray(mask.dataobj), values > 50)
    np.testing.assert_allclose(mask.affine, source.affine, atol=1e-4)
    assert mask.header.get_zooms() == source.header.get_zooms()
    for code in ("sform_code", "qform_code"):
        assert mask.header[code] == source.header[code]


def test_a_nifti_in_metres_keeps_its_unit(tmp_path):
    source = nib.Nifti1Image(np.zeros((5, 4, 3), np.int16), np.diag([0.0014, 0.0014, 0.008, 1]))
    source.header.set_xyzt_units("meter")
    nib.save(source, tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    path = write_nifti_mask({"segmentation": np.zeros(image.pixels.shape, np.uint8)}, image, tmp_path / "m.nii")
    assert nib.load(path).header.get_xyzt_units()[0] == "meter"


def test_free_text_and_scaling_of_a_nifti_header_are_not_copied(tmp_path):
    source = nib.Nifti1Image(np.zeros((5, 4, 3), np.int16), np.diag([1.4, 1.4, 8, 1]))
    source.header["descrip"] = b"DOE^JANE 19500101"
    source.header["db_name"] = b"DOE"
    source.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"DOE^JANE"))
    source.header.set_slope_inter(0.5, 3)
    nib.save(source, tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    labels = np.full(image.pixels.shape, 2, np.uint8)
    path = write_nifti_mask({"segmentation": labels}, image, tmp_path / "m.nii")
    assert b"DOE" not in path.read_bytes()
    assert (np.asarray(nib.load(path).dataobj) == 2).all()


def test_the_sample_stack_round_trips_by_patient_coordinates(tmp_path):
    image = read_image(sample("sax_cine"))
    labels = (image.pixels > 300).astype(np.uint8)
    write_nifti_mask({"segmentation": labels}, image, tmp_path / "m.nii.gz")
    again = read_image(tmp_path / "m.nii.gz")
    np.testing.assert_array_equal(again.pixels, labels)
    np.testing.assert_allclose(again.affine, image.affine, atol=1e-3)


def test_a_mask_of_one_phase_has_three_axes(tmp_path):
    image = dicom_image(np.diag([1.4, 1.2, 8.0, 1.0]), (1, 3, 5, 7))
    path = write_nifti_mask({"segmentation": np.ones((1, 3, 5, 7))}, image, tmp_path / "m.nii.gz")
    assert nib.load(path).shape == (7, 5, 3)


def test_an_array_without_position_keeps_its_spacing_and_says_that_the_place_is_unknown(tmp_path):
    image = CMRImage(np.zeros((3, 5, 7)), (1.5, 1.25), 9.0, None, "array", "array")
    written = nib.load(write_nifti_mask({"segmentation": np.zeros((3, 5, 7))}, image, tmp_path / "m.nii"))
    assert written.header.get_zooms() == (1.25, 1.5, 9.0)
    assert written.header["sform_code"] == written.header["qform_code"] == 0


def test_a_picture_gets_a_png_whose_values_are_labels(tmp_path):
    labels = np.zeros((9, 11), np.uint8)
    labels[3:6, 2:5] = 2
    image = CMRImage(labels, None, None, None, "scan.png", "picture")
    path = write_mask({"segmentation": labels}, image, tmp_path / "scan")
    assert path.name == "scan_mask.png"
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), labels)
        assert len(picture.convert("RGB").getcolors()) == 2


def test_when_the_label_map_does_not_fit_the_source_then_it_raises(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((5, 4, 3), np.int16), np.eye(4)), tmp_path / "a.nii")
    image = read_image(tmp_path / "a.nii")
    with pytest.raises(ValueError, match="shape"):
        write_nifti_mask({"segmentation": np.zeros((1, 3, 5, 4))}, image, tmp_path / "m.nii")


def test_measures_are_json_with_a_notice_and_without_names_of_files(tmp_path):
    labels = np.ones((1, 2, 4, 4), np.uint8)
    result = {
        "labels": {0: "background", 1: "LV cavity"},
        "scores": {"LV cavity": np.float32(0.9), "RV": None, "x": float("nan")},
        "affine": np.eye(4),
        "left_out": [
            {"file": "a/DOE_JANE.dcm", "reason": "a/DOE_JANE.dcm is not an image"},
            {"file": "DOE_JOHN.dcm", "reason": "DOE_JOHN.dcm is not an image"},
        ],
    }
    path = write_measures_json(measure(labels, (1, 1), 8.0), result, tmp_path / "m.json", source="heart")
    content = json.loads(path.read_text())
    assert "DOE" not in path.read_text()
    assert content["left_out"] == [{"reason": "file is not an image", "files": 2}]
    assert "not a medical device" in content["notice"]
    assert content["mean_probability"]["x"] is None
    assert content["labels"]["1"] == "LV cavity"
    assert "[1.0, 0.0, 0.0, 0.0]" in path.read_text()


def test_json_safe_makes_plain_values():
    made = json_safe({1: np.arange(2), "b": (np.float64("inf"), np.bool_(True)), "c": {np.int64(3)}})
    assert made == {"1": [0, 1], "b": [None, True], "c": [3]}
    json.dumps(made, allow_nan=False)


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "mask.nii.gz"
    with whole_file(path) as part:
        part.write_text("first")
        assert part.name.endswith("mask.nii.gz")
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(TypeError), whole_file(path) as part, part.open("w") as file:
        file.writelines(["sec", 2])
    with whole_file(path):
        pass  # nothing was written
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]
