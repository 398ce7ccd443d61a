"""`cmr-hf segment | classify | … | publish | download | demo | info`: the command line; `--help` lists all.

Results go to stdout, progress and problems to stderr.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# transformers, torch and matplotlib are imported inside the commands, so that --help answers at once
from .about import info
from .assessing import add_assess
from .checking import check_data
from .classifying import TASKS, classify
from .common import DEFAULT_MODEL, WrongUsageError, one_line
from .downloading import add_download
from .extracting import KINDS, features
from .locating import landmarks
from .making import add_phantom
from .publishing import add_publish
from .segmenting import demo, segment
from .validating import add_validate, pair_of_ids

IMAGES = "DICOM file or folder of one stack, NIfTI, PNG, JPEG"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 all done, 1 something failed, 2 wrong usage."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    # damaged weights and absent drivers raise many types
    except Exception as error:
        if args.debug:
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2 if isinstance(error, WrongUsageError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cmr-hf", description="Reads cardiac MR. Research use only.")
    commands = parser.add_subparsers(required=True, metavar="command")

    add_assess(
        commands.add_parser("assess", help="a whole study: sorted, segmented, measured, reported"), _positive_int
    )

    one = commands.add_parser("segment", help="masks, overlays, measures of your images")
    _add_images(one)
    _add_model(one, DEFAULT_MODEL)
    shown = commands.add_parser("demo", help="the same on a real stack that ships with the package")
    shown.set_defaults(run=demo, spacing_mm=None)
    _add_model(shown, DEFAULT_MODEL)
    for command in (one, shown):
        command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
        command.add_argument("--full-field", action="store_true", help="overlay shows the whole field of view")
    one.set_defaults(run=segment)

    sorted_in = commands.add_parser("classify", help="view, image type, LGE or disease of your images")
    _add_images(sorted_in)
    _add_model(sorted_in)
    sorted_in.add_argument("--task", choices=TASKS, required=True, help="what is asked of each image")
    sorted_in.add_argument("--top-k", type=_positive_int, metavar="N", help="how many classes (default all)")
    sorted_in.add_argument("--out", type=_name_ending(".json"), metavar="FILE.json", help="write the answers too")
    sorted_in.set_defaults(run=classify)

    marked = commands.add_parser("landmarks", help="landmarks in pixels and patient millimetres")
    _add_images(marked)
    _add_model(marked)
    marked.add_argument("--threshold", type=_share, default=0.0, metavar="S", help="leave out lower scores (default 0)")
    out = "folder for a JSON and a CSV of each image, or one file of all (.json or .csv)"
    marked.add_argument("--out", type=_folder_or_name_ending(".json", ".csv"), metavar="DIR|FILE", help=out)
    marked.add_argument("--overlay", action="store_true", help="a picture of each image too, beside what --out writes")
    marked.set_defaults(run=landmarks)

    seen = commands.add_parser("features", help="what the encoder sees in each slice and phase, one row each")
    _add_images(seen)
    _add_model(seen)
    kinds = "one vector per image (default), the last [CLS] token, or the map of patch tokens"
    seen.add_argument("--kind", choices=KINDS, default="image", help=kinds)
    out = "FILE.parquet|FILE.safetensors"
    seen.add_argument("--out", type=_name_ending(".parquet", ".safetensors"), required=True, metavar=out)
    seen.set_defaults(run=features)

    data = commands.add_parser("data", help="data sets to train on").add_subparsers(required=True, metavar="command")
    looked = data.add_parser("check", help="what a data set holds, and what to mend before training on it")
    looked.add_argument("root", metavar="CSV|FOLDER", help="table of your files, or a public set in its own layout")
    looked.add_argument("--name", metavar="SET", help="acdc, emidec, mnms …; not needed for a table")
    looked.add_argument("--split", metavar="JSON", help="patients of train, validation and test (default: by chance)")
    looked.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw (default 0)")
    looked.add_argument(
        "--labels", nargs="+", type=pair_of_ids, metavar="FROM=TO", help="ids in a table's masks: 3=1 2=2 1=3"
    )
    looked.set_defaults(run=check_data)

    add_validate(commands.add_parser("validate", help="how good a model is on your own labelled images, and where not"))

    add_phantom(commands.add_parser("phantom", help="a made-up patient's whole study as DICOM, with its truth"))

    add_publish(commands.add_parser("publish", help="a model on the Hub, with its card; --dry-run only shows"))
    add_download(commands.add_parser("download", help="a model from the Hub or a mirror, to use offline"))

    about = commands.add_parser("info", help="versions, embedded models and samples")
    about.set_defaults(run=info)
    for command in (looked, *(command for name, command in commands.choices.items() if name != "data")):
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _add_images(command: argparse.ArgumentParser) -> None:
    command.add_argument("paths", nargs="+", metavar="PATH", help=IMAGES)
    command.add_argument(
        "--spacing",
        "--spacing-mm",
        dest="spacing_mm",
        nargs=2,
        type=float,
        metavar=("R", "C"),
        help="distance of rows and columns in mm, instead of the file's",
    )


def _add_model(command: argparse.ArgumentParser, default: str | None = None) -> None:
    what = f"(default {default})" if default else "of this task (default: the embedded one, where there is one)"
    command.add_argument("--model", default=default, metavar="M", help=f"embedded model, folder or Hub id {what}")
    command.add_argument("--batch-size", type=_positive_int, default=8, metavar="N", help="slices at once (default 8)")
    command.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, mps (default: transformers' choice)")


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number of at least 1, got {text}")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"needs a number from 0 to 1, got {text}")
    return value


def _name_ending(*suffixes: str) -> Callable[[str], Path]:
    """A file name with one of these endings."""

    def checked(text: str) -> Path:
        if not text.lower().endswith(suffixes):
            raise argparse.ArgumentTypeError(f"needs a name that ends in {' or '.join(suffixes)}, got {text!r}")
        return Path(text)

    return checked


def _folder_or_name_ending(*suffixes: str) -> Callable[[str], Path]:
    """A folder, or a file name with one of these endings."""
    file = _name_ending(*suffixes)
    return lambda text: Path(text) if Path(text).is_dir() or not Path(text).suffix else file(text)
