"""The polygon filler, against analytic areas and against the even-odd definition point by point."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmr_hf.data.labels.filling import fill_polygon, polygon_area

SHAPE = (96, 80)


def ellipse(centre: tuple[float, float], radii: tuple[float, float], count: int = 400) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([centre[0] + radii[0] * np.sin(angle), centre[1] + radii[1] * np.cos(angle)], axis=1)


def star(radii: list[float], centre: tuple[float, float]) -> np.ndarray:
    angle = np.arange(len(radii)) * 2 * np.pi / len(radii)
    return np.stack([centre[0] + radii * np.sin(angle), centre[1] + radii * np.cos(angle)], axis=1)


places = st.tuples(st.floats(35, 50), st.floats(35, 45))
stars = st.builds(star, st.lists(st.floats(8, 30), min_size=5, max_size=40).map(np.array), places)


@settings(deadline=None, max_examples=60)
@given(places, st.tuples(st.floats(6, 30), st.floats(6, 30)))
def test_a_filled_ellipse_has_its_analytic_area(centre, radii):
    mask = fill_polygon(ellipse(centre, radii), SHAPE)
    # pixel centres in a convex region differ from its area by less than its boundary's length
    assert abs(mask.sum() - np.pi * radii[0] * radii[1]) < 1.2 * (sum(radii))


def test_over_sub_pixel_shifts_the_mean_area_is_exact():
    generator = np.random.default_rng(0)
    areas = [fill_polygon(ellipse(40 + generator.random(2), (20.3, 14.7)), SHAPE).sum() for _ in range(400)]
    assert np.mean(areas) == pytest.approx(np.pi * 20.3 * 14.7, rel=2e-3)  # no bias of half a pixel


@settings(deadline=None, max_examples=40)
@given(stars)
def test_every_pixel_follows_the_even_odd_rule(points):
    from matplotlib.path import Path

    mask = fill_polygon(points, SHAPE)
    centres = np.argwhere(np.ones(SHAPE, bool))
    inside = Path(np.vstack([points, points[:1]])).contains_points(centres).reshape(SHAPE)
    assert (mask != inside).sum() <= 2  # edges through a centre are either's


@settings(deadline=None, max_examples=40)
@given(stars, st.integers(0, 39), st.booleans())
def test_start_point_direction_and_closing_point_do_not_matter(points, start, closed):
    turned = np.roll(points, start, axis=0)
    turned = np.vstack([turned, turned[:1]]) if closed else turned
    np.testing.assert_array_equal(fill_polygon(points, SHAPE), fill_polygon(turned[::-1], SHAPE))


@settings(deadline=None, max_examples=40)
@given(stars, st.integers(-20, 20), st.integers(-20, 20))
def test_a_shift_by_whole_pixels_shifts_the_mask(points, down, right):
    points = np.round(points * 64) / 64  # exactly shifted
    wide = fill_polygon(points + 40, (176, 160))
    moved = fill_polygon(points + 40 + (down, right), (176, 160))
    np.testing.assert_array_equal(np.roll(wide, (down, right), axis=(0, 1)), moved)


def test_a_pixel_belongs_to_a_polygon_when_its_centre_does():
    mask = fill_polygon(np.array([(1.6, 1.6), (1.6, 3.4), (3.4, 3.4), (3.4, 1.6)]), (6, 6))
    np.testing.assert_array_equal(np.argwhere(mask), [(2, 2), (2, 3), (3, 2), (3, 3)])


def test_polygons_that_share_an_edge_share_no_pixel_and_leave_none_out():
    left = np.array([(0, 0), (0, 5), (10, 5), (10, 0)])
    right = left + (0, 5)
    both = [fill_polygon(points, (12, 12)) for points in (left, right)]
    assert not (both[0] & both[1]).any()
    assert (both[0] | both[1]).sum() == 100


def test_a_hole_is_cut_out_and_only_where_it_overlaps():
    outer, inner = ellipse((45, 40), (30, 30)), ellipse((45, 40), (20, 20))
    ring = fill_polygon(outer, SHAPE, holes=[inner])
    assert ring.sum() == fill_polygon(outer, SHAPE).sum() - fill_polygon(inner, SHAPE).sum()
    outside = fill_polygon(inner, SHAPE, holes=[ellipse((45, 75), (4, 4))])
    np.testing.assert_array_equal(outside, fill_polygon(inner, SHAPE))


def test_a_region_surrounded_twice_is_outside():
    pentagram = star(np.full(5, 30.0), (45, 40))[[0, 2, 4, 1, 3]]
    assert not fill_polygon(pentagram, SHAPE)[45, 40]


def test_what_lies_outside_the_picture_is_cut_off():
    points = ellipse((0, 0), (20, 20))
    mask = fill_polygon(points, SHAPE)
    np.testing.assert_array_equal(mask[:30, :30], fill_polygon(points + 50, (120, 120))[50:80, 50:80])
    assert not fill_polygon(points + 1e6, SHAPE).any()
    assert fill_polygon(1e6 * np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]), SHAPE).all()


def test_area_of_a_polygon():
    assert polygon_area(np.array([(0, 0), (0, 4), (3, 4)])) == 6


@pytest.mark.parametrize(
    ("points", "shape", "says"),
    [
        (np.zeros((2, 2)), (9, 9), "3 to 20000 points"),
        (np.zeros((20_001, 2)), (9, 9), "3 to 20000 points"),
        (np.zeros((4, 3)), (9, 9), "row, column"),
        (np.full((3, 2), np.nan), (9, 9), "finite"),
        (np.full((3, 2), 1e300), (9, 9), "finite"),
        (np.zeros((3, 2)), (0, 9), "rows and columns"),
        (np.zeros((3, 2)), (9, 10**6), "rows and columns"),
    ],
)
def test_when_points_or_shape_are_bad_then_it_says_so(points, shape, says):
    with pytest.raises(ValueError, match=says):
        fill_polygon(points, shape)
