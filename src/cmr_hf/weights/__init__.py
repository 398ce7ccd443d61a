"""Small trained models that ship inside the package."""

from pathlib import Path

FOLDER = Path(__file__).parent
SHAPE_CLASSIFIER = FOLDER / "disease-shape" / "classifier.json"  # of `clinical.shape`; no transformers model
SHARED = FOLDER / "shared"  # what several models have in common, named by their model.safetensors.index.json
ALIASES = {"lge-sax": "cine-sax"}  # a task -> the model that answers it as well


def embedded_names() -> list[str]:
    """Short names of the models inside the package."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.json"))


def released() -> dict[str, Path]:
    """Short name -> folder of all that `cmr-hf publish` knows by name: the models, and the classifier of shapes."""
    found = {name: embedded(name) for name in embedded_names()}
    if SHAPE_CLASSIFIER.is_file():
        found[SHAPE_CLASSIFIER.parent.name] = SHAPE_CLASSIFIER.parent
    return dict(sorted(found.items()))


def known_names() -> list[str]:
    """The names that `embedded` takes: of the models, and of further tasks that one of them answers."""
    there = embedded_names()
    return sorted({*there, *(name for name, model in ALIASES.items() if model in there)})


def embedded(name: str) -> Path:
    """The folder of a model inside the package, for `pipeline(task, model=…)` and `from_pretrained`.

    Args:
        name (`str`): short name, "cine-sax" say; "lge-sax" is the same model, which learned both.

    Raises:
        ValueError: no such model; the message lists those there are.
    """
    folder = FOLDER / ALIASES.get(name, name)
    if Path(name).name != name or not (folder / "config.json").is_file():
        raise ValueError(f"no embedded model {name!r}; this release has {known_names()}")
    return folder
