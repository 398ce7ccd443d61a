"""Tasks of probes by the rows they are made of: no source names a class, nobody is on both sides."""

from itertools import product

import numpy as np
import pytest
import torch

from cmr_hf.data.shards import Record, ShardWriter
from cmr_hf.pretraining.probe_report import PRETRAINED, draw_curves, table
from cmr_hf.pretraining.probe_tasks import FIT_IMAGES, ProbeImages, tasks_of
from cmr_hf.pretraining.probes import extract_features
from cmr_hf.pretraining.probing import backbone_features, baseline_features, compare
from tests.pretraining.pretrain_factory import tiny_student


def row(source: str, side: str, image_type: str, view: str = "SAX", disease: str | None = None) -> dict:
    return {"source": source, "side": side, "image_type": image_type, "view": view, "disease": disease}


def rows_of_a_hospital_and_phantoms() -> list[dict]:
    rows = []
    for side, _ in product(("train", "validation"), range(8)):
        rows += [row("phantoms", side, kind, "SAX", "NORM") for kind in ("cine", "LGE", "T1")]
        rows += [row("acdc", side, "cine", "SAX", disease) for disease in ("NORM", "DCM")]
        rows += [row("emidec", side, "LGE")]
    return rows


def by_name(rows: list[dict]) -> dict:
    return {(task.label, task.name): task for task in tasks_of(rows)}


def test_tasks_are_those_that_the_images_allow():
    assert set(by_name(rows_of_a_hospital_and_phantoms())) == {
        ("image_type", "phantoms"),
        ("image_type", "phantoms to patients"),
        ("image_type", "patients to phantoms"),
        ("disease", "acdc"),  # phantoms are all NORM here, and no source has two image types or two views
    }


def test_no_image_fits_and_judges_and_ids_name_the_classes():
    rows = rows_of_a_hospital_and_phantoms()
    for task in tasks_of(rows):
        assert not set(task.fit.tolist()) & set(task.judge.tolist())
        for numbers, ids in ((task.fit, task.fit_ids), (task.judge, task.judge_ids)):
            named = [rows[number][task.label] for number in numbers.tolist()]
            assert named == [task.classes[one] for one in ids.tolist()]
            assert set(named) == set(task.classes)


def test_where_a_task_is_fitted_no_source_names_a_class_or_it_is_another_than_where_it_is_judged():
    for task in tasks_of(rows_of_a_hospital_and_phantoms()):
        fitted = [set(pair[0]) for pair in task.sources.values()]
        judged = set().union(*(pair[1] for pair in task.sources.values()))
        if task.name in ("phantoms", "phantoms to patients", "acdc"):
            assert all(one == fitted[0] and len(one) == 1 for one in fitted)
        else:
            assert not set().union(*fitted) & judged


def test_only_validation_hearts_judge_within_a_source():
    rows = rows_of_a_hospital_and_phantoms()
    for name in (("image_type", "phantoms"), ("disease", "acdc")):
        task = by_name(rows)[name]
        assert {rows[number]["side"] for number in task.fit.tolist()} == {"train"}
        assert {rows[number]["side"] for number in task.judge.tolist()} == {"validation"}


def test_a_class_of_one_source_is_left_out():
    assert by_name(rows_of_a_hospital_and_phantoms())["image_type", "phantoms to patients"].classes == ("LGE", "cine")


def test_disease_is_asked_of_cine_short_axis_pictures_alone():
    rows = rows_of_a_hospital_and_phantoms() + [row("acdc", "train", "cine", "4CH", "NORM") for _ in range(9)]
    task = by_name(rows)["disease", "acdc"]
    assert {rows[number]["view"] for number in task.fit.tolist()} == {"SAX"}


def test_a_large_class_gives_images_from_end_to_end():
    rows = [row("a", "train", "cine", "SAX") for _ in range(5 * FIT_IMAGES)]
    rows += [
        row("a", side, "cine", view) for side in ("train", "validation") for view in ("SAX", "4CH") for _ in range(6)
    ]
    task = by_name(rows)["view", "a"]
    large = task.fit[task.fit_ids == task.classes.index("SAX")]
    assert len(large) == FIT_IMAGES
    assert large.min() == 0
    assert large.max() >= 5 * FIT_IMAGES


@pytest.fixture(scope="module")
def probe(tmp_path_factory) -> ProbeImages:
    """Pictures that are brighter at the top or at the bottom, by type; the rest is noise."""
    folder = tmp_path_factory.mktemp("probe") / "shards"
    rng = np.random.default_rng(0)
    with ShardWriter(folder, unit="test") as writer:
        for number in range(96):
            picture = rng.integers(0, 120, (72, 64)).astype(np.uint8)
            kind, side = ("cine", "LGE")[number % 2], ("train", "validation")[number // 2 % 2]
            picture[:36] += 80 * (number % 2)
            source = ("phantoms", "one")[number // 4 % 2]
            writer.add(picture, Record(source=source, image_type=kind, view="SAX", side=side))
    return ProbeImages([folder], side=32)


def test_features_are_compared_on_every_task_and_the_picture_itself_solves_an_easy_one(probe):
    backbone = tiny_student().backbone.eval()
    features = baseline_features(backbone, probe, 2) | backbone_features(backbone, probe, 2, PRETRAINED)
    rows = compare(features, probe.tasks, k=5)
    assert {row["task"] for row in rows} == {"phantoms", "phantoms to patients", "patients to phantoms", "one"}
    names = {"pretrained, [CLS]", "pretrained, all", "random weights, [CLS]", "random weights, all"}
    assert {row["features"] for row in rows} == names | {"raw pixels", "histogram"}
    assert all(0 <= row[kind] <= 1 and row[f"{kind}_sd"] >= 0 for row in rows for kind in ("knn", "linear"))
    for row in rows:
        if row["features"] == "raw pixels":
            assert row["linear"] > 0.95
    assert not torch.equal(*features["random weights, all"])
    assert torch.equal(*features["raw pixels"])
    last = extract_features(backbone, probe.images, probe.extents)
    torch.testing.assert_close(features["pretrained, [CLS]"][0], last, atol=0.02, rtol=0)


def test_a_report_has_each_task_once_in_a_table_and_a_curve(probe, tmp_path):
    backbone = tiny_student().backbone.eval()
    before = compare(baseline_features(backbone, probe, 2), probe.tasks, k=5)
    after = compare(backbone_features(backbone, probe, 2, PRETRAINED), probe.tasks, k=5)
    text = table([*after, *before])
    lines = [line for line in text.splitlines() if line.startswith("| image_type")]
    assert len(lines) == 2 * len(probe.tasks)
    assert all(line.count("|") == lines[0].count("|") and line.count("**") >= 2 for line in lines)
    draw_curves(tmp_path / "curves.png", before, {10: after, 20: after})
    assert 1000 < (tmp_path / "curves.png").stat().st_size < 150_000


def test_when_there_are_no_labels_then_it_says_what_to_prepare(tmp_path):
    with ShardWriter(tmp_path / "shards", unit="test") as writer:
        writer.add(np.full((64, 64), 9, np.uint8), Record(source="one"))
    with pytest.raises(ValueError, match="--sides train validation"):
        ProbeImages([tmp_path / "shards"])
