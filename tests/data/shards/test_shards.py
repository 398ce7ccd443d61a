"""Shards: what is written comes back, in an order that depends on seed and position alone."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from cmr_hf.data.shards import Record, ShardError, ShardSet, ShardStream, ShardWriter
from cmr_hf.data.shards.png import decode_into, encode
from cmr_hf.data.shards.records import pixel_hash

COUNT, PER_SHARD = 50, 8


def picture(number: int) -> np.ndarray:
    """Noise of a size of its own; its first pixel is its number."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 255, (20 + number % 7, 31 - number % 5), dtype=np.uint8)
    image[0, 0] = number
    return image


def number_of(image: torch.Tensor, extent: torch.Tensor) -> int:
    top, left = ((224 - extent) // 2).tolist()
    return int(image[top, left])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "packed"
    with ShardWriter(out, "unit", shard_images=PER_SHARD) as writer:
        for number in range(COUNT):
            view = "SAX" if number % 2 else "4CH"
            writer.add(picture(number), Record(source="test", view=view, slice_index=number, spacing_mm=(1.2, 1.4)))
    return out


def seen(stream: ShardStream, batches: int | None = None) -> list[int]:
    return [
        number_of(image, extent)
        for batch in islice(stream, batches)
        for image, extent in zip(batch["image"], batch["extent"], strict=True)
    ]


def test_every_image_comes_back_as_it_was_with_what_is_known_of_it(folder: Path):
    shards = ShardSet(folder)
    assert len(shards) == COUNT
    assert len(shards.manifest["shards"]) == -(-COUNT // PER_SHARD)
    found = {}
    for index in range(COUNT):
        row = shards[index]
        height, width = row["extent"]
        top, left = (224 - height) // 2, (224 - width) // 2
        found[row["slice_index"]] = row
        np.testing.assert_array_equal(
            row["image"][top : top + height, left : left + width], picture(row["slice_index"])
        )
        assert row["image"].sum() == picture(row["slice_index"]).sum(), "padding is zero"
    assert sorted(found) == list(range(COUNT))
    assert found[3]["view"] == "SAX"
    assert found[4]["view"] == "4CH"
    assert found[3]["spacing_mm"] == [1.2, 1.4]
    assert sorted(shards.column("slice_index")) == list(range(COUNT))


def test_datasets_opens_the_same_shards(folder: Path, tmp_path: Path):
    import datasets

    rows = datasets.load_dataset(
        "parquet", data_files=str(folder / "shards" / "*.parquet"), split="train", cache_dir=str(tmp_path)
    )
    assert len(rows) == COUNT
    np.testing.assert_array_equal(np.asarray(rows[0]["image"]), picture(rows[0]["slice_index"]))


def test_an_epoch_has_every_image_once_and_the_next_another_order(folder: Path):
    first = seen(ShardStream(folder, 6, seed=3, epochs=1, window_shards=2))
    assert sorted(first) == list(range(COUNT))
    both = seen(ShardStream(folder, 6, seed=3, epochs=2, window_shards=2))
    assert sorted(both) == sorted(2 * list(range(COUNT)))
    assert both[COUNT:] != first
    assert seen(ShardStream(folder, 6, seed=4, epochs=1, window_shards=2)) != first


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_any_number_of_ranks_sees_the_same_global_batches(folder: Path, world_size: int):
    whole = seen(ShardStream(folder, 8, seed=1, window_shards=3), 15)
    parts = [
        ShardStream(folder, 8 // world_size, seed=1, rank=rank, world_size=world_size, window_shards=3)
        for rank in range(world_size)
    ]
    batches = [[seen_of(batch) for batch in islice(part, 15)] for part in parts]
    joined = [number for step in zip(*batches, strict=True) for part in step for number in part]
    assert joined == whole


def seen_of(batch: dict[str, torch.Tensor]) -> list[int]:
    return [number_of(image, extent) for image, extent in zip(batch["image"], batch["extent"], strict=True)]


def test_a_stream_goes_on_in_mid_epoch_bit_by_bit_on_another_number_of_ranks_too(folder: Path):
    whole = list(islice(ShardStream(folder, 4, seed=7, window_shards=2), 20))
    stream = ShardStream(folder, 4, seed=7, window_shards=2)
    for _ in islice(stream, 7):
        pass
    state = json.loads(json.dumps(stream.state_dict()))
    assert state["position"] == 28
    resumed = ShardStream(folder, 4, seed=7, window_shards=2)
    resumed.load_state_dict(state)
    for expected, found in zip(whole[7:], islice(resumed, 13), strict=True):
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    halves = [ShardStream(folder, 2, seed=7, rank=rank, world_size=2, window_shards=2) for rank in (0, 1)]
    for half in halves:
        half.load_state_dict(state)
    first, second = (next(iter(half))["image"] for half in halves)
    assert torch.equal(torch.cat([first, second]), whole[7]["image"])


def test_when_the_state_is_of_another_seed_then_it_raises(folder: Path):
    state = ShardStream(folder, 4, seed=7).state_dict()
    with pytest.raises(ValueError, match="needs the same seed"):
        ShardStream(folder, 4, seed=8).load_state_dict(state)


def test_when_a_shard_is_cut_or_damaged_then_the_error_names_it(folder: Path, tmp_path: Path):
    import shutil

    copy = tmp_path / "packed"
    shutil.copytree(folder, copy)
    shard = sorted((copy / "shards").glob("*.parquet"))[2]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-100])
    with pytest.raises(ShardError, match=shard.name):
        ShardStream(copy, 4)
    middle = len(whole) // 3
    shard.write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    with pytest.raises(ShardError, match=shard.name):
        seen(ShardStream(copy, 4, epochs=1))
    shard.unlink()
    with pytest.raises(ShardError, match=shard.name):
        ShardSet(copy)


def test_when_writing_fails_then_nothing_shows(tmp_path: Path):
    def write() -> None:
        with ShardWriter(tmp_path / "out", "unit") as writer:
            writer.add(picture(1), Record(source="test"))
            writer.add(np.zeros((300, 300), np.uint8), Record(source="test"))

    with pytest.raises(ValueError, match="`image` needs uint8 pixels"):
        write()
    assert list((tmp_path / "out" / "shards").iterdir()) == []


def test_when_a_unit_is_there_already_then_it_raises(folder: Path):
    with pytest.raises(ValueError, match="is already in"), ShardWriter(folder, "unit"):
        pass


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "/data/Jane Doe"}, "`source` needs one word"),
        ({"source": "x", "source_hash": "Jane"}, "hexadecimal"),
        ({"source": "x", "view": "5CH"}, "`view` needs one of"),
    ],
)
def test_a_record_takes_no_name_path_or_unknown_word(fields: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Record(**fields)


def test_the_hash_is_of_pixels_alone():
    image = picture(5)
    assert pixel_hash(image) == pixel_hash(image.copy())
    assert pixel_hash(image) != pixel_hash(image.astype(np.int16))


@pytest.mark.parametrize("shape", [(1, 1), (224, 224), (3, 200)])
def test_pictures_are_lossless_and_pillow_reads_them(shape: tuple[int, int]):
    import io

    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = encode(image)
    canvas = np.zeros((224, 224), np.uint8)
    assert decode_into(data, canvas) == shape
    assert canvas.sum() == image.sum()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), image)
    with pytest.raises(ValueError, match="damaged|truncated|needs"):
        decode_into(data[: len(data) // 2], canvas)
