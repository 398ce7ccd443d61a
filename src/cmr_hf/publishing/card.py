"""The least a published folder says about itself, for a model that brings no card of its own."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

MARK = "<!-- written by cmr_hf.publishing: delete this line to keep your own text when you export here again -->"

# A phrase of the licence file -> the Hub's name of the licence; the first that is found counts.
LICENCES = {
    "Attribution-NonCommercial-ShareAlike 4.0": "cc-by-nc-sa-4.0",
    "CC BY-NC-SA 4.0": "cc-by-nc-sa-4.0",
    "Attribution 4.0 International": "cc-by-4.0",
    "Apache License": "apache-2.0",
    "MIT License": "mit",
}

TEXT = """
# {name}

{mark}

A cardiac MR model of `cmr_hf`{labels}.

**Research use only; not a medical device.**

```python
from transformers import pipeline

pipe = pipeline("{task}", model="{name}", trust_remote_code=True)
result = pipe("sax_stack/")  # DICOM, NIfTI, PNG, or an array with spacing_mm=(row, column)
```

With `pip install cmr_hf` and `import cmr_hf` first, no remote code is run.
"""


def licence_of(files: Iterable[Path]) -> str:
    """The Hub's name for the licence that these files hold; "unknown" without a file, "other" for another text."""
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in files]
    for phrase, name in LICENCES.items():
        if any(phrase in text for text in texts):
            return name
    return "other" if texts else "unknown"


def minimal_card(name: str, task: str, tag: str, labels: Sequence[str], licence: str) -> str:
    """A model card with the facts the export knows; numbers and data are for its author to add.

    Args:
        name (`str`): title, and what stands for the model in the example.
        task (`str`): the pipeline's task.
        tag (`str`): the Hub's own name of such a task.
        labels (sequence of `str`): names of the classes; empty for an encoder.
        licence (`str`): the Hub's name of the licence, from `licence_of`.
    """
    data = ModelCardData(
        library_name="transformers",
        pipeline_tag=tag,
        license=licence,
        tags=["cardiac-mri", "medical-imaging", task],
    )
    classes = f"; classes: {', '.join(labels)}" if labels else ""
    text = TEXT.format(name=name, mark=MARK, task=task, labels=classes)
    return str(ModelCard(f"---\n{data.to_yaml()}\n---\n{text}"))


def is_generated(readme: Path) -> bool:
    """Whether this file is a card from `minimal_card` that nobody has claimed since."""
    return MARK in readme.read_text(encoding="utf-8", errors="replace")
