"""Packs MR heart images into shards to pretrain on: 1 mm, 8 bits, 224 x 224, nothing that says who it is.

    python training/prepare.py --source /data/hospital --name hospital --out shards
    python training/prepare.py --source files.csv --name mine --out shards
    python training/prepare.py --source data/acdc --dataset acdc --splits splits.json --out shards
    accelerate launch --num_machines 4 … training/prepare.py --source /data/hospital --name hospital --out /data/shards

A source is a tree of DICOM and NIfTI files and zips; a CSV with a column `path`; or, with `--dataset`, a data set that
`cmr_hf.data.load` knows. With `--splits` only patients on `--sides` are taken: test patients are never pretrained on.
Run it again after a stop or with more files: what is done is not done again. `shards/manifest.json` says what there is;
`shards_local/report.csv`, which names files and stays with you, says what was left out and why. See training/README.md.
"""

import argparse
import os
from pathlib import Path

from tqdm import tqdm

from cmr_hf.data.shards.journal import Journal, publish
from cmr_hf.data.shards.packing import pack, size_of_units
from cmr_hf.data.shards.records import Record
from cmr_hf.data.shards.sources import (
    LABEL_COLUMNS,
    Choice,
    dataset_items,
    patients_by_side,
    table_items,
    tree_items,
    units_of,
)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, help="folder, CSV with a column `path`, or one file")
    parser.add_argument("--out", type=Path, required=True, help="folder of the shards; may hold those of other sources")
    parser.add_argument("--name", help="one word for the source, stored beside each image (default: that of --dataset)")
    parser.add_argument("--dataset", help="read the source as this known data set, with its labels")
    parser.add_argument("--splits", type=Path, help="JSON with the patients of each side; other patients are left out")
    parser.add_argument("--split-name", help="key of the data set in --splits (default: --dataset, else --name)")
    parser.add_argument("--sides", nargs="+", default=["train"], choices=["train", "validation", "test"])
    parser.add_argument("--hearts", type=int, default=100, help="of --dataset phantoms: how many on all sides together")
    parser.add_argument("--first-seed", type=int, default=0, help="of --dataset phantoms; other seeds, other hearts")
    parser.add_argument("--exclude", type=Path, help="text file: names of folders or files to leave out, one a line")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help=", ".join(LABEL_COLUMNS))
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes; 0: none beside this one")
    parser.add_argument("--local", type=Path, help="where journal and report go (default: OUT_local)")
    options = parser.parse_args(arguments)
    options.name = options.name or options.dataset
    options.labels = dict(label.partition("=")[::2] for label in options.label)
    made = options.dataset == "phantoms"  # no files, and nobody's heart
    if options.name is None:
        parser.error("--name is needed: one word for this source")
    if options.source is None and not made:
        parser.error("--source is needed: a folder, a CSV or a file")
    if options.dataset and options.splits is None and not made:
        parser.error("--dataset needs --splits: test patients are never pretrained on")
    if unknown := sorted(options.labels.keys() - set(LABEL_COLUMNS)):
        parser.error(f"--label knows {', '.join(LABEL_COLUMNS)}, got {unknown}")
    Record(source=options.name, **options.labels)  # raises before hours of work
    return options


def share() -> tuple[int, int]:
    """Which process this is, and of how many, as `accelerate launch` says."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def choose(options: argparse.Namespace, journal: Journal) -> tuple[list, Choice]:
    """What is left to do for this process, and what was kept out of it."""
    excluded = options.exclude.read_text(encoding="utf-8").splitlines() if options.exclude else []
    choice = Choice(
        done=journal.done(),
        excluded=frozenset(line.strip() for line in excluded),
        rank=share()[0],
        world_size=share()[1],
    )
    if options.dataset:
        which = {"hearts": options.hearts, "first_seed": options.first_seed} if options.dataset == "phantoms" else {}
        items = dataset_items(options.dataset, options.source or "", options.splits, options.sides, choice, **which)
    else:
        if options.splits:
            choice.sides = patients_by_side(options.splits, options.split_name or options.name, options.sides)
        table = options.source.suffix.lower() == ".csv" and options.source.is_file()
        items = (table_items if table else tree_items)(options.source, options.name, choice, options.labels)
    return list(items), choice


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    (options.out / "shards").mkdir(parents=True, exist_ok=True)
    journal = Journal(options.out, options.local)
    rank, world_size = share()
    with journal.locked(f"{options.name}-{rank}-of-{world_size}"):
        items, choice = choose(options, journal)
        units = units_of(items, size_of_units(items, options.workers))
        with tqdm(total=sum(len(item.names) for item in items), unit="file", disable=rank != 0) as bar:
            pack(
                units,
                options.out,
                journal,
                options.name,
                options.workers,
                progress=lambda record: bar.update(len(record["items"])),
            )
        manifest = publish(options.out, journal)
    for folder in choice.closed:
        print(f"warning: {folder} could not be opened: check its permissions and run again")
    print(
        f"{options.out}: {manifest['images']} images of {', '.join(manifest['sources'])} in "
        f"{len(manifest['shards'])} shards, {manifest['bytes'] / 1e6:.1f} MB; {manifest['left_out']} files or images "
        f"left out, see {journal.local / 'report.csv'}; {choice.skipped} not wanted"
    )


if __name__ == "__main__":
    main()
