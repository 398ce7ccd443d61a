"""cvi42 workspaces in the layout that the public readers read."""

import numpy as np
import pytest

from cmr_hf.data.labels.cvi42 import parse_cvi42, read_cvi42
from cmr_hf.data.schema import UNKNOWN, rows_of
from cmr_hf.hub.reading_cmr import ReadingError
from tests.data.labels.labels_factory import (
    CENTRE,
    ENDO,
    EPI,
    circle,
    contour_xml,
    heart,
    study,
    whole_heart,
    workspace_xml,
)


def written(tmp_path, contours, before=""):
    path = tmp_path / "workspace.cvi42wsx"
    path.write_text(workspace_xml(contours, before), encoding="utf-8")
    return path


def test_contours_become_masks_on_the_pictures_they_name(tmp_path):
    pictures = study(tmp_path / "dicom")
    contours = {pictures[k, 1].SOPInstanceUID: whole_heart() for k in (0, 1)}
    found = read_cvi42(written(tmp_path, contours), tmp_path / "dicom", patient="p1")
    (stack,) = found.stacks
    assert (stack.phase_index, stack.drawn, stack.view, stack.patient) == (1, (1, 2, 3), "SAX", "p1")
    assert stack.images.shape[0] == 2  # the series of the third slice has no contour
    assert [image[0, 0] for image in stack.images] == [1, 101]
    for mask in stack.masks:
        assert (mask != heart()).mean() < 0.015  # points are rounded to quarters of a pixel
    assert stack.slice_distance_mm == pytest.approx(10)
    assert len(list(rows_of(stack))) == 2


@pytest.mark.parametrize("subpixel", [1, 4, 10])
def test_points_are_divided_by_the_sub_pixel_resolution(tmp_path, subpixel):
    path = written(tmp_path, {"1.2": [contour_xml("saendocardialContour", circle(CENTRE, ENDO), subpixel)]})
    (contour,) = parse_cvi42(path)["1.2"]
    np.testing.assert_allclose(contour.points, circle(CENTRE, ENDO), atol=0.5 / subpixel + 1e-6)


def test_reference_points_become_landmarks(tmp_path):
    pictures = study(tmp_path / "dicom")
    points = [("sacardialRefPoint", (10, 30)), ("sacardialInferiorRefPoint", (26, 31))]
    own = whole_heart() + [contour_xml(name, np.array([point])) for name, point in points]
    (stack,) = read_cvi42(
        written(tmp_path, {pictures[0, 0].SOPInstanceUID: own}), tmp_path / "dicom", patient="p"
    ).stacks
    assert stack.landmarks[0] == {"anterior RV insertion": (10, 30), "inferior RV insertion": (26, 31)}


def test_what_nobody_drew_is_unknown_not_background(tmp_path):
    pictures = study(tmp_path / "dicom", slices=4, phases=1)
    endo, epi = (
        contour_xml("saendocardialContour", circle(CENTRE, ENDO)),
        contour_xml("saepicardialContour", circle(CENTRE, EPI)),
    )
    uids = [pictures[k, 0].SOPInstanceUID for k in range(4)]
    (stack,) = read_cvi42(
        written(tmp_path, {uids[0]: [endo, epi], uids[1]: [endo], uids[2]: [epi], uids[3]: [endo, epi]}),
        tmp_path / "dicom",
        patient="p",
    ).stacks
    assert set(np.unique(stack.masks[0])) == {0, 1, 2}
    assert set(np.unique(stack.masks[1])) == {1, UNKNOWN}
    assert set(np.unique(stack.masks[2])) == {0, UNKNOWN}
    assert stack.drawn == (1, 2)


def test_phases_that_were_not_drawn_are_left_out_and_other_pictures_reported(tmp_path):
    pictures = study(tmp_path / "dicom", slices=2, phases=3)
    contours = {pictures[k, t].SOPInstanceUID: whole_heart() for k in (0, 1) for t in (0, 2)}
    contours["9.9.9"] = whole_heart()
    contours[pictures[0, 0].SOPInstanceUID] = [
        *whole_heart(),
        contour_xml("freeDrawRoiContour", circle(CENTRE, 2)),
        contour_xml("lalaContour", circle(CENTRE, 3), size=(999, 999)),
    ]
    found = read_cvi42(written(tmp_path, contours), tmp_path / "dicom", patient="p")
    assert [stack.phase_index for stack in found.stacks] == [0, 2]
    text = " ".join(found.report)
    assert "'freeDrawRoiContour'" in text
    assert "1 of 5 contoured pictures are not" in text
    assert "another size" in text
    assert "Secret" not in text + repr(found.stacks[0].series)


def test_open_and_long_axis_contours_and_second_ones_are_read(tmp_path):
    pictures = study(tmp_path / "dicom", slices=1, phases=1)
    half = circle(CENTRE, ENDO)[:41]
    own = [
        contour_xml("laendocardialContour", half),
        contour_xml("laraContour", circle((30, 10), 4)),
        contour_xml("laraContour0001", circle((30, 30), 4)),
    ]
    (stack,) = read_cvi42(
        written(tmp_path, {pictures[0, 0].SOPInstanceUID: own}), tmp_path / "dicom", patient="p"
    ).stacks
    assert stack.view is None
    assert stack.masks[0][30, 10] == stack.masks[0][30, 30] == 5
    assert (stack.masks[0] == 1).sum() == pytest.approx(np.pi * ENDO**2 / 2, rel=0.15)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (workspace_xml({}, BOMB), "DTD"),
        (workspace_xml({}, '<!DOCTYPE x SYSTEM "file:///etc/passwd">'), "DTD"),
        (workspace_xml({"1.2": whole_heart()})[:-200], "truncated"),
        ("not xml at all", "no XML"),
        ("", "no XML"),
        ("<a><b/></a>", "no cvi42 workspace"),
        ("<a>" * 300 + "</a>" * 300, "nests deeper"),
        (workspace_xml({"1.2": [contour_xml("saendocardialContour", np.full((4, 2), np.nan))]}), "no numbers"),
        (workspace_xml({"1.2": [contour_xml("saendocardialContour", np.ones((4, 2)), 0)]}), "no numbers"),
    ],
)
def test_when_a_workspace_is_bad_then_it_says_so_without_patient_data(tmp_path, content, says):
    path = tmp_path / "bad.cvi42wsx"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ReadingError, match=says) as caught:
        parse_cvi42(path)
    assert "bad.cvi42wsx" in str(caught.value)
    assert "Secret" not in str(caught.value)


def test_when_no_picture_is_named_then_it_raises(tmp_path):
    study(tmp_path / "dicom", 1, 1)
    path = written(tmp_path, {"9.9.9": whole_heart()})
    (tmp_path / "empty").mkdir()
    for folder, says in (("dicom", "SOP Instance UIDs"), ("empty", "got none")):
        with pytest.raises(ReadingError, match=says):
            read_cvi42(path, tmp_path / folder, patient="p")
