"""Writes every card of this folder anew: words from card.toml, numbers from results.json, facts from the code.

    python model_cards/render.py             # after a change of weights, results, words or templates
    python model_cards/render.py --check     # exit code 1 if a card is not what it would be

A model's card is the README.md that `cmr-hf publish` sends, with ORG in the place of the organisation.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

HERE = Path(__file__).resolve().parent
ORG = "ORG"


def model_cards() -> Iterator[tuple[Path, str]]:
    """Where the card of each model inside the package lies, and its text."""
    from cmr_hf.publishing import prepare, read_words
    from cmr_hf.weights import released

    for name, source in released().items():
        repo = f"{ORG}/cmr-{name}"
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / name
            prepare(source, repo, folder, words=read_words(HERE / name))
            yield HERE / name / "README.md", (folder / "README.md").read_text(encoding="utf-8")


def phantom_card() -> tuple[Path, str]:
    """Where the card of the phantoms lies, and its text."""
    from cmr_hf.data.phantom_set import LICENCE
    from cmr_hf.data.schema import LABELS, LANDMARKS, features
    from cmr_hf.phantoms import CONTRASTS, DISEASES, SERIES, Protocol

    usual = Protocol()
    rows = {
        "diseases": ", ".join(DISEASES),
        "series": ", ".join(SERIES),
        "contrasts": ", ".join(CONTRASTS),
        "labels": ", ".join(f"{label} {name}" for label, name in LABELS.items()),
        "landmarks": ", ".join(LANDMARKS),
        "usual pictures": (
            f"{usual.rows} × {usual.columns} px of {usual.spacing_mm:g} mm, slices {usual.thickness_mm:g} mm thick, "
            f"{usual.gap_mm:g} mm between them; a data set draws a protocol for each heart"
        ),
        "settings": ", ".join(f"`{one.name}`" for one in fields(Protocol)),
        "size": "as many hearts as are asked for (`hearts=`)",
    }
    from cmr_hf.publishing.data_card import data_card

    text = data_card("Cardiac MR phantoms of cmr_hf", LICENCE, rows, list(features()), ["segmentation", "landmarks"])
    return HERE / "phantoms" / "README.md", text


def main() -> int:
    """Writes or checks the cards; 1 if `--check` finds one that is not up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = []
    for path, text in [*model_cards(), phantom_card()]:
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in stale:
        sys.stdout.write(f"{path.relative_to(HERE)} {'is not up to date' if check else 'written'}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
