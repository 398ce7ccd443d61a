"""What indexing needs to know of a patient: height, weight, sex, age. Kept apart, shown by nothing, no identity."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from ..hub.dicom_tags_cmr import number, text

_AGE = re.compile(r"(\d{1,3})([YMWD])")
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
OLDEST = 90.0  # a higher age can point to a person: it is given as this


@dataclass(frozen=True, repr=False)
class PatientFacts:
    """Facts for indexing; `repr` shows none of them.

    Attributes:
        height_m, weight_kg (`float`, *optional*): None when absent or impossible.
        sex (`str`, *optional*): "M", "F" or "O".
        age_years (`float`, *optional*): at most 90.
    """

    height_m: float | None = None
    weight_kg: float | None = None
    sex: str | None = None
    age_years: float | None = None

    def __repr__(self) -> str:
        return "PatientFacts(not shown)"


def patient_facts(dataset: Any) -> PatientFacts:
    """Facts of one header; a height in cm is told by its size."""
    height, weight = number(dataset, "PatientSize"), number(dataset, "PatientWeight")
    if height is not None and 100 <= height <= 250:
        height /= 100
    match = _AGE.fullmatch(text(dataset, "PatientAge").strip())
    age = min(int(match[1]) * _YEARS[match[2]], OLDEST) if match else None
    sex = text(dataset, "PatientSex").strip().upper()
    return PatientFacts(
        height_m=height if height is not None and 0.3 <= height <= 2.5 else None,
        weight_kg=weight if weight is not None and 1 <= weight <= 400 else None,
        sex=sex if sex in ("M", "F", "O") else None,
        age_years=age,
    )


def agreed_facts(found: Iterable[PatientFacts]) -> tuple[PatientFacts, list[str]]:
    """What most files of a study say, and which facts they do not agree on (their names only)."""
    every = list(found)
    agreed, notes = {}, []
    for one in fields(PatientFacts):
        counts = Counter(value for facts in every if (value := getattr(facts, one.name)) is not None)
        agreed[one.name] = min(counts, key=lambda value: (-counts[value], str(value))) if counts else None
        if len(counts) > 1:
            notes.append(f"files disagree on the patient's {one.name.split('_')[0]}: what most of them say is taken")
    return PatientFacts(**agreed), notes
