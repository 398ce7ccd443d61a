"""What the scanner does to a picture: coil sensitivity, a limited matrix, noise, breathing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Range = tuple[float, float]


@dataclass(frozen=True)
class Scanner:
    """Ranges that each picture's effects are drawn from, uniformly; `Scanner.ideal()` has none.

    Attributes:
        noise: standard deviation of the complex noise over the 98th percentile of the picture.
        matrix: acquired part of k-space along rows and columns; what is cut off blurs and rings.
        coil: strength of the surface coils' fall-off, 0 none, 1 that of a 12 cm wide coil.
        texture: relative irregularity within tissues.
        breathing_mm: drift between k-space lines, which ghosts.
        breathing_share: share of pictures that are moved.
        map_noise_ms: standard deviation of a T1 map in heart muscle; a T2 map has a twentieth of it.
    """

    noise: Range = (0.01, 0.05)
    matrix: Range = (0.5, 0.85)
    coil: Range = (0.4, 1.3)
    texture: Range = (0.02, 0.08)
    breathing_mm: Range = (0.5, 2.5)
    breathing_share: float = 0.2
    map_noise_ms: Range = (15.0, 50.0)

    @classmethod
    def ideal(cls) -> Scanner:
        """Nothing is added: pictures are their tissues' signals."""
        zero = (0.0, 0.0)
        return cls(zero, (1.0, 1.0), zero, zero, zero, 0.0, zero)


def draw(bounds: Range, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Uniform values of shape `(count, 1, 1)`; `generator` is the CPU's, so that every device has the same."""
    values = bounds[0] + (bounds[1] - bounds[0]) * torch.rand(count, generator=generator)
    return values.to(device)[:, None, None]


def coil_gain(depth_mm: Tensor, behind_mm: Tensor, strength: Tensor) -> Tensor:
    """Sensitivity of a chest and a spine array, about 1 in the heart.

    Args:
        depth_mm (`torch.Tensor` of shape `(b, h, w)`): distance from the front of the chest.
        behind_mm (`torch.Tensor` of shape `(b, h, w)`): distance from the back.
        strength (`torch.Tensor` of shape `(b, 1, 1)`): as `Scanner.coil`.
    """
    gain = torch.exp(-depth_mm.clamp(-40, 300) / 60) + 0.6 * torch.exp(-behind_mm.clamp(-40, 300) / 60)
    return (gain / 0.4 + 0.15).pow(strength)


def texture_field(count: int, size: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Smooth irregularity of mean 0 and SD about 1, shape `(count, size, size)`; structures of 4 to 16 pixels."""
    field = torch.zeros(count, 1, size, size, device=device)
    for coarse in (4, 16):
        side = max(2, size // coarse)
        seeds = torch.randn(count, 1, side, side, generator=generator).to(device)
        field = field + functional.interpolate(seeds, size=(size, size), mode="bilinear", align_corners=False)
    return field[:, 0]


def kspace_filter(size: int, rows: Tensor, columns: Tensor) -> Tensor:
    """Which spatial frequencies are acquired, tapered a little, in the order of `torch.fft.fft2`: `(b, size, size)`."""
    frequency = torch.fft.fftfreq(size, device=rows.device).abs() * 2

    def along(part: Tensor) -> Tensor:  # (b, 1, 1) -> (b, size)
        inside = frequency[None] / part[:, 0]
        taper = 0.5 + 0.5 * torch.cos(torch.pi * ((inside - 0.6) / 0.6).clamp(0, 1))
        return torch.where((inside <= 1) | (part[:, 0] >= 1), torch.where(part[:, 0] >= 1, 1.0, taper), 0.0)

    return along(rows)[:, :, None] * along(columns)[:, None]


def acquire(image: Tensor, scanner: Scanner, spacing_mm: Tensor, signed: bool, generator: torch.Generator) -> Tensor:
    """A picture of shape `(b, size, size)` through k-space: cut, moved, with noise; magnitude unless `signed`.

    Args:
        spacing_mm (`torch.Tensor` of shape `(b,)`): between rows.
    """
    count, size = image.shape[0], image.shape[-1]
    device = image.device
    rows, columns = draw(scanner.matrix, count, generator, device), draw(scanner.matrix, count, generator, device)
    scale = image.abs().flatten(1)[:, :: max(1, size // 32)].quantile(0.98, dim=1)[:, None, None]
    noise = draw(scanner.noise, count, generator, device) * scale
    moves = draw(scanner.breathing_mm, count, generator, device) * (
        draw((0, 1), count, generator, device) < scanner.breathing_share
    )
    beats = draw((2, 9), count, generator, device)
    grain = torch.randn(2, count, size, size, generator=generator).to(device) * noise
    if scanner == Scanner.ideal():
        return image
    spectrum = torch.fft.fft2(torch.complex(image + grain[0], grain[1]))
    frequency = torch.fft.fftfreq(size, device=device)[None, :, None]  # cycles per row
    shift = moves / spacing_mm[:, None, None] * torch.sin(2 * torch.pi * beats * frequency)
    spectrum = (
        spectrum
        * kspace_filter(size, rows, columns)
        * torch.polar(torch.ones_like(shift), -2 * torch.pi * frequency * shift)
    )
    found = torch.fft.ifft2(spectrum)
    return found.real if signed else found.abs()
