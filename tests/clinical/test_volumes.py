import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmr_hf.clinical.volumes import measure, slice_areas_mm2

NAMES = {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV"}


def ellipsoid(semi_axes_mm, spacing_mm, distance_mm, offset=(0.0, 0.0, 0.0)):
    """Voxels whose centres are inside; semi-axes and offset are (z, y, x), offset in voxels."""
    steps = (distance_mm, *spacing_mm)
    sides = [int(np.ceil(2 * a / s)) + 4 for a, s in zip(semi_axes_mm, steps, strict=True)]
    grids = np.meshgrid(
        *[(np.arange(n) - n / 2 + o) * s for n, s, o in zip(sides, steps, offset, strict=True)], indexing="ij"
    )
    return sum((g / a) ** 2 for g, a in zip(grids, semi_axes_mm, strict=True)) <= 1.0


def rings(radii_px, slices=4, side=48):
    """Per phase a cylinder of LV (1) with a wall of 4 pixels (2) and a block of RV (3)."""
    y, x = np.mgrid[:side, :side] - side / 2
    radius = np.hypot(y, x)
    stack = np.zeros((len(radii_px), slices, side, side), dtype=np.uint8)
    for t, r in enumerate(radii_px):
        stack[t, :, 2:10, 2 : 2 + 2 * r] = 3
        stack[t, :, radius <= r + 4] = 2
        stack[t, :, radius <= r] = 1
    return stack


@settings(max_examples=30, deadline=None)
@given(
    row_mm=st.floats(0.7, 2.0),
    column_mm=st.floats(0.7, 2.0),
    distance_mm=st.floats(4.0, 12.0),
    offset=st.tuples(*[st.floats(0, 1)] * 3),
)
def test_volume_of_an_ellipsoid_on_an_anisotropic_grid_is_within_three_percent(row_mm, column_mm, distance_mm, offset):
    semi_axes_mm = (48.0, 28.0, 33.0)
    inside = ellipsoid(semi_axes_mm, (row_mm, column_mm), distance_mm, offset)
    found = measure(inside.astype(np.uint8), (row_mm, column_mm), distance_mm, NAMES)
    truth_ml = 4 / 3 * np.pi * np.prod(semi_axes_mm) / 1000
    assert found.volumes_ml["LV cavity"][0] == pytest.approx(truth_ml, rel=0.03)


def test_volume_of_a_block_is_exact_and_uses_the_centre_distance():
    labels = np.zeros((6, 20, 30), dtype=np.uint8)
    labels[1:5, 5:15, 10:20] = 1
    found = measure(labels, (1.40625, 2.0), 17.7, NAMES, slice_thickness_mm=6.0)
    assert found.volumes_ml["LV cavity"] == [pytest.approx(4 * 100 * 1.40625 * 2.0 * 17.7 / 1000)]
    assert any("17.7 mm apart (6 mm thick, 11.7 mm gap)" in note for note in found.notes)


def test_areas_are_per_phase_and_slice_in_mm2():
    labels = np.zeros((2, 3, 8, 8), dtype=np.uint8)
    labels[1, 2, :2, :3] = 1
    labels[0, 0, :1, :1] = 6
    areas = slice_areas_mm2(labels, (2.0, 1.5), (1, 6))
    assert areas.shape == (2, 3)
    assert areas[1, 2] == 18.0
    assert areas[0, 0] == 3.0
    assert areas.sum() == 21.0


def test_ed_is_the_phase_of_most_and_es_of_least_lv_wherever_they_are():
    found = measure(rings([9, 7, 6, 10, 12]), (1.5, 1.5), 8.0, NAMES)
    assert (found.ed_phase, found.es_phase) == (4, 2)
    lv = found.volumes_ml["LV cavity"]
    assert found.lv_edv_ml == lv[4] == max(lv)
    assert found.lv_esv_ml == lv[2] == min(lv)
    assert found.lv_ef_percent == pytest.approx(100 * (lv[4] - lv[2]) / lv[4])
    assert found.rv_edv_ml == found.volumes_ml["RV"][4]
    assert found.refusals == {}


@given(scale=st.floats(0.5, 3.0), distance_mm=st.floats(2.0, 12.0))
@settings(max_examples=20, deadline=None)
def test_ejection_fraction_does_not_depend_on_the_size_of_a_pixel(scale, distance_mm):
    labels = rings([12, 8])
    plain = measure(labels, (1.0, 1.0), 8.0, NAMES)
    other = measure(labels, (scale, 2 * scale), distance_mm, NAMES)
    assert other.lv_ef_percent == pytest.approx(plain.lv_ef_percent)


def test_mass_is_myocardium_and_scar_at_ed_times_its_density():
    labels = rings([6, 10])
    labels[1, 0][labels[1, 0] == 2] = 6
    found = measure(labels, (1.0, 1.0), 10.0, NAMES | {6: "scar"})
    wall_mm2 = slice_areas_mm2(labels, (1.0, 1.0), (2, 6))[1].sum()
    assert found.lv_mass_g == pytest.approx(wall_mm2 * 10.0 / 1000 * 1.05)
    assert found.volumes_ml["scar"][0] is None
    assert found.volumes_ml["scar"][1] > 0


@pytest.mark.parametrize(
    ("labels", "spacing_mm", "distance_mm", "names", "measure_name", "reason"),
    [
        (rings([9, 7]), None, 8.0, NAMES, "lv_ef_percent", "pixel spacing unknown"),
        (rings([9, 7]), (1, 1), None, NAMES, "lv_edv_ml", "distance between slices unknown"),
        (rings([9, 7], slices=1), (1, 1), 8.0, NAMES, "lv_mass_g", "one slice is not a volume"),
        (rings([9]), (1, 1), 8.0, NAMES, "lv_ef_percent", "one phase"),
        (rings([9, 9]), (1, 1), 8.0, NAMES, "lv_ef_percent", "same volume"),
        (rings([9, 7]) * 0, (1, 1), 8.0, NAMES, "lv_ef_percent", "no LV cavity found"),
        (rings([9, 7]) % 3, (1, 1), 8.0, NAMES, "rv_ef_percent", "no RV found at ED"),
        (rings([9, 7]), (1, 1), 8.0, {0: "background", 1: "LV cavity"}, "rv_esv_ml", "does not label the RV"),
        (
            rings([9, 7]),
            (1, 1),
            8.0,
            {0: "background", 1: "LV cavity"},
            "lv_mass_g",
            "does not label the myo",
        ),
    ],
)
def test_when_a_measure_cannot_be_known_then_it_is_none_and_has_a_reason(
    labels, spacing_mm, distance_mm, names, measure_name, reason
):
    found = measure(labels, spacing_mm, distance_mm, names)
    assert getattr(found, measure_name) is None
    assert reason in found.refusals[measure_name]
    assert all(getattr(found, name) is None for name in found.refusals)


def test_when_a_phase_has_no_lv_then_it_is_not_end_systole():
    found = measure(rings([9, 7, 8]) * np.array([1, 1, 0], np.uint8).reshape(3, 1, 1, 1), (1, 1), 8.0, NAMES)
    assert found.es_phase == 1
    assert found.volumes_ml["LV cavity"][2] is None
    assert any("no LV cavity found in phase 3" in note for note in found.notes)


def test_when_a_slice_between_others_has_no_lv_then_it_is_noted():
    labels = rings([9, 7])
    labels[0, 2] = 0
    assert any("in slice 3, between" in note for note in measure(labels, (1, 1), 8.0, NAMES).notes)


def test_without_slice_distance_areas_and_phases_remain():
    found = measure(rings([7, 9]), (1, 1), None, NAMES)
    assert found.ed_phase == 1
    assert found.areas_mm2["LV cavity"].shape == (2, 4)
    assert found.volumes_ml["LV cavity"] == [None, None]


def test_to_dict_is_json_without_nan():
    for labels in (rings([9, 7]), rings([9, 7]) * 0, rings([9])[0, 0]):
        text = json.dumps(measure(labels, (1, 1), 8.0, NAMES).to_dict(), allow_nan=False)
        assert "areas_mm2" in text


@pytest.mark.parametrize("bad", [(0.0, 1.0), (1.0,), (float("nan"), 1.0), (-1.0, 1.0)])
def test_when_spacing_is_impossible_then_it_raises_and_says_so(bad):
    with pytest.raises(ValueError, match="spacing_mm.*needs two positive numbers"):
        measure(rings([9]), bad, 8.0, NAMES)


def test_when_slice_distance_is_zero_then_it_raises():
    with pytest.raises(ValueError, match="slice_distance_mm"):
        measure(rings([9]), (1, 1), 0.0, NAMES)


def test_when_labels_have_five_dimensions_then_it_raises():
    with pytest.raises(ValueError, match="2, 3 or 4 dimensions"):
        measure(np.zeros((1, 1, 1, 4, 4), np.uint8), (1, 1), 8.0)
