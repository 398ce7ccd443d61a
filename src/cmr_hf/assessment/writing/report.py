"""The report: one HTML page that needs nothing beside it, to read, to print, in light and dark."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...clinical.quantities import Measure
from ...clinical.segments import SEGMENTS
from ...clinical.writers import RESEARCH_USE_ONLY, whole_file
from .wording import GROUPS, TILES, digits_of, name_of

if TYPE_CHECKING:
    from ..results import StackAssessment, StudyAssessment

MOST_EMBEDDED = 4 << 20  # bytes of a movie that goes into the page
NO_RANGE = '<p class="quiet">No published range fits: it needs the sex, the field strength or the body surface.</p>'
KINDS = {".png": "image/png", ".gif": "image/gif"}


def write_report(made: "StudyAssessment", path: Path) -> Path:
    """Writes the page.

    Args:
        made (`StudyAssessment`): with the paths of its pictures.
        path (`Path`): HTML file to write.
    """
    parts = [
        *_head(made),
        *_tiles(made),
        *_figures(made),
        *_pictures(made),
        *_segments(made),
        *_stacks(made),
        *_quality(made),
        *_missing(made),
        *_end(made),
    ]
    css = files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>Cardiac MR assessment</title>'
        f"<style>{css}</style></head><body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _head(made: "StudyAssessment") -> list[str]:
    used = made.study.files - sum(1 for _ in made.study.left_out)
    counts = f"{len(made.stacks)} stacks from {used} of {made.study.files} files"
    found = ["<h1>Cardiac MR assessment</h1>", f'<p class="quiet">{counts} · cmr_hf {escape(__version__)}</p>']
    if made.keep_identity and made.study.identity:
        person = ", ".join(f"{escape(name)} {escape(value)}" for name, value in made.study.identity.items())
        found.append(f"<p>{person}</p>")
    return [*found, f'<p class="notice">{escape(RESEARCH_USE_ONLY)}</p>']


def _tiles(made: "StudyAssessment") -> list[str]:
    shown = []
    for name in TILES:
        one = made.measures.get(name)
        if one:
            value = f"{one.value:.{digits_of(one.unit)}f} {one.unit}"
            shown.append(
                f'<div class="tile"><span>{escape(name_of(name))}</span><b>{escape(value)}</b>'
                f"<span>{escape(_interval(one) or 'no interval')}</span></div>"
            )
    for name, one in made.classes.items():
        shown.append(
            f'<div class="tile"><span>{escape(name_of(name))}</span><b>{escape(one.best)}</b>'
            f"<span>probability {one.scores[one.best]:.2f}</span></div>"
        )
    tiles = [f'<div class="tiles">{"".join(shown)}</div>'] if shown else []
    findings = [finding for stack in made.stacks for finding in stack.measured.findings]
    errors = sum(one.severity == "error" for one in findings)
    if errors:
        words = (
            f"Quality control found {errors} errors and {len(findings) - errors} warnings, listed below: look first."
        )
        tiles.append(f'<p class="alarm"><b>{words}</b></p>')
    doubts = [
        one.title for one in made.stacks if one.recognition.view.uncertain or one.recognition.image_type.uncertain
    ]
    if doubts:
        tiles.append(f'<p class="alarm">Uncertain what it shows: {escape("; ".join(doubts))}.</p>')
    return tiles


def _figures(made: "StudyAssessment") -> list[str]:
    """Tables of figures, one a group; refused ones with the same reason share a line."""
    parts = []
    for title, belongs in GROUPS.items():
        group = {name: one for name, one in made.measures.items() if belongs(name)}
        if not group:
            continue
        rows = [_row(name, one, made.normal.get(name)) for name, one in group.items() if one]
        refused: dict[str, list[str]] = {}
        for name, one in group.items():
            if not one:
                refused.setdefault(one.reason, []).append(name_of(name))
        parts.append(f"<h2>{escape(title)}</h2>")
        if rows:
            parts += [] if any(name in made.normal for name in group) else [NO_RANGE]
            head = _line(("figure", "value", "95 % interval", "published range", "of", "how"), "th")
            parts.append(f"<table>{head}{''.join(rows)}</table>")
        parts += [
            f'<p class="alarm">Refused: {escape(", ".join(names))}: {escape(reason)}</p>'
            for reason, names in refused.items()
        ]
    return parts


def _row(name: str, one: Measure, normal: Mapping[str, Any] | None) -> str:
    digits = digits_of(one.unit)
    notes = f"<br><small>{escape('; '.join(one.notes))}</small>" if one.notes else ""
    cells = [
        f"<td>{escape(name_of(name))}{notes}</td>",
        f'<td class="number">{one.value:.{digits}f} {escape(one.unit)}</td>',
        f'<td class="number">{escape(_interval(one) or "unknown")}</td>',
        f"<td>{_range(normal, digits)}</td>",
        f"<td>{escape(one.source)}</td>",
        f'<td class="quiet">{escape(one.method)}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _interval(one: Measure) -> str:
    if one.interval is None:
        return ""
    digits = digits_of(one.unit)
    return f"{one.interval[0]:.{digits}f} to {one.interval[1]:.{digits}f}"


def _range(normal: Mapping[str, Any] | None, digits: int) -> str:
    if not normal:
        return '<span class="quiet">–</span>'
    low, high = normal.get("low"), normal.get("high")
    span = (
        f"{low:.{digits}f} to {high:.{digits}f}"
        if low is not None and high is not None
        else (f"up to {high:.{digits}f}" if high is not None else f"from {low:.{digits}f}")
    )
    kind = "good" if normal["place"] == "within" else "alarm"
    return (
        f'{span} <span class="{kind}">{escape(normal["place"])}</span>'
        f"<br><small>{escape(normal['source'])}, {escape(normal['sex'])}</small>"
    )


def _pictures(made: "StudyAssessment") -> list[str]:
    parts: list[str] = []
    for number in dict.fromkeys(made.chosen.values()):
        stack = next(one for one in made.stacks if one.number == number)
        wide = "whole" if stack.source.shape[1] > 3 else "half"  # a row of slices
        shown = [_image(made, stack.files.get("overlay"), f"outlines, {stack.title}", wide)]
        shown += [
            _image(made, stack.files.get("movie"), f"movie, {stack.title}", "half movie"),
            _image(made, stack.files.get("volumes"), f"volume over time, {stack.title}", "half"),
        ]
        if any(shown):
            parts += [f"<h2>{escape(stack.headline)}</h2>", _together(shown)]
    eyes = [
        _image(made, path, key.replace("_", " "), "third")
        for key, path in made.files.items()
        if key.startswith("bullseye_")
    ]
    if any(eyes):
        parts += ["<h2>Segments</h2>", _together(eyes)]
    return parts


def _together(images: Iterable[str]) -> str:
    return f'<div class="pictures">{"".join(images)}</div>'


def _image(made: "StudyAssessment", path: str | None, words: str, kind: str) -> str:
    if path is None or made.out is None:
        return ""
    file = made.out / path
    if not file.is_file():
        return ""
    if file.stat().st_size > MOST_EMBEDDED:
        return f'<p class="{kind}"><a href="{escape(path)}">{escape(words)}</a></p>'
    data = base64.b64encode(file.read_bytes()).decode()
    source = f"data:{KINDS[file.suffix]};base64,{data}"
    return f'<div class="{kind}"><img alt="{escape(words)}" src="{source}"></div>'


def _segments(made: "StudyAssessment") -> list[str]:
    """All figures per segment in one table that opens on demand."""
    names = [name for name, values in made.segmental.items() if any(values.values())]
    if not names:
        return []
    head = _line(("segment", *(f"{name_of(name)}" for name in names)), "th")
    rows = []
    for number, shown in SEGMENTS.items():
        cells = [f"{number} {shown}"]
        for name in names:
            one = made.segmental[name].get(number)
            cells.append(one.text(digits_of(one.unit)) if one else "–")
        rows.append(_line(cells))
    return [f"<details><summary>All figures per segment</summary><table>{head}{''.join(rows)}</table></details>"]


def _stacks(made: "StudyAssessment") -> list[str]:
    parts = ["<h2>What is in the study</h2>", _image(made, made.files.get("contact_sheet"), "all stacks", "whole")]
    head = _line(("stack", "taken for", "by", "second opinion", "slices × phases", "masks", "remarks"), "th")
    return [*parts, f"<table>{head}{''.join(map(_stack_row, made.stacks))}</table>"]


def _stack_row(stack: "StackAssessment") -> str:
    view, image_type = stack.recognition.view, stack.recognition.image_type
    headers = " ".join(one.header or "?" for one in (image_type, view))
    by = [one.by + (f" {one.probability:.2f}" if one.probability is not None else "") for one in (image_type, view)]
    by = by[:1] if by[0] == by[1] else [f"type: {by[0]}", f"view: {by[1]}"]
    doubt = view.uncertain or image_type.uncertain
    kind = f'<span class="alarm">{escape(stack.kind)}, uncertain</span>' if doubt else escape(stack.kind)
    remarks = "<br>".join(escape(note) for note in [*stack.not_measured, *stack.notes, *stack.measured.notes])
    masks = {"model": f"model {stack.model}", "hand": "corrected by hand"}.get(stack.masks_from, "none")
    phases, slices = stack.source.shape[:2]
    cells = (str(stack.number), kind, escape("; ".join(by)), escape(headers), f"{slices} × {phases}", escape(masks))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}<td><small>{remarks}</small></td></tr>"


def _quality(made: "StudyAssessment") -> list[str]:
    found = [(stack, finding) for stack in made.stacks for finding in stack.measured.findings]
    if not found:
        return ["<h2>Quality control</h2><p>Nothing looks wrong to the rules. They find masks that no heart has.</p>"]
    found.sort(key=lambda pair: pair[1].severity != "error")
    items = [
        f'<li class="{"alarm" if one.severity == "error" else ""}">{escape(stack.title)}: {escape(one.reason)}</li>'
        for stack, one in found
    ]
    errors = sum(one.severity == "error" for _, one in found)
    words = f"{errors} errors, {len(found) - errors} warnings"
    opened = " open" if len(items) <= 12 else ""
    listed = f"<details{opened}><summary>{words}</summary><ul>{''.join(items)}</ul></details>"
    return ["<h2>Quality control</h2>", listed]


def _missing(made: "StudyAssessment") -> list[str]:
    parts = []
    if made.not_measured:
        parts.append("<h2>Not measured</h2>")
        parts.append(f"<ul>{''.join(f'<li>{escape(reason)}</li>' for reason in made.not_measured)}</ul>")
    parts.append("<h2>Files left out</h2>")
    left = made.to_dict()["study"]["left_out"]
    if not left:
        return [*parts, "<p>None: every file is in a stack.</p>"]
    items = []
    for one in left:
        named = f": {', '.join(one['names'])}" if "names" in one else ""
        items.append(f"<li>{one['files']}: {escape(one['reason'])}{escape(named)}</li>")
    return [*parts, f"<ul>{''.join(items)}</ul>"]


def _end(made: "StudyAssessment") -> list[str]:
    parts = ["<h2>Models and sources</h2>"]
    used = []
    for role, one in made.models.items():
        if one["model"] is None:
            used.append(f"<li>{escape(role)}: {escape(one['reason'])}</li>")
            continue
        licence = f", {escape(one['weights_license'])}" if "weights_license" in one else ""
        used.append(f"<li>{escape(role)}: {escape(one['model'])}{licence}, sha256 {one['sha256'][:12]}</li>")
    parts.append(f"<ul>{''.join(used)}</ul>")
    citations = dict.fromkeys(one["citation"] for one in made.normal.values())
    parts += [f"<p><small>{escape(citation)}</small></p>" for citation in citations]
    parts.append(f'<p class="notice">{escape(RESEARCH_USE_ONLY)}</p>')
    return parts


def _line(cells: Sequence[str], kind: str = "td") -> str:
    return f"<tr>{''.join(f'<{kind}>{escape(cell)}</{kind}>' for cell in cells)}</tr>"
