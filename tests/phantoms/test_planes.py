"""Long-axis views are turned as readers show them, and the outflow tract is in its view."""

import numpy as np
import torch

from cmr_hf.phantoms import DISEASES, Heart, Scanner, long_axis, other_plane, render
from cmr_hf.phantoms.tissues import Tissue


def test_in_the_two_and_three_chamber_views_the_apex_lies_left_of_and_below_the_base():
    heart = Heart.draw(DISEASES * 3, seed=4)
    axis = torch.tensor([[0.0, 0.0, -30.0], [0.0, 0.0, 40.0]]).expand(len(heart), 2, 3)
    for view in ("2CH", "3CH"):
        base, apex = long_axis(heart, view).to_pixels(heart.to_patient(axis)).unbind(1)
        assert (apex[:, 1] < base[:, 1] - 10).all(), "left"
        assert (apex[:, 0] > base[:, 0]).float().mean() > 0.9, "below"


def test_in_the_four_chamber_view_the_apex_lies_right_of_and_above_the_base():
    heart = Heart.draw(DISEASES, seed=4)
    axis = torch.tensor([[0.0, 0.0, -30.0], [0.0, 0.0, 40.0]]).expand(len(heart), 2, 3)
    base, apex = long_axis(heart, "4CH").to_pixels(heart.to_patient(axis)).unbind(1)
    assert (apex[:, 1] > base[:, 1]).all()
    assert (apex[:, 0] < base[:, 0]).all()


def test_the_outflow_view_shows_the_ventricle_and_the_aorta_above_it_in_one_piece():
    from scipy.ndimage import label

    heart = Heart.draw(DISEASES, seed=4)
    planes = other_plane(heart, "LVOT", spacing_mm=2.0, size=112)
    tissue = heart.tissue(planes.points(1).flatten(1, 3), heart.phase(torch.zeros(len(heart)))).view(-1, 112, 112)
    masks = render(heart, planes, scanner=Scanner.ideal(), through=1).masks
    for picture, mask in zip(tissue.numpy(), masks.numpy(), strict=True):
        blood, _ = label((picture == 10) | (picture == 11))  # vessel, left ventricle
        piece = blood == np.bincount(blood[mask == 1]).argmax()
        assert (piece & (picture == 10)).sum() * 4.0 > 300, "mm² of aorta joined to the ventricle"


def test_views_pass_the_apex_and_lie_thirty_ninety_and_a_hundred_and_fifty_degrees_from_the_septum():
    heart = Heart.draw(DISEASES * 6, seed=4)
    septal, inferior, _ = heart.traits.rotation.unbind(2)
    phase = heart.phase(torch.zeros(len(heart)))
    side = torch.zeros(len(heart), 1)
    apex = torch.stack(heart.deformation.bend(side, side, (phase.base_mm + phase.length_mm)[:, None]), dim=2)
    for view, degrees in {"4CH": 30.0, "2CH": 90.0, "3CH": 150.0}.items():
        for seed, tolerance, miss_mm in ((None, 20.0, 2.0), (3, 36.0, 14.0)):
            planes = long_axis(heart, view, spacing_mm=1.0, seed=seed)
            normal = torch.linalg.cross(planes.affine[:, :3, 0], planes.affine[:, :3, 1])
            found = torch.rad2deg(torch.atan2(-(normal * septal).sum(1), (normal * inferior).sum(1)))
            away = (found - degrees + 90) % 180 - 90  # a plane has two sides
            assert (away.abs() < tolerance).all(), view
            assert away.mean().abs() < 5, view
            place = (heart.to_patient(apex)[:, 0] - planes.affine[:, :3, 3]) * normal
            assert (place.sum(1).abs() < miss_mm).all(), view


def test_atria_are_four_to_six_centimetres_long_fuller_in_systole_and_touch_without_fat_between():
    heart = Heart.draw(["NORM"] * 8, seed=6)
    planes = long_axis(heart, "4CH", spacing_mm=1.0, size=200)
    points = planes.points(1).flatten(1, 3)
    axis = heart.to_heart(points)[..., 2]
    length = {}
    for moment, time in {"ED": torch.zeros(8), "ES": heart.traits.es_time}.items():
        tissue = heart.tissue(points, heart.phase(time))
        for what in (Tissue.LA_BLOOD, Tissue.RA_BLOOD):
            for index in range(8):
                along = axis[index][tissue[index] == what]
                length[moment, what, index] = float(along.max() - along.min())
    for (moment, what, index), one in length.items():
        assert 24 < one < 80
        if moment == "ES":
            assert one > length["ED", what, index] + 3
    systole = torch.tensor([one for key, one in length.items() if key[0] == "ES"])
    assert 40 < systole.median() < 62
    left, right = ((tissue == what).view(-1, 1, 200, 200).float() for what in (Tissue.LA_BLOOD, Tissue.RA_BLOOD))
    near = [torch.nn.functional.max_pool2d(one, 9, 1, 4) > 0 for one in (left, right)]
    between = near[0] & near[1]
    assert between.flatten(1).sum(1).gt(20).all(), "the atria lie within 8 mm of each other"
    fat = (tissue == Tissue.FAT).view(-1, 1, 200, 200) & between
    assert fat.sum() < 0.15 * between.sum()
