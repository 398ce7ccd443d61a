"""`cmr-hf publish`: a model, or all that are embedded, on the Hub; with `--dry-run` only written and listed."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .common import WrongUsageError

# of a checkout; an installed package has no model_cards
CARDS = Path(__file__).resolve().parents[3] / "model_cards"
PREFIX = "cmr-"  # of the repositories of the embedded family
DTYPES = ("float16", "bfloat16", "float32")


def add_publish(command: argparse.ArgumentParser) -> None:
    """The command's options."""
    command.add_argument("model", nargs="?", metavar="MODEL", help="embedded model, or folder of a trained one")
    command.add_argument("--all", action="store_true", help="every embedded model, as a collection")
    command.add_argument("--repo", metavar="ORG/NAME", help="where to, with MODEL")
    command.add_argument("--org", metavar="ORG", help="where to, with --all: ORG/cmr-NAME each")
    command.add_argument("--dry-run", action="store_true", help="write the folder and list it; no network")
    command.add_argument(
        "--out", type=Path, metavar="DIR", help="keep what is published here (default with --dry-run: NAME)"
    )
    command.add_argument("--private", action="store_true", help="a new repository is only its owner's to see")
    command.add_argument("--revision", metavar="BRANCH", help="branch, made if absent (default main)")
    command.add_argument("--overwrite", action="store_true", help="replace other files that are there")
    command.add_argument("--card", type=Path, metavar="FILE", help="card.toml with the words of the card")
    command.add_argument("--dtype", choices=DTYPES, help="of the stored weights (default: as they are)")
    size = "of one file of weights (default 5GB)"
    command.add_argument("--max-shard-size", default="5GB", metavar="SIZE", help=size)
    command.add_argument("--endpoint", metavar="URL", help="another Hub (default HF_ENDPOINT, or huggingface.co)")
    command.add_argument("--no-check", action="store_true", help="do not open again what was pushed")
    command.set_defaults(run=publish)


def publish(args: argparse.Namespace) -> int:
    """`cmr-hf publish`: exports, pushes, opens again."""
    if args.all == bool(args.model):
        raise WrongUsageError("name a MODEL, or --all for every embedded one")
    if not (args.org if args.all else args.repo):
        raise WrongUsageError("say where to: --org ORG" if args.all else "say where to: --repo ORG/NAME")
    if args.all and (args.card or args.dtype):
        raise WrongUsageError("--card and --dtype are for one MODEL: the embedded ones have their own")
    from transformers.utils import logging

    logging.disable_progress_bar()
    return _publish_all(args) if args.all else _publish_one(args)


def _publish_one(args: argparse.Namespace) -> int:
    import torch

    from .. import publishing
    from ..weights import released

    known = released()
    name = args.model if args.model in known else None
    model = known[name] if name else Path(args.model)
    words = _words(args.card or (CARDS / name if name else model))
    options: dict[str, Any] = {"words": words, "max_shard_size": args.max_shard_size}
    options["dtype"] = getattr(torch, args.dtype) if args.dtype else None
    if args.dry_run:
        _list(publishing.prepare(model, args.repo, args.out or Path(args.repo.split("/")[-1]), **options))
        return 0
    done = publishing.publish(model, args.repo, folder=args.out, **options, **_target(args))
    _tell(done)
    return 0


def _publish_all(args: argparse.Namespace) -> int:
    from .. import publishing
    from ..weights import released

    models = {f"{PREFIX}{name}": folder for name, folder in released().items()}
    found = {name: _words(CARDS / name.removeprefix(PREFIX)) for name in models}
    words = {name: one for name, one in found.items() if one is not None}
    if args.dry_run:
        for name, model in models.items():
            place = (args.out or Path()) / name
            options = {"words": words.get(name), "max_shard_size": args.max_shard_size}
            _list(publishing.prepare(model, f"{args.org}/{name}", place, **options))
        return 0
    done, address = publishing.publish_family(models, args.org, words, folder=args.out, **_target(args))
    for one in done:
        _tell(one)
    print(f"collection: {address}")
    return 0


def _words(place: Path) -> Any:
    """The words of a card, where there are some; a file that was named must be there."""
    from ..publishing.words import FILE, read_words

    if place.is_file() or (place / FILE).is_file():
        return read_words(place)
    if place.suffix == ".toml":
        raise WrongUsageError(f"`--card` needs a card.toml, got {place}, which is not there")
    return None


def _target(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "private": args.private,
        "revision": args.revision,
        "overwrite": args.overwrite,
        "check": not args.no_check,
        "endpoint": args.endpoint,
        "tell": lambda line: print(line, file=sys.stderr),
    }


def _list(prepared: Any) -> None:
    total = sum(prepared.files.values())
    print(f"{prepared.repo} ({prepared.task}): {len(prepared.files)} files, {size_of(total)}")
    for name, size in prepared.files.items():
        print(f"  {name:<40} {size_of(size):>10}")
    print(f"nothing was sent; written to {prepared.folder}")


def _tell(done: Any) -> None:
    total = sum(done.files.values())
    print(f"{done.url}: {len(done.files)} files, {size_of(total)}, branch {done.revision}, commit {done.commit}")


def size_of(size: int) -> str:
    """Bytes as a reader likes them: "9.4 MB"."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
