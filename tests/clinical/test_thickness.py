import numpy as np
import pytest

from cmr_hf.clinical.contours import closed_rays, ring_of
from cmr_hf.clinical.segments import aha_segments
from cmr_hf.clinical.thickness import chords_of, wall_thickening, wall_thickness
from tests.clinical.heart_factory import ANTERIOR, CENTRE_MM, SEPTAL, affine_of, ideal_heart


def ring(inner, outer, spacing=(1.5, 1.5), size=96, centre=(47.3, 48.1)):
    y, x = np.mgrid[:size, :size]
    radius = np.hypot((y - centre[0]) * spacing[0], (x - centre[1]) * spacing[1])
    labels = np.zeros((size, size), dtype=np.uint8)
    labels[radius <= outer] = 2
    labels[radius <= inner] = 1
    return labels


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.5, 1.5), (1.2, 1.8)])
@pytest.mark.parametrize(("inner", "wall"), [(25.0, 8.0), (12.0, 12.0), (28.0, 4.0), (6.0, 7.0)])
def test_radius_and_thickness_of_rings(inner, wall, spacing):
    labels = ring(inner, inner + wall, spacing)
    found = ring_of(labels, spacing)
    assert found.closed.all()
    assert found.endo_mm.mean() == pytest.approx(inner, abs=0.15)
    thickness = chords_of(labels, spacing).thickness_mm
    assert thickness.mean() == pytest.approx(wall, abs=0.2)
    assert np.abs(thickness - wall).max() < max(spacing)


def test_an_oval_shell_is_not_measured_at_a_slant():
    y, x = np.mgrid[:160, :160] - 79.5
    angle = np.linspace(0, 2 * np.pi, 1500)
    outline = np.stack((22 * np.sin(angle), 34 * np.cos(angle)), axis=1)
    away = np.sqrt(((np.stack((y, x), axis=-1)[:, :, None] - outline) ** 2).sum(-1).min(-1))
    labels = np.zeros((160, 160), dtype=np.uint8)
    labels[away <= 10] = 2  # ten mm at right angles, all round
    labels[(y / 22) ** 2 + (x / 34) ** 2 <= 1] = 1
    thickness = chords_of(labels, (1.0, 1.0)).thickness_mm
    assert thickness.mean() == pytest.approx(10, abs=0.15)
    assert np.ptp(thickness) < 0.8


def test_an_open_ring_is_open_where_it_is_and_measured_elsewhere():
    labels = ring(24, 33)
    labels[:40, 45:52][labels[:40, 45:52] == 2] = 0
    closed = closed_rays(labels, (1.5, 1.5))
    assert 0.90 < closed.mean() < 0.97
    thickness = chords_of(labels, (1.5, 1.5)).thickness_mm
    assert np.isnan(thickness).sum() == (~closed).sum()
    assert np.nanmean(thickness) == pytest.approx(9, abs=0.3)


@pytest.mark.parametrize("labels", [np.zeros((20, 20), np.uint8), np.full((20, 20), 1, np.uint8)])
def test_without_wall_there_is_no_ring(labels):
    assert ring_of(labels, (1.0, 1.0)) is None
    assert not closed_rays(labels, (1.0, 1.0)).any()


def bulging_heart(extra):
    """Wall of 8 mm, and `extra` (mm) more in the basal inferolateral sixth."""
    labels, stack, insertions = ideal_heart(affine=affine_of(20, (1.2, 1.2), (100, 100)), size=(100, 100), wall_mm=8.0)
    for z in range(3):
        places = stack.to_patient(z, np.stack(np.mgrid[:100, :100], axis=-1)) - CENTRE_MM
        septal, anterior = places @ SEPTAL, places @ ANTERIOR
        angle = np.rad2deg(np.arctan2(anterior, septal)) % 360
        outer = 22.0 * (1 - 0.06 * z) + 8.0 + extra
        sector = (angle > 180) & (angle < 240) & (np.hypot(septal, anterior) <= outer) & (labels[z] == 0)
        labels[z][sector] = 2
    return labels, stack, insertions


def test_each_segment_has_its_own_thickness():
    labels, stack, insertions = bulging_heart(4.0)
    got = wall_thickness(labels, stack, aha_segments(labels, stack, insertions), "ED")
    assert sorted(got) == list(range(1, 17))
    assert got[5].value == pytest.approx(12.0, abs=0.9)  # its borders belong to the neighbours' steps
    for number in (1, 2, 3, 8, 11, 14, 16):
        assert got[number].value == pytest.approx(8.0, abs=0.4)
    assert got[5].interval[0] < got[5].value < got[5].interval[1]
    assert got[5].source == "basal inferolateral, ED"


def test_thickening_is_of_the_same_segment():
    labels, stack, insertions = bulging_heart(0.0)
    segments = aha_segments(labels, stack, insertions)
    ed = wall_thickness(labels, stack, segments, "ED")
    thick, _, more = ideal_heart(
        affine=affine_of(20, (1.2, 1.2), (100, 100)), size=(100, 100), cavity_mm=16.0, wall_mm=12.0
    )
    es = wall_thickness(thick, stack, aha_segments(thick, stack, more, levels=segments.levels), "ES")
    got = wall_thickening(ed, es)
    for number in range(1, 17):
        assert got[number].value == pytest.approx(50, abs=6)


def test_without_segments_thickness_is_refused():
    labels, stack, _ = ideal_heart(rv=False)
    got = wall_thickness(labels, stack, aha_segments(labels, stack))
    assert all("septum is unknown" in one.reason for one in got.values())
