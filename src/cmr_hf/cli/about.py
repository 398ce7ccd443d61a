"""`cmr-hf info`: what is installed."""

import argparse
import json
from pathlib import Path


def info(args: argparse.Namespace) -> int:
    """`cmr-hf info`: versions, device, embedded models with licence and what they were measured to do, samples."""
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
    """What a model's results say in short: a line for each data set and metric, all classes of it in a row."""
    if not file.is_file():
        return ["not measured"]
    from ..publishing.measured import metric_name
    from ..publishing.tables import short_numbers

    try:
        told = short_numbers(json.loads(file.read_text(encoding="utf-8")))
    except json.JSONDecodeError:
        return [f"{file.name} is not readable"]
    rows: dict[str, list[str]] = {}
    for one in told:
        what = ", ".join((metric_name(one.metric), *one.of[:-1]))
        rows.setdefault(f"{one.data}, {one.side}: {what}", []).append(f"{one.of[-1]} {one.shown}")
    return [f"{row}: {', '.join(values)}" for row, values in rows.items()] or ["not measured"]
