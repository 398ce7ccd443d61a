"""UK Biobank: zips of DICOM cine, SAX and long axes, with the manifest that names each series.

    1234567_20209_2_0.zip     short axis: CINE_segmented_SAX_b1, …_b2 … a slice each (or all in CINE_segmented_SAX)
    1234567_20208_2_0.zip     long axis: CINE_segmented_LAX_2Ch, …_3Ch, …_4Ch
    manifest.csv or manifest.cvs in each zip, with the columns "filename" and "series discription" (sic)

Names are participant_field_visit_index; the participant number (eid) is an identity. It becomes a keyed hash, which
nobody can turn back without the salt, and appears in no stack and no error.
Sources: UK Biobank fields 20208 and 20209; Petersen et al. 2016, doi:10.1186/s12968-016-0227-4; the manifests as
github.com/baiwenjia/ukbb_cardiac reads them.
"""

import csv
import hashlib
import hmac
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..hub.dicom_tags_cmr import number, parse, text
from ..hub.reading_cmr import ReadingError
from ..hub.unpacking_cmr import unpacked
from .schema import LabelledStack
from .volumes import phases_of, read_series

ZIP = re.compile(r"(\d+)_(2020[89])_(\d+)_(\d+)\.zip")
SAX = re.compile(r"CINE_segmented_SAX(_b\d+)?")
LAX = re.compile(r"CINE_segmented_LAX_([234])Ch")
DATE = re.compile(r"([A-Z][a-z]{2}) (\d{1,2}), (\d{4})")  # its comma is not quoted
SALT = "CMR_HF_SALT"
LICENCE = "other"  # for approved applications
CITATION = "Petersen et al. 2016, J Cardiovasc Magn Reson 18:8, doi:10.1186/s12968-016-0227-4"


def list_ukbb_patients(root: str | Path, salt: str | None = None, keep_eid: bool = False) -> list[str]:
    """Pseudonyms of all participants below `root`, sorted; for the arguments see `read_ukbb`."""
    return sorted(_zips(root, salt, keep_eid))


def pseudonym(eid: str, salt: str | None = None) -> str:
    """A participant's name outside: "ukbb-" and 16 digits of a hash (HMAC-SHA256) keyed with `salt`.

    Raises:
        ReadingError: there is no salt; without one, seven digits would be found by trying them all.
    """
    salt = salt or os.environ.get(SALT)
    if not salt:
        raise ReadingError(
            f"UK Biobank's participant numbers need a secret text to be hidden: set {SALT} or pass salt= (the same one "
            "each time), or keep_eid=True where the numbers may be seen"
        )
    return "ukbb-" + hmac.new(salt.encode(), eid.encode(), hashlib.sha256).hexdigest()[:16]


def read_ukbb(
    root: str | Path, patients: Iterable[str] | None = None, *, salt: str | None = None, keep_eid: bool = False
) -> Iterator[LabelledStack]:
    """Reads every phase of every cine of some participants; `study` is the visit, "2_0".

    Series under other names (InlineVF results, a mixed CINE_segmented_LAX) are not read. Of a slice or long axis
    that was repeated, the last series counts.

    Args:
        root (`str` or `Path`): a folder above the zips.
        patients (iterable of `str`, *optional*): which pseudonyms, by default all.
        salt (`str`, *optional*): the secret of the pseudonyms, by default the environment variable CMR_HF_SALT.
        keep_eid (`bool`, defaults to `False`): the participant number itself is the patient's name.

    Raises:
        ReadingError: no salt, a participant is missing, or a zip, its manifest or a series is broken.
    """
    zips = _zips(root, salt, keep_eid)
    for patient in sorted(zips) if patients is None else patients:
        if patient not in zips:
            raise ReadingError(f"there is no zip of {patient}: point `root` above the zips, with the salt of before")
        for study, path in zips[patient]:
            try:
                yield from _read_zip(path, patient, study)
            except OSError as error:  # its text has the path, and so the number
                raise ReadingError(f"{patient} {study}: the zip cannot be read ({error.strerror})") from None


def _read_zip(path: Path, patient: str, study: str) -> Iterator[LabelledStack]:
    name = f"{patient} {study}"
    with unpacked(path, name) as (folder, _):
        for series, view, files in _series(folder, name):
            yield from phases_of(
                read_series([(file, file.name) for file in files], f"{name} {series}"),
                {},
                True,
                patient=patient,
                study=study,
                series=series,
                image_type="cine",
                view=view,
                source="ukbb",
                licence=LICENCE,
            )


def _zips(root: str | Path, salt: str | None, keep_eid: bool) -> dict[str, list[tuple[str, Path]]]:
    """Pseudonym → (visit, zip), long axis before short axis."""
    found: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    for path in sorted(Path(root).rglob("*.zip"), key=lambda path: path.name):
        if match := ZIP.fullmatch(path.name):
            eid, _, visit, index = match.groups()
            found[eid if keep_eid else pseudonym(eid, salt)].append((f"{visit}_{index}", path))
    if not found:
        raise ReadingError(f"{root} has no …_20209_2_0.zip or …_20208_2_0.zip: point `root` above UK Biobank's zips")
    return dict(found)


def _series(folder: Path, name: str) -> list[tuple[str, str, list[Path]]]:
    """Series, view and files of an unpacked zip."""
    by_series: dict[str, list[Path]] = defaultdict(list)
    for description, file in _manifest(folder, name):
        if SAX.fullmatch(description) or LAX.fullmatch(description):
            by_series[description].append(folder / file)
    slices = {key: files for key, files in by_series.items() if SAX.fullmatch(key)}
    found = []
    if slices:
        files = [file for key, own in slices.items() for file in (own if key.endswith("SAX") else _last(own, name))]
        found.append(("sax", "SAX", files))
    for description in sorted(by_series.keys() - slices.keys()):
        chamber = LAX.fullmatch(description)[1]
        found.append((f"{chamber}ch", f"{chamber}CH", _last(by_series[description], name)))
    if not found:
        raise ReadingError(f"{name}: the manifest names no CINE_segmented_SAX_… or CINE_segmented_LAX_…: fetch the zip")
    return found


def _manifest(folder: Path, name: str) -> list[tuple[str, str]]:
    """(series description, file) of every file."""
    path = next((folder / file for file in ("manifest.csv", "manifest.cvs") if (folder / file).is_file()), None)
    if path is None:
        raise ReadingError(f"{name} has no manifest.csv or manifest.cvs: fetch the zip again")
    lines = DATE.sub(r"\2-\1-\3", path.read_text(encoding="utf-8", errors="replace")).splitlines()
    table = csv.DictReader(lines, skipinitialspace=True)
    wanted = ("series discription", "filename")
    if not set(wanted) <= set(table.fieldnames or ()):
        raise ReadingError(f"{name}: the manifest needs the columns {wanted}, got {table.fieldnames}: fetch the zip")
    rows = [tuple((row[column] or "").strip() for column in wanted) for row in table]
    return [(description, Path(file).name) for description, file in rows if file]


def _last(files: list[Path], name: str) -> list[Path]:
    """Of a series that was taken again, the files of the last one."""
    by_uid: dict[tuple[float, str], list[Path]] = defaultdict(list)
    for file in files:
        header = parse(file, f"{name} {file.name}", header_only=True)
        by_uid[(number(header, "SeriesNumber") or 0.0, text(header, "SeriesInstanceUID"))].append(file)
    return by_uid[max(by_uid)]
