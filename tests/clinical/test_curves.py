import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmr_hf.clinical.curves import find_phases, perimeters_mm, volume_curve
from cmr_hf.clinical.stacks import Stack


def heart_beat(phases=25, es=9, edv=150.0, esv=60.0, shift=0):
    """Ejection as half a cosine, then early filling, rest and atrial kick."""
    t = np.arange(phases)
    after = np.clip((t - es) / (phases - es), 0, 1)
    smooth = lambda a, b: np.clip((after - a) / (b - a), 0, 1) ** 2 * (3 - 2 * np.clip((after - a) / (b - a), 0, 1))  # noqa: E731
    left = np.where(t < es, 0.5 * (1 + np.cos(np.pi * t / es)), 0.75 * smooth(0, 0.45) + 0.25 * smooth(0.72, 1.0))
    return np.roll(esv + (edv - esv) * left, shift)


@pytest.mark.parametrize("shift", [0, 7, 20])
def test_ed_and_es_are_found_wherever_the_series_begins(shift):
    found = find_phases(heart_beat(shift=shift))
    assert found.ed in {(shift + k) % 25 for k in (-1, 0)}  # the last phase is as full as the first
    assert found.es == (9 + shift) % 25
    assert found.minima == 1
    assert found.bad == ()


@settings(max_examples=60, deadline=None)
@given(bad=st.integers(0, 24), factor=st.sampled_from([0.0, 0.3, 0.5, 1.6, 2.5]), seed=st.integers(0, 99))
def test_one_bad_phase_is_neither_ed_nor_es(bad, factor, seed):
    clean = heart_beat() + np.random.default_rng(seed).normal(0, 0.8, 25)
    spoiled = clean.copy()
    spoiled[bad] *= factor
    if abs(spoiled[bad] - clean[bad]) < 30:
        return  # a third of the stroke volume: less is not clearly wrong
    found = find_phases(spoiled)
    assert bad in found.bad
    assert abs(spoiled[found.ed] - 150) < 6  # the next phase, where it is the fullest that is bad, and noise
    assert abs(spoiled[found.es] - 60) < 5


@settings(max_examples=30, deadline=None)
@given(phases=st.integers(15, 40), share=st.floats(0.28, 0.45), esv=st.floats(25, 120), noise=st.floats(0, 1.5))
def test_no_phase_of_a_clean_beat_is_set_aside(phases, share, esv, noise):
    curve = heart_beat(phases, max(4, round(share * phases)), 150.0, esv)
    found = find_phases(curve + np.random.default_rng(phases).normal(0, noise, phases))
    assert found.bad == ()


def test_two_dips_are_told():
    curve = heart_beat() - 60 * np.exp(-0.5 * ((np.arange(25) - 18) / 1.5) ** 2)
    found = find_phases(curve)
    assert found.minima == 2
    assert any("2 minima" in note for note in found.notes)


def test_prospective_gating_does_not_come_back_to_the_start():
    curve = heart_beat(30)[:20]
    found = find_phases(curve, cyclic=False)
    assert (found.ed, found.es, found.bad) == (0, 9, ())


@pytest.mark.parametrize(
    ("volumes", "ed", "es", "says"),
    [
        ([0, 0, 0], None, None, "nothing found in any phase"),
        ([100.0], 0, None, "one phase"),
        ([0, 90.0, 0], 1, None, "one phase"),
        ([80.0, 80.0], 0, None, "the same in all phases"),
        ([120.0, 50.0], 0, 1, ""),
    ],
)
def test_few_phases(volumes, ed, es, says):
    found = find_phases(np.array(volumes, dtype=float))
    assert (found.ed, found.es) == (ed, es)
    assert says in found.reason


def test_phases_in_which_nothing_was_found_are_not_es():
    volumes = heart_beat()
    volumes[[3, 4]] = 0
    found = find_phases(volumes)
    assert found.es == 9
    assert {3, 4} <= set(found.bad)


def test_the_outline_of_discs_is_right_on_any_grid():
    y, x = np.mgrid[:120, :160]
    for radius in (10.0, 25.0, 40.0):
        inside = np.hypot((y - 59.3) * 1.3, (x - 80.6) * 1.0) <= radius
        assert perimeters_mm(inside, (1.3, 1.0)) == pytest.approx(2 * np.pi * radius, rel=0.03)


def test_an_ellipsoid_with_a_missing_slice_keeps_its_volume_and_is_told():
    semi = np.array([45.0, 25.0, 28.0])
    positions = np.arange(-50, 51, 10.0)
    y, x = np.mgrid[-40:41, -40:41]
    whole = np.stack([(p / semi[0]) ** 2 + (y / semi[1]) ** 2 + (x / semi[2]) ** 2 <= 1 for p in positions])
    truth = 4 / 3 * np.pi * semi.prod() / 1000
    kept = np.array([0, 1, 2, 3, 5, 6, 7, 8, 9, 10])
    curve = volume_curve(whole[None, kept].astype(np.uint8), Stack((1.0, 1.0), positions[kept]), (1,), "LV")
    assert curve.volumes_ml[0] == pytest.approx(truth, rel=0.03)
    assert curve.notes == (
        "LV: no slice over 20.0 mm between slices 4 and 5 (10.0 mm is usual): areas interpolated",
    )  # fmt: skip


def test_a_slice_in_which_the_chamber_was_lost_is_interpolated_and_told():
    labels = np.zeros((1, 5, 20, 20), dtype=np.uint8)
    for z, side in enumerate((12, 12, 0, 8, 8)):
        labels[0, z, :side, :side] = 1
    curve = volume_curve(labels, Stack.regular((1.0, 1.0), 5, 10.0), (1,), "LV")
    assert curve.filled_mm2[0, 2] == pytest.approx((144 + 64) / 2)
    assert "lost in slice 3, phase 1" in curve.notes[0]


def test_labels_must_fit_the_stack():
    with pytest.raises(ValueError, match="5 slices"):
        volume_curve(np.zeros((1, 4, 8, 8)), Stack.regular((1, 1), 5), (1,))
