"""Errors of figures whose truth is known, and where they come from."""

import pytest

from cmr_hf.evaluation.known_truth import (
    MODEL_MASKS,
    TRUE_MASKS,
    error_lines,
    error_table,
    fit_lines,
    recognition_line,
    replace_between,
)


def row(true, at_phases, on_true, on_model, figure="lv_edv", segment=None):
    def told(value):
        if value is None:
            return {"value": None, "reason": "no stack"}
        return {"value": value, "interval": (value - 5, value + 5), "sd": 2.5, "unit": "ml"}

    arms = {TRUE_MASKS: told(on_true), MODEL_MASKS: told(on_model)}
    return {"figure": figure, "segment": segment, "true": true, "at_phases": at_phases, **arms}


def test_errors_are_split_into_phases_measuring_and_segmentation():
    (entry,) = error_table([row(100.0, 98.0, 101.0, 111.0), row(200.0, 200.0, 199.0, 193.0)])
    assert entry["steps"] == pytest.approx({"phases": 1.0, "measuring": 2.0, "segmentation": 8.0})
    assert entry["true_range"] == [100.0, 200.0]
    found = entry[MODEL_MASKS]
    assert (found["n"], found["refused"], found["bias"], found["mean_absolute"]) == (2, 0, 2.0, 9.0)
    assert (found["worst"], found["held"]) == (11.0, 0.0)
    assert entry[TRUE_MASKS]["held"] == 1.0


def test_what_is_refused_is_counted_and_takes_no_part():
    (entry,) = error_table([row(100.0, 100.0, 101.0, None), row(50.0, 50.0, None, None)])
    assert entry[TRUE_MASKS] == {
        "n": 1, "refused": 1, "bias": 1.0, "mean_absolute": 1.0, "worst": 1.0, "held": 1.0,
    }  # fmt: skip
    assert entry[MODEL_MASKS] == {"n": 0, "refused": 2}
    assert entry["steps"] == {}
    line = error_lines([entry])[-1]
    assert line.startswith("| lv edv, ml | 50.0 … 100 | +1.0 / 1.0 / +1.0 | 100 % | 1, 1 | – | – | 0, 2 |")
    assert line.count("|") == error_lines([entry])[0].count("|") == error_lines([entry])[1].count("|")


def test_tables_of_masks_and_recognition_say_what_is_worst():
    fits = [
        {"series": "cine_sax", "structure": "segments ED", "value": 90.0},
        {"series": "cine_sax", "structure": "RV", "value": 0.9},
        {"series": "cine_sax", "structure": "RV", "value": 0.7},
        {"series": "t2_map", "structure": "segments", "value": 80.0},
    ]
    lines = fit_lines(fits)
    assert lines[0] == "| mean (least) | RV | segments ED | segments |"
    assert lines[2] == "| cine_sax | 0.80 (0.70) | 90 (90) |  |"
    stacks = [{"series": "t2_map", "found": "T1 SAX", "right": False, "flagged": flag} for flag in (True, False)]
    text = recognition_line([*stacks, {"series": "lge", "found": "LGE SAX", "right": True, "flagged": False}])
    assert text.startswith("1 of 3 stacks were taken for what they are, 1 wrongly")
    assert "t2_map as T1 SAX: 2" in text


def test_only_the_part_between_the_marks_is_written_anew(tmp_path):
    file = tmp_path / "doc.md"
    file.write_text("above\n<!-- x: begin -->\nold\n<!-- x: end -->\nbelow\n")
    for text in ("new", "newer\n\n"):
        replace_between(file, "x", text)
    assert file.read_text() == "above\n<!-- x: begin -->\nnewer\n<!-- x: end -->\nbelow\n"
    with pytest.raises(ValueError, match="`path` needs the lines <!-- y: begin --> and"):
        replace_between(file, "y", "text")
