import numpy as np
import pytest

from cmr_hf.clinical.mapping import away_from_borders, extracellular_volume, segment_values, wrong_unit
from cmr_hf.clinical.segments import aha_segments
from cmr_hf.clinical.stacks import Stack
from tests.clinical.heart_factory import ideal_heart

BLOOD = {"T1": 1550.0, "T1 post": 320.0, "T2": 240.0}


def mapped(kind="T1", base=1000.0, step=5.0, noise=0.0, blurred=False):
    """A map whose segment k has base + k × step, with blood and fat outside, and its segments."""
    labels, stack, insertions = ideal_heart()
    segments = aha_segments(labels, stack, insertions)
    values = np.full(labels.shape, 300.0)
    values[labels == 1] = BLOOD[kind]
    wall = labels == 2
    values[wall] = base + step * segments.ids[wall]
    if blurred:  # every pixel shares the signal of its neighbours, as on a coarse matrix
        padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
        values = sum(padded[:, 1 + a : 81 + a, 1 + b : 81 + b] for a in (-1, 0, 1) for b in (-1, 0, 1)) / 9
    values = values + np.random.default_rng(4).normal(0, noise, values.shape) if noise else values
    return values, labels, stack, segments


def test_every_segment_has_its_own_value():
    values, labels, stack, segments = mapped()
    got = segment_values(values, labels, stack, segments, "T1")
    for number in range(1, 17):
        assert got[number].median.value == pytest.approx(1000 + 5 * number)
        assert got[number].quartiles == pytest.approx((1000 + 5 * number,) * 2)
        assert 0 < got[number].pixels < got[number].all_pixels
    assert got["blood"].median.value == BLOOD["T1"]
    assert got[17].median.value == pytest.approx(1085)


def test_pixels_at_the_borders_are_left_out():
    values, labels, stack, segments = mapped(step=0.0, blurred=True)
    kept = segment_values(values, labels, stack, segments, "T1", erosion_mm=1.0)
    every = segment_values(values, labels, stack, segments, "T1", erosion_mm=0.0)
    assert kept["myocardium"].median.value == pytest.approx(1000, abs=1)
    assert np.ptp(kept["myocardium"].quartiles) < 0.2 * np.ptp(every["myocardium"].quartiles)


def test_pixels_wider_than_the_erosion_do_not_bring_the_border_back_and_what_it_would_do_is_in_the_error():
    values, labels, _, segments = mapped(step=0.0, noise=30.0)
    wide = Stack.regular((2.4, 2.4), len(labels), 10.0)
    wall = labels == 2
    values[wall & ~away_from_borders(wall, wide, 2.4)] += 100  # blood in the same pixels
    got = segment_values(values, labels, wide, segments, "T1")["myocardium"]
    loose = segment_values(values, labels, wide, segments, "T1", erosion_mm=1.0)["myocardium"]
    assert loose.pixels == loose.all_pixels  # half a pixel is more than 1 mm
    assert got.pixels < loose.pixels
    assert got.median.value == pytest.approx(1000, abs=5)
    assert loose.median.value > 1020
    assert got.median.parts["borders of T1, myocardium"] == pytest.approx(loose.median.value - got.median.value)


def test_a_thin_wall_falls_back_to_less_erosion_and_says_so():
    values, labels, stack, segments = mapped()
    thin = labels.copy()
    thin[(labels == 2) & away_from_borders(np.isin(labels, (1, 2)), stack, 2.5)] = 1  # about two pixels are left
    wide = Stack.regular((2.0, 2.0), len(labels), 10.0)
    got = segment_values(values, thin, wide, segments, "T1")[8]
    assert "(1 mm)" in got.median.method
    assert got.median.value == pytest.approx(1040)


def test_the_error_of_the_median_shrinks_with_pixels_and_covers_the_truth():
    values, labels, stack, segments = mapped(noise=60.0)
    got = segment_values(values, labels, stack, segments, "T1")
    inside = [got[k].median.interval[0] <= 1000 + 5 * k <= got[k].median.interval[1] for k in range(1, 17)]
    assert sum(inside) >= 14
    assert got["myocardium"].median.sd < got[16].median.sd


def test_erosion_is_in_mm_from_the_border_of_the_pixels():
    mask = np.zeros((1, 20, 20), dtype=bool)
    mask[0, 5:15, 5:15] = True
    stack = Stack.regular((1.0, 1.0), 1)
    assert away_from_borders(mask, stack, 0.0).sum() == 100
    assert away_from_borders(mask, stack, 0.5).sum() == 100
    assert away_from_borders(mask, stack, 1.0).sum() == 64
    assert away_from_borders(mask, stack, 2.0).sum() == 36
    with pytest.raises(ValueError, match="at least 0"):
        away_from_borders(mask, stack, -1.0)


def test_a_wall_thinner_than_the_erosion_is_refused_with_the_count():
    values, labels, stack, segments = mapped()
    got = segment_values(values, labels, stack, segments, "T1", erosion_mm=5.0)
    assert got[1].median.value is None
    assert "pixels lie away from the borders, 6 are needed" in got[1].median.reason


@pytest.mark.parametrize(
    ("kind", "factor", "says"),
    [("T1", 0.001, "in s"), ("T1", 10.0, "scaled"), ("T2", 0.001, "in s"), ("T1", 0.2, "lies between")],
)
def test_another_unit_is_refused(kind, factor, says):
    values, labels, stack, segments = mapped(kind, 1000.0 if kind == "T1" else 50.0, 0.0)
    got = segment_values(values * factor, labels, stack, segments, kind)
    assert got[3].median.value is None
    assert says in got[3].median.reason
    assert wrong_unit(values[labels == 2], kind) == ""


def test_empty_pixels_of_a_map_do_not_count():
    values, labels, stack, segments = mapped()
    values[:, ::3] = 0
    values[:, 1::6] = np.nan
    got = segment_values(values, labels, stack, segments, "T1")
    assert got[8].median.value == pytest.approx(1040)


def test_extracellular_volume_is_that_of_the_formula():
    native = segment_values(*mapped("T1", 1000.0, 0.0), "T1")
    post = segment_values(*mapped("T1 post", 480.0, 0.0), "T1 post")
    got = extracellular_volume(native, post, 0.42)
    truth = 100 * 0.58 * (1 / 480 - 1 / 1000) / (1 / 320 - 1 / 1550)
    for region in (1, 9, 16, "myocardium"):
        assert got[region].value == pytest.approx(truth)
        assert got[region].sd == pytest.approx(truth / 58, rel=0.01)  # one percentage point of haematocrit
    assert "blood" not in got


def test_extracellular_volume_is_refused_without_haematocrit_or_with_maps_exchanged():
    native = segment_values(*mapped("T1", 1000.0, 0.0), "T1")
    post = segment_values(*mapped("T1 post", 480.0, 0.0), "T1 post")
    assert extracellular_volume(native, post, None)[1].reason == "haematocrit unknown"
    assert "not shorter after contrast" in extracellular_volume(post, native, 0.42)[1].reason
    with pytest.raises(ValueError, match="a fraction, not %"):
        extracellular_volume(native, post, 42.0)


def test_a_refused_segment_has_no_extracellular_volume():
    values, labels, stack, segments = mapped("T1", 1000.0, 0.0)
    native = segment_values(values, labels, stack, segments, "T1")
    values[segments.ids == 5] = 0
    holed = segment_values(values, labels, stack, segments, "T1")
    assert holed[5].median.value is None
    got = extracellular_volume(holed, native, 0.42)
    assert "native T1" in got[5].reason


def test_shapes_and_kinds_are_checked():
    values, labels, stack, segments = mapped()
    with pytest.raises(ValueError, match="resample"):
        segment_values(values[:, :10], labels, stack, segments, "T1")
    with pytest.raises(ValueError, match="`kind`"):
        segment_values(values, labels, stack, segments, "T3")


def test_muscle_that_reaches_into_the_blood_that_was_kept_is_in_the_error_of_blood():
    values, labels, stack, segments = mapped(step=0.0)
    near = (labels == 1) & ~away_from_borders(labels == 1, stack, 2.5)
    values[near] = 1200.0  # trabeculae in the same pixels
    plain = segment_values(mapped(step=0.0)[0], labels, stack, segments, "T1")["blood"].median
    got = segment_values(values, labels, stack, segments, "T1")["blood"].median
    assert got.value == plain.value == BLOOD["T1"]
    spread = np.where(labels == 1, 1300.0 + 10 * np.arange(values.shape[2]) % 250, values)
    spread[near] -= 400
    assert segment_values(spread, labels, stack, segments, "T1")["blood"].median.parts["borders of T1, blood"] > 5
