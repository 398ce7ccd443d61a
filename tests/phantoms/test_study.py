"""Studies as DICOM: two readers find the pixels, the millimetres and the values that the phantom was given."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmr_hf import read_image
from cmr_hf.phantoms import SERIES, Dialect, Heart, Protocol, Scanner, sax_stack, write_study
from tests.phantoms.study_factory import grid_of, headers, read_by_sitk, series_of, small

IDEAL = Scanner.ideal()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every series of one infarct without noise, a file a picture."""
    folder = tmp_path_factory.mktemp("phantom") / "whole"
    write_study(folder, "MINF", 3, small(), scanner=IDEAL)
    return folder


@pytest.fixture(scope="module")
def multiframe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, a file a series; maps say their ms by a mapping."""
    folder = tmp_path_factory.mktemp("phantom") / "multi"
    write_study(folder, "MINF", 3, small(), Dialect(multiframe=True, real_world_values=True), IDEAL)
    return folder


@pytest.mark.parametrize("seed", range(4))
def test_two_readers_and_the_planes_agree_on_pixels_and_millimetres(tmp_path: Path, seed: int):
    disease = ("NORM", "DCM", "HCM", "RV")[seed]
    shape = ((40, 56), (56, 40), (48, 48), (32, 57))[seed]
    options = {"rows": shape[0], "columns": shape[1], "spacing_mm": 3.0 + 0.37 * seed, "gap_mm": 0.5 * seed}
    protocol = small("cine_sax", "cine_3ch", phases=2, slices=5, **options)
    write_study(tmp_path / "a", disease, seed, protocol)
    for name in protocol.series:
        image = read_image(tmp_path / "a" / series_of(tmp_path / "a", name)["folder"])
        pixels, affine = read_by_sitk(tmp_path / "a", name)
        assert image.pixels.shape == (2, 5 if name == "cine_sax" else 1, *shape)
        np.testing.assert_array_equal(image.pixels, pixels)
        assert image.spacing_mm == pytest.approx([protocol.spacing_mm] * 2, abs=1e-5)
        np.testing.assert_allclose(image.affine[:, [0, 1, 3]], affine[:, [0, 1, 3]], atol=1e-4)
        if name == "cine_sax":
            assert image.slice_distance_mm == pytest.approx(8 + options["gap_mm"], abs=1e-4)
            np.testing.assert_allclose(image.affine, affine, atol=1e-4)
        assert image.left_out == []
    # the middle of the middle slice is where the plane was put, whatever the matrix
    heart = Heart.draw([disease], seed)
    planes = sax_stack(heart, 5, gap_mm=options["gap_mm"], spacing_mm=protocol.spacing_mm, size=64, seed=seed)
    image = read_image(tmp_path / "a" / series_of(tmp_path / "a", "cine_sax")["folder"])
    along = planes.affine[0, :3, 2].double().numpy() / planes.affine[0, :3, 2].norm().item()
    middle = planes.affine[0, :3].double().numpy() @ [31.5, 31.5, 0, 1]
    centre = image.affine @ [(shape[1] - 1) // 2, (shape[0] - 1) // 2, 0, 1]
    away = centre[:3] - middle
    assert np.linalg.norm(away - (away @ along) * along) < 1.01 * protocol.spacing_mm


def test_slices_run_along_the_normal_and_time_along_the_trigger(whole: Path):
    image = read_image(whole / series_of(whole, "cine_sax")["folder"])
    known = series_of(whole, "cine_sax")
    assert list(image.pixels.shape) == known["shape"]
    assert image.trigger_times_ms == pytest.approx(known["trigger_ms"])
    masks, _ = grid_of(whole, "cine_sax")
    volume = (masks == 1).sum((1, 2, 3))
    assert volume.argmax() == 0, "the first phase is end diastole"
    assert volume[1] == volume.min(), "a third of a cycle later is nearest to end systole"
    for dataset in headers(whole, "cine_sax"):
        assert dataset.CardiacNumberOfImages == 3
        phase = (dataset.InstanceNumber - 1) % 3
        assert float(dataset.TriggerTime) == pytest.approx(known["trigger_ms"][phase])


@pytest.mark.parametrize("name", [name for name in SERIES if name != "localizer"])
def test_masks_lie_on_the_grid_of_their_series(whole: Path, name: str):
    image = read_image(whole / series_of(whole, name)["folder"])
    masks, affine = grid_of(whole, name)
    assert masks.shape == image.pixels.shape
    axes = slice(None) if image.pixels.shape[1] > 1 else [0, 1, 3]  # a single slice has no step
    np.testing.assert_allclose(affine[:, axes], image.affine[:, axes], atol=1e-4)
    if name.startswith("cine") or name == "lge_sax":
        blood, muscle = (np.median(image.pixels[masks == label]) for label in (1, 2))
        assert blood > 1.5 * muscle


def test_pictures_are_turned_as_radiologists_expect(tmp_path: Path):
    write_study(tmp_path / "a", "NORM", 5, small("cine_sax", "cine_4ch", phases=1, jitter=False), scanner=IDEAL)
    masks, _ = grid_of(tmp_path / "a", "cine_sax")
    row, column = ({label: np.argwhere(masks[0] == label)[:, axis].mean() for label in (1, 3)} for axis in (1, 2))
    assert column[3] < column[1] - 3, "short axis: the right ventricle is on the left"
    points = series_of(tmp_path / "a", "cine_sax")["landmarks_lps_mm"]
    first = {one["name"]: one["pixel"][0] for one in points if one["slice"] == points[0]["slice"]}
    assert first["anterior RV insertion"] < first["inferior RV insertion"], "short axis: the front is on top"
    masks, affine = grid_of(tmp_path / "a", "cine_4ch")
    row, column = ({label: np.argwhere(masks[0, 0] == label)[:, axis].mean() for label in (1, 4, 5)} for axis in (0, 1))
    assert column[1] > column[5] + 3, "four chambers: the left is on the right"
    assert row[1] < row[4], "four chambers: the apex is above the atria"
    assert affine[0, 0] > 0, "columns run to the patient's left"


def test_landmarks_in_millimetres_are_the_pixels_of_the_mask(whole: Path):
    for name in ("cine_sax", "lge_sax"):
        masks, affine = grid_of(whole, name)
        points = series_of(whole, name)["landmarks_lps_mm"]
        assert len(points) >= 4
        for one in points:
            column, row, place = np.linalg.solve(affine, [*one["lps_mm"], 1.0])[:3]
            assert [row, column, place] == pytest.approx([*one["pixel"], one["slice"]], abs=0.01)
            near = masks[one["phase"], one["slice"]][round(row) - 2 : round(row) + 3, round(column) - 2 :][:, :5]
            assert {2, 6} & set(near.flatten().tolist())


def middle_of(masks: np.ndarray, label: int) -> np.ndarray:
    """Pixels whose neighbours all have this label."""
    inside = masks == label
    for axis in (2, 3):
        inside = inside & np.roll(masks == label, 1, axis) & np.roll(masks == label, -1, axis)
    return inside


@pytest.mark.parametrize("name", ["t1_native", "t1_post", "t2_map"])
def test_maps_are_in_ms_by_rescale_and_by_real_world_values(whole: Path, multiframe: Path, tmp_path: Path, name: str):
    known = json.loads((whole / "truth" / "study.json").read_text())["relaxation_ms"][name]
    truth, _ = grid_of(whole, name, "t2_ms" if name == "t2_map" else "t1_ms")
    masks, _ = grid_of(whole, name)
    mapped = tmp_path / "mapped"
    write_study(mapped, "MINF", 3, small(name), Dialect(real_world_values=True), IDEAL)
    for folder in (whole, multiframe, mapped):
        image = read_image(folder / series_of(folder, name)["folder"])
        assert image.pixels.dtype == np.float32
        np.testing.assert_allclose(image.pixels, truth, atol=0.06)
        blood = np.median(image.pixels[middle_of(masks, 1)])
        assert blood == pytest.approx(known["blood"], abs=0.06)
    by_sitk, _ = read_by_sitk(whole, name)
    np.testing.assert_allclose(by_sitk, truth, atol=0.06)
    rescaled, real = headers(whole, name)[0], headers(mapped, name)[0]
    assert (rescaled.RescaleType, float(rescaled.RescaleSlope)) == ("ms", 0.1)
    assert "RealWorldValueMappingSequence" not in rescaled
    assert "RescaleSlope" not in real
    assert real.RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "ms"


def test_the_inversion_recovery_pictures_hold_the_t1_of_the_map(whole: Path):
    image = read_image(whole / series_of(whole, "molli")["folder"])
    times = np.array(series_of(whole, "molli")["inversion_ms"])
    assert [float(one.InversionTime) for one in headers(whole, "molli")[: len(times)]] == times.tolist()
    known = json.loads((whole / "truth" / "study.json").read_text())["relaxation_ms"]["t1_native"]
    masks, _ = grid_of(whole, "molli")
    curve = np.median(image.pixels[:, middle_of(masks[:1], 1)[0]], axis=1)
    fits = []
    for flipped in range(len(times)):  # the magnitude hides the sign of the first ones
        signed = curve * np.where(np.arange(len(times)) < flipped, -1, 1)
        for apparent in np.arange(200.0, 2600.0, 5.0):
            base = np.stack([np.ones_like(times), -np.exp(-times / apparent)], axis=1)
            (a, b), residual, *_ = np.linalg.lstsq(base, signed, rcond=None)
            fits.append((float(residual[0]), apparent * (b / a - 1)))
    assert min(fits)[1] == pytest.approx(known["blood"], rel=0.02)

    image = read_image(whole / series_of(whole, "t2_prepared")["folder"])
    masks, _ = grid_of(whole, "t2_prepared")
    curve = np.median(image.pixels[:, middle_of(masks[:1], 1)[0]], axis=1).astype(float)
    known = json.loads((whole / "truth" / "study.json").read_text())["relaxation_ms"]["t2_map"]
    assert 55 / np.log(curve[0] / curve[2]) == pytest.approx(known["blood"], rel=0.03)


@pytest.mark.parametrize("name", [name for name in SERIES if name != "localizer"])
def test_multiframe_reads_as_single_frames_do(whole: Path, multiframe: Path, name: str):
    one, many = (read_image(folder / series_of(folder, name)["folder"]) for folder in (whole, multiframe))
    np.testing.assert_array_equal(one.pixels, many.pixels)
    assert one.spacing_mm == many.spacing_mm
    assert one.slice_distance_mm == many.slice_distance_mm
    assert one.trigger_times_ms == many.trigger_times_ms
    np.testing.assert_array_equal(one.affine, many.affine)


def test_a_phase_sensitive_picture_is_signed_and_of_the_same_acquisition(tmp_path: Path):
    scanner = replace(Scanner(), pedestal=(0.0, 0.0))
    write_study(tmp_path / "a", "MINF", 8, small("lge_sax", "lge_sax_psir", slices=4), scanner=scanner)
    plain, signed = (
        read_image(tmp_path / "a" / series_of(tmp_path / "a", name)["folder"]).pixels.astype(float)
        for name in ("lge_sax", "lge_sax_psir")
    )
    assert signed.min() < 0 <= plain.min()
    # what a picture is divided by differs, so that lung is grey in one of them only
    same, other = (np.corrcoef(plain.ravel(), one.ravel())[0, 1] for one in (np.abs(signed), np.abs(signed[:, ::-1])))
    assert same > 0.6
    assert same > other + 0.1


@pytest.mark.parametrize(("disease", "seed"), [("NORM", 1), ("DCM", 2), ("HCM", 3)])
def test_simpson_volumes_of_the_masks_agree_with_the_analytic_ones_within_3_percent(
    tmp_path: Path, disease: str, seed: int
):
    fine = {"thickness_mm": 5.0, "gap_mm": 0.0, "rows": 56, "columns": 60, "spacing_mm": 2.8}
    known = write_study(tmp_path / "a", disease, seed, Protocol(("cine_sax",), phases=3, **fine), scanner=IDEAL)
    masks, affine = grid_of(tmp_path / "a", "cine_sax")
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    (series,) = known["series"]
    for name, label in (("lv", 1), ("myocardium", 2), ("rv", 3)):
        volumes = (masks == label).sum((1, 2, 3)) * voxel_ml
        np.testing.assert_allclose(volumes, series["volumes_ml"][name], rtol=0.03)
    assert series["volumes_ml"]["lv"][0] == pytest.approx(known["volumes_ml"]["lv_ed"], rel=1e-3)
    assert known["lv_ef"] == pytest.approx(1 - known["volumes_ml"]["lv_es"] / known["volumes_ml"]["lv_ed"], abs=1e-3)
    assert known["lv_mass_g"] == pytest.approx(1.05 * known["volumes_ml"]["myocardium_ed"], abs=0.01)


def test_a_stack_covers_the_ventricle_and_maps_have_slices_equally_far_apart(tmp_path: Path):
    for seed in range(3):
        folder = tmp_path / str(seed)
        write_study(folder, "HCM", seed, small("lge_sax", "t1_native"), scanner=IDEAL)
        masks, _ = grid_of(folder, "lge_sax")
        muscle = np.isin(masks[0], (2, 6)).sum((1, 2))
        assert muscle[-1] == 0, "the last slice lies behind the valve plane"
        assert muscle[0] < 0.4 * muscle.max(), "the first one is at the apex"
        assert read_image(folder / series_of(folder, "t1_native")["folder"]).pixels.shape[1] == 3
        steps = np.diff(sorted({float(one.SliceLocation) for one in headers(folder, "t1_native")}))
        assert steps[0] == pytest.approx(steps[1], abs=1e-3)
