"""Small trained models that ship inside the package."""

from pathlib import Path

FOLDER = Path(__file__).parent


def embedded_names() -> list[str]:
    """Short names of the models inside the package."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.json"))


def embedded(name: str) -> Path:
    """The folder of a model inside the package, for `pipeline(task, model=…)` and `from_pretrained`.

    Args:
        name (`str`): short name, "cine-sax" say.

    Raises:
        ValueError: no such model; the message lists those there are.
    """
    folder = FOLDER / name
    if Path(name).name != name or not (folder / "config.json").is_file():
        raise ValueError(f"no embedded model {name!r}; this release has {embedded_names()}")
    return folder
