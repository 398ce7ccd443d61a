"""Phantom studies in every dialect, and the real studies where they are present, sort right."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from cmr_hf.phantoms import Dialect, Scanner, write_study
from cmr_hf.studies import Study, read_studies, read_study
from tests.phantoms.study_factory import small

FEW = ("localizer", "cine_4ch", "cine_sax", "molli", "t1_native", "t2_prepared", "t2_map", "lge_sax", "lge_sax_psir")
DIALECTS = {
    "classic": Dialect(),
    "multi-frame": Dialect(multiframe=True, real_world_values=True),
    "series per slice": Dialect(series_per_slice=True, trigger_times=False, shuffled_names=True),
}


def check_phantom(folder: Path) -> Study:
    """Compares the stacks with what the study says of its series; each plane of the localiser is a stack."""
    known = json.loads((folder / "truth" / "study.json").read_text(encoding="utf-8"))
    study = read_study(folder / "dicom")
    stacks = list(study.stacks)
    for series in known["series"]:
        parts = [stacks.pop(0) for _ in series["affines_lps_mm"]]
        t, z, *matrix = series["shape"]
        for stack, affine in zip(parts, series["affines_lps_mm"], strict=True):
            assert stack.shape == (t, z // len(parts), *matrix), series["name"]
            np.testing.assert_allclose(stack.affine[:3, :2], np.array(affine)[:3, :2], atol=1e-3)
            np.testing.assert_allclose(stack.affine[:3, 3], np.array(affine)[:3, 3], atol=1e-2)
            assert (stack.image_type.value, stack.view.value) == (series["image_type"], series["view"])
            if z > len(parts):
                assert stack.slice_distance_mm == pytest.approx(series["slice_distance_mm"], abs=0.01)
            if len(series["trigger_ms"]) > 1 and stack.phase_times_ms:
                np.testing.assert_allclose(stack.phase_times_ms, series["trigger_ms"], atol=0.02)
            if "inversion_ms" in series:
                np.testing.assert_allclose(np.unique(stack.inversion_times_ms), np.unique(series["inversion_ms"]))
            assert (stack.unit == "ms") == (series["contrast"] in ("t1_native", "t1_post", "t2_map"))
            assert stack.image().pixels.shape == stack.shape
    assert not stacks
    assert {one.status for one in study.files} == {"used"}
    kinds = sorted(one.kind for one in study.relations)
    assert kinds.count("map and its source") == sum(
        series["name"] in ("t1_native", "t2_map") for series in known["series"]
    )
    assert kinds.count("PSIR and magnitude") == 1
    return study


@pytest.mark.parametrize("name", DIALECTS)
def test_when_a_phantom_is_read_then_its_stacks_are_those_that_were_scanned(tmp_path: Path, name: str):
    write_study(tmp_path / "a", "MINF", 41, small(*FEW, slices=4), DIALECTS[name], Scanner.ideal())
    study = check_phantom(tmp_path / "a")
    assert study.patient.sex in ("M", "F")


@pytest.mark.slow
@pytest.mark.parametrize("disease", ["NORM", "DCM", "HCM", "RV", "MINF"])
@pytest.mark.parametrize("name", DIALECTS)
def test_when_whole_phantoms_are_read_then_every_series_sorts_right(tmp_path: Path, name: str, disease: str):
    write_study(tmp_path / "a", disease, 42, small(phases=8), DIALECTS[name])
    check_phantom(tmp_path / "a")


def test_when_the_siemens_study_is_read_then_its_short_axis_series_are_one_stack(shared_data: Path):
    begun = time.process_time()
    study = read_study(shared_data / "biv_me_study" / "dicom")
    assert time.process_time() - begun < 3.0
    assert {one.status for one in study.files} == {"used"}
    assert len(study.files) == 275
    assert [one.shape[:2] for one in study.stacks] == [(25, 6)] + 5 * [(25, 1)]
    sax = study.stacks[0]
    assert sax.slice_distance_mm == pytest.approx(17.7, abs=0.05)
    assert sax.gaps == ()
    assert sax.image_type.value == "cine"
    folders = [{path.parent.name for path in one.paths} for one in study.stacks]
    assert folders[0] == {"Se1", "Se2", "Se3", "Se4", "Se5", "Se11"}
    views = {path: (one.view.value, one.view.agreed) for one, (path, *_) in zip(study.stacks, folders, strict=True)}
    assert views["Se6"] == ("4CH", True)
    assert views["Se8"] == ("2CH", True)
    assert not views["Se7"][1]  # the header calls a three-chamber view 4CH
    assert not views["Se9"][1]  # and an off-axis one 2CH


def test_when_the_ge_studies_are_read_then_two_patients_have_a_whole_short_axis_stack_each(shared_data: Path):
    studies = read_studies(shared_data / "sunnybrook" / "dicom")
    assert [one.stacks[0].shape[:2] for one in studies] == [(20, 12), (20, 10)]
    for study in studies:
        (stack,) = study.stacks
        assert (stack.image_type.value, stack.view.value, stack.vendor) == ("cine", "SAX", "GE")
        assert {one.status for one in study.files} == {"used"}
        assert stack.time_source == "TriggerTime"


def test_when_scouts_of_eight_patients_are_read_then_each_has_its_three_planes(shared_data: Path):
    studies = read_studies(shared_data / "sunnybrook" / "scouts")
    assert len(studies) == 8
    for study in studies:
        assert {one.image_type.value for one in study.stacks} == {"other"}
        assert {one.view.evidence[-1].split()[0] for one in study.stacks} == {"axial", "coronal", "sagittal"}
        assert all(one.status == "used" or "acquired later" in one.reason for one in study.files)
