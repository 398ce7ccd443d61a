"""From hearts and planes to pictures with their truth, a batch at a time, on any device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .anatomy import Heart
from .planes import Planes
from .sampling import heart_boxes, tissue_at
from .scanner import Scanner, acquire, banding, coil_gain, draw, fold, raise_grey, rough_field, smooth_field, with_fat
from .signal import BALANCED, CONTRASTS, MAPS, POST_CONTRAST, SHOWS_SCAR, SIGNED, signal_table
from .tissues import BLOOD, Tissue, label_of_tissue, properties

LABEL_COUNT = 7
_AT_ONCE = 6  # pictures that are scanned at once, anywhere: more do not fit in a CPU's cache


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
    surroundings: dict[tuple, Tensor] | None = None,
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
        surroundings (`dict`, *optional*): what lies round the heart in each plane, filled here and used again where the
            same planes of the same hearts are rendered at other moments; a new one for other hearts.
    """
    scanner = scanner or Scanner()
    surroundings = {} if surroundings is None else surroundings
    count = len(planes)
    generator = torch.Generator().manual_seed(seed)
    each = heart.select(planes.heart)
    table = _signals(each, contrast, scanner, generator)
    time = torch.as_tensor(time, dtype=torch.float32, device=heart.device).expand(count)
    phase = each.phase(time)

    boxes = heart_boxes(heart, planes, planes.size * in_plane)
    tissue = tissue_at(
        each, planes, (through, in_plane), phase, boxes, scanner.smooths, contrast not in MAPS, surroundings
    )
    masks = _masks(tissue, in_plane, contrast in SHOWS_SCAR)
    landmarks = planes.insertions(each, phase)
    post = torch.full((count,), contrast in POST_CONTRAST, device=heart.device)
    t1, t2, density = properties(each.traits.field_t, post)
    tables = [t1 * density, t2 * density, density]
    if contrast not in MAPS:
        tables += [*_water_and_fat(table), *_unevenness(table)]
    means = _average(tables, tissue, in_plane)
    weight = means[..., 2]
    t1_ms, t2_ms = (means[..., k] / weight.clamp(min=1e-6) for k in (0, 1))
    if contrast in MAPS:
        images = _map(t2_ms if contrast == "t2_map" else t1_ms, weight, contrast, scanner, generator)
    else:
        images = _scan(means[..., 3:], each, planes, contrast, scanner, generator)
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
    """Signal of every tissue in every picture, (m, tissues); chambers that are joined have much the same."""
    variation = torch.rand(len(each), 5, generator=generator)
    variation[:, 3] = 0.6 * (variation[:, 3] - 0.25).clamp(min=0)  # a quarter are as they should be
    if contrast in SIGNED:  # whose null nobody looks for, and late rather than early
        variation[:, 1], variation[:, 3] = 0.3 + 0.7 * variation[:, 1], 0.2 + variation[:, 3]
    own = torch.randn(len(each), len(Tissue), generator=generator)
    fresh = torch.rand(len(each), 2, generator=generator)
    own = own * draw(scanner.contrast, len(each), generator, own.device)[:, 0]
    if scanner == Scanner.ideal():
        variation[:, 1], variation[:, 3:] = 0.5, 0.0
    for one, other in ((Tissue.LV_BLOOD, Tissue.LA_BLOOD), (Tissue.RV_BLOOD, Tissue.RA_BLOOD)):
        own[:, other] = own[:, one] = own[:, Tissue.VESSEL] + 0.3 * own[:, one]
    if contrast in BALANCED and scanner.contrast[1]:  # fresh blood from the veins is bright, the right one's most
        own[:, Tissue.LA_BLOOD] += 0.3 * fresh[:, 0] - 0.15
        own[:, Tissue.RA_BLOOD] += 0.8 * fresh[:, 1] - 0.1
        own[:, Tissue.RV_BLOOD] += 0.35 * fresh[:, 1] - 0.2
    own[:, Tissue.LUNG] *= 1 if contrast in SIGNED else 2
    if contrast in BALANCED and scanner.contrast[1]:
        own[:, Tissue.LUNG] += 0.2  # what blurs in from vessels that are too small to draw
    brighter = -0.05 if contrast in SHOWS_SCAR else -0.3 if contrast in BALANCED else 0.0
    own[:, Tissue.FAT] = own[:, Tissue.MARROW] = own[:, Tissue.FAT] + (brighter if scanner.contrast[1] else 0.0)
    muscle = own[:, Tissue.MYOCARDIUM]
    for same in (Tissue.PAPILLARY, Tissue.THIN_WALL, Tissue.RV_TRABECULA):
        own[:, same] = muscle
    own[:, Tissue.SCAR] = own[:, Tissue.NO_REFLOW] = muscle
    table = signal_table(contrast, each.traits.field_t, variation.to(each.device))
    return table if contrast in MAPS else table * own.to(each.device).exp()


def _unevenness(table: Tensor) -> tuple[Tensor, Tensor]:
    """How uneven each tissue is in itself, and how much its flow makes it so, over the usual."""
    rough, flow = torch.ones_like(table), torch.zeros_like(table)
    rough[:, list(BLOOD)], rough[:, [Tissue.GUT, Tissue.STOMACH]], rough[:, Tissue.MUSCLE] = 0.4, 2.2, 1.6
    rough[:, Tissue.FAT] = 1.5
    rough[:, Tissue.LUNG] = 1.2
    flow[:, list(BLOOD)], flow[:, [Tissue.RV_BLOOD, Tissue.RA_BLOOD]] = 1.0, 1.4
    return rough, flow


def _water_and_fat(table: Tensor) -> tuple[Tensor, Tensor]:
    """The signal of every tissue, parted: marrow has half of each."""
    share = torch.zeros_like(table)
    share[:, Tissue.FAT], share[:, Tissue.MARROW] = 1.0, 0.5
    return table * (1 - share), table * share


def _scan(
    parts: Tensor, each: Heart, planes: Planes, contrast: str, scanner: Scanner, generator: torch.Generator
) -> Tensor:
    """Pictures (m, s, s) from the signals of water and fat and how uneven both and flow are, (m, s, s, 4)."""
    steps = torch.arange(len(planes), device=parts.device).split(_AT_ONCE)
    return torch.cat(
        [_scan_few(parts[k], each.select(k), planes.select(k), contrast, scanner, generator) for k in steps]
    )


def _scan_few(
    parts: Tensor, each: Heart, planes: Planes, contrast: str, scanner: Scanner, generator: torch.Generator
) -> Tensor:
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
    apart = draw((0, 1), count, generator, device) < (0.75 if contrast in BALANCED else 0.0)
    images = with_fat(water, fat, scanner, displaced, apart, contrast in SIGNED, generator)
    if contrast in BALANCED:
        images = images * banding(scanner, count, size, generator, device)
    strength = draw(scanner.coil, count, generator, device)
    evened = draw(scanner.evened, count, generator, device)
    if contrast in SIGNED:  # the reference that they are divided by has the same coils
        evened = evened + 0.35 * (evened > 0)
    gain = coil_gain(planes.points(1)[:, 0], each.traits.chest_mm, strength, generator)
    images = acquire(images * gain, scanner, planes.affine[:, :3, 1].norm(dim=1), contrast, generator)
    return images * gain.pow(-evened)


def _average(tables: list[Tensor], tissue: Tensor, in_plane: int) -> Tensor:
    """Mean over the samples of a pixel of what each table (m, tissues) says of tissues: (m, size, size, tables)."""
    count, through = tissue.shape[:2]
    values = torch.stack(tables, dim=2).flatten(0, 1)  # (m * tissues, tables)
    offset = torch.arange(count, device=values.device, dtype=torch.int32)[:, None, None, None] * len(Tissue)
    rows = torch.add(tissue.int(), offset).transpose(0, 1).flatten(1)  # (through, m * s * s)
    total = values.index_select(0, rows[0])
    mixed = torch.nonzero((rows[1:] != rows[0]).any(0)).flatten()  # most pixels hold one tissue
    total[mixed] = functional.embedding_bag(rows[:, mixed].T.contiguous(), values, mode="mean")
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
