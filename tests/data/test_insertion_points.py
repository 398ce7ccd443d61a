"""RV insertion points on hearts made of circles, whose insertions are known to a fraction of a pixel."""

import itertools

import numpy as np
import pytest

from cmr_hf.data.acdc import read_acdc
from cmr_hf.data.insertion_points import (
    WALL_MM,
    epicardium,
    find_contact,
    insertion_points,
    is_dummy,
    stack_insertion_points,
    with_insertion_points,
)
from cmr_hf.data.schema import LANDMARKS, LabelledStack
from cmr_hf.data.splits import load_split

ANTERIOR, INFERIOR = LANDMARKS
FIELD_MM, EPI_MM, ENDO_MM, APART_MM, RV_MM = 170.0, 32.0, 22.0, 40.0, 30.0  # two circles that overlap
LEFT = np.pi  # of the picture, where the RV usually is
CENTRE_MM = (0.3, -0.4)


def heart(angle=LEFT, spacing=(1.4, 1.4), gap_mm=0.0):
    """House labels of a round LV and a crescent RV; the angle is clockwise on the picture from its right."""
    shape = tuple(int(FIELD_MM / step) for step in spacing)
    rows, columns = np.indices(shape)
    y = (rows - (shape[0] - 1) / 2) * spacing[0] - CENTRE_MM[0]
    x = (columns - (shape[1] - 1) / 2) * spacing[1] - CENTRE_MM[1]
    distance = np.hypot(y, x)
    mask = np.zeros(shape, np.uint8)
    beside = np.hypot(y - APART_MM * np.sin(angle), x - APART_MM * np.cos(angle)) < RV_MM
    mask[beside & (distance >= EPI_MM + gap_mm)] = 3
    mask[distance < EPI_MM] = 2
    mask[distance < ENDO_MM] = 1
    return mask


def truth(angle=LEFT, spacing=(1.4, 1.4), wall_mm=WALL_MM):
    """Where the circles meet, and `wall_mm` further along the LV: (row, column), clockwise the first and the last."""
    half = np.arccos((APART_MM**2 + EPI_MM**2 - RV_MM**2) / (2 * APART_MM * EPI_MM))
    half += 2 * np.arcsin(wall_mm / 2 / EPI_MM)
    shape = [int(FIELD_MM / step) for step in spacing]
    middle = [(size - 1) / 2 + off / step for size, off, step in zip(shape, CENTRE_MM, spacing, strict=True)]
    return np.array(
        [
            (middle[0] + EPI_MM * np.sin(end) / spacing[0], middle[1] + EPI_MM * np.cos(end) / spacing[1])
            for end in (angle - half, angle + half)
        ]
    )


def apart_mm(points, other, spacing=(1.4, 1.4)):
    return np.linalg.norm((np.array(points) - np.array(other)) * spacing, axis=-1)


@pytest.mark.parametrize("spacing", [(1.4, 1.4), (1.0, 1.0), (1.8, 1.2), (1.2, 2.0)])
def test_points_lie_on_the_true_insertions_below_a_pixel_at_any_rotation(spacing):
    errors = np.concatenate(
        [
            apart_mm(find_contact(heart(angle, spacing), np.array(spacing)).ends, truth(angle, spacing), spacing)
            for angle in np.linspace(0, 2 * np.pi, 25)[:-1]
        ]
    )
    assert errors.max() < max(spacing)
    assert errors.mean() < 0.4 * max(spacing)


def test_a_wall_of_another_thickness_moves_the_points_along_the_epicardium():
    for wall_mm in (0.75, 3.0):
        contact = find_contact(heart(), np.array((1.4, 1.4)), wall_mm)
        assert apart_mm(contact.ends, truth(wall_mm=wall_mm)).max() < 1.3


def test_the_epicardium_is_a_circle_between_the_pixels():
    contour, reason = epicardium(heart(), np.array((1.4, 1.4)))
    middle = (int(FIELD_MM / 1.4) - 1) / 2 * 1.4 + np.array(CENTRE_MM)
    assert not reason
    np.testing.assert_allclose(np.linalg.norm(contour - middle, axis=1), EPI_MM, atol=0.35)


@pytest.mark.parametrize("gap_mm", [1.0, 2.5, 4.0])
def test_a_gap_between_rv_and_myocardium_is_bridged(gap_mm):
    contact = find_contact(heart(gap_mm=gap_mm), np.array((1.4, 1.4)))
    assert apart_mm(contact.ends, truth()).max() < 3.0


def test_an_rv_of_islands_has_the_ends_of_the_whole():
    mask = heart()
    mask[::12][mask[::12] == 3] = 0
    mask[1::12][mask[1::12] == 3] = 0
    contact = find_contact(mask, np.array((1.4, 1.4)))
    assert apart_mm(contact.ends, truth()).max() < 2.5


def test_a_stray_island_on_the_other_side_is_left_out():
    mask = heart()
    middle = len(mask) // 2
    mask[middle - 2 : middle + 3, middle + 24 : middle + 27] = 3
    contact = find_contact(mask, np.array((1.4, 1.4)))
    assert apart_mm(contact.ends, truth()).max() < 1.3


def test_an_open_ring_is_closed():
    mask = heart()
    middle = len(mask) // 2
    mask[middle:, middle:][np.tri(len(mask) - middle, dtype=bool)] = 0  # an eighth, cavity and all
    contact = find_contact(mask, np.array((1.4, 1.4)))
    assert apart_mm(contact.ends, truth()).max() < 2.0


def test_scar_belongs_to_the_ring():
    mask = heart()
    mask[:, len(mask) // 2 :][mask[:, len(mask) // 2 :] == 2] = 6
    assert apart_mm(find_contact(mask, np.array((1.4, 1.4))).ends, truth()).max() < 1.3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda mask: np.where(mask == 3, 0, mask), "no RV"),
        (lambda mask: np.where(mask < 3, 0, mask), "no myocardium"),
        (lambda mask: np.where(mask == 2, 0, mask), "no myocardium"),
        (lambda mask: np.where(mask == 0, 3, mask), "all around"),
        (lambda mask: np.where((mask == 3) & (np.indices(mask.shape)[1] > 20), 0, mask), "do not touch"),
        (lambda mask: np.where((mask == 3) & (abs(np.indices(mask.shape)[0] - 60) > 1), 0, mask), "mm only"),
    ],
)
def test_a_reason_says_why_there_are_no_points(change, reason):
    mask = change(heart()).astype(np.uint8)
    (answer,) = stack_insertion_points(mask[None], (1.4, 1.4))
    assert answer.points == {}
    assert reason in answer.reason
    assert insertion_points(mask, (1.4, 1.4)) == {}


def test_half_a_ring_is_refused():
    mask = heart()
    mask[:, len(mask) // 2 - 8 :] = np.where(mask[:, len(mask) // 2 - 8 :] == 2, 0, mask[:, len(mask) // 2 - 8 :])
    assert "open over" in find_contact(mask, np.array((1.4, 1.4))).reason


@pytest.mark.parametrize("spacing", [(0, 1.4), (1.4,), (np.nan, 1.4), (-1, 1)])
def test_when_spacing_is_not_positive_then_it_raises(spacing):
    with pytest.raises(ValueError, match="spacing_mm"):
        insertion_points(heart(), spacing)


def test_when_a_mask_is_no_slice_then_it_raises():
    with pytest.raises(ValueError, match="shape"):
        stack_insertion_points(heart(), (1.4, 1.4))


# --- which is which -------------------------------------------------------------------------------------------------


def test_in_the_usual_picture_the_upper_end_is_anterior():
    (answer,) = stack_insertion_points(heart()[None], (1.4, 1.4))
    assert answer.points[ANTERIOR][0] < answer.points[INFERIOR][0]
    assert (answer.orientation.rule, answer.orientation.confidence) == ("picture", 0.95)


@pytest.mark.parametrize("degrees", [120, 150, 210, 260])
def test_a_heart_rotated_about_its_long_axis_keeps_its_names(degrees):
    angle = np.radians(degrees)
    points = insertion_points(heart(angle), (1.4, 1.4))
    first, last = truth(angle)
    assert apart_mm(points[INFERIOR], first) < 1.3
    assert apart_mm(points[ANTERIOR], last) < 1.3


def test_a_mirrored_picture_has_its_names_when_it_is_said_to_be_one():
    mask = heart(np.radians(200))
    usual = insertion_points(mask, (1.4, 1.4))
    flipped = insertion_points(mask[::-1], (1.4, 1.4), mirrored=True)
    for name, (row, column) in flipped.items():
        assert apart_mm((len(mask) - 1 - row, column), usual[name]) < 1e-3


def test_a_picture_against_the_rule_is_less_sure():
    (answer,) = stack_insertion_points(heart(0.0)[None], (1.4, 1.4))  # RV on the right: mirrored?
    assert answer.orientation.confidence == 0.5


def short_axis(spacing=(1.4, 1.4)):
    """LPS affine of a real short axis, seen from the apex, its slices from apex to base."""
    across, down = np.array((0.792067, 0.0, 0.610434)), np.array((0.377686, 0.785613, -0.490067))
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = across * spacing[1], down * spacing[0], 10 * np.cross(across, down)
    affine[:3, 3] = (-80.0, -60.0, 40.0)
    return affine


@pytest.mark.parametrize(("order", "rows", "columns"), list(itertools.product((1, -1), (1, -1), (1, -1))))
@pytest.mark.parametrize("transposed", [False, True])
def test_with_an_affine_names_are_the_patients_however_the_array_is_stored(order, rows, columns, transposed):
    masks = np.stack([heart(np.radians(angle)) for angle in (170, 180, 195)])
    affine = short_axis()
    size = masks.shape[-1]

    def places(masks, affine):
        found = []
        for index, one in enumerate(stack_insertion_points(masks, (1.4, 1.4), affine=affine)):
            assert one.orientation.rule == "long axis"
            found.append({n: (affine @ (c, r, index, 1))[:3] for n, (r, c) in one.points.items()})
        return found

    usual = places(masks, affine)
    for points in usual:
        assert points[ANTERIOR][1] < points[INFERIOR][1]  # LPS: smaller y is anterior
    stored, moved = masks[::order, ::rows, ::columns], affine.copy()
    for axis, step, count in ((2, order, 3), (1, rows, size), (0, columns, size)):
        if step < 0:
            moved[:3, 3] += moved[:3, axis] * (count - 1)
            moved[:3, axis] *= -1
    if transposed:
        stored, moved = stored.swapaxes(1, 2), moved[:, (1, 0, 2, 3)]
    for points, same in zip(usual, places(stored, moved)[::order], strict=True):
        for name in LANDMARKS:
            np.testing.assert_allclose(points[name], same[name], atol=1.0)


@pytest.mark.parametrize(
    ("normal", "up", "rule"),
    [((1, 1, 0), (0, -1, 0), "patient anterior"), ((0.2, 0.97, -0.13), (0, 0, 1), "patient superior")],
)
@pytest.mark.parametrize("flipped", [False, True])
def test_where_a_plane_says_nothing_of_the_long_axis_the_place_in_the_patient_decides(normal, up, rule, flipped):
    normal = np.array(normal) / np.linalg.norm(normal)
    down = -(np.array(up) - (up @ normal) * normal)
    down /= np.linalg.norm(down)
    affine = np.eye(4)
    affine[:3, :3] = np.stack((np.cross(down, normal), down, normal), axis=1)
    mask = heart()
    if flipped:
        mask = mask[::-1]
        affine[:3, 1] *= -1
    (answer,) = stack_insertion_points(mask[None], (1.4, 1.4), affine=affine)
    assert answer.orientation.rule == rule
    upper = answer.points[ANTERIOR][0] < answer.points[INFERIOR][0]
    assert upper != flipped


def test_an_affine_along_the_axes_is_a_dummy():
    assert is_dummy(np.diag((1.4, 1.4, 10.0, 1.0)))
    assert is_dummy(np.diag((-1.4, -1.4, 10.0, 1.0)))
    assert not is_dummy(short_axis())
    (answer,) = stack_insertion_points(heart()[None], (1.4, 1.4), affine=np.diag((1.4, 1.4, 10.0, 1.0)))
    assert answer.orientation.rule == "picture"


def test_neighbouring_slices_agree_even_where_one_is_turned_far():
    masks = np.stack([heart(np.radians(angle)) for angle in (180, 185, 190, 275)])
    answers = stack_insertion_points(masks, (1.4, 1.4))
    assert len({answer.orientation for answer in answers}) == 1
    for answer, angle in zip(answers, (180, 185, 190, 275), strict=True):
        assert apart_mm(answer.points[ANTERIOR], truth(np.radians(angle))[1]) < 1.3


# --- stacks ---------------------------------------------------------------------------------------------------------


def labelled(masks, **fields):
    known = {"spacing_mm": (1.4, 1.4), "drawn": (1, 2, 3), **fields}
    return LabelledStack(images=np.zeros(masks.shape), masks=masks, patient="p", source="s", **known)


def test_marked_points_stay_and_others_are_derived():
    marked = {ANTERIOR: (1.0, 2.0)}
    stack, reasons = with_insertion_points(
        labelled(np.stack([heart(), heart(), np.zeros_like(heart())]), landmarks=[marked, {}, {}])
    )
    assert stack.landmarks[0] == marked
    assert set(stack.landmarks[1]) == set(LANDMARKS)
    assert stack.landmarks[2] == {}
    assert reasons == ["", "", "no RV"]


@pytest.mark.parametrize(
    ("fields", "reason"), [({"drawn": (1, 2)}, "not drawn"), ({"spacing_mm": None}, "spacing unknown")]
)
def test_a_stack_that_does_not_say_enough_stays_as_it_is(fields, reason):
    stack = labelled(heart()[None], **fields)
    same, reasons = with_insertion_points(stack)
    assert same is stack
    assert reason in reasons[0]


def test_every_acdc_picture_follows_the_rule(shared_data):
    split = load_split(shared_data / "splits.json", "acdc")
    for stack in read_acdc(shared_data / "acdc", split["train"][::8]):
        answers = stack_insertion_points(stack.masks, stack.spacing_mm)
        found = [answer for answer in answers if answer.points]
        assert len(found) >= len(answers) // 2
        assert {(one.orientation.rule, one.orientation.confidence) for one in found} == {("picture", 0.95)}
