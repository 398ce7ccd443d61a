"""Every data set that can be read, under one name, and one way to read it that survives a broken patient.

for stack in read("acdc", root, on_error=report): …
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..hub.reading_cmr import ReadingError
from . import (
    acdc,
    biv_me,
    emidec,
    kaggle_dsb,
    mnms,
    myops,
    nifti_pairs,
    own_set,
    phantom_set,
    sunnybrook,
    sunnybrook_slices,
    ukbb,
)
from .schema import LabelledStack


@dataclass(frozen=True)
class Reader:
    """How one data set is read.

    Attributes:
        read: `(root, patients=None, **options)` → its stacks, patient after patient.
        patients: `(root)` → all pseudonyms, sorted; takes those options that change them.
        licence (`str`): the Hub's name of its licence; "other" where the publisher asks for an agreement.
        citation (`str`): what to cite.
        has (`tuple` of `str`): the labels that it may bring, of "masks", "disease", "lge", "landmarks", "volumes".
        volumes (*optional*): `(root)` → patient → (end-systolic, end-diastolic) LV volume in ml.
        stamp (*optional*): what a made data set depends on instead of files; it needs no `root`.
    """

    read: Callable[..., Iterator[LabelledStack]]
    patients: Callable[..., list[str]]
    licence: str
    citation: str
    has: tuple[str, ...] = ()
    volumes: Callable[[str | Path], dict[str, tuple[float, float]]] | None = None
    stamp: Callable[[], str] | None = None


READERS: dict[str, Reader] = {
    "acdc": Reader(acdc.read_acdc, acdc.list_acdc_patients, acdc.LICENCE, acdc.CITATION, ("masks", "disease")),
    "emidec": Reader(
        emidec.read_emidec, emidec.list_emidec_patients, emidec.LICENCE, emidec.CITATION, ("masks", "lge")
    ),
    "mnms": Reader(mnms.read_mnms, mnms.list_mnms_patients, mnms.LICENCE, mnms.CITATION, ("masks", "disease")),
    "mnms2": Reader(mnms.read_mnms2, mnms.list_mnms2_patients, mnms.LICENCE, mnms.CITATION_2, ("masks", "disease")),
    "mscmrseg": Reader(
        myops.read_mscmrseg, myops.list_mscmrseg_patients, myops.LICENCE, myops.CITATION_MSCMRSEG, ("masks",)
    ),
    "myops": Reader(myops.read_myops, myops.list_myops_patients, myops.LICENCE, myops.CITATION_MYOPS, ("masks", "lge")),
    "sunnybrook": Reader(
        sunnybrook.read_sunnybrook,
        sunnybrook.list_sunnybrook_patients,
        sunnybrook.LICENCE,
        sunnybrook.CITATION,
        ("masks", "disease"),
    ),
    "sunnybrook-slices": Reader(
        sunnybrook_slices.read_sunnybrook_slices,
        sunnybrook_slices.list_sunnybrook_slices_patients,
        sunnybrook.LICENCE,
        sunnybrook.CITATION,
        ("masks", "disease"),
    ),
    "kaggle-dsb": Reader(
        kaggle_dsb.read_kaggle_dsb,
        kaggle_dsb.list_kaggle_dsb_patients,
        kaggle_dsb.LICENCE,
        kaggle_dsb.CITATION,
        ("volumes",),
        kaggle_dsb.kaggle_dsb_volumes,
    ),
    "ukbb": Reader(ukbb.read_ukbb, ukbb.list_ukbb_patients, ukbb.LICENCE, ukbb.CITATION),
    "nifti-pairs": Reader(
        nifti_pairs.read_nifti_pairs, nifti_pairs.list_nifti_pairs_patients, "unknown", "", ("masks",)
    ),
    "biv-me": Reader(
        biv_me.read_biv_me, biv_me.list_biv_me_patients, biv_me.LICENCE, biv_me.CITATION, ("masks", "landmarks")
    ),
    "phantoms": Reader(
        phantom_set.read_phantoms,
        phantom_set.list_phantom_patients,
        phantom_set.LICENCE,
        phantom_set.CITATION,
        ("masks", "disease", "lge", "landmarks"),
        stamp=phantom_set.code_stamp,
    ),
    "table": Reader(
        own_set.read_own_set, own_set.list_table_patients, "unknown", "", ("masks", "disease", "lge", "landmarks")
    ),
}


def reader_of(name: str) -> Reader:
    """The reader called `name`; a ValueError names all others."""
    if name not in READERS:
        raise ValueError(f"`name` must be one of {sorted(READERS)}, got {name!r}")
    return READERS[name]


def patients_of(name: str, root: str | Path, **options: Any) -> list[str]:
    """All pseudonyms of a data set, sorted, under the options that it is read with.

    Args:
        name (`str`): one of `READERS`.
        root (`str` or `Path`): its folder.
        options: of the reader; those that do not change the patients are ignored.
    """
    patients = reader_of(name).patients
    known = inspect.signature(patients).parameters
    return patients(root, **{key: value for key, value in options.items() if key in known})


def read(
    name: str,
    root: str | Path,
    patients: Iterable[str] | None = None,
    on_error: Callable[[str, Exception], None] | None = None,
    **options: Any,
) -> Iterator[LabelledStack]:
    """Reads a data set patient by patient.

    Args:
        name (`str`): one of `READERS`.
        root (`str` or `Path`): its folder, in the data set's own layout.
        patients (iterable of `str`, *optional*): which ones, by default all.
        on_error (*optional*): called with patient and error where one cannot be read; the rest goes on. Such a patient
            gives no stack at all. Without it the first error raises.
        options: of the reader.

    Raises:
        ValueError: unknown data set.
        ReadingError: `root` has no patient; or a patient cannot be read and `on_error` is `None`.
    """
    reader = reader_of(name)
    for patient in patients_of(name, root, **options) if patients is None else patients:
        try:
            stacks = list(reader.read(root, [patient], **options))
        except (OSError, ValueError) as error:
            if not isinstance(error, ReadingError):
                error = ReadingError(f"{name} {patient}: {error}")
            if on_error is None:
                raise error from None
            on_error(patient, error)
        else:
            yield from stacks
