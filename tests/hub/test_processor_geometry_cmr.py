"""Millimetres through the processor and back: positions, anti-aliasing, masks that return to their source grid."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from cmr_hf import CMRImageProcessor
from cmr_hf.hub.image_processing_cmr import resampling_matrix

PROCESSOR = CMRImageProcessor()
GRIDS = [
    ((160, 160), (1.0, 1.0)),
    ((101, 150), (1.4, 1.4)),
    ((133, 96), (0.83, 2.2)),
    ((300, 251), (0.5, 0.77)),
    ((61, 90), (2.6, 1.1)),
]


def positions_mm(shape: tuple[int, int], spacing_mm: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres of every pixel centre from the centre of its grid: (row, column)."""
    rows, columns = np.indices(shape, dtype=float)
    return (rows - (shape[0] - 1) / 2) * spacing_mm[0], (columns - (shape[1] - 1) / 2) * spacing_mm[1]


CROP_Y, CROP_X = positions_mm((224, 224), (1.0, 1.0))


@pytest.mark.parametrize(("shape", "spacing_mm"), GRIDS)
def test_a_ramp_in_millimetres_stays_that_ramp(shape, spacing_mm):
    rows, (top, bottom) = resampling_matrix(shape[0], spacing_mm[0], 224, 1.0)
    columns, (left, right) = resampling_matrix(shape[1], spacing_mm[1], 224, 1.0)
    y, x = positions_mm(shape, spacing_mm)
    source = torch.from_numpy(3 * y - 5 * x).float()
    found = (rows @ source @ columns.T).numpy()
    margin = 3  # mm; at the very border the outermost pixel is continued
    inner = np.s_[top + margin : bottom - margin, left + margin : right - margin]
    np.testing.assert_allclose(found[inner], (3 * CROP_Y - 5 * CROP_X)[inner], atol=8 * 0.1)
    assert abs((found - (3 * CROP_Y - 5 * CROP_X))[inner].mean()) < 0.01


@pytest.mark.parametrize(("shape", "spacing_mm"), GRIDS)
@pytest.mark.parametrize("centre_mm", [(0.0, 0.0), (21.3, -17.8)])
def test_a_spot_lies_at_the_same_millimetres_in_the_crop(shape, spacing_mm, centre_mm):
    y, x = positions_mm(shape, spacing_mm)
    spot = np.exp(-((y - centre_mm[0]) ** 2 + (x - centre_mm[1]) ** 2) / (2 * 5.0**2))
    crop = PROCESSOR(spot, spacing_mm=spacing_mm)["pixel_values"][0, 0].double().numpy() + 1
    # The percentile caps the top of the spot flat; that is symmetric and leaves its centre where it is.
    found = (crop * CROP_Y).sum() / crop.sum(), (crop * CROP_X).sum() / crop.sum()
    assert found == pytest.approx(centre_mm, abs=0.15)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_checkerboard_finer_than_the_crop_becomes_flat(axis):
    board = np.indices((300, 300)).sum(axis=0) % 2.0
    board[:150] += 2.0  # half the image, so that the grey scale does not collapse
    crop = PROCESSOR(board.T if axis else board, spacing_mm=(0.5, 0.5))["pixel_values"][0, 0]
    crop = crop.T if axis else crop
    assert crop[40:108, 40:180].std() < 0.02
    assert crop[116:184, 40:180].std() < 0.02
    assert (crop[40:108, 40:180].mean() - crop[116:184, 40:180].mean()) > 1.5


def test_a_single_bright_line_is_not_lost_when_shrinking():
    image = np.zeros((400, 400))
    image[200] = 1.0
    rows, _ = resampling_matrix(400, 0.3, 224, 1.0)
    assert (rows @ torch.from_numpy(image).float()).sum(0)[200] == pytest.approx(0.3, rel=0.1)  # mm × value is kept


@pytest.mark.parametrize("case", [(257, 0.7, 224, 1.0), (100, 1.4, 224, 1.0), (224, 1.0, 129, 2.6), (1, 0.5, 224, 1.0)])
def test_rows_of_the_matrix_sum_to_one_inside_and_to_zero_outside(case):
    weights, (first, last) = resampling_matrix(*case)
    sums = torch.zeros(case[2])
    sums[first:last] = 1.0
    torch.testing.assert_close(weights.sum(1), sums)
    assert (weights >= 0).all()


def test_equal_grids_are_left_as_they_are():
    weights, covered = resampling_matrix(224, 1.0, 224, 1.0)
    assert torch.equal(weights, torch.eye(224))
    assert covered == (0, 224)


# Back to the source grid


def painted(shape, spacing_mm, shapes) -> np.ndarray:
    """Labels 1, 2, … of rotated ellipses and rings `(y, x, semi-axes, angle, inner fraction)`, in mm."""
    y, x = positions_mm(shape, spacing_mm)
    mask = np.zeros(shape, np.int64)
    for label, (cy, cx, a, b, angle, hole) in enumerate(shapes, start=1):
        u = (y - cy) * np.cos(angle) + (x - cx) * np.sin(angle)
        v = -(y - cy) * np.sin(angle) + (x - cx) * np.cos(angle)
        distance = np.sqrt((u / a) ** 2 + (v / b) ** 2)
        mask[(distance <= 1) & (distance >= hole)] = label
    return mask


def through_the_crop(mask: np.ndarray, spacing_mm: tuple[float, float], classes: int, hard: bool) -> np.ndarray:
    """The labels a perfect model would bring back: one-hot masks forth, as logits back."""
    rows, _ = resampling_matrix(mask.shape[0], spacing_mm[0], 224, 1.0)
    columns, _ = resampling_matrix(mask.shape[1], spacing_mm[1], 224, 1.0)
    layers = torch.nn.functional.one_hot(torch.from_numpy(mask), classes).movedim(-1, 0).float()
    crop = rows @ layers @ columns.T
    crop[0] += 1 - crop.sum(0)  # padding is background
    if hard:
        crop = torch.nn.functional.one_hot(crop.argmax(0), classes).movedim(-1, 0).float()
    return PROCESSOR.segment(10 * crop[None], mask.shape, spacing_mm)[0][0].numpy()


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


SPACING = st.floats(0.6, 2.6)
ELLIPSE = st.tuples(
    st.floats(-60, 60), st.floats(-60, 60), st.floats(10.5, 45), st.floats(10.5, 45), st.floats(0, 3.14), st.just(0.0)
)
RING = st.tuples(
    st.floats(-60, 60), st.floats(-60, 60), st.floats(20, 45), st.floats(20, 45), st.floats(0, 3.14), st.just(0.6)
)


@seed(20240)
@settings(max_examples=40, deadline=None, database=None)
@given(
    extent_mm=st.tuples(st.floats(80, 320), st.floats(80, 320)),
    spacing_mm=st.tuples(SPACING, SPACING),
    structure=st.one_of(ELLIPSE, RING),
    hard=st.booleans(),
)
def test_a_mask_of_more_than_20_mm_returns_with_dice_of_097(extent_mm, spacing_mm, structure, hard):
    shape = tuple(round(extent / spacing) for extent, spacing in zip(extent_mm, spacing_mm, strict=True))
    mask = painted(shape, spacing_mm, [structure])
    back = through_the_crop(mask, spacing_mm, 2, hard)
    y, x = positions_mm(shape, spacing_mm)
    seen = (np.abs(y) < 111) & (np.abs(x) < 111)
    truth = (mask == 1) & seen
    sides_mm = [
        np.ptp(index) * mm if len(index) else 0 for index, mm in zip(np.nonzero(truth), spacing_mm, strict=True)
    ]
    if min(sides_mm) < 20:  # what the image or the crop left of it is no structure over 20 mm
        return
    assert dice((back == 1) & seen, truth) >= 0.97
    assert not back[~((np.abs(y) <= 112.5) & (np.abs(x) <= 112.5))].any()


@pytest.mark.parametrize(("shape", "spacing_mm"), [*GRIDS, ((87, 211), (2.6, 0.6)), ((375, 85), (0.6, 2.5))])
@pytest.mark.parametrize("angle", [0.0, 0.6, 2.2])
def test_a_heart_of_three_parts_returns_on_oblique_anisotropic_and_odd_grids(shape, spacing_mm, angle):
    shift = 29 * np.cos(angle), 29 * np.sin(angle)
    heart = [(*shift, 16, 13, angle, 0.0), (0, 0, 24, 21, angle, 0.0), (0, 0, 14, 12, angle, 0.0)]  # RV, wall, cavity
    mask = painted(shape, spacing_mm, heart)
    back = through_the_crop(mask, spacing_mm, 4, hard=True)
    assert min(dice(back == label, mask == label) for label in (2, 3)) >= 0.97
    assert dice(back == 1, mask == 1) >= 0.95  # a crescent, partly behind the wall, under 20 mm wide


def test_logits_are_interpolated_before_classes_are_compared():
    logits = torch.zeros(1, 3, 224, 224)
    logits[:, 0] = torch.linspace(4, -4, 224)  # between classes 0 and 2 there is no class 1, as label maps would give
    logits[:, 2] = torch.linspace(-4, 4, 224)
    labels, _ = PROCESSOR.segment(logits, (500, 500), (0.448, 0.448))
    assert labels.unique().tolist() == [0, 2]
    assert labels[0, 0].diff().count_nonzero() == 1
    assert labels[0, 0].float().mean() == pytest.approx(1.0, abs=0.01)


def test_outside_the_crop_is_certain_background():
    logits = torch.zeros(2, 2, 224, 224)
    logits[:, 1] = 5.0
    labels, chances = PROCESSOR.segment(logits, (300, 100), (1.0, 1.0))
    assert labels.dtype == torch.uint8
    assert labels[:, 38:262].all()
    assert not labels[:, :37].any()
    assert not labels[:, 263:].any()
    assert (chances[:, 0, :37] == 1).all()
    torch.testing.assert_close(chances.sum(1), torch.ones(2, 300, 100))


def test_pixels_that_lie_whole_crops_apart_are_background():
    labels, chances = PROCESSOR.segment(torch.ones(1, 2, 224, 224), (2, 2), (400.0, 400.0))
    assert not labels.any()
    assert (chances[:, 0] == 1).all()


def test_when_logits_are_nan_then_the_way_back_raises_instead_of_calling_it_background():
    logits = torch.zeros(1, 2, 224, 224)
    logits[0, 1, 100, 100] = torch.nan
    with pytest.raises(ValueError, match="the model gave NaN or infinite values: load it in float32 or bfloat16"):
        PROCESSOR.segment(logits, (90, 90), 1.4)


def test_post_process_takes_several_sizes_and_spacings():
    outputs = SimpleNamespace(logits=torch.randn(3, 4, 224, 224))
    sizes, spacings = [(90, 100), (301, 77), (16, 16)], [(1.4, 1.4), (0.7, 2.0), (1.0, 1.0)]
    maps = PROCESSOR.post_process_semantic_segmentation(outputs, sizes, spacings)
    assert [tuple(one.shape) for one in maps] == sizes
    assert {one.dtype for one in maps} == {torch.uint8}
    for index, (size, spacing) in enumerate(zip(sizes, spacings, strict=True)):
        assert torch.equal(maps[index], PROCESSOR.segment(outputs.logits[index : index + 1], size, spacing)[0][0])
    pairs = PROCESSOR.post_process_semantic_segmentation(outputs, sizes, spacings, return_probabilities=True)
    assert torch.equal(pairs[1][0], maps[1])
    assert pairs[1][1].shape == (4, 301, 77)
    assert torch.equal(pairs[2][1].argmax(0).to(torch.uint8), maps[2])
    with pytest.raises(ValueError, match="`target_sizes` has 2 entries for 3 images"):
        PROCESSOR.post_process_semantic_segmentation(outputs, sizes[:2], spacings)


def test_autocast_around_it_changes_nothing():
    processor = CMRImageProcessor(size=64)
    images = np.random.default_rng(0).random((2, 70, 61), dtype=np.float32)
    maps = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = (
        processor(images, spacing_mm=(1.3, 1.1))["pixel_values"],
        processor.to_source_grid(maps, (70, 61), (1.3, 1.1)),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = processor(images, spacing_mm=(1.3, 1.1))["pixel_values"]
        back = processor.to_source_grid(maps, (70, 61), (1.3, 1.1))
    assert torch.equal(within, plain[0])
    assert torch.equal(back.nan_to_num(), plain[1].nan_to_num())
