"""From stacks and a model to one row per case, with models whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cmr_hf.data.experiments import EXPERIMENTS
from cmr_hf.data.schema import LANDMARKS, UNKNOWN
from cmr_hf.evaluation.measuring import measured
from cmr_hf.evaluation.predicting import columns_of, landmarks_of, open_model, structures_of
from cmr_hf.evaluation.segmented import slice_positions
from tests.evaluation.hearts import SIZE, SPACING_MM, Reads, Says, masks, processor, stack
from tests.model_factory import tiny_locator, tiny_model, tiny_processor, tiny_segmenter


def rows_of(model, chosen, stacks, facts=None):
    more = {} if facts is None else {"facts": facts}
    return [row for rows, _ in measured(model, processor(), EXPERIMENTS[chosen], stacks, **more) for row in rows]


def volumes(rows):
    return {row["structure"]: row for row in rows if row.get("level") == "volume"}


def test_a_model_that_is_right_has_dice_one_and_no_distance():
    rows = rows_of(Reads(), "3", [stack(), stack(phase="ES", radius=6.0)])
    found = [row for row in rows if row["level"] in ("slice", "volume") and row["dice"] is not None]
    assert {row["dice"] for row in found} == {1.0}
    assert {row["hd95_mm"] for row in found} == {row["asd_mm"] for row in found} == {0.0}
    last = [row for row in rows if row["case"] == "sax/ED/slice 5"]
    assert [row["dice"] for row in last] == [None] * 3
    measures = {row["structure"]: row for row in rows if row["level"] == "measure" and row["case"] == "sax/cine"}
    assert measures["LV EF"]["measured"] == measures["LV EF"]["reference"] > 10
    assert measures["LV EDV"]["reference"] == pytest.approx((masks()[:] == 1).sum() * 2 * 2 * 8 / 1000)


def test_a_shift_is_measured_in_mm_and_a_rv_where_there_is_none_counts_zero():
    one = stack()
    one.masks[one.masks == 3] = 0  # nobody has a RV, but the picture shows it
    rows = rows_of(Reads(shift=1), "3", [one])
    found = volumes(rows)
    assert found["RV"]["dice"] == 0.0
    assert found["RV"]["hd95_mm"] is None
    assert 0.7 < found["LV cavity"]["dice"] < 1.0
    assert found["LV cavity"]["hd95_mm"] == pytest.approx(SPACING_MM[1])


def test_what_nobody_drew_is_not_judged():
    one = replace(stack(), drawn=(1,))
    one.masks[np.isin(one.masks, (2, 3))] = 0
    rows = rows_of(Reads(), "3", [one])
    assert {row["structure"] for row in rows} == {"LV cavity"}
    assert volumes(rows)["LV cavity"]["dice"] == 1.0
    blank = replace(stack(), masks=np.full_like(masks(), UNKNOWN))
    assert rows_of(Reads(), "3", [replace(stack(), masks=None), blank]) == []


def test_where_only_outlines_are_known_the_rest_is_not_their_structure():
    one = stack()
    one.masks[one.masks != 1] = UNKNOWN
    one.masks[-1] = UNKNOWN
    rows = rows_of(Reads(shift=1), "3", [one])
    assert {row["structure"] for row in rows if row["level"] != "measure"} == {"LV cavity"}
    assert {row["case"] for row in rows if row["level"] == "slice"} == {f"sax/ED/slice {z}" for z in range(5)}
    assert volumes(rows)["LV cavity"]["dice"] < 1.0
    assert not [row for row in rows if row["level"] == "measure"]


def test_unknown_pixels_count_for_nobody():
    one = stack()
    one.masks[:, :, : SIZE // 2] = UNKNOWN
    one.masks[0, 0, 0] = 0
    rows = rows_of(Reads(), "3", [one])
    assert volumes(rows)["LV cavity"]["dice"] == 1.0


def test_scar_is_myocardium_where_the_task_has_no_scar():
    one = replace(stack(), image_type="LGE", source="emidec", drawn=(1, 2, 6))
    one.masks[one.masks == 3] = 0
    one.masks[1, 20:24, 14:18] = np.where(one.masks[1, 20:24, 14:18] == 2, 6, one.masks[1, 20:24, 14:18])
    assert (one.masks == 6).any()
    found = volumes(rows_of(Reads(), "5A", [one]))
    assert set(found) == {"LV cavity", "myocardium"}
    assert found["myocardium"]["dice"] == 1.0


def test_without_spacing_there_is_dice_but_no_distance_and_no_volume():
    rows = rows_of(Reads(), "3", [replace(stack(), spacing_mm=None)])
    assert {row["hd95_mm"] for row in rows} == {None}
    assert not [row for row in rows if row["level"] == "measure"]
    gap = replace(stack(), slice_indices=(0, 1, 2, 4, 5, 6))
    rows = rows_of(Reads(), "3", [gap])
    assert volumes(rows)["LV cavity"]["hd95_mm"] is None
    assert next(row for row in rows if row["level"] == "slice")["hd95_mm"] == 0.0


def test_a_single_slice_is_measured_in_its_plane():
    one = stack()
    one = replace(one, images=one.images[:1], masks=one.masks[:1], slice_indices=(), landmarks=[])
    slices, whole = ([r for r in rows_of(Reads(shift=1), "3", [one]) if r["level"] == n] for n in ("slice", "volume"))
    assert [r["hd95_mm"] for r in slices] == [r["hd95_mm"] for r in whole]


def test_slices_are_basal_mid_and_apical_whichever_way_they_are_stored():
    one = stack()
    expected = ["basal", "basal", "mid", "mid", "apical", "no LV drawn"]
    assert slice_positions(one) == expected
    turned = replace(one, images=one.images[::-1], masks=one.masks[::-1])
    assert slice_positions(turned) == expected[::-1]
    upwards = np.eye(4)
    upwards[:3, 2] = -8 * np.array([0.6, -0.6, -0.53])  # patient space says that the last slice is the base
    assert slice_positions(replace(one, affine=upwards)) == ["apical", "mid", "mid", "basal", "basal", "no LV drawn"]
    assert slice_positions(replace(one, view="4CH")) == [""] * 6
    assert slice_positions(replace(one, masks=None)) == [""] * 6


VIEWS = {0: "short axis", 1: "2CH", 2: "3CH", 3: "four chamber", 4: "aorta", 5: "other"}


def test_classes_are_matched_by_name_and_every_image_is_a_row():
    stacks = [replace(stack("a"), view="4CH"), stack("b")]
    rows = rows_of(Says([3] * 6 + [0] * 4 + [1] * 2, VIEWS), "2", stacks)
    assert [row["truth"] for row in rows] == ["4CH"] * 6 + ["SAX"] * 6
    assert [row["right"] for row in rows] == [1] * 10 + [0] * 2
    assert rows[0]["case"] == "sax/t0/z0"
    chances = [rows[0][f"p:{name}"] for name in ("SAX", "2CH", "3CH", "4CH", "aorta", "other")]
    assert sum(chances) == pytest.approx(1)
    assert max(chances) == chances[3] == pytest.approx(np.exp(2) / (np.exp(2) + 5))


def test_a_model_that_lacks_a_class_is_wrong_there_and_a_strange_one_is_refused():
    assert columns_of({0: "SAX", 1: "2CH"}, "view", ("SAX", "2CH", "aorta")) == [0, 1, None]
    rows = rows_of(Says([0] * 6, {0: "SAX", 1: "2CH"}), "2", [replace(stack(), view="aorta")])
    assert {row["right"] for row in rows} == {0}
    assert {row["p:aorta"] for row in rows} == {0.0}
    with pytest.raises(ValueError, match="class 'cat' is none of"):
        rows_of(Says([], {0: "cat", 1: "dog"}), "2", [stack()])


def test_a_heart_is_one_row_of_the_detection_tasks():
    ed, es = stack(disease="DCM"), stack(phase="ES", radius=5.0, disease="DCM")
    (row,) = rows_of(Says([1], {0: "NOR", 1: "DCM", 2: "HCM", 3: "MINF", 4: "RV"}), "9", [ed, es])
    assert (row["truth"], row["predicted"], row["variant"]) == ("DCM", "DCM", "ED, ES, ES")
    scarred = replace(stack(), image_type="LGE", source="emidec", drawn=(1, 2, 6))
    (row,) = rows_of(Says([1], {0: "no LGE", 1: "LGE"}), "8B", [scarred])
    assert (row["truth"], row["predicted"], row["right"]) == ("none", "present", 0)


def test_facts_of_a_stack_stand_in_its_rows():
    facts = {"a": {"vendor": "Siemens"}, "b": {"vendor": "GE"}}
    stacks = [stack("a"), stack("b")]
    rows = rows_of(Reads(), "3", stacks, lambda one: facts[one.patient])
    assert {(row["patient"], row["vendor"]) for row in rows} == {("a", "Siemens"), ("b", "GE")}
    rows = rows_of(Says([0] * 12, VIEWS), "2", stacks, lambda one: facts[one.patient])
    assert {(row["patient"], row["vendor"]) for row in rows} == {("a", "Siemens"), ("b", "GE")}


class Points(torch.nn.Module):
    """Peaks at given places of the crop."""

    def __init__(self, points, labels):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.points = points
        self.config = Reads(labels=labels).config

    def forward(self, pixel_values):
        y, x = torch.meshgrid(*[torch.arange(float(SIZE))] * 2, indexing="ij")
        maps = [20 * torch.exp(-((y - r) ** 2 + (x - c) ** 2) / 8) for r, c in self.points]
        return type("Out", (), {"logits": torch.stack(maps)[None].repeat(len(pixel_values), 1, 1, 1)})


def test_landmarks_are_matched_by_name_and_far_in_mm():
    marked = [{LANDMARKS[0]: (10.0, 12.0), LANDMARKS[1]: (30.0, 12.0)}, *({} for _ in range(4)), {LANDMARKS[1]: (9, 9)}]
    model = Points([(33.0, 12.0), (10.0, 16.0)], {0: "inferior", 1: "anterior RVIP"})
    rows = rows_of(model, "7", [replace(stack(), landmarks=marked)])
    far = [(row["case"], row["structure"], row["distance_mm"]) for row in rows]
    assert far[0] == ("sax/t0/z0", LANDMARKS[0], pytest.approx(4 * SPACING_MM[1], abs=0.1))
    assert far[1] == ("sax/t0/z0", LANDMARKS[1], pytest.approx(3 * SPACING_MM[0], abs=0.1))
    assert [entry[1] for entry in far[2:]] == [LANDMARKS[1]]
    assert rows_of(model, "7", [replace(stack(), landmarks=marked, spacing_mm=None)])[0]["distance_mm"] is None
    with pytest.raises(ValueError, match="landmarks"):
        landmarks_of({0: "apex"})


def test_structures_of_a_model_are_known_by_their_names():
    assert structures_of({0: "background", 1: "Myo", 2: "LV", 3: "RV blood pool"}) == {0: 0, 1: 2, 2: 1, 3: 3}
    with pytest.raises(ValueError, match="'liver'"):
        structures_of({0: "background", 1: "liver"})
    with pytest.raises(ValueError, match="twice"):
        structures_of({0: "background", 1: "LV", 2: "left ventricle"})


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (tiny_segmenter, "segmentation"),
        (tiny_locator, "landmarks"),
        (lambda: tiny_model("cmr-view-classification"), "classification"),
    ],
)
def test_a_saved_model_opens_with_its_processor(make, kind, tmp_path):
    make().save_pretrained(tmp_path)
    tiny_processor().save_pretrained(tmp_path)
    model, found, its_kind = open_model(tmp_path)
    assert (its_kind, found.size, model.training) == (kind, 64, False)


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="config.json"):
        open_model(tmp_path)
    tiny_segmenter().backbone.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="CMRForSemanticSegmentation"):
        open_model(tmp_path)
