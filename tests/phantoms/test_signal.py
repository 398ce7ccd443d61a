"""Signal equations against short formulas of other books, and what they must do to a heart."""

import math

import pytest
import torch

from cmr_hf.phantoms.signal import (
    CONTRASTS,
    bssfp,
    inversion_recovery,
    look_locker,
    nulling_time,
    signal_table,
    spoiled,
    t2_prepared,
)
from cmr_hf.phantoms.tissues import BLOOD, Tissue, properties

FIELDS = torch.tensor([1.5, 3.0])
HALF = torch.tensor([[0.5, 0.5, 0.5, 0.0, 0.0]]).repeat(2, 1)


def test_bssfp_tends_to_its_short_repetition_limit():
    t1, t2 = torch.tensor(1000.0), torch.tensor(50.0)
    angle = math.radians(60)
    short = math.sin(angle) / (1 + math.cos(angle) + (1 - math.cos(angle)) * 1000 / 50)
    assert bssfp(t1, t2, torch.tensor(1.0), 60.0, repetition=0.01).item() == pytest.approx(short, rel=1e-3)


def test_bssfp_is_the_steady_state_of_pulses_one_by_one():
    t1, t2, repetition, angle = 1000.0, 50.0, 3.0, math.radians(50)
    mx, mz = 0.0, 1.0
    for _ in range(3000):  # alternating pulses, seen in the frame that turns with them
        mx, mz = mx * math.cos(angle) + mz * math.sin(angle), mz * math.cos(angle) - mx * math.sin(angle)
        after = mx
        mx, mz = -mx * math.exp(-repetition / t2), 1 + (mz - 1) * math.exp(-repetition / t1)
    found = bssfp(torch.tensor(t1), torch.tensor(t2), torch.tensor(1.0), 50.0, repetition)
    assert found.item() == pytest.approx(abs(after) * math.exp(-repetition / 2 / t2), rel=1e-3)


def test_spoiled_echo_is_greatest_at_the_ernst_angle():
    ernst = math.degrees(math.acos(math.exp(-5 / 1000)))
    signal = [spoiled(torch.tensor(1000.0), torch.tensor(1.0), ernst + off, 5.0) for off in (-1, 0, 1)]
    assert signal[1] > signal[0]
    assert signal[1] > signal[2]


def test_the_nulling_time_nulls_and_tends_to_ln_2_times_t1():
    t1 = torch.tensor([300.0, 480.0])
    assert inversion_recovery(t1, torch.ones(2), nulling_time(t1)).abs().max() < 1e-5
    torch.testing.assert_close(nulling_time(t1, 1e6), t1 * math.log(2))


def test_t2_preparation_gives_t2_back():
    t2 = torch.tensor([45.0, 250.0])
    first, second = t2_prepared(t2, torch.ones(2), 0.0), t2_prepared(t2, torch.ones(2), 55.0)
    torch.testing.assert_close(55.0 / (first / second).log(), t2)


def test_look_locker_correction_gives_t1_back():
    t1, steady, density = torch.tensor(1000.0), torch.tensor(0.5), torch.tensor(0.8)
    a, b = steady, density + steady
    one = look_locker(t1, steady, density, torch.tensor(400.0))
    apparent = -400.0 / torch.log((a - one) / b)
    assert (apparent * (b / a - 1)).item() == pytest.approx(1000.0, rel=1e-4)


@pytest.mark.parametrize("contrast", CONTRASTS)
def test_every_contrast_has_a_finite_signal_for_every_tissue(contrast: str):
    table = signal_table(contrast, FIELDS, HALF)
    assert table.shape == (2, len(Tissue))
    assert table.isfinite().all()


def test_cine_blood_is_brighter_than_muscle_and_inflow_brightens_it_more():
    low, high = (signal_table("cine", FIELDS, torch.full((2, 5), value)) for value in (0.0, 1.0))
    assert (low[:, Tissue.LV_BLOOD] > 1.3 * low[:, Tissue.MYOCARDIUM]).all()
    ratio = [table[:, Tissue.LV_BLOOD] / table[:, Tissue.MYOCARDIUM] for table in (low, high)]
    assert (ratio[1] > ratio[0]).all()


@pytest.mark.parametrize("contrast", ["lge", "lge_psir"])
def test_lge_nulls_muscle_and_brightens_scar(contrast: str):
    table = signal_table(contrast, FIELDS, HALF)
    assert table[:, Tissue.MYOCARDIUM].abs().max() < 1e-4
    assert (table[:, Tissue.SCAR] > 0.25).all()
    assert (table[:, Tissue.SCAR] > table[:, Tissue.LV_BLOOD]).all() or contrast == "lge"
    assert (table[:, Tissue.NO_REFLOW].abs() < 0.75 * table[:, Tissue.SCAR]).all()


def test_black_blood_is_black():
    table = signal_table("black_blood", FIELDS, HALF)
    assert (table[:, list(BLOOD)] < 0.6 * table[:, Tissue.MYOCARDIUM, None]).all()


def test_t1_falls_after_contrast_and_rises_with_field():
    native, _, _ = properties(FIELDS, torch.tensor([False, False]))
    post, _, _ = properties(FIELDS, torch.tensor([True, True]))
    heart = [Tissue.LV_BLOOD, Tissue.MYOCARDIUM, Tissue.SCAR]
    assert (post[:, heart] < native[:, heart]).all()
    assert (native[1, heart] > native[0, heart]).all()


def test_when_a_contrast_is_unknown_then_it_raises():
    with pytest.raises(ValueError, match="`contrast` needs one of"):
        signal_table("flair", FIELDS, HALF)
