import numpy as np
import pytest

from cmr_hf.clinical.function import body_surface_area, ventricular_function
from cmr_hf.clinical.stacks import Stack

SEMI_MM = (70.0, 26.0, 26.0)  # half an ellipsoid: cavity from the valve plane to the apex, along and across
WALL_MM = 9.0


def half_ellipsoid(scale=1.0, positions=None, spacing=1.5, size=72, wall=WALL_MM):
    """Labels (z, y, x) of a truncated ellipsoid with a wall; the valve plane lies at 0, the apex at the other end."""
    positions = np.arange(-5.0, 96.0, 10.0) if positions is None else positions
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) * spacing
    labels = np.zeros((len(positions), size, size), dtype=np.uint8)
    along, across = SEMI_MM[0], SEMI_MM[1] * scale
    for z, p in enumerate(positions):
        if p < 0:
            continue
        labels[z][(p / (along + wall)) ** 2 + (x**2 + y**2) / (across + wall) ** 2 <= 1] = 2
        labels[z][(p / along) ** 2 + (x**2 + y**2) / across**2 <= 1] = 1
    return labels


def beat(scales=(1.0, 0.9, 0.7, 0.85), **options):
    return np.stack([half_ellipsoid(scale, **options) for scale in scales])


def stack_of(labels, distance=10.0, spacing=1.5):
    return Stack.regular((spacing, spacing), labels.shape[1], distance)


def volume_ml(scale=1.0, extra=0.0):
    return 2 / 3 * np.pi * (SEMI_MM[0] + extra) * (SEMI_MM[1] * scale + extra) ** 2 / 1000


def test_volumes_ef_and_mass_of_a_truncated_ellipsoid():
    labels = beat()
    found = ventricular_function(labels, stack_of(labels))
    got = found.measures
    assert (found.phases.ed, found.phases.es) == (0, 2)
    assert got["lv_edv"].value == pytest.approx(volume_ml(), rel=0.01)
    assert got["lv_esv"].value == pytest.approx(volume_ml(0.7), rel=0.02)
    assert got["lv_sv"].value == pytest.approx(volume_ml() - volume_ml(0.7), rel=0.03)
    assert got["lv_ef"].value == pytest.approx(100 * (1 - 0.49), abs=1.2)
    assert got["lv_mass"].value == pytest.approx(1.05 * (volume_ml(extra=WALL_MM) - volume_ml()), rel=0.03)
    for name, truth in (("lv_edv", volume_ml()), ("lv_esv", volume_ml(0.7)), ("lv_ef", 51.0)):
        low, high = got[name].interval
        assert low < truth < high
    assert got["lv_edv"].source == "phase 1"


def test_output_and_indices_need_rate_height_and_weight():
    labels = beat()
    bare = ventricular_function(labels, stack_of(labels)).measures
    assert bare["lv_co"].reason == "heart rate unknown"
    assert "height and weight unknown" in bare["lv_edv_index"].reason
    assert "height and weight unknown" in bare["lv_mass_index"].reason
    known = ventricular_function(labels, stack_of(labels), heart_rate_per_min=70, height_cm=180, weight_kg=80).measures
    assert known["bsa"].value == pytest.approx(2.0)
    assert known["lv_co"].value == pytest.approx(known["lv_sv"].value * 0.07)
    assert known["lv_edv_index"].value == pytest.approx(known["lv_edv"].value / 2)
    assert known["lv_edv_index"].unit == "ml/m²"
    assert known["lv_mass_index"].unit == "g/m²"


def test_no_rv_is_a_refusal_and_no_zero():
    labels = beat()
    got = ventricular_function(labels, stack_of(labels)).measures
    for name in ("rv_edv", "rv_esv", "rv_sv", "rv_ef", "rv_co"):
        assert got[name].value is None
        assert "no RV found at ED" in got[name].reason


def test_a_stack_without_apex_is_refused_and_says_how_much_is_seen():
    labels = beat()[:, :5]
    got = ventricular_function(labels, stack_of(labels)).measures
    for name in ("lv_edv", "lv_esv", "lv_ef", "lv_sv", "lv_mass"):
        assert "the apex is missing" in got[name].reason
    assert "at least" in got["lv_edv"].reason


def test_a_stack_that_begins_far_below_the_base_is_refused_but_not_one_that_begins_at_it():
    cut = beat()[:, 5:]
    got = ventricular_function(cut, stack_of(cut)).measures
    assert "the base is missing" in got["lv_edv"].reason
    at_base = beat()[:, 1:]
    found = ventricular_function(at_base, stack_of(at_base))
    assert found.measures["lv_edv"]
    assert any("may begin below the valve plane" in note for note in found.notes)
    covered = ventricular_function(beat(), stack_of(beat())).measures
    base = "lv base at ED"
    assert found.measures["lv_edv"].parts[base] == pytest.approx(2 * covered["lv_edv"].parts[base])


def test_a_missing_slice_is_interpolated_named_and_less_certain():
    labels = beat()
    positions = np.arange(-5.0, 96.0, 10.0)
    kept = [k for k in range(11) if k != 4]
    whole = ventricular_function(labels, stack_of(labels)).measures["lv_edv"]
    part = ventricular_function(labels[:, kept], Stack((1.5, 1.5), positions[kept])).measures["lv_edv"]
    assert part.value == pytest.approx(whole.value, rel=0.01)
    assert any("between slices 4 and 5" in note for note in part.notes)
    assert part.parts["lv interpolated at ED"] > 0
    assert part.sd > whole.sd


@pytest.mark.parametrize("how", ["reversed", "shuffled"])
def test_the_order_of_slices_does_not_matter(how):
    labels = beat()
    order = np.arange(11)[::-1] if how == "reversed" else np.random.default_rng(2).permutation(11)
    positions = np.arange(11) * 10.0
    one = ventricular_function(labels, Stack((1.5, 1.5), positions)).measures
    other = ventricular_function(labels[:, order], Stack((1.5, 1.5), positions[order])).measures
    for name in ("lv_edv", "lv_ef", "lv_mass"):
        assert other[name].value == pytest.approx(one[name].value)
        assert other[name].sd == pytest.approx(one[name].sd)


def test_an_unsure_model_widens_the_interval():
    labels = beat()
    sure = {1: (labels == 1).astype(float)}
    soft = {1: np.clip((labels == 1) * 0.8 + 0.1, 0, 1)}
    plain, certain, unsure = (
        ventricular_function(labels, stack_of(labels), probabilities=one).measures["lv_edv"]
        for one in (None, sure, soft)
    )
    assert certain.sd == pytest.approx(plain.sd)
    assert unsure.sd > 1.5 * plain.sd
    assert "model, lv at ED" in unsure.parts


def test_doubts_of_a_model_add_up_over_the_stack_and_reach_the_mass():
    labels = beat()
    chances = {1: (labels == 1) * 1.0, 2: (labels == 2) * 1.0}
    doubtful = {label: np.clip(one * 0.8 + 0.1 * (labels == label), 0, 1) for label, one in chances.items()}
    got = ventricular_function(labels, stack_of(labels), probabilities=doubtful).measures
    pixel_ml = 1.5**2 * 10 / 1000
    for name, label, density, borders in (("lv_edv", 1, 1, 1), ("lv_mass", 2, 1.05, 2)):
        (part,) = (part for source, part in got[name].parts.items() if source.startswith("model"))
        drawn = np.count_nonzero(labels[0] == label) * pixel_ml
        spread = drawn * np.sqrt(0.9 * 0.1)
        assert part == pytest.approx(density * np.hypot(spread / borders**0.5, 0.1 * drawn), rel=1e-6)


def test_finer_pixels_and_thinner_slices_are_more_certain():
    coarse = beat()
    positions = np.arange(-2.5, 96.0, 5.0)
    fine = beat(positions=positions, spacing=0.75, size=144)
    wide = ventricular_function(coarse, stack_of(coarse)).measures["lv_edv"]
    narrow = ventricular_function(fine, stack_of(fine, 5.0, 0.75)).measures["lv_edv"]
    assert narrow.sd < 0.6 * wide.sd


def test_one_slice_one_phase_or_an_empty_mask_are_refused_with_their_reason():
    labels = beat()
    one_slice = ventricular_function(labels[:, 3:4], stack_of(labels[:, 3:4])).measures
    assert one_slice["lv_edv"].reason == "one slice is not a volume"
    one_phase = ventricular_function(labels[:1], stack_of(labels)).measures
    assert one_phase["lv_edv"]
    assert one_phase["lv_mass"]
    assert "one phase" in one_phase["lv_ef"].reason
    empty = ventricular_function(np.zeros_like(labels), stack_of(labels)).measures
    assert all(one.value is None and one.reason for one in empty.values())


def test_every_figure_has_a_value_with_an_error_or_a_reason():
    labels = beat()
    for one in ventricular_function(labels, stack_of(labels), heart_rate_per_min=60).measures.values():
        assert (one.value is None) == bool(one.reason)
        assert one.value is None or one.sd > 0


@pytest.mark.parametrize(
    "wrong", [{"heart_rate_per_min": 0.9}, {"height_cm": 1.8, "weight_kg": 80}, {"height_cm": 180, "weight_kg": 8000}]
)
def test_other_units_are_noticed(wrong):
    labels = beat()
    with pytest.raises(ValueError, match="needs"):
        ventricular_function(labels, stack_of(labels), **wrong)


def test_mosteller():
    assert body_surface_area(160, 60).value == pytest.approx(1.633, abs=1e-3)
    assert body_surface_area(None, 60).reason == "height unknown"
