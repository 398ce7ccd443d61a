"""What phantoms are called, and who they might be: sex, age, size, weight, heart rate."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from .anatomy import Heart
from .population import DISEASES

_NAME = re.compile(r"PHANTOM-([A-Z]+)-(\d{6,})")


def pseudonym(disease: str, seed: int) -> str:
    """The name of the heart of `Heart.draw([disease], seed)`, which says both."""
    return f"PHANTOM-{disease}-{seed:06d}"


def disease_and_seed(patient: str) -> tuple[str, int]:
    """What `pseudonym` was given.

    Raises:
        ValueError: `patient` is no such name.
    """
    match = _NAME.fullmatch(patient)
    if match is None or match[1] not in DISEASES:
        raise ValueError(
            f"`patient` needs a name like {pseudonym('NORM', 7)} with a disease of {DISEASES}, got {patient!r}: "
            "make it with pseudonym(disease, seed)"
        )
    return match[1], int(match[2])


@dataclass(frozen=True)
class Person:
    """What a header tells of a phantom; drawn to fit the chest that its pictures show.

    Attributes:
        patient (`str`): pseudonym, "PHANTOM-MINF-000003".
        sex (`str`): "M" or "F".
        age_years (`int`); height_m, weight_kg (`float`).
        cycle_ms (`float`): from one heart beat to the next.
        field_t (`float`): 1.5 or 3.
        study (`str`): what tells this study from others of the same person.
    """

    patient: str
    sex: str
    age_years: int
    height_m: float
    weight_kg: float
    cycle_ms: float
    field_t: float
    study: str = ""

    @classmethod
    def of(cls, heart: Heart, seed: int, study: str = "") -> Person:
        """The person of one heart, the same for the same seed."""
        patient = pseudonym(heart.diseases[0], seed)
        rng = np.random.default_rng([seed, 2])
        half_width, half_depth = heart.traits.chest_mm[0].tolist()
        man = half_width + half_depth > 272
        height = float(np.clip(rng.normal(1.77 if man else 1.64, 0.06), 1.45, 2.0))
        trunk_cm2 = 3.3 * half_width * half_depth / 100
        return cls(
            patient,
            "M" if man else "F",
            int(rng.integers(25, 80)),
            round(height, 2),
            round(trunk_cm2 * height * 0.072, 1),
            round(float(rng.uniform(700, 1100)), 1),
            float(heart.traits.field_t[0]),
            study,
        )
