"""`cmr-hf classify`: the view, image type, LGE or disease of images."""

import argparse
from collections.abc import Sequence

from .common import (
    Failures,
    attempts,
    check_writable,
    exit_code,
    file_names,
    load_pipeline,
    model_name,
    print_left_out,
    print_notice,
    read,
)

TASKS = {
    "view": "cmr-view-classification",
    "image-type": "cmr-image-type-classification",
    "lge": "cmr-lge-detection",
    "disease": "cmr-disease-detection",
}


def classify(args: argparse.Namespace) -> int:
    """`cmr-hf classify`: every path gets its classes, best first, as a table and, if wanted, as JSON."""
    from .. import __version__
    from ..clinical.writers import RESEARCH_USE_ONLY, left_out_counts, write_json

    if args.out is not None:
        check_writable(args.out)
    task = TASKS[args.task]
    pipe = load_pipeline(task, args)

    def classes_of(path: str, name: str) -> dict:
        image = read(path, args)
        classes = pipe(image, top_k=args.top_k, batch_size=args.batch_size)
        return {"source": name, "classes": classes, "left_out": left_out_counts(image.left_out)}

    failed: Failures = []
    done = list(attempts(args, file_names(args.paths), classes_of, failed))
    if done:
        print(_table(done))
        for entry in done:
            print_left_out(entry["source"], entry["left_out"])
        if args.out is not None:
            content = {
                "format": "cmr_hf classes 1",
                "notice": RESEARCH_USE_ONLY,
                "task": task,
                "model": model_name(args, task),
                "cmr_hf_version": __version__,
                "images": done,
            }
            print(f"\nwrote {write_json(content, args.out)}")
        print_notice()
    return exit_code(failed)


def _table(done: Sequence[dict]) -> str:
    """One line per class: the image, the class and its score."""
    wide = max(len(entry["source"]) for entry in done)
    labels = max(len(found["label"]) for entry in done for found in entry["classes"])
    lines = []
    for entry in done:
        for place, found in enumerate(entry["classes"]):
            name = entry["source"] if place == 0 else ""
            lines.append(f"{name:<{wide}}  {found['label']:<{labels}}  {found['score']:.3f}")
    return "\n".join(lines)
