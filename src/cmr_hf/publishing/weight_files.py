"""Weights as safetensors files: one, or several with an index where one would be too large, or where models share some.

The index is transformers' own; that it may name a file in another folder ("../shared/encoder.safetensors") lets several
models stand on one encoder without a copy of it each.
"""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import safe_open
from safetensors.torch import save as to_safetensors

from ..hub.weight_files_cmr import INDEX, SINGLE, weight_files

PATTERNS = (SINGLE, "model-*-of-*.safetensors", INDEX)
OWN = "model-00001-of-00001.safetensors"  # what a model that shares weights has for itself


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
        write_part(folder / name, {tensor: weights[tensor] for tensor in tensors})
    if split.is_sharded:
        _write_index(folder, split.tensor_to_filename, weights)


def write_part(file: Path, weights: dict[str, torch.Tensor]) -> None:
    """Writes one file of tensors on the CPU, name -> tensor."""
    # as bytes, so that the file gets the usual permissions: `save_file` makes it private to this user
    file.write_bytes(to_safetensors(weights, metadata={"format": "pt"}))


def write_sharing(folder: Path, weights: dict[str, torch.Tensor], shared: Sequence[Path], home: Path) -> list[Path]:
    """Writes what a model has for itself, and an index that names the shared files for the rest.

    Args:
        folder (`Path`): where to write.
        weights (`dict`): name -> tensor, on the CPU, in the number format that is stored.
        shared (sequence of `Path`): files of tensors, name -> tensor; one is used if the model has all of them, equal.
        home (`Path`): where the folder will lie, from which the index names them.

    Returns:
        The files that are used; without any, the weights are in one file of the usual name.
    """
    places: dict[str, str] = {}
    used = []
    for file in shared:
        with safe_open(file, framework="pt") as tensors:
            theirs = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118  (no mapping)
        if all(name in weights and _equal(weights[name], tensor) for name, tensor in theirs.items()):
            used.append(file)
            places |= dict.fromkeys(theirs, Path(os.path.relpath(file, home)).as_posix())
    if not used:
        write_weights(folder, weights)
        return used
    own = {name: tensor for name, tensor in weights.items() if name not in places}
    if own:
        write_part(folder / OWN, own)
    _write_index(folder, places | dict.fromkeys(own, OWN), weights)
    return used


def _write_index(folder: Path, places: dict[str, str], weights: dict[str, torch.Tensor]) -> None:
    index = {"metadata": {"total_size": sum(one.nbytes for one in weights.values())}, "weight_map": places}
    (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


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
