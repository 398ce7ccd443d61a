"""Four-chamber pictures reach the model with the apex up and the patient's left on the right, and come back."""

import numpy as np
import pytest
from transformers import pipeline

from cmr_hf.hub.turning_cmr import Turn, turn_for, upright
from tests.dicom_factory import write_slice
from tests.model_factory import names, randomised, tiny_config, tiny_processor

LEFT, DOWN = np.array((0.98, 0.0, 0.2)), np.array((-0.12, 0.8, 0.588))  # LPS, along columns and rows of an upright one
TURNS = [Turn(swapped, flipped) for swapped in (False, True) for flipped in ((), (-2,), (-1,), (-2, -1))]
FOUR = ("background", "LV cavity", "myocardium", "RV", "LA", "RA")


def affine(columns, rows, spacing=(1.2, 1.5)):
    made = np.eye(4)
    made[:3, 0], made[:3, 1] = np.array(columns) * spacing[1], np.array(rows) * spacing[0]
    return made


def stored_by(turn: Turn) -> tuple[np.ndarray, np.ndarray]:
    """Directions along columns and rows of a picture that `turn` makes upright."""
    rows, columns = (-DOWN if -2 in turn.flipped else DOWN), (-LEFT if -1 in turn.flipped else LEFT)
    return (rows, columns) if turn.swapped else (columns, rows)


@pytest.mark.parametrize("turn", TURNS)
def test_whichever_way_it_is_stored_it_is_seen_the_same_way_and_comes_back(turn):
    assert upright(affine(*stored_by(turn))) == turn
    picture = np.arange(24).reshape(2, 3, 4)
    stored = turn.back(picture)
    np.testing.assert_array_equal(turn.of(stored), picture)
    assert turn.pair(stored.shape[-2:]) == picture.shape[-2:]


def test_only_models_that_know_both_atria_are_shown_turned_pictures():
    place = affine(-LEFT, -DOWN)
    assert turn_for(FOUR, place) == turn_for(("Left atrium", "right atrium"), place) == Turn(flipped=(-2, -1))
    assert not turn_for(FOUR[:5], place)
    assert not turn_for(FOUR, None)


def test_a_short_axis_plane_is_left_as_it_is_whatever_the_model_knows():
    steep = affine((0.79, 0.0, 0.61), (0.43, 0.55, -0.71))  # a short axis that the rule alone would turn
    assert upright(steep)
    assert not turn_for(FOUR, steep)


@pytest.fixture(scope="module")
def segment():
    from cmr_hf import CMRForSemanticSegmentation

    model = randomised(CMRForSemanticSegmentation(tiny_config(**names(FOUR)))).eval()
    return pipeline("cmr-segmentation", model=model, image_processor=tiny_processor())


@pytest.mark.parametrize("turn", TURNS)
def test_the_pipeline_gives_the_same_masks_in_the_orientation_of_the_file(segment, tmp_path, turn):
    rng = np.random.default_rng(3)
    picture = np.kron(rng.integers(0, 900, (6, 7)), np.ones((9, 8))).astype(np.uint16)
    plain = segment(picture, spacing_mm=(1.2, 1.5), return_probabilities=True)
    columns, rows = stored_by(turn)
    path = write_slice(
        tmp_path / "4ch.dcm",
        np.ascontiguousarray(turn.back(picture)),
        ImageOrientationPatient=[float(one) for one in (*columns, *rows)],
        PixelSpacing=list(turn.pair((1.2, 1.5))),
    )
    found = segment(path, return_probabilities=True)
    assert found["segmentation"].shape[-2:] == turn.pair(picture.shape)
    assert len(np.unique(plain["segmentation"])) > 2
    np.testing.assert_array_equal(found["segmentation"][0, 0], turn.back(plain["segmentation"]))
    np.testing.assert_allclose(found["probabilities"][:, 0, 0], turn.back(plain["probabilities"]), atol=1e-6)
    cheap = segment(path)  # without probabilities another way is taken
    np.testing.assert_array_equal(cheap["segmentation"], found["segmentation"])
    for name, score in plain["scores"].items():
        assert found["scores"][name] == (None if score is None else pytest.approx(score, rel=1e-4))
