"""Islands away, holes filled, the heart untouched."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from cmr_hf.hub.components_cmr import CELL, clean_labels, fill_holes, keep_largest_components, largest_component


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> torch.Tensor:
    z, y, x = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    return ((z - centre[0]) * 4) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 <= radius**2


def test_when_an_island_lies_far_from_the_heart_then_it_is_taken_away_in_its_phase_only() -> None:
    shape = (7, 61, 53)
    heart, island = ball(shape, (3, 30, 25), 14), ball(shape, (1, 8, 45), 5)
    labels = torch.zeros(2, *shape, dtype=torch.uint8)
    labels[0, heart] = 1
    labels[0, island] = 1
    labels[1, island] = 1
    cleaned = keep_largest_components(labels, [1])
    assert torch.equal(cleaned[0] == 1, heart)
    assert torch.equal(cleaned[1] == 1, island)
    assert labels[0, island].all()  # what was handed in stays


def test_when_a_class_is_not_listed_then_its_islands_stay() -> None:
    labels = torch.zeros(1, 1, 40, 40, dtype=torch.uint8)
    labels[..., 2:6, 2:6] = 6
    labels[..., 30:36, 30:36] = 6
    assert torch.equal(keep_largest_components(labels, [1, 2, 3]), labels)


def test_when_pieces_touch_only_across_slices_then_they_are_one() -> None:
    labels = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    labels[0, 0, 4:14, 4:14] = 1
    labels[0, 1, 8:20, 8:20] = 1
    labels[0, 2, 14:24, 14:24] = 1
    assert torch.equal(keep_largest_components(labels, [1]), labels)


def stack_of_rings() -> torch.Tensor:
    """A left ventricle (1 in a ring of 2) and a right one (3) beside it, both smaller from slice to slice."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(80), indexing="ij")
    labels = torch.zeros(1, 4, 64, 80, dtype=torch.uint8)
    for z, radius in enumerate((16, 15, 12, 8)):
        distance = ((y - 32) ** 2 + (x - 50) ** 2).sqrt()
        right = ((y - 32) ** 2 / 1.5 + (x - 28) ** 2).sqrt()
        labels[0, z][right <= radius] = 3
        labels[0, z][distance <= radius] = 2
        labels[0, z][distance <= radius - 5] = 1
    return labels


def test_a_ventricle_that_tapers_stays_whole() -> None:
    labels = stack_of_rings()
    assert torch.equal(keep_largest_components(labels, [1, 2, 3]), labels)
    turned = labels.flip(1)
    assert torch.equal(keep_largest_components(turned, [1, 2, 3]), turned)


def test_when_a_piece_touches_the_heart_over_a_corner_but_does_not_follow_it_then_it_is_taken_away() -> None:
    labels = stack_of_rings()
    vessel = labels.clone()
    vessel[0, 0, 44:58, 12:24] = 3  # behind the base, beside where the right ventricle is in the next slice
    vessel[0, 0][labels[0, 0] == 3] = 0
    assert (vessel[0, 0] == 3).any()
    cleaned = keep_largest_components(vessel, [1, 2, 3])
    assert not (cleaned[0, 0] == 3).any()
    assert torch.equal(cleaned[0, 1:], labels[0, 1:])
    assert torch.equal(cleaned[0, 0] == 1, labels[0, 0] == 1)
    assert torch.equal(cleaned[0, 0] == 2, labels[0, 0] == 2)


def test_when_a_slice_in_between_is_empty_then_the_last_one_with_any_counts() -> None:
    labels = stack_of_rings()
    labels[0, 2] = 0
    labels[0, 3][labels[0, 3] > 0] = 0
    labels[0, 0, 2:6, 2:6] = 1
    cleaned = keep_largest_components(labels, [1, 2, 3])
    assert not cleaned[0, 0, 2:6, 2:6].any()
    assert (cleaned[0, 1] == labels[0, 1]).all()


@pytest.mark.parametrize("seed", range(5))
def test_pieces_far_apart_are_those_of_an_independent_labelling(seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.random((1, 4, 9, 11)) < 0.12
    mask = np.kron(coarse, np.ones((1, 1, CELL, CELL), dtype=bool))  # on cells, so that both see the same neighbours
    pieces, _ = ndimage.label(mask[0], structure=np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel())[1:]
    kept = largest_component(torch.from_numpy(mask))[0].numpy()
    assert kept.sum() == sizes.max()
    assert len(np.unique(pieces[kept])) == 1


def test_when_nothing_was_found_then_nothing_is_kept() -> None:
    labels = torch.zeros(2, 3, 10, 10, dtype=torch.uint8)
    assert torch.equal(keep_largest_components(labels, [1, 2]), labels)


# Holes


def scipy_filled(labels: np.ndarray, label: int) -> np.ndarray:
    """An independent answer: holes of one label alone, by scipy, filled where they are background throughout."""
    expected = labels.copy()
    for number, picture in enumerate(labels):
        pieces, count = ndimage.label(ndimage.binary_fill_holes(picture == label) & (picture != label))
        for piece in range(1, count + 1):
            if not picture[pieces == piece].any():
                expected[number][pieces == piece] = label
    return expected


@pytest.mark.parametrize("seed", range(8))
def test_holes_are_those_that_scipy_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random((3, 40, 37)) < 0.62, np.uint8(3), np.uint8(0))
    labels[rng.random(labels.shape) < 0.03] = 1
    expected = scipy_filled(labels, 3)
    assert (expected != labels).any()
    found = fill_holes(torch.from_numpy(labels)[None], [3])[0].numpy()
    np.testing.assert_array_equal(found, expected)
    assert labels.sum() != found.sum()


def test_a_hole_is_filled_in_its_own_slice_and_only_for_listed_classes() -> None:
    labels = stack_of_rings()
    holed = labels.clone()
    holed[0, 1, 30:33, 20:24] = 0
    assert torch.equal(fill_holes(holed, [1, 2, 3]), labels)
    assert torch.equal(fill_holes(holed, [1, 2]), holed)
    assert not holed[0, 1, 30:33, 20:24].any()  # what was handed in stays


def test_when_a_hole_touches_two_structures_or_the_outside_then_it_stays() -> None:
    labels = stack_of_rings()
    labels[0, 0, 32, 60:64] = 0  # from cavity into wall
    labels[0, 1, 32, 10:20] = 0  # open to the outside
    assert torch.equal(fill_holes(labels, [1, 2, 3]), labels)


def test_a_ring_of_wall_without_a_cavity_is_not_filled_with_wall() -> None:
    labels = stack_of_rings()
    empty = labels.clone()
    empty[0, 0][labels[0, 0] == 1] = 0
    assert torch.equal(fill_holes(empty, [1, 2, 3]), empty)
    pierced = labels.clone()
    pierced[0, 1, 32, 37:39] = 0
    assert (labels[0, 1, 32, 36:40] == 2).all()
    assert torch.equal(fill_holes(pierced, [1, 2, 3]), labels)


def test_what_an_island_leaves_inside_a_chamber_is_filled_as_well() -> None:
    labels = stack_of_rings()
    strange = labels.clone()
    strange[0, 0, 30:34, 22:26] = 1
    assert torch.equal(clean_labels(strange, [1, 2, 3]), labels)
