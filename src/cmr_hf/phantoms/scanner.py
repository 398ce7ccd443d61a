"""What the scanner does to a picture: coils, bands, a limited matrix, noise, breathing, a small field of view."""

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
        contrast: standard deviation of the log of each tissue's signal; every patient and every sequence differs.
        mottle: relative unevenness of blood that moves.
        banding_share: share of bSSFP pictures with dark bands where the field is off resonance.
        fold_share: share of pictures whose field of view is too small along the rows, so that what lies outside folds
            in from the other side.
        pedestal: what scanners add to phase-sensitive pictures, over their 98th percentile; the rim that is lost to the
            correction of distortion stays 0, so that air is grey.
        map_noise_ms: standard deviation of a T1 map in heart muscle; a T2 map has a twentieth of it.
    """

    noise: Range = (0.01, 0.06)
    matrix: Range = (0.42, 0.68)
    coil: Range = (0.15, 0.9)
    texture: Range = (0.02, 0.08)
    breathing_mm: Range = (0.5, 2.5)
    breathing_share: float = 0.2
    contrast: Range = (0.05, 0.3)
    mottle: Range = (0.02, 0.12)
    banding_share: float = 0.1
    fold_share: float = 0.08
    pedestal: Range = (0.0, 1.0)
    map_noise_ms: Range = (15.0, 50.0)

    @classmethod
    def ideal(cls) -> Scanner:
        """Nothing is added: pictures are their tissues' signals."""
        zero = (0.0, 0.0)
        return cls(
            noise=zero,
            matrix=(1.0, 1.0),
            coil=zero,
            texture=zero,
            breathing_mm=zero,
            breathing_share=0.0,
            contrast=zero,
            mottle=zero,
            banding_share=0.0,
            fold_share=0.0,
            pedestal=zero,
            map_noise_ms=zero,
        )


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


def texture_field(
    count: int, size: int, generator: torch.Generator, device: torch.device, coarse: tuple[int, ...] = (4, 16)
) -> Tensor:
    """Smooth irregularity of mean 0 and SD about 1, shape `(count, size, size)`; structures of `coarse` pixels."""
    field = torch.zeros(count, 1, size, size, device=device)
    for step in coarse:
        side = max(2, size // step)
        seeds = torch.randn(count, 1, side, side, generator=generator).to(device)
        field = field + functional.interpolate(seeds, size=(size, size), mode="bilinear", align_corners=False)
    return field[:, 0]


def banding(scanner: Scanner, count: int, size: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Factor 0 … 1 on bSSFP signal of shape `(count, size, size)`: 0 where the field is half a cycle off in one
    repetition; 1 throughout for most pictures."""
    chosen = draw((0, 1), count, generator, device) < scanner.banding_share
    angle, bend, start = (draw(bounds, count, generator, device) for bounds in ((0, 6.28), (-1.5, 1.5), (-0.6, 0.6)))
    side = torch.linspace(-1, 1, size, device=device)
    along = angle.cos() * side[None, :, None] + angle.sin() * side[None, None, :]
    across = angle.cos() * side[None, None, :] - angle.sin() * side[None, :, None]
    cycles = start + 0.9 * along + bend * along * across
    return torch.where(chosen, 1 - (-(torch.sin(torch.pi * (cycles - 0.5)) / 0.22).square()).exp(), 1.0)


def fold(image: Tensor, scanner: Scanner, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures of shape `(b, h, w)` whose outer rows fold in; those rows are empty then, as many scanners show them.

    Returns:
        pictures, and how many rows are empty at the top and at the bottom, shape `(b,)`, int64.
    """
    count, height = image.shape[:2]
    chosen = torch.rand(count, generator=generator) < scanner.fold_share
    share = 0.05 + 0.08 * torch.rand(count, generator=generator)
    rows = (share * height * chosen).long()
    if not chosen.any():
        return image, rows
    image = image.clone()
    for index in torch.nonzero(rows).flatten().tolist():
        k = int(rows[index])
        top, bottom = image[index, :k].clone(), image[index, height - k :].clone()
        image[index, height - 2 * k : height - k] += top
        image[index, k : 2 * k] += bottom
        image[index, :k] = image[index, height - k :] = 0
    return image, rows


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
    if not signed:
        return found.abs()
    raised = found.real + draw(scanner.pedestal, count, generator, device) * scale
    raised[:, :2] = raised[:, -2:] = 0
    return raised
