import numpy as np
import pytest

from cmr_hf.clinical.scar import FWHM_RATE, late_enhancement, measured, remote_myocardium
from cmr_hf.clinical.scar_regions import neighbours
from cmr_hf.clinical.segments import SEGMENTS, aha_segments
from cmr_hf.clinical.stacks import Stack
from tests.clinical.heart_factory import ANTERIOR, CENTRE_MM, SEPTAL, affine_of, ideal_heart

NULLED, BLOOD, BRIGHT, NOISE = 100.0, 350.0, 400.0, 10.0


def infarcted(depth=0.5, first_deg=180, last_deg=300, core=False, offset=0.0, scale=None, slices=(0, 1, 2, 3, 4)):
    """Late enhancement with an infarct of known depth in the basal and mid inferior and inferolateral wall."""
    size = (100, 100)
    labels, stack, insertions = ideal_heart(affine=affine_of(10, (1.2, 1.2), size), size=size, wall_mm=10.0)
    scar = np.zeros(labels.shape, dtype=bool)
    grid = np.stack(np.mgrid[: size[0], : size[1]], axis=-1)
    middle = np.zeros_like(scar)
    for z in slices:
        away = stack.to_patient(z, grid) - CENTRE_MM
        septal, anterior = away @ SEPTAL, away @ ANTERIOR
        angle, radius = np.rad2deg(np.arctan2(anterior, septal)) % 360, np.hypot(septal, anterior)
        inner = 22.0 * (1 - 0.06 * z)
        sector = (angle >= first_deg) & (angle < last_deg) & (labels[z] == 2)
        scar[z] = sector & (radius < inner + 10 * depth)
        inset = 12
        middle[z] = (
            scar[z] & (angle > first_deg + inset) & (angle < last_deg - inset) & (radius < inner + 10 * depth - 3)
        )
    rng = np.random.default_rng(5)
    images = np.full(labels.shape, 30.0)
    images[labels == 1], images[labels == 3], images[labels == 2] = BLOOD, BLOOD, NULLED
    images[scar] = BRIGHT
    if core:
        images[middle] = NULLED
    images = images + rng.normal(0, NOISE, images.shape)
    if scale is not None:
        images = images * np.asarray(scale)[:, None, None]
    return images + offset, scar, labels, stack, aha_segments(labels, stack, insertions)


def grams(scar, stack):
    return 1.05 * float(np.count_nonzero(scar, axis=(1, 2)) @ stack.weights_mm()) * stack.pixel_mm2 / 1000


@pytest.mark.parametrize("depth", [0.3, 0.6, 1.0])
def test_mass_and_percentage_of_a_known_infarct(depth):
    images, scar, labels, stack, segments = infarcted(depth)
    found, remote = late_enhancement(images, labels, stack, segments)
    truth = grams(scar, stack)
    assert not scar[remote.mask].any()
    assert remote.sd == pytest.approx(NOISE, rel=0.15)
    for method in ("5 SD", "FWHM"):
        assert found[method].measures["mass"].value == pytest.approx(truth, rel=0.03)
        low, high = found[method].measures["mass"].interval
        assert low < truth < high
        share = 100 * scar.sum() / (labels == 2).sum()
        assert found[method].measures["percent"].value == pytest.approx(share, rel=0.03)


def test_extent_and_depth_per_segment():
    images, scar, labels, stack, segments = infarcted(0.6, 180, 300)
    got = late_enhancement(images, labels, stack, segments)[0]["5 SD"]
    for number in (4, 5, 10, 11):  # inferior and inferolateral, basal and mid
        area = 100 * (scar & (segments.ids == number)).sum() / (segments.ids == number).sum()
        assert got.extent[number].value == pytest.approx(area, abs=2)
        assert got.transmurality[number].value == pytest.approx(60, abs=6)
    for number in (1, 2, 3, 6, 7, 8, 14):
        assert got.extent[number].value == pytest.approx(0, abs=1.5)
    for number in (1, 7, 14):
        assert got.transmurality[number].value == 0
    assert 17 in got.extent
    assert 17 not in got.transmurality


def test_a_transmural_scar_goes_through():
    images, _, labels, stack, segments = infarcted(1.0)
    got = late_enhancement(images, labels, stack, segments)[0]["FWHM"]
    assert got.transmurality[5].value > 93


@pytest.mark.parametrize("offset", [-4096.0, 500.0])
def test_an_offset_of_the_signal_changes_nothing(offset):
    plain = late_enhancement(*_but_truth(infarcted()))[0]
    moved = late_enhancement(*_but_truth(infarcted(offset=offset)))[0]
    for method in ("5 SD", "FWHM"):
        np.testing.assert_array_equal(moved[method].mask, plain[method].mask)


def _but_truth(made):
    images, _, labels, stack, segments = made
    return images, labels, stack, segments


def test_slices_of_different_brightness_have_each_their_remote():
    scale = np.linspace(0.6, 1.4, 9)
    images, scar, labels, stack, segments = infarcted(0.6, scale=scale)
    found, remote = late_enhancement(images, labels, stack, segments)
    np.testing.assert_allclose(remote.means[:8], NULLED * scale[:8], rtol=0.08)
    assert found["5 SD"].measures["mass"].value == pytest.approx(grams(scar, stack), rel=0.06)


def test_a_dark_core_that_scar_encloses_is_scar():
    images, scar, labels, stack, segments = infarcted(0.9, core=True)
    got = late_enhancement(images, labels, stack, segments)[0]["5 SD"]
    assert got.measures["mass"].value == pytest.approx(grams(scar, stack), rel=0.08)


def test_a_healthy_heart_has_none_and_fwhm_does_not_mark_noise():
    images, _, labels, stack, segments = infarcted(slices=())
    found, _ = late_enhancement(images, labels, stack, segments)
    assert found["5 SD"].measures["mass"].value == 0
    assert found["5 SD"].measures["mass"].sd > 0
    assert "half of the maximum would mark noise" in found["FWHM"].measures["mass"].reason
    assert "labels" not in found


def test_the_rim_of_the_cavity_and_specks_are_no_scar():
    images, _, labels, stack, segments = infarcted(slices=())
    rim = np.zeros(labels.shape, dtype=bool)
    for shift, axis in ((1, 1), (-1, 1), (1, 2), (-1, 2)):
        rim |= np.roll(labels == 1, shift, axis) & (labels == 2)
    images[rim] = BLOOD
    images[4, 50, 22:24] = BRIGHT
    got = late_enhancement(images, labels, stack, segments)[0]["5 SD"]
    assert got.measures["mass"].value == 0


def test_scar_of_the_model_is_measured_too():
    images, scar, labels, stack, segments = infarcted(0.6)
    labels = np.where(scar, 6, labels).astype(np.uint8)
    found, _ = late_enhancement(images, labels, stack, segments)
    assert found["labels"].measures["mass"].value == pytest.approx(grams(scar, stack))
    np.testing.assert_array_equal(found["labels"].mask, scar)


def test_without_segments_the_whole_is_measured_and_the_parts_refused():
    images, _, labels, stack, _ = infarcted()
    labels = np.where(labels == 3, 0, labels).astype(np.uint8)
    got = late_enhancement(images, labels, stack, aha_segments(labels, stack))[0]["5 SD"]
    assert got.measures["mass"]
    assert "septum is unknown" in got.extent[1].reason
    assert "septum is unknown" in got.transmurality[1].reason


def test_without_wall_or_noise_there_is_no_remote():
    images, _, labels, stack, segments = infarcted()
    empty = np.where(labels == 2, 0, labels).astype(np.uint8)
    assert "sectors of wall" in remote_myocardium(images, empty, stack).reason
    flat = np.where(labels == 2, 100.0, 300.0)
    got = late_enhancement(flat, labels, stack, segments)[0]
    assert "no noise" in got["5 SD"].measures["percent"].reason
    assert "no noise" in got["FWHM"].extent[3].reason


def test_arguments_are_checked():
    images, _, labels, stack, segments = infarcted()
    with pytest.raises(ValueError, match="resample"):
        late_enhancement(images[:, :9], labels, stack, segments)
    with pytest.raises(ValueError, match="`deviations`"):
        late_enhancement(images, labels, stack, segments, deviations=0)


def test_fwhm_says_that_experts_differ_in_proportion_to_what_it_finds():
    labels = np.zeros((2, 40, 40), np.uint8)
    row, column = np.mgrid[:40, :40]
    away = np.hypot(row - 20, column - 20)
    labels[:, away <= 14] = 2
    labels[:, away <= 8] = 1
    stack = Stack.regular((1.5, 1.5), 2, 10.0)
    segments = aha_segments(labels, stack)
    scar = (labels == 2) & (column > 20)
    plain, rated = (measured("FWHM", scar, labels, stack, segments, rate=rate) for rate in (0.0, FWHM_RATE))
    for key in ("mass", "percent"):
        one = rated.measures[key]
        assert one.parts["experts draw otherwise"] == pytest.approx(FWHM_RATE * one.value)
        assert one.sd > plain.measures[key].sd


def test_when_blood_is_hardly_brighter_than_muscle_then_the_interval_reaches_a_scar_that_is_as_dim():
    images, scar, labels, stack, segments = infarcted(0.6)
    dim = NULLED + 4 * NOISE  # below 5 SD
    images = np.where(scar, images - BRIGHT + dim, np.where(labels == 1, images - BLOOD + dim, images))
    truth = 100 * scar.sum() / (labels == 2).sum()
    found, _ = late_enhancement(images, labels, stack, segments)
    percent = found["5 SD"].measures["percent"]
    assert percent.value < 0.5 * truth < truth < percent.interval[1]
    assert "low contrast" in percent.parts
    assert "scar as dim would be missed" in percent.notes[0]
    clear = late_enhancement(*_but_truth(infarcted(0.6)))[0]["5 SD"].measures["percent"]
    assert "low contrast" not in clear.parts
    assert clear.notes == ()
    assert clear.sd < 0.3 * percent.sd


def test_a_segment_beside_one_with_scar_is_less_sure_than_one_far_from_it():
    images, _, labels, stack, segments = infarcted(1.0, 180, 240, slices=(0, 1, 2))
    extent = late_enhancement(images, labels, stack, segments)[0]["5 SD"].extent
    scarred = [number for number, one in extent.items() if one.value > 50]
    beside = {other for number in scarred for other in neighbours(number)} - set(scarred)
    far = set(SEGMENTS) - beside - set(scarred)
    assert scarred
    assert min(extent[number].interval[1] for number in beside) > 10
    assert max(extent[number].interval[1] for number in far) < 10
    assert all(extent[number].sd for number in far)  # nothing found is no certainty


def test_neighbours_are_neighbours_of_each_other():
    for number in SEGMENTS:
        assert number not in neighbours(number)
        assert all(number in neighbours(other) for other in neighbours(number))
    assert neighbours(1) == (2, 6, 7)
    assert neighbours(8) == (2, 7, 9, 14)
    assert neighbours(14) == (8, 9, 13, 15, 17)
