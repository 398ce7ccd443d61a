"""Islands away, the heart untouched."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from cmr_hf.hub.components_cmr import CELL, keep_largest_components, largest_component


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
