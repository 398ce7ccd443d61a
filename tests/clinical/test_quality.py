import numpy as np
import pytest

from cmr_hf.clinical.quality import quality_findings
from tests.clinical.heart_factory import ideal_heart


def beating(phases=8):
    """A heart that is the same in all phases but for the size of its cavity."""
    sizes = 22 - 5 * np.sin(np.pi * np.arange(phases) / phases)
    made = [ideal_heart(cavity_mm=size, size=(96, 96)) for size in sizes]
    return np.stack([one[0] for one in made]), made[0][1]


def checks(labels, stack, **options):
    return {(one.check, one.slices, one.phases) for one in quality_findings(labels, stack, **options)}


def test_nothing_is_found_in_a_good_segmentation():
    labels, stack = beating()
    found = [one for one in quality_findings(labels, stack) if one.check != "base"]  # it begins in the ventricle
    assert found == []


def test_a_slice_that_is_too_small_or_lost_is_found():
    labels, stack = beating()
    labels[:, 4][labels[:, 4] == 1] = 2
    labels[:, 4, 44:52, 44:52] = 1
    found = quality_findings(labels, stack)
    assert any(one.check == "slice jump" and one.slices == (4,) and len(one.phases) == 8 for one in found)


def test_a_phase_that_comes_and_goes_is_found():
    labels, stack = beating()
    labels[3, 2][labels[3, 2] == 1] = 2
    labels[3, 2, 44:52, 44:52] = 1
    found = quality_findings(labels, stack)
    assert any(one.check == "phase jump" and one.slices == (2,) and one.phases == (3,) for one in found)
    assert any("slice 3, phase 4: the area of the LV" in one.reason for one in found)


def test_an_open_ring_is_an_error_except_at_the_base():
    labels, stack = beating()
    for z in (0, 4):
        labels[2, z, :, 40:56][labels[2, z, :, 40:56] == 2] = 0
    found = {one.slices[0]: one for one in quality_findings(labels, stack) if one.check == "open ring"}
    assert found[0].severity == "warning"
    assert "usual at the base" in found[0].reason
    assert found[4].severity == "error"
    assert found[4].phases == (2,)


def test_a_contour_that_leaves_the_picture_is_found():
    labels, stack = beating()
    labels = np.roll(labels, 40, axis=3)
    found = [one for one in quality_findings(labels, stack) if one.check == "edge"]
    assert found
    assert all(one.severity == "error" for one in found)


def test_islands_are_found_and_specks_are_not():
    labels, stack = beating()
    labels[1, 5, 2:6, 2:6] = 3
    labels[1, 6, 2, 2] = 3
    assert ("island", (5,), (1,)) in checks(labels, stack)
    assert ("island", (6,), (1,)) not in checks(labels, stack)


def test_a_cavity_outside_the_wall_is_found():
    labels, stack = beating()
    labels[5, 3][labels[5, 3] == 2] = 0
    found = [one for one in quality_findings(labels, stack) if one.check == "not enclosed"]
    assert [(one.slices, one.phases, one.severity) for one in found] == [((3,), (5,), "error")]


def test_low_probability_is_found():
    labels, stack = beating()
    probabilities = np.full(labels.shape[:2], 0.95)
    probabilities[2, 3], probabilities[0, 0] = 0.6, np.nan
    assert ("low probability", (3,), (2,)) in checks(labels, stack, probabilities=probabilities)
    with pytest.raises(ValueError, match="take the mean"):
        quality_findings(labels, stack, probabilities=probabilities[:, :3])


def test_a_missing_apex_is_an_error_and_a_full_first_slice_a_warning():
    labels, stack = beating()
    found = {one.check: one for one in quality_findings(labels, stack)}
    assert found["base"].severity == "warning"
    short = labels[:, :4]
    cut = type(stack).of_affines(stack.affines[:4])
    found = {one.check: one for one in quality_findings(short, cut)}
    assert found["apex"].severity == "error"


def test_findings_name_the_slice_as_it_is_stored():
    labels, stack = beating()
    labels[:, 4][labels[:, 4] == 1] = 2
    labels[:, 4, 44:52, 44:52] = 1
    turned = type(stack).of_affines(stack.affines[::-1])
    assert any(one.check == "slice jump" and one.slices == (4,) for one in quality_findings(labels[:, ::-1], turned))


def test_an_empty_mask_says_so():
    labels, stack = beating()
    (only,) = quality_findings(np.zeros_like(labels), stack)
    assert (only.check, only.severity) == ("empty", "error")
    assert only.to_dict()["slices"] == []
