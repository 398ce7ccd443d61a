import json
from importlib.resources import files

import pytest

from cmr_hf.clinical.normal_ranges import compared, normal_ranges, sources
from cmr_hf.clinical.quantities import Measure

TABLE = json.loads(files("cmr_hf.clinical").joinpath("normal_ranges.json").read_text(encoding="utf-8"))


def test_every_range_has_a_source_a_check_and_limits_in_order():
    for one in TABLE["ranges"]:
        assert one["source"] in TABLE["sources"]
        assert one["checked"]
        assert one["sex"] in ("male", "female", "any")
        if "mean" in one:
            assert one["sd"] > 0
        elif "low" in one:
            assert one["low"] < one["high"]
        else:
            assert one["high"] > 0
    for one in sources().values():
        assert one["citation"]
        assert one.get("doi") or one.get("url")
        assert one["people"]


def test_no_source_is_unused():
    assert {one["source"] for one in TABLE["ranges"]} == set(TABLE["sources"])


def test_limits_of_a_mean_are_those_of_95_per_cent():
    first = next(one for one in normal_ranges("lv_mass_index", "male") if one.source == "petersen2017")
    assert (first.low, first.high) == (35.4, 70.6)
    assert first.checked == "abstract"


def test_women_and_men_differ_and_an_unknown_sex_has_only_what_holds_for_both():
    assert normal_ranges("lv_edv_index", "female")[0].high < normal_ranges("lv_edv_index", "male")[0].high
    assert normal_ranges("lv_edv_index") == []
    assert normal_ranges("la_area_max")[0].high == 24


def test_relaxation_times_need_the_field_and_warn_that_they_are_local():
    assert normal_ranges("t1_native", "male") == []
    for one in normal_ranges("t1_native", "female", field_t=3.0):
        assert one.field_t == 3.0
        assert any("same scanner" in warning for warning in one.warnings)
    assert all(one.field_t == 1.5 for one in normal_ranges("t1_native", field_t=1.494))


def test_children_and_unknown_figures_have_none():
    assert normal_ranges("lv_ef", "male", age_years=12) == []
    assert normal_ranges("lv_ef", "male", age_years=40)
    assert normal_ranges("spleen", "male") == []
    with pytest.raises(ValueError, match="M is male"):
        normal_ranges("lv_ef", "M")


@pytest.mark.parametrize(
    ("value", "sd", "says"),
    [
        (60, 1.0, "within"),
        (45, 1.0, "below"),
        (80, 1.0, "above"),
        (53, 2.0, "borderline within"),
        (51, 2, "borderline below"),
    ],
)
def test_where_a_figure_lies(value, sd, says):
    normal = normal_ranges("lv_ef", "male")[0]
    assert (normal.low, normal.high) == (52, 73)
    assert compared(Measure.of(value, "%", {"border": sd}), normal) == says


def test_units_and_refusals_are_not_compared():
    normal = normal_ranges("lv_ef", "male")[0]
    with pytest.raises(ValueError, match="convert it"):
        compared(Measure.of(60, "ml"), normal)
    with pytest.raises(ValueError, match="one phase"):
        compared(Measure.refused("%", "one phase"), normal)
