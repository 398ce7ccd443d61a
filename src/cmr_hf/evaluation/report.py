"""The report of a cohort as one list of blocks, and that list as Markdown and as an HTML page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from ..clinical.writers import RESEARCH_USE_ONLY
from .groups import GROUPS
from .rendering import cell, number, table

HOW_TO_READ = (
    "Cells are mean (standard deviation over cases) [95 % interval]. Patients were drawn with replacement, with all "
    "their images; where all or none of the samples are right, the interval is the exact one for that many patients. "
    "Dice leaves out a structure absent from both masks and is 0 where it was invented or missed. Every group is "
    "compared with the rest: of twenty comparisons about one seems worse by chance, so look at the pictures too."
)
GRAVEST = ("worse than the rest", "uncertain", "too few to say")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #1a2027;
background: #fff }
h1 { margin-bottom: 0 } h2 { margin-top: 2.2rem; border-bottom: 1px solid #d5dbe0 }
table { border-collapse: collapse; font-size: 13.5px; margin: .8rem 0 } th, td { padding: .3rem .7rem; text-align: left;
border-bottom: 1px solid #e4e8eb; vertical-align: top } th { background: #f3f5f7 }
.warn { color: #8a4b00 } img { max-width: 100%; border-radius: 4px } figure { margin: 1rem 0 }
figcaption { font-size: 13px; color: #55616c } .scroll { overflow-x: auto }
"""


@dataclass(frozen=True)
class Block:
    """One part of a report.

    Attributes:
        kind (`str`): "heading", "text", "list", "table" or "picture".
        text (`str`): the words; of a picture its caption.
        head (`Sequence` of `str`), rows (`Sequence`): of a table; of a list the rows alone.
        file (`str`): of a picture, relative to the report.
    """

    kind: str
    text: str = ""
    head: Sequence[str] = ()
    rows: Sequence[Any] = field(default_factory=tuple)
    file: str = ""


def blocks_of(report: dict[str, Any]) -> list[Block]:
    """The report, from the plain data that `report.json` holds."""
    counts = report["counts"]
    found = [
        Block("heading", f"{report['name']}: how good it is on these images"),
        Block(
            "text",
            f"Model {report['model']}. {counts['cases']} cases of {counts['patients']} patients; {counts['lines']} "
            f"lines in the table, {len(report['problems'])} of them could not be used. {RESEARCH_USE_ONLY}",
        ),
        *([Block("list", rows=report["notes"])] if report["notes"] else []),
        Block("text", HOW_TO_READ),
        Block("heading", "Overall"),
        Block("table", head=("", "metric", "value", "patients", "cases", "to know"), rows=_overall(report)),
    ]
    if report["beyond"]:
        found.append(Block("table", head=("", "metric", "value", "patients"), rows=_beyond(report)))
    if report["agreement"]:
        head = ("measure", "bias", "limits of agreement", "ICC(A,1)", "n (patients)")
        found.append(Block("table", head=head, rows=_agreement(report)))
    warnings = warnings_of(report)
    found.append(Block("heading", "What these numbers cannot say"))
    found.append(Block("list", rows=warnings) if warnings else Block("text", "Nothing to warn of."))
    for name, entries in report["groups"].items():
        head = (GROUPS[name], "", "value", "against the rest", "patients", "cases", "to know")
        found += [
            Block("heading", f"By {GROUPS[name]}"),
            Block("table", head=head, rows=[_group(entry) for entry in entries]),
        ]
    found += _failures(report)
    if report["problems"]:
        rows = [(one["line"], one["patient"], one["reason"]) for one in report["problems"]]
        found += [
            Block("heading", "What could not be used"),
            Block("table", head=("line", "patient", "reason"), rows=rows),
        ]
    return found


def _metric(entry: dict[str, Any]) -> str:
    level = f" per {entry['level']}" if entry.get("level") else ""
    return f"{entry['metric']}{', mm' if entry.get('unit') else ''}{level}"


def _overall(report: dict[str, Any]) -> Iterable[Sequence[Any]]:
    for one in report["overall"]:
        metric = _metric(one | {"metric": report["metric"]})
        yield one["target"], metric, cell(one, one["unit"]), one["patients"], one["cases"], one["word"]


def _beyond(report: dict[str, Any]) -> Iterable[Sequence[Any]]:
    for one in report["beyond"]:
        found = one["ours"]
        yield one["class"], _metric(one), cell(found, one["unit"]), found.get("patients", "–") if found else "–"


def _agreement(report: dict[str, Any]) -> Iterable[Sequence[Any]]:
    for one in report["agreement"]:
        counted = f"{one['n']} ({one['patients']})"
        if "refused" in one:
            yield one["measure"], f"refused: {one['refused'].split(':')[0]}", "–", "–", counted
            continue
        limits = f"{number(one['lower'], 1, True)} to {number(one['upper'], 1, True)}"
        bias = f"{number(one['bias'], 1, True)} {one['unit']}"
        yield one["measure"], bias, limits, number(one["icc_agreement"], 3), counted


def _group(one: dict[str, Any]) -> Sequence[Any]:
    versus = one["versus_rest"]
    against = cell(versus, one["unit"], signed=True) if versus and versus["lower"] is not None else "–"
    shown = one["target"] + (f" per {one['level']}" if one["level"] else "")
    value = cell(one, one["unit"])
    return one["group"], shown, value, against, one["patients"], one["cases"], one["word"]


def warnings_of(report: dict[str, Any]) -> list[str]:
    """What its numbers cannot bear, the gravest first; each reason once, with the groups that it is for."""
    every = list(dict.fromkeys(one["target"] for one in report["overall"]))
    told: dict[tuple[str, str], dict[str, list[str]]] = {}
    for where, entries in (("all patients", report["overall"]), *report["groups"].items()):
        for one in entries:
            if one["word"]:
                place = where if where not in GROUPS else f"{GROUPS[where]} {one['group']}"
                told.setdefault((one["word"], one["reason"]), {}).setdefault(place, []).append(one["target"])
    lines = []
    for word, reason in sorted(told, key=lambda key: GRAVEST.index(key[0])):
        places = []
        for place, names in told[word, reason].items():
            some = list(dict.fromkeys(names))
            places.append(place if len(some) == len(every) else f"{place} ({', '.join(some)})")
        lines.append(f"{word}: {', '.join(places)}; {reason}")
    if report["unknown_groups"]:
        names = ", ".join(GROUPS[name] for name in report["unknown_groups"])
        lines.append(f"nothing is known of {names}: add the columns to the table to see whether it matters")
    return lines


def _failures(report: dict[str, Any]) -> list[Block]:
    head = ("rank", "patient", "line", "case", "how bad", "picture")
    rows = [
        (one["rank"], one["patient"], one["line"], one["case"], one["words"], one["picture"])
        for one in report["failures"]
    ]
    found = [Block("heading", "Failures, worst first"), Block("table", head=head, rows=rows)]
    for one in report["failures"]:
        found.append(Block("picture", f"{one['rank']}. patient {one['patient']}: {one['words']}", file=one["picture"]))
    found.append(Block("heading", "For comparison"))
    for which, file in report["pages"].items():
        found.append(Block("picture", f"the {which} case", file=file))
    return found


def to_markdown(blocks: Iterable[Block]) -> str:
    """Headings, tables and pictures as Markdown; the first heading is the title."""
    parts, level = [], "#"
    for block in blocks:
        if block.kind == "heading":
            parts.append(f"{level} {block.text}")
            level = "##"
        elif block.kind == "table":
            parts.append(table(block.head, block.rows))
        elif block.kind == "list":
            parts.append("\n".join(f"- {row}" for row in block.rows))
        elif block.kind == "picture":
            parts.append(f"![{block.text}]({block.file})")
        else:
            parts.append(block.text)
    return "\n\n".join(parts) + "\n"


def to_html(blocks: Iterable[Block], title: str) -> str:
    """The same as a page that needs nothing but its pictures."""
    parts, level = [], 1
    for block in blocks:
        if block.kind == "heading":
            parts.append(f"<h{level}>{escape(block.text)}</h{level}>")
            level = 2
        elif block.kind == "table":
            head = "".join(f"<th>{escape(str(one))}</th>" for one in block.head)
            rows = "".join(f"<tr>{''.join(map(_td, row))}</tr>" for row in block.rows)
            parts.append(f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>')
        elif block.kind == "list":
            parts.append("<ul>" + "".join(f"<li>{escape(str(row))}</li>" for row in block.rows) + "</ul>")
        elif block.kind == "picture":
            words = escape(block.text)
            image = f'<img src="{escape(block.file)}" alt="{words}" loading="lazy">'
            parts.append(f"<figure>{image}<figcaption>{words}</figcaption></figure>")
        else:
            parts.append(f"<p>{escape(block.text)}</p>")
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _td(value: Any) -> str:
    text = escape(str(value))
    warns = text in GRAVEST
    return f'<td class="warn">{text}</td>' if warns else f"<td>{text}</td>"
