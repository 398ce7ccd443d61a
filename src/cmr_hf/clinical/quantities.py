"""One measured figure: its value and how sure it is, or the reason why there is none. Never a silent NaN or 0.

The uncertainty of a figure is kept as its *parts*: one signed standard deviation for each source of error ("lv
endocardial border", "base at ED" …). Parts of one name are one error, so they add up with their signs when figures are
combined; parts of different names are independent and add up as squares. A border drawn too wide enlarges EDV and ESV
alike, and so hardly moves their difference: that is what the signs are for.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Z_95 = 1.96  # standard deviations of a normal distribution that hold 95 %
STEP = 1e-4  # of a value, for the derivative
BORDER_PIXELS = 0.25  # standard deviation of where a whole outline lies: ± half a pixel with 95 %


@dataclass(frozen=True)
class Measure:
    """A figure or its refusal.

    Attributes:
        value (`float`, *optional*): `None` where it cannot be known; then `reason` says why.
        unit (`str`): "ml", "%", "g", "mm", "ms" …; empty for a pure number.
        sd (`float`, *optional*): standard deviation of the error, in `unit`; `None` where it is unknown.
        interval (two `float`, *optional*): within which the truth lies with 95 %, cut to what is possible.
        reason (`str`): why there is no value.
        method (`str`): how it was measured.
        source (`str`): of what: a series, a phase, a slice.
        parts (mapping of `str` to `float`): signed standard deviation of each source of error, in `unit`.
        notes (`tuple` of `str`): what a reader of this figure should know.

    Raises:
        ValueError: a value without sense, a refusal without a reason, or both at once.
    """

    value: float | None
    unit: str
    sd: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""
    method: str = ""
    source: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.value is None:
            if not self.reason:
                raise ValueError("`reason` needs a text where `value` is None, got none: say why it is refused")
            if self.sd is not None or self.interval is not None:
                raise ValueError("`sd` and `interval` need to be None where `value` is None: a refusal has none")
            return
        if self.reason:
            raise ValueError(f"`reason` needs to be empty beside a value, got {self.reason!r}: put it into notes=")
        if not math.isfinite(self.value):
            raise ValueError(f"`value` needs a finite number, got {self.value}: use Measure.refused(unit, reason)")
        if self.sd is not None and not (math.isfinite(self.sd) and self.sd >= 0):
            raise ValueError(f"`sd` needs a finite number of at least 0, got {self.sd}: pass None if it is unknown")
        if self.interval is not None and not self.interval[0] <= self.value <= self.interval[1]:
            raise ValueError(f"`interval` needs to hold the value {self.value}, got {self.interval}: put it in order")

    def __bool__(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    @classmethod
    def of(
        cls,
        value: float,
        unit: str,
        parts: Mapping[str, float] | None = None,
        *,
        least: float = -math.inf,
        most: float = math.inf,
        **about: Any,
    ) -> "Measure":
        """A value with the standard deviation and the 95 % interval that its parts give.

        Args:
            value (`float`): in `unit`.
            parts (mapping of `str` to `float`, *optional*): signed standard deviations; without any, `sd` is `None`.
            least, most (`float`): what is possible; the interval is cut there.
            about: `method`, `source`, `notes`.
        """
        value = float(value)
        parts = {name: float(part) for name, part in (parts or {}).items() if part}
        if not parts:
            return cls(value, unit, **about)
        sd = math.sqrt(sum(part**2 for part in parts.values()))
        low, high = max(value - Z_95 * sd, min(least, value)), min(value + Z_95 * sd, max(most, value))
        return cls(value, unit, sd, (low, high), parts=parts, **about)

    @classmethod
    def refused(cls, unit: str, reason: str, **about: Any) -> "Measure":
        """No figure, and why."""
        return cls(None, unit, reason=reason, **about)

    def noted(self, *notes: str) -> "Measure":
        """The same with further notes."""
        return replace(self, notes=self.notes + notes) if notes else self

    def text(self, decimals: int = 0) -> str:
        """For people: "58 % (54 to 62)" or "refused: one slice is not a volume"."""
        if self.value is None:
            return f"refused: {self.reason}"
        shown = f"{self.value:.{decimals}f} {self.unit}".strip()
        if self.interval is None:
            return shown
        return f"{shown} ({self.interval[0]:.{decimals}f} to {self.interval[1]:.{decimals}f})"

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; what is empty is left out, but `value` and `unit` are always there."""
        made: dict[str, Any] = {"value": _short(self.value), "unit": self.unit}
        if self.value is None:
            made["reason"] = self.reason
        if self.sd is not None:
            made["sd"] = _short(self.sd)
        if self.interval is not None:
            made["interval_95"] = [_short(one) for one in self.interval]
        if self.parts:
            made["sd_parts"] = {name: _short(part) for name, part in self.parts.items()}
        for name in ("method", "source"):
            if getattr(self, name):
                made[name] = getattr(self, name)
        if self.notes:
            made["notes"] = list(self.notes)
        return made


def combine(
    function: Callable[..., float],
    unit: str,
    measures: Mapping[str, Measure],
    *,
    least: float = -math.inf,
    most: float = math.inf,
    **about: Any,
) -> Measure:
    """A figure computed of others, its error by first-order propagation of their parts.

    Args:
        function: of one `float` for each of `measures`, by its name.
        unit (`str`): of the result.
        measures (mapping of `str` to `Measure`): the arguments. If one is refused, so is the result, and says which.
        least, most (`float`): what is possible.
        about: `method`, `source`, `notes`.
    """
    missing = [f"{name}: {one.reason}" for name, one in measures.items() if not one]
    if missing:
        return Measure.refused(unit, "; ".join(dict.fromkeys(missing)), **about)
    values = {name: one.value for name, one in measures.items()}
    parts: dict[str, float] = {}
    for name, one in measures.items():
        step = STEP * max(abs(one.value), 1e-3)
        slope = (
            (function(**values | {name: one.value + step}) - function(**values | {name: one.value - step})) / step / 2
        )
        for source, part in one.parts.items():
            parts[source] = parts.get(source, 0.0) + slope * part
    notes = tuple(dict.fromkeys(note for one in measures.values() for note in one.notes))
    about["notes"] = tuple(dict.fromkeys(notes + tuple(about.get("notes", ()))))
    return Measure.of(function(**values), unit, parts, least=least, most=most, **about)


def _short(value: float | None) -> float | None:
    """Six significant digits: more would be noise."""
    return None if value is None else float(f"{value:.6g}")
