"""Figures of phantoms whose truth is known: the masks of one beating heart and its late enhancement."""

import numpy as np
import pytest

from cmr_hf.clinical import Stack, aha_segments, late_enhancement, ventricular_function
from cmr_hf.phantoms import Heart, Protocol, Scanner
from cmr_hf.phantoms.protocol import series_of
from cmr_hf.phantoms.scanning import scan

SEED = 4242


@pytest.fixture(scope="module")
def heart() -> Heart:
    return Heart.draw(["MINF"], SEED)


@pytest.fixture(scope="module")
def scanned(heart):
    protocol = Protocol(("cine_sax", "lge_sax"), rows=72, columns=72, spacing_mm=2.8)
    moments = (0.0, float(heart.traits.es_time[0]))
    return {
        one.name: scan(heart, one, protocol, SEED, Scanner.ideal()) for one in series_of(heart, protocol, SEED, moments)
    }


@pytest.fixture(scope="module")
def segments(scanned):
    cine = scanned["cine_sax"]
    return aha_segments(cine.masks[0], Stack.of_affines(cine.affines, 8.0), cine.landmarks[0])


def test_volumes_ef_and_mass(heart, scanned):
    cine = scanned["cine_sax"]
    got = ventricular_function(cine.masks, Stack.of_affines(cine.affines, 8.0)).measures
    one = heart.traits
    truth = {"lv_edv": one.edv_ml, "lv_mass": one.mass_g, "rv_edv": one.rv_edv_ml}
    for name, value in truth.items():
        assert got[name].value == pytest.approx(float(value[0]), rel=0.08)
        assert got[name].interval[0] < float(value[0]) < got[name].interval[1]
    assert got["lv_ef"].value == pytest.approx(100 * float(one.ef[0]), abs=5)
    assert got["rv_ef"].value == pytest.approx(100 * float(one.rv_ef[0]), abs=5)


def test_the_septum_lies_where_the_heart_was_built_with_it(heart, scanned, segments):
    cine = scanned["cine_sax"]
    stack = Stack.of_affines(cine.affines, 8.0)
    assert {"basal", "mid", "apical"} <= set(segments.levels)
    middle = float(heart.traits.rv_angle[0])
    rotation = heart.traits.rotation[0].numpy()
    septal = rotation[:, 0] * np.cos(middle) + rotation[:, 1] * np.sin(middle)
    for z, level in enumerate(segments.levels):
        if level in ("basal", "mid"):
            start = segments.centres_mm[z] / stack.spacing_mm
            end = (segments.centres_mm[z] + segments.septum[z]) / stack.spacing_mm
            away = stack.to_patient(z, end) - stack.to_patient(z, start)
            assert away @ septal > np.cos(np.deg2rad(15))  # the heart is bent by up to about ten degrees
    # the anterior wall lies against the inferior axis of the heart
    anterior = np.isin(segments.ids, (1, 7))
    places = np.concatenate([stack.to_patient(z, np.argwhere(one)) for z, one in enumerate(anterior) if one.any()])
    centre = heart.traits.position_mm[0].numpy()
    assert ((places - centre) @ rotation[:, 1]).mean() < -15


def test_scar_of_the_mask_has_the_mass_of_the_equations(scanned):
    late = scanned["lge_sax"]
    stack = Stack.of_affines(late.affines, 8.0)
    segments = aha_segments(late.masks[0], stack, late.landmarks[0])
    found, _ = late_enhancement(late.images[0], late.masks[0], stack, segments)
    truth = 1.05 * late.volumes_ml["scar"][0]
    assert truth > 3
    assert found["labels"].measures["mass"].value == pytest.approx(truth, rel=0.2)
    low, high = found["labels"].measures["mass"].interval
    assert low < truth < high
