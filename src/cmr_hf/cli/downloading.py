"""`cmr-hf download`: a model from the Hub or a mirror, whole and at one commit."""

import argparse
import sys
from pathlib import Path

from .publishing import size_of


def add_download(command: argparse.ArgumentParser) -> None:
    """The command's options."""
    command.add_argument("repo", metavar="ORG/NAME", help="a model on the Hub")
    command.add_argument("--revision", metavar="R", help="branch, tag or commit (default main)")
    command.add_argument("--endpoint", metavar="URL", help="a mirror (default HF_ENDPOINT, or huggingface.co)")
    command.add_argument("--out", type=Path, metavar="DIR", help="a folder of its own, besides the cache")
    command.set_defaults(run=download)


def download(args: argparse.Namespace) -> int:
    """`cmr-hf download`: prints where the files are, and which commit they are of."""
    import json

    from ..publishing import download as fetch

    done = fetch(args.repo, revision=args.revision, endpoint=args.endpoint, out=args.out)
    print(f"{args.repo}: {len(done.files)} files, {size_of(sum(done.files.values()))}, commit {done.commit}")
    for name in done.left_out:
        print(f"note: {name} was left out: it may run code when it is loaded", file=sys.stderr)
    files = (done.folder / name for name in ("config.json", "classifier.json"))
    about = next((json.loads(file.read_text(encoding="utf-8")) for file in files if file.is_file()), {})
    if about.get("model_type") != "cmr" and "features" not in about:
        print(f"note: {args.repo} is no model of this package", file=sys.stderr)
    elif licence := about.get("weights_license"):
        print(f"licence of the weights: {licence}")
    print(done.folder)
    return 0
