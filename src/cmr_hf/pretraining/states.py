"""Weights as whole tensors, also where FSDP has them in shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor gathered from all processes, if FSDP has it in shards; every process must call it."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def local(tensors: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """This process's shards, which share their memory with the tensors."""
    return [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]


def whole_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of a module on the CPU, gathered where FSDP has them in shards; every process must call it."""
    state = {}
    for name, tensor in module.state_dict().items():
        state[name] = whole(tensor).detach().cpu().contiguous()
    return state


def load_whole_state(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Puts whole weights into a module, in shards where it has them so."""
    own = module.state_dict()
    if set(own) != set(state):
        raise ValueError(
            f"`state` does not fit: it lacks {sorted(set(own) - set(state))[:4]} and has unknown "
            f"{sorted(set(state) - set(own))[:4]}: go on with the same model settings"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            value = state[name].to(tensor.device)
            if hasattr(tensor, "device_mesh"):
                value = torch.distributed.tensor.distribute_tensor(value, tensor.device_mesh, tensor.placements)
            tensor.copy_(value)


def backbone_of(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The part of a `DINONetwork`'s weights that is its backbone's, under the backbone's own names."""
    return {name[len("backbone.") :]: tensor for name, tensor in state.items() if name.startswith("backbone.")}
