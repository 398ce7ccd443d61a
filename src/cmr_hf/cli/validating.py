"""`cmr-hf validate`: can this model be trusted on your own labelled images?"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from .common import DEFAULT_MODEL, WrongUsageError, check_writable, print_notice

FIELDS = {"view": "view", "image-type": "image_type", "lge": "lge", "disease": "disease"}
WARNINGS = 8  # on the screen; the report has all


def add_validate(command: argparse.ArgumentParser) -> None:
    """The options of `cmr-hf validate`."""
    command.add_argument("--data", type=Path, required=True, metavar="TABLE.csv", help="images and labels, one a line")
    model = f"embedded model, folder or Hub id (default {DEFAULT_MODEL})"
    command.add_argument("--model", default=DEFAULT_MODEL, metavar="M", help=model)
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the report")
    command.add_argument("--task", choices=FIELDS, help="what a classifier tells, where it does not say itself")
    command.add_argument("--labels", nargs="+", type=pair_of_ids, metavar="FROM=TO", help="ids in masks: 3=1 2=2 1=3")
    command.add_argument("--failures", type=_count, default=10, metavar="N", help="worst cases with pictures (10)")
    identity = "patients as the table calls them, instead of numbers"
    command.add_argument("--keep-identity", action="store_true", help=identity)
    command.add_argument("--device", default="cpu", metavar="D", help="cpu (default), cuda, mps")
    command.set_defaults(run=validate)


def validate(args: argparse.Namespace) -> int:
    """`cmr-hf validate`: measures, writes the report, and says the most important on the screen."""
    from tqdm import tqdm
    from transformers.utils import logging

    from ..evaluation.predicting import open_model
    from ..evaluation.validation import validate as run
    from ..weights import embedded, known_names

    logging.disable_progress_bar()
    check_writable(args.out / "report.json")
    if not args.data.is_file():
        raise WrongUsageError(f"`--data` needs a CSV, got {args.data}: name the table of your images")
    name = str(embedded(args.model)) if args.model in known_names() else args.model
    try:
        model, processor, kind = open_model(name, args.device)
    except ValueError as error:
        raise WrongUsageError(str(error)) from error

    def bar(patients: Iterable, number: int) -> Iterable:
        return tqdm(patients, total=number, unit="patient", disable=None, leave=False)

    report = run(
        args.data,
        model,
        processor,
        kind,
        args.out,
        name=Path(name).resolve().name if Path(name).is_dir() else name,
        field=FIELDS.get(args.task),
        labels=dict(args.labels) if args.labels else None,
        keep_identity=args.keep_identity,
        failures=args.failures,
        progress=bar,
    )
    _print(report)
    for one in report["problems"]:
        print(f"error: line {one['line']}: {one['reason']}", file=sys.stderr)
    print(f"\n{args.out / 'report.html'}")
    print_notice()
    return 1 if report["problems"] else 0


def _print(report: dict) -> None:
    from ..evaluation.rendering import cell
    from ..evaluation.report import warnings_of

    counts = report["counts"]
    print(f"{report['name']}, {report['model']}: {counts['cases']} cases of {counts['patients']} patients")
    wide = max(len(one["target"]) for one in report["overall"])
    for one in report["overall"]:
        level = f" per {one['level']}" if one["level"] else ""
        unit = f", {one['unit']}" if one["unit"] else ""
        print(f"{one['target']:<{wide}}  {report['metric']}{level}{unit}  {cell(one, one['unit'])}")
    warned = warnings_of(report)
    for line in warned[:WARNINGS]:
        print(f"warning: {line}")
    if len(warned) > WARNINGS:
        print(f"and {len(warned) - WARNINGS} more warnings in the report")


def pair_of_ids(text: str) -> tuple[int, int]:
    """Two label ids out of "3=1"."""
    there, _, here = text.partition("=")
    if not (there.isdecimal() and here.isdecimal()):
        raise argparse.ArgumentTypeError(f"needs pairs of ids such as 3=1, got {text!r}")
    return int(there), int(here)


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number of at least 1, got {text}")
    return value
