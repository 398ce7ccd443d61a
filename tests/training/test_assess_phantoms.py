"""training/assess_phantoms.py and risk_coverage.py on one small phantom and miniature patients."""

import json
import runpy

import pytest

from cmr_hf.assessment import ROLES
from cmr_hf.evaluation.known_truth import MODEL_MASKS, TRUE_MASKS
from tests.acdc_factory import write_patient
from tests.model_factory import tiny_processor, tiny_segmenter


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tiny_segmenter(single_component_labels=[1, 2, 3]).save_pretrained(folder)
    tiny_processor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory, repo_root, model):
    """What the script wrote of one study, and a document with its tables."""
    out = tmp_path_factory.mktemp("phantoms")
    (out / "doc.md").write_text("# x\n<!-- assess_phantoms: begin -->\n<!-- assess_phantoms: end -->\n")
    models = [f"{role}=none" for role in ROLES if role != "cine-sax"]
    main = runpy.run_path(str(repo_root / "training" / "assess_phantoms.py"), run_name="x")["main"]
    small = ["--count", "1", "--phases", "4", "--size", "64", "--docs", str(out / "doc.md")]
    main(["--out", str(out), *small, "--model", f"cine-sax={model}", *models])
    return out


@pytest.mark.slow
def test_true_masks_give_the_true_figures_and_random_ones_do_not(out):
    table = {one["figure"]: one for one in json.loads((out / "table.json").read_text())["table"]}
    # with pixels of 5 mm, maps are drawn towards blood
    for name, least in (("lv_edv", 0.08), ("lv_mass", 0.15), ("rv_edv", 0.08), ("t1_native", 0.1), ("ecv", 0.3)):
        low, _ = table[name]["true_range"]
        assert table[name][TRUE_MASKS]["mean_absolute"] < least * low
    assert table["wall_thickness_ed"][TRUE_MASKS]["n"] >= 12
    assert table["la_area_max"][TRUE_MASKS]["n"] == 1
    assert table["t1_native"][MODEL_MASKS] == {"n": 0, "refused": 1}
    rows = json.loads((out / "rows.json").read_text())
    assert {row["case"] for part in rows.values() for row in part} == {"phantom 90000"}
    assert all(0 <= row["error"] <= 1 for row in rows["slices"])
    text = (out / "doc.md").read_text()
    assert "| lv edv, ml |" in text
    assert text.count("<!-- assess_phantoms: end -->") == 1


@pytest.mark.slow
def test_risk_is_told_of_patients_and_phantoms(out, model, repo_root, tmp_path):
    for number in (1, 2):
        write_patient(tmp_path / "acdc", f"patient{number:03d}")
    splits = {"acdc": {"train": [], "validation": ["patient001", "patient002"], "test": []}}
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    main = runpy.run_path(str(repo_root / "training" / "risk_coverage.py"), run_name="x")["main"]
    words = ["--splits", tmp_path / "splits.json", "--acdc", tmp_path / "acdc", "--phantoms", out]
    main([str(word) for word in (*words, "--out", tmp_path / "risk", "--model", model)])
    found = json.loads((tmp_path / "risk" / "risk.json").read_text())
    assert {"ACDC, promised Dice", "phantoms, mean probability"} <= set(found["slices"])
    assert found["slices"]["ACDC, promised Dice"]["cases"] == 2
    assert (tmp_path / "risk" / "risk_coverage.png").stat().st_size > 5000
