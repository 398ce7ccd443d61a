"""The page's own HTML: figures, downloads, models and messages. Everything from outside is escaped."""

import base64
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cmr_hf.assessment.writing.files import BULLSEYES
from cmr_hf.assessment.writing.wording import GROUPS, TILES, digits_of, name_of
from cmr_hf.clinical.segments import SEGMENTS

from .receiving import Received

SERVED = "gradio_api/file="
RESEARCH = (
    '<p class="research" role="note"><strong>Research use only.</strong> Not a medical device, not for diagnosis. '
    "Files are stripped of names, numbers and dates as they arrive and deleted when you close the page, at the latest "
    "an hour after you last used them. Names burnt into pixels are not found: look before you upload.</p>"
)
HEAD = (
    '<header class="top"><h1>Cardiac MR, measured</h1><p>Series recognised, hearts segmented, volumes with their '
    "uncertainty: <b>cmr_hf</b> on your own study, or on a real one that is here already.</p></header>"
)
SAMPLE = "A real short-axis cine, 3 T: 6 slices, 13 phases. From biv-me, Apache 2.0."
DOWNLOADS = (
    ("out/report.html", "Report", "one page to read and print (HTML)"),
    ("out/assessment.json", "Figures", "all of them, with intervals and reasons (JSON)"),
    ("masks_nifti.zip", "Masks", "on the source's grid (NIfTI)"),
    ("dicom_seg.zip", "DICOM SEG", "end-diastole and end-systole"),
    ("cmr_assessment.zip", "Everything", "one zip"),
)


def address(path: Path) -> str:
    """Where the browser finds a file of the shown folder, relative to the page."""
    return SERVED + quote(path.as_posix())


def sample_card(picture: bytes) -> str:
    """The built-in study, with a picture of it (WebP)."""
    source = f"data:image/webp;base64,{base64.b64encode(picture).decode()}"
    image = f'<img src="{source}" alt="A short-axis slice of it">'
    return f'<div class="sample">{image}<div><b>No study at hand?</b><span>{SAMPLE}</span></div></div>'


def message(text: str, kind: str = "note") -> str:
    """A line for the reader; "alarm" is read out at once."""
    role = "alert" if kind == "alarm" else "status"
    lines = "".join(f"<p>{escape(line)}</p>" for line in text.splitlines() if line.strip())
    return f'<div class="message {kind}" role="{role}">{lines}</div>'


def taken_in(received: Received) -> str:
    """What became of the upload."""
    files = f"{received.used} of {received.files} files" if received.files > 1 else "1 file"
    left = "".join(f"\n{count} left out: {reason}" for reason, count in received.left_out.items())
    size = "" if received.has_spacing else "\nThe size of its pixels is not known: give it below, or get masks only."
    return f"{files} taken in as {received.kind}, without names, numbers and dates.{left}{size}"


def manifest(shown: Path) -> dict[str, Any]:
    """What the viewer gets: the manifest, and where its pictures are."""
    told = json.loads((shown / "view" / "manifest.json").read_text(encoding="utf-8"))
    return {"base": address(shown / "view") + "/"} | told


def downloads(shown: Path) -> str:
    """Links to what was written."""
    items = []
    for path, name, what in DOWNLOADS:
        file = shown / path
        if file.is_file():
            size = f"{max(1, round(file.stat().st_size / 1024))} kB"
            link = f'<a href="{address(file)}" download="{file.name}"><b>{name}</b></a>'
            items.append(f"<li>{link}<span>{what}, {size}</span></li>")
        else:
            items.append(f"<li><b>{name}</b><span>{_why_missing(path)}</span></li>")
    return f'<nav class="downloads" aria-label="Downloads"><h2>Downloads</h2><ul>{"".join(items)}</ul></nav>'


def _why_missing(path: str) -> str:
    return "none: the source is no DICOM, or has no mask" if path == "dicom_seg.zip" else "none: there is no mask"


def figures(shown: Path) -> str:
    """Tiles, bullseyes, tables and all that was not measured."""
    made = json.loads((shown / "out" / "assessment.json").read_text(encoding="utf-8"))
    parts = [*_tiles(made), *_doubts(made), *_bullseyes(made, shown / "out"), *_tables(made), *_missing(made)]
    return f'<section class="figures" aria-label="Figures"><h2>Figures</h2>{"".join(parts)}</section>'


def _tiles(made: Mapping[str, Any]) -> list[str]:
    shown = []
    for name in TILES:
        one = made["measures"].get(name)
        if one and one["value"] is not None:
            digits, unit = digits_of(one["unit"]), escape(one["unit"])
            between = one.get("interval_95")
            words = f"95 % interval {between[0]:.{digits}f} to {between[1]:.{digits}f}" if between else "no interval"
            normal = made["normal_ranges"].get(name)
            place = f'<span class="place">{escape(normal["place"])} normal range</span>' if normal else ""
            shown.append(
                f"<li><span>{escape(name_of(name))}</span><b>{one['value']:.{digits}f} <small>{unit}</small></b>"
                f"<span>{words}</span>{place}</li>"
            )
    for name, one in made["classes"].items():
        shown.append(
            f'<li class="guess"><span>{escape(name_of(name))}</span><b>{escape(str(one["value"]))}</b>'
            f"<span>a guess, probability {one['probability']:.2f}</span></li>"
        )
    return [f'<ul class="tiles">{"".join(shown)}</ul>'] if shown else ["<p>Nothing was measured; see why below.</p>"]


def _doubts(made: Mapping[str, Any]) -> list[str]:
    found = [
        (one["severity"], f"series {stack['number']}: {one['reason']}")
        for stack in made["stacks"]
        for one in stack["quality"]
    ]
    if not found:
        return []
    found.sort(key=lambda pair: pair[0] != "error")
    errors = sum(kind == "error" for kind, _ in found)
    words = f"Quality control: {_counted(errors, 'error')}, {_counted(len(found) - errors, 'warning')}"
    words += ". Look at these first." if errors else ""
    items = "".join(f'<li class="{escape(kind)}"><b>{escape(kind)}</b> {escape(text)}</li>' for kind, text in found)
    opened = " open" if errors else ""
    return [f'<details class="quality"{opened}><summary>{words}</summary><ul>{items}</ul></details>']


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _bullseyes(made: Mapping[str, Any], out: Path) -> list[str]:
    shown = []
    for key, path in made["files"].items():
        name = key.removeprefix("bullseye_")
        if key == name or not (out / path).is_file():
            continue
        title, digits, _ = BULLSEYES[name]
        values = made["segments"].get(name, {})
        rows = "".join(
            f"<tr><td>{number} {escape(words)}</td><td>{_value(values.get(str(number)), digits)}</td></tr>"
            for number, words in SEGMENTS.items()
        )
        shown.append(
            f'<figure><img src="{address(out / path)}" width="572" height="682" '
            f'alt="Bullseye of the 17 segments of the AHA: {escape(title)}; the numbers are in the table below it">'
            f"<figcaption><details><summary>{escape(title)} as a table</summary><table><thead><tr>"
            f'<th scope="col">Segment (AHA)</th><th scope="col">Value</th></tr></thead><tbody>{rows}</tbody></table>'
            "</details></figcaption></figure>"
        )
    return ["<h3>Segments</h3>", f'<div class="eyes">{"".join(shown)}</div>'] if shown else []


def _value(one: Mapping[str, Any] | None, digits: int) -> str:
    if not one or one["value"] is None:
        return "–"
    return f"{one['value']:.{digits}f} {escape(one['unit'])}"


def _tables(made: Mapping[str, Any]) -> list[str]:
    parts = []
    for title, belongs in GROUPS.items():
        group = {name: one for name, one in made["measures"].items() if belongs(name)}
        rows = "".join(_row(name, one) for name, one in group.items() if one["value"] is not None)
        refused: dict[str, list[str]] = {}
        for name, one in group.items():
            if one["value"] is None:
                refused.setdefault(one["reason"], []).append(name_of(name))
        if not group:
            continue
        head = "".join(f'<th scope="col">{name}</th>' for name in ("Figure", "Value", "95 % interval", "From"))
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        why = "".join(f"<li>{escape(', '.join(names))}: {escape(reason)}</li>" for reason, names in refused.items())
        why = f"<p>Not measured:</p><ul>{why}</ul>" if why else ""
        parts.append(f'<details class="group"><summary>{escape(title)}</summary>{table}{why}</details>')
    return ["<h3>All of them</h3>", *parts] if parts else []


def _row(name: str, one: Mapping[str, Any]) -> str:
    digits, between = digits_of(one["unit"]), one.get("interval_95")
    words = f"{between[0]:.{digits}f} to {between[1]:.{digits}f}" if between else "unknown"
    where = escape(str(one.get("source", "")))
    return f"<tr><td>{escape(name_of(name))}</td><td>{_value(one, digits)}</td><td>{words}</td><td>{where}</td></tr>"


def _missing(made: Mapping[str, Any]) -> list[str]:
    items = [escape(reason) for reason in made["not_measured"]]
    left = [f"{one['files']} files left out: {escape(one['reason'])}" for one in made["study"]["left_out"]]
    parts = ["<h3>Not measured</h3>", f"<ul>{''.join(f'<li>{one}</li>' for one in items)}</ul>"] if items else []
    if left:
        parts += ["<h3>Files left out</h3>", f"<ul>{''.join(f'<li>{one}</li>' for one in left)}</ul>"]
    return parts


def models_table(roles: Mapping[str, Mapping[str, str | None]]) -> str:
    """Which role has a model in this release, and which has none."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(str(one["what"]))}</td><td>'
        + (f"yes: {escape(str(one['model']))}" if one["model"] else "<b>no model</b>: not done, and the page says so")
        + "</td></tr>"
        for name, one in roles.items()
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Role", "Answers for", "Model here"))
    there = sum(one["model"] is not None for one in roles.values())
    return (
        f'<details class="models"><summary>Models on this page: {there} of {len(roles)} roles</summary>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></details>"
    )
