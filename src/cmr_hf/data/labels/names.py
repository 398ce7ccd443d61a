"""What other tools call a structure -> what this package calls it, by name or by code; nothing is guessed.

A structure is a value of `LABELS` or `EPICARDIUM`, the outline around cavity and myocardium of the LV. Names are
compared in lower case, with every run of other characters than letters and digits as one space:

| structure     | names                                                                                       |
|---------------|---------------------------------------------------------------------------------------------|
| LV cavity     | lv, left ventricle, lv cavity, lv blood pool, lv endo, endocardium, lvendo, heart ventricle left … |
| LV epicardium | lv epi, lv epicardium, epicardium, epi, lvepi                                               |
| myocardium    | myo, myocardium, lv myo, lv myocardium, lvm, lv wall, heart myocardium …                    |
| RV, LA, RA    | rv, right ventricle, rv endo, rv blood pool …; la, left atrium …; ra, right atrium …        |
| scar          | scar, infarct, lge, late enhancement, fibrosis, no reflow, mvo, microvascular obstruction   |
| background    | background, clear label, exterior                                                           |

"LV" and "left ventricle" mean the cavity, as in ACDC, M&Ms and TotalSegmentator; where a tool means the whole
ventricle, say so with `label_map={"LV": "LV epicardium"}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...hub.checking_cmr import ReadingError
from ..schema import LABELS, LANDMARKS

EPICARDIUM = "LV epicardium"
STRUCTURES = (*LABELS.values(), EPICARDIUM)

# name or number in the file -> id of `LABELS`, structure, or None to leave it out
LabelMap = Mapping[str | int, int | str | None]

_WORDS = {
    "LV cavity": "lv|lvc|left ventricle|lv cavity|left ventricular cavity|left ventricle cavity|lv blood pool|lv bp|"
    "lvbp|left ventricular blood pool|left ventricle blood pool|lv endo|lvendo|lv endocardium|"
    "left ventricular endocardium|endo|endocardium|lv lumen|heart ventricle left",
    EPICARDIUM: "lv epi|lvepi|lv epicardium|left ventricular epicardium|epi|epicardium",
    "myocardium": "myo|myocardium|lv myo|lvmyo|lvm|lv myocardium|left ventricular myocardium|left ventricle myocardium|"
    "myocardium of left ventricle|lv wall|lv muscle|heart myocardium|normal myocardium|healthy myocardium",
    "RV": "rv|rvc|right ventricle|rv cavity|right ventricular cavity|rv blood pool|right ventricular blood pool|"
    "rv endo|rvendo|rv endocardium|right ventricular endocardium|heart ventricle right",
    "LA": "la|left atrium|la cavity|left atrial cavity|la endo|heart atrium left",
    "RA": "ra|right atrium|ra cavity|right atrial cavity|ra endo|heart atrium right",
    "scar": "scar|myocardial scar|scar tissue|infarct|infarction|lge|late enhancement|late gadolinium enhancement|"
    "fibrosis|no reflow|noreflow|mvo|microvascular obstruction",
    "background": "background|clear label|exterior",
}
_NAMES = {word: structure for structure, words in _WORDS.items() for word in words.split("|")}

# SNOMED CT and, in files before 2020, SNOMED RT (DICOM PS3.16 annex D; PS3.16 CID 3802 names the chambers)
_CODES = {
    ("SCT", "87878005"): "LV cavity",
    ("SCT", "49848007"): "myocardium",  # of the left ventricle
    ("SCT", "53085002"): "RV",
    ("SCT", "82471001"): "LA",
    ("SCT", "73829009"): "RA",
    ("SCT", "12402003"): "scar",
    ("SRT", "T-32600"): "LV cavity",
    ("SRT", "T-32500"): "RV",
    ("SRT", "T-32300"): "LA",
    ("SRT", "T-32200"): "RA",
}

_POINTS = {
    LANDMARKS[0]: "anterior rv insertion|anterior rv insertion point|rv anterior insertion|anterior insertion|"
    "anterior insertion point|superior rv insertion|anterior rvip|rvip anterior|arvip",
    LANDMARKS[1]: "inferior rv insertion|inferior rv insertion point|rv inferior insertion|inferior insertion|"
    "inferior insertion point|posterior rv insertion|inferior rvip|rvip inferior|irvip",
}
_POINT_NAMES = {word: point for point, words in _POINTS.items() for word in words.split("|")}


def plain(name: str) -> str:
    """Lower case, words parted by single spaces: "LV_Endo " and "lv-endo" become "lv endo"."""
    return re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()


def landmark_of(name: str) -> str | None:
    """The landmark of `LANDMARKS` that a point's name means, `None` where the table has no such name."""
    return _POINT_NAMES.get(plain(name))


def structure_of(
    number: int, name: str = "", code: tuple[str, str] = ("", ""), label_map: LabelMap | None = None
) -> str | None:
    """The structure that a label means; `label_map` goes first, then the name, then the code.

    Args:
        number: of the label or segment in its file.
        name: in its file.
        code: (scheme, value) in its file, such as ("SCT", "87878005").
        label_map: name or number -> id of `LABELS`, structure, or `None` to leave the label out.

    Returns:
        A value of `LABELS`, `EPICARDIUM`, or `None` where neither the tables nor `label_map` know it.

    Raises:
        ReadingError: `label_map` has an id or structure that does not exist.
    """
    given = {plain(key) if isinstance(key, str) else int(key): value for key, value in (label_map or {}).items()}
    for key in (number, plain(name)):
        if key in given:
            return _checked(given[key])
    return _NAMES.get(plain(name)) or _CODES.get(code)


def _checked(value: int | str | None) -> str | None:
    if value is None or value in STRUCTURES:
        return value
    if isinstance(value, str) or value not in LABELS:
        raise ReadingError(f"`label_map` needs ids of {LABELS}, or one of {STRUCTURES}, got {value!r}: correct it")
    return LABELS[value]
