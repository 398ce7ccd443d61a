"""Answers kept in files: as they were, without pickle, and forgotten when they are damaged."""

import numpy as np
import pytest

from cmr_hf.assessment.cache import Cache
from cmr_hf.assessment.inference import Classes, Masks, Points


def masks():
    rng = np.random.default_rng(0)
    labels = np.zeros((3, 20, 24), np.uint8)
    labels[:, 5:12, 8:15] = rng.integers(1, 4, (3, 7, 7))
    chances = {1: np.zeros((3, 20, 24), np.uint8), 3: np.zeros((3, 20, 24), np.uint8)}
    chances[1][:, 4:13, 7:16] = rng.integers(0, 255, (3, 9, 9))
    return Masks(labels, chances, (1, 3))


def test_when_an_answer_is_kept_then_it_comes_back_as_it_was(tmp_path):
    cache, mask = Cache(tmp_path / "cache"), masks()
    points = Points(np.random.rand(4, 2, 2), np.random.rand(4, 2), ("anterior", "inferior"))  # noqa: NPY002
    classes = Classes({"SAX": 0.75, "4CH": 0.25}, 0.5)
    for role, answer in (("cine-sax", mask), ("rv-insertion", points), ("cine-view", classes)):
        cache.put(role, "pictures", "model", answer)
    got = cache.get("cine-sax", "pictures", "model")
    np.testing.assert_array_equal(got.labels, mask.labels)
    assert got.single == mask.single
    for label, maps in mask.chances.items():
        np.testing.assert_array_equal(got.chances[label], maps)
    got = cache.get("rv-insertion", "pictures", "model")
    np.testing.assert_array_equal(got.points, points.points)
    assert got.names == points.names
    assert cache.get("cine-view", "pictures", "model") == classes


@pytest.mark.parametrize(
    "other", [("cine-4ch", "pictures", "model"), ("cine-sax", "x", "model"), ("cine-sax", "pictures", "x")]
)
def test_when_stack_model_or_role_differ_then_nothing_is_known(tmp_path, other):
    cache = Cache(tmp_path)
    cache.put("cine-sax", "pictures", "model", masks())
    assert cache.get(*other) is None


@pytest.mark.parametrize("damage", [lambda data: data[:100], lambda data: b"", lambda data: data[:-40] + bytes(40)])
def test_when_a_file_is_damaged_then_it_counts_as_unknown(tmp_path, damage):
    cache = Cache(tmp_path)
    cache.put("cine-sax", "pictures", "model", masks())
    path = cache.path("cine-sax", "pictures", "model")
    path.write_bytes(damage(path.read_bytes()))
    assert cache.get("cine-sax", "pictures", "model") is None


def test_when_a_file_holds_objects_then_it_is_not_unpickled(tmp_path):
    cache = Cache(tmp_path)
    path = cache.path("cine-sax", "pictures", "model")
    np.savez(path, about=np.array([{"kind": "masks"}], dtype=object))
    assert cache.get("cine-sax", "pictures", "model") is None


def test_when_there_is_no_folder_then_nothing_is_kept():
    cache = Cache()
    cache.put("cine-view", "pictures", "model", Classes({"SAX": 1.0}, 1.0))
    assert cache.get("cine-view", "pictures", "model") is None
