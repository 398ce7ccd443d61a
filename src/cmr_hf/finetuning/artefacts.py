"""What a scanner does to k-space: too few lines, and a patient who moved between them.

Functions of images of shape `(n, channels, height, width)` in 0…1; each image draws its own parameters.
"""

import torch


def gibbs_ringing(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Leaves out the outer k-space, between 30 and 60 % of it along each axis: edges ring, as with few lines."""
    kept = 0.4 + 0.3 * torch.rand(len(images), 2, generator=generator)
    rows, columns = (torch.fft.fftfreq(side).abs() * 2 for side in images.shape[-2:])  # 0 at the centre, 1 at the edge
    mask = (rows <= kept[:, :1])[:, :, None] & (columns <= kept[:, 1:])[:, None, :]
    return torch.fft.ifft2(torch.fft.fft2(images) * mask[:, None]).abs()


def motion(images: torch.Tensor, generator: torch.Generator, most_pixels: float = 6.0) -> torch.Tensor:
    """Some bands of phase-encoding lines are of a patient who had moved by up to `most_pixels`: ghosts along them.

    Lines run along the rows or along the columns. A shift is a ramp of phase in k-space; the middle of k-space, which
    holds most of the contrast, is of the unmoved patient.
    """
    count, _, height, width = images.shape
    turned = torch.rand(count, generator=generator) < 0.5
    shifts = (2 * torch.rand(count, 2, 4, generator=generator) - 1) * most_pixels  # (row, column) in four bands
    places = torch.rand(count, 4, generator=generator)
    rows, columns = torch.fft.fftfreq(height), torch.fft.fftfreq(width)
    spectrum = torch.fft.fft2(images)
    for index in range(count):
        lines = (columns if turned[index] else rows).abs() * 2
        band = torch.full(lines.shape, -1)
        for number, place in enumerate(places[index].tolist()):
            start = 0.15 + 0.75 * place
            band[(lines >= start) & (lines < start + 0.1)] = number
        moved = shifts[index][:, band.clamp(min=0)] * (band >= 0)  # (2, lines)
        row_shift, column_shift = moved[:, None, :] if turned[index] else moved[:, :, None]
        phase = rows[:, None] * row_shift + columns[None, :] * column_shift
        spectrum[index] *= torch.polar(torch.ones_like(phase), -2 * torch.pi * phase)
    return torch.fft.ifft2(spectrum).abs()
