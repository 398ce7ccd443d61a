import io

import numpy as np
import pytest
from cmr_space.viewing import _heart, _sheet, letters, thumbnail, turned
from PIL import Image

from tests.spaces.served import sample_files

AXIAL = np.diag([1.4, 1.4, 8.0, 1.0])  # columns run to the left, rows to the back: radiological


def affine(across, down):
    made = np.eye(4)
    made[:3, 0], made[:3, 1] = across, down
    return made


def test_when_a_slice_is_axial_then_the_patients_left_is_on_the_right():
    assert letters(AXIAL) == {"right": "L", "left": "R", "bottom": "P", "top": "A"}


def test_when_a_slice_is_coronal_then_the_head_is_on_top():
    assert letters(affine((1, 0, 0), (0, 0, -1))) == {"right": "L", "left": "R", "bottom": "F", "top": "H"}


def test_when_a_slice_is_oblique_then_a_side_has_two_letters_the_stronger_first():
    told = letters(affine((0.8, 0.6, 0.05), (0, -0.1, -1)))
    assert (told["right"], told["left"], told["bottom"]) == ("LP", "RA", "F")


@pytest.mark.parametrize(
    ("across", "down", "flips"),
    [
        ((1, 0, 0), (0, 1, 0), (False, False)),
        ((-1, 0, 0), (0, 1, 0), (False, True)),
        ((-1, 0, 0), (0, -1, 0), (True, True)),
        ((1, 0, 0), (0, 0, 1), (True, False)),
        ((0, 1, 0), (0, 0, -1), (False, False)),
    ],
)
def test_when_a_file_does_not_lie_in_radiological_view_then_it_is_turned(across, down, flips):
    matrix = affine(across, down)
    assert turned(matrix) == flips
    told = letters(matrix, flips)
    assert told["right"] in ("L", "P")
    assert told["bottom"] in ("P", "F")


def test_when_phases_are_laid_out_then_each_lies_in_its_tile():
    frames = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 3, 4), np.uint8)
    frames[:, 0, 0] = 99
    sheet = _sheet(frames, 2, (False, False))
    assert sheet.shape == (9, 8)
    assert [int(sheet[3 * (t // 2) + 1, 4 * (t % 2) + 1]) for t in range(5)] == [0, 1, 2, 3, 4]
    assert (sheet[6:, 4:] == 0).all()
    assert _sheet(frames, 2, (True, True))[2, 3] == 99


def test_the_picture_on_the_start_page_is_small_square_and_shows_something():
    made = thumbnail(sample_files("4", ("25",))[0], side=96)
    with Image.open(io.BytesIO(made)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (96, 96))
        assert np.asarray(picture.convert("L")).std() > 20
    assert len(made) < 20_000


def test_the_heart_lies_within_its_part_of_the_picture_with_a_margin_also_where_it_is_turned():
    labels = np.zeros((2, 3, 60, 80), np.uint8)
    labels[0, 1, 20:30, 40:58], labels[1, 2, 25:32, 44:50] = 1, 2
    assert _heart(labels, (False, False)) == {"x": 35, "y": 16, "width": 28, "height": 20}
    assert _heart(labels, (True, True)) == {"x": 17, "y": 24, "width": 28, "height": 20}
    assert _heart(np.zeros_like(labels), (False, False)) is None
    labels[:] = 1
    assert _heart(labels, (True, False)) == {"x": 0, "y": 0, "width": 80, "height": 60}
