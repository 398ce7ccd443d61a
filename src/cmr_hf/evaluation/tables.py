"""The paper's Tables 2, 3 and 4 with ours beside them, as plain data; `rendering` writes them.

results = build(load(folder) for folder in found_below(["results"]))
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import combinations
from typing import Any

from ..data.experiments import EXPERIMENTS, Experiment
from .cases import Measurement, together
from .classes import confusion_matrix
from .estimates import LEVELS, VALUES, agreement_of, compare, estimate, estimate_of_chances
from .paper import BALANCED, PAPER_ARMS, PROPOSED, TOTAL, paper, paper_cells
from .resampling import holm

FORMAT = "cmr_hf results 1"
OURS = "the paper's data set, other patients"
SUBSTITUTE, PHANTOM, OTHER = "public substitute", "phantom", "other data"
METRICS = {"right": "accuracy", "dice": "Dice", "distance_mm": "distance"}
BEYOND = {"hd95_mm": "Hausdorff-95", "asd_mm": "average surface distance"}
KINDS = {"segmentation": "segmentation", "landmarks": "landmarks"}

Line = dict[str, Any]


def data_label(chosen: Experiment, datasets: Iterable[str]) -> str:
    """Whose data: the paper's, public ones instead, phantoms, or a mixture of these."""
    found = []
    for name in datasets:
        if name == "phantoms":
            found.append(PHANTOM)
        elif name in chosen.datasets:
            found.append(OURS)
        else:
            found.append(SUBSTITUTE if name in chosen.substitutes else OTHER)
    order = (OURS, SUBSTITUTE, OTHER, PHANTOM)
    return " and ".join(sorted(set(found), key=order.index))


def build(measurements: Iterable[Measurement]) -> dict[str, Any]:
    """All tables as JSON-safe data; no patient, no case.

    Args:
        measurements (iterable of `Measurement`): parts of one arm, experiment and data set are taken together.

    Returns:
        `dict` of `tables` ("2", "3", "4": lines with the paper's and our numbers by arm), `tests` (paired, between
        arms), `beyond` (what the paper does not report), `confusion` (of classes), `agreement` (volumes and EF) and
        `measurements` (on what).

    Raises:
        ValueError: an unknown experiment, or one patient in two parts.
    """
    parts = together(list(measurements))
    unknown = sorted({one.experiment for one in parts} - set(EXPERIMENTS))
    if unknown:
        raise ValueError(f"measurements are of experiments {unknown}: known are {', '.join(EXPERIMENTS)}")
    parts.sort(key=lambda one: (list(EXPERIMENTS).index(one.experiment), arm_order(one.arm), one.arm))
    second = _table_2(parts)
    return {
        "format": FORMAT,
        "paper": paper()["source"],
        "notes": paper()["notes"],
        "arms": sorted({one.arm for one in parts} | set(PAPER_ARMS), key=lambda arm: (arm_order(arm), arm)),
        "tables": {"2": second, "3": _table_3(parts), "4": _table_4(second)},
        "tests": _tests(parts),
        "beyond": _beyond(parts),
        "confusion": [_confusion(one) for one in parts if one.kind == "classification"],
        "agreement": [
            {"experiment": one.experiment, "arm": one.arm, "data": stratum(one), **entry}
            for one in parts
            for entry in agreement_of(one)
        ],
        "measurements": [_about(one) for one in parts],
    }


def arm_order(arm: str) -> int:
    """The paper's arms first, in its order."""
    return list(PAPER_ARMS).index(arm) if arm in PAPER_ARMS else len(PAPER_ARMS)


def stratum(one: Measurement) -> str:
    """On what it was measured, in words: "public substitute: acdc, emidec (test)"."""
    about = one.about
    names = ", ".join(about.get("datasets", ())) or "unnamed"
    return f"{about.get('data') or OTHER}: {names} ({about.get('side') or 'side unknown'})"


def _about(one: Measurement) -> dict[str, Any]:
    kept = ("model", "datasets", "data", "side", "parameters", "notes")
    return {
        "experiment": one.experiment,
        "arm": one.arm,
        "data": stratum(one),
        "patients": len(one.patients),
        **{name: one.about[name] for name in kept if name in one.about and name != "data"},
    }


def lines_of(chosen: Experiment) -> list[tuple[str, str]]:
    """(class, level) of an experiment's lines: classes as in the paper, and what its mean over samples leaves out."""
    if chosen.kind == "segmentation":
        return [(name, level) for name in chosen.compares for level in LEVELS]
    if chosen.kind == "landmarks":
        return [(name, "") for name in chosen.compares]
    return [(TOTAL, ""), (BALANCED, ""), *((name, "") for name in chosen.compares)]


def _line(chosen: Experiment, name: str, level: str, data: str, parts: list[Measurement]) -> Line:
    value = VALUES[KINDS.get(chosen.kind, "classification")]
    return {
        "experiment": chosen.key,
        "name": chosen.name,
        "class": name,
        "level": level,
        "metric": METRICS[value],
        "unit": "mm" if value == "distance_mm" else "",
        "paper": paper_cells(chosen.key, name),
        "data": data,
        "ours": {one.arm: estimate(one, name, level) for one in parts},
    }


def _strata(chosen: Experiment, parts: list[Measurement]) -> dict[str, list[Measurement]]:
    """Measurements of an experiment by the data that they are on; one empty line where there are none."""
    found: dict[str, list[Measurement]] = {}
    for one in parts:
        if one.experiment == chosen.key:
            found.setdefault(stratum(one), []).append(one)
    return found or {"": []}


def _table_2(parts: list[Measurement]) -> list[Line]:
    return [
        _line(chosen, name, level, data, own)
        for chosen in EXPERIMENTS.values()
        for data, own in _strata(chosen, parts).items()
        for name, level in lines_of(chosen)
    ]


def _table_3(parts: list[Measurement]) -> list[Line]:
    """Against prior work; segmentation per volume, as most of it reports."""
    lines = []
    for prior in paper()["prior"]:
        chosen = EXPERIMENTS[prior["experiment"]]
        level = "volume" if chosen.kind == "segmentation" else ""
        for data, own in _strata(chosen, parts).items():
            line = _line(chosen, prior["class"], level, data, own)
            line["paper"] = {PROPOSED: {"value": prior["proposed"]}}
            line["prior"] = {name: prior[name] for name in ("low", "high", "studies")}
            lines.append(line)
    return lines


def _table_4(lines: list[Line]) -> list[Line]:
    """The three tasks on which the paper tried a ViT that saw natural images."""
    tried = dict.fromkeys(row["experiment"] for row in paper()["results"] if row.get("natural"))
    return [line for line in lines if line["experiment"] in tried]


def _tests(parts: list[Measurement]) -> list[dict[str, Any]]:
    """Every arm against the proposed one of its set-up on the same data, or against each other where there is none."""
    tests = []
    for chosen in EXPERIMENTS.values():
        for data, own in _strata(chosen, parts).items():
            for first, second in _pairs(own):
                for name, level in lines_of(chosen):
                    found = None if name == BALANCED else compare(first, second, name, level)
                    if found is not None:
                        head = {"experiment": chosen.key, "class": name, "level": level, "data": data}
                        arms = {"first": first.arm, "second": second.arm}
                        tests.append(head | arms | asdict(found))
    for test, adjusted in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["p_holm"] = adjusted
    return tests


def _pairs(own: list[Measurement]) -> list[tuple[Measurement, Measurement]]:
    """Arms of one set-up: what stands in brackets after an arm's name, "(short run)" say, is another set-up."""
    groups: dict[str, list[Measurement]] = {}
    for one in own:
        groups.setdefault(one.arm.partition(" (")[2], []).append(one)
    pairs = []
    for group in groups.values():
        first = next((one for one in group if one.arm.partition(" (")[0] == PROPOSED), None)
        if first is not None:
            pairs += [(first, other) for other in group if other is not first]
        else:
            pairs += list(combinations(group, 2))
    return pairs


def _beyond(parts: list[Measurement]) -> list[Line]:
    """Distances of outlines; AUC and calibration of classifiers."""
    lines = []
    for one in parts:
        chosen = EXPERIMENTS[one.experiment]
        head = {"experiment": one.experiment, "arm": one.arm, "data": stratum(one)}
        if one.kind == "segmentation":
            for name in chosen.compares:
                for level in LEVELS:
                    for value, metric in BEYOND.items():
                        found = estimate(one, name, level, value)
                        lines.append(
                            head | {"class": name, "level": level, "metric": metric, "unit": "mm", "ours": found}
                        )
        elif one.kind == "classification":
            for what, metric in (("auc", "AUC"), ("ece", "calibration error")):
                found = estimate_of_chances(one, what)
                lines.append(head | {"class": "all", "level": "", "metric": metric, "unit": "", "ours": found})
    return lines


def _confusion(one: Measurement) -> dict[str, Any]:
    """Counts of samples, truth in rows and answers in columns, both in the order of `classes`."""
    rows, order = one.select("right"), one.classes
    truth, told = ([order.index(row[name]) for row in rows] for name in ("truth", "predicted"))
    counts = confusion_matrix(told, truth, len(order)).tolist()
    return {
        "experiment": one.experiment,
        "arm": one.arm,
        "data": stratum(one),
        "classes": list(order),
        "counts": counts,
    }
