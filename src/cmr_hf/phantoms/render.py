"""From hearts and planes to pictures with their truth, a batch at a time, on any device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .anatomy import Heart, Phase
from .planes import Planes
from .scanner import Scanner, acquire, coil_gain, draw, texture_field
from .signal import CONTRASTS, MAPS, POST_CONTRAST, SHOWS_SCAR, SIGNED, signal_table
from .tissues import Tissue, label_of_tissue, properties

LABEL_COUNT = 7


@dataclass
class Phantoms:
    """Pictures and all that is known of them; `m` planes of `size` × `size` pixels.

    Attributes:
        images (`torch.Tensor` of shape `(m, size, size)`, float32): arbitrary units, ms for maps.
        masks (`torch.Tensor` of shape `(m, size, size)`, uint8): label ids of the package, the one that fills most of
            the pixel; scar is 6 in LGE and 2 elsewhere.
        landmarks (`torch.Tensor` of shape `(m, 2, 2)`): anterior and inferior RV insertion, (row, column); NaN where
            there is none.
        t1_ms, t2_ms (`torch.Tensor` of shape `(m, size, size)`): truth, weighted with proton density within a pixel;
            0 in air.
        volumes (dict of `torch.Tensor` of shape `(m,)`): analytic `lv`, `rv`, `myocardium`, `scar` in ml at the moment
            shown, and `lv_ed`, `lv_es`.
        planes (`Planes`): affines, views and hearts.
        time (`torch.Tensor` of shape `(m,)`): 0 … 1 of the cycle.
        contrast, image_type (`str`).
        disease, lge (lists of `str`): per picture; `lge` is "present" where the heart has a scar, else "none".
    """

    images: Tensor
    masks: Tensor
    landmarks: Tensor
    t1_ms: Tensor
    t2_ms: Tensor
    volumes: dict[str, Tensor]
    planes: Planes
    time: Tensor
    contrast: str
    image_type: str
    disease: list[str]
    lge: list[str]


def render(
    heart: Heart,
    planes: Planes,
    contrast: str = "cine",
    time: Tensor | float = 0.0,
    seed: int = 0,
    scanner: Scanner | None = None,
    through: int = 3,
    in_plane: int = 1,
) -> Phantoms:
    """Renders every plane in one contrast; equal arguments give equal pictures.

    Args:
        heart (`Heart`): the hearts that `planes.heart` counts.
        planes (`Planes`): `m` slices.
        contrast (`str`): of `cmr_hf.phantoms.CONTRASTS`.
        time (`float` or `torch.Tensor` of shape `(m,)`): moment of the cycle, 0 end diastole.
        seed (`int`): of noise and all other effects.
        scanner (`Scanner`, *optional*): ranges of the effects; `Scanner.ideal()` for none.
        through, in_plane (`int`): samples through the slice and along a pixel's side, averaged: partial volume.
    """
    scanner = scanner or Scanner()
    count = len(planes)
    generator = torch.Generator().manual_seed(seed)
    variation = torch.rand(count, 3, generator=generator).to(heart.device)
    if scanner == Scanner.ideal():
        variation[:, 1] = 0.5
    each = heart.select(planes.heart)
    table = signal_table(contrast, each.traits.field_t, variation)
    time = torch.as_tensor(time, dtype=torch.float32, device=heart.device).expand(count)
    phase = each.phase(time)

    points = planes.points(through, in_plane)
    tissue = _look_up(each, points, phase)
    masks = _masks(tissue, in_plane, contrast in SHOWS_SCAR)
    t1_ms, t2_ms, weight = _relaxation(each, contrast, tissue, in_plane)
    if contrast in MAPS:
        images = _map(t2_ms if contrast == "t2_map" else t1_ms, weight, contrast, scanner, generator)
    else:
        plain = _average(table, tissue, in_plane)
        behind_mm = points[:, through // 2, ::in_plane, ::in_plane, 1]
        images = _scan(plain, each, planes, behind_mm, contrast in SIGNED, scanner, generator)

    volumes = each.volumes(phase)
    volumes["lv_ed"] = each.traits.edv_ml
    volumes["lv_es"] = each.volumes(each.phase(each.traits.es_time))["lv"]
    return Phantoms(
        images,
        masks,
        planes.insertions(each, phase),
        t1_ms,
        t2_ms,
        volumes,
        planes,
        time,
        contrast,
        CONTRASTS[contrast],
        each.diseases,
        ["present" if scar else "none" for scar in each.traits.has_scar.tolist()],
    )


def _relaxation(each: Heart, contrast: str, tissue: Tensor, in_plane: int) -> tuple[Tensor, Tensor, Tensor]:
    """T1 and T2 in ms, weighted with proton density within a pixel, and that density: each (m, size, size)."""
    post = torch.full((len(each),), contrast in POST_CONTRAST, device=each.device)
    t1, t2, density = properties(each.traits.field_t, post)
    weight = _average(density, tissue, in_plane)
    t1_ms = _average(t1 * density, tissue, in_plane) / weight.clamp(min=1e-6)
    return t1_ms, _average(t2 * density, tissue, in_plane) / weight.clamp(min=1e-6), weight


def _scan(
    plain: Tensor,
    each: Heart,
    planes: Planes,
    behind_mm: Tensor,
    signed: bool,
    scanner: Scanner,
    generator: torch.Generator,
) -> Tensor:
    """Signals of shape (m, size, size) with texture and coils, through k-space."""
    count, size = plain.shape[:2]
    roughness = draw(scanner.texture, count, generator, plain.device)
    images = plain * (1 + roughness * texture_field(count, size, generator, plain.device))
    half = each.traits.chest_mm[:, 1, None, None]
    strength = draw(scanner.coil, count, generator, plain.device)
    images = images * coil_gain(behind_mm + half, half - behind_mm, strength)
    return acquire(images, scanner, planes.affine[:, :3, 1].norm(dim=1), signed, generator)


def _look_up(each: Heart, points: Tensor, phase: Phase) -> Tensor:
    """Tissue at sample points (m, through, s, s, 3): (m, through, s, s).

    What surrounds the heart has no fine structure along the slice and is looked up once, in its middle. On a CPU it is
    done layer by layer, which then stays in the cache: twice as fast.
    """
    count, through = points.shape[:2]
    steps = torch.arange(count, device=points.device).split(1 if points.device.type == "cpu" else count)
    tissue = torch.empty(points.shape[:4], dtype=torch.uint8, device=points.device)
    for step in steps:
        heart, moment = each.select(step), phase.select(step)
        body = heart.body(points[step, through // 2].flatten(1, 2))
        for layer in range(through):
            found = heart.tissue(points[step, layer].flatten(1, 2), moment, body.clone())
            tissue[step, layer] = found.view(len(step), *points.shape[2:4])
    return tissue


def _average(table: Tensor, tissue: Tensor, in_plane: int) -> Tensor:
    """Mean over the samples of a pixel of what `table` (m, tissues) says of each tissue: (m, size, size)."""
    offset = torch.arange(len(table), device=table.device)[:, None, None] * len(Tissue)
    flat = table.flatten()
    total = sum(flat[tissue[:, k].int() + offset] for k in range(tissue.shape[1])) / tissue.shape[1]
    if in_plane > 1:
        total = torch.nn.functional.avg_pool2d(total[:, None], in_plane)[:, 0]
    return total


def _masks(tissue: Tensor, in_plane: int, show_scar: bool) -> Tensor:
    """The label that fills most of each pixel."""
    labels = label_of_tissue(show_scar, tissue.device)[tissue.int()]  # (m, through, s, s)
    if labels.shape[1] == 1 and in_plane == 1:
        return labels[:, 0]
    best = shares = None
    for label in range(LABEL_COUNT):
        share = (labels == label).sum(1).float()
        if in_plane > 1:
            share = torch.nn.functional.avg_pool2d(share[:, None], in_plane)[:, 0]
        if best is None:
            best, shares = torch.zeros_like(share, dtype=torch.uint8), share
            continue
        more = share > shares
        best.masked_fill_(more, label)
        shares = torch.maximum(shares, share)
    return best


def _map(truth: Tensor, weight: Tensor, contrast: str, scanner: Scanner, generator: torch.Generator) -> Tensor:
    """A fitted map: the truth with noise that grows as signal falls, and nonsense where there is none."""
    count, size = truth.shape[0], truth.shape[-1]
    level = draw(scanner.map_noise_ms, count, generator, truth.device)
    grain = torch.randn(count, size, size, generator=generator).to(truth.device)
    nonsense = torch.rand(count, size, size, generator=generator).to(truth.device)
    if scanner == Scanner.ideal():
        return truth
    top, share = (400.0, 0.05) if contrast == "t2_map" else (3000.0, 1.0)
    noisy = truth + grain * level * share * (0.8 / weight.clamp(min=0.1))
    noisy = torch.where(weight < 0.15, nonsense * nonsense * top, noisy)
    blur = torch.nn.functional.avg_pool2d(noisy[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    return (0.4 * noisy + 0.6 * blur).clamp(min=0)
