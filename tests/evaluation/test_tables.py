"""The paper's numbers are consistent; ours stand beside them; what was not measured says so."""

import csv
import json
import re
from math import isclose

import numpy as np
import pytest

from cmr_hf.data.experiments import EXPERIMENTS
from cmr_hf.evaluation import rendering
from cmr_hf.evaluation.cases import Measurement, found_below, load, save, together
from cmr_hf.evaluation.estimates import agreement_of, compare, estimate, estimate_of_chances
from cmr_hf.evaluation.paper import BALANCED, BASELINE, NATURAL, PROPOSED, TOTAL, paper, paper_cells, paper_classes
from cmr_hf.evaluation.tables import build, data_label, stratum

CLASSES = ("none", "present")


def detection(arm=PROPOSED, right=(1, 1, 1, 0, 1, 1), experiment="8B", first=0, **about):
    """One sample a patient; the first half has none, the other half scar."""
    rows = []
    for number, good in enumerate(right):
        truth = CLASSES[number >= len(right) / 2]
        said = truth if good else CLASSES[truth == "none"]
        chance = {"p:none": 0.8 if said == "none" else 0.2, "p:present": 0.8 if said == "present" else 0.2}
        patient = f"p{first + number}"
        rows.append({"source": "emidec", "patient": patient, "case": "t0", "truth": truth, "predicted": said,
                     "right": int(good), **chance})  # fmt: skip
    facts = {"datasets": ["emidec"], "data": "the paper's data set, other patients", "side": "validation"}
    return Measurement("classification", arm, experiment, rows, facts | {"classes": list(CLASSES)} | about)


def segmentation(arm=PROPOSED, gain=0.0, patients=8, experiment="3"):
    """Two volumes of three slices of each patient."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(patients):
        base = {"source": "acdc", "patient": f"p{number}"}
        for name in ("LV cavity", "myocardium", "RV"):
            for phase in ("ED", "ES"):
                value = float(np.clip(0.8 + 0.05 * rng.normal() + gain, 0, 1))
                more = {"structure": name, "dice": value, "hd95_mm": 5.0, "asd_mm": 1.0}
                rows.append({**base, "case": phase, "level": "volume", **more})
                rows += [{**base, "case": f"{phase}/slice {z}", "level": "slice", **more} for z in range(3)]
        ef = {"structure": "LV EF", "measured": 50.0 + number + gain, "reference": 49.0 + number, "unit": "%"}
        rows.append({**base, "case": "cine", "level": "measure", **ef})
    about = {"datasets": ["acdc"], "data": "the paper's data set, other patients", "side": "validation"}
    return Measurement("segmentation", arm, experiment, rows, about)


# --- the paper ------------------------------------------------------------------------------------------------------


def test_every_class_of_the_paper_is_one_of_the_experiment():
    for row in paper()["results"]:
        assert row["class"] in (TOTAL, *EXPERIMENTS[row["experiment"]].compares), row
    for key, chosen in EXPERIMENTS.items():
        expected = set(chosen.compares) | ({TOTAL} if chosen.kind in ("classification", "detection") else set())
        assert set(paper_classes(key)) == ({TOTAL} if key in ("8A", "8B") else expected), key


def test_the_papers_numbers_agree_with_its_counts_and_with_each_other():
    for key, samples in (("8A", 110), ("8B", 15)):
        for arm in ("baseline", "proposed"):
            value = next(row[arm]["value"] for row in paper()["results"] if row["experiment"] == key)
            assert any(isclose(round(k / samples, 3), value) for k in range(samples + 1)), (key, arm)
    nine = {row["class"]: row for row in paper()["results"] if row["experiment"] == "9"}
    for arm in ("baseline", "proposed"):  # ten patients of each class
        classes = [row[arm]["value"] for name, row in nine.items() if name != TOTAL]
        assert nine[TOTAL][arm]["value"] == pytest.approx(np.mean(classes))
    views = [paper_cells("2", name)[PROPOSED]["value"] for name in ("SAX", "2CH", "3CH", "4CH")]
    assert paper()["prior"][0]["proposed"] == pytest.approx(np.mean(views), abs=6e-4)
    for prior in paper()["prior"][1:]:
        cells = paper_cells(prior["experiment"], prior["class"])
        assert prior["proposed"] == cells[PROPOSED]["value"], prior
    assert paper_cells("6", "myocardium").keys() == {BASELINE, PROPOSED}
    assert paper_cells("5A", "LV cavity")[NATURAL] == {"value": 0.879, "sd": 0.14}


# --- cases on disk --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [detection, segmentation])
def test_a_measurement_comes_back_from_its_folder(make, tmp_path):
    one = make()
    one.rows[0]["variant"] = "ED, ES, ES"
    for row in one.rows:
        if row.get("dice"):
            row["dice"] = float(f"{row['dice']:.6g}")
    again = load(save(one, tmp_path / "m"))
    assert (again.kind, again.arm, again.experiment, again.about) == (one.kind, one.arm, one.experiment, one.about)
    for row, other in zip(one.rows, again.rows, strict=True):
        assert {k: v for k, v in other.items() if v not in ("", None)} == row
    assert list(found_below([tmp_path])) == [tmp_path / "m"]


def test_what_is_missing_or_broken_on_disk_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"about\.json"):
        load(tmp_path)
    with pytest.raises(ValueError, match="holds no measurement"):
        list(found_below([tmp_path]))
    save(detection(), tmp_path)
    text = (tmp_path / "values.csv").read_text()
    (tmp_path / "values.csv").write_text(text.replace("0.8", "much", 1))
    with pytest.raises(ValueError, match="numbers in column p:"):
        load(tmp_path)
    with pytest.raises(ValueError, match="`kind`"):
        Measurement("regression", "a")


def test_folds_are_taken_together_and_a_patient_twice_is_refused():
    (one,) = together([detection(), detection(first=10)])
    assert len(one.patients) == len(one.rows) == 12
    assert "2 parts" in one.about["notes"][-1]
    with pytest.raises(ValueError, match="stand in two measurements"):
        together([detection(), detection()])
    assert len(together([detection(), detection(arm=BASELINE)])) == 2
    assert len(together([detection(), detection(first=10, side="test")])) == 2


# --- estimates ------------------------------------------------------------------------------------------------------


def test_estimates_are_over_samples_and_over_classes():
    one = detection(right=(1, 1, 1, 1, 1, 0, 0, 0))
    one.rows = one.rows[:6]  # four without, two with scar
    assert estimate(one, TOTAL)["value"] == pytest.approx(5 / 6)
    assert estimate(one, BALANCED)["value"] == pytest.approx((1 + 0.5) / 2)
    assert estimate(one, "none")["method"] == "exact, by patient"
    assert estimate(one, "nowhere") is None
    found = estimate(segmentation(), "RV", "slice")
    assert (found["patients"], found["cases"]) == (8, 48)
    assert found["sd"] > 0
    assert found["lower"] < found["value"] < found["upper"]
    assert estimate(segmentation(), "RV", "volume", "hd95_mm")["value"] == 5.0


def test_a_balanced_accuracy_of_one_has_no_point_for_an_interval():
    found = estimate(detection(right=[1] * 10), BALANCED)
    assert found["value"] == 1.0
    assert found["lower"] < 0.8


def test_auc_with_one_class_only_is_refused_with_its_reason():
    one = detection()
    assert estimate_of_chances(one, "auc")["value"] == pytest.approx(5 / 6)
    assert 0 < estimate_of_chances(one, "ece")["value"] < 0.3
    one.rows = one.rows[:3]
    assert "an AUC needs" in estimate_of_chances(one, "auc")["refused"]
    assert rendering.cell(estimate_of_chances(one, "auc")) == "refused: an AUC needs samples of two classes or more"


def test_agreement_is_told_and_refused_where_there_is_nothing_to_compare():
    (entry,) = agreement_of(segmentation())
    assert (entry["bias"], entry["n"], entry["unit"]) == (pytest.approx(1.0), 8, "%")
    (entry,) = agreement_of(segmentation(patients=1))
    assert "refused" in entry


def test_an_invented_structure_counts_in_the_comparison_of_arms():
    first, second = segmentation(), segmentation(arm=BASELINE)
    for row in first.rows:
        if row.get("structure") == "RV" and row["level"] == "volume":
            row["dice"] = None  # rightly found nothing
    for row in second.rows:
        if row.get("structure") == "RV" and row["level"] == "volume":
            row["dice"] = 0.0
    found = compare(first, second, "RV", "volume")
    assert found.difference.value == 1.0
    assert found.p < 0.02
    assert compare(first, second, "LA", "volume") is None


# --- tables ---------------------------------------------------------------------------------------------------------


def test_without_any_measurement_every_number_of_ours_is_not_measured():
    results = build([])
    text = rendering.markdown(results)
    lines = [line for line in text.splitlines() if line.startswith("| 3 Cine SAX | RV | Dice per slice")]
    assert lines[0] == (
        "| 3 Cine SAX | RV | Dice per slice | 0.890 (0.20) | 0.907 (0.18) | – | not measured | not measured | "
        "not measured | – | – |"
    )
    assert {line["experiment"] for line in results["tables"]["2"]} == set(EXPERIMENTS)
    assert {line["experiment"] for line in results["tables"]["4"]} == {"2", "5A", "6"}
    assert "Nothing has been measured yet." in text
    ours = {row["who"] for row in rendering.csv_rows(results)}
    assert ours == {"paper", "not measured"}


def test_ours_stand_beside_the_papers_with_their_data_and_tests():
    parts = [segmentation(), segmentation(arm="random ViT", gain=-0.1), detection()]
    results = build(parts)
    assert results["arms"] == [BASELINE, PROPOSED, NATURAL, "random ViT"]
    line = next(one for one in results["tables"]["2"] if (one["class"], one["level"]) == ("RV", "slice"))
    assert line["paper"][PROPOSED] == {"value": 0.907, "sd": 0.18}
    assert line["ours"][PROPOSED] == estimate(parts[0], "RV", "slice")
    assert set(line["ours"]) == {PROPOSED, "random ViT"}
    assert line["data"] == stratum(parts[0]) == "the paper's data set, other patients: acdc (validation)"
    tests = [test for test in results["tests"] if test["experiment"] == "3"]
    assert len(tests) == 6
    assert all(test["difference"]["value"] == pytest.approx(0.1, abs=0.01) for test in tests)
    assert all(test["p"] == pytest.approx(2 / 2**8) and test["p_holm"] >= test["p"] for test in tests)
    assert results["agreement"][0]["bias"] == pytest.approx(1.0)
    assert {one["metric"] for one in results["beyond"]} == {
        "Hausdorff-95",
        "average surface distance",
        "AUC",
        "calibration error",
    }
    assert not re.search(r"\bp\d", json.dumps(results)), "a patient is named"


def test_what_is_taken_for_what_is_counted():
    found = build([detection(right=(1, 1, 0, 0, 1, 1))])
    assert found["confusion"][0]["counts"] == [[2, 1], [1, 2]]
    text = rendering.confusion_tables(found)
    assert "| none | 2 | 1 | 3 |" in text
    assert "| present | 1 | 2 | 3 |" in text
    assert rendering.confusion_tables(build([segmentation()])) == rendering.NOT_MEASURED


def test_without_the_proposed_arm_all_arms_are_compared():
    arms = ("random ViT", "plain U-Net", BASELINE)
    results = build([segmentation(arm=arm, gain=0.01 * k) for k, arm in enumerate(arms)])
    pairs = {(test["first"], test["second"]) for test in results["tests"]}
    assert len(pairs) == 3


def test_arms_of_another_set_up_are_compared_among_themselves():
    arms = (PROPOSED, "random ViT", f"{PROPOSED} (short run)", "random ViT (short run)", "plain U-Net (short run)")
    results = build([segmentation(arm=arm, gain=0.01 * k) for k, arm in enumerate(arms)])
    pairs = {(test["first"], test["second"]) for test in results["tests"]}
    short = {(f"{PROPOSED} (short run)", f"{arm} (short run)") for arm in ("random ViT", "plain U-Net")}
    assert pairs == short | {(PROPOSED, "random ViT")}


def test_arms_on_other_data_stand_on_lines_of_their_own():
    other = detection(arm=BASELINE, side="test", first=20)
    results = build([detection(), other])
    lines = [line for line in results["tables"]["2"] if (line["experiment"], line["class"]) == ("8B", TOTAL)]
    assert sorted((*line["ours"], line["data"].split("(")[1]) for line in lines) == [
        (PROPOSED, "validation)"),
        (BASELINE, "test)"),
    ]
    assert results["tests"] == []


def test_data_are_the_papers_public_ones_or_phantoms():
    assert data_label(EXPERIMENTS["3"], ["acdc"]) == "the paper's data set, other patients"
    assert data_label(EXPERIMENTS["1"], ["phantoms", "emidec", "acdc"]) == "public substitute and phantom"
    assert data_label(EXPERIMENTS["6"], ["phantoms"]) == "phantom"
    assert data_label(EXPERIMENTS["3"], ["table"]) == "other data"


def test_an_experiment_that_the_paper_does_not_have_is_refused():
    with pytest.raises(ValueError, match="10"):
        build([detection(experiment="10")])


def test_the_files_say_the_same(tmp_path):
    results = build([segmentation(), detection()])
    files = rendering.write(results, tmp_path)
    assert [file.name for file in files] == ["results.md", "results.csv", "results.json"]
    assert rendering.markdown(rendering.read(files[2])) == files[0].read_text()
    with files[1].open() as file:
        rows = list(csv.DictReader(file))
    (row,) = (
        row
        for row in rows
        if (row["table"], row["class"], row["level"], row["arm"], row["who"]) == ("2", "RV", "slice", PROPOSED, "ours")
    )
    assert float(row["value"]) == pytest.approx(estimate(segmentation(), "RV", "slice")["value"])


def test_the_document_of_results_is_written_from_its_data(repo_root):
    data = rendering.read(repo_root / "docs" / "results.json")
    assert rendering.markdown(data) == (repo_root / "docs" / "results.md").read_text(encoding="utf-8"), (
        "write it again: python training/evaluate.py --tables … --out docs"
    )


def test_cells_are_short_and_signs_are_true():
    found = {"value": -0.0312, "sd": None, "lower": -0.05, "upper": 0.001, "patients": 4}
    assert rendering.cell(found, signed=True) == "−0.031 [−0.050, +0.001]"
    assert rendering.cell(found | {"lower": None}) == "−0.031 [too few patients]"
    assert rendering.cell(None) == "not measured"
    assert [rendering.p_value(p) for p in (None, 0.0004, 0.04)] == ["–", "< 0.001", "0.040"]
    assert rendering.table(["a"], [["x|y"]]) == "| a |\n|---|\n| x\\|y |"
