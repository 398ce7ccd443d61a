"""From hearts and planes to pictures with their truth, a batch at a time, on any device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .anatomy import Heart
from .places import Phase
from .planes import Planes
from .scanner import Scanner, acquire, banding, coil_gain, draw, fold, raise_grey, rough_field, smooth_field, with_fat
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
    boxes = _heart_boxes(heart, planes, points.shape[2])
    tissue = _look_up(each, planes, points, phase, boxes, dither=scanner.smooths and contrast not in MAPS)
    masks = _masks(tissue, in_plane, contrast in SHOWS_SCAR)
    landmarks = planes.insertions(each, phase)
    post = torch.full((count,), contrast in POST_CONTRAST, device=heart.device)
    t1, t2, density = properties(each.traits.field_t, post)
    truth = _average([t1 * density, t2 * density, density], tissue, in_plane)
    weight = truth[..., 2]
    t1_ms, t2_ms = (truth[..., k] / weight.clamp(min=1e-6) for k in (0, 1))
    if contrast in MAPS:
        images = _map(t2_ms if contrast == "t2_map" else t1_ms, weight, contrast, scanner, generator)
    else:
        parts = _average([*_water_and_fat(table), *_unevenness(table)], tissue, in_plane)
        place = points[:, through // 2, ::in_plane, ::in_plane]
        images = _scan(parts, each, planes, place, contrast, scanner, generator)
        images, folded = fold(images, scanner, generator)
        images = raise_grey(images, scanner, contrast, generator)
        _clear(masks, landmarks, folded)

    volumes = each.volumes(phase)
    volumes["lv_ed"] = each.traits.edv_ml
    volumes["lv_es"] = heart.volumes(heart.phase(heart.traits.es_time))["lv"][planes.heart]
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


def _signals(each: Heart, contrast: str, scanner: Scanner, generator: torch.Generator) -> Tensor:
    """Signal of every tissue in every picture, (m, tissues); chambers that are joined have one signal."""
    variation = torch.rand(len(each), 5, generator=generator)
    variation[:, 3] = 0.6 * (variation[:, 3] - 0.25).clamp(min=0)  # a quarter are as they should be
    if contrast in SIGNED:  # whose null nobody looks for, and late rather than early
        variation[:, 1], variation[:, 3] = 0.3 + 0.7 * variation[:, 1], 0.1 + variation[:, 3]
    own = torch.randn(len(each), len(Tissue), generator=generator)
    own = own * draw(scanner.contrast, len(each), generator, own.device)[:, 0]
    if scanner == Scanner.ideal():
        variation[:, 1], variation[:, 3:] = 0.5, 0.0
    for one, other in ((Tissue.LV_BLOOD, Tissue.LA_BLOOD), (Tissue.RV_BLOOD, Tissue.RA_BLOOD)):
        own[:, other] = own[:, one] = own[:, Tissue.VESSEL] + 0.5 * own[:, one]
    own[:, Tissue.LUNG] *= 3
    if contrast in BALANCED and scanner.contrast[1]:
        own[:, Tissue.LUNG] += 0.6  # what blurs in from vessels that are too small to draw
    own[:, Tissue.FAT] = own[:, Tissue.MARROW] = own[:, Tissue.FAT] + (
        0.2 if scanner.contrast[1] and contrast in SHOWS_SCAR else 0.0
    )
    muscle = own[:, Tissue.MYOCARDIUM]
    for same in (Tissue.PAPILLARY, Tissue.THIN_WALL, Tissue.RV_TRABECULA):
        own[:, same] = muscle
    own[:, Tissue.SCAR] = own[:, Tissue.NO_REFLOW] = muscle
    table = signal_table(contrast, each.traits.field_t, variation.to(each.device))
    return table if contrast in MAPS else table * own.to(each.device).exp()


def _unevenness(table: Tensor) -> tuple[Tensor, Tensor]:
    """How uneven each tissue is in itself, and how much its flow makes it so, over the usual."""
    rough, flow = torch.ones_like(table), torch.zeros_like(table)
    rough[:, list(BLOOD)], rough[:, [Tissue.GUT, Tissue.STOMACH]], rough[:, [Tissue.MUSCLE, Tissue.LIVER]] = (
        0.4,
        2.2,
        1.6,
    )
    rough[:, Tissue.LUNG] = 2.2
    flow[:, list(BLOOD)], flow[:, [Tissue.RV_BLOOD, Tissue.RA_BLOOD]] = 1.0, 1.4
    return rough, flow


def _water_and_fat(table: Tensor) -> tuple[Tensor, Tensor]:
    """The signal of every tissue, parted: marrow has half of each."""
    share = torch.zeros_like(table)
    share[:, Tissue.FAT], share[:, Tissue.MARROW] = 1.0, 0.5
    return table * (1 - share), table * share


def _scan(
    parts: Tensor,
    each: Heart,
    planes: Planes,
    place: Tensor,
    contrast: str,
    scanner: Scanner,
    generator: torch.Generator,
) -> Tensor:
    """Pictures (m, s, s) from the signals of water and fat and how uneven both and flow are, (m, s, s, 4)."""
    count, size = parts.shape[:2]
    device = parts.device
    water, fat, rough, moving = parts.unbind(3)
    roughness = draw(scanner.texture, count, generator, device)
    mottle = draw(scanner.mottle, count, generator, device) * (0.4 if contrast in SHOWS_SCAR else 1.0)
    texture = rough_field(count, size, generator, device)
    flow = smooth_field(count, size, generator, device, 9) + 0.3 * texture
    uneven = 1 + roughness * rough * texture
    water, fat = water * uneven * (1 + mottle * moving * flow), fat * uneven
    spacing = planes.affine[:, :3, 1].norm(dim=1)[:, None, None]
    displaced = draw(scanner.fat_shift_mm, count, generator, device) / spacing
    displaced = displaced * (1.0 if contrast in SHOWS_SCAR else 0.25)
    apart = draw((0, 1), count, generator, device) < (0.85 if contrast in BALANCED else 0.0)
    images = with_fat(water, fat, scanner, displaced, apart, contrast in SIGNED, generator)
    if contrast in BALANCED:
        images = images * banding(scanner, count, size, generator, device)
    strength = draw(scanner.coil, count, generator, device)
    evened = draw(scanner.evened, count, generator, device)
    gain = coil_gain(place, each.traits.chest_mm, strength, generator)
    images = acquire(images * gain, scanner, planes.affine[:, :3, 1].norm(dim=1), contrast, generator)
    return images * gain.pow(-evened)


def _look_up(each: Heart, planes: Planes, points: Tensor, phase: Phase, boxes: Tensor, dither: bool) -> Tensor:
    """Tissue at sample points (m, through, s, s, 3): (m, through, s, s).

    What surrounds the heart is looked up once for all layers: in the middle of the slice, or with `dither` at depths
    that differ between neighbouring pixels, which the scanner blurs into one. On a CPU it is done picture by
    picture, layer by layer, and the heart only where it can be, which then stays in the cache.
    """
    count, through = points.shape[:2]
    steps = torch.arange(count, device=points.device).split(1 if points.device.type == "cpu" else count)
    tissue = torch.empty(points.shape[:4], dtype=torch.uint8, device=points.device)
    if dither and through > 2:
        _jitter_depths(points, planes)
    for step in steps:
        heart, moment = each.select(step), phase.select(step)
        place = points[step, through // 2]
        if dither and through > 2:
            place = place.clone()
            place[:, ::2, ::2] = points[step, 0, ::2, ::2]
            place[:, 1::2, ::2] = points[step, -1, 1::2, ::2]
        body = heart.body(place.flatten(1, 2))
        tissue[step] = body.view(len(step), 1, *points.shape[2:4])
        low, high = boxes[step].amin(0), boxes[step].amax(0)
        rows, columns = (slice(int(low[k, 0]), int(high[k, 1])) for k in (0, 1))
        place, found = points[step, :, rows, columns], tissue[step, :, rows, columns]
        for layer in range(through):
            under = found[:, layer].flatten(1, 2).clone()
            found[:, layer] = heart.tissue(place[:, layer].flatten(1, 2), moment, under).unflatten(1, found.shape[2:])
        tissue[step, :, rows, columns] = found
    return tissue


def _jitter_depths(points: Tensor, planes: Planes) -> None:
    """Moves the first and the last layer of `points` (m, through, s, s, 3), in place, along the normal, each of four
    neighbouring pixels by another part of the thickness: outlines that slope through the slice get no steps."""
    normal = torch.linalg.cross(planes.affine[:, :3, 0], planes.affine[:, :3, 1])
    normal = normal / normal.norm(dim=1, keepdim=True) * planes.thickness_mm[:, None]
    for row, column, share in ((0, 0, -0.12), (0, 1, 0.04), (1, 0, 0.12), (1, 1, -0.04)):
        step = share * normal[:, None, None]
        points[:, 0, row::2, column::2] += step
        points[:, -1, row::2, column::2] -= step


def _heart_boxes(heart: Heart, planes: Planes, size: int) -> Tensor:
    """First and last + 1 sample along rows and columns that the heart can reach: (m, 2, 2), int64 on the CPU."""
    middle, half = (one[planes.heart] for one in heart.bounds())
    place = planes.to_pixels(middle[:, None])[:, 0, :2]  # (m, 2): row, column
    spacing = planes.affine[:, :3, [1, 0]].norm(dim=1)
    along = planes.affine[:, :3, [1, 0]] / spacing[:, None]  # (m, 3, 2)
    reach = ((heart.traits.rotation[planes.heart].transpose(1, 2) @ along) * half[:, :, None]).norm(dim=1) / spacing
    fine = size / planes.size
    edges = torch.stack([(place - reach).floor(), (place + reach).ceil() + 1], dim=2) * fine
    return edges.long().clamp(0, size).cpu()


def _average(tables: list[Tensor], tissue: Tensor, in_plane: int) -> Tensor:
    """Mean over the samples of a pixel of what each table (m, tissues) says of tissues: (m, size, size, tables)."""
    count, through = tissue.shape[:2]
    values = torch.stack(tables, dim=2).flatten(0, 1)  # (m * tissues, tables)
    offset = torch.arange(count, device=values.device, dtype=torch.int32)[:, None, None, None] * len(Tissue)
    rows = torch.add(tissue.int(), offset).permute(0, 2, 3, 1)  # the samples of a pixel beside one another
    total = functional.embedding_bag(rows.reshape(-1, through), values, mode="mean")
    total = total.view(count, *tissue.shape[2:], len(tables))
    if in_plane > 1:
        total = functional.avg_pool2d(total.permute(0, 3, 1, 2), in_plane).permute(0, 2, 3, 1)
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
            share = functional.avg_pool2d(share[:, None], in_plane)[:, 0]
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
    blur = functional.avg_pool2d(noisy[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    return (0.4 * noisy + 0.6 * blur).clamp(min=0)
