"""The page of the arms, docs/arms.md: what short runs of the same recipe gave from several starts, and few-shot curves.

    python training/evaluate.py --tables runs/measured runs/measured_arms --out docs
    python training/arms.py --fewshot views=runs/fewshot_2_view_short maps=runs/fewshot_6_mapping_sax_short

Reads `docs/results.json` and the `results.json` of `training/fewshot.py`; writes the tables between the marks of
`docs/arms.md`, whose words stay, and copies the few-shot results to `docs/fewshot_NAME.json` and `.png`. Arms of the
short runs are those whose name ends in "(short run)".
"""

import argparse
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmr_hf.evaluation.paper import BALANCED, TOTAL
from cmr_hf.evaluation.rendering import cell, number, p_value

SET_UP = " (short run)"
DINO, RANDOM = f"CMR-DINO ViT{SET_UP}", f"random ViT{SET_UP}"
Line = Mapping[str, Any]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="with results.json and arms.md")
    parser.add_argument(
        "--fewshot", nargs="*", default=[], metavar="NAME=FOLDER", help="folders of training/fewshot.py"
    )
    return parser.parse_args(arguments)


def row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join([row(head), "|" + "---|" * len(head), *map(row, rows)])


def lines_of(results: Mapping[str, Any]) -> list[Line]:
    """Lines of Table 2 that a short run has a number for; of masks, Dice per volume; of classes, the means."""
    return [
        line
        for line in results["tables"]["2"]
        if any(arm.endswith(SET_UP) and found for arm, found in line["ours"].items())
        and (line["metric"] != "accuracy" or line["class"] in (TOTAL, BALANCED))
        and line["level"] in ("", "volume")
    ]


def gain(results: Mapping[str, Any], line: Line) -> tuple[str, str]:
    """What the pretrained start gains over the random one, with its interval, and p of the paired test."""
    for test in results["tests"]:
        same = all(test[name] == line[name] for name in ("experiment", "class", "level", "data"))
        if same and (test["first"], test["second"]) == (DINO, RANDOM):
            return cell(test["difference"], line["unit"], signed=True), p_value(test["p"])
    return "–", "–"


def arms_table(results: Mapping[str, Any]) -> str:
    """One row for each class of each task, one column for each arm of the short runs, and the gain of pretraining."""
    lines = lines_of(results)
    arms = [arm for arm in results["arms"] if any(arm in line["ours"] for line in lines) and arm.endswith(SET_UP)]
    arms.sort(key=lambda arm: ([DINO, RANDOM].index(arm) if arm in (DINO, RANDOM) else 2, arm))
    head = ["task", "class", "metric", *(arm.removesuffix(SET_UP) for arm in arms), "DINO − random", "p", "patients",
            "data"]  # fmt: skip
    rows = []
    for line in lines:
        ours = [line["ours"].get(arm) for arm in arms]
        metric = "Dice per volume" if line["level"] else line["metric"] + (f", {line['unit']}" if line["unit"] else "")
        patients = next(str(one["patients"]) for one in ours if one)
        cells = [cell(one, line["unit"]) if one else "–" for one in ours]
        rows.append([f"{line['experiment']} {line['name']}", line["class"], metric, *cells, *gain(results, line),
                     patients, line["data"]])  # fmt: skip
    return table(head, rows)


def fewshot_table(results: Mapping[str, Any]) -> str:
    """Mean (standard deviation over draws) by number of samples, one row for each arm."""
    summary = results["summary"]
    shots = sorted({one["shots"] for one in summary})
    known = {(one["arm"], one["shots"]): one for one in summary}
    rows = []
    for arm in dict.fromkeys(one["arm"] for one in summary):
        own = [known.get((arm, count)) for count in shots]
        rows.append([arm, *(f"{number(one['mean'], 2)} ({one['sd']:.2f})" if one else "–" for one in own)])
    rows += [[arm, *["not measured"] * len(shots)] for arm in results["not_measured"]]
    return table(["arm", *map(str, shots)], rows)


def between(text: str, name: str, inside: str) -> str:
    """`text` with `inside` between the marks of a name.

    Raises:
        ValueError: `text` has no such marks.
    """
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, found, rest = text.partition(first)
    _, ended, after = rest.partition(last)
    if not (found and ended):
        raise ValueError(f"the page needs the marks {first} and {last}, they are not there: put them where it goes")
    return f"{before}{first}\n\n{inside}\n\n{last}{after}"


def page(text: str, results: Mapping[str, Any], curves: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with all tables written afresh; curves are the `results.json` of few-shot runs by name."""
    text = between(text, "arms", arms_table(results))
    for name, curve in curves.items():
        text = between(text, name, f"![{curve['title']}](fewshot_{name}.png)\n\n{fewshot_table(curve)}")
    return text


def main() -> None:
    options = parse()
    for entry in options.fewshot:
        name, _, folder = entry.partition("=")
        for kind, file in (("json", "results.json"), ("png", "fewshot.png")):
            shutil.copyfile(Path(folder) / file, options.docs / f"fewshot_{name}.{kind}")
    curves = {
        path.stem.removeprefix("fewshot_"): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(options.docs.glob("fewshot_*.json"))
    }
    results = json.loads((options.docs / "results.json").read_text(encoding="utf-8"))
    place = options.docs / "arms.md"
    place.write_text(page(place.read_text(encoding="utf-8"), results, curves), encoding="utf-8")
    print(place)


if __name__ == "__main__":
    main()
