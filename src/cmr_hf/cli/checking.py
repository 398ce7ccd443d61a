"""`cmr-hf data check`: what a data set holds and what is wrong with it, before any training."""

import argparse

from .common import WrongUsageError


def check_data(args: argparse.Namespace) -> int:
    """Prints the report; 1 where something must be mended first."""
    from tqdm import tqdm

    from ..data import check_stacks, stacks_by_side

    name = args.name or ("table" if args.root.lower().endswith(".csv") else None)
    if name is None:
        raise WrongUsageError(f"`--name` is needed to read the folder {args.root}: acdc, emidec …, or pass a CSV")
    if args.labels and name not in ("table", "nifti-pairs"):
        raise WrongUsageError(f"`--labels` is for masks of a table: the ids of {name} are known, leave it out")
    options = {"labels": dict(args.labels)} if args.labels else {}
    sides, problems = stacks_by_side(name, args.root, args.split, args.seed, **options)
    report = check_stacks(
        {side: tqdm(stacks, desc=side, unit="stack", disable=None, leave=False) for side, stacks in sides.items()},
        problems,
    )
    print(report)
    print("nothing to mend" if report.ok else f"{len(report.errors)} to mend before training")
    return 0 if report.ok else 1
