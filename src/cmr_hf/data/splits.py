"""Which patient belongs to which side, read from one JSON file."""

import json
from pathlib import Path

SIDES = ("train", "validation", "test")


def load_split(path: str | Path, dataset: str) -> dict[str, list[str]]:
    """Patients of one data set, by side.

    Args:
        path (`str` or `Path`): JSON of the form `{"acdc": {"train": ["patient001", …], "validation": …, "test": …}}`.
        dataset (`str`): which data set, "acdc" say.

    Returns:
        `dict` with the sides of `SIDES`; one that the file does not name is empty.

    Raises:
        ValueError: the data set is missing or has no known side, or one patient stands on two sides.
    """
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    if dataset not in document:
        known = sorted(key for key in document if not key.startswith("_"))
        raise ValueError(f"{path} has no split for {dataset!r}; it knows {known}")
    sides = document[dataset]
    unknown = [side for side in sides if side not in SIDES and not side.startswith("_")]
    if unknown or not sides:
        raise ValueError(f"the split of {dataset!r} in {path} needs sides called {list(SIDES)}, got {unknown}: rename")
    seen: dict[str, str] = {}
    for side in SIDES:
        for patient in sides.get(side, ()):
            if patient in seen:
                raise ValueError(
                    f"{patient} is on two sides of {dataset!r} in {path} ({seen[patient]} and {side}): "
                    "a patient may be on one side only"
                )
            seen[patient] = side
    return {side: list(sides.get(side, ())) for side in SIDES}
