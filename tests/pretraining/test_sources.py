"""Order is a pure function of seed and position, whatever the number of processes; sources mix by weight."""

import json
from itertools import islice

import numpy as np
import pytest
import torch

from cmr_hf.data.phantom_stream import PhantomStream
from cmr_hf.data.shards import Record, ShardWriter
from cmr_hf.pretraining.arguments import PretrainArguments
from cmr_hf.pretraining.building import count_images, open_streams
from cmr_hf.pretraining.sources import MemoryStream, Mixture, apportion
from tests.pretraining.pretrain_factory import blobs


def indices(stream, batches: int) -> torch.Tensor:
    return torch.stack([batch["index"] for batch in islice(iter(stream), batches)])


def test_an_epoch_shows_every_picture_once_and_the_next_in_another_order():
    order = indices(MemoryStream(blobs(12), 4, seed=1), 6).flatten()
    assert sorted(order[:12].tolist()) == sorted(order[12:].tolist()) == list(range(12))
    assert not torch.equal(order[:12], order[12:])
    assert not torch.equal(order[:12], indices(MemoryStream(blobs(12), 4, seed=2), 3).flatten())


def test_two_processes_share_the_global_order():
    images = blobs(10)
    whole = indices(MemoryStream(images, 4), 5)
    parts = [indices(MemoryStream(images, 2, rank=rank, world_size=2), 5) for rank in (0, 1)]
    assert torch.equal(torch.cat(parts, dim=1), whole)


def test_a_stream_goes_on_where_its_state_says():
    first = MemoryStream(blobs(10), 3)
    indices(first, 4)
    state = json.loads(json.dumps(first.state_dict()))
    second = MemoryStream(blobs(10), 3)
    second.load_state_dict(state)
    assert torch.equal(indices(first, 3), indices(second, 3))


@pytest.mark.parametrize(
    ("batch", "weights", "counts"),
    [(8, [1, 1], [4, 4]), (10, [0.75, 0.25], [8, 2]), (4, [100, 1], [3, 1]), (64, [0.6, 0.4], [38, 26]), (1, [2], [1])],
)
def test_a_batch_is_apportioned_by_weight(batch, weights, counts):
    assert apportion(batch, weights) == counts


def test_when_there_are_more_sources_than_pictures_then_it_says_so():
    with pytest.raises(ValueError, match="larger micro_batch"):
        apportion(1, [0.5, 0.5])


def test_a_mixture_has_its_shares_and_no_key_twice():
    streams = {"a": MemoryStream(blobs(9), 3), "b": MemoryStream(blobs(9, seed=1), 2)}
    mixture = Mixture(streams)
    batch = next(mixture)
    assert batch["image"].shape == (5, 64, 64)
    assert len(set(batch["key"].tolist())) == 5
    again = Mixture({"a": MemoryStream(blobs(9), 3), "b": MemoryStream(blobs(9, seed=1), 2)})
    again.load_state_dict(json.loads(json.dumps(mixture.state_dict())))
    assert torch.equal(next(again)["key"], next(mixture)["key"])
    with pytest.raises(ValueError, match="same `data`"):
        mixture.load_state_dict({"a": {"position": 0}})


def test_phantoms_are_the_same_for_any_number_of_processes_and_none_comes_twice():
    whole = next(iter(PhantomStream(4, seed=3, group=2)))
    parts = [next(iter(PhantomStream(2, seed=3, group=2, rank=rank, world_size=2))) for rank in (0, 1)]
    assert torch.equal(torch.cat([part["image"] for part in parts]), whole["image"])
    assert whole["image"].shape == (4, 224, 224)
    assert whole["image"].dtype == torch.uint8
    assert torch.pdist(whole["image"].float().flatten(1)).min() > 1000
    for picture, (rows, columns) in zip(whole["image"], whole["extent"].tolist(), strict=True):
        assert picture.sum() == picture[(224 - rows) // 2 :][:rows, (224 - columns) // 2 :][:, :columns].sum()


def test_when_a_phantom_stream_has_another_order_then_its_state_is_refused():
    with pytest.raises(ValueError, match="same group"):
        PhantomStream(2, group=4).load_state_dict(PhantomStream(2, group=2).state_dict())


def arguments(**values) -> PretrainArguments:
    return PretrainArguments(**{"output_dir": "x", "data": [{"noise": 6}], "batch_size": 8} | values)


def test_sources_open_by_their_name_and_an_unknown_one_is_refused():
    batch = next(open_streams(arguments(data=[{"noise": 6}, {"noise": 9, "weight": 3}]), 8, 0, 1))
    assert batch["image"].shape == (8, 224, 224)
    with pytest.raises(ValueError, match="`shards` or `phantoms`"):
        open_streams(arguments(data=[{"folder": "x"}]), 8, 0, 1)


def test_the_data_size_is_counted_or_asked_for():
    assert count_images(arguments()) == 6
    assert count_images(arguments(dataset_images=77)) == 77
    with pytest.raises(ValueError, match="dataset_images"):
        count_images(arguments(data=[{"phantoms": {}}]))


def test_a_batch_splits_over_any_number_of_processes():
    assert arguments(batch_size=1024).split_batch(8) == (128, 1)
    assert arguments(batch_size=1024, micro_batch=32).split_batch(8) == (32, 4)
    assert arguments(batch_size=1024, micro_batch=48).split_batch(8) == (32, 4)
    assert arguments(batch_size=1024, micro_batch=32).split_batch(6) == (19, 9)
    for processes in range(1, 129):
        micro, steps = arguments(batch_size=1024, micro_batch=32).split_batch(processes)
        assert micro <= 32
        off = abs(processes * micro * steps - 1024)
        assert off <= (10 if processes <= 13 else 0.07 * 1024)


def test_when_no_step_is_near_the_batch_then_it_names_the_nearest():
    with pytest.raises(ValueError, match="nearest is 8"):
        arguments(batch_size=10).split_batch(8)


def test_shards_are_shuffled_in_windows_of_many_images(tmp_path):
    for number in range(12):
        with ShardWriter(tmp_path / "shards", unit=f"u{number}") as writer:
            for _ in range(4):
                writer.add(np.full((8, 8), number * 20, np.uint8), Record(source="one"))
    source = {"shards": str(tmp_path / "shards")}
    streams = open_streams(arguments(data=[source]), 4, 0, 1).streams
    assert streams["source-0"].order.window_shards == 12
    streams = open_streams(arguments(data=[source | {"window_shards": 3}]), 4, 0, 1).streams
    assert streams["source-0"].order.window_shards == 3
    batch = next(Mixture(streams))
    assert batch["image"].shape == (4, 224, 224)
    assert batch["extent"].tolist() == [[8, 8]] * 4
