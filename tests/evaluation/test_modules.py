"""The metrics as `evaluate` modules: found without a network, the same numbers as the functions behind them."""

import socket

import numpy as np
import pytest

pytest.importorskip("evaluate")

from cmr_hf.evaluation.agreement import bland_altman, icc
from cmr_hf.evaluation.classes import calibration_error, class_accuracy, mean_auc
from cmr_hf.evaluation.metrics import FOLDER, NAMES, load_metric
from cmr_hf.evaluation.overlap import dice
from cmr_hf.evaluation.surfaces import surface_distances


def label_maps() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Stacks of two shapes; label 3 is in none, label 2 in the truth of one alone."""
    rng = np.random.default_rng(0)
    shapes = (2, 8, 9), (3, 7, 6)
    predicted, truth = ([rng.integers(0, 3, shape).astype(np.uint8) for shape in shapes] for _ in range(2))
    predicted[0][predicted[0] == 2] = 0
    return predicted, truth


def test_every_folder_is_a_metric_and_every_metric_a_folder():
    assert sorted(path.parent.name for path in FOLDER.glob("*/*.py")) == sorted(NAMES)
    assert all((FOLDER / name / f"{name}.py").is_file() for name in NAMES)
    with pytest.raises(ValueError, match="agreement, auc"):
        load_metric("jaccard")


def test_when_there_is_no_network_then_all_metrics_load(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network here")

    for place, name in ((socket.socket, "connect"), (socket, "create_connection"), (socket, "getaddrinfo")):
        monkeypatch.setattr(place, name, refuse)
    assert [load_metric(name).name for name in NAMES] == list(NAMES)
    found = load_metric("dice").compute(predictions=[[[1, 0]]], references=[[[1, 1]]], labels=[1])
    assert found["dice"] == pytest.approx(2 / 3)


def test_dice_of_batches_is_that_of_all_label_maps():
    predicted, truth = label_maps()
    metric = load_metric("dice")
    for one, other in zip(predicted, truth, strict=True):
        metric.add_batch(predictions=[one], references=[other])
    found = metric.compute(labels=[1, 2, 3])
    volumes = [dice(p == 1, t == 1) for p, t in zip(predicted, truth, strict=True)]
    assert found["per_volume"][1] == {
        "mean": pytest.approx(np.mean(volumes)),
        "sd": pytest.approx(np.std(volumes, ddof=1)),
        "n": 2,
        "undefined": 0,
    }
    assert found["per_slice"][1]["n"] == 5
    assert found["per_volume"][2]["mean"] == pytest.approx(dice(predicted[1] == 2, truth[1] == 2) / 2)
    assert found["per_volume"][3] == {"mean": None, "sd": None, "n": 0, "undefined": 2}
    assert found["dice"] == pytest.approx(np.mean([found["per_volume"][k]["mean"] for k in (1, 2)]))


def test_dice_of_single_slices_counts_each_as_both():
    found = load_metric("dice").compute(predictions=[[[1, 0]], [[0, 0]]], references=[[[1, 1]], [[0, 0]]], labels=[1])
    assert found["per_slice"] == found["per_volume"]
    assert found["per_slice"][1]["n"] == 1


@pytest.mark.parametrize(("name", "value"), [("hausdorff95", "hausdorff95_mm"), ("surface_distance", "average_mm")])
def test_distances_are_those_of_the_function_and_undefined_ones_are_counted(name, value):
    predicted, truth = label_maps()
    spacings = [(8.0, 1.5, 1.2), (10.0, 1.0, 1.0)]
    found = load_metric(name).compute(predictions=predicted, references=truth, labels=[1, 2], spacings_mm=spacings)
    triples = zip(predicted, truth, spacings, strict=True)
    expected = [getattr(surface_distances(p == 1, t == 1, s), value) for p, t, s in triples]
    assert found[1]["mean"] == pytest.approx(np.mean(expected))
    assert (found[2]["n"], found[2]["undefined"]) == (1, 1)
    with pytest.raises(ValueError, match="one entry for each of 2"):
        load_metric(name).compute(predictions=predicted, references=truth, labels=[1], spacings_mm=spacings[:1])


def test_landmark_distance_is_told_for_each_landmark():
    found = load_metric("landmark_distance").compute(
        predictions=[[[0.0, 0.0], [5.0, 5.0]], [[1.0, 1.0], [float("nan")] * 2]],
        references=[[[3.0, 4.0], [5.0, 5.0]], [[1.0, 2.0], [1.0, 1.0]]],
        spacings_mm=[(1.0, 1.0), (1.0, 2.0)],
    )
    first, second = found["per_landmark"]
    assert first["mean"] == pytest.approx((5.0 + 2.0) / 2)
    assert second == {"mean": 0.0, "sd": None, "n": 1, "undefined": 1}
    assert found["n"] == 3


def test_metrics_of_classes_are_those_of_the_functions():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 60).tolist()
    chances = rng.dirichlet(np.ones(3), 60)
    predicted = chances.argmax(axis=1).tolist()
    expected = class_accuracy(predicted, truth, 3)
    found = load_metric("class_accuracy").compute(predictions=predicted, references=truth, classes=3)
    assert (found["per_class"], found["total"]) == (expected.per_class, expected.total)
    balanced = load_metric("balanced_accuracy").compute(predictions=predicted, references=truth, classes=3)
    assert balanced == {"balanced_accuracy": expected.balanced}
    pair = {"predictions": chances.tolist(), "references": truth}
    assert load_metric("auc").compute(**pair)["auc"] == pytest.approx(mean_auc(chances, truth))
    ece = load_metric("calibration_error").compute(**pair, bins=10)["calibration_error"]
    assert ece == pytest.approx(calibration_error(chances, truth, 10))
    with pytest.raises(ValueError, match="an AUC needs"):
        load_metric("auc").compute(predictions=chances[:2].tolist(), references=[1, 1])


def test_agreement_has_bias_limits_and_both_iccs():
    measured, reference = [50.0, 62.0, 71.0, 40.0], [52.0, 60.0, 66.0, 41.0]
    found = load_metric("agreement").compute(predictions=measured, references=reference)
    assert found["icc_agreement"] == pytest.approx(icc(measured, reference))
    assert found["icc_consistency"] == pytest.approx(icc(measured, reference, "consistency"))
    assert found["bias"] == pytest.approx(bland_altman(measured, reference).bias)
