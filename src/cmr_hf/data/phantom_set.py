"""Phantoms as a data set: hearts from equations, made while they are read, so there is no folder to point at.

    sides = load("phantoms", hearts=200)
    sides = load("phantoms", hearts=200, split=split_by_trait(list_phantom_patients(hearts=200), "edv_ml", 200, 400))
    rows = stream_phantoms(list_phantom_patients(hearts=100_000, first_seed=1000))

A patient's name says disease and seed; hearts of other seeds are other people, so two ranges of seeds share nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import phantoms
from ..phantoms import DISEASES, SERIES, Protocol, Scanner, Traits, draw_traits, examples_of
from ..phantoms.people import disease_and_seed, pseudonym
from .schema import LabelledStack, features, rows_of

if TYPE_CHECKING:
    from datasets import IterableDataset

LICENCE = "apache-2.0"
CITATION = "The phantoms of cmr_hf"


def list_phantom_patients(
    root: str | Path | None = None, hearts: int = 100, first_seed: int = 0, diseases: Sequence[str] = DISEASES
) -> list[str]:
    """Names of phantoms, sorted: seeds `first_seed`, `first_seed + 1` …, the diseases in turn.

    Args:
        root: not used; there is nothing to read.
        hearts (`int`): how many.
        first_seed (`int`): of the first one; ranges of seeds that do not overlap have no heart in common.
        diseases (sequence of `str`): of `cmr_hf.phantoms.DISEASES`.
    """
    strange = sorted(set(diseases) - set(DISEASES))
    if strange or not diseases:
        raise ValueError(f"`diseases` needs names of {DISEASES}, got {strange or 'none'}: leave it out for all of them")
    if hearts < 1 or first_seed < 0:
        raise ValueError(f"`hearts` and `first_seed` need >= 1 and >= 0, got {hearts} and {first_seed}: count from 0")
    seeds = range(first_seed, first_seed + hearts)
    return sorted(pseudonym(diseases[seed % len(diseases)], seed) for seed in seeds)


def read_phantoms(
    root: str | Path | None = None,
    patients: Iterable[str] | None = None,
    *,
    series: Sequence[str] = SERIES,
    protocol: Protocol | None = None,
    scanner: Scanner | None = None,
    between: int = 0,
    hearts: int = 100,
    first_seed: int = 0,
    diseases: Sequence[str] = DISEASES,
) -> Iterator[LabelledStack]:
    """Makes the stacks of some phantoms, heart after heart.

    Args:
        root: not used; there is nothing to read.
        patients (iterable of `str`, *optional*): names as `list_phantom_patients` gives them, by default all of its.
        series (sequence of `str`): of `cmr_hf.phantoms.SERIES`; not used with `protocol`.
        protocol (`Protocol`, *optional*): how all are scanned, by default each with one drawn from its seed.
        scanner (`Scanner`, *optional*): ranges of noise and other effects.
        between (`int`, defaults to 0): moments of each cine besides ED and ES, drawn from its whole cycle.
        hearts, first_seed, diseases: of `list_phantom_patients`, without `patients`.

    Raises:
        ValueError: a name is not a phantom's.
    """
    for patient in list_phantom_patients(root, hearts, first_seed, diseases) if patients is None else patients:
        disease, seed = disease_and_seed(patient)
        own = protocol or Protocol.drawn(seed, series=tuple(series))
        for stack in examples_of(disease, seed, own, scanner, between):
            yield LabelledStack(source="phantoms", licence=LICENCE, **stack)


def split_by_trait(
    patients: Sequence[str], trait: str, low: float, high: float, validation: float = 0.15, seed: int = 0
) -> dict[str, list[str]]:
    """Phantoms whose trait lies in a range are for testing: what no training heart is like.

    Args:
        patients (sequence of `str`): names of phantoms.
        trait (`str`): a number of `cmr_hf.phantoms.Traits`, "edv_ml", "ef" or "field_t" say.
        low, high (`float`): the range, both ends included.
        validation (`float`): share of all others that is not for training.
        seed (`int`): of that draw.

    Returns:
        Patients of "train", "validation" and "test", as `load` takes them.
    """
    known = [one.name for one in fields(Traits)]
    if trait not in known or draw_traits(["NORM"], 0).__dict__[trait].ndim != 1:
        raise ValueError(f"`trait` needs a number of each heart, one of {known}, got {trait!r}: such as 'edv_ml'")
    if not low <= high or not 0 <= validation < 1:
        raise ValueError(f"`low` <= `high` and 0 <= `validation` < 1 are needed, got {low}, {high} and {validation}")
    values = {
        name: float(getattr(draw_traits([disease], number), trait)[0]) for name, disease, number in _all(patients)
    }
    test = sorted(name for name, value in values.items() if low <= value <= high)
    rest = sorted(set(values) - set(test))
    if not test or not rest:
        raise ValueError(
            f"`low` and `high` need to part the {len(values)} hearts, got {len(test)} with {trait} from {low:g} to "
            f"{high:g}: it runs from {min(values.values()):g} to {max(values.values()):g}"
        )
    order = np.random.default_rng(seed).permutation(rest).tolist()
    apart = round(validation * len(order))
    return {"train": sorted(order[apart:]), "validation": sorted(order[:apart]), "test": test}


def _all(patients: Sequence[str]) -> Iterator[tuple[str, str, int]]:
    for patient in patients:
        yield patient, *disease_and_seed(patient)


def stream_phantoms(patients: Sequence[str], **options: Any) -> IterableDataset:
    """Rows of `features()` that are made while a training reads them and never stored.

    Args:
        patients (sequence of `str`): names of phantoms; workers of a loader share them out.
        options: of `read_phantoms`.
    """
    import datasets

    given = {"patients": list(patients), "options": options}
    return datasets.IterableDataset.from_generator(_rows, features=features(), gen_kwargs=given)


def _rows(patients: list[str], options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for stack in read_phantoms(patients=patients, **options):
        yield from rows_of(stack)


def code_stamp() -> str:
    """Changes when the code that makes phantoms does, so that a cache is not older."""
    digest = hashlib.sha256()
    for path in sorted(Path(phantoms.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
