"""The card of the phantoms, as a data set of the Hub has one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from huggingface_hub import DatasetCard, DatasetCardData

from .. import __version__

TEMPLATE = Path(__file__).with_name("data_card.md")
TASKS = ["image-segmentation", "image-classification", "keypoint-detection"]


def data_card(title: str, licence: str, rows: Mapping[str, str], columns: Sequence[str], tags: Sequence[str]) -> str:
    """The README.md of the phantoms.

    Args:
        title (`str`): its heading.
        licence (`str`): the Hub's name of it.
        rows (mapping): what is in it, name -> value, read from the code that makes it.
        columns (sequence of `str`): of one row.
        tags (sequence of `str`): for the Hub's search.

    Returns:
        Markdown with a YAML header.
    """
    data = DatasetCardData(
        pretty_name=title,
        license=licence,
        task_categories=TASKS,
        annotations_creators=["machine-generated"],
        source_datasets=["original"],
        size_categories=["other"],  # as many as are asked for
        tags=["cardiac-mri", "cmr", "medical-imaging", "synthetic", "phantoms", *tags],
    )
    card = DatasetCard.from_template(
        data,
        template_str=TEMPLATE.read_text(encoding="utf-8"),
        title=title,
        rows=rows,
        columns=", ".join(f"`{name}`" for name in columns) + ".",
        licence=licence,
        version=__version__,
    )
    return str(card).rstrip() + "\n"
