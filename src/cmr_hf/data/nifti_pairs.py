"""Any NIfTI images with masks beside them, found by a pattern of their names.

read_nifti_pairs("data", labels={1: 1, 2: 2, 3: 3})                     patient7.nii.gz and patient7_gt.nii.gz
read_nifti_pairs("data", image="imagesTr/{patient}_0000.nii.gz", mask="labelsTr/{patient}.nii.gz")
read_nifti_pairs("data", image="{patient}/{series}.nii.gz", mask="{patient}/{series}_seg.nii.gz")
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..hub.reading_cmr import ReadingError
from .schema import LABELS, UNKNOWN, LabelledStack
from .volumes import drawn_ids, phases_of, read_mask, read_volume, translated

IMAGE, MASK = "{patient}.nii.gz", "{patient}_gt.nii.gz"
FIELDS = ("patient", "study", "series")


def list_nifti_pairs_patients(root: str | Path, image: str = IMAGE, mask: str | None = MASK) -> list[str]:
    """Patients of the images below `root`, sorted; for the arguments see `read_nifti_pairs`."""
    return sorted({fields["patient"] for _, fields in _images(root, image, mask)})


def read_nifti_pairs(
    root: str | Path,
    patients: Iterable[str] | None = None,
    *,
    image: str = IMAGE,
    mask: str | None = MASK,
    labels: Mapping[int, int] | None = None,
    **fields: Any,
) -> Iterator[LabelledStack]:
    """Reads 3-D or 4-D images with masks of the same shape, every phase a stack.

    Args:
        root (`str` or `Path`): where the patterns begin.
        patients (iterable of `str`, *optional*): which ones, by default all.
        image (`str`): pattern of the images: `{patient}` and, if wanted, `{study}` and `{series}` stand for parts of
            a path without "/", a field used twice for the same text.
        mask (`str`, *optional*): pattern of the masks, of the same fields; `None` for images alone.
        labels (`Mapping`): their ids → the package's (`schema.LABELS`, or 255 for "nobody said"); needed with masks,
            as data sets number the ventricles differently. 0 stays 0 unless given.
        fields: of `LabelledStack`, for all: `image_type`, `view`, `source`, `licence` …

    Raises:
        ReadingError: a pattern finds nothing, a mask is missing or lies elsewhere than its image, or has other labels.
        ValueError: `labels` is missing or maps to ids that the package has not, or a pattern has no `{patient}`.
    """
    if mask is not None and not labels:
        raise ValueError(f"`labels` is needed: say which of {LABELS} each id of the masks is, such as {{1: 3, 2: 2}}")
    ids = {0: 0} | dict(labels or {})
    strange = sorted(set(ids.values()) - {*LABELS, UNKNOWN})
    if strange:
        raise ValueError(f"`labels` needs to map to ids of {LABELS} or {UNKNOWN}, got {strange}")
    common = {"source": "nifti-pairs"} | fields
    found = _images(root, image, mask)
    for patient in sorted({own["patient"] for _, own in found}) if patients is None else patients:
        mine = [(path, own) for path, own in found if own["patient"] == patient]
        if not mine:
            raise ReadingError(f"{root} has no {image} of {patient}: check `image` and `root`")
        for path, own in mine:
            volume = read_volume(path)
            labelled = {}
            if mask is not None:
                mask_path = Path(root) / mask.format(**own)
                masks = translated(read_mask(mask_path, volume, same_place=True).pixels, ids, mask_path)
                labelled = {t: {"masks": one, "drawn": drawn_ids(ids)} for t, one in enumerate(masks)}
            yield from phases_of(volume, labelled, True, **common, **own)


def _images(root: str | Path, image: str, mask: str | None) -> list[tuple[Path, dict[str, str]]]:
    """Images below `root` with the fields of their names; what also fits the masks' pattern is none."""
    root = Path(root)
    pattern, glob = _compiled(image)
    masks: set[Path] = set()
    if mask is not None:
        mask_pattern, mask_glob = _compiled(mask)
        if extra := mask_pattern.groupindex.keys() - pattern.groupindex.keys():
            raise ValueError(f"`mask` has {sorted(extra)}, which `image` has not: got {mask!r} and {image!r}")
        if Path(image).parent == Path(mask).parent:
            masks = set(root.glob(mask_glob))
    found = []
    for path in sorted(root.glob(glob)):
        match = pattern.fullmatch(path.relative_to(root).as_posix())
        if match and path not in masks:
            found.append((path, match.groupdict()))
    if not found:
        raise ReadingError(f"{root} has no file like {image}: check `image` and `root`")
    return found


def _compiled(template: str) -> tuple[re.Pattern[str], str]:
    """A pattern as a regular expression and as a glob."""
    parts = re.split(r"\{(\w+)\}", template)
    if "patient" not in parts[1::2] or set(parts[1::2]) - set(FIELDS):
        raise ValueError(f"a pattern needs {{patient}} and may have {FIELDS[1:]}, got {template!r}")
    expression, seen = "", set()
    for index, part in enumerate(parts):
        if index % 2 == 0:
            expression += re.escape(part)
        else:
            expression += f"(?P={part})" if part in seen else f"(?P<{part}>[^/]+)"
            seen.add(part)
    return re.compile(expression), "".join("*" if index % 2 else part for index, part in enumerate(parts))
