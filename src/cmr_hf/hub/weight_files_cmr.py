"""Which safetensors files hold a model's weights: one, or several that an index names, those it shares included."""

import json
from pathlib import Path

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights, those it shares included, sorted; none without the usual names."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not (folder / INDEX).is_file():
        return []
    index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return sorted({(folder / name).resolve() for name in index["weight_map"].values()})
