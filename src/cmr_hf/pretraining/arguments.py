"""The arguments of `training/pretrain.py`, and what is built from them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .views import ViewSettings


def _help(text: str, default: object = None) -> object:
    if isinstance(default, (dict, list)):
        return field(default_factory=lambda: type(default)(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


@dataclass
class PretrainArguments:
    output_dir: str = field(metadata={"help": "folder of the run; run again with the same and it goes on"})
    data: list[dict] = field(
        metadata={"help": "sources: {shards: folder} or {phantoms: {…}}, each with a `weight` and perhaps a `name`"}
    )
    backbone: dict = _help("fields of CMRViTConfig; none with init_from", {})
    init_from: str | None = _help("folder of a ViT (ours, a release, or a transformers ViT as DINO's) to go on from")
    lora: dict = _help("fields of peft.LoraConfig: train low-rank additions to init_from only", {})
    head: dict = _help("fields of DINOHead: hidden_dim, bottleneck_dim, free_length", {})
    out_dim: int | None = _help("outputs of the head; by default from the data size")
    views: dict = _help("fields of ViewSettings", {})

    dataset_images: int | None = _help("data size that defaults and epochs refer to; by default that of the shards")
    batch_size: int = _help("images a step over all processes", 1024)
    micro_batch: int | None = _help("most images a process takes at once; by default batch_size / processes")
    epochs: float = _help("passes over dataset_images, if no max_steps", 100.0)
    max_steps: int | None = _help("steps of the run")
    schedules: dict = _help("arguments of scaled_schedules", {})
    student_temperature: float = _help("of the softmax", 0.1)
    centre_momentum: float = _help("of the moving mean of outputs", 0.9)
    clip_gradient: float = _help("greatest norm of each parameter's gradient; 0 for none", 3.0)
    seed: int = _help("of everything", 0)

    mixed_precision: str | None = _help("bf16, no, or what accelerate launch says")
    attention: str | None = _help("sdpa, eager (three times as fast on a CPU at these lengths), flash_attention_2")
    gradient_checkpointing: bool = _help("recompute activations: less memory, slower", False)
    compile: bool = _help("torch.compile for student and teacher", False)
    threads: int = _help("CPU threads of torch; 0 leaves its choice", 0)
    deterministic: bool = _help("bit-identical repeats, slower on GPUs", False)

    log_every: int = _help("steps", 10)
    save_every: int = _help("steps", 500)
    keep_checkpoints: int = _help("the newest", 2)
    keep_backbones: int = _help("steps: of older checkpoints the backbones of such multiples stay; 0 for none", 0)
    trackers: str = _help("any of Accelerate's: tensorboard, wandb, …, or none", "tensorboard")
    progress: bool = _help("show a progress bar", True)
    stop_on_collapse: bool = _help("end the run at a collapse alarm instead of warning", False)
    probe: dict = _help("fields of ProbeSettings: shards, labels, every, images, …; none without", {})

    def __post_init__(self):
        if self.batch_size < 1 or not self.data:
            raise ValueError(
                f"`batch_size` needs at least 1 and `data` a source, got {self.batch_size} and {self.data}: "
                "see training/configs/pretrain_vits8.yaml"
            )

        if "labels" in self.probe:
            self.probe["labels"] = tuple(self.probe["labels"])

    @property
    def view_settings(self) -> ViewSettings:
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in self.views.items()}
        return ViewSettings(**values)

    def split_batch(self, processes: int) -> tuple[int, int]:
        """Images a process takes at once, and how often it does so in a step, for any number of processes.

        `micro_batch` is kept where it divides `batch_size`; else a smaller one, down to its half, comes nearest to it
        (six processes take 6 x 19 x 9 = 1026 images for 1024).

        Raises:
            ValueError: no step is within a tenth of `batch_size`.
        """
        most = min(self.micro_batch or self.batch_size, -(-self.batch_size // processes))
        found = []
        for micro in range(most, max(1, most // 2) - 1, -1):
            steps = max(1, round(self.batch_size / (micro * processes)))
            found.append((abs(processes * micro * steps - self.batch_size), -micro, steps))
        off, micro, steps = min(found)
        if off > self.batch_size / 10:
            raise ValueError(
                f"`batch_size` must be near a multiple of {processes} processes x micro_batch, got {self.batch_size}; "
                f"the nearest is {processes * -micro * steps}: set it to that, or take another micro_batch"
            )
        return -micro, steps
