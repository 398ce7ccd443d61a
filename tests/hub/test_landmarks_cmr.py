"""Landmarks: heatmaps, their loss, the way from a heatmap to a point, and to a pixel of the source."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cmr_hf import CMRImageProcessor
from cmr_hf.hub.landmarks_cmr import gaussian_heatmaps, landmark_loss, read_landmarks
from tests.model_factory import tiny_locator

SIDE = 64


def log_gaussian(row: float, column: float, sigma: float, size: tuple[int, int] = (SIDE, SIDE)) -> torch.Tensor:
    """The logits of a model that is right and nearly certain: (1, 1, height, width)."""
    y, x = torch.arange(size[0])[:, None], torch.arange(size[1])[None]
    return (10 - ((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))[None, None].float()


# From a heatmap to a point


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.floats(18, 45), st.floats(18, 45), st.floats(1.0, 4.0))
@example(30.5, 30.5, 1.0)
@example(20.0, 44.49, 4.0)
def test_the_mode_of_a_gaussian_is_read_between_the_pixels(row, column, sigma):
    points, scores = read_landmarks(log_gaussian(row, column, sigma), sigma)
    assert points.shape == (1, 1, 2)
    assert points.dtype == scores.dtype == torch.float32
    assert points[0, 0].tolist() == pytest.approx([row, column], abs=0.05)
    assert scores.item() > 0.99


def test_each_landmark_of_each_image_is_read_by_itself():
    places = [[(20.0, 30.0), (41.5, 22.25)], [(33.3, 33.3), (25.0, 40.0)]]
    logits = torch.cat([torch.cat([log_gaussian(*place, 2.0) for place in image], dim=1) for image in places])
    points, _ = read_landmarks(logits, 2.0)
    torch.testing.assert_close(points, torch.tensor(places), atol=0.05, rtol=0)


def test_of_two_modes_the_higher_is_read_and_its_score_is_its_share():
    logits = torch.logaddexp(log_gaussian(20.0, 20.0, 2.0) + math.log(3.0), log_gaussian(45.0, 45.0, 2.0))
    points, scores = read_landmarks(logits, 2.0)
    assert points[0, 0].tolist() == pytest.approx([20.0, 20.0], abs=0.1)
    assert scores.item() == pytest.approx(0.75, abs=0.01)


def test_the_score_is_the_probability_within_four_sigma():
    logits = 4 * torch.randn(2, 3, 40, 52, dtype=torch.float64)
    points, scores = read_landmarks(logits, 2.0)
    for image in range(2):
        for landmark in range(3):
            chances = logits[image, landmark].exp()
            y, x = np.indices((40, 52))
            row, column = points[image, landmark].tolist()
            near = torch.from_numpy(np.hypot(y - row, x - column) <= 8.0)
            expected = chances[near].sum() / (1 + chances.sum())
            assert scores[image, landmark].item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("absent_by", [20.0, 1000.0])
def test_when_a_landmark_is_absent_then_its_score_is_near_zero_and_its_point_still_its_best_guess(absent_by):
    points, scores = read_landmarks(log_gaussian(30.0, 20.0, 2.0) - 10 - absent_by, 2.0)
    assert scores.item() < 1e-6
    assert points[0, 0].tolist() == pytest.approx([30.0, 20.0], abs=0.05)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_read_in_float32(dtype):
    points, scores = read_landmarks(log_gaussian(30.0, 40.0, 2.0).clamp(min=-1e4).to(dtype), 2.0)
    assert points.dtype == scores.dtype == torch.float32
    assert points[0, 0].tolist() == pytest.approx([30.0, 40.0], abs=0.2)


# The loss


def loss_by_hand(logits: np.ndarray, point: tuple[float, float] | None, sigma: float) -> float:
    """−Σ target · log(softmax), pixel by pixel, "absent" as one more pixel of logit 0."""
    total = 1 + np.exp(logits).sum()
    loss, left = 0.0, 1.0
    for y, x in np.ndindex(logits.shape):
        if point is not None:
            away = (y - point[0]) ** 2 + (x - point[1]) ** 2
            target = math.exp(-away / (2 * sigma**2)) / (2 * math.pi * sigma**2)
            loss -= target * math.log(math.exp(logits[y, x]) / total)
            left -= target
    return loss - max(left, 0.0) * math.log(1 / total)


def test_the_loss_equals_the_formula_pixel_by_pixel():
    logits = torch.randn(2, 3, 14, 11)
    nowhere = float("nan")
    points = torch.tensor(
        [[[5.0, 6.0], [nowhere, nowhere], [1.0, 9.5]], [[-4.0, 5.0], [20.0, 40.0], [7.25, 3.75]]]
    )  # (1, 9.5) and (-4, 5) lie partly outside, (20, 40) wholly
    each = [
        loss_by_hand(
            logits[image, landmark].double().numpy(),
            None if points[image, landmark].isnan().any() else tuple(points[image, landmark].tolist()),
            2.0,
        )
        for image in range(2)
        for landmark in range(3)
    ]
    assert landmark_loss(logits, points, 2.0).item() == pytest.approx(np.mean(each), rel=1e-5)
    counts = torch.tensor([[True, True, False], [False, True, True]])
    counted = [loss for loss, counts_too in zip(each, counts.flatten().tolist(), strict=True) if counts_too]
    assert landmark_loss(logits, points, 2.0, counts).item() == pytest.approx(np.mean(counted), rel=1e-5)


def test_the_loss_is_least_where_the_heatmap_is_the_target():
    target = torch.tensor([[[30.0, 22.5]]])
    right = landmark_loss(log_gaussian(30.0, 22.5, 3.0), target, 3.0)
    for row, column, sigma in [(31, 22.5, 3.0), (30, 21.5, 3.0), (40, 40, 3.0), (30, 22.5, 2.0), (30, 22.5, 4.5)]:
        assert landmark_loss(log_gaussian(row, column, sigma), target, 3.0) > right + 1e-3
    assert landmark_loss(log_gaussian(30.0, 22.5, 3.0) - 20, target, 3.0) > right + 1  # as if it were absent
    at_target = log_gaussian(30.0, 22.5, 3.0).requires_grad_()
    landmark_loss(at_target, target, 3.0).backward()
    assert at_target.grad.abs().max() < 1e-3


def test_an_absent_landmark_pushes_every_pixel_down():
    logits = torch.randn(1, 1, 16, 16, requires_grad=True)
    landmark_loss(logits, torch.full((1, 1, 2), torch.nan), 2.0).backward()
    assert (logits.grad > 0).all()


def test_a_landmark_that_nobody_looked_for_has_no_gradient():
    logits = torch.randn(2, 2, 16, 16, requires_grad=True)
    points = torch.tensor([[[8.0, 8.0], [torch.nan, torch.nan]], [[3.0, 4.0], [5.0, 6.0]]])
    counts = torch.tensor([[True, False], [True, False]])
    landmark_loss(logits, points, 2.0, counts).backward()
    assert (logits.grad[:, 1] == 0).all()
    assert (logits.grad[:, 0] != 0).any()
    none = landmark_loss(logits, points, 2.0, torch.zeros(2, 2, dtype=torch.bool))
    assert none.item() == 0.0


def test_a_gaussian_has_a_mass_of_one_inside_and_none_where_absent():
    maps = gaussian_heatmaps(torch.tensor([[[20.3, 31.7], [torch.nan, 20.0]]]), (50, 64), 3.0)
    assert maps.shape == (1, 2, 50, 64)
    assert maps[0, 0].sum().item() == pytest.approx(1.0, abs=1e-4)
    assert divmod(int(maps[0, 0].argmax()), 64) == (20, 32)
    assert (maps[0, 1] == 0).all()


@pytest.mark.parametrize("shape", [(2, 2), (1, 2, 2), (2, 3, 2), (2, 2, 3)])
def test_when_points_have_another_shape_then_the_model_raises(shape):
    with pytest.raises(ValueError, match=r"`labels` must be \(batch, landmarks, 2\) of \(2, 2, 64, 64\)"):
        tiny_locator()(torch.zeros(2, 3, 64, 64), labels=torch.zeros(shape))


def test_the_model_hands_its_labels_to_the_loss():
    model = tiny_locator(landmark_sigma=2.5)
    pixel_values, points = torch.randn(2, 3, SIDE, SIDE), torch.rand(2, 2, 2) * 60
    counts = torch.tensor([[True, False], [False, False]])
    with torch.no_grad():
        whole, part = model(pixel_values, labels=points), model(pixel_values, labels=points, counts=counts)
    assert whole.loss == landmark_loss(whole.logits, points, 2.5)
    assert part.loss == landmark_loss(whole.logits, points, 2.5, counts) != whole.loss


@pytest.mark.parametrize(("encoder", "steps"), [("hybrid", 50), ("unet", 100)])
def test_a_tiny_model_learns_where_the_landmarks_of_an_image_are(encoder, steps):
    model = tiny_locator(encoder).train()
    pixel_values = torch.randn(2, 3, SIDE, SIDE).clamp(-1, 1)
    nowhere = [float("nan")] * 2
    truth = torch.tensor([[[20.25, 40.5], nowhere], [[44.0, 18.75], [30.0, 33.3]]])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        loss = model(pixel_values, labels=truth).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        logits = model.eval()(pixel_values).logits
        points, scores = read_landmarks(logits, model.config.landmark_sigma)
    present = ~truth[..., 0].isnan()
    assert (points - truth)[present].norm(dim=-1).max() < 1.0
    assert scores[present].min() > 0.8
    assert scores[~present].max() < 0.2


# To the source grid

PROCESSOR = CMRImageProcessor(size=96, spacing_mm=1.5)  # 144 mm


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(61, 151),
    st.integers(61, 151),
    st.floats(0.7, 2.2),
    st.floats(0.7, 2.2),
    st.floats(-0.7, 0.7),
    st.floats(-0.7, 0.7),
)
@example(61, 75, 0.8, 1.3, 0.5, -0.5)  # smaller than the crop
@example(151, 141, 2.0, 1.1, -0.6, 0.6)  # larger than it
def test_a_landmark_comes_back_to_its_source_pixel(rows, columns, row_mm, column_mm, up, left):
    sigma = 3.0
    reach = 96 * 1.5 / 2 - 4 * sigma * 1.5  # mm from the centre, so that nothing of the heatmap is cut off
    centre = ((rows - 1) / 2, (columns - 1) / 2)
    sides = (rows * row_mm / 2 - 4 * sigma * 1.5, columns * column_mm / 2 - 4 * sigma * 1.5)
    mm = (up * min(reach, sides[0]), left * min(reach, sides[1]))  # from the centre that both grids share
    in_crop = (47.5 + mm[0] / 1.5, 47.5 + mm[1] / 1.5)
    logits = log_gaussian(*in_crop, sigma, (96, 96))
    points, scores = PROCESSOR.find_landmarks(logits, (rows, columns), (row_mm, column_mm), sigma)
    expected = [centre[0] + mm[0] / row_mm, centre[1] + mm[1] / column_mm]
    assert points[0, 0].tolist() == pytest.approx(expected, abs=0.1)
    assert scores.item() > 0.98


@pytest.mark.parametrize(
    ("size", "spacing_mm"), [((75, 61), (1.3, 0.9)), ((171, 141), (1.1, 1.6)), ((96, 97), (1.5, 1.5))]
)
def test_a_spot_in_the_source_is_where_its_heatmap_leads_back_to(size, spacing_mm):
    """Through the processor itself, not a formula: the crop's bright spot is the heatmap."""
    for row, column in [(size[0] // 2, size[1] // 2), (size[0] // 2 - 11, size[1] // 2 + 14)]:
        y, x = np.indices(size)
        away = ((y - row) * spacing_mm[0]) ** 2 + ((x - column) * spacing_mm[1]) ** 2
        spot = np.exp(-away / (2 * 6.0**2))
        crop = CMRImageProcessor(size=96, spacing_mm=1.5, percentile=100)(spot, spacing_mm=spacing_mm)["pixel_values"]
        heat = ((crop[:, :1] + 1) / 2).clamp(min=1e-6).log() + 10
        points, _ = PROCESSOR.find_landmarks(heat, size, spacing_mm, 4.0)
        assert points[0, 0].tolist() == pytest.approx([row, column], abs=0.1)


@pytest.mark.parametrize(
    ("size", "spacing_mm"), [((31, 21), (1.5, 1.5)), ((9, 40), (3.1, 2.0)), ((1, 1), (1.5, 1.5)), ((3, 2), (0.1, 0.1))]
)
@pytest.mark.parametrize("strength", [3.0, 2e4])
def test_landmarks_never_lie_in_padding(size, spacing_mm, strength):
    logits = strength * torch.randn(4, 3, 96, 96)
    logits[:, :, :20, :20] += 3 * strength  # the model would put them there
    logits[3] = -3e38  # certainly absent
    points, scores = PROCESSOR.find_landmarks(logits, size, spacing_mm, 4.0)
    for axis in (0, 1):
        assert (points[..., axis] >= -0.5).all()
        assert (points[..., axis] <= size[axis] - 0.5).all()
    assert (scores >= 0).all()
    assert (scores <= 1 + 1e-5).all()
    assert (scores[3] == 0).all()


def test_padding_draws_no_landmark_however_absent_it_is():
    logits = log_gaussian(50.0, 42.0, 3.0, (96, 96)) - 1e5
    logits[..., :16, :] = 0.0  # padding of a source of 61 rows
    points, scores = PROCESSOR.find_landmarks(logits, (61, 61), (1.5, 1.5), 3.0)
    assert points[0, 0].tolist() == pytest.approx([30 + 2.5, 30 - 5.5], abs=0.1)
    assert scores.item() == 0.0


def test_post_processing_takes_a_source_for_each_image():
    logits = torch.cat([log_gaussian(40.0, 50.0, 3.0, (96, 96)), log_gaussian(30.0, 60.0, 3.0, (96, 96))])
    sizes, spacings = [(101, 95), (80, 90)], [(1.5, 1.5), (1.2, 1.0)]
    found = PROCESSOR.post_process_landmark_detection(SimpleNamespace(logits=logits), sizes, spacings, sigma=3.0)
    assert [set(one) for one in found] == [{"points", "scores"}] * 2
    for image in range(2):
        points, scores = PROCESSOR.find_landmarks(logits[image : image + 1], sizes[image], spacings[image], 3.0)
        assert torch.equal(found[image]["points"], points[0])
        assert torch.equal(found[image]["scores"], scores[0])
    assert found[0]["points"][0].tolist() == pytest.approx([42.5, 49.5], abs=0.05)
    with pytest.raises(ValueError, match="`target_sizes` has 1 entries for 2 images"):
        PROCESSOR.post_process_landmark_detection(SimpleNamespace(logits=logits), sizes[:1], spacings)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_when_a_map_has_nan_or_infinite_values_then_it_raises(bad):
    logits = torch.zeros(1, 1, 96, 96)
    logits[0, 0, 3, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinite values: load it in float32"):
        PROCESSOR.find_landmarks(logits, (96, 96), (1.5, 1.5), 4.0)
