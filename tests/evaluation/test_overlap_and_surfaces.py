"""Dice and distances against MONAI and scipy, and where there is nothing to measure."""

import numpy as np
import pytest
from scipy import ndimage

from cmr_hf.evaluation.overlap import dice, dice_of_labels, dice_per_slice
from cmr_hf.evaluation.surfaces import landmark_distances_mm, surface, surface_distances

SPACING_MM = (9.0, 1.4, 0.8)


def blobs(seed: int, shape: tuple[int, ...] = (5, 30, 26), share: float = 0.3) -> np.ndarray:
    """A mask of a few smooth pieces, some of which touch the edge of the picture."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0)
    return noise > np.quantile(noise, 1 - share)


@pytest.mark.parametrize("seed", range(5))
def test_dice_is_monais(seed):
    monai = pytest.importorskip("monai.metrics")
    import torch

    one, other = blobs(seed), blobs(seed + 100)
    expected = monai.DiceMetric(include_background=True)(
        torch.from_numpy(one)[None, None].float(), torch.from_numpy(other)[None, None].float()
    )
    assert dice(one, other) == pytest.approx(expected.item(), abs=1e-6)


def test_dice_of_what_is_absent():
    empty, full = np.zeros((2, 4, 4), bool), np.ones((2, 4, 4), bool)
    assert dice(empty, empty) is None
    assert dice(full, empty) == 0.0
    assert dice(empty, full) == 0.0
    assert dice_per_slice(np.stack((full[0], empty[0])), np.stack((full[0], empty[0]))) == [1.0, None]


def test_dice_of_labels_is_that_of_each_mask_by_itself():
    one, other = (np.random.default_rng(seed).integers(0, 3, (3, 8, 8)) for seed in (0, 1))
    found = dice_of_labels(one, other, (1, 2))
    assert found[2] == (dice(one == 2, other == 2), dice_per_slice(one == 2, other == 2))
    assert set(found) == {1, 2}


def test_when_shapes_differ_then_dice_says_so():
    with pytest.raises(ValueError, match="one shape"):
        dice(np.zeros((2, 3)), np.zeros((3, 2)))


@pytest.mark.parametrize("mask", [blobs(3), blobs(4)[0], np.ones((3, 4)), np.ones((1, 5, 5))])
def test_the_surface_is_what_an_erosion_takes_away(mask):
    mask = mask.astype(bool)
    assert np.array_equal(surface(mask), mask & ~ndimage.binary_erosion(mask))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dimensions", [2, 3])
def test_distances_are_monais_under_unequal_spacing(seed, dimensions):
    monai = pytest.importorskip("monai.metrics")
    import torch

    one, other = blobs(seed, share=0.15), blobs(seed + 50, share=0.25)
    one, other, spacing = (one, other, SPACING_MM) if dimensions == 3 else (one[2], other[2], SPACING_MM[1:])
    found = surface_distances(one, other, spacing)
    pair = [torch.from_numpy(mask)[None, None].float() for mask in (one, other)]
    options = {"include_background": True, "spacing": list(spacing)}
    hausdorff = monai.compute_hausdorff_distance(*pair, percentile=95, **options).item()
    average = monai.compute_average_surface_distance(*pair, symmetric=True, **options).item()
    assert found.hausdorff95_mm == pytest.approx(hausdorff, rel=1e-5)
    assert found.average_mm == pytest.approx(average, rel=1e-5)


def test_distances_are_scipys_distance_transform():
    one, other = blobs(7), blobs(8)
    far = ndimage.distance_transform_edt(~(other & ~ndimage.binary_erosion(other)), sampling=SPACING_MM)
    expected = far[one & ~ndimage.binary_erosion(one)]
    assert np.allclose(np.sort(surface_distances(one, other, SPACING_MM).to_truth), np.sort(expected))


def test_a_shift_is_measured_in_mm_along_its_axis():
    mask = np.zeros((4, 20, 20), bool)
    mask[1:3, 5:12, 5:12] = True
    for axis, step_mm in enumerate(SPACING_MM):
        found = surface_distances(np.roll(mask, 1, axis), mask, SPACING_MM)
        assert found.to_truth.max() == pytest.approx(step_mm)
    same = surface_distances(mask, mask, SPACING_MM)
    assert (same.hausdorff95_mm, same.average_mm) == (0.0, 0.0)


def test_when_a_mask_is_empty_then_there_is_no_distance():
    mask = blobs(1)
    assert surface_distances(mask, np.zeros_like(mask), SPACING_MM) is None
    assert surface_distances(np.zeros_like(mask), mask, SPACING_MM) is None


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, np.nan, 1.0), None])
def test_when_the_spacing_is_not_known_then_it_says_so(spacing):
    with pytest.raises(ValueError, match="spacing_mm"):
        surface_distances(blobs(1), blobs(2), spacing)


def test_landmark_distances_are_in_mm_and_missing_ones_are_told():
    predicted = np.array([[[10.0, 20.0], [np.nan, np.nan]], [[0.0, 0.0], [5.0, 5.0]]])
    truth = np.array([[[13.0, 16.0], [1.0, 1.0]], [[0.0, 0.0], [5.0, 7.0]]])
    found = landmark_distances_mm(predicted, truth, (1.0, 2.0))
    assert found[0, 0] == pytest.approx(np.hypot(3, 8))
    assert np.isnan(found[0, 1])
    assert found[1].tolist() == pytest.approx([0.0, 4.0])
    each = landmark_distances_mm(predicted, truth, np.array([[[1.0, 1.0]], [[1.0, 3.0]]]))
    assert each[1, 1] == pytest.approx(6.0)
    with pytest.raises(ValueError, match="positive"):
        landmark_distances_mm(predicted, truth, (1.0, -1.0))
