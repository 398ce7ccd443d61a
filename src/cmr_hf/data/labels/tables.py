"""Label tables: CSV or Parquet with one row per file or patient, words translated by the tables below.

Column names and values are compared in lower case, with every run of other characters than letters and digits as one
space; empty cells, "na", "n a", "nan", "none given", "unknown" and "-" are no label.

| column     | also called                                                                              |
|------------|------------------------------------------------------------------------------------------|
| patient    | patient id, subject, subject id, case, case id, pseudonym, id                            |
| file       | path, filename, file name, image, image path, dicom, folder                              |
| study      | study id, exam, examination                                                              |
| series     | series id                                                                                |
| view       | plane, orientation, imaging plane                                                        |
| image_type | type, sequence, modality, contrast, image class                                          |
| disease    | diagnosis, pathology, group, class, condition                                            |
| lge        | late enhancement, late gadolinium enhancement, scar, fibrosis, lge present               |

A word that no table knows is reported with its row (the header is row 1, as in a spreadsheet) and left empty.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...hub.checking_cmr import ReadingError, file_head
from .names import plain

_MAX_ROWS = 5_000_000
_MAX_CELL = 10_000
_EMPTY = {"", "na", "n a", "nan", "none given", "unknown", "null"}

COLUMNS = {
    "patient": "patient|patient id|patientid|subject|subject id|case|case id|pseudonym|id",
    "file": "file|path|filename|file name|filepath|image|image path|dicom|folder",
    "study": "study|study id|exam|examination",
    "series": "series|series id",
    "view": "view|plane|orientation|imaging plane",
    "image_type": "image type|imagetype|type|sequence|modality|contrast|image class",
    "disease": "disease|diagnosis|pathology|group|class|condition",
    "lge": "lge|late enhancement|late gadolinium enhancement|scar|fibrosis|lge present",
}
WORDS = {
    "view": {
        "SAX": "sax|sa|short axis|shortaxis|short axis stack|short axis view|sax stack|cine sax|lge sax|short",
        "2CH": "2ch|2 ch|lax 2ch|2ch lax|la 2ch|2 chamber|two chamber|2 chamber view|two chamber view|2c|vla|"
        "vertical long axis|long axis 2ch|long axis 2 chamber|2cv",
        "3CH": "3ch|3 ch|lax 3ch|3ch lax|la 3ch|3 chamber|three chamber|3 chamber view|three chamber view|3c|lvot|"
        "long axis 3ch|long axis 3 chamber|3cv",
        "4CH": "4ch|4 ch|lax 4ch|4ch lax|la 4ch|4 chamber|four chamber|4 chamber view|four chamber view|4c|hla|"
        "horizontal long axis|long axis 4ch|long axis 4 chamber|4cv",
        "aorta": "aorta|aortic|ao|aortic arch|aorta view|transverse aorta",
        "other": "other|others|localizer|localiser|scout|axial|coronal|sagittal|rvot",
    },
    "image_type": {
        "cine": "cine|ssfp|bssfp|cine ssfp|cine bssfp|cine mri|truefisp|fiesta|bffe|balanced ffe",
        "LGE": "lge|late gadolinium enhancement|late enhancement|late gadolinium|delayed enhancement|de|psir|"
        "lge psir|de mri",
        "T1": "t1|t1 map|t1 mapping|t1map|molli|shmolli|sasha|native t1|post contrast t1|t1 native|t1 post contrast",
        "T2": "t2|t2 map|t2 mapping|t2map|t2prep",
        "other": "other|others|localizer|localiser|scout|perfusion|flow|phase contrast|tagging",
    },
    "disease": {
        "NORM": "norm|nor|normal|healthy|n|control|healthy control|volunteer|healthy volunteer|no disease",
        "DCM": "dcm|dilated cardiomyopathy|dilated cm",
        "HCM": "hcm|hypertrophic cardiomyopathy|hypertrophic cm|hypertrophy|hyp|hocm",
        "RV": "rv|arv|abnormal rv|abnormal right ventricle|right ventricular disease|rv disease",
        "MINF": "minf|mi|myocardial infarction|infarct|infarction|previous myocardial infarction|infarct patient",
    },
    "lge": {
        "none": "none|no|n|0|0 0|false|absent|negative|neg|lge negative|no lge|without|not present",
        "present": "present|yes|y|1|1 0|true|positive|pos|lge positive|with lge|with",
    },
}
# "LGE-" and "LGE+" differ by their sign only
_SIGNS = {"-": "none", "lge-": "none", "+": "present", "lge+": "present"}
_COLUMN_NAMES = {word: column for column, words in COLUMNS.items() for word in words.split("|")}
_VALUES = {
    column: {word: value for value, words in values.items() for word in words.split("|")}
    for column, values in WORDS.items()
}


@dataclass
class LabelTable:
    """Rows of a table, in this package's words.

    Attributes:
        rows (`list` of `dict`): `row` (number in the file), and of `COLUMNS` those that the table has: text, or `None`.
        report (`list` of `str`): words that are not known, with their rows, and columns that are not used.
    """

    rows: list[dict[str, Any]]
    report: list[str] = field(default_factory=list)


def read_label_table(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    words: Mapping[str, Mapping[str, str]] | None = None,
) -> LabelTable:
    """Reads a table of labels.

    Args:
        path: `.csv` (comma, semicolon or tab; UTF-8, with or without mark), `.tsv` or `.parquet`.
        columns: name in the file -> name here, goes before the table of columns.
        words: column here -> word in the file -> value here, goes before the tables of words.

    Raises:
        ReadingError: the file is no such table, has two columns for one label, or neither patient nor file.
    """
    path = Path(path)
    file_head(path, path.name)
    header, cells = _parquet(path) if path.suffix.lower() == ".parquet" else _text_table(path)
    used = _used_columns(header, path.name, columns or {})
    extra = {column: {_word(word): value for word, value in more.items()} for column, more in (words or {}).items()}
    for column, more in extra.items():
        wrong = sorted(set(more.values()) - set(WORDS.get(column, ())))
        if wrong:
            raise ReadingError(f"`words` for {column!r} needs values of {tuple(WORDS.get(column, ()))}, got {wrong}")
    unknown: dict[tuple[str, str], list[int]] = {}
    rows = []
    for number, values in enumerate(cells, start=2):
        if not any(value is not None and str(value).strip() for value in values):
            continue
        row: dict[str, Any] = {"row": number}
        for place, column in used.items():
            cell = str(values[place]).strip() if place < len(values) and values[place] is not None else ""
            row[column] = _value(column, cell, extra)
            if row[column] is None and not _is_empty(column, cell):
                unknown.setdefault((column, cell[:40]), []).append(number)
        rows.append(row)
    left = sorted(str(name) for place, name in enumerate(header) if place not in used)
    report = [f"{path.name}: columns not used: {', '.join(left)[:500]}"] if left else []
    for (column, cell), places in unknown.items():
        report.append(f"{path.name}: {column} {cell!r} is not known, in {_rows(places)}; pass words={{{column!r}: …}}")
    return LabelTable(rows, report)


def word_of(column: str, cell: str) -> str | None:
    """This package's word for one cell, `None` where it is empty or says that nobody knows.

    Args:
        column: of `WORDS`: "view", "image_type", "disease" or "lge".
        cell: as in the table.

    Raises:
        ReadingError: no table knows the word.
    """
    cell = cell.strip()
    value = _value(column, cell, {})
    if value is None and not _is_empty(column, cell):
        raise ReadingError(
            f"{column} {cell[:40]!r} is not known: use one of {', '.join(WORDS[column])}, or leave it empty"
        )
    return value


def _word(cell: str) -> str:
    return _SIGNS.get("".join(cell.lower().split())) or plain(cell)


def _is_empty(column: str, cell: str) -> bool:
    return plain(cell) in _EMPTY and not (column == "lge" and _word(cell) in ("none", "present"))


def _value(column: str, cell: str, extra: Mapping[str, Mapping[str, str]]) -> str | None:
    if column not in WORDS:
        return cell or None
    if _is_empty(column, cell):
        return None
    word = _word(cell)
    return extra.get(column, {}).get(word) or _VALUES[column].get(word)


def _rows(places: list[int]) -> str:
    shown = ", ".join(map(str, places[:20]))
    return f"row{'s' if len(places) > 1 else ''} {shown}{f' and {len(places) - 20} more' if len(places) > 20 else ''}"


def _used_columns(header: Iterable[Any], name: str, given: Mapping[str, str]) -> dict[int, str]:
    wrong = sorted(set(given.values()) - set(COLUMNS))
    if wrong:
        raise ReadingError(f"`columns` needs names of {tuple(COLUMNS)}, got {wrong}: correct them")
    own = {plain(key): value for key, value in given.items()}
    used: dict[int, str] = {}
    for place, title in enumerate(header):
        column = own.get(plain(str(title))) or _COLUMN_NAMES.get(plain(str(title)))
        if column is None or (column in own.values() and plain(str(title)) not in own):
            continue
        if column in used.values():
            raise ReadingError(f"{name} has two columns for {column!r}: say which with columns={{name: {column!r}}}")
        used[place] = column
    if not {"patient", "file"} & set(used.values()):
        raise ReadingError(
            f"{name} needs a column patient or file: add it, or name it with columns={{name: 'patient'}}"
        )
    return used


def _text_table(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
            rows = []
            for row in csv.reader(file, delimiter=separator, strict=True):
                rows.append(row)
                if len(rows) > _MAX_ROWS or any(len(cell) > _MAX_CELL for cell in row):
                    raise ReadingError(
                        f"{path.name} needs at most {_MAX_ROWS} rows and {_MAX_CELL} characters a cell: split it"
                    )
    except (UnicodeDecodeError, csv.Error):
        raise ReadingError(f"{path.name} needs to be CSV in UTF-8: save it again as 'CSV UTF-8'") from None
    if len(rows) < 2:
        raise ReadingError(f"{path.name} needs a header and at least one row: check the file")
    return rows[0], rows[1:]


def _parquet(path: Path) -> tuple[list[str], list[tuple]]:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ReadingError(f"{path.name} needs pyarrow to be read: pip install pyarrow, or save it as CSV") from None
    try:
        held = pyarrow.parquet.ParquetFile(path)
        if held.metadata.num_rows > _MAX_ROWS:
            raise ReadingError(f"{path.name} needs at most {_MAX_ROWS} rows: split it")
        table = held.read()
    except ReadingError:
        raise
    except Exception as error:  # pyarrow raises many types on damaged bytes
        kind = type(error).__name__
        raise ReadingError(f"{path.name} is no Parquet table, or is damaged ({kind}): write it again") from None
    return table.column_names, list(zip(*(column.to_pylist() for column in table.columns), strict=True))
