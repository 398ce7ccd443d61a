"""A slice that the valve plane may have passed at ES is named, and makes ESV less sure; nothing is taken away."""

import numpy as np
import pytest

from cmr_hf.clinical.function import ventricular_function
from cmr_hf.clinical.quality import quality_findings
from cmr_hf.clinical.stacks import Stack
from cmr_hf.clinical.valve_plane import passed_slice

STACK = Stack.regular((1.5, 1.5), 7, 10.0)


def cine(passed: bool, phases: int = 10) -> np.ndarray:
    """Rings from base (slice 0) to apex, ED in phase 0, ES in the middle; at ES the base is a thin wide ring."""
    row, column = np.mgrid[:64, :64]
    away = np.hypot(row - 32, column - 32)
    labels = np.zeros((phases, len(STACK), 64, 64), np.uint8)
    for t in range(phases):
        beat = (1 - np.cos(2 * np.pi * t / phases)) / 2  # 0 at ED, 1 at ES
        for z in range(len(STACK)):
            size = 1 - 0.1 * z
            inner, outer = size * (17 - 6 * beat), size * (23 - 2 * beat)
            if passed and z == 0 and beat > 0.6:
                inner, outer = 15, 18
            labels[t, z][away <= outer] = 2
            labels[t, z][away <= inner] = 1
    return labels


@pytest.mark.parametrize("turned", [False, True])
def test_it_is_the_most_basal_slice_whichever_way_the_stack_is_stored(turned):
    labels, order = cine(True), np.arange(7)
    if turned:
        labels, order = labels[:, ::-1], order[::-1]
    assert passed_slice(labels, order, 0, 5) == order[0]
    assert passed_slice(cine(False), np.arange(7), 0, 5) is None


def test_without_es_or_with_one_slice_there_is_no_sign():
    assert passed_slice(cine(True), np.arange(7), 0, None) is None
    assert passed_slice(cine(True)[:, :1], np.arange(1), 0, 5) is None


def test_the_slice_is_named_with_what_it_is_worth_and_esv_is_as_much_less_sure():
    labels = cine(True)
    area = np.count_nonzero(labels[5, 0] == 1) * STACK.pixel_mm2
    found = [one for one in quality_findings(labels, STACK) if one.check == "valve plane"]
    assert [(one.severity, one.slices, one.phases) for one in found] == [("warning", (0,), (5,))]
    assert f"{area * 10 / 1000:.0f} ml less" in found[0].reason
    esv = ventricular_function(labels, STACK).measures["lv_esv"]
    assert esv.parts["lv valve plane at ES"] == pytest.approx(area * 10 / 2000)
    cavity = np.count_nonzero(labels[5] == 1) * STACK.pixel_mm2 * 10 / 1000
    assert esv.value == pytest.approx(cavity)


def test_a_heart_that_stays_in_its_slices_has_no_such_part():
    labels = cine(False)
    assert "valve plane" not in {one.check for one in quality_findings(labels, STACK)}
    assert "lv valve plane at ES" not in ventricular_function(labels, STACK).measures["lv_esv"].parts
