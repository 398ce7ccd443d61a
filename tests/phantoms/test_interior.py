"""What stands in the cavities: attached, irregular, more of it at the side and towards the apex, and not too much."""

import torch

from cmr_hf.phantoms import DISEASES, Heart
from cmr_hf.phantoms.interior import papillary, strands
from cmr_hf.phantoms.noise import noise_at
from cmr_hf.phantoms.tissues import Tissue


def cavity_points(heart: Heart, count: int = 6000) -> torch.Tensor:
    """Random points of the regular heart's box, in LPS."""
    side = torch.rand(len(heart), count, 3, generator=torch.Generator().manual_seed(1))
    box = torch.tensor([90.0, 90.0, 100.0])
    return heart.to_patient(side * box - box / 2)


def test_muscle_fills_a_small_part_of_the_left_cavity_more_towards_the_apex():
    heart = Heart.draw(DISEASES * 2, seed=3)
    points = cavity_points(heart)
    phase = heart.phase(torch.zeros(len(heart)))
    tissue = heart.tissue(points, phase)
    x, y, z = heart.deformation.straighten(*heart.to_heart(points).unbind(2))
    height = (z - phase.base_mm[:, None]) / phase.length_mm[:, None]
    blood, muscle = tissue == Tissue.LV_BLOOD, tissue == Tissue.PAPILLARY
    share = [(muscle & part).sum() / ((muscle | blood) & part).sum() for part in (height < 0.4, height > 0.6)]
    assert 0.01 < muscle.sum() / (muscle | blood).sum() < 0.2
    assert share[1] > 1.5 * share[0]
    septal = x > 0.7 * (x.square() + y.square()).sqrt()
    assert (muscle & septal).sum() < (muscle & ~septal).sum() / 5


def test_papillary_muscles_are_free_at_the_base_and_stand_on_the_wall_towards_the_apex():
    numbers = torch.rand(20, 12, generator=torch.Generator().manual_seed(2))
    angle = torch.linspace(-torch.pi, torch.pi, 361).repeat(20, 1)
    smooth, radius = torch.zeros_like(angle), torch.full((20, 1), 25.0)
    at_wall = [
        papillary(24.5 * angle.cos(), 24.5 * angle.sin(), torch.full_like(angle, height), radius, numbers, smooth)
        for height in (0.36, 0.62)
    ]
    assert at_wall[1].sum() > 2 * at_wall[0].sum()
    base = papillary(16 * angle.cos(), 16 * angle.sin(), torch.full_like(angle, 0.05), radius, numbers, smooth)
    assert not base.any()


def test_trabeculae_thin_out_from_the_wall_and_end_at_their_reach():
    depth = torch.linspace(0, 16, 400).repeat(50, 1)
    place = torch.arange(50.0)[:, None] * 9 + 0 * depth
    move = torch.zeros(50, 1)
    ridge, coarse = noise_at(0 * depth, place, place, 6.0, move), noise_at(depth, place, place, 11.0, move)
    found = strands(depth, torch.full_like(depth, 5.0), ridge, coarse).float()
    share = [found[:, part].mean() for part in (depth[0] < 1, (depth[0] > 3) & (depth[0] < 5), depth[0] > 11.5)]
    assert share[0] > 0.5 > share[1] > 0
    assert share[2] == 0
    row = found[:, depth[0] < 1].diff(dim=1)
    assert (row > 0).float().mean() < 0.01, "ridges stand on the wall"
