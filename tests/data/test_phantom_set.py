"""Phantoms as a data set: made by seed, in the one schema, split so that nobody is on two sides."""

import datasets
import numpy as np
import pytest

from cmr_hf.data import READERS, check_stacks, load, stacks_of
from cmr_hf.data.phantom_set import list_phantom_patients, read_phantoms, split_by_trait, stream_phantoms
from cmr_hf.data.schema import features
from cmr_hf.phantoms import SERIES, Heart, Protocol, Scanner, draw_traits

TINY = {"phases": 2, "rows": 40, "columns": 48, "spacing_mm": 5.0}


def tiny(*series: str) -> Protocol:
    return Protocol(series, **TINY)


def test_a_heart_gives_every_type_and_view_with_masks_landmarks_and_answers():
    stacks = list(read_phantoms(patients=["PHANTOM-MINF-000004"], protocol=tiny()))
    assert {one.image_type for one in stacks} == {"cine", "LGE", "T1", "T2", "other"}
    assert {one.view for one in stacks} == {"SAX", "2CH", "3CH", "4CH", "aorta", "other"}
    assert {one.series.split("-")[0] for one in stacks} == set(SERIES)
    assert {one.disease for one in stacks} == {"MINF"}
    assert {one.lge for one in stacks} == {"present"}
    assert {one.patient for one in stacks} == {"PHANTOM-MINF-000004"}
    assert {one.licence for one in stacks} == {"apache-2.0"}
    for one in stacks:
        assert one.images.shape[1:] == (40, 48)
        assert one.masks.shape == one.images.shape
        assert set(np.unique(one.masks).tolist()) <= {0, *one.drawn}
        assert one.images.dtype == (
            np.float32 if one.series in ("t1_native", "t1_post", "t2_map", "lge_sax_psir") else np.uint16
        )
    short = [one for one in stacks if one.series == "cine_sax"]
    assert [(one.phase, one.phase_index) for one in short] == [("ED", 0), ("ES", 1)]
    assert (short[0].masks == 1).sum() > (short[1].masks == 1).sum()
    assert sum(len(points) == 2 for points in short[0].landmarks) >= 3
    assert any(6 in one.masks for one in stacks if one.image_type == "LGE")


def test_geometry_says_where_the_slices_are():
    (stack,) = read_phantoms(patients=["PHANTOM-NORM-000005"], protocol=tiny("lge_sax"))
    assert stack.spacing_mm == pytest.approx((5.0, 5.0), rel=1e-5)
    assert stack.slice_distance_mm == pytest.approx(10.0, rel=1e-5)
    assert np.linalg.norm(stack.affine[:3, 2]) == pytest.approx(10.0, rel=1e-5)
    middle = np.argwhere(stack.masks == 1).mean(0)[::-1]  # column, row, slice
    place = (stack.affine @ [*middle, 1.0])[:3]
    heart = Heart.draw(["NORM"], 5).traits.position_mm[0].numpy()
    assert np.linalg.norm(place - heart) < 25


def test_the_same_name_gives_the_same_rows_and_others_other_people():
    name, other = "PHANTOM-DCM-000006", "PHANTOM-DCM-000007"
    options = {"protocol": tiny("cine_4ch", "t1_native")}
    first, again, third = (list(read_phantoms(patients=[one], **options)) for one in (name, name, other))
    for one, same, different in zip(first, again, third, strict=True):
        np.testing.assert_array_equal(one.images, same.images)
        np.testing.assert_array_equal(one.masks, same.masks)
        assert not np.array_equal(one.masks, different.masks)


def test_without_a_protocol_every_heart_is_scanned_in_its_own_way():
    drawn = [Protocol.drawn(seed) for seed in range(40)]
    assert len({one.spacing_mm for one in drawn}) > 30
    assert any(one.rows < one.columns for one in drawn)
    assert {one.thickness_mm for one in drawn} == {6.0, 7.0, 8.0, 10.0}
    assert Protocol.drawn(3) == Protocol.drawn(3)
    assert Protocol.drawn(3, series=("t2_map",)).series == ("t2_map",)
    (stack,) = read_phantoms(patients=["PHANTOM-RV-000003"], series=["lge_4ch"])
    assert stack.images.shape[1:] == (Protocol.drawn(3).rows, Protocol.drawn(3).columns)


def test_load_makes_the_one_schema_split_by_heart(tmp_path):
    options = {"hearts": 6, "protocol": tiny("cine_2ch", "t2_map"), "scanner": Scanner.ideal()}
    sides = load("phantoms", cache_dir=tmp_path, seed=1, **options)
    assert isinstance(sides, datasets.DatasetDict)
    found = {side: set(rows["patient"]) for side, rows in sides.items()}
    assert set(found) == {"train", "validation", "test"}
    assert set.union(*found.values()) == set(list_phantom_patients(hearts=6))
    assert sum(map(len, found.values())) == 6
    assert sides["train"].features == features()
    (again,) = (one for one in stacks_of(sides["test"]) if one.series == "t2_map")
    (direct,) = (one for one in read_phantoms(patients=list(found["test"]), **options) if one.series == "t2_map")
    np.testing.assert_array_equal(again.images, direct.images)
    np.testing.assert_array_equal(again.masks, direct.masks)
    np.testing.assert_allclose(again.affine, direct.affine)
    assert (again.view, again.image_type, again.disease) == ("SAX", "T2", direct.disease)
    report = check_stacks({side: iter(stacks_of(rows)) for side, rows in sides.items()})
    assert report.ok, str(report)


def test_when_files_are_needed_then_a_missing_root_is_told():
    with pytest.raises(ValueError, match="`root` is needed to read acdc, got None"):
        load("acdc")
    assert [name for name, reader in READERS.items() if reader.stamp] == ["phantoms"]


def test_seeds_that_do_not_overlap_share_no_heart():
    one, other = (set(list_phantom_patients(hearts=50, first_seed=first)) for first in (0, 50))
    assert not one & other
    assert {name.split("-")[1] for name in one} == {"NORM", "DCM", "HCM", "RV", "MINF"}
    assert {name.split("-")[1] for name in list_phantom_patients(hearts=9, diseases=("HCM", "RV"))} == {"HCM", "RV"}


def test_a_split_by_trait_keeps_a_range_of_hearts_for_the_test():
    names = list_phantom_patients(hearts=60)
    sides = split_by_trait(names, "edv_ml", 200, 500)
    assert sorted(sum(sides.values(), [])) == names
    volumes = {
        side: [float(draw_traits([name.split("-")[1]], int(name.split("-")[2])).edv_ml) for name in who]
        for side, who in sides.items()
    }
    assert min(volumes["test"]) >= 200 > max(volumes["train"] + volumes["validation"])
    assert sides["validation"]
    for trait, low, high, says in (
        ("height", 0, 1, "`trait` needs a number of each heart"),
        ("rotation", 0, 1, "`trait` needs a number of each heart"),
        ("ef", 5, 6, "`low` and `high` need to part the 60 hearts, got 0 with ef from 5"),
        ("ef", 1, 0, "`low` <= `high`"),
    ):
        with pytest.raises(ValueError, match=says):
            split_by_trait(names, trait, low, high)


def test_a_stream_makes_rows_while_they_are_read():
    rows = stream_phantoms(list_phantom_patients(hearts=1000), protocol=tiny("t1_post"))
    first = next(iter(rows))
    assert first["patient"] == list_phantom_patients(hearts=1000)[0]
    assert np.asarray(first["image"]).shape == (40, 48)
    assert rows.features == features()
    assert rows.num_shards == 1000


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hearts": 0}, "`hearts` and `first_seed` need >= 1 and >= 0, got 0"),
        ({"diseases": ("FLU",)}, r"`diseases` needs names of .* got \['FLU'\]"),
    ],
)
def test_when_options_make_no_sense_then_it_says_what_is_needed(options, says):
    with pytest.raises(ValueError, match=says):
        list_phantom_patients(**options)
    with pytest.raises(ValueError, match="`patient` needs a name like"):
        list(read_phantoms(patients=["patient001"]))
