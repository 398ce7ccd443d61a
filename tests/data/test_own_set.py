"""A table of a user's own files loads without code."""

import numpy as np
import pytest
from PIL import Image

from cmr_hf import ReadingError
from cmr_hf.clinical.writers import write_picture_mask
from cmr_hf.data import check_stacks, load, sides_of, stacks_by_side, stacks_of
from cmr_hf.data.readers import read
from tests.data.labels.labels_factory import heart as circles
from tests.data.labels.labels_factory import study, whole_heart, workspace_xml
from tests.data.own_set_factory import write_own_set
from tests.data.volume_factory import gray, heart, write_nifti

RNG = np.random.default_rng(0)


def test_when_a_table_has_semicolons_and_another_case_then_it_is_read(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfPatient; Image ;split\r\na;x.png;train\r\n")
    assert sides_of("table", tmp_path / "t.csv")["train"] == ["a"]


def test_when_ed_and_es_are_two_lines_of_one_series_then_they_are_two_phases(tmp_path):
    for name in ("ed", "es"):
        write_nifti(tmp_path / f"{name}.nii.gz", gray(heart()))
    (tmp_path / "t.csv").write_text("patient,series,image,phase\na,sax,es.nii.gz,ES\na,sax,ed.nii.gz,ED\n")
    sides, problems = stacks_by_side("table", tmp_path / "t.csv", split={"train": ["a"]})
    stacks = list(sides["train"])
    assert [(stack.phase, stack.phase_index) for stack in stacks] == [("ES", 1), ("ED", 0)]
    assert check_stacks({"train": stacks}, problems).ok


def test_when_a_mask_is_a_picture_of_this_package_then_its_ids_are_read(tmp_path):
    masks = heart()
    Image.fromarray(gray(masks)[0].astype(np.uint8)).save(tmp_path / "p.png")
    write_picture_mask(masks[0], tmp_path / "p_mask.png")
    (tmp_path / "t.csv").write_text("patient,image,mask\na,p.png,p_mask.png\n")
    sides, problems = stacks_by_side("table", tmp_path / "t.csv", split={"train": ["a"]})
    (stack,) = sides["train"]
    assert not problems
    np.testing.assert_array_equal(stack.masks[0], masks[0])


def test_when_a_map_of_ids_or_a_point_is_impossible_then_it_is_told(tmp_path):
    table = write_own_set(tmp_path)
    with pytest.raises(ReadingError, match=r"`labels` needs to map to ids of .*300"):
        list(read("table", table, labels={1: 300}))
    Image.fromarray(gray(heart())[0].astype(np.uint8)).save(tmp_path / "p.png")
    (tmp_path / "t.csv").write_text("patient,image,anterior_row,anterior_column\na,p.png,3,4000\n")
    with pytest.raises(ReadingError, match="anterior RV insertion.* lies outside"):
        list(read("table", tmp_path / "t.csv"))


def test_when_a_table_names_files_then_they_load_without_code(tmp_path):
    sides = load("table", write_own_set(tmp_path), cache_dir=tmp_path / "cache")
    assert {side: rows.unique("patient") for side, rows in sides.items()} == {
        "train": ["p0", "p1", "p2", "p3"],
        "validation": ["p4"],
        "test": ["p5"],
    }
    (stack,) = stacks_of(sides["test"])
    assert (stack.view, stack.disease, stack.source) == ("SAX", "DCM", "table")
    np.testing.assert_array_equal(stack.masks, heart(9.5))
    assert stack.affine is not None
    assert stack.spacing_mm == pytest.approx((1.5, 1.25), rel=1e-5)


def test_when_masks_have_other_ids_then_a_map_translates_them(tmp_path):
    table = write_own_set(tmp_path)
    write_nifti(tmp_path / "p5/mask.nii.gz", np.array([0, 3, 2, 1], np.uint8)[heart(9.5)])
    sides, _ = stacks_by_side("table", table, labels={1: 3, 2: 2, 3: 1})
    (stack,) = sides["test"]
    np.testing.assert_array_equal(stack.masks, heart(9.5))
    assert stack.drawn == (1, 2, 3)


def test_when_a_picture_of_one_slice_has_insertion_points_then_they_are_its_landmarks(tmp_path):
    Image.fromarray(gray(heart())[0].astype(np.uint8)).save(tmp_path / "p.png")
    points = {"anterior_row": "3.5", "anterior_column": "4", "inferior_row": "9", "inferior_column": "5.25"}
    (tmp_path / "t.csv").write_text(
        ",".join(("patient", "image", "spacing_row", "spacing_column", *points))
        + "\na,p.png,1.4,1.5,"
        + ",".join(points.values())
        + "\n"
    )
    sides, problems = stacks_by_side("table", tmp_path / "t.csv", split={"train": ["a"]})
    (stack,) = sides["train"]
    assert not problems
    assert stack.landmarks == [{"anterior RV insertion": (3.5, 4.0), "inferior RV insertion": (9.0, 5.25)}]
    assert stack.spacing_mm == (1.4, 1.5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("patient:image\na:b\n", r"lacks the columns \['patient', 'image'\]"),
        ("patient,image\r\n\r\na,b\r\n\r\nc,\r\n", r"line 5: \['image'\] is empty"),
        ("patient,image,view\na,b,SAX,1\n", "line 2 has more cells than the header"),
        ("patient,image,phase\na,b,diastole\n", "line 2: `phase` needs one of"),
        ("patient,image\n", "no line below its header"),
        ("patient,image\na,\n", r"line 2: \['image'\] is empty"),
        ("patient,image,split\na,b,training\n", "line 2: `split` needs one of"),
        ("patient,image,split\na,b,train\nc,d,\n", "line 3: `split` is empty while other lines have one"),
        ("patient,image,split\na,b,train\na,d,test\n", r"\['a'\] on more than one side"),
    ],
)
def test_when_a_table_is_wrong_then_the_error_names_line_and_remedy(tmp_path, text, says):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ReadingError, match=says):
        sides_of("table", tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"mask": "p4/mask.nii.gz", "image": "p4/none.nii.gz"}, "line 2: .*needs to be an existing file"),
        ({"view": "profile"}, "line 2: view 'profile' is not known"),
        ({"spacing_row": "1.4"}, "`spacing_row` and `spacing_column` need a number each"),
    ],
)
def test_when_a_line_cannot_be_read_then_it_is_reported_and_the_others_are_read(tmp_path, cells, says):
    sides, problems = stacks_by_side("table", write_own_set(tmp_path, {"p0": cells}))
    assert [stack.patient for stack in sides["train"]] == ["p1", "p2", "p3"]
    (problem,) = problems
    with pytest.raises(ReadingError, match=says):
        raise ReadingError(problem)


def test_when_each_slice_is_a_file_then_they_make_a_stack_and_drawn_says_what_was_looked_for(tmp_path):
    masks = heart()
    lines = ["patient,image,mask,series,slice,drawn"]
    for z in (2, 0, 1):
        Image.fromarray(gray(masks)[z].astype(np.uint8)).save(tmp_path / f"{z}.png")
        Image.fromarray(np.where(masks[z] == 3, 0, masks[z])).save(tmp_path / f"{z}m.png")
        lines.append(f"a,{tmp_path}/{z}.png,{z}m.png,sax,{z},1 2")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    split = {"train": ["a"]}
    (stack,) = stacks_of(load("table", tmp_path / "t.csv", split=split, cache_dir=tmp_path / "cache")["train"])
    np.testing.assert_array_equal(stack.images, gray(masks).astype(np.uint8))
    assert stack.slice_indices == (0, 1, 2)
    assert stack.drawn == (1, 2)
    assert check_stacks(*stacks_by_side("table", tmp_path / "t.csv", split)).ok

    (tmp_path / "t.csv").write_text(f"patient,image\na,{tmp_path}/0.png\n")
    (alone,) = stacks_by_side("table", tmp_path / "t.csv", split)[0]["train"]
    assert alone.series == "line 2"  # the folders above may name the patient
    (tmp_path / "t.csv").write_text("patient,image,slice\na,0.png,first\n")
    sides, problems = stacks_by_side("table", tmp_path / "t.csv", split)
    assert not list(sides["train"])
    assert "`slice` needs whole numbers, got 'first'" in problems[0]


def test_when_another_tool_drew_the_masks_then_the_table_takes_its_files(tmp_path):
    pictures = study(tmp_path / "dicom")
    uid = pictures[1, 0].SOPInstanceUID
    (tmp_path / "w.cvi42wsx").write_text(workspace_xml({uid: whole_heart()}))
    (tmp_path / "t.csv").write_text("patient,image,mask,view,disease\na,dicom,w.cvi42wsx,short axis,HCM\n")
    sides, problems = stacks_by_side("table", tmp_path / "t.csv", {"train": ["a"]})
    (stack,) = sides["train"]
    assert not problems
    assert (stack.source, stack.patient, stack.view, stack.disease) == ("table", "a", "SAX", "HCM")
    drawn = [index for index, mask in enumerate(stack.masks) if (mask == 1).any()]
    assert len(drawn) == 1
    truth = circles()
    for label in (1, 2, 3):
        both = ((stack.masks[drawn[0]] == label) & (truth == label)).sum()
        assert 2 * both / ((stack.masks[drawn[0]] == label).sum() + (truth == label).sum()) > 0.95
    np.testing.assert_array_equal(stack.images[drawn[0]], pictures[1, 0].pixel_array)

    (tmp_path / "w.cvi42wsx").write_text("<!DOCTYPE x><x/>")
    sides, problems = stacks_by_side("table", tmp_path / "t.csv", {"train": ["a"]})
    assert not list(sides["train"])
    assert "w.cvi42wsx" in problems[0]
