"""From hearts and planes to pictures with their truth, a batch at a time, on any device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .anatomy import Heart, Phase
from .planes import Planes
from .scanner import Scanner, acquire, banding, coil_gain, draw, fold, texture_field
from .signal import BALANCED, CONTRASTS, MAPS, POST_CONTRAST, SHOWS_SCAR, SIGNED, signal_table
from .tissues import BLOOD, Tissue, label_of_tissue, properties

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
    each = heart.select(planes.heart)
    table = _signals(each, contrast, scanner, generator)
    time = torch.as_tensor(time, dtype=torch.float32, device=heart.device).expand(count)
    phase = each.phase(time)

    points = planes.points(through, in_plane)
    tissue = _look_up(each, planes, points, phase)
    masks = _masks(tissue, in_plane, contrast in SHOWS_SCAR)
    landmarks = planes.insertions(each, phase)
    t1_ms, t2_ms, weight = _relaxation(each, contrast, tissue, in_plane)
    if contrast in MAPS:
        images = _map(t2_ms if contrast == "t2_map" else t1_ms, weight, contrast, scanner, generator)
    else:
        plain = _average(table, tissue, in_plane)
        moving = _average(_is_blood(table), tissue, in_plane)
        behind_mm = points[:, through // 2, ::in_plane, ::in_plane, 1]
        images = _scan(plain, moving, each, planes, behind_mm, contrast, scanner, generator)
        images, folded = fold(images, scanner, generator)
        _clear(masks, landmarks, folded)

    volumes = each.volumes(phase)
    volumes["lv_ed"] = each.traits.edv_ml
    volumes["lv_es"] = each.volumes(each.phase(each.traits.es_time))["lv"]
    return Phantoms(
        images,
        masks,
        landmarks,
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


def _clear(masks: Tensor, landmarks: Tensor, folded: Tensor) -> None:
    """Takes the truth, in place, out of rows that are empty since the picture folded."""
    last = masks.shape[1] - 1
    for index in torch.nonzero(folded).flatten().tolist():
        rows = int(folded[index])
        masks[index, :rows] = masks[index, last + 1 - rows :] = 0
        outside = (landmarks[index, :, 0] < rows) | (landmarks[index, :, 0] > last - rows)
        landmarks[index, outside] = torch.nan


def _relaxation(each: Heart, contrast: str, tissue: Tensor, in_plane: int) -> tuple[Tensor, Tensor, Tensor]:
    """T1 and T2 in ms, weighted with proton density within a pixel, and that density: each (m, size, size)."""
    post = torch.full((len(each),), contrast in POST_CONTRAST, device=each.device)
    t1, t2, density = properties(each.traits.field_t, post)
    weight = _average(density, tissue, in_plane)
    t1_ms = _average(t1 * density, tissue, in_plane) / weight.clamp(min=1e-6)
    return t1_ms, _average(t2 * density, tissue, in_plane) / weight.clamp(min=1e-6), weight


def _signals(each: Heart, contrast: str, scanner: Scanner, generator: torch.Generator) -> Tensor:
    """Signal of every tissue in every picture, (m, tissues); chambers that are joined have one signal."""
    variation = torch.rand(len(each), 4, generator=generator)
    variation[:, 3] = (variation[:, 3] - 0.35).clamp(min=0)  # a third are as they should be
    own = torch.randn(len(each), len(Tissue), generator=generator)
    own = own * draw(scanner.contrast, len(each), generator, own.device)[:, 0]
    if scanner == Scanner.ideal():
        variation[:, 1], variation[:, 3] = 0.5, 0.0
    for one, other in ((Tissue.LV_BLOOD, Tissue.LA_BLOOD), (Tissue.RV_BLOOD, Tissue.RA_BLOOD)):
        own[:, other] = own[:, one] = own[:, Tissue.VESSEL] + 0.5 * own[:, one]
    own[:, Tissue.LUNG] *= 3
    muscle = own[:, Tissue.MYOCARDIUM]
    for same in (Tissue.PAPILLARY, Tissue.THIN_WALL, Tissue.RV_TRABECULA):
        own[:, same] = muscle
    own[:, Tissue.SCAR] = own[:, Tissue.NO_REFLOW] = muscle
    table = signal_table(contrast, each.traits.field_t, variation.to(each.device))
    return table if contrast in MAPS else table * own.to(each.device).exp()


def _is_blood(table: Tensor) -> Tensor:
    blood = torch.zeros_like(table)
    blood[:, list(BLOOD)] = 1
    return blood


def _scan(
    plain: Tensor,
    moving: Tensor,
    each: Heart,
    planes: Planes,
    behind_mm: Tensor,
    contrast: str,
    scanner: Scanner,
    generator: torch.Generator,
) -> Tensor:
    """Signals of shape (m, size, size), and the part of each pixel that is blood, with all that changes them."""
    count, size = plain.shape[:2]
    device = plain.device
    roughness = draw(scanner.texture, count, generator, device)
    images = plain * (1 + roughness * texture_field(count, size, generator, device))
    mottle = draw(scanner.mottle, count, generator, device)
    images = images * (1 + mottle * moving * texture_field(count, size, generator, device, (8, 24)))
    if contrast in BALANCED:
        images = images * banding(scanner, count, size, generator, device)
    half = each.traits.chest_mm[:, 1, None, None]
    strength = draw(scanner.coil, count, generator, device)
    images = images * coil_gain(behind_mm + half, half - behind_mm, strength)
    return acquire(images, scanner, planes.affine[:, :3, 1].norm(dim=1), contrast in SIGNED, generator)


def _look_up(each: Heart, planes: Planes, points: Tensor, phase: Phase) -> Tensor:
    """Tissue at sample points (m, through, s, s, 3): (m, through, s, s).

    What surrounds the heart has no fine structure along the slice and is looked up once, in its middle. On a CPU it is
    done picture by picture, layer by layer, and the heart only where it can be, which then stays in the cache.
    """
    count, through = points.shape[:2]
    steps = torch.arange(count, device=points.device).split(1 if points.device.type == "cpu" else count)
    tissue = torch.empty(points.shape[:4], dtype=torch.uint8, device=points.device)
    boxes = _heart_boxes(each, planes, points.shape[2])
    for step in steps:
        heart, moment = each.select(step), phase.select(step)
        body = heart.body(points[step, through // 2].flatten(1, 2))
        tissue[step] = body.view(len(step), 1, *points.shape[2:4])
        low, high = boxes[step].amin(0), boxes[step].amax(0)
        rows, columns = (slice(int(low[k, 0]), int(high[k, 1])) for k in (0, 1))
        place, found = points[step, :, rows, columns], tissue[step, :, rows, columns]
        for layer in range(through):
            under = found[:, layer].flatten(1, 2).clone()
            found[:, layer] = heart.tissue(place[:, layer].flatten(1, 2), moment, under).unflatten(1, found.shape[2:])
        tissue[step, :, rows, columns] = found
    return tissue


def _heart_boxes(each: Heart, planes: Planes, size: int) -> Tensor:
    """First and last + 1 sample along rows and columns that the heart can reach: (m, 2, 2), int64 on the CPU."""
    middle, half = each.bounds()
    place = planes.to_pixels(middle[:, None])[:, 0, :2]  # (m, 2): row, column
    spacing = planes.affine[:, :3, [1, 0]].norm(dim=1)
    along = planes.affine[:, :3, [1, 0]] / spacing[:, None]  # (m, 3, 2)
    reach = ((each.traits.rotation.transpose(1, 2) @ along) * half[:, :, None]).norm(dim=1) / spacing
    fine = size / planes.size
    edges = torch.stack([(place - reach).floor(), (place + reach).ceil() + 1], dim=2) * fine
    return edges.long().clamp(0, size).cpu()


def _average(table: Tensor, tissue: Tensor, in_plane: int) -> Tensor:
    """Mean over the samples of a pixel of what `table` (m, tissues) says of each tissue: (m, size, size)."""
    offset = torch.arange(len(table), device=table.device)[:, None, None] * len(Tissue)
    flat = table.flatten()
    total = sum(flat[tissue[:, k].int() + offset] for k in range(tissue.shape[1])) / tissue.shape[1]
    if in_plane > 1:
        total = torch.nn.functional.avg_pool2d(total[:, None], in_plane)[:, 0]
    return total


def _masks(tissue: Tensor, in_plane: int, show_scar: bool) -> Tensor:
    """The label that fills most of each pixel; of three different ones, the middle layer's."""
    labels = label_of_tissue(show_scar, tissue.device)[tissue.int()]  # (m, through, s, s)
    if labels.shape[1] == 1 and in_plane == 1:
        return labels[:, 0]
    if labels.shape[1] == 3 and in_plane == 1:
        first, middle, last = labels.unbind(1)
        return torch.where(first == last, first, middle)
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
    noisy = torch.where(weight < 0.25, noisy + nonsense * nonsense * (top - noisy), noisy)
    blur = torch.nn.functional.avg_pool2d(noisy[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    return (0.4 * noisy + 0.6 * blur).clamp(min=0)
