"""True figures of a phantom, held against its equations and against what is measured on its masks."""

import numpy as np
import pytest
import torch

from cmr_hf.clinical import Stack, aha_segments, wall_thickness
from cmr_hf.phantoms import Heart, Protocol, Scanner
from cmr_hf.phantoms.figures import atrial_areas_cm2, atrial_volumes_ml, segments_at, wall_thickness_mm
from cmr_hf.phantoms.protocol import series_of
from cmr_hf.phantoms.scanning import scan

SEED = 90200


@pytest.fixture(scope="module")
def heart() -> Heart:
    return Heart.draw(["HCM"], SEED)


@pytest.fixture(scope="module")
def scanned(heart):
    protocol = Protocol(("cine_sax", "cine_4ch"), rows=96, columns=96, spacing_mm=2.0)
    return {
        one.name: scan(heart, one, protocol, SEED, Scanner.ideal())
        for one in series_of(heart, protocol, SEED, (0.0, float(heart.traits.es_time[0])))
    }


def test_segments_go_round_from_the_septum_over_inferior_lateral_and_anterior(heart):
    phase = heart.phase(torch.zeros(1))
    angle = heart.traits.rv_angle[0] + torch.deg2rad(torch.tensor([-30.0, 30.0, 90.0, 150.0, 210.0, 270.0]))

    def at(part: float, angles: torch.Tensor) -> list[int]:
        z = phase.base_mm + part * phase.length_mm * heart._tip
        x, y = 25 * angles.cos(), 25 * angles.sin()
        bent = heart.deformation.bend(x[None], y[None], z[:, None].expand(1, len(angles)))
        return segments_at(heart, heart.to_patient(torch.stack(bent, dim=2))[0], phase).tolist()

    assert at(0.1, angle) == [2, 3, 4, 5, 6, 1]
    assert at(0.5, angle) == [8, 9, 10, 11, 12, 7]
    quarters = heart.traits.rv_angle[0] + torch.deg2rad(torch.tensor([0.0, 90.0, 180.0, 270.0]))
    assert at(0.9, quarters) == [14, 15, 16, 13]
    assert set(at(1.01, angle)) == {17}
    assert set(at(-0.05, angle)) == {0}


def test_segments_are_those_that_clinical_finds_from_the_insertion_points(heart, scanned):
    cine = scanned["cine_sax"]
    stack = Stack.of_affines(cine.affines, 8.0)
    found = aha_segments(cine.masks[0], stack, cine.landmarks[0])
    phase, same = heart.phase(torch.zeros(1)), []
    for z, ids in enumerate(found.ids):
        if ids.any():
            points = torch.from_numpy(stack.to_patient(z, np.argwhere(ids > 0))).float()
            same.append(segments_at(heart, points, phase).numpy() == ids[ids > 0])
    assert np.concatenate(same).mean() > 0.75  # thirds of the cavity here, of the complete rings there


def test_wall_thickness_is_that_of_the_masks_and_thick_where_the_heart_was_built_so(heart, scanned):
    cine = scanned["cine_sax"]
    stack = Stack.of_affines(cine.affines, 8.0)
    true = wall_thickness_mm(heart, cine.affines, 0.0)
    measured = wall_thickness(cine.masks[0], stack, aha_segments(cine.masks[0], stack, cine.landmarks[0]))
    both = [(true[number], one.value) for number, one in measured.items() if one and number in true]
    assert len(both) == 16
    apart = np.diff(np.array(both), axis=1)
    assert abs(apart.mean()) < 0.4
    assert np.abs(apart).max() < 3.0
    assert true[2] + true[3] > 1.2 * (true[5] + true[6])  # the septum of HCM
    later = wall_thickness_mm(heart, cine.affines, float(heart.traits.es_time[0]))
    assert all(later[number] > true[number] for number in (5, 6, 11, 12))


def test_atria_are_fullest_at_end_systole_and_do_not_depend_on_the_grid(heart, scanned):
    end = float(heart.traits.es_time[0])
    empty, full = atrial_volumes_ml(heart, 0.0), atrial_volumes_ml(heart, end)
    finer = atrial_volumes_ml(heart, end, step_mm=1.6)
    late = scanned["cine_4ch"]
    areas = atrial_areas_cm2(heart, late.affines[0], end)
    for name, label in (("la", 4), ("ra", 5)):
        assert 1.2 * empty[name] < full[name]
        assert full[name] == pytest.approx(finer[name], rel=0.03)
        pixels = np.count_nonzero(late.masks[1, 0] == label)
        assert areas[name] == pytest.approx(pixels * 0.04, rel=0.08)
