"""Guide points of the biv-me example study, and how far derived insertion points lie from its own.

Neither comparison is with a person: the study's points are made of a network's masks. From its own contours the rule
alone is measured; from the embedded model's masks, rule and masks are independent of it.
"""

import numpy as np
import pytest
from transformers import pipeline

from cmr_hf import embedded
from cmr_hf.data.biv_me import (
    INSERTION,
    PATIENT,
    GuideSlice,
    list_biv_me_patients,
    read_biv_me,
    read_guide_points,
)
from cmr_hf.data.insertion_points import stack_insertion_points
from cmr_hf.data.schema import LANDMARKS, UNKNOWN
from cmr_hf.hub.reading_cmr import ReadingError

PLANE = (
    "1.dcm\tsliceID: \t1\tImagePositionPatient\t-10.0\t-20.0\t30.0\t"
    "ImageOrientationPatient\t0.8\t0.0\t0.6\t0.36\t0.8\t-0.48\tPixelSpacing\t2.0\t1.5\n"
)
ANTERIOR, INFERIOR = LANDMARKS


@pytest.fixture(scope="module")
def study(shared_data):
    return list(read_biv_me(shared_data / "biv_me_study"))


@pytest.fixture(scope="module")
def short_axis(study):
    return [stack for stack in study if stack.view == "SAX"]


def write_guide_points(folder, lines, plane=PLANE):
    (folder / "SliceInfoFile.txt").write_text(plane)
    text = "x\ty\tz\tcontour type\tframeID\tweight\ttime frame\n" + "".join(f"{line}\n" for line in lines)
    (folder / "GPFile_000.txt").write_text(text)


def line(row, column, kind, slice_id=1):
    x, y, z = (
        np.array((-10.0, -20.0, 30.0)) + column * 1.5 * np.array((0.8, 0, 0.6)) + row * 2 * np.array((0.36, 0.8, -0.48))
    )
    return f"{x:.5f}\t{y:.5f}\t{z:.5f}\t{kind}\t{slice_id}\t1.0\t0"


def test_patient_millimetres_become_pixels(tmp_path):
    write_guide_points(tmp_path, [line(7, 11, INSERTION), line(3, 20, INSERTION)])
    (one,) = read_guide_points(tmp_path)
    assert (one.slice_id, one.frame, one.spacing_mm) == (1, 0, (2.0, 1.5))
    np.testing.assert_allclose(one.points[INSERTION], [(7, 11), (3, 20)], atol=1e-4)
    np.testing.assert_allclose(one.affine @ (11, 7, 0, 1), (*one.points_mm[INSERTION][0], 1), atol=1e-4)


@pytest.mark.parametrize(
    ("lines", "plane", "message"),
    [
        (["1\t2\tthree\tRV_INSERT\t1\t1.0\t0"], PLANE, "GPFile_000"),
        (["1\t2\t3\tRV_INSERT\t9\t1.0\t0"], PLANE, "GPFile_000"),
        ([], PLANE.replace("PixelSpacing", "Nothing"), "SliceInfoFile"),
    ],
)
def test_when_a_file_is_broken_then_it_is_named(tmp_path, lines, plane, message):
    write_guide_points(tmp_path, lines, plane)
    with pytest.raises(ReadingError, match=message):
        read_guide_points(tmp_path)


def test_when_there_are_no_guide_points_then_it_raises(tmp_path):
    with pytest.raises(ReadingError, match="SliceInfoFile"):
        read_guide_points(tmp_path)
    with pytest.raises(ReadingError, match="views.csv"):
        list(read_biv_me(tmp_path))
    with pytest.raises(ReadingError, match="nobody"):
        list(read_biv_me(tmp_path, ["nobody"]))
    assert list_biv_me_patients(tmp_path) == [PATIENT]


def circle(radius, centre=(50.0, 60.0)):
    angles = np.arange(0, 2 * np.pi, 0.05)
    return np.stack((centre[0] + radius * np.sin(angles), centre[1] + radius * np.cos(angles)), axis=1)


def test_contours_become_a_mask():
    centre = (50.0, 35.0)
    rv = circle(15, centre)
    touching = np.linalg.norm(rv - (50, 60), axis=1) < 20
    outer = circle(20)
    points = {
        "SAX_LV_ENDOCARDIAL": circle(12),
        "SAX_LV_EPICARDIAL": outer[np.linalg.norm(outer - centre, axis=1) > 15],
        "SAX_RV_SEPTUM": circle(20)[np.linalg.norm(outer - centre, axis=1) <= 15][::-1],
        "SAX_RV_FREEWALL": rv[~touching],
    }
    points_mm = {kind: np.column_stack((rc[:, 1], rc[:, 0], 0 * rc[:, 0])) for kind, rc in points.items()}
    mask = GuideSlice(1, 0, np.eye(4), (1.0, 1.0), points_mm).mask((100, 110))
    rows, columns = np.indices(mask.shape)
    away = np.hypot(rows - 50, columns - 60)
    truth = np.select([away <= 12, away <= 20, np.hypot(rows - 50, columns - 35) <= 15], [1, 2, 3])
    for label in (1, 2, 3):
        both = ((mask == label) & (truth == label)).sum()
        assert 2 * both / ((mask == label).sum() + (truth == label).sum()) > 0.93


def test_the_study_comes_in_one_form(study, short_axis):
    assert len(short_axis) == 25
    assert len(study) == 25 * 6
    assert {stack.view for stack in study} == {"SAX", "2CH", "3CH", "4CH", "other"}
    first = short_axis[0]
    assert first.images.shape == (6, 208, 256)
    assert first.slice_distance_mm == pytest.approx(17.7, abs=0.1)
    assert (first.masks[0] == UNKNOWN).all()  # the tool left the basal slice out
    assert set(np.unique(first.masks[1:])) == {0, 1, 2, 3}
    assert [len(marked) for marked in first.landmarks] == [0, 2, 2, 2, 2, 2]
    assert sum(len(stack.landmarks[z]) > 0 for stack in short_axis for z in range(6)) == 115


def test_cavities_are_bright_and_the_wall_is_dark(short_axis):
    """Frames of the guide points and of the images are the same, and rows and columns are not swapped."""
    for stack in short_axis:
        means = [stack.images[stack.masks == label].mean() for label in (1, 2, 3)]
        assert means[0] > 2 * means[1]
        assert means[2] > 1.7 * means[1]


def test_the_studys_points_are_named_from_the_patient(short_axis):
    """The order in the files changes from slice to slice; in the patient anterior is the smaller y."""
    for stack in short_axis:
        for z, marked in enumerate(stack.landmarks):
            if marked:
                places = {n: (stack.affine @ (column, row, z, 1))[:3] for n, (row, column) in marked.items()}
                assert places[ANTERIOR][1] <= places[INFERIOR][1] + 1e-3


def distances_mm(stacks, masks):
    """(n, 2): slice and distance in mm of every point that both have; and how many slices have none derived."""
    found, missed = [], 0
    for stack, mask in zip(stacks, masks, strict=True):
        derived = stack_insertion_points(mask, stack.spacing_mm, affine=stack.affine)
        for z, (marked, one) in enumerate(zip(stack.landmarks, derived, strict=True)):
            missed += bool(marked) and not one.points
            for name in marked if one.points else ():
                away = (np.array(marked[name]) - one.points[name]) * stack.spacing_mm
                found.append((z, np.linalg.norm(away)))
    return np.array(found), missed


def test_points_from_the_studys_own_contours_lie_near_its_points(short_axis):
    """Derived against derived, from the same masks: median 2.4 mm, worst 9.8 mm, 4 of 115 slices without."""
    found, missed = distances_mm(short_axis, [stack.masks for stack in short_axis])
    assert missed <= 5
    assert np.median(found[:, 1]) < 2.8
    assert np.percentile(found[:, 1], 90) < 4.2
    assert found[:, 1].max() < 11


def model_masks(stacks):
    segment = pipeline("cmr-segmentation", model=str(embedded("cine-sax")))
    images = np.stack([stack.images for stack in stacks])
    return segment({"image": images, "spacing_mm": stacks[0].spacing_mm})["segmentation"]


def test_points_from_the_embedded_models_masks_lie_near_the_studys_points(short_axis):
    """Masks and rule are independent. ED and ES: median 3.6 mm, worst 9.1 mm, 1 of 10 slices without."""
    stacks = [short_axis[0], short_axis[9]]
    found, missed = distances_mm(stacks, model_masks(stacks))
    assert missed <= 1
    assert np.median(found[:, 1]) < 4.2
    assert np.median(found[(found[:, 0] > 1) & (found[:, 0] < 5), 1]) < 4
    assert found[:, 1].max() < 11


@pytest.mark.slow
def test_in_all_frames_points_from_the_embedded_models_masks_lie_near_the_studys_points(short_axis):
    """25 frames: median 3.7 mm, worst 50 mm in the basal slice, 10 of 115 slices without; elsewhere 3.7 and 10 mm."""
    found, missed = distances_mm(short_axis, model_masks(short_axis))
    assert missed <= 10
    assert np.median(found[:, 1]) < 4.2
    assert np.median(found[found[:, 0] > 1, 1]) < 4.0
    assert found[found[:, 0] > 1, 1].max() < 12
    assert found[:, 1].max() < 62
