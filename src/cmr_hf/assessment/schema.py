"""The schema of `assessment.json`, and a check of a file against it."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
KNOWN = {
    "$schema", "$id", "$ref", "$defs", "title", "description", "type", "const", "enum", "properties", "required",
    "additionalProperties", "items", "anyOf", "minimum", "maximum", "minItems", "maxItems",
}  # fmt: skip


@cache
def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) as plain values."""
    return json.loads(files(__package__).joinpath("schema.json").read_text(encoding="utf-8"))


def faults(content: Any) -> list[str]:
    """What is wrong with the content of an `assessment.json`; empty if nothing is.

    Knows the words of JSON schema that `schema.json` uses, so that it needs no further package.

    Raises:
        ValueError: the schema uses a word that is not known here.
    """
    return list(_faults(content, schema(), "$"))


def _faults(value: Any, rule: Mapping[str, Any] | bool, where: str) -> list[str]:
    if rule is True:
        return []
    unknown = set(rule) - KNOWN
    if unknown:
        raise ValueError(f"the schema needs words among {sorted(KNOWN)}, got {sorted(unknown)}")
    if "$ref" in rule:
        return _faults(value, schema()["$defs"][rule["$ref"].rsplit("/", 1)[-1]], where)
    if "anyOf" in rule:
        every = [_faults(value, one, where) for one in rule["anyOf"]]
        return [] if any(not one for one in every) else min(every, key=len)
    found = []
    if "type" in rule and not _is(value, rule["type"]):
        return [f"{where}: needs {rule['type']}, got {type(value).__name__}"]
    if "const" in rule and value != rule["const"]:
        found.append(f"{where}: needs {rule['const']!r}, got {value!r}")
    if "enum" in rule and value not in rule["enum"]:
        found.append(f"{where}: needs one of {rule['enum']}, got {value!r}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not rule.get("minimum", value) <= value <= rule.get("maximum", value):
            found.append(f"{where}: {value} is out of range")
    if isinstance(value, dict):
        found += _object_faults(value, rule, where)
    if isinstance(value, list):
        if not rule.get("minItems", 0) <= len(value) <= rule.get("maxItems", len(value)):
            found.append(f"{where}: has {len(value)} items")
        for index, one in enumerate(value):
            found += _faults(one, rule.get("items", True), f"{where}[{index}]")
    return found


def _object_faults(value: Mapping[str, Any], rule: Mapping[str, Any], where: str) -> list[str]:
    properties, other = rule.get("properties", {}), rule.get("additionalProperties", True)
    found = [f"{where}: lacks {name!r}" for name in rule.get("required", []) if name not in value]
    for name, one in value.items():
        if name in properties:
            found += _faults(one, properties[name], f"{where}.{name}")
        elif other is False:
            found.append(f"{where}: does not know {name!r}")
        else:
            found += _faults(one, other, f"{where}.{name}")
    return found


def _is(value: Any, kinds: str | list[str]) -> bool:
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        if kind in ("integer", "number") and isinstance(value, bool):
            continue
        if isinstance(value, KINDS[kind]):
            return True
    return False
