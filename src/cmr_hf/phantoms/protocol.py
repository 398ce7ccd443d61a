"""What a phantom is scanned with: the series of a whole cardiac MR examination, their planes and their timing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .anatomy import Heart
from .planes import LONG_AXES, Planes, join, long_axis, other_plane, sax_stack
from .signal import CONTRASTS, nulling_time
from .tissues import Tissue, label_of_tissue, properties

DIASTASIS = 0.7  # moment of the cycle at which everything but cines is read out
MOLLI_MS = (100.0, 180.0, 260.0, 1100.0, 1180.0, 2100.0, 2180.0, 3100.0)  # after 5(3)3: Messroghli et al. 2004
T2_PREPARATIONS_MS = (0.0, 25.0, 55.0)


@dataclass(frozen=True)
class Protocol:
    """How a phantom is scanned.

    Attributes:
        series (`tuple` of `str`): which of `SERIES`, in this order.
        phases (`int`): of each cine.
        slices (`int`, *optional*): of a short-axis stack; by default as many as cover the ventricle with one more
            behind it.
        thickness_mm, gap_mm (`float`): of the slices; stacks have them thickness + gap apart.
        spacing_mm (`float`): between rows and between columns.
        rows, columns (`int`): of every picture, fewer rows than columns for a rectangular field of view.
        jitter (`bool`): planes are tilted, turned and moved a little, as people place them.
    """

    series: tuple[str, ...] = ()
    phases: int = 25
    slices: int | None = None
    thickness_mm: float = 8.0
    gap_mm: float = 2.0
    spacing_mm: float = 1.5
    rows: int = 192
    columns: int = 224
    jitter: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "series", tuple(self.series) or SERIES)
        if strange := [name for name in self.series if name not in SERIES]:
            raise ValueError(f"`series` needs names of {SERIES}, got {strange}: leave it out for all of them")
        whole = {"phases": self.phases, "rows": self.rows, "columns": self.columns, "slices": self.slices or 1}
        for name, value in whole.items():
            if value != int(value) or value < 1:
                raise ValueError(f"`{name}` needs a whole number from 1, got {value}: 25 phases, 192 rows are usual")
        lengths = self.thickness_mm, self.spacing_mm, self.gap_mm + 1e-9
        if not all(math.isfinite(one) and one > 0 for one in lengths):
            raise ValueError(
                "`thickness_mm` and `spacing_mm` need positive mm and `gap_mm` at least 0, got "
                f"{self.thickness_mm}, {self.spacing_mm} and {self.gap_mm}: 8.0, 1.5 and 2.0 are usual"
            )

    @classmethod
    def drawn(cls, seed: int, **fixed: Any) -> Protocol:
        """One of the many protocols that hospitals have, the same for the same seed; `fixed` fields are kept."""
        rng = np.random.default_rng([seed, 4])
        columns = int(rng.choice([192, 208, 224, 256]))
        fields = {
            "thickness_mm": float(rng.choice([6.0, 7.0, 8.0, 10.0])),
            "gap_mm": float(rng.choice([0.0, 2.0, 2.0, 3.0])),
            "rows": 8 * round(columns * rng.uniform(0.75, 1.0) / 8),
            "columns": columns,
            "spacing_mm": round(float(rng.uniform(300, 400)) / columns, 4),
        }
        return cls(**fields | fixed)


@dataclass(frozen=True)
class Series:
    """One series: where, when and how.

    Attributes:
        name (`str`): of `SERIES`.
        description (`str`): as a scanner's user might call it.
        contrast (`str`): of `cmr_hf.phantoms.CONTRASTS`.
        image_type (`str`): of `cmr_hf.data.IMAGE_TYPES`.
        planes (`Planes`): slices of one heart, `size` the longer side of the picture.
        times (`tuple` of `float`): moments, 0 … 1 of the cycle; one picture of every plane at each.
        inversion_ms (`tuple` of `float`): after an inversion: one for each picture, or one for all; else empty.
        preparation_ms (`tuple` of `float`): T2 preparation of each picture, else empty.
        echo_ms, repetition_ms, flip_deg (`float`): TE, TR and flip angle.
        sequence, variant (`str`): DICOM's ScanningSequence and SequenceVariant, values parted by a backslash.
    """

    name: str
    description: str
    contrast: str
    image_type: str
    planes: Planes
    times: tuple[float, ...]
    inversion_ms: tuple[float, ...] = ()
    preparation_ms: tuple[float, ...] = ()
    echo_ms: float = 1.2
    repetition_ms: float = 3.0
    flip_deg: float = 55.0
    sequence: str = "GR"
    variant: str = "SS"

    @property
    def is_cine(self) -> bool:
        """Whether the pictures of a slice are moments of the cycle."""
        return len(self.times) > 1


# name -> view or kind of the planes, description, contrast
_TABLE: dict[str, tuple[str, str, str]] = {
    "localizer": ("localizer", "localizer_3plane", "cine"),
    "cine_2ch": ("2CH", "cine_tf2d_retro_2CH", "cine"),
    "cine_3ch": ("3CH", "cine_tf2d_retro_3CH", "cine"),
    "cine_4ch": ("4CH", "cine_tf2d_retro_4CH", "cine"),
    "cine_lvot": ("LVOT", "cine_tf2d_retro_LVOT", "cine"),
    "cine_aorta": ("candy cane", "cine_tf2d_retro_aorta", "cine"),
    "cine_sax": ("SAX", "cine_tf2d_retro_SAX", "cine"),
    "molli": ("three SAX", "MOLLI_5(3)3_native_SAX", "molli"),
    "t1_native": ("three SAX", "MOLLI_5(3)3_native_SAX_T1_MAP", "t1_native"),
    "t2_prepared": ("three SAX", "T2prep_SSFP_SAX", "t2_prepared"),
    "t2_map": ("three SAX", "T2prep_SSFP_SAX_T2_MAP", "t2_map"),
    "lge_sax": ("SAX", "LGE_IR_SAX_MAG", "lge"),
    "lge_sax_psir": ("SAX", "LGE_IR_SAX_PSIR", "lge_psir"),
    "lge_4ch": ("4CH", "LGE_IR_4CH_MAG", "lge"),
    "t1_post": ("three SAX", "MOLLI_4(1)3(1)2_post_SAX_T1_MAP", "t1_post"),
}
SERIES = tuple(_TABLE)


def series_of(heart: Heart, protocol: Protocol, seed: int, cine_times: tuple[float, ...] | None = None) -> list[Series]:
    """The series of one heart, in the order in which they are scanned.

    Args:
        heart (`Heart`): one heart.
        protocol (`Protocol`): what is scanned.
        seed (`int`): of the placement of the planes.
        cine_times (`tuple` of `float`, *optional*): moments of the cines instead of `protocol.phases` equal steps.

    Raises:
        ValueError: there is more than one heart.
    """
    if len(heart) != 1:
        raise ValueError(f"`heart` needs one heart, got {len(heart)}: choose one with heart.select(torch.tensor([0]))")
    moments = cine_times or tuple(phase / protocol.phases for phase in range(protocol.phases))
    made: dict[str, Planes] = {}
    found = []
    for name in protocol.series:
        kind, description, contrast = _TABLE[name]
        if kind not in made:
            made[kind] = _planes(heart, kind, protocol, seed)
        times = moments if name.startswith("cine") else (DIASTASIS,)
        image_type = "other" if name == "localizer" else CONTRASTS[contrast]
        found.append(Series(name, description, contrast, image_type, made[kind], times, **_timing(heart, contrast)))
    return found


def _timing(heart: Heart, contrast: str) -> dict:
    """TE, TR, flip angle and preparation of a contrast, nominal, as a header tells them."""
    high = bool(heart.traits.field_t[0] > 2)
    if contrast == "cine":
        return {"flip_deg": 40.0 if high else 60.0}
    if contrast in ("lge", "lge_psir"):
        t1 = properties(heart.traits.field_t, torch.tensor([True], device=heart.device))[0][0, Tissue.MYOCARDIUM]
        null_ms = 5.0 * round(float(nulling_time(t1)) / 5)
        timing = {"echo_ms": 1.6, "repetition_ms": 5.2, "flip_deg": 25.0, "inversion_ms": (null_ms,)}
        return timing | {"sequence": "GR\\IR", "variant": "SK\\SP\\MP"}
    if contrast == "molli":
        return {"inversion_ms": MOLLI_MS, "flip_deg": 35.0, "sequence": "GR\\IR", "variant": "SS\\MP"}
    if contrast == "t2_prepared":
        return {"preparation_ms": T2_PREPARATIONS_MS, "flip_deg": 40.0, "variant": "SS\\MP"}
    return {"flip_deg": 35.0, "variant": "SS\\MP"}


def _planes(heart: Heart, kind: str, protocol: Protocol, seed: int) -> Planes:
    size = max(protocol.rows, protocol.columns)
    place = {"thickness_mm": protocol.thickness_mm, "spacing_mm": protocol.spacing_mm, "size": size}
    jitter = seed if protocol.jitter else None
    if kind in LONG_AXES:
        return long_axis(heart, kind, **place, seed=jitter)
    if kind == "localizer":
        flat = [other_plane(heart, one, **place, seed=jitter) for one in ("axial", "coronal")]
        return join([*flat, _sagittal(heart, **place)])
    if kind not in ("SAX", "three SAX"):
        return other_plane(heart, kind, **place, seed=jitter)
    stack = _short_axis(heart, protocol, jitter, **place)
    if kind == "SAX":
        return stack
    # mapping: a basal, a middle and an apical slice, equally far apart
    depth = heart.to_heart(_middles(stack)[None])[0, :, 2]
    middle = int(depth.abs().argmin())
    step = max(1, round(-0.55 * float(heart.rest_base_mm[0]) / (protocol.thickness_mm + protocol.gap_mm)))
    wanted = [middle + place * step for place in (-1, 0, 1)]
    return stack.select(torch.tensor([index for index in wanted if 0 <= index < len(stack)], device=heart.device))


def _short_axis(heart: Heart, protocol: Protocol, jitter: int | None, **place: float) -> Planes:
    """A stack whose first slice lies half a step behind the ventricles and whose last one reaches their end."""
    distance = protocol.thickness_mm + protocol.gap_mm
    first, last = _reach(heart)
    slices = protocol.slices or math.ceil((last - first) / distance) + 1
    short = slices * distance < last - first  # a stack too short for the ventricles begins in them
    middle = first + (distance if short else -distance) / 2
    lead = float(heart.rest_base_mm[0]) + protocol.thickness_mm / 2 - middle
    return sax_stack(heart, slices, gap_mm=protocol.gap_mm, lead_mm=lead, seed=jitter, **place)


def _reach(heart: Heart) -> tuple[float, float]:
    """Where the ventricles begin and end along the long axis at end diastole, mm in the heart's own frame."""
    half = -float(heart.rest_base_mm[0])
    side = torch.arange(-90.0, 91.0, 6.0, device=heart.device)
    depth = torch.arange(-half - 40, half + 30, 2.0, device=heart.device)
    grid = torch.stack(torch.meshgrid(side, side, depth, indexing="ij"), dim=-1)
    points = heart.to_patient(grid.view(1, -1, 3))
    tissue = heart.tissue(points, heart.phase(torch.zeros(1, device=heart.device)))
    label = label_of_tissue(False, heart.device)[tissue.int()].view(grid.shape[:3])
    inside = depth[((label >= 1) & (label <= 3)).any(0).any(0)]
    return float(inside.min()) - 1, float(inside.max()) + 1


def _middles(planes: Planes) -> torch.Tensor:
    """The middle of every plane, LPS mm, shape `(m, 3)`."""
    half = (planes.size - 1) / 2
    return planes.affine[:, :3, 3] + half * (planes.affine[:, :3, 0] + planes.affine[:, :3, 1])


def _sagittal(heart: Heart, thickness_mm: float, spacing_mm: float, size: int) -> Planes:
    """The sagittal plane through the heart: front on the left, head on top."""
    affine = torch.eye(4, device=heart.device)[None].clone()
    behind, down = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, -1.0])
    affine[0, :3, 0], affine[0, :3, 1] = behind * spacing_mm, down * spacing_mm
    affine[0, :3, 2] = torch.tensor([-thickness_mm, 0.0, 0.0])
    middle = heart.traits.position_mm[0]
    affine[0, :3, 3] = middle - (affine[0, :3, 0] + affine[0, :3, 1]) * (size - 1) / 2
    zero = torch.zeros(1, dtype=torch.int64, device=heart.device)
    thickness = torch.full((1,), float(thickness_mm), device=heart.device)
    return Planes(affine, zero, thickness, size, ["other"], ["sagittal"], zero)
