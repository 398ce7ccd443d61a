"""Weights as safetensors files: one, or several with an index where one would be too large."""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import safe_open
from safetensors.torch import save as to_safetensors

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PATTERNS = (SINGLE, "model-*-of-*.safetensors", INDEX)


def write_weights(folder: Path, weights: dict[str, torch.Tensor], max_shard_size: int | str = "5GB") -> None:
    """Writes `model.safetensors`, or numbered parts and their index if it would be larger than `max_shard_size`.

    Args:
        folder (`Path`): where.
        weights (`dict`): name -> tensor, on the CPU.
        max_shard_size (`int` or `str`): bytes of one file, or "5GB" say; a larger tensor gets a file of its own.

    Raises:
        ValueError: the size cannot be read, or is not above zero.
    """
    try:
        split = split_torch_state_dict_into_shards(weights, max_shard_size=max_shard_size)
    except ValueError as error:
        raise _wrong_size(max_shard_size) from error
    if isinstance(max_shard_size, int) and max_shard_size < 1:
        raise _wrong_size(max_shard_size)
    for name, tensors in split.filename_to_tensors.items():
        part = to_safetensors({tensor: weights[tensor] for tensor in tensors}, metadata={"format": "pt"})
        # as bytes, so that the file gets the usual permissions: `save_file` makes it private to this user
        (folder / name).write_bytes(part)
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a folder's weights, sorted; none if there are no safetensors of the usual names."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    return sorted(folder.glob("model-*-of-*.safetensors"))


def stored(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and tensor of all weights of a folder, one after the other."""
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118  (no mapping)
                yield name, tensors.get_tensor(name)


def stored_dtype(folder: Path) -> torch.dtype | None:
    """The number format that a folder's weights are stored in; None if there are several or none."""
    formats = {tensor.dtype for _, tensor in stored(folder) if tensor.is_floating_point()}
    return formats.pop() if len(formats) == 1 else None


def count_parameters(folder: Path) -> int:
    """How many numbers a folder's weights are, running statistics included."""
    return sum(tensor.numel() for _, tensor in stored(folder))


def same_weights(weights: dict[str, torch.Tensor], folder: Path) -> bool:
    """Whether a folder holds these weights, up to the shorter of the two number formats."""
    seen = set()
    for name, theirs in stored(folder):
        mine = weights.get(name)
        if mine is None or mine.shape != theirs.shape:
            return False
        short = min(mine.dtype, theirs.dtype, key=lambda dtype: dtype.itemsize)
        if not torch.equal(mine.to(short), theirs.to(short)):
            return False
        seen.add(name)
    return seen == set(weights) and bool(seen)


def _wrong_size(size: int | str) -> ValueError:
    return ValueError(f'`max_shard_size` needs a size above zero, 5000000000 or "5GB" say, got {size!r}')
