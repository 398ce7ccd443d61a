"""The numbers of a `results.json`, one by one, for a card's tables and for the Hub's `model-index`.

Understood is what `training/evaluate.py` and `training/embed.py` write: sections with `dataset`, `side` and `patients`
(`test`, or one named after its data set, also inside another), and in them a tree for each metric, whose leaves are
`{"mean", "sd", "n"}` (with `low` and `high` where there is an interval) or plain numbers. `control` holds the same of
another model, `training.validation` what the checkpoint was chosen by.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from huggingface_hub import EvalResult

NAMES = {
    "acdc": "ACDC",
    "emidec": "EMIDEC",
    "sunnybrook": "Sunnybrook",
    "sunnybrook-slices": "Sunnybrook",
    "mnms": "M&Ms",
    "phantoms": "phantoms",
}
NOT_MEASURED = "not measured"
OF_TRAINER = ("balanced_accuracy", "distance_mm")  # metrics of more than one word, as the trainer logs them
FACTS = ("dataset", "side", "patients", "parameters", "model", "notes", "arm", "experiment", "kind", "seed", "hardware")
DECIMALS = 4  # of a value in `model-index`; a table shows three


@dataclass(frozen=True)
class Number:
    """One measured value.

    Attributes:
        dataset (`str`): short name, "acdc" say.
        side (`str`): "test", "validation" …
        patients (`int`, *optional*): how many were measured.
        metric (`str`): "dice" say.
        of (tuple of `str`): what of: ("per volume", "RV").
        value (`float`, *optional*): None where it was not measured.
        spread (`float`, *optional*): standard deviation.
        n (`int`, *optional*): how many values the mean is of.
        low, high (`float`, *optional*): interval.
    """

    dataset: str
    side: str
    patients: int | None
    metric: str
    of: tuple[str, ...]
    value: float | None
    spread: float | None = None
    n: int | None = None
    low: float | None = None
    high: float | None = None

    @property
    def name(self) -> str:
        """ "Dice, RV, per volume"."""
        return ", ".join([metric_name(self.metric), *reversed(self.of)])

    @property
    def data(self) -> str:
        """ "ACDC, 10 patients"."""
        who = f", {self.patients} patients" if self.patients else ""
        names = dict.fromkeys(NAMES.get(name, name) for name in self.dataset.split("+"))
        return f"{', '.join(names)}{who}"

    @property
    def shown(self) -> str:
        """ "0.908 (0.04)", "0.908 (0.87 to 0.93)" or "not measured"."""
        if self.value is None:
            return NOT_MEASURED
        value = f"{self.value:.3f}"
        if self.low is not None and self.high is not None:
            return f"{value} ({self.low:.2f} to {self.high:.2f})"
        return value if self.spread is None else f"{value} ({self.spread:.2f})"


def metric_name(metric: str) -> str:
    """A metric as a reader knows it: "Dice", "Hausdorff distance 95 % (mm)"."""
    known = {
        "dice": "Dice",
        "hd95_mm": "Hausdorff distance 95 % (mm)",
        "auc": "AUC",
        "distance_mm": "distance (mm)",
        "median_distance_mm": "median distance (mm)",
    }
    return known.get(metric, metric.replace("_", " "))


def numbers(results: Mapping[str, Any]) -> list[Number]:
    """Every number measured of the model itself, tests first, then what its checkpoint was chosen by."""
    found = [number for section in _sections(results).values() for number in section]
    return found + list(_chosen_by(results.get("training")))


def notes(results: Mapping[str, Any]) -> list[str]:
    """How the sections say they were measured: "ACDC, 10 patients, test: masks of cine-sax."."""
    lines = []
    for name, found in _sections(results).items():
        remarks = results[name].get("notes")
        if remarks and found:
            apart = [_words(name)] if found[0].of[:1] == (_words(name),) else []
            lines.append(f"{', '.join([found[0].data, found[0].side, *apart])}: {'; '.join(remarks)}.")
    return lines


def _sections(results: Mapping[str, Any]) -> dict[str, list[Number]]:
    """Section -> its numbers; where another one measured the same of the same data, they name their section."""
    found = {
        name: list(_section(section, name, {}))
        for name, section in results.items()
        if name not in ("training", "control") and _is_section(section)
    }
    keys = {name: {key_of(number) for number in section} for name, section in found.items()}
    for name in found:
        if any(keys[name] & theirs for other, theirs in keys.items() if other != name):
            found[name] = [replace(number, of=(_words(name), *number.of)) for number in found[name]]
    return found


def _words(name: str) -> str:
    return name.replace("_", " ")


def controls(results: Mapping[str, Any]) -> dict[tuple, Number]:
    """The same of the model that was trained beside it, by (data set, side, metric, of)."""
    return {key_of(number): number for number in numbers(results.get("control") or {}) if number.side != "validation"}


def key_of(number: Number) -> tuple:
    """What two numbers must share to stand side by side."""
    return number.dataset, number.side, number.metric, number.of


def eval_results(found: list[Number], task_type: str, task_name: str) -> list[EvalResult]:
    """The numbers as the Hub's `model-index` holds them; what was not measured is left out.

    Args:
        found: from `numbers`.
        task_type, task_name (`str`): the Hub's name of the task, and a reader's.
    """
    return [
        EvalResult(
            task_type=task_type,
            task_name=task_name,
            dataset_type=number.dataset,
            dataset_name=number.data,
            dataset_split=number.side,
            metric_type=number.metric,
            metric_name=number.name,
            metric_value=round(number.value, DECIMALS),
            metric_args=_about(number),
        )
        for number in found
        if number.value is not None
    ]


def _about(number: Number) -> dict[str, float] | None:
    facts = {"standard_deviation": number.spread, "n": number.n, "low": number.low, "high": number.high}
    known = {name: value for name, value in facts.items() if value is not None}
    rounded = {name: round(value, DECIMALS) if isinstance(value, float) else value for name, value in known.items()}
    return rounded or None


def _is_section(value: Any) -> bool:
    return isinstance(value, Mapping) and ("patients" in value or "dataset" in value)


def _section(section: Mapping[str, Any], name: str, around: Mapping[str, Any]) -> Iterator[Number]:
    facts = {
        "dataset": str(section.get("dataset") or (name if name != "test" else around.get("dataset", name))),
        "side": str(section.get("side") or around.get("side") or "test"),
        "patients": section.get("patients") if isinstance(section.get("patients"), int) else None,
    }
    inner = {key: value for key, value in section.items() if key not in FACTS}
    for metric, tree in inner.items():
        if not _is_section(tree):
            for of, leaf in _leaves(tree, ()):
                yield Number(**facts, metric=metric, of=of, **leaf)
    for key, value in inner.items():
        if _is_section(value):
            yield from _section(value, key, facts)


def _leaves(tree: Any, of: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    if isinstance(tree, Mapping) and ("mean" in tree or "value" in tree):
        value = tree.get("mean", tree.get("value"))
        count = tree.get("n")
        leaf = {
            "value": _float(value),
            "spread": _float(tree.get("sd")),
            "n": count if isinstance(count, int) else None,
        }
        yield of, leaf | {"low": _float(tree.get("low")), "high": _float(tree.get("high"))}
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, (*of, str(key).replace("_", " ")))
    elif tree is None or (isinstance(tree, (int, float)) and not isinstance(tree, bool)):
        yield of, {"value": _float(tree)}


def _float(value: Any) -> float | None:
    """None for what is not there and for NaN, which is no measurement."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None


def _chosen_by(training: Any) -> Iterator[Number]:
    """`eval_dice_per_volume_RV` and its like of the trainer."""
    validation = training.get("validation") if isinstance(training, Mapping) else None
    recipe = training.get("recipe", {}) if isinstance(training, Mapping) else {}
    for key, value in (validation or {}).items():
        words = key.removeprefix("eval_")
        if key == words or words in ("runtime", "samples_per_second", "steps_per_second", "loss"):
            continue
        metric = next((name for name in OF_TRAINER if words.startswith(name)), words.partition("_")[0])
        rest = words.removeprefix(metric).strip("_")
        levels = ("per_slice", "per_volume", "per_patient")
        level = next((name for name in levels if rest.startswith(name)), "")
        structure = rest.removeprefix(level).strip("_").replace("_", " ")
        of = tuple(part for part in (level.replace("_", " "), structure) if part)
        # one number for several structures is what the checkpoint was chosen by
        yield Number(
            str(recipe.get("dataset", "validation")), "validation", None, metric, of or ("mean",), _float(value)
        )
