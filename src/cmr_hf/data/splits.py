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
        `dict` with the sides of `SIDES`.

    Raises:
        ValueError: the data set or a side is missing, or one patient stands on two sides.
    """
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    if dataset not in document:
        known = sorted(key for key in document if not key.startswith("_"))
        raise ValueError(f"{path} has no split for {dataset!r}; it knows {known}")
    sides = document[dataset]
    missing = [side for side in SIDES if side not in sides]
    if missing:
        raise ValueError(f"the split of {dataset!r} in {path} lacks {missing}: give each of {list(SIDES)} a list")
    seen: dict[str, str] = {}
    for side in SIDES:
        for patient in sides[side]:
            if patient in seen:
                raise ValueError(
                    f"{patient} is on two sides of {dataset!r} in {path} ({seen[patient]} and {side}): "
                    "a patient may be on one side only"
                )
            seen[patient] = side
    return {side: list(sides[side]) for side in SIDES}
