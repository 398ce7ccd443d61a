"""What happens to weights outside of the gradient: the teacher's moving average, groups, freezing, clipping."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .head import DINONetwork
from .states import local, whole


def make_teacher(student: DINONetwork) -> DINONetwork:
    """A copy of the student that has no gradient and no stochastic depth."""
    teacher = copy.deepcopy(student).requires_grad_(False).eval()
    teacher.backbone.activation_checkpointing_disable()
    return teacher


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """teacher = momentum · teacher + (1 − momentum) · student, parameter by parameter, in fp32."""
    for module in teacher.modules():
        if hasattr(module, "reshard"):  # FSDP leaves what ran forward, and not backward, whole
            module.reshard()
    targets, sources = list(teacher.parameters()), list(student.parameters())
    if len(targets) != len(sources):
        raise ValueError(
            f"`teacher` must have the student's {len(sources)} parameters, got {len(targets)}: use make_teacher"
        )
    torch._foreach_lerp_(local(targets), local(sources), 1.0 - momentum)


def parameter_groups(student: nn.Module) -> list[dict]:
    """Trainable parameters in two groups, `decays` true or false: biases, norms and other 1-D ones do not decay."""
    groups = [{"params": [], "decays": True}, {"params": [], "decays": False}]
    for name, parameter in student.named_parameters():
        if parameter.requires_grad:
            groups[name.endswith(".bias") or parameter.ndim < 2]["params"].append(parameter)
    return groups


def last_layer_of(student: nn.Module) -> list[nn.Parameter]:
    """Trainable parameters of the head's last layer."""
    return [p for name, p in student.named_parameters() if "head.last_layer." in name and p.requires_grad]


def freeze(parameters: Iterable[nn.Parameter]) -> None:
    """Takes the gradients away after the backward pass: AdamW then neither moves nor decays these parameters."""
    for parameter in parameters:
        parameter.grad = None


@torch.no_grad()
def clip_each(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Shortens each parameter's gradient to `limit`, as DINO does; gives the norm of all together before that.

    Source: Caron et al. 2021, the published code clips every parameter by itself.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        raise ValueError("`parameters` have no gradient: call backward first")
    norms = torch.stack([whole(norm) for norm in torch._foreach_norm(gradients)])
    if limit > 0:
        factors = (limit / (norms + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(local(gradients), list(factors.unbind()))
    return norms.norm()
