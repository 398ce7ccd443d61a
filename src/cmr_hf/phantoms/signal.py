"""What each tissue looks like: signal equations of the sequences, all tensors of one shape or broadcastable.

Times are in ms, angles in degrees, proton density relative to water.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .tissues import BLOOD, Tissue, properties

# contrast -> image type of `cmr_hf.data.IMAGE_TYPES`
CONTRASTS = {
    "cine": "cine",
    "lge": "LGE",
    "lge_psir": "LGE",
    "t1_native": "T1",
    "t1_post": "T1",
    "molli": "T1",
    "t2_map": "T2",
    "t2_prepared": "T2",
    "black_blood": "other",
    "gradient_echo": "other",
}
MAPS = ("t1_native", "t1_post", "t2_map")
BALANCED = ("cine", "molli", "t2_prepared")
SIGNED = ("lge_psir",)
POST_CONTRAST = ("lge", "lge_psir", "t1_post")
SHOWS_SCAR = ("lge", "lge_psir")


def bssfp(t1: Tensor, t2: Tensor, density: Tensor, flip: Tensor | float, repetition: float = 3.0) -> Tensor:
    """Steady state of balanced SSFP on resonance, echo at TR / 2 (Freeman and Hill, J Magn Reson 1971;4:366)."""
    angle = torch.deg2rad(torch.as_tensor(flip, dtype=t1.dtype, device=t1.device))
    e1, e2 = torch.exp(-repetition / t1), torch.exp(-repetition / t2)
    steady = angle.sin() * (1 - e1) / (1 - (e1 - e2) * angle.cos() - e1 * e2)
    return density * steady * e2.sqrt()


def transfer(device: torch.device | str = "cpu") -> Tensor:
    """What magnetisation transfer leaves of balanced SSFP's signal of each tissue, shape `(tissues,)`: tissues with
    many bound protons are darker than T1 and T2 tell (Bieri and Scheffler, Magn Reson Med 2006;56:1067, name the
    effect; the factors are chosen here, so that liver is about as bright as the heart's muscle)."""
    left = torch.ones(len(Tissue), device=device)
    left[Tissue.LIVER], left[Tissue.MUSCLE], left[Tissue.SPLEEN], left[Tissue.GUT] = 0.66, 0.72, 0.75, 0.85
    return left


def spoiled(t1: Tensor, density: Tensor, flip: float, repetition: float) -> Tensor:
    """Steady state of a spoiled gradient echo (Ernst and Anderson 1966), short echo time."""
    angle = torch.deg2rad(torch.tensor(flip, device=t1.device))
    e1 = torch.exp(-repetition / t1)
    return density * angle.sin() * (1 - e1) / (1 - e1 * angle.cos())


def inversion_recovery(t1: Tensor, density: Tensor, inversion: Tensor, repetition: float = 1600.0) -> Tensor:
    """Signed magnetisation at an inversion time, with one inversion every `repetition` (two beats)."""
    return density * (1 - 2 * torch.exp(-inversion / t1) + torch.exp(-repetition / t1))


def nulling_time(t1: Tensor, repetition: float = 1600.0) -> Tensor:
    """The inversion time at which `inversion_recovery` is 0 for this T1."""
    return t1 * (2 / (1 + torch.exp(-repetition / t1))).log()


def t2_prepared(t2: Tensor, density: Tensor, preparation: float) -> Tensor:
    """Magnetisation after a T2 preparation of this length, read at once."""
    return density * torch.exp(-preparation / t2)


def look_locker(t1: Tensor, steady: Tensor, density: Tensor, inversion: Tensor) -> Tensor:
    """Signed MOLLI signal while it is read: relaxes to `steady` with T1* = T1 · steady / density
    (Deichmann and Haase, J Magn Reson 1992;96:608; Messroghli et al., Magn Reson Med 2004;52:141)."""
    apparent = t1 * (steady / density.clamp(min=1e-6)).clamp(0.05, 1)
    return steady - (density + steady) * torch.exp(-inversion / apparent)


def signal_table(contrast: str, field_t: Tensor, variation: Tensor) -> Tensor:
    """Signal of every tissue, or its T1 or T2 in ms for a map, shape `(batch, tissues)`.

    Args:
        contrast (`str`): of `CONTRASTS`.
        field_t (`torch.Tensor` of shape `(batch,)`): 1.5 or 3.
        variation (`torch.Tensor` of shape `(batch, 5)`, 0 … 1): how much inflow there is; how far the inversion time
            misses the null (half is exact, more is late, which pales muscle); the choice of flip angle and
            preparation; how much of the signal of late enhancement is there whatever the inversion did (0 none); how
            much of the contrast agent has left the blood since T1 was as tabled (0 none, 1 a fifth).

    Raises:
        ValueError: for a contrast that is not known.
    """
    if contrast not in CONTRASTS:
        raise ValueError(f"`contrast` needs one of {tuple(CONTRASTS)}, got {contrast!r}: name the one to render")
    post = torch.full_like(field_t, contrast in POST_CONTRAST, dtype=torch.bool)
    t1, t2, density = properties(field_t, post)
    inflow, miss, choice, rest, washed = (variation[:, k : k + 1] for k in range(5))
    high = (field_t > 2)[:, None]
    blood = torch.zeros(len(Tissue), device=t1.device)
    blood[list(BLOOD)] = 1
    if contrast in ("t1_native", "t1_post"):
        return t1
    if contrast == "t2_map":
        return t2
    if contrast == "cine":
        flip = torch.where(high, 35 + 10 * choice, 50 + 20 * choice)
        # blood that has not seen the pulses comes in with more magnetisation, blood that swirls loses some
        return bssfp(t1, t2, density, flip) * transfer(t1.device) * (1 + blood * (0.85 * inflow - 0.25))
    if contrast in ("lge", "lge_psir"):
        native = properties(field_t, torch.zeros_like(post))[0]
        t1 = torch.where(blood > 0, 1 / (1 / t1 - 0.22 * washed * (1 / t1 - 1 / native)), t1)
        null = nulling_time(t1[:, Tissue.MYOCARDIUM : Tissue.MYOCARDIUM + 1])
        signed = (
            inversion_recovery(t1, density, null * (0.9 + 0.2 * miss + 1.2 * (miss - 0.5).clamp(min=0)))
            + 0.9 * rest * density
        ) * transfer(t1.device).sqrt()  # the read-out, a gradient echo or balanced, has less of it
        if contrast == "lge":
            return signed.abs()
        # a phase-sensitive picture is divided by its reference, which evens much of the density out: lung is grey
        return signed * density.clamp(min=0.05).pow(-0.8)
    if contrast == "molli":
        steady = (4.0 * bssfp(t1, t2, density, 35.0)).minimum(0.9 * density)
        return look_locker(t1, steady, density, 100 + 3400 * choice.square()).abs()
    if contrast == "t2_prepared":
        return density * torch.exp(-55 * choice / t2) * (1 + 0.15 * blood * inflow)
    if contrast == "gradient_echo":
        return spoiled(t1, density, 15.0, 5.0) * (1 + blood * (1.0 + 1.5 * inflow))
    dark = density * (1 - torch.exp(-900 / t1)) * torch.exp(-(20 + 40 * choice) / t2)  # black-blood spin echo
    return dark * (1 - blood * (0.9 - 0.2 * inflow))
