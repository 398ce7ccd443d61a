"""Hearts from equations: their volumes are the drawn ones, and their pictures hold those volumes."""

import pytest
import torch

from cmr_hf.data.schema import DISEASES as SCHEMA_DISEASES
from cmr_hf.data.schema import LABELS
from cmr_hf.phantoms import DISEASES, Heart, Scanner, draw_traits, render, sax_stack
from cmr_hf.phantoms.tissues import Tissue, label_of_tissue

SPACING_MM, DISTANCE_MM, SLICES, LEAD_MM = 2.2, 2.5, 68, 20.0  # the base slopes: the stack begins before it


def simpson_ml(heart: Heart, time: torch.Tensor) -> torch.Tensor:
    """Volume in ml of each of the labels 0 … 6, one row for each."""
    planes = sax_stack(heart, SLICES, DISTANCE_MM, 0.0, SPACING_MM, 80, LEAD_MM)
    masks = render(heart, planes, time=time.repeat_interleave(SLICES), scanner=Scanner.ideal(), through=1).masks
    voxels = torch.stack([(masks == label).view(len(heart), -1).sum(1) for label in range(7)])
    return voxels * (SPACING_MM**2 * DISTANCE_MM / 1000)


@pytest.mark.parametrize("seed", [0, 1])
def test_simpson_volumes_of_masks_agree_with_the_drawn_volumes_within_3_percent(seed: int):
    heart = Heart.draw(DISEASES, seed)
    one = heart.traits
    start = torch.zeros(len(heart))
    volumes = simpson_ml(heart, start)
    end_diastole, end_systole = volumes[1], simpson_ml(heart, one.es_time)[1]

    torch.testing.assert_close(end_diastole, one.edv_ml, rtol=0.03, atol=0)
    torch.testing.assert_close(end_systole, one.edv_ml * (1 - one.ef), rtol=0.03, atol=0)
    torch.testing.assert_close(1 - end_systole / end_diastole, one.ef, rtol=0, atol=0.02)
    truth = heart.volumes(heart.phase(start))
    torch.testing.assert_close(volumes[2], truth["myocardium"], rtol=0.03, atol=0)
    torch.testing.assert_close(volumes[3], truth["rv"], rtol=0.03, atol=0)


def test_analytic_volumes_follow_what_was_drawn_over_many_people():
    heart = Heart.draw(DISEASES * 12, 3)
    one = heart.traits
    diastole = heart.volumes(heart.phase(torch.zeros(len(heart))))
    systole = heart.volumes(heart.phase(one.es_time))
    torch.testing.assert_close(diastole["lv"], one.edv_ml, rtol=1e-3, atol=0)
    torch.testing.assert_close(diastole["rv"], one.rv_edv_ml, rtol=1e-3, atol=0)
    torch.testing.assert_close(diastole["myocardium"] * 1.05, one.mass_g, rtol=0.02, atol=0)
    torch.testing.assert_close(1 - systole["lv"] / diastole["lv"], one.ef, rtol=0, atol=0.01)
    torch.testing.assert_close(1 - systole["rv"] / diastole["rv"], one.rv_ef, rtol=0, atol=0.01)


def test_myocardium_keeps_its_volume_while_it_beats_and_end_systole_is_smallest():
    heart = Heart.draw(DISEASES, 4)
    times = torch.arange(20) / 20
    volumes = [heart.volumes(heart.phase(time.expand(len(heart)))) for time in times]
    wall = torch.stack([one["myocardium"] for one in volumes])
    torch.testing.assert_close(wall, wall[:1].expand_as(wall), rtol=1e-3, atol=0)
    smallest = heart.volumes(heart.phase(heart.traits.es_time))["lv"]
    assert (torch.stack([one["lv"] for one in volumes]) >= smallest - 0.01).all()


def test_diseases_are_what_their_definitions_say():
    heart = Heart.draw(DISEASES * 30, 5)
    one = heart.traits
    of = {name: one.disease == index for index, name in enumerate(DISEASES)}
    assert (one.ef[of["NORM"]] >= 0.5).all()
    assert (one.ef[of["DCM"]] < 0.4).all()
    assert one.edv_ml[of["DCM"]].mean() > 1.4 * one.edv_ml[of["NORM"]].mean()
    assert (one.ef[of["MINF"]] < 0.4).all()
    assert one.has_scar[of["MINF"]].all()
    assert not one.has_scar[of["NORM"] | of["RV"]].any()
    assert (one.rv_edv_ml[of["RV"]] >= 200).all()
    angle = torch.linspace(-3.1, 3.1, 60).repeat(len(heart), 1)
    wall = heart.wall(heart.phase(torch.zeros(len(heart))), torch.full_like(angle, 0.35), angle.cos(), angle.sin())
    thickest = (wall.outer.sqrt() - wall.inner.sqrt()).max(1).values
    assert (thickest[of["HCM"]] > 12).all()
    assert thickest[of["HCM"]].median() > 15
    assert (thickest[of["NORM"]] < 13).all()


def test_an_infarct_does_not_thicken_and_remote_muscle_does():
    heart = Heart.draw(["MINF"] * 12, 6)
    angle = heart.traits.regional_angle[:, None]
    angles, height = torch.cat([angle, angle + torch.pi], 1), heart.traits.regional_height[:, None].expand(-1, 2)
    radii = [
        heart.wall(heart.phase(time), height, angles.cos(), angles.sin()).inner.sqrt()
        for time in (torch.zeros(12), heart.traits.es_time)
    ]
    inward = (radii[0] - radii[1]) / radii[0]
    assert (inward[:, 0] < inward[:, 1]).all()


def test_the_axes_are_orthonormal_and_points_come_back():
    heart = Heart.draw(DISEASES, 7)
    axes = heart.traits.rotation
    torch.testing.assert_close(axes.transpose(1, 2) @ axes, torch.eye(3).expand(5, 3, 3), rtol=0, atol=1e-5)
    assert (torch.linalg.det(axes) > 0).all()
    points = 80 * torch.rand(5, 9, 3)
    torch.testing.assert_close(heart.to_patient(heart.to_heart(points)), points, rtol=0, atol=1e-3)


def test_the_same_seed_gives_the_same_people_and_another_seed_others():
    first, again, other = (draw_traits(DISEASES, seed) for seed in (1, 1, 2))
    assert torch.equal(first.edv_ml, again.edv_ml)
    assert torch.equal(first.rotation, again.rotation)
    assert not torch.equal(first.edv_ml, other.edv_ml)


def test_when_a_disease_is_unknown_then_drawing_raises():
    with pytest.raises(ValueError, match=r"`diseases` needs names of .* got \['FLU'\]"):
        draw_traits(["NORM", "FLU"], 0)


def test_names_and_labels_are_those_of_the_package():
    assert DISEASES == SCHEMA_DISEASES
    assert set(label_of_tissue(True).tolist()) == set(LABELS)
    assert label_of_tissue(False)[Tissue.SCAR] == 2
