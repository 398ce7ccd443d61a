"""What people must say about a model because no file can: what it is for, its data, its limits. `card.toml` holds it.

    summary = "LV cavity, myocardium and RV on short-axis cine MR."
    intended = ["Research on …"]
    out_of_scope = ["Diagnosis …"]
    limits = ["One hospital …"]
    bias = ["…"]
    not_measured = ["by sex …"]
    how_measured = "Dice; a class absent from …"
    licence = "CC BY-NC-SA 4.0, because ACDC is."

    [[data]]
    name = "ACDC"
    id = "acdc"            # as results.json and the Hub name it
    use = "trained on"     # or "measured on", "chosen on"
    licence = "CC BY-NC-SA 4.0"
    split = "by patient, `splits.json`"
    citation = "Bernard et al. 2018, doi:10.1109/TMI.2018.2837502"

Measured numbers do not belong here: they are read from `results.json`.
"""

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

FILE = "card.toml"


@dataclass(frozen=True)
class Data:
    """A set of data and what it was used for."""

    name: str
    use: str
    id: str = ""
    licence: str = "not stated"
    split: str = "not stated"
    citation: str = ""


@dataclass(frozen=True)
class Words:
    """What `card.toml` says; what is left out is "not stated" in the card.

    Attributes:
        title, summary, how_measured, licence (`str`): Markdown.
        tags (list of `str`): for the Hub's search, besides the usual ones.
        intended, out_of_scope, limits, bias, not_measured (list of `str`): one point each.
        data (list of `Data`).
    """

    title: str = ""
    summary: str = ""
    how_measured: str = ""
    licence: str = ""
    tags: list[str] = field(default_factory=list)
    intended: list[str] = field(default_factory=list)
    out_of_scope: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    bias: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)
    data: list[Data] = field(default_factory=list)


def read_words(path: Path) -> Words:
    """Reads a `card.toml`, or the one in a folder.

    Raises:
        OSError: there is none.
        ValueError: it is no TOML, or has an entry that is not known or of another type; the message names it.
    """
    file = path / FILE if path.is_dir() else path
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # TOMLDecodeError, or no UTF-8
        raise ValueError(f"{file} needs TOML: {error}") from error
    checked = _checked(given, Words, file)
    checked["data"] = [_data(entry, file) for entry in checked.get("data", [])]
    return Words(**checked)


def _data(entry: Any, file: Path) -> Data:
    checked = _checked(entry if isinstance(entry, dict) else {}, Data, file)
    for name in ("name", "use"):
        if name not in checked:
            raise ValueError(f"{file} needs `{name}` in each [[data]], got {sorted(checked)}: add it")
    return Data(**checked)


def _checked(given: dict[str, Any], kind: type, file: Path) -> dict[str, Any]:
    texts = {one.name for one in fields(kind) if one.type is str}
    known = {one.name for one in fields(kind)}
    if strange := sorted(set(given) - known):
        raise ValueError(f"{file} has {', '.join(strange)}, which a card has not: use {', '.join(sorted(known))}")
    for name, value in given.items():
        right = isinstance(value, str) if name in texts else isinstance(value, list)
        if right and name not in texts and name != "data":
            right = all(isinstance(point, str) for point in value)
        if not right:
            wanted = "a text" if name in texts else "a list of texts" if name != "data" else "[[data]] tables"
            raise ValueError(f"{file} needs {wanted} in `{name}`, got {value!r}: write it so")
    return {name: value.strip() if isinstance(value, str) else value for name, value in given.items()}
