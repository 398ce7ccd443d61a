"""Vessels branch and thin out, and every organ sees them from its own side."""

import torch

from cmr_hf.phantoms.trees import _grow, vessel_distance


def test_vessels_get_thinner_and_more_numerous_away_from_the_root():
    starts, ends, radii = _grow(30)
    assert len(radii) > 300
    assert (ends - starts).norm(dim=1).min() > 0
    near, far = starts.norm(dim=1) < 30, starts.norm(dim=1) > 70
    assert far.sum() > near.sum() / 2
    assert radii[near].mean() > 1.5 * radii[far].mean()


def test_distances_are_negative_inside_vessels_and_grow_outside_as_distances_do():
    starts, ends, radii = _grow(30)
    root, turn = torch.zeros(1, 3), torch.zeros(1, 3)
    thick = radii > 2
    middle = ((starts + ends) / 2)[thick][None]
    assert (vessel_distance(middle, root, turn) < -0.7).float().mean() > 0.9
    points = 160 * torch.rand(1, 4000, 3, generator=torch.Generator().manual_seed(0)) - 80
    step = torch.tensor([1.0, 0.0, 0.0])
    here, there = vessel_distance(points, root, turn), vessel_distance(points + step, root, turn)
    assert (here - there).abs().max() < 1.8, "no distance changes faster than the way, but for what the grid rounds"
    assert 0.005 < (here < 0).float().mean() < 0.15


def test_from_another_side_the_tree_is_another_and_scale_widens_it():
    points = 120 * torch.rand(1, 3000, 3, generator=torch.Generator().manual_seed(1)) - 60
    root = torch.zeros(1, 3)
    one = vessel_distance(points, root, torch.zeros(1, 3))
    other = vessel_distance(points, root, torch.tensor([[0.3, 0.2, 0.6]]))
    assert torch.corrcoef(torch.cat([one, other]))[0, 1] < 0.6
    torch.testing.assert_close(vessel_distance(2 * points, root, torch.zeros(1, 3), 2.0), 2 * one, rtol=0, atol=1e-3)
