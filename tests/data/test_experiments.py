"""The paper's experiments: Table 1, the samples made of stacks, and splits by patient."""

import json
import logging

import numpy as np
import pytest

from cmr_hf.data.acdc import read_acdc
from cmr_hf.data.emidec import read_emidec
from cmr_hf.data.experiments import EXPERIMENTS, experiment, paper_split, samples_of
from cmr_hf.data.insertion_points import with_insertion_points
from cmr_hf.data.leakage import check_leakage
from cmr_hf.data.schema import DISEASES, LANDMARKS, UNKNOWN, LabelledStack
from cmr_hf.data.splits import SIDES, load_split
from cmr_hf.hub.classifying_cmr import at_level
from cmr_hf.hub.image_cmr import CMRImage
from cmr_hf.hub.pipeline_cmr_disease_detection import BASAL, CMRDiseaseDetectionPipeline
from cmr_hf.hub.pipeline_cmr_lge_detection import CMRLGEDetectionPipeline
from cmr_hf.registration import register

TABLE_1 = """
1  5 24890 100 4310 15 8984 29
2  6 1457 165 171 16 4494 165
3  3 150 75 50 25 100 50
4  4 346 173 70 35 458 228
5A 2 70 70 15 15 15 15
5B 2 6105 808 1280 176 1197 159
6  2 877 100 128 15 261 29
7  2 3198 716 398 80 399 80
8A 2 694 347 158 79 110 55
8B 2 70 70 15 15 15 15
9  5 150 75 50 25 100 50
"""


def stack(slices=5, phase_index=0, **fields):
    """Slices that tell by their values which they are: 100 * phase + slice."""
    images = np.zeros((slices, 12, 10), np.float32) + 100 * phase_index + np.arange(slices)[:, None, None]
    known = {"patient": "p", "source": "s", "series": "a", "spacing_mm": (1.4, 1.2)}
    return LabelledStack(images=images, phase_index=phase_index, **{**known, **fields})


def values(sample):
    return [int(image[0, 0]) for image in sample["image"]]


# --- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", TABLE_1.split("\n")[1:-1], ids=lambda row: row.split()[0])
def test_counts_and_classes_are_those_of_table_1(row):
    key, *numbers = row.split()
    classes, *counts = map(int, numbers)
    one = EXPERIMENTS[key]
    assert len(one.compares) == classes
    assert [*one.train, *one.validation, *one.test] == counts
    assert sum(one.patients.values()) == sum(counts[1::2])


def test_there_are_eleven_of_nine_tasks():
    assert list(EXPERIMENTS) == [row.split()[0] for row in TABLE_1.strip().split("\n")]
    kinds = [one.kind for one in EXPERIMENTS.values()]
    assert [kinds.count(kind) for kind in ("classification", "segmentation", "landmarks", "detection")] == [2, 5, 1, 3]
    assert {key for key, one in EXPERIMENTS.items() if one.seen_in_pretraining} == {"5B", "7", "8A"}


def test_every_task_is_a_pipeline():
    from transformers.pipelines import PIPELINE_REGISTRY

    register()
    assert {one.task for one in EXPERIMENTS.values()} <= set(PIPELINE_REGISTRY.get_supported_tasks())


def test_experiment_4_learns_the_rv_too_and_compares_four():
    four = EXPERIMENTS["4"]
    assert four.id2label == {0: "background", 1: "LV cavity", 2: "myocardium", 3: "RV", 4: "LA", 5: "RA"}
    assert four.compares == ("LV cavity", "myocardium", "LA", "RA")


def test_when_an_experiment_is_unknown_then_all_are_named():
    with pytest.raises(ValueError, match="5A, 5B.*'10'"):
        experiment("10")
    assert experiment(EXPERIMENTS["7"]) is experiment("7")


# --- samples --------------------------------------------------------------------------------------------------------


def test_classification_takes_every_slice_with_a_label():
    stacks = [stack(2, image_type="LGE"), stack(1, image_type="T1", patient="q"), stack(3)]
    samples = list(samples_of("1", stacks))
    assert [sample["label"] for sample in samples] == [1, 1, 2]
    assert [sample["key"] for sample in samples] == ["s/p/a/t0/z0", "s/p/a/t0/z1", "s/q/a/t0/z0"]
    assert samples[0]["image"].shape == (12, 10)
    assert (samples[2]["patient"], samples[2]["spacing_mm"]) == ("q", (1.4, 1.2))


def test_views_are_of_cine_alone():
    stacks = [stack(1, view="4CH", image_type="cine"), stack(1, view="SAX", image_type="LGE"), stack(1, view="2CH")]
    assert [sample["label"] for sample in samples_of("2", stacks)] == [3, 1]


def test_classes_without_a_sample_are_named(caplog):
    logging.getLogger("cmr_hf").propagate = True
    with caplog.at_level("WARNING"):
        list(samples_of("1", [stack(1, image_type="LGE"), stack(1, image_type="cine")]))
        list(samples_of("3", [stack(1, masks=np.ones((1, 12, 10), np.uint8), drawn=(1, 2))]))
    assert "experiment 1 (Image type classification): the data have no T1, T2, other" in caplog.text
    assert "experiment 3 (Cine SAX): the data have no RV" in caplog.text


def test_scar_is_myocardium_and_what_is_not_learned_is_background():
    masks = np.zeros((2, 12, 10), np.uint8)
    masks[0, 0, :6] = (1, 2, 6, 3, UNKNOWN, 0)
    masks[1] = UNKNOWN
    (sample,) = samples_of("5A", [stack(2, masks=masks, drawn=(1, 2, 3, 6), image_type="LGE")])
    assert sample["mask"].dtype == np.uint8
    assert sample["mask"][0, :6].tolist() == [1, 2, 2, 0, UNKNOWN, 0]
    assert sample["drawn"] == (1, 2)
    assert masks[0, 0, 2] == 6  # the source stays


def test_the_four_chamber_view_has_five_classes():
    masks = np.zeros((1, 12, 10), np.uint8)
    masks[0, 0, :6] = np.arange(6)
    (sample,) = samples_of("4", [stack(1, masks=masks, drawn=(1, 2, 3, 4, 5), image_type="cine", view="4CH")])
    assert sample["mask"][0, :6].tolist() == [0, 1, 2, 3, 4, 5]
    assert list(samples_of("4", [stack(1, masks=masks, drawn=(1, 2), view="SAX")])) == []


def test_landmarks_are_row_and_column_and_nan_where_not_marked():
    anterior, inferior = LANDMARKS
    marked = [{inferior: (3.5, 4.25)}, {}, {anterior: (1, 2), inferior: (5, 6)}]
    first, second = samples_of("7", [stack(3, landmarks=marked)])
    np.testing.assert_array_equal(first["points"], [(np.nan, np.nan), (3.5, 4.25)])
    np.testing.assert_array_equal(second["points"], [(1, 2), (5, 6)])
    assert second["key"].endswith("z2")


@pytest.mark.parametrize("slices", [3, 4, 7, 10])
@pytest.mark.parametrize("apex_first", [False, True])
def test_lge_samples_are_what_the_pipeline_would_see(slices, apex_first):
    affine = np.eye(4)
    affine[:3, 2] = np.array((-5.8, 5.8, 5.8)) if apex_first else np.array((5.8, -5.8, -5.8))
    one = stack(slices, lge="present", affine=affine)
    (sample,) = samples_of("8B", [one])
    image = CMRImage(one.images, one.spacing_mm, 10.0, affine, "here", "array")
    expected = object.__new__(CMRLGEDetectionPipeline).three_images(image)
    np.testing.assert_array_equal(sample["image"], expected)
    assert sample["image"].shape == (3, 12, 10)
    assert values(sample) == sorted(values(sample), reverse=apex_first)
    assert sample["label"] == 1


def test_lge_is_read_from_scar_where_nobody_said():
    masks = np.zeros((4, 12, 10), np.uint8)
    scarred = masks.copy()
    scarred[2, 3, 3] = 6
    stacks = [
        stack(4, masks=scarred, drawn=(1, 2, 6)),
        stack(4, masks=masks, drawn=(1, 2, 6), patient="q"),
        stack(4, masks=masks, drawn=(1, 2), patient="r"),
        stack(2, lge="none", patient="too few slices"),
    ]
    assert [(one["patient"], one["label"]) for one in samples_of("8A", stacks)] == [("p", 1), ("q", 0)]


def test_neighbours_are_the_same_heart_nearer_to_base_and_apex():
    found = list(samples_of("8B", [stack(9, lge="present")], neighbours=3))
    assert [(one["shift"], values(one)) for one in found] == [
        (0, [2, 4, 6]),
        (-2, [0, 2, 4]),
        (-1, [1, 3, 5]),
        (1, [3, 5, 7]),
        (2, [4, 6, 8]),
    ]
    found = list(samples_of("9", cine(20, es=8), neighbours=3))
    assert [(one["shift"], values(one)[0]) for one in found] == [(0, 2), (-2, 0), (-1, 1), (1, 3), (2, 4), (3, 5)]
    assert len({one["key"] for one in found}) == 6
    assert {one["label"] for one in found} == {DISEASES.index("HCM")}


def test_emidec_is_turned_from_base_to_apex():
    (sample,) = samples_of("8B", [stack(7, lge="none", source="emidec")])
    (usual,) = samples_of("8B", [stack(7, lge="none")])
    assert values(usual) == sorted(values(usual))
    assert values(sample) == [6 - value for value in values(usual)]


def cine(count, ed=0, es=None, slices=8, **fields):
    phases = {ed: "ED", es: "ES"}
    return [stack(slices, t, phase=phases.get(t, ""), disease="HCM", **fields) for t in range(count)]


def test_disease_samples_are_ed_half_way_and_es_at_the_base():
    (sample,) = samples_of("9", cine(20, es=8))
    base = at_level(list(range(8)), BASAL)
    assert values(sample) == [base, 400 + base, 800 + base]
    assert (sample["label"], sample["variant"]) == (DISEASES.index("HCM"), "")


def test_disease_samples_without_named_phases_are_what_the_pipeline_would_see():
    rng = np.random.default_rng(0)
    stacks = [stack(6, t, disease="NORM") for t in range(9)]
    for one in stacks:
        one.images += rng.normal(size=one.images.shape).astype(np.float32)
    (sample,) = samples_of("9", stacks)
    frames = np.stack([one.images for one in stacks])
    image = CMRImage(frames, (1.4, 1.2), None, None, "here", "array")
    np.testing.assert_array_equal(sample["image"], object.__new__(CMRDiseaseDetectionPipeline).three_images(image))


@pytest.mark.parametrize("backwards", [False, True])
def test_phases_may_come_in_any_order(backwards):
    phases = cine(20, es=8)
    (sample,) = samples_of("9", phases[::-1] if backwards else phases[7:] + phases[:7])
    assert [value // 100 for value in values(sample)] == [0, 4, 8]


def test_when_ed_is_the_last_phase_then_half_way_lies_in_systole():
    (sample,) = samples_of("9", cine(20, ed=19, es=7))
    assert [value // 100 for value in values(sample)] == [19, 3, 7]


@pytest.mark.parametrize(("ed", "es"), [(0, 11), (24, 9)])
def test_ed_and_es_alone_are_the_variant_ed_es_es(ed, es):
    stacks = [stack(8, ed, phase="ED", disease="DCM"), stack(8, es, phase="ES", disease="DCM")]
    (sample,) = samples_of("9", stacks)
    assert [value // 100 for value in values(sample)] == [ed, es, es]
    assert sample["variant"] == "ED, ES, ES"


def test_hearts_do_not_mix():
    stacks = [*cine(6, es=3), *cine(6, es=3, patient="q"), *cine(6, es=3, patient="q", series="b")]
    stacks += [stack(8, disease="RV", patient="one phase"), *cine(2, es=1, patient="nobody said")]
    for one in stacks[-2:]:
        one.disease = None
    assert [one["key"] for one in samples_of("9", stacks)] == ["s/p/a", "s/q/a", "s/q/b"]


def test_real_hearts_become_samples(shared_data):
    acdc = list(read_acdc(shared_data / "acdc", ["patient001", "patient021"]))
    emidec = list(read_emidec(shared_data / "emidec", ["Case_P001", "Case_N013"]))
    slices = sum(len(one.images) for one in acdc)
    assert len(list(samples_of("3", acdc + emidec))) == slices
    hearts = list(samples_of("9", acdc + emidec))
    assert [(one["patient"], one["label"], one["variant"]) for one in hearts] == [
        ("patient001", DISEASES.index("DCM"), "ED, ES, ES"),
        ("patient021", DISEASES.index("HCM"), "ED, ES, ES"),
    ]
    assert [one["label"] for one in samples_of("8B", acdc + emidec)] == [1, 0]
    points = list(samples_of("7", [with_insertion_points(one)[0] for one in acdc]))
    assert len(points) > slices / 2
    assert not any(np.isnan(one["points"]).any() for one in points)
    keys = [one["key"] for one in points]
    assert len(set(keys)) == len(keys)


# --- splits ---------------------------------------------------------------------------------------------------------


def acdc_like(count=150):
    return {f"patient{number:03d}": DISEASES[number % 5] for number in range(count)}


@pytest.mark.parametrize("key", list(EXPERIMENTS))
def test_a_paper_split_has_the_papers_numbers_and_no_patient_twice(key):
    one = EXPERIMENTS[key]
    patients = [f"p{number}" for number in range(sum(one.patients.values()) + 7)]
    split = paper_split(key, patients)
    assert {side: len(split[side]) for side in SIDES} == one.patients
    together = [name for side in SIDES for name in split[side]]
    assert len(set(together)) == len(together)
    assert set(together) <= set(patients)


def test_a_paper_split_has_every_class_alike_on_each_side():
    patients = acdc_like()
    split = paper_split("9", patients)
    for side, each in zip(SIDES, (15, 5, 10), strict=True):
        assert sorted(patients[name] for name in split[side]) == sorted(DISEASES * each)
    uneven = {f"p{number}": "present" if number < 67 else "none" for number in range(100)}
    shares = [np.mean([uneven[name] == "present" for name in paper_split("8B", uneven)[side]]) for side in SIDES]
    np.testing.assert_allclose(shares, 0.67, atol=0.04)


def test_a_paper_split_depends_on_the_seed_alone():
    patients = acdc_like()
    backwards = dict(reversed(patients.items()))
    assert paper_split("3", patients, seed=4) == paper_split("3", backwards, seed=4)
    assert paper_split("3", patients, seed=4)["train"] != paper_split("3", patients, seed=5)["train"]
    assert "seed 4" in paper_split("3", patients, seed=4)["_"]


def test_when_patients_are_too_few_then_the_shares_are_offered():
    patients = acdc_like(60)
    with pytest.raises(ValueError, match=r"150 patients.*got 60.*proportional=True"):
        paper_split("3", patients)
    split = paper_split("3", patients, proportional=True)
    assert [len(split[side]) for side in SIDES] == [30, 10, 20]
    with pytest.raises(ValueError, match="one on every side"):
        paper_split("3", ["a", "b"], proportional=True)


def test_a_paper_split_is_one_that_load_split_reads(tmp_path):
    split = paper_split("3", acdc_like())
    (tmp_path / "splits.json").write_text(json.dumps({"acdc": split}))
    assert load_split(tmp_path / "splits.json", "acdc") == {side: split[side] for side in SIDES}


def test_samples_of_the_binding_split_do_not_leak(shared_data):
    split = load_split(shared_data / "splits.json", "acdc")
    sides = {
        side: list(samples_of("3", read_acdc(shared_data / "acdc", patients[:3]))) for side, patients in split.items()
    }
    assert all(sides.values())
    assert check_leakage(sides) == []
