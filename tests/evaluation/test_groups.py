"""Whether a number can bear what a user wants to know: verdicts, and differences between groups."""

import numpy as np
import pytest

from cmr_hf.evaluation.cases import Measurement
from cmr_hf.evaluation.groups import by_group, overall, targets_of
from cmr_hf.evaluation.resampling import COVERAGE, coverage, draws


def cohort(patients=24, worse=0.0, spread=0.02, seed=0):
    """Volumes and slices of patients of two vendors, in turn; the second's Dice is worse."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(patients):
        vendor = ("Siemens", "GE")[number % 2]
        base = {"patient": f"p{number}", "vendor": vendor, "field": "1.5 T" if number < 3 else "3 T", "phase": "ED"}
        dice = float(np.clip(0.9 + spread * rng.normal() - worse * (vendor == "GE"), 0, 1))
        head = {**base, "structure": "RV", "dice": dice}
        rows.append({**head, "case": "v", "level": "volume", "position": ""})
        for position, less in (("basal", 0.2), ("mid", 0.0), ("apical", 0.1)):
            rows.append({**head, "case": position, "level": "slice", "position": position, "dice": dice - less})
    return Measurement("segmentation", "m", "", rows)


def entry(found, group, name, target="RV"):
    (one,) = [one for one in found[group] if (one["group"], one["target"]) == (name, target)]
    return one


def test_a_group_that_is_worse_is_told_with_by_how_much():
    found = by_group(cohort(worse=0.2))
    one = entry(found, "vendor", "GE")
    assert one["word"] == "worse than the rest"
    assert one["versus_rest"]["value"] == pytest.approx(-0.2, abs=0.03)
    assert one["patients"] == one["cases"] == 12
    assert entry(found, "vendor", "Siemens")["word"] == ""
    assert entry(by_group(cohort()), "vendor", "GE")["word"] == ""


def test_few_patients_are_too_few_with_their_number_and_reason():
    one = entry(by_group(cohort()), "field", "1.5 T")
    assert one["word"] == "too few to say"
    assert "n = 3 patients" in one["reason"]
    assert "75 times in 100" in one["reason"]
    assert entry(by_group(cohort()), "field", "3 T")["word"] == ""
    (whole,) = [one for one in overall(cohort(2)) if one["level"] == "volume"]
    assert "no interval can be drawn" in whole["reason"]


def test_a_wide_interval_is_uncertain_and_says_how_many_patients_would_do():
    (one,) = [one for one in overall(cohort(16, spread=0.3)) if one["level"] == "volume"]
    assert one["word"] == "uncertain"
    width = one["upper"] - one["lower"]
    assert f"{width:.2f} wide" in one["reason"]
    assert f"about {int(np.ceil(16 * (width / 0.1) ** 2))} patients" in one["reason"]


def test_slice_levels_are_per_slice_and_have_no_rest_of_other_patients():
    found = by_group(cohort())
    one = entry(found, "position", "basal")
    assert (one["level"], one["versus_rest"], one["cases"]) == ("slice", None, 24)
    assert one["value"] == pytest.approx(entry(found, "position", "mid")["value"] - 0.2)
    assert "phase" not in found, "all are ED: there is nothing to compare"
    assert "centre" not in found


def test_patients_of_whom_the_group_is_not_known_stand_by_themselves():
    one = cohort()
    for row in one.rows:
        if row["patient"] in ("p0", "p2"):
            del row["vendor"]
    assert entry(by_group(one), "vendor", "not said")["patients"] == 2


def test_classes_and_landmarks_are_told_in_their_own_terms():
    rows = [
        {"patient": f"p{k}", "case": "x", "vendor": "GE" if k < 12 else "Siemens", "truth": "ab"[k % 2], "right": 1}
        for k in range(24)
    ]
    classifier = Measurement("classification", "m", "", rows, {"classes": ["a", "b", "c"]})
    assert targets_of(classifier) == ["total", "mean of classes", "a", "b"]
    one = entry(by_group(classifier), "vendor", "GE", "total")
    assert one["method"] == "exact, by patient"
    assert one["word"] == "uncertain", "twelve of twelve right leaves room for a quarter wrong"
    points = [{"patient": f"p{k}", "case": "x", "vendor": "GE" if k < 12 else "Siemens",
               "structure": "anterior", "distance_mm": 1.0 + 0.05 * (k % 3) + (k < 12)} for k in range(24)]  # fmt: skip
    found = by_group(Measurement("landmarks", "m", "", points))
    assert entry(found, "vendor", "GE", "anterior")["word"] == "worse than the rest"
    assert entry(found, "vendor", "Siemens", "anterior")["word"] == ""


@pytest.mark.parametrize("patients", [3, 5, 10, 20])
def test_the_coverage_that_warnings_state_is_what_a_simulation_finds(patients):
    values = np.random.default_rng(1).normal(size=(3000, patients))
    lower, upper = np.percentile(values @ draws(patients, 600, 0).T / patients, (2.5, 97.5), axis=1)
    assert ((lower <= 0) & (upper >= 0)).mean() == pytest.approx(COVERAGE[patients], abs=0.025)
    assert coverage(patients + 1) >= coverage(patients)
