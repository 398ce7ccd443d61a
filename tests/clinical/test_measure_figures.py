import numpy as np
import pytest
from PIL import Image

from cmr_hf.clinical.bullseye import RADII, SECTORS, bullseye_figure
from cmr_hf.clinical.curve_figure import volume_curve_figure
from cmr_hf.clinical.curves import Curve, Phases
from cmr_hf.clinical.quantities import Measure


def colour_at(path, number):
    """The commonest colour inside a segment, found by the angles and radii of its ring."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    ring, first, width = SECTORS[number]
    outer, inner = RADII[ring], RADII[ring + 1] if ring < 3 else 0.0
    angle = np.deg2rad(first + np.linspace(0.12, 0.3, 12) * width)
    radius = np.linspace(inner + 0.08, outer - 0.08, 12) if ring < 3 else np.linspace(0.1, 0.14, 12)
    side = 0.88 * 5.2 * 160
    x = 0.06 * 5.2 * 160 + side / 2 + (radius[:, None] * np.cos(angle)).ravel() * side / 2.36
    height = picture.shape[0]
    y = height - 0.17 * height - side / 2 - (radius[:, None] * np.sin(angle)).ravel() * side / 2.36
    values, counts = np.unique(picture[y.astype(int), x.astype(int)], axis=0, return_counts=True)
    return tuple(values[counts.argmax()].tolist())


def test_anterior_is_on_top_and_septal_on_the_left():
    def middle(number):
        _, first, width = SECTORS[number]
        return (first + width / 2) % 360

    assert middle(1) == middle(7) == middle(13) == 90
    assert middle(4) == middle(10) == middle(15) == 270
    assert middle(2) == 150
    assert middle(3) == 210
    assert middle(14) == 180
    assert middle(16) == 0
    assert middle(6) == 30


def test_each_segment_is_drawn_in_its_own_place_and_colour(tmp_path):
    values = dict.fromkeys(range(1, 18), 10.0) | {5: 90.0, 14: 50.0}
    path = bullseye_figure(values, tmp_path / "b.png", title="T", unit="%", limits=(0, 100))
    low, high = colour_at(path, 1), colour_at(path, 5)
    assert low != high
    assert colour_at(path, 14) not in (low, high)
    assert [number for number in SECTORS if colour_at(path, number) == high] == [5]


def test_a_refusal_is_not_drawn_as_zero(tmp_path):
    values = {number: Measure.of(0.0, "%") for number in range(1, 17)}
    values[3] = Measure.refused("%", "3 chords")
    path = bullseye_figure(values, tmp_path / "b.png", title="T", limits=(0, 100))
    assert colour_at(path, 3) != colour_at(path, 2)
    assert colour_at(path, 17) == colour_at(path, 3)  # a missing segment is not measured either


def test_a_signed_figure_is_white_in_the_middle(tmp_path):
    values = dict.fromkeys(range(1, 18), 0.0) | {1: 40.0, 4: -40.0}
    path = bullseye_figure(values, tmp_path / "b.png", title="T", middle=0.0)
    assert min(colour_at(path, 8)) > 245
    red, blue = colour_at(path, 1), colour_at(path, 4)
    assert red[0] > red[2]
    assert blue[2] > blue[0]


@pytest.mark.parametrize(("values", "says"), [({18: 1.0}, "segments 1 to 17"), ({1: np.nan}, "finite")])
def test_wrong_values_are_refused(tmp_path, values, says):
    with pytest.raises(ValueError, match=says):
        bullseye_figure(values, tmp_path / "b.png", title="T")
    assert not (tmp_path / "b.png").exists()


def curve(volumes):
    nothing = np.zeros((len(volumes), 1))
    return Curve(nothing, nothing, nothing, np.asarray(volumes, dtype=float))


def test_the_curve_is_drawn_with_and_without_times(tmp_path):
    curves = {"lv": curve([150, 90, 60, 120]), "rv": curve([0, 0, 0, 0])}
    for times in (None, [0, 200, 400, 600]):
        path = volume_curve_figure(curves, Phases(0, 2, bad=(1,)), tmp_path / "c.png", times_ms=times)
        picture = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
        assert (np.abs(picture.astype(int) - (0xE6, 0x9F, 0x00)).sum(axis=1) < 12).sum() > 300  # the LV's orange


def test_nothing_to_draw_is_told(tmp_path):
    with pytest.raises(ValueError, match="measure them first"):
        volume_curve_figure({"rv": curve([0, 0])}, Phases(), tmp_path / "c.png")
    with pytest.raises(ValueError, match="2 phases"):
        volume_curve_figure({"lv": curve([1, 2])}, Phases(0, 1), tmp_path / "c.png", times_ms=[1.0])
