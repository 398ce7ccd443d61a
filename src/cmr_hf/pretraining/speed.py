"""How fast a run is: images a second, arithmetic done over arithmetic possible, time left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch

from ..hub.configuration_cmr import CMRViTConfig
from .views import ViewSettings

# dense bf16 TFLOP/s without sparsity, as the makers state
_PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "V100": 125.0, "L4": 121.0, "T4": 65.0}


def forward_flops(config: CMRViTConfig, size: int) -> float:
    """Operations (a multiplication and an addition are two) of one backbone pass over one crop of `size` pixels."""
    patches = (size // config.patch_size) ** 2
    tokens, width = patches + 1, config.hidden_size
    block = 4 * width * width + 2 * width * config.intermediate_size + 2 * tokens * width
    embedding = patches * config.num_channels * config.patch_size**2 * width
    return 2.0 * (config.num_hidden_layers * tokens * block + embedding)


def flops_per_image(config: CMRViTConfig, views: ViewSettings, out_dim: int, hidden: int, bottleneck: int) -> float:
    """Operations of DINO's step an image: student forward and twice that backward, teacher forward on global crops.

    Recomputation by gradient checkpointing is not counted.
    """
    head = 2.0 * (config.hidden_size * hidden + hidden * hidden + hidden * bottleneck + bottleneck * out_dim)
    whole = views.global_count * (forward_flops(config, views.global_size) + head)
    parts = views.local_count * (forward_flops(config, views.local_size) + head) if views.local_count else 0.0
    return 3 * (whole + parts) + whole


def peak_flops(device: torch.device) -> tuple[float, str]:
    """Operations a second that are possible, and where the number is from: the maker, or a product measured now."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for key, tera in _PEAK_TFLOPS.items():
            if key in name:
                return tera * 1e12, f"dense bf16 of {name}"
    side = 2048
    left, right = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        (left @ right)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best, f"a bf16 product of side {side} measured on this {device.type}"


@dataclass
class Meter:
    """Images a second and what follows from it.

    Attributes:
        flops_per_image, peak_flops (`float`): of one image; of all processes together.
        total_images (`int`): that the run will take.
    """

    flops_per_image: float
    peak_flops: float
    total_images: int
    _start: float = field(default_factory=time.perf_counter)
    _images: int = 0

    def add(self, images: int) -> None:
        self._images += images

    def restart(self) -> None:
        """Begins anew, after something that is not training."""
        self._start, self._images = time.perf_counter(), 0

    def read(self, done: int) -> dict[str, float]:
        """Since the last reading; `done` images of the run are behind. `hours_left` supposes the same rate."""
        rate = self._images / max(1e-9, time.perf_counter() - self._start)
        self.restart()
        left = (self.total_images - done) / max(1e-9, rate) / 3600
        return {
            "images_per_second": rate,
            "mfu": rate * self.flops_per_image / self.peak_flops,
            "hours_left": left,
        }
