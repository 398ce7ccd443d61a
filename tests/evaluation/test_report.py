"""The report says the gravest first, each thing once, and shows words of a table as words."""

from html.parser import HTMLParser

import pytest

from cmr_hf.evaluation.report import blocks_of, to_html, to_markdown, warnings_of

VOID = {"meta", "img"}


def entry(group="", target="RV", word="", reason="", **fields):
    numbers = {"value": 0.81, "sd": 0.1, "lower": 0.7, "upper": 0.9, "patients": 12, "cases": 24, "level": "volume"}
    versus = {"value": -0.1, "lower": -0.2, "upper": -0.01, "sd": None, "patients": 12}
    head = {"group": group, "target": target, "unit": "", "word": word, "reason": reason}
    return head | numbers | {"versus_rest": versus} | fields


@pytest.fixture
def report():
    few = "n = 2 patients: of so few no interval can be drawn; 10 or more are needed"
    return {
        "name": "Segmentation",
        "model": "m",
        "metric": "Dice",
        "counts": {"lines": 40, "patients": 20, "cases": 38},
        "notes": [],
        "overall": [entry(target="RV"), entry(target="LV cavity")],
        "beyond": [],
        "agreement": [{"measure": "LV EF", "n": 1, "patients": 1, "refused": "agreement needs 2 pairs or more: …"}],
        "groups": {
            "centre": [entry("<b>Lyon|1</b>", word="too few to say", reason=few)],
            "vendor": [
                entry("GE", word="worse than the rest", reason="by 0.1 [-0.2, -0.01], 12 patients"),
                entry("GE", "LV cavity", word="too few to say", reason=few),
                entry("Siemens", word="uncertain", reason="n = 12 patients, but the interval is 0.20 wide"),
            ],
        },
        "unknown_groups": ["field"],
        "problems": [{"line": "7", "patient": "3", "reason": "the image is damaged"}],
        "failures": [
            {"rank": 1, "patient": "3", "line": "5", "case": "ED", "words": "Dice RV 0.2"}
            | {"picture": "cases/worst_01.png"},
        ],
        "pages": {"best": "cases/best.png"},
    }


def test_warnings_are_told_once_for_each_reason_and_the_gravest_first(report):
    found = warnings_of(report)
    assert found == [
        "worse than the rest: vendor GE (RV); by 0.1 [-0.2, -0.01], 12 patients",
        "uncertain: vendor Siemens (RV); n = 12 patients, but the interval is 0.20 wide",
        "too few to say: centre <b>Lyon|1</b> (RV), vendor GE (LV cavity); n = 2 patients: of so few no interval can "
        "be drawn; 10 or more are needed",
        "nothing is known of field strength: add the columns to the table to see whether it matters",
    ]


def test_markdown_has_every_part_and_escapes_bars(report):
    text = to_markdown(blocks_of(report))
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads == [
        "# Segmentation: how good it is on these images",
        "## Overall",
        "## What these numbers cannot say",
        "## By centre",
        "## By vendor",
        "## Failures, worst first",
        "## For comparison",
        "## What could not be used",
    ]
    row = next(line for line in text.splitlines() if line.startswith("| <b>Lyon"))
    assert "Lyon\\|1" in row
    assert "−0.100 [−0.200, −0.010]" in row
    assert "| LV EF | refused: agreement needs 2 pairs or more | – | – | 1 (1) |" in text
    assert "| 7 | 3 | the image is damaged |" in text
    assert "![1. patient 3: Dice RV 0.2](cases/worst_01.png)" in text


class Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_a_word_of_the_table_is_no_markup(report):
    page = to_html(blocks_of(report), "m on <your> images")
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert "b" not in parser.seen
    assert "&lt;b&gt;Lyon|1&lt;/b&gt;" in page
    assert page.count('<td class="warn">') == 4
    assert parser.seen.count("img") == 2
