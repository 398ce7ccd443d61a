"""What the scanner does to a picture: coils, bands, a limited matrix, noise, breathing, a small field of view."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .signal import SHOWS_SCAR, SIGNED

Range = tuple[float, float]


@dataclass(frozen=True)
class Scanner:
    """Ranges that each picture's effects are drawn from, uniformly; `Scanner.ideal()` has none.

    Attributes:
        noise: standard deviation of the complex noise over the 98th percentile of the picture.
        matrix: acquired part of k-space along rows and columns; what is cut off blurs and rings.
        blur_mm: standard deviation of what the beating heart and the gradients smear, on top of the matrix.
        coil: strength of the surface coils' fall-off, 0 none, 1 that of uncorrected elements.
        evened: how much of that fall-off is corrected afterwards; noise in the depth is then what is left of it.
        grain: noise that grows with signal, relative: what pulsation and parallel imaging leave.
        texture: relative irregularity within tissues.
        breathing_mm: drift between k-space lines, which ghosts.
        breathing_share: share of pictures that are moved.
        contrast: standard deviation of the log of each tissue's signal; every patient and every sequence differs.
        mottle: relative unevenness of blood that moves.
        banding_share: share of bSSFP pictures with dark bands where the field is off resonance.
        fold_share: share of pictures whose field of view is too small along the rows, so that what lies outside folds
            in from the other side.
        fat_phase: angle in turns between fat and water in pictures that have them apart, and `fat_roughness` its
            standard deviation over the picture: the field is nowhere even.
        fat_shift_mm: how far fat is displaced along the read-out of late enhancement; a quarter of it in other
            pictures.
        pedestal: what scanners add to late enhancement, over the 98th percentile of the picture with it: 0.6 leaves
            0.4 for all contrast. Phase-sensitive pictures, whose zero is grey, have at least 0.3, or none.
        rim: share of the side of late enhancement that is lost to the correction of distortion and stays 0, half of the
            pictures have none.
        map_noise_ms: standard deviation of a T1 map in heart muscle; a T2 map has a twentieth of it.
    """

    noise: Range = (0.008, 0.034)
    matrix: Range = (0.78, 1.0)
    blur_mm: Range = (0.05, 0.5)
    coil: Range = (0.4, 1.7)
    evened: Range = (0.0, 0.6)
    grain: Range = (0.008, 0.035)
    texture: Range = (0.04, 0.12)
    breathing_mm: Range = (0.4, 1.6)
    breathing_share: float = 0.12
    contrast: Range = (0.05, 0.25)
    mottle: Range = (0.05, 0.25)
    banding_share: float = 0.06
    fold_share: float = 0.08
    fat_phase: Range = (0.28, 0.56)
    fat_roughness: Range = (0.05, 0.2)
    fat_shift_mm: Range = (0.5, 3.2)
    pedestal: Range = (0.0, 0.7)
    rim: Range = (-0.04, 0.04)
    map_noise_ms: Range = (15.0, 50.0)

    @property
    def smooths(self) -> bool:
        """Whether neighbouring pixels are blurred into one another."""
        return self.blur_mm[1] > 0

    @classmethod
    def ideal(cls) -> Scanner:
        """Nothing is added: pictures are their tissues' signals."""
        zero = (0.0, 0.0)
        return cls(
            noise=zero,
            matrix=(1.0, 1.0),
            blur_mm=zero,
            coil=zero,
            evened=zero,
            grain=zero,
            texture=zero,
            breathing_mm=zero,
            breathing_share=0.0,
            contrast=zero,
            mottle=zero,
            banding_share=0.0,
            fold_share=0.0,
            fat_phase=(0.5, 0.5),
            fat_roughness=zero,
            fat_shift_mm=zero,
            pedestal=zero,
            rim=zero,
            map_noise_ms=zero,
        )


def draw(bounds: Range, count: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Uniform values of shape `(count, 1, 1)`; `generator` is the CPU's, so that every device has the same."""
    values = bounds[0] + (bounds[1] - bounds[0]) * torch.rand(count, generator=generator)
    return values.to(device)[:, None, None]


def coil_gain(place: Tensor, chest_mm: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Sensitivity of elements on the chest and on the back, 1 in the middle of the picture: `(b, h, w)`.

    Args:
        place (`torch.Tensor` of shape `(b, h, w, 3)`): LPS mm of the pixels.
        chest_mm (`torch.Tensor` of shape `(b, 2)`): half width and half depth of the body.
        strength (`torch.Tensor` of shape `(b, 1, 1)`): as `Scanner.coil`.
    """
    count, height, width = place.shape[:3]
    device = place.device
    few = place[:, :: max(1, height // 16), :: max(1, width // 16)]  # it is smooth
    uniform = torch.rand(count, 7, 3, generator=generator).to(device)
    x = 110 * (2 * uniform[..., 0] - 1)
    front = torch.where(torch.arange(7, device=device) < 4, -1.0, 1.0)  # four in front, three behind
    y = front * (chest_mm[:, 1:] * (1 - 0.35 * (x / chest_mm[:, :1]).square()) + 15)
    element = torch.stack([x, y, 90 * (2 * uniform[..., 1] - 1)], dim=2)  # (b, 7, 3)
    weight = (0.3 + uniform[..., 2]) * torch.where(front < 0, 1.0, 0.7)
    distance2 = (few[:, :, :, None] - element[:, None, None]).square().sum(-1)
    gain = (weight[:, None, None] * (1 + distance2 / 75.0**2).pow(-1.5)).sum(-1)
    gain = gain / gain[:, gain.shape[1] // 2, gain.shape[2] // 2, None, None]
    gain = gain.clamp(0.05, 6.0).pow(strength)
    return functional.interpolate(gain[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]


def rough_field(count: int, size: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Irregularity of SD 1 at all scales, coarse ones more, as tissues have it: shape `(count, size, size)`."""
    rows, columns = torch.fft.fftfreq(size, device=device), torch.fft.rfftfreq(size, device=device)
    frequency = (rows[:, None].square() + columns.square()).sqrt()
    fall = (frequency + 1 / 60).pow(-1.3) * (frequency > 0)  # pixels: no coarser than 60
    white = torch.randn(2, count, size, size // 2 + 1, generator=generator).to(device)
    field = torch.fft.irfft2(torch.complex(white[0], white[1]) * fall, s=(size, size))
    return field / field.flatten(1).std(1)[:, None, None].clamp(min=1e-6)


def smooth_field(count: int, size: int, generator: torch.Generator, device: torch.device, side: int = 5) -> Tensor:
    """A field of SD about 1 without fine structure, shape `(count, size, size)`, from `side` × `side` numbers."""
    seeds = torch.randn(count, 1, side, side, generator=generator).to(device)
    return 1.3 * functional.interpolate(seeds, size=(size, size), mode="bicubic", align_corners=True)[:, 0]


def with_fat(
    water: Tensor, fat: Tensor, scanner: Scanner, shift: Tensor, apart: Tensor, signed: bool, generator: torch.Generator
) -> Tensor:
    """Complex pictures of water and fat, which the read-out displaces and whose phase is its own.

    Args:
        water, fat (`torch.Tensor` of shape `(b, s, s)`): real.
        shift (`torch.Tensor` of shape `(b, 1, 1)`): of fat along the read-out, pixels.
        apart (`torch.Tensor` of shape `(b, 1, 1)`, bool): pictures where fat and water are in opposite phase.
        signed (`bool`): phase-sensitive pictures, where what fat left behind is darker than nothing.

    Returns:
        `torch.Tensor` of shape `(b, s, s)`, complex64.
    """
    count, size = water.shape[:2]
    device = water.device
    base = draw(scanner.fat_phase, count, generator, device)
    rough = draw(scanner.fat_roughness, count, generator, device)
    field = smooth_field(count, size, generator, device)
    turn = torch.rand(count, 2, generator=generator)
    if bool((shift != 0).any()):
        along = turn[:, 0] < 0.5  # of the rows
        sign = torch.where(turn[:, 1] < 0.5, -1.0, 1.0)
        moved = [
            _moved(one, float(step), 0 if row else 1)
            for one, step, row in zip(fat, (sign * shift.flatten().cpu()).tolist(), along.tolist(), strict=True)
        ]
        before, fat = fat, torch.stack(moved)
        if signed:
            side = torch.linspace(-1, 1, size, device=device).square()
            near = torch.exp(-40 * (side[:, None] + side).square())  # a band saturates what is far from the heart
            over = 0.2 + 0.9 * torch.rand(count, 1, 1, generator=generator).to(device)
            fat = torch.addcmul(fat, over * near, fat - before)
    phase = 2 * torch.pi * torch.where(apart, base + rough * field, 0.3 * (base - 0.5 + rough * field))
    return torch.complex(torch.addcmul(water, fat, phase.cos()), fat * phase.sin())


def _moved(picture: Tensor, step: float, axis: int) -> Tensor:
    """A picture moved by a fraction of pixels along an axis."""
    whole = int(step // 1)
    part = step - whole
    return picture.roll(whole, axis) * (1 - part) + picture.roll(whole + 1, axis) * part


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
    """Which spatial frequencies are acquired, tapered a little, in the order of `torch.fft.fft2`: `(b, size, size)`.

    Args:
        rows, columns (`torch.Tensor` of shape `(b, 1, 1)`): acquired part along either axis.
    """
    frequency = torch.fft.fftfreq(size, device=rows.device).abs() * 2

    def along(part: Tensor) -> Tensor:  # (b, 1, 1) -> (b, size)
        inside = frequency[None] / part[:, 0]
        taper = 0.5 + 0.5 * torch.cos(torch.pi * ((inside - 0.55) / 0.7).clamp(0, 1))
        return torch.where(part[:, 0] >= 1, 1.0, torch.where(inside <= 1, taper, 0.0))

    return along(rows)[:, :, None] * along(columns)[:, None]


def _smear(size: int, rows: Tensor, columns: Tensor) -> Tensor:
    """What a Gaussian blur of standard deviations (b, 1, 1) in pixels, and the mean of two neighbours, which evens out
    what differs from pixel to pixel, leave of each spatial frequency."""
    turn = torch.pi * torch.fft.fftfreq(size, device=rows.device)
    along = [torch.exp(-2 * (turn * width[:, 0]).square()) * turn.cos() for width in (rows, columns)]
    return along[0][:, :, None] * along[1][:, None]


def acquire(image: Tensor, scanner: Scanner, spacing_mm: Tensor, contrast: str, generator: torch.Generator) -> Tensor:
    """A picture of shape `(b, size, size)` through k-space: cut, moved, with noise; magnitude unless it is signed.

    Args:
        image: real or complex.
        spacing_mm (`torch.Tensor` of shape `(b,)`): between rows.
        contrast (`str`): of `CONTRASTS`; what phase-sensitive pictures keep is their sign.
    """
    count, size = image.shape[0], image.shape[-1]
    device = image.device
    signed = contrast in SIGNED
    rows, columns = draw(scanner.matrix, count, generator, device), draw(scanner.matrix, count, generator, device)
    blurs = [draw(scanner.blur_mm, count, generator, device) / spacing_mm[:, None, None] for _ in range(2)]
    if contrast in SHOWS_SCAR and scanner.matrix[0] < 1:  # fewer lines, over a longer part of the beat
        rows, columns = 0.85 * rows, 0.85 * columns
        blurs = [1.2 * one + 0.35 / spacing_mm[:, None, None] for one in blurs]
    scale = image.abs().flatten(1)[:, :: max(1, size // 32)].quantile(0.98, dim=1)[:, None, None]
    noise = draw(scanner.noise, count, generator, device) * scale * (0.3 if contrast in SHOWS_SCAR else 1.0)
    moves = draw(scanner.breathing_mm, count, generator, device) * (
        draw((0, 1), count, generator, device) < scanner.breathing_share
    )
    beats = draw((2, 9), count, generator, device)
    relative = draw(scanner.grain, count, generator, device)
    grain = torch.randn(2, count, size, size, generator=generator).to(device)
    if scanner == Scanner.ideal():
        return image.real if signed else image.abs()
    spectrum = torch.fft.fft2(image.to(torch.complex64))
    if scanner.smooths:
        spectrum = spectrum * _smear(size, *blurs)
    frequency = torch.fft.fftfreq(size, device=device)[None, :, None]  # cycles per row
    shift = moves / spacing_mm[:, None, None] * torch.sin(2 * torch.pi * beats * frequency)
    if bool((moves > 0).any()):
        spectrum = spectrum * torch.polar(torch.ones_like(shift), -2 * torch.pi * frequency * shift)
    spectrum = (spectrum + torch.complex(grain[0], grain[1]) * (noise * size)) * kspace_filter(size, rows, columns)
    found = torch.fft.ifft2(spectrum)
    found = found.real if signed else found.abs()
    if signed:  # where the reference has no signal, dividing by it leaves noise
        weak = (1 - found.abs() / (0.7 * scale)).clamp(min=0).square()
        found = found + grain[1] * weak * noise * draw((-12.0, 5.0), count, generator, device).clamp(min=0)
    return found * (1 + relative * grain[0])  # the same numbers: those before lie in k-space


def raise_grey(image: Tensor, scanner: Scanner, contrast: str, generator: torch.Generator) -> Tensor:
    """Late enhancement over a grey floor, as scanners store it, of shape `(b, size, size)`; others as they are.

    What is empty (0) stays so.
    """
    share = draw(scanner.pedestal, len(image), generator, image.device)
    rim = draw(scanner.rim, len(image), generator, image.device)
    if contrast not in SHOWS_SCAR or scanner == Scanner.ideal():
        return image
    size = image.shape[-1]
    scale = image.abs().flatten(1)[:, :: max(1, size // 32)].quantile(0.98, dim=1)[:, None, None]
    if contrast in SIGNED:
        share = torch.where(share > 0, 0.3 + 0.7 * share, share)
    floor = share / (1 - share) * scale
    side = torch.linspace(-1, 1, size, device=image.device).abs()
    bow = 1 - 2 * rim * (0.4 + 0.6 * side.square())  # the corners lose most
    kept = (side[:, None] <= bow.transpose(1, 2)) & (side <= bow)
    return torch.addcmul(image, floor, (image != 0).float()) * kept
