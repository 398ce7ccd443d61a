import numpy as np
import pytest

from cmr_hf.clinical.atria import atrial_function, atrium_at

SPACING = (1.2, 1.2)


def four_chamber(scale=1.0, turn_deg=0.0, gap_mm=0.0, size=128, spacing=SPACING):
    """Ventricles above, atria below a straight valve plane through the middle; atria are half ellipses, LA left."""
    row, column = np.mgrid[:size, :size]
    y, x = (row - (size - 1) / 2) * spacing[0], (column - (size - 1) / 2) * spacing[1]
    angle = np.deg2rad(turn_deg)
    along, down = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    labels = np.zeros((size, size), dtype=np.uint8)
    labels[(down < 0) & (down > -55) & (along > -45) & (along < -5)] = 1
    labels[(down < 0) & (down > -45) & (along > 5) & (along < 45)] = 3
    below = down - gap_mm
    labels[(below > 0) & (((along + 25) / 20) ** 2 + (below / (45 * scale)) ** 2 <= 1)] = 4
    labels[(below > 0) & (((along - 25) / 22) ** 2 + (below / (40 * scale)) ** 2 <= 1)] = 5
    return labels


def truth(half_width, length):
    """Area in cm² and area-length volume in ml of half an ellipse."""
    area = np.pi / 2 * half_width * length
    return area / 100, 8 / (3 * np.pi) * area**2 / length / 1000


@pytest.mark.parametrize("turn_deg", [0, 40, 90, 155, 250])
def test_area_length_and_volume_however_the_picture_is_turned(turn_deg):
    labels = four_chamber(turn_deg=turn_deg)
    for atrium, ventricle, half_width, length in ((4, 1, 20, 45), (5, 3, 22, 40)):
        found = atrium_at(labels, atrium, ventricle, SPACING)
        area, volume = truth(half_width, length)
        assert found.reason == ""
        assert found.area_cm2 == pytest.approx(area, rel=0.02)
        assert found.length_mm == pytest.approx(length, abs=1.5)
        assert found.volume_ml == pytest.approx(volume, rel=0.05)


def test_half_an_ellipsoid_of_revolution_has_this_volume():
    """The formula is exact for a body of revolution: 2 / 3 π a² L is 8 A² / (3 π L) of its half ellipse."""
    assert truth(20, 45)[1] == pytest.approx(2 / 3 * np.pi * 20**2 * 45 / 1000)


def test_a_valve_that_leaves_a_gap_is_bridged_half_way():
    found = atrium_at(four_chamber(gap_mm=6), 4, 1, SPACING)
    assert found.length_mm == pytest.approx(45 + 3, abs=2)


def test_largest_and_least_over_the_cycle():
    scales = [0.7, 0.8, 0.95, 1.0, 0.9, 0.8, 0.75, 0.75, 0.72, 0.7]
    got = atrial_function(np.stack([four_chamber(one) for one in scales]), SPACING, source="4CH").measures
    assert got["la_volume_max"].value == pytest.approx(truth(20, 45)[1], rel=0.05)
    assert got["la_volume_min"].value == pytest.approx(truth(20, 31.5)[1], rel=0.06)
    assert got["la_emptying_fraction"].value == pytest.approx(30, abs=3)
    assert got["la_area_max"].value == pytest.approx(truth(20, 45)[0], rel=0.02)
    assert got["la_volume_max"].source == "4CH, phase 4"


def test_a_plane_may_have_missed_the_middle_so_the_truth_is_rather_larger_than_smaller():
    got = atrial_function(beating()[0], SPACING).measures
    for key in ("la_volume_max", "la_volume_min", "ra_volume_max", "ra_volume_min"):
        low, high = got[key].interval
        assert high / got[key].value > 1.5
        assert high / got[key].value > got[key].value / low > 1.2


def test_most_of_what_one_plane_does_not_show_is_common_to_both_moments_but_not_all():
    got = atrial_function(beating()[0], SPACING).measures
    for name in ("la", "ra"):
        emptying, most, least = (got[f"{name}_{key}"] for key in ("emptying_fraction", "volume_max", "volume_min"))
        independent = (100 - emptying.value) * np.hypot(most.sd / most.value, least.sd / least.value)
        assert 3 < emptying.sd < 0.5 * independent


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: np.where(one == 4, 0, one), "no LA found"),
        (lambda one: np.where(one == 1, 0, one), "no ventricle beside the LA"),
        (lambda one: np.roll(one, 60, axis=0), "leaves the picture"),
        (lambda one: np.where((one == 4) & (np.arange(128)[:, None] < 85), 0, one), "no valve plane"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, says):
    labels = change(four_chamber())
    got = atrial_function(labels[None], SPACING).measures
    assert got["la_volume_max"].value is None
    assert says in got["la_volume_max"].reason
    assert got["la_emptying_fraction"].reason


def test_one_phase_has_no_emptying():
    got = atrial_function(four_chamber()[None], SPACING).measures
    assert got["la_volume_max"]
    assert "one phase" in got["la_volume_min"].reason


def test_a_stack_is_no_four_chamber_view():
    with pytest.raises(ValueError, match="one four-chamber slice"):
        atrial_function(np.zeros((2, 3, 8, 8)), SPACING)


def beating(phases=20):
    """Masks of a cycle and the scale of the atria in each phase."""
    scales = 0.8 - 0.2 * np.cos(2 * np.pi * (np.arange(phases) - 1) / phases)
    return np.stack([four_chamber(one) for one in scales]), scales


def test_phases_in_which_an_atrium_collapses_are_not_its_least_volume():
    labels, scales = beating()
    for t in (12, 13):
        lost = labels[t] == 4
        lost[78:] = False
        labels[t] = np.where((labels[t] == 4) & ~lost, 1, labels[t])
    got = atrial_function(labels, SPACING).measures
    assert got["la_volume_min"].value == pytest.approx(truth(20, 45 * scales.min())[1], rel=0.08)
    assert got["la_emptying_fraction"].value == pytest.approx(100 * (1 - scales.min() / scales.max()), abs=6)
    assert got["ra_emptying_fraction"].value == pytest.approx(100 * (1 - scales.min() / scales.max()), abs=6)


def test_when_an_atrium_jumps_from_phase_to_phase_then_its_emptying_is_refused_and_its_largest_volume_less_sure():
    smooth, _ = beating()
    rng = np.random.default_rng(1)
    jumping = np.stack([four_chamber(one) for one in rng.uniform(0.3, 1.0, 20)])
    steady, got = atrial_function(smooth, SPACING).measures, atrial_function(jumping, SPACING).measures
    for key in ("la_volume_min", "la_emptying_fraction"):
        assert steady[key]
        assert not got[key]
        assert "the area of the LA" in got[key].reason
    assert got["la_volume_max"].sd > 1.2 * steady["la_volume_max"].sd
    assert got["la_area_max"].sd > 3 * steady["la_area_max"].sd
