"""Published normal ranges beside a measured figure, each with its source.

Only numbers that were looked up are in `normal_ranges.json`, and how is written beside each. Where a paper gives mean
and standard deviation, the limits are mean ± 1.96 SD. Ranges are of healthy adults and of one way to draw: this
package, as the public data it learns from, counts papillary muscles as cavity.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from .quantities import Z_95, Measure

SEXES = ("male", "female")
ADULT_YEARS = 18


@dataclass(frozen=True)
class NormalRange:
    """One published range.

    Attributes:
        figure (`str`): name of the measure, such as "lv_edv_index".
        sex (`str`): "male", "female" or "any".
        low, high (`float`, *optional*): limits; `None` where only the other was published.
        unit (`str`)
        source (`str`): key of `sources()`.
        citation (`str`)
        people (`str`): who was measured, and how.
        checked (`str`): in what the numbers were looked up.
        mean, sd (`float`, *optional*): as published.
        field_t (`float`, *optional*): field strength it holds for.
        warnings (`tuple` of `str`): what a reader should know before comparing.
    """

    figure: str
    sex: str
    low: float | None
    high: float | None
    unit: str
    source: str
    citation: str
    people: str
    checked: str
    mean: float | None = None
    sd: float | None = None
    field_t: float | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; what is empty is left out."""
        made = {name: value for name, value in vars(self).items() if value not in (None, ())}
        return made | ({"warnings": list(self.warnings)} if self.warnings else {})


@cache
def _table() -> dict[str, Any]:
    text = files(__package__).joinpath("normal_ranges.json").read_text(encoding="utf-8")
    return json.loads(text)


def sources() -> dict[str, dict[str, str]]:
    """Source key → citation, DOI or address, and who was measured."""
    return {key: dict(one) for key, one in _table()["sources"].items()}


def normal_ranges(
    figure: str, sex: str | None = None, field_t: float | None = None, age_years: float | None = None
) -> list[NormalRange]:
    """Every published range of a figure that fits a person, the preferred one first; empty where there is none.

    Args:
        figure (`str`): name of a measure: "lv_ef", "lv_edv_index", "la_area_max", "t1_native", "t2", "ecv" …
        sex (`str`, *optional*): "male" or "female"; without it only ranges of both.
        field_t (`float`, *optional*): field strength; T1, T2 and ECV have no range without it.
        age_years (`float`, *optional*): children have none here.

    Raises:
        ValueError: another word for the sex.
    """
    if sex is not None and sex not in SEXES:
        raise ValueError(f"`sex` needs one of {SEXES} or None, got {sex!r}: DICOM's M is male, F female")
    if age_years is not None and age_years < ADULT_YEARS:
        return []
    found = []
    for one in _table()["ranges"]:
        if one["figure"] != figure or one["sex"] not in ("any", sex):
            continue
        if "field_t" in one and (field_t is None or abs(one["field_t"] - field_t) > 0.3):
            continue
        found.append(_made(one))
    return found


def compared(measure: Measure, normal: NormalRange) -> str:
    """Where a figure lies: "below", "within" or "above"; with "borderline" before it if its interval holds a limit.

    Raises:
        ValueError: the units differ, or the figure was refused.
    """
    if not measure:
        raise ValueError(f"`measure` needs a value to compare, got a refusal ({measure.reason}): ask before comparing")
    if measure.unit != normal.unit:
        raise ValueError(f"`measure` needs the unit {normal.unit!r} of the range, got {measure.unit!r}: convert it")
    if normal.low is not None and measure.value < normal.low:
        place = "below"
    elif normal.high is not None and measure.value > normal.high:
        place = "above"
    else:
        place = "within"
    limits = [one for one in (normal.low, normal.high) if one is not None]
    unsure = measure.interval is not None and any(measure.interval[0] <= one <= measure.interval[1] for one in limits)
    return f"borderline {place}" if unsure else place


def _made(one: dict[str, Any]) -> NormalRange:
    table = _table()
    source = table["sources"][one["source"]]
    low, high = one.get("low"), one.get("high")
    if "mean" in one:
        low, high = one["mean"] - Z_95 * one["sd"], one["mean"] + Z_95 * one["sd"]
    warnings = [one["note"]] if "note" in one else []
    warnings += [table["local"]] if one.get("local") else []
    if "LV mass" in source["people"] and one["figure"].startswith("lv"):
        warnings.append("papillary muscles were counted as mass there, here as cavity")
    return NormalRange(
        one["figure"],
        one["sex"],
        None if low is None else round(low, 1),
        None if high is None else round(high, 1),
        one["unit"],
        one["source"],
        source["citation"],
        source["people"],
        one["checked"],
        one.get("mean"),
        one.get("sd"),
        one.get("field_t"),
        tuple(warnings),
    )
