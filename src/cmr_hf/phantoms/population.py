"""Who the phantoms are: volumes, masses, poses and scars drawn from published distributions.

Volumes, ejection fractions and masses of healthy women and men: Petersen et al., J Cardiovasc Magn Reson 2017;19:18
(UK Biobank, 804 healthy people of 45 to 74 years, bSSFP, papillary muscles counted as cavity). The disease groups
follow the definitions of Bernard et al., IEEE Trans Med Imaging 2018;37:2514 (DCM: EF < 40 % in a dilated ventricle;
HCM: a wall >= 15 mm with a normal EF; MINF: EF < 40 % with regional akinesia; RV: a dilated or failing right
ventricle); within them means and spreads are chosen here. Masses, but for HCM, are a fifth above those of Petersen et
al.: at theirs, walls were a quarter thinner than those that ACDC's readers drew (training patients).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .deformation import PARAMETERS

DISEASES = ("NORM", "DCM", "HCM", "RV", "MINF")
DENSITY_G_PER_ML = 1.05
_Draw = Callable[[float, float], Tensor]

# disease -> quantity -> (mean of men, SD, mean of women, SD, lowest, highest)
_Spread = tuple[float, float, float, float, float, float]
_NORMAL: dict[str, _Spread] = {
    "edv_ml": (166, 32, 124, 21, 80, 240),
    "ef": (0.58, 0.05, 0.61, 0.05, 0.50, 0.72),
    "mass_g": (124, 24, 86, 16, 60, 185),
    "rv_edv_ml": (182, 36, 130, 24, 80, 220),
    "rv_ef": (0.54, 0.06, 0.58, 0.06, 0.45, 0.72),
    "sphericity": (1.72, 0.07, 1.72, 0.07, 1.5, 1.9),
}
_DISEASED: dict[str, dict[str, _Spread]] = {
    "NORM": {},
    "DCM": {
        "edv_ml": (270, 45, 225, 35, 190, 400),
        "ef": (0.26, 0.08, 0.26, 0.08, 0.10, 0.39),
        "mass_g": (170, 31, 132, 25, 95, 260),
        "rv_ef": (0.42, 0.10, 0.42, 0.10, 0.20, 0.60),
        "sphericity": (1.55, 0.07, 1.55, 0.07, 1.4, 1.7),
    },
    "HCM": {
        "edv_ml": (150, 28, 118, 20, 75, 220),
        "ef": (0.70, 0.08, 0.70, 0.08, 0.56, 0.88),
        "mass_g": (195, 55, 150, 38, 115, 360),
    },
    "RV": {
        "edv_ml": (145, 28, 112, 20, 70, 210),
        "rv_edv_ml": (265, 45, 220, 35, 200, 380),
        "rv_ef": (0.36, 0.08, 0.36, 0.08, 0.18, 0.50),
    },
    "MINF": {
        "edv_ml": (215, 45, 175, 35, 120, 330),
        "ef": (0.30, 0.06, 0.30, 0.06, 0.15, 0.39),
        "mass_g": (143, 28, 106, 20, 80, 230),
    },
}
# Centre of a coronary territory: angle round the ventricle (0 septal, 90 inferior, -90 anterior; degrees), height
# (0 base, 1 apex) and its half height; after Cerqueira et al., Circulation 2002;105:539.
_TERRITORIES = ((-50.0, 0.62, 0.34), (75.0, 0.38, 0.32), (165.0, 0.42, 0.32))  # LAD, RCA, LCX


@dataclass
class Traits:
    """What is drawn of each person; every field is a tensor of shape `(batch,)` unless said otherwise.

    `regional_*` describe one region of the wall (an infarct, or a fibrosed stripe), `depth_*` its scar as fractions of
    the wall, 0 endocardium and 1 epicardium. Angles are in radians, lengths in mm, volumes in ml.
    """

    disease: Tensor  # index into DISEASES
    edv_ml: Tensor
    ef: Tensor
    mass_g: Tensor
    rv_edv_ml: Tensor
    rv_ef: Tensor
    sphericity: Tensor  # length of the cavity over the cube root of its volume
    ellipticity: Tensor
    septal_flattening: Tensor
    asymmetry: Tensor  # extra thickness of the septum, a fraction of the mean wall
    asymmetry_angle: Tensor
    thinning: Tensor
    akinesia: Tensor  # 1: the region does not move
    regional_angle: Tensor
    regional_height: Tensor
    regional_extent: Tensor
    has_scar: Tensor  # bool
    depth_low: Tensor
    depth_high: Tensor
    no_reflow: Tensor  # bool
    rv_angle: Tensor
    rv_width: Tensor
    es_time: Tensor  # end systole, a fraction of the cycle
    position_mm: Tensor  # (batch, 3): centre of the left ventricle in the chest, LPS
    rotation: Tensor  # (batch, 3, 3): columns are the heart's septal, inferior and apical axes in LPS
    chest_mm: Tensor  # (batch, 2): half width and half depth of the body
    fat_mm: Tensor  # under the skin
    field_t: Tensor  # 1.5 or 3
    texture: Tensor  # (batch, 8): phases in radians of the irregularities
    shape: Tensor  # (batch, 24), each -1 … 1: how the heart is bent, `Deformation`
    habitus: Tensor  # (batch, 8), each -1 … 1: how organs and fat lie round it

    def to(self, device: torch.device | str) -> Traits:
        """The same people on another device."""
        return Traits(**{one.name: getattr(self, one.name).to(device) for one in fields(self)})

    def select(self, index: Tensor) -> Traits:
        """The people at the positions of `index`, in that order, repeats allowed."""
        return Traits(**{one.name: getattr(self, one.name)[index] for one in fields(self)})


def draw_traits(diseases: Sequence[str], seed: int) -> Traits:
    """One person for each entry of `diseases`; the same seed gives the same people on every device.

    Raises:
        ValueError: for a disease that is not one of `DISEASES`.
    """
    strange = sorted(set(diseases) - set(DISEASES))
    if strange or not len(diseases):
        raise ValueError(f"`diseases` needs names of {DISEASES}, got {strange or 'none'}: name one for each phantom")
    generator = torch.Generator().manual_seed(seed)
    count = len(diseases)

    def normal(mean: float | Tensor, deviation: float | Tensor) -> Tensor:
        return mean + deviation * torch.randn(count, generator=generator).clamp(-2.5, 2.5)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    man = uniform(0, 1) < 0.55
    index = torch.tensor([DISEASES.index(name) for name in diseases])
    is_a = {name: index == DISEASES.index(name) for name in DISEASES}
    drawn: dict[str, Tensor] = {}
    for quantity in _NORMAL:
        rows = torch.tensor([_DISEASED[name].get(quantity, _NORMAL[quantity]) for name in diseases])
        mean, deviation = (torch.where(man, rows[:, k], rows[:, 2 + k]) for k in (0, 1))
        drawn[quantity] = normal(mean, deviation).clamp(rows[:, 4], rows[:, 5])
    # both ventricles pump the same blood, but for a little regurgitation: keep the right one near the left one's
    healthy = is_a["NORM"] | is_a["HCM"]
    paired = drawn["edv_ml"] * drawn["ef"] / drawn["rv_ef"] * uniform(0.95, 1.1)
    # and walls fit their cavities
    fitting = 0.5 * drawn["mass_g"] + 0.36 * drawn["edv_ml"]
    drawn["mass_g"] = torch.where(is_a["NORM"] | is_a["RV"], fitting, drawn["mass_g"])
    drawn["rv_edv_ml"] = torch.where(healthy, paired.clamp(75, 260), drawn["rv_edv_ml"])

    drawn |= _regional(is_a, uniform, normal)
    zero = torch.zeros(count)
    return Traits(
        disease=index,
        ellipticity=uniform(-0.06, 0.06),
        septal_flattening=torch.where(is_a["RV"], uniform(0.1, 0.4), zero),
        asymmetry=torch.where(is_a["HCM"], uniform(1.0, 1.9), uniform(0, 0.15)),
        asymmetry_angle=normal(-0.35, 0.35),
        rv_angle=normal(0.0, 0.08),
        rv_width=torch.where(is_a["RV"], uniform(0.98, 1.3), uniform(0.82, 1.12)),
        es_time=uniform(0.3, 0.42),
        position_mm=torch.stack([normal(26.0, 5.0), normal(-18.0, 5.0), normal(0.0, 6.0)], dim=1),
        rotation=_pose(normal),
        chest_mm=torch.stack([normal(158.0, 10.0) + 8 * man, normal(110.0, 7.0) + 5 * man], dim=1),
        fat_mm=uniform(8, 28),
        field_t=torch.where(uniform(0, 1) < 0.7, 1.5, 3.0),
        texture=2 * torch.pi * torch.rand(count, 8, generator=generator),
        shape=2 * torch.rand(count, PARAMETERS, generator=generator) - 1,
        habitus=2 * torch.rand(count, 8, generator=generator) - 1,
        **drawn,
    )


def _regional(is_a: dict[str, Tensor], uniform: _Draw, normal: _Draw) -> dict[str, Tensor]:
    """The region of the wall that is an infarct (MINF) or a stripe of fibrosis (some HCM and DCM)."""
    infarct = is_a["MINF"]
    rows = torch.tensor(_TERRITORIES)[(uniform(0, 3)).long().clamp(0, 2)]
    septal = torch.where(uniform(0, 1) < 0.5, -0.8, 0.8) + normal(0.0, 0.1)  # near an insertion of the RV
    stripe = (is_a["HCM"] & (uniform(0, 1) < 0.6)) | (is_a["DCM"] & (uniform(0, 1) < 0.3))
    transmural = uniform(0.3, 1.0)
    zero = torch.zeros_like(transmural)
    return {
        "thinning": torch.where(infarct, uniform(0.1, 0.5) * transmural, zero),
        "akinesia": torch.where(infarct, uniform(0.6, 1.0), zero),
        "regional_angle": torch.where(infarct, torch.deg2rad(rows[:, 0]) + normal(0.0, 0.2), septal),
        "regional_height": torch.where(infarct, rows[:, 1] + normal(0.0, 0.06), uniform(0.15, 0.5)),
        "regional_extent": torch.where(infarct, rows[:, 2] * uniform(0.75, 1.25), uniform(0.2, 0.35)),
        "has_scar": infarct | stripe,
        "depth_low": torch.where(infarct, zero, uniform(0.25, 0.4)),
        "depth_high": torch.where(infarct, transmural.clamp(max=0.98), uniform(0.6, 0.75)),
        "no_reflow": infarct & (transmural > 0.6) & (uniform(0, 1) < 0.5),
    }


def _pose(normal: _Draw) -> Tensor:
    """Axes of the heart in LPS: the apex points left, forward and down, the septum looks right and forward."""
    apical = torch.stack([normal(0.65, 0.08), normal(-0.60, 0.07), normal(-0.45, 0.11)], dim=1)
    apical = apical / apical.norm(dim=1, keepdim=True)
    septal = torch.stack([normal(-0.62, 0.06), normal(-0.74, 0.06), normal(0.10, 0.08)], dim=1)
    septal = septal - (septal * apical).sum(1, keepdim=True) * apical
    septal = septal / septal.norm(dim=1, keepdim=True)
    # the right ventricle lies on the diaphragm
    turn = normal(0.32, 0.14)[:, None]
    septal = septal * turn.cos() + torch.linalg.cross(apical, septal) * turn.sin()
    inferior = torch.linalg.cross(apical, septal)
    return torch.stack([septal, inferior, apical], dim=2)
