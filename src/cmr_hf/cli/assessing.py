"""`cmr-hf assess`: a whole study through all models, or a folder of studies."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .common import WrongUsageError, print_notice

if TYPE_CHECKING:
    from ..assessment import StudyAssessment

# as cmr_hf.assessment has them, which takes seconds to import; a test compares
ROLES = (
    "image-type", "cine-view", "cine-sax", "cine-4ch", "lge-sax", "mapping-sax", "rv-insertion", "lge-detection",
    "disease",
)  # fmt: skip
SHOWN = ("lv_edv", "lv_esv", "lv_ef", "lv_mass", "rv_edv", "rv_esv", "rv_ef", "la_volume_max", "t1_native", "t2", "ecv")


def add_assess(command: argparse.ArgumentParser, positive_int: Callable[[str], int]) -> None:
    """The command's options."""
    command.add_argument("study", metavar="STUDY", help="folder, zip or DICOMDIR; with --many a folder of these")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for all results")
    models = f"model of a role, instead of the embedded one, or none: {', '.join(ROLES)}"
    command.add_argument("--model", nargs="+", type=_role, default=[], metavar="ROLE=FOLDER", help=models)
    masks = "masks that you corrected, under the names they were written with: measured instead of the models'"
    command.add_argument("--masks", type=Path, metavar="DIR", help=masks)
    command.add_argument("--height", type=float, metavar="CM", help="instead of the headers'")
    command.add_argument("--weight", type=float, metavar="KG", help="instead of the headers'")
    command.add_argument("--haematocrit", type=float, metavar="F", help="0 to 1, for the extracellular volume")
    seg = "phases that get a DICOM SEG (default ed-es)"
    command.add_argument("--seg", choices=("ed-es", "all", "none"), default="ed-es", help=seg)
    keep = "write names and numbers of the patient and of files; without it nobody is named"
    command.add_argument("--keep-identity", action="store_true", help=keep)
    many = "STUDY is a folder of studies: one row each; shared out by accelerate launch, goes on where it was"
    command.add_argument("--many", action="store_true", help=many)
    command.add_argument("--batch-size", type=positive_int, default=8, metavar="N", help="slices at once (default 8)")
    command.add_argument("--device", metavar="D", help="cpu, cuda …; default: CUDA where there is one")
    command.set_defaults(run=assess)


def assess(args: argparse.Namespace) -> int:
    """Writes everything and prints the main figures; 1 if nothing could be measured at all."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    options: dict[str, Any] = {
        "models": dict(args.model),
        "masks": args.masks,
        "height_cm": args.height,
        "weight_kg": args.weight,
        "haematocrit": args.haematocrit,
        "batch_size": args.batch_size,
        "device": args.device,
        "seg_phases": args.seg,
        "keep_identity": args.keep_identity,
    }
    if args.many:
        return _many(args, options)
    from ..assessment import assess as assess_study

    made = assess_study(args.study, out=args.out, **options)
    _tell(made)
    print(f"\n{args.out / 'report.html'}, {args.out / 'assessment.json'}, masks and pictures beside them")
    print_notice()
    return 0 if made.stacks else 1


def _many(args: argparse.Namespace, options: dict[str, Any]) -> int:
    from ..assessment.cohort import assess_many

    if args.masks is not None:
        raise WrongUsageError("--masks is for one study: names of masks do not say which study they are of")
    failed: list[str] = []

    def told(text: str) -> None:
        print(text, flush=True)
        if not text.endswith((": done", ": done before")):
            failed.append(text)

    table = assess_many(args.study, args.out, told=told, progress=False, **options)
    print(table)
    print_notice()
    # launchers end all processes when one ends with an error, whatever the others still have to do
    return 1 if failed and int(os.environ.get("WORLD_SIZE", 1)) == 1 else 0


def _tell(made: "StudyAssessment") -> None:
    for stack in made.stacks:
        phases, slices = stack.source.shape[:2]
        doubt = "  (uncertain)" if stack.recognition.view.uncertain or stack.recognition.image_type.uncertain else ""
        print(f"{stack.number:3d}  {stack.kind:<16} {slices:3d} slices {phases:3d} phases{doubt}")
    print()
    for name in SHOWN:
        if name in made.measures:
            print(f"{name:<14} {made.measures[name].text(0)}")
    for name, one in made.classes.items():
        print(f"{name:<14} {one.best} ({one.scores[one.best]:.2f})")
    findings = [finding for stack in made.stacks for finding in stack.measured.findings]
    errors = sum(one.severity == "error" for one in findings)
    print(f"\nquality control: {errors} errors, {len(findings) - errors} warnings")
    for reason in made.not_measured:
        print(f"not measured: {reason}")
    if made.study.left_out:
        print(f"{len(made.study.left_out)} of {made.study.files} files are in no stack; the report says why")


def _role(text: str) -> tuple[str, str | None]:
    role, _, place = text.partition("=")
    if role not in ROLES or not place:
        raise argparse.ArgumentTypeError(f"needs ROLE=FOLDER with a role among {', '.join(ROLES)}, got {text!r}")
    return role, None if place == "none" else place
