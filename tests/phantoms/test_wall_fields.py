"""Fields round a ventricle: each heart's own, periodic, even at the tip, the same wherever they are looked up."""

import torch

from cmr_hf.phantoms.wall_fields import ANGLES, HEIGHTS, HIGHEST, LOWEST, look_up, make_table, own_numbers


def seeds(count: int = 40) -> torch.Tensor:
    return 2 * torch.pi * torch.rand(count, 8, generator=torch.Generator().manual_seed(5))


def test_own_numbers_are_uniform_and_differ_between_hearts_numbers_and_streams():
    numbers = own_numbers(seeds(400), 12, 3)
    assert ((numbers >= 0) & (numbers < 1)).all()
    torch.testing.assert_close(numbers.mean(0), torch.full((12,), 0.5), rtol=0, atol=0.06)
    together = torch.corrcoef(torch.cat([numbers, own_numbers(seeds(400), 12, 4)], dim=1).T)
    assert (together - torch.eye(24)).abs().max() < 0.25
    assert torch.equal(numbers, own_numbers(seeds(400), 12, 3))


def test_the_table_is_periodic_and_the_bend_keeps_the_mean_radius():
    table = make_table(seeds(), torch.full((40,), 0.12))
    assert table.shape == (40, 5, HEIGHTS, ANGLES + 1)
    assert torch.equal(table[..., 0], table[..., -1])
    bend, thick = table[:, 0, :, :-1], table[:, 1, :, :-1]
    torch.testing.assert_close(bend.mean(2), torch.zeros(40, HEIGHTS), rtol=0, atol=1e-4)
    assert 0.08 < thick.flatten(1).std(1).mean() < 0.14
    assert thick.min() > 0.6
    assert (table[:, 3] >= 0).all()


def test_a_look_up_gives_the_table_at_its_places_and_is_the_same_one_turn_on():
    table = make_table(seeds(3), torch.full((3,), 0.1))
    row, column = 11, 29
    height = torch.full((3, 1), LOWEST + row * (HIGHEST - LOWEST) / (HEIGHTS - 1))
    angle = torch.full((3, 1), column * 2 * torch.pi / ANGLES)
    found = look_up(table, height, angle)
    torch.testing.assert_close(found.thickness[:, 0], table[:, 1, row, column], rtol=0, atol=1e-4)
    again = look_up(table, height, angle - 2 * torch.pi)
    torch.testing.assert_close(again.fat, found.fat, rtol=0, atol=1e-3)
