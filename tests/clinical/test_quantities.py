import math

import pytest

from cmr_hf.clinical.quantities import Measure, combine


def test_sd_and_interval_come_from_independent_parts():
    one = Measure.of(100, "ml", {"border": 3.0, "base": -4.0})
    assert one.sd == pytest.approx(5.0)
    assert one.interval == pytest.approx((100 - 9.8, 100 + 9.8))


def test_the_interval_stops_at_what_is_possible_and_always_holds_the_value():
    assert Measure.of(99, "%", {"a": 5.0}, least=0, most=100).interval[1] == 100
    odd = Measure.of(102, "%", {"a": 5.0}, least=0, most=100)
    assert odd.interval[0] <= 102 <= odd.interval[1]


def test_a_border_common_to_both_volumes_hardly_moves_their_difference():
    edv, esv = Measure.of(150, "ml", {"border": 7.0}), Measure.of(60, "ml", {"border": 4.0})
    together = combine(lambda edv, esv: edv - esv, "ml", {"edv": edv, "esv": esv})
    assert together.value == 90
    assert together.sd == pytest.approx(3.0)
    apart = combine(
        lambda edv, esv: edv - esv, "ml", {"edv": edv, "esv": Measure.of(60, "ml", {"another border": 4.0})}
    )
    assert apart.sd == pytest.approx(math.hypot(7, 4))


def test_errors_of_a_quotient_are_those_of_the_formula():
    edv, esv = Measure.of(150, "ml", {"base at ED": 6.0}), Measure.of(60, "ml", {"base at ES": 3.0})
    ef = combine(lambda edv, esv: 100 * (1 - esv / edv), "%", {"edv": edv, "esv": esv})
    assert ef.value == pytest.approx(60)
    assert ef.sd == pytest.approx(100 * math.hypot(60 * 6 / 150**2, 3 / 150), rel=1e-6)


def test_a_refused_argument_refuses_the_result_and_is_named():
    made = combine(lambda a, b: a / b, "", {"a": Measure.of(1, ""), "b": Measure.refused("", "no heart rate")})
    assert not made
    assert made.value is None
    assert made.reason == "b: no heart rate"
    assert made.to_dict() == {"value": None, "unit": "", "reason": "b: no heart rate"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": math.nan},
        {"value": None},
        {"value": 1.0, "reason": "but"},
        {"value": 1.0, "sd": -1.0},
        {"value": 1.0, "interval": (2.0, 3.0)},
        {"value": None, "reason": "x", "sd": 1.0},
    ],
)
def test_what_makes_no_sense_cannot_be_built(wrong):
    with pytest.raises(ValueError, match="needs? "):
        Measure(unit="ml", **wrong)


def test_text_for_people():
    assert Measure.of(58.4, "%", {"a": 2.0}).text() == "58 % (54 to 62)"
    assert Measure.refused("%", "one phase").text() == "refused: one phase"
