"""Sunnybrook: DICOM with contours as text, and 8-bit slices, in their own layouts."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from cmr_hf import ReadingError
from cmr_hf.data.schema import UNKNOWN
from cmr_hf.data.splits import load_split
from cmr_hf.data.sunnybrook import contour_mask, disease_of, list_sunnybrook_patients, person, read_sunnybrook
from cmr_hf.data.sunnybrook_slices import list_sunnybrook_slices_patients, read_sunnybrook_slices
from tests.dicom_factory import OBLIQUE, pixels_of, write_slice

SHAPE = (24, 28)
PHASES, SLICES = 4, 3
ED, ES = 3, 1  # phases with contours
ENDOCARDIUM = "9.0 8.0\n14.5 8.0\n14.5 13.0\n9.0 13.0\n"  # x y: columns 9 to 14, rows 8 to 12
EPICARDIUM = "6.5 5.5\n17.5 5.5\n17.5 16.5\n6.5 16.5\n"


def write_cine(folder, name="{:d}.dcm"):
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    for z in range(SLICES):
        for t in range(PHASES):
            number = z * PHASES + t + 1
            write_slice(
                folder / name.format(number),
                pixels_of(SLICES - z, t, SHAPE),
                InstanceNumber=number,
                TriggerTime=40 * t,
                ImageOrientationPatient=OBLIQUE.tolist(),
                ImagePositionPatient=(-10.0 * z * normal).round(6).tolist(),  # base first, as scanned
            )


def write_contours(folder, split=True):
    """Endocardium at ED and ES of the slices scanned first and second, epicardium at ED of the first."""
    for z in (0, 1):
        for t in (ED, ES):
            name = f"IM-0001-{z * PHASES + t + 1:04d}"
            i, o = (folder / "i-contours", folder / "o-contours") if split else (folder, folder)
            for place in (i, o):
                place.mkdir(parents=True, exist_ok=True)
            (i / f"{name}-icontour-manual.txt").write_text(ENDOCARDIUM)
            (i / f"{name}-p1contour-manual.txt").write_text("1 1\n2 2\n3 1\n")
            if t == ED and z == 0:
                (o / f"{name}-ocontour-manual.txt").write_text(EPICARDIUM)


@pytest.fixture(params=["re-packed", "official"])
def sunnybrook(request, tmp_path):
    if request.param == "re-packed":
        write_cine(tmp_path / "dicom" / "SCD0004001")
        write_contours(tmp_path / "contours" / "SC-N-6")
        table, bom = tmp_path / "patients.csv", ""
    else:
        series = tmp_path / "SCD_IMAGES_05" / "SCD0004001"
        write_cine(series / "CINESAX_300", "IM-0003-{:04d}.dcm")
        write_slice(series / "CINELAX_301" / "IM-0004-0001.dcm", pixels_of(9, 9, SHAPE))
        write_contours(tmp_path / "SCD_ManualContours" / "SC-N-06" / "contours-manual" / "IRCCI-expert", split=False)
        table, bom = tmp_path / "scd_patientdata.csv", "\ufeff"
    table.write_text(bom + "PatientID,OriginalID,Gender,Age,Pathology\nSCD0004001,SC-N-6,Male,50,Normal\n", "utf-8")
    return tmp_path


def test_contours_are_filled_on_their_own_images(sunnybrook):
    assert list_sunnybrook_patients(sunnybrook) == ["SC-N-06"]
    systole, diastole = read_sunnybrook(sunnybrook)
    assert (systole.phase, systole.phase_index, systole.drawn) == ("ES", ES, (1,))
    assert (diastole.phase, diastole.phase_index, diastole.drawn) == ("ED", ED, (1, 2))
    assert (diastole.patient, diastole.disease, diastole.source) == ("SC-N-06", "NORM", "sunnybrook")
    cavity = np.zeros(SHAPE, bool)
    cavity[8:13, 9:15] = True  # upper and left edges belong to it, lower and right ones not
    around = np.zeros(SHAPE, bool)
    around[6:17, 7:18] = True
    for z, scanned in enumerate((3, 2, 1)):  # in space the slice scanned last comes first
        np.testing.assert_array_equal(diastole.images[z], pixels_of(z + 1, ED, SHAPE))
        drawn = scanned < 3
        np.testing.assert_array_equal(systole.masks[z] == 1, cavity & drawn)
        np.testing.assert_array_equal(systole.masks[z] == UNKNOWN, ~cavity | (not drawn))
    np.testing.assert_array_equal(diastole.masks[2] == 1, cavity)
    np.testing.assert_array_equal(diastole.masks[2] == 2, around & ~cavity)
    np.testing.assert_array_equal(diastole.masks[2] == 0, ~around)
    np.testing.assert_array_equal(diastole.masks[1] == UNKNOWN, ~cavity)
    assert (diastole.masks[0] == UNKNOWN).all()
    assert diastole.affine is not None
    assert diastole.slice_distance_mm == pytest.approx(10.0)


def test_the_other_phases_come_without_masks(sunnybrook):
    stacks = list(read_sunnybrook(sunnybrook, ["SC-N-06"], every_phase=True))
    assert [stack.phase for stack in stacks] == ["", "ES", "", "ED"]
    assert [stack.masks is None for stack in stacks] == [True, False, True, False]


def test_when_contours_or_images_are_broken_then_the_reader_names_them(sunnybrook):
    with pytest.raises(ReadingError, match="no images or no contours of SC-N-07"):
        list(read_sunnybrook(sunnybrook, ["SC-N-07"]))
    contour = next(sunnybrook.rglob("IM-0001-0002-icontour-manual.txt"))
    for text in ("", "1 2\n3\n", "one two\n", "1 2\n3 4\n", "nan 1\n2 2\n3 1\n"):
        contour.write_text(text)
        with pytest.raises(ReadingError, match="0002-icontour-manual.txt needs lines of x and y in pixels"):
            list(read_sunnybrook(sunnybrook))
    contour.rename(contour.with_name("IM-0001-0099-icontour-manual.txt"))
    with pytest.raises(ReadingError, match="has no image number 99, which has a contour"):
        list(read_sunnybrook(sunnybrook))


def test_names_of_persons_and_what_can_be_said_of_their_disease():
    assert [person(name) for name in ("SC-HF-I-1", "SC-HF-NI-12", "SC-N-06 ")] == [
        "SC-HF-I-01",
        "SC-HF-NI-12",
        "SC-N-06",
    ]
    assert [disease_of(name) for name in ("SC-N-02", "SC-HF-I-01", "SC-HF-NI-03", "SC-HYP-01")] == ["NORM"] + [None] * 3


def test_one_contour_alone_leaves_the_rest_unknown():
    inner, outer = np.eye(4, dtype=bool), np.ones((4, 4), bool)
    outer[0, 3] = False
    assert [np.unique(contour_mask(*pair)[0]).tolist() for pair in ((inner, outer), (inner, None), (None, outer))] == [
        [0, 1, 2],
        [1, UNKNOWN],
        [0, UNKNOWN],
    ]
    with pytest.raises(ValueError, match="got neither"):
        contour_mask(None, None)


# 8-bit slices


def write_slices(root):
    """ED (number 20 k + 18) and ES (20 k + 8) of two slices; epicardium at ED."""
    for number in (18, 38, 8, 28):
        name = f"SC-HYP-03-IM-0001-{number:04d}.dcm.png"
        mask = np.zeros(SHAPE, np.uint8)
        mask[8:13, 9:15] = 255
        wide = np.zeros(SHAPE, np.uint8)
        wide[6:17, 7:18] = 255
        for folder, picture in (("images", np.full(SHAPE, number, np.uint8)), ("i_labels", mask), ("o_labels", wide)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            if folder != "o_labels" or number in (18, 38):
                Image.fromarray(picture).save(root / folder / name)


def test_slices_are_sorted_into_phases(tmp_path):
    write_slices(tmp_path)
    assert list_sunnybrook_slices_patients(tmp_path) == ["SC-HYP-03"]
    systole, diastole = read_sunnybrook_slices(tmp_path)
    assert (systole.phase, systole.phase_index, systole.drawn) == ("ES", 7, (1,))
    assert (diastole.phase, diastole.phase_index, diastole.drawn) == ("ED", 17, (1, 2))
    assert systole.slice_indices == diastole.slice_indices == (0, 1)
    assert diastole.images[:, 0, 0].tolist() == [18, 38]
    assert diastole.spacing_mm is None
    assert Counter(diastole.masks[0].ravel().tolist()) == {1: 30, 2: 91, 0: SHAPE[0] * SHAPE[1] - 121}
    assert Counter(systole.masks[0].ravel().tolist()) == {1: 30, UNKNOWN: SHAPE[0] * SHAPE[1] - 30}


def test_when_a_slice_lacks_its_mask_then_the_reader_names_it(tmp_path):
    write_slices(tmp_path)
    with pytest.raises(ReadingError, match="has no slice of SC-HYP-04"):
        list(read_sunnybrook_slices(tmp_path, ["SC-HYP-04"]))
    path = tmp_path / "o_labels" / "SC-HYP-03-IM-0001-0018.dcm.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
    with pytest.raises(ReadingError, match=r"0018.dcm.png \(4, 4\) and its image \(24, 28\) differ in size"):
        list(read_sunnybrook_slices(tmp_path))
    (tmp_path / "i_labels" / "SC-HYP-03-IM-0001-0008.dcm.png").unlink()
    with pytest.raises(ReadingError, match="0008.dcm.png has no mask in .*: fetch i_labels again"):
        list(read_sunnybrook_slices(tmp_path))


def test_real_slices_are_539_of_30_persons(shared_data):
    root = shared_data / "sunnybrook" / "slices"
    split = load_split(shared_data / "splits.json", "sunnybrook")
    assert list_sunnybrook_slices_patients(root) == sorted(patient for side in split.values() for patient in side)
    stacks = list(read_sunnybrook_slices(root, split["test"]))
    assert Counter(stack.phase for stack in stacks) == {"ED": 12, "ES": 12}
    assert sum(len(stack.images) for stack in stacks) == 207
    assert len(list((root / "images").iterdir())) == 539
    for diastole, systole in zip(stacks[::2], stacks[1::2], strict=True):
        assert diastole.patient == systole.patient


def test_real_contours_agree_with_the_real_slices_of_the_same_person(shared_data):
    root = shared_data / "sunnybrook"
    assert list_sunnybrook_patients(root) == ["SC-HF-I-01", "SC-HF-I-04"]
    stacks = {stack.phase: stack for stack in read_sunnybrook(root, ["SC-HF-I-04"])}
    assert {phase: (stack.phase_index, len(stack.images)) for phase, stack in stacks.items()} == {
        "ED": (19, 10),
        "ES": (6, 10),
    }
    for slices in read_sunnybrook_slices(root / "slices", ["SC-HF-I-04"]):
        stack = stacks[slices.phase]
        assert stack.phase_index == slices.phase_index
        for picture, theirs in zip(slices.images, slices.masks, strict=True):
            z = int(np.argmax([np.corrcoef(picture.ravel(), image.ravel())[0, 1] for image in stack.images]))
            for label in slices.drawn[:1]:
                ours, other = stack.masks[z] == label, theirs == label
                assert 2 * (ours & other).sum() / (ours.sum() + other.sum()) > 0.92  # theirs leave the edge out
