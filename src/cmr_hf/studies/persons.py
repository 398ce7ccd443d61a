"""Which files belong to one study of one patient; two patients or two studies are never mixed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from .headers import FileHeader

Person = tuple[str, str]


def apart(files: Sequence[FileHeader], notes: list[str]) -> list[list[int]]:
    """Parts files by study and patient.

    Files that miss the patient or the study join the only part that they can belong to; of one patient, studies that
    share a frame of reference are one: nobody left the table in between.

    Args:
        files: headers, with frames or without.
        notes: where what was found is said.

    Returns:
        Indices of the files of each part, most frames first. Files without a patient and a study are in none.
    """
    units: dict[tuple[str, Person], list[int]] = defaultdict(list)
    for index, file in enumerate(files):
        if file.frames or file.study_uid:
            units[(file.study_uid, file.person)].append(index)
    parts: list[tuple[set[str], set[Person], list[int]]] = []
    order = sorted(units, key=lambda key: (-bool(key[0]) - all(key[1]), -_frames(files, units[key]), units[key][0]))
    for study, person in order:
        members = units[(study, person)]
        hosts = [part for part in parts if _fits(part, study, person, files, members)]
        if len(hosts) == 1:
            studies, persons, indices = hosts[0]
            if study and studies and study not in studies:
                notes.append("two study UIDs of one patient share a frame of reference: they are taken for one study")
            studies.add(study)
            persons.add(person)
            indices += members
        else:
            parts.append(({study}, {person}, list(members)))
    parts.sort(key=lambda part: (-_frames(files, part[2]), part[2][0]))
    with_images = [part for part in parts if _frames(files, part[2])]
    if len(with_images) > 1:
        persons = len({_known(part[1]) for part in with_images})
        what = f"{persons} patients" if persons > 1 else f"{len(with_images)} studies of one patient"
        notes.append(f"{what} in one place: they are kept apart")
    return [sorted(part[2]) for part in parts]


def _frames(files: Sequence[FileHeader], indices: Sequence[int]) -> int:
    return sum(len(files[index].frames) for index in indices)


def _known(persons: set[Person]) -> Person:
    return max(persons, key=lambda person: (sum(map(bool, person)), person))


def _fits(
    part: tuple[set[str], set[Person], list[int]],
    study: str,
    person: Person,
    files: Sequence[FileHeader],
    members: Sequence[int],
) -> bool:
    studies, persons, indices = part
    host = _known(persons)
    if any(own and other and own != other for own, other in zip(person, host, strict=True)):
        return False
    if study and study in studies:
        return True
    if study and studies - {""}:
        return bool(person[0]) and person[0] == host[0] and bool(_places(files, members) & _places(files, indices))
    return True  # one of them does not say which study it is of


def _places(files: Sequence[FileHeader], indices: Sequence[int]) -> set[str]:
    return {one.place_uid for index in indices for one in files[index].frames if one.place_uid}
