"""Random fields: of mean 0 and SD 1, smooth at their wavelength, periodic, other for another offset."""

import pytest
import torch

from cmr_hf.phantoms.noise import noise_at, smooth_noise_at

WAVE_MM = 20.0


def plane(step_mm: float = 1.0, side: int = 160) -> torch.Tensor:
    axis = torch.arange(side) * step_mm - 80
    grid = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([grid[0], grid[1], torch.full_like(grid[0], 3.0)], dim=-1).view(1, -1, 3)


def field(kind: str, points: torch.Tensor, offset: float = 0.0) -> torch.Tensor:
    move = torch.tensor([[offset]])
    if kind == "stepped":
        return noise_at(*points.unbind(2), WAVE_MM, move)
    return smooth_noise_at(points, WAVE_MM, move)[kind == "second"]


@pytest.mark.parametrize("kind", ["stepped", "first", "second"])
def test_a_field_has_mean_0_and_sd_1_and_its_wavelength(kind: str):
    values = field(kind, plane())
    assert abs(values.mean()) < 0.15
    assert 0.8 < values.std() < 1.2
    picture = values.view(160, 160)
    near, half_a_wave = (((picture[:-step] * picture[step:]).mean() / picture.square().mean()) for step in (1, 10))
    assert near > 0.95
    assert abs(half_a_wave) < 0.15, "half a wavelength away nothing is left of it: the band is wide"
    shifted = plane() + torch.tensor([8 * WAVE_MM, 0.0, 0.0])
    torch.testing.assert_close(field(kind, shifted), values, rtol=0, atol=2e-3)


@pytest.mark.parametrize("kind", ["stepped", "first"])
def test_another_offset_gives_another_field(kind: str):
    first, second = field(kind, plane()), field(kind, plane(), 137.0)
    assert abs(torch.corrcoef(torch.cat([first, second]))[0, 1]) < 0.3


def test_the_two_smooth_fields_are_independent():
    both = torch.cat([field("first", plane()), field("second", plane())])
    assert abs(torch.corrcoef(both)[0, 1]) < 0.3
