"""From arguments to the things a run needs: network, optimiser, streams."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin, PartialState
from accelerate.state import AcceleratorState

from ..hub.configuration_cmr import CMRViTConfig
from ..hub.encoding_cmr import CMRViTModel
from .arguments import PretrainArguments
from .backbones import load_backbone
from .head import DINOHead, DINONetwork
from .sources import MemoryStream, Mixture, Stream, apportion
from .teacher import parameter_groups

WINDOW_IMAGES = 32_768  # shuffled together, about 0.9 GB as PNG over all processes of a machine


def build_student(args: PretrainArguments, out_dim: int) -> DINONetwork:
    """Backbone, new or of `init_from`, and a new head."""
    if args.init_from:
        backbone = load_backbone(args.init_from, **args.backbone)
    else:
        backbone = CMRViTModel(CMRViTConfig(**args.backbone))
    backbone.set_attn_implementation(args.attention or ("sdpa" if torch.cuda.is_available() else "eager"))
    if args.gradient_checkpointing:
        backbone.activation_checkpointing_enable({"use_reentrant": False})
    if args.lora:
        add_lora(backbone, args.lora)
    head = DINOHead(backbone.config.hidden_size, out_dim, **args.head)
    return DINONetwork(backbone, head).train()


def add_lora(backbone: CMRViTModel, settings: dict) -> None:
    """Freezes the backbone and adds trainable low-rank matrices to its attention, in place (Hu et al. 2021)."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError("`lora` needs peft: pip install 'cmr_hf[train]'") from error
    backbone.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(**({"target_modules": ["q_proj", "v_proj"], "r": 8} | settings)), backbone)


def build_optimizer(student: DINONetwork) -> torch.optim.AdamW:
    """AdamW; learning rate and weight decay come from the schedules at each step."""
    return torch.optim.AdamW(parameter_groups(student), lr=0.0, weight_decay=0.0, fused=True)


def shard_on_cpus(accelerator: Accelerator) -> None:
    """Lets FSDP 2 work between CPUs, over gloo, where `accelerate launch` asks for it.

    Accelerate knows FSDP on GPUs and the like only; on CPUs it would say nothing and keep whole copies (DDP).
    """
    asked = os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"
    if not asked or accelerator.distributed_type != DistributedType.MULTI_CPU:
        return
    plugin = FullyShardedDataParallelPlugin()
    if plugin.fsdp_version != 2:
        raise ValueError(
            f"`fsdp_version` must be 2, got {plugin.fsdp_version}: take training/configs/accelerate_fsdp.yaml"
        )
    if accelerator.mixed_precision != "no":
        plugin.set_mixed_precision(accelerator.mixed_precision)
    accelerator.state.fsdp_plugin = plugin
    for state in (PartialState, AcceleratorState):
        state._shared_state["distributed_type"] = DistributedType.FSDP


def prepare(
    accelerator: Accelerator, student: DINONetwork, teacher: DINONetwork, optimizer: torch.optim.Optimizer
) -> tuple[torch.nn.Module, DINONetwork, torch.optim.Optimizer]:
    """Wraps the student for any number of processes; under FSDP the teacher is cut into the same shards."""
    student, optimizer = accelerator.prepare(student, optimizer)
    if accelerator.is_fsdp2:
        from accelerate.utils.fsdp_utils import fsdp2_prepare_model

        return student, fsdp2_prepare_model(accelerator, teacher), optimizer
    return student, teacher.to(accelerator.device), optimizer


def set_rates(optimizer: torch.optim.Optimizer, learning_rate: float, weight_decay: float) -> None:
    """Puts the step's values into the optimiser's groups."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
        group["weight_decay"] = weight_decay if group["decays"] else 0.0


def open_streams(args: PretrainArguments, micro_batch: int, rank: int, world_size: int) -> Mixture:
    """The sources of `args.data`, mixed by weight."""
    counts = apportion(micro_batch, [float(source.get("weight", 1.0)) for source in args.data])
    streams: dict[str, Stream] = {}
    for number, (source, count) in enumerate(zip(args.data, counts, strict=True)):
        options = {"seed": args.seed + number, "rank": rank, "world_size": world_size}
        name = source.get("name", f"source-{number}")
        if "shards" in source:
            streams[name] = _shard_stream(source, count, options)
        elif "phantoms" in source:
            from ..data.phantom_stream import PhantomStream

            streams[name] = PhantomStream(count, **options, **source["phantoms"])
        elif "noise" in source:  # pictures of nothing, to try a machine before there is data
            generator = torch.Generator().manual_seed(0)
            images = torch.randint(0, 256, (int(source["noise"]), 224, 224), generator=generator, dtype=torch.uint8)
            streams[name] = MemoryStream(images, count, **options)
        else:
            raise ValueError(f"a source of `data` needs `shards` or `phantoms`, got {source}: see training/README.md")
    return Mixture(streams)


def _shard_stream(source: dict, batch_size: int, options: dict) -> Stream:
    """Shards, shuffled in windows so large that batches of one window are like those of the next.

    A shard often holds one data set; where the mix of a batch changes from window to window, the centre lags behind it
    and the training is thrown back each time.
    """
    from ..data.shards import ShardStream
    from ..data.shards.shard_set import load_manifest

    sizes = [shard["images"] for shard in load_manifest(source["shards"])["shards"]]
    window = max(1, math.ceil(len(sizes) * min(1.0, WINDOW_IMAGES / sum(sizes))))
    options = options | {"window_shards": source.get("window_shards", window), "threads": source.get("threads", 2)}
    return ShardStream(source["shards"], batch_size, **options)


def count_images(args: PretrainArguments) -> int:
    """Data size for scaled defaults: given, or the images in all shards.

    Raises:
        ValueError: there is no shard to count.
    """
    if args.dataset_images:
        return args.dataset_images
    total = sum(int(source["noise"]) for source in args.data if "noise" in source)
    folders = [Path(source["shards"]) for source in args.data if "shards" in source]
    if folders:
        from ..data.shards import ShardSet

        total += sum(len(ShardSet(folder)) for folder in folders)
    if not total:
        raise ValueError(
            "`dataset_images` is needed where all data are made on the fly, got None: set it to the number of images "
            "of the run, max_steps x batch_size"
        )
    return total
