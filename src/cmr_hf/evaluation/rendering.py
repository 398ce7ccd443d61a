"""Tables as Markdown and CSV, from the plain data of `tables.build`; what was not measured says so."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .paper import PAPER_ARMS

NOT_MEASURED = "not measured"
MINUS = "−"
TITLES = {
    "2": "Table 2: all tasks",
    "3": "Table 3: against prior work",
    "4": "Table 4: pretraining on hearts or on natural images",
}
COLUMNS = ("table", "experiment", "name", "class", "level", "metric", "unit", "arm", "who", "data", "value", "sd",
           "lower", "upper", "patients", "cases", "method")  # fmt: skip
HOW_TO_READ = """\
Cells are mean (standard deviation over cases) [95 % interval]. Patients were drawn with replacement, with all their
slices; where all or none of the samples are right, the interval is the exact one for that many patients. Dice leaves
out a structure absent from both masks and is 0 where it was invented or missed. "total" is over samples, as the
paper's; "mean of classes" is the balanced accuracy. The paper's numbers are of its own test patients: where ours are of
others, the two are not comparable one to one."""


def markdown(results: dict[str, Any], title: str = "Results") -> str:
    """The whole document."""
    lines = [f"# {title}", "", f"Written by `training/evaluate.py --tables`. The paper: {results['paper']}.", ""]
    lines += [HOW_TO_READ, "", *(f"- {note}" for note in results["notes"]), ""]
    for number, heading in TITLES.items():
        lines += [f"## {heading}", "", paper_table(results, number), ""]
    parts = (
        ("Paired tests between arms", TESTS_TEXT, tests_table(results)),
        ("Beyond the paper: outlines, ranking, calibration", "", beyond_table(results)),
        ("Beyond the paper: what is taken for what", CONFUSION_TEXT, confusion_tables(results)),
        ("Beyond the paper: volumes and function", AGREEMENT_TEXT, agreement_table(results)),
        ("On which data", "", data_table(results)),
    )
    for heading, text, body in parts:
        lines += [f"## {heading}", "", *([text, ""] if text else []), body, ""]
    return "\n".join(lines).rstrip() + "\n"


TESTS_TEXT = """\
Difference first minus second, by patient, with its 95 % interval. Dice and distances: Wilcoxon's signed-rank test of
the patients' means; accuracy: McNemar's exact test with one sample a patient, else the paired bootstrap by patient.
Where one arm rightly found nothing and the other invented a structure, the first counts 1. p (Holm) is adjusted for all
tests of this table."""
CONFUSION_TEXT = "Counts of samples: the truth in rows, the answer in columns; classes without a sample have no row."
AGREEMENT_TEXT = """\
Measured minus reference. Limits of agreement are bias ± 1.96 SD. ICC(A,1), the same as ICC(2,1), counts a bias against
agreement; ICC(C,1), the same as ICC(3,1), does not. Volumes are of each phase; EDV, ESV and EF of the cine."""


def paper_table(results: dict[str, Any], number: str) -> str:
    """Table 2, 3 or 4 as Markdown."""
    arms, lines = results["arms"], results["tables"][number]
    theirs = [arm for arm in PAPER_ARMS if any(arm in line["paper"] for line in lines)]
    prior = ["prior work"] if number == "3" else []
    head = ["task", "class", "metric", *prior, *(f"paper: {arm}" for arm in theirs), *arms, "patients", "data"]
    body = []
    for line in lines:
        ours = [line["ours"].get(arm) for arm in arms]
        patients = sorted({entry["patients"] for entry in ours if entry})
        metric = f"{line['metric']}{', mm' if line['unit'] else ''}{' per ' + line['level'] if line['level'] else ''}"
        body.append(
            [
                f"{line['experiment']} {line['name']}",
                line["class"],
                metric,
                *([_range(line["prior"], line["unit"])] if prior else []),
                *(_paper_cell(line["paper"].get(arm), line["unit"]) for arm in theirs),
                *(cell(entry, line["unit"]) for entry in ours),
                " or ".join(map(str, patients)) or "–",
                line["data"] or "–",
            ]
        )
    return table(head, body)


def tests_table(results: dict[str, Any]) -> str:
    """Paired tests as Markdown."""
    head = ["task", "class", "first", "second", "difference", "patients", "test", "p", "p (Holm)", "data"]
    body = [
        [
            test["experiment"],
            f"{test['class']}{' per ' + test['level'] if test['level'] else ''}",
            test["first"],
            test["second"],
            cell(test["difference"], _unit(test), signed=True),
            test["difference"]["patients"],
            test["test"],
            p_value(test["p"]),
            p_value(test["p_holm"]),
            test["data"],
        ]
        for test in results["tests"]
    ]
    return table(head, body) if body else NOT_MEASURED


def _unit(test: dict[str, Any]) -> str:
    return "mm" if "insertion" in test["class"] else ""


def beyond_table(results: dict[str, Any]) -> str:
    """Distances, AUC and calibration as Markdown."""
    head = ["task", "arm", "class", "metric", "value", "patients", "data"]
    body = []
    for line in results["beyond"]:
        metric = f"{line['metric']}{', mm' if line['unit'] else ''}{' per ' + line['level'] if line['level'] else ''}"
        found = line["ours"]
        patients = found.get("patients", "–") if found else "–"
        body.append(
            [line["experiment"], line["arm"], line["class"], metric, cell(found, line["unit"]), patients, line["data"]]
        )
    return table(head, body) if body else NOT_MEASURED


def confusion_tables(results: dict[str, Any]) -> str:
    """A table for each classifier and data set, as Markdown."""
    parts = []
    for one in results["confusion"]:
        head = [f"{one['experiment']}, {one['arm']}", *one["classes"], "all"]
        rows = zip(one["classes"], one["counts"], strict=True)
        body = [[name, *counts, sum(counts)] for name, counts in rows if any(counts)]
        parts.append(f"{one['data']}:\n\n{table(head, body)}")
    return "\n\n".join(parts) or NOT_MEASURED


def agreement_table(results: dict[str, Any]) -> str:
    """Bias, limits and ICC as Markdown."""
    head = ["task", "arm", "measure", "bias", "limits of agreement", "ICC(A,1)", "ICC(C,1)", "n (patients)", "data"]
    body = []
    for entry in results["agreement"]:
        if "refused" in entry:
            cells = [f"refused: {entry['refused'].split(':')[0]}", "–", "–", "–"]
        else:
            cells = [
                f"{number(entry['bias'], 1, True)} {entry['unit']}",
                f"{number(entry['lower'], 1, True)} to {number(entry['upper'], 1, True)}",
                number(entry["icc_agreement"], 3),
                number(entry["icc_consistency"], 3),
            ]
        first = [entry["experiment"], entry["arm"], entry["measure"]]
        body.append([*first, *cells, f"{entry['n']} ({entry['patients']})", entry["data"]])
    return table(head, body) if body else NOT_MEASURED


def data_table(results: dict[str, Any]) -> str:
    """What was measured on what, as Markdown."""
    head = ["task", "arm", "data", "patients", "parameters", "notes"]
    body = [
        [
            one["experiment"],
            one["arm"],
            one["data"],
            one["patients"],
            f"{one['parameters'] / 1e6:.1f} M" if one.get("parameters") else "–",
            "; ".join(one.get("notes", ())) or "–",
        ]
        for one in results["measurements"]
    ]
    return table(head, body) if body else "Nothing has been measured yet."


def write(results: dict[str, Any], folder: str | Path, stem: str = "results") -> list[Path]:
    """Writes `<stem>.md`, `<stem>.csv` and `<stem>.json`."""
    from ..clinical.writers import whole_file, write_json

    folder = Path(folder)
    files = [folder / f"{stem}.md", folder / f"{stem}.csv", write_json(results, folder / f"{stem}.json")]
    with whole_file(files[0]) as part:
        part.write_text(markdown(results), encoding="utf-8")
    with whole_file(files[1]) as part, part.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS, restval="")
        rows.writeheader()
        rows.writerows(csv_rows(results))
    return files


def csv_rows(results: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """One row per number of the three tables, the paper's and ours."""
    for name, lines in results["tables"].items():
        for line in lines:
            head = {"table": name} | {key: line[key] for key in COLUMNS if key in line}
            for arm, found in line["paper"].items():
                yield head | {"arm": arm, "who": "paper", "data": ""} | found
            for arm in results["arms"]:
                found = line["ours"].get(arm)
                values = {key: value for key, value in (found or {}).items() if key in COLUMNS and value is not None}
                yield head | {"arm": arm, "who": "ours" if found else NOT_MEASURED} | values


def read(path: str | Path) -> dict[str, Any]:
    """What `write` put into its JSON."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def table(head: Sequence[Any], body: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    rows = [[str(value).replace("|", "\\|") for value in row] for row in (head, *body)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def cell(found: dict[str, Any] | None, unit: str = "", signed: bool = False) -> str:
    """ "0.912 (0.10) [0.88, 0.93]", or that it was not measured, or why not."""
    if found is None:
        return NOT_MEASURED
    if "refused" in found:
        return f"refused: {found['refused'].split(':')[0].split(',')[0]}"
    digits = 2 if unit else 3
    text = number(found["value"], digits, signed)
    if found.get("sd") is not None:
        text += f" ({found['sd']:.2f})"
    if found["lower"] is None:
        return f"{text} [too few patients]"
    return f"{text} [{number(found['lower'], digits, signed)}, {number(found['upper'], digits, signed)}]"


def _paper_cell(found: dict[str, float] | None, unit: str) -> str:
    if not found:
        return "–"
    text = f"{found['value']:.3f}" if not unit else f"{found['value']:.2f}"
    return f"{text} ({found['sd']:.2f})" if found.get("sd") is not None else text


def _range(prior: dict[str, Any], unit: str) -> str:
    low, high = prior["low"], prior["high"]
    shown = f"{low:.2f}" if low == high else f"{low:.2f}–{high:.2f}"
    return f"{shown} ({prior['studies']})"


def number(value: float, digits: int, signed: bool = False) -> str:
    """With a true minus; a plus where signs matter."""
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.replace("-", MINUS)


def p_value(p: float | None) -> str:
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
