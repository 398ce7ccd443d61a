"""`cmr-hf info`: what is installed."""

import argparse
import json
from pathlib import Path
from typing import Any


def info(args: argparse.Namespace) -> int:
    """`cmr-hf info`: versions, device, embedded models with licence and measured Dice, samples."""
    import torch
    import transformers

    from .. import __version__
    from ..samples import SAMPLES
    from ..weights import embedded, embedded_names

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"cmr_hf        {__version__}")
    print(f"transformers  {transformers.__version__}")
    print(f"torch         {torch.__version__}")
    print(f"device        {device}")
    models = [embedded(name) for name in embedded_names()]
    print("\nEmbedded models" + ("" if models else ": none"))
    for folder in models:
        print(f"  {folder.name:<12} {_licence(folder)}")
        for line in _lines(folder / "results.json"):
            print(f"  {'':<12} {line}")
    print("\nSamples")
    for name, what in SAMPLES.items():
        print(f"  {name:<12} {what}")
    return 0


def _licence(folder: Path) -> str:
    """First line with words in the model's licence file."""
    for file in sorted(folder.glob("LICEN[SC]E*")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.strip(" #=-*"):
                return line.strip(" #=-*")
    return "no licence file"


def _lines(file: Path) -> list[str]:
    """What a model's results say in short: Dice, or of a classifier and of landmarks the means over all."""
    found = _dice_lines(file)
    if found or not file.is_file():
        return found
    from ..publishing.tables import short_numbers

    told = short_numbers(json.loads(file.read_text(encoding="utf-8")))
    return [f"{one.data} {one.side}: {one.name} {one.shown}" for one in told]


def _dice_lines(file: Path) -> list[str]:
    """Every entry of a results file whose name contains "dice", as `where: class value, …`."""
    if not file.is_file():
        return ["Dice not measured"]

    def walk(value: Any, where: tuple[str, ...]) -> list[str]:
        if not isinstance(value, dict):
            number = isinstance(value, (int, float)) and any("dice" in part.lower() for part in where)
            return [f"{' '.join(where)}: {value:.3f}"] if number else []
        if value and all(isinstance(v, (int, float)) for v in value.values()):
            named = any("dice" in part.lower() for part in where)
            scores = ", ".join(
                f"{name} {score}" if isinstance(score, int) else f"{name} {score:.3f}" for name, score in value.items()
            )
            return [f"{' '.join(where)}: {scores}"] if named else []
        return [line for name, inner in value.items() for line in walk(inner, (*where, str(name)))]

    try:
        return walk(json.loads(file.read_text()), ()) or ["Dice not measured"]
    except json.JSONDecodeError:
        return [f"{file.name} is not readable"]
