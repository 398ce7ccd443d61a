"""Tissues of the phantom, the label each is drawn with, and their T1, T2 and proton density."""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor


class Tissue(IntEnum):
    """What can be at a point of the phantom."""

    AIR = 0
    LUNG = 1
    FAT = 2
    MUSCLE = 3
    MARROW = 4
    BONE = 5  # cortical bone, calcium: no signal
    LIVER = 6
    SPLEEN = 7
    STOMACH = 8
    FLUID = 9  # spinal and pericardial fluid
    VESSEL = 10  # aorta, pulmonary artery, great veins
    LV_BLOOD = 11
    RV_BLOOD = 12
    LA_BLOOD = 13
    RA_BLOOD = 14
    PAPILLARY = 15  # muscle inside the cavities, drawn as cavity
    MYOCARDIUM = 16
    SCAR = 17
    NO_REFLOW = 18
    THIN_WALL = 19  # of the RV and the atria: muscle that nobody draws
    RV_TRABECULA = 20
    GUT = 21  # bowel and the stomach's wall


BLOOD = (Tissue.VESSEL, Tissue.LV_BLOOD, Tissue.RV_BLOOD, Tissue.LA_BLOOD, Tissue.RA_BLOOD)
_LABEL_OF = {
    Tissue.LV_BLOOD: 1,
    Tissue.PAPILLARY: 1,
    Tissue.MYOCARDIUM: 2,
    Tissue.RV_BLOOD: 3,
    Tissue.RV_TRABECULA: 3,
    Tissue.LA_BLOOD: 4,
    Tissue.RA_BLOOD: 5,
    Tissue.SCAR: 6,
    Tissue.NO_REFLOW: 6,
}

# Tissue -> T1 at 1.5 T, T1 at 3 T, T2 at 1.5 T, T2 at 3 T, T1 some 12 minutes after 0.15 mmol/kg of gadolinium at
# 1.5 T and 3 T (all ms), proton density (blood = 0.95).
# Native myocardium: Granitz et al., Wien Klin Wochenschr 2019;131:143 (MOLLI: 996 +- 31 ms at 1.5 T, 1184 +- 38 at
# 3 T); T2 between theirs (56 and 52) and von Knobelsdorff-Brenkenhoff et al., J Cardiovasc Magn Reson 2013;15:53, who
# like Kawel-Boehm et al., ibid. 2020;22:87, have less. Liver, spleen, marrow, fat: de Bazelaire et al., Radiology
# 2004;230:652 (3 T: liver 809 and 34, spleen 1328 and 61, marrow 586 and 49, fat 382 and 68; at 1.5 T fat is rounded).
# Muscle lies between theirs (3 T: 898 and 29) and that of Stanisz et al., Magn Reson Med 2005;54:507, which is longer.
# Blood: T2 of 96 % saturated blood up to 250 ms at 1.5 T, Wright et al., J Magn Reson Imaging 1991;1:275, and shorter
# at 3 T, Zhao et al., Magn Reson Med 2007;58:592; T1 at 3 T was 1664 ms (arterial, haematocrit 0.42) in a tube, Lu et
# al., ibid. 2004;52:679; by MOLLI in a ventricle it is longer, and chosen here. Infarct and its core: Messroghli et
# al., Radiology 2007;244:705, and Carrick et al., Eur Heart J 2016;37:1044, and JACC Cardiovasc Imaging 2015;8:779
# (1097 ms, remote myocardium 961 at 1.5 T), give the direction and order of the shift. Values after contrast are those
# of usual ECV (blood 0.58, myocardium 0.26, infarct 0.5) at that dose, rounded. Lung, stomach, bowel and all proton
# densities are chosen here.
_PROPERTIES: dict[Tissue, tuple[float, ...]] = {
    Tissue.AIR: (1000, 1000, 50, 50, 1000, 1000, 0.0),
    Tissue.LUNG: (1200, 1350, 35, 30, 500, 560, 0.20),
    Tissue.FAT: (300, 382, 70, 68, 295, 375, 0.75),
    Tissue.MUSCLE: (950, 1100, 40, 33, 560, 620, 0.75),
    Tissue.MARROW: (549, 586, 49, 49, 420, 450, 0.55),
    Tissue.BONE: (800, 800, 5, 5, 700, 700, 0.05),
    Tissue.LIVER: (586, 809, 46, 34, 370, 430, 0.75),
    Tissue.SPLEEN: (1057, 1328, 79, 61, 400, 450, 0.85),
    Tissue.STOMACH: (900, 1100, 60, 50, 880, 1080, 0.60),
    Tissue.GUT: (800, 950, 55, 48, 520, 580, 0.80),
    Tissue.FLUID: (3500, 3800, 900, 700, 1500, 1600, 1.0),
    **dict.fromkeys(BLOOD, (1550, 1850, 240, 160, 320, 360, 0.95)),
    # venous: less oxygen shortens T2 (Wright et al.; 62 ms in the jugular vein at 3 T, which has less oxygen than the
    # right heart: Qin et al., Magn Reson Med 2011;65:471)
    **dict.fromkeys((Tissue.RV_BLOOD, Tissue.RA_BLOOD), (1550, 1850, 140, 80, 320, 360, 0.95)),
    Tissue.PAPILLARY: (1000, 1180, 50, 45, 480, 530, 0.80),
    Tissue.MYOCARDIUM: (1000, 1180, 50, 45, 480, 530, 0.80),
    Tissue.SCAR: (1230, 1400, 62, 56, 290, 330, 0.85),
    Tissue.NO_REFLOW: (1050, 1220, 48, 43, 700, 780, 0.80),
    Tissue.THIN_WALL: (1000, 1180, 50, 45, 480, 530, 0.80),
    Tissue.RV_TRABECULA: (1000, 1180, 50, 45, 480, 530, 0.80),
}


def properties(field_t: Tensor, post_contrast: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """T1 in ms, T2 in ms and proton density of every tissue, each of shape `(batch, tissues)`.

    Args:
        field_t (`torch.Tensor` of shape `(batch,)`): 1.5 or 3.
        post_contrast (`torch.Tensor` of shape `(batch,)`, bool).
    """
    table = torch.tensor([_PROPERTIES[tissue] for tissue in Tissue], device=field_t.device).T
    high = (field_t > 2)[:, None]
    native = torch.where(high, table[1], table[0])
    enhanced = torch.where(high, table[5], table[4])
    t1 = torch.where(post_contrast[:, None], enhanced, native)
    t2 = torch.where(high, table[3], table[2])
    return t1, t2, table[6].expand_as(t1)


def label_of_tissue(show_scar: bool, device: torch.device | str = "cpu") -> Tensor:
    """The label id of every tissue, uint8; scar is drawn as scar where it can be seen, else as myocardium."""
    labels = torch.zeros(len(Tissue), dtype=torch.uint8, device=device)
    for tissue, label in _LABEL_OF.items():
        labels[tissue] = 2 if label == 6 and not show_scar else label
    return labels
