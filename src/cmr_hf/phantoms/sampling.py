"""Which tissue is at every sample of a picture: all through the slice in the heart, once round it, and round it only
where it changes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .anatomy import Heart
from .places import Phase
from .planes import Planes
from .tissues import Tissue

_TOGETHER = 4  # pictures that are looked up at once on a CPU
_STAGGER = 0.10  # of the distance between the first and the last layer


def tissue_at(
    each: Heart,
    planes: Planes,
    samples: tuple[int, int],
    phase: Phase,
    boxes: Tensor,
    sparse: bool,
    dither: bool,
    known: dict[tuple, Tensor],
) -> Tensor:
    """Tissue at the sample points of `planes.points(*samples)`: (m, through, s, s).

    What surrounds the heart is looked up once for all layers: in the middle of the slice, or with `sparse` and `dither`
    at depths that differ between neighbouring pixels, which the scanner blurs into one; with `sparse` only where it
    changes. On a CPU it is done for a few pictures of one heart at a time, which then stay in the cache.
    """
    dither = dither and sparse and samples[0] > 2
    count, through, size = len(planes), samples[0], planes.size * samples[1]
    tissue = torch.empty(count, through, size, size, dtype=torch.uint8, device=each.device)
    for step in _steps(planes, phase):  # (hearts, pictures of each)
        heart, moment, flat = each.select(step[:, 0]), phase.select(step[:, 0]), step.flatten()
        some = planes.select(flat)
        points = some.points(*samples)
        place = points[:, through // 2]
        if dither:
            _jitter_depths(points, some)
            place = _staggered(points)
        key = (sparse, dither, samples, *planes.heart[flat].tolist(), *some.affine.flatten().tolist())
        if key not in known:
            known[key] = _body(heart, place, sparse)
        body = known[key]
        low, high = boxes[flat].amin(0), boxes[flat].amax(0)
        rows, columns = (slice(int(low[k, 0]), int(high[k, 1])) for k in (0, 1))
        bodies = body[:, None].expand(-1, through, -1, -1)
        if dither and through == 3:  # and neighbours, so that its outlines have no steps either
            above, right = torch.cat([body[:, :1], body[:, :-1]], 1), torch.cat([body[:, :, 1:], body[:, :, -1:]], 2)
            bodies = torch.stack([above, body, right], dim=1)
        tissue[flat] = bodies
        under = bodies[:, :, rows, columns]
        found = _layers(heart, moment, points[:, :, rows, columns].flatten(2, 3), under.flatten(2))
        tissue[flat, :, rows, columns] = found.view(under.shape)
    return tissue


def _steps(planes: Planes, phase: Phase) -> list[Tensor]:
    """Which pictures are looked up together, int64 (hearts, pictures of each): all on a GPU, on a CPU a few that follow
    one another and show one heart at one moment."""
    count, device = len(planes), planes.affine.device
    if device.type != "cpu":
        return [torch.arange(count, device=device)[:, None]]
    steps: list[list[int]] = []
    keys = list(zip(planes.heart.tolist(), phase.base_mm.tolist(), phase.squeeze.tolist(), strict=True))
    for index, key in enumerate(keys):
        if steps and key == keys[steps[-1][0]] and len(steps[-1]) < _TOGETHER:
            steps[-1].append(index)
        else:
            steps.append([index])
    return [torch.tensor([step]) for step in steps]


def _at(heart: Heart, points: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Positions in each heart's points (b, n, 3) that are `where` (b, n), the last one repeated to equal lengths, int64
    (b, most), and the points there."""
    rows = [torch.nonzero(row).flatten() for row in where]
    most = max(1, *(len(row) for row in rows)) if len(rows) > 1 else len(rows[0])
    rows = [
        functional.pad(row, (0, most - len(row)), value=int(row[-1]) if len(row) else 0) if len(row) < most else row
        for row in rows
    ]
    index = torch.stack(rows)
    return index, points.gather(1, index[..., None].expand(-1, -1, 3))


def _layers(heart: Heart, phase: Phase, place: Tensor, body: Tensor) -> Tensor:
    """Tissue at places (m, through, n, 3) in and round the hearts over what is there without them, both uint8 (m,
    through, n). Of three layers the middle one is looked up where the others differ: elsewhere `_masks` does not ask
    for it."""
    count, through, places = place.shape[:3]
    hearts = len(heart)
    layers = [0, 2] if through == 3 else list(range(through))
    under = body[:, layers]
    found = heart.tissue(place[:, layers].reshape(hearts, -1, 3), phase, under.reshape(hearts, -1).clone())
    found = found.view(count, len(layers), places)
    if through != 3:
        return found
    first, last = found.unbind(1)
    painted = (found != under).any(1)
    index, middle = _at(heart, place[:, 1].reshape(hearts, -1, 3), ((first != last) & painted).view(hearts, -1))
    between = body[:, 1].reshape(hearts, -1)
    inner = heart.tissue(middle, phase, between.gather(1, index))
    between = torch.where(painted, first, body[:, 1]).reshape(hearts, -1).scatter(1, index, inner)
    return torch.stack([first, between.view(count, places), last], dim=1)


def _body(heart: Heart, place: Tensor, sparse: bool) -> Tensor:
    """Tissue round hearts at places (m, s, s, 3): uint8 (m, s, s). With `sparse` every second row and column is looked
    up, and what lies between where its neighbours there differ or a vessel is near."""
    count, size = place.shape[:2]
    points = place.reshape(len(heart), -1, 3)
    if not sparse or size % 2 or size < 8:
        return heart.body(points).view(count, size, size)
    few = heart.body(place[:, ::2, 1::2].reshape(len(heart), -1, 3), margin_mm=1.6).view(count, size // 2, size // 2)
    vessel = few == Tissue.VESSEL
    across = (few[:, :, 1:] != few[:, :, :-1]) | vessel[:, :, 1:] | vessel[:, :, :-1]
    down = (few[:, 1:] != few[:, :-1]) | vessel[:, 1:] | vessel[:, :-1]
    need = torch.ones(count, size, size, dtype=torch.bool, device=place.device)
    need[:, ::2, 1::2] = vessel
    need[:, ::2, 2::2] = across
    need[:, 1:-1:2, 1::2] = down
    need[:, 1:-1:2, 2::2] = across[:, 1:] | across[:, :-1] | down[:, :, 1:] | down[:, :, :-1]
    index, points = _at(heart, points, need.view(len(heart), -1))
    tissue = few.repeat_interleave(2, 1).repeat_interleave(2, 2).view(len(heart), -1)
    return tissue.scatter(1, index, heart.body(points)).view(count, size, size)


def _staggered(points: Tensor) -> Tensor:
    """Middles of the layers of `points` (m, through, s, s, 3), moved a little towards the first or the last one at two
    pixels of three, in turn along rows and columns: a pixel, that above and that on the right hold all three, and
    outlines that slope through the slice are soft. More would fray them. Shape (m, s, s, 3)."""
    order = torch.arange(points.shape[2], device=points.device)
    turn = ((order[:, None] + order) % 3 - 1).to(points.dtype)[None, :, :, None]
    return torch.addcmul(points[:, points.shape[1] // 2], points[:, -1] - points[:, 0], turn, value=_STAGGER)


def _jitter_depths(points: Tensor, planes: Planes) -> None:
    """Moves the first and the last layer of `points` (m, through, s, s, 3), in place, along the normal, each of four
    neighbouring pixels by another part of the thickness: outlines that slope through the slice get no steps."""
    normal = torch.linalg.cross(planes.affine[:, :3, 0], planes.affine[:, :3, 1])
    normal = normal / normal.norm(dim=1, keepdim=True) * planes.thickness_mm[:, None]
    for row, column, share in ((0, 0, -0.08), (0, 1, 0.03), (1, 0, 0.08), (1, 1, -0.03)):
        step = share * normal[:, None, None]
        points[:, 0, row::2, column::2] += step
        points[:, -1, row::2, column::2] -= step


def heart_boxes(heart: Heart, planes: Planes, size: int) -> Tensor:
    """First and last + 1 sample along rows and columns that the heart can reach: (m, 2, 2), int64 on the CPU."""
    middle, half = (one[planes.heart] for one in heart.bounds())
    place = planes.to_pixels(middle[:, None])[:, 0, :2]  # (m, 2): row, column
    spacing = planes.affine[:, :3, [1, 0]].norm(dim=1)
    along = planes.affine[:, :3, [1, 0]] / spacing[:, None]  # (m, 3, 2)
    reach = ((heart.traits.rotation[planes.heart].transpose(1, 2) @ along) * half[:, :, None]).norm(dim=1) / spacing
    fine = size / planes.size
    edges = torch.stack([(place - reach).floor(), (place + reach).ceil() + 1], dim=2) * fine
    return edges.long().clamp(0, size).cpu()
