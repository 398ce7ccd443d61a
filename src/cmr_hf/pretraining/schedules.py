"""Schedules as pure functions of the step: saved with the run, the same whatever number of processes goes on."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Cosine:
    """Linear from `warmup_start` to `start` in `warmup_steps`, then half a cosine to `end`."""

    start: float
    end: float
    total_steps: int
    warmup_steps: int = 0
    warmup_start: float = 0.0

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            return self.warmup_start + (self.start - self.warmup_start) * step / max(1, self.warmup_steps - 1)
        part = min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))
        return self.end + 0.5 * (self.start - self.end) * (1 + math.cos(math.pi * part))


@dataclass(frozen=True)
class Ramp:
    """Linear from `start` to `end` in `steps`, then constant."""

    start: float
    end: float
    steps: int

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * step / max(1, self.steps - 1)


@dataclass(frozen=True)
class Schedules:
    """All that changes with the step.

    Attributes:
        total_steps: of the run.
        frozen_steps: during which the student's last layer rests.
        learning_rate, weight_decay, teacher_momentum (`Cosine`), teacher_temperature (`Ramp`).

    Source: Caron et al. 2021, implementation details and appendix D.
    """

    total_steps: int
    frozen_steps: int
    learning_rate: Cosine
    weight_decay: Cosine
    teacher_momentum: Cosine
    teacher_temperature: Ramp

    def at(self, step: int) -> dict[str, float]:
        """The values of one step."""
        names = ("learning_rate", "weight_decay", "teacher_momentum", "teacher_temperature")
        return {name: getattr(self, name)(step) for name in names}

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> Schedules:
        curves = {name: Cosine(**values[name]) for name in ("learning_rate", "weight_decay", "teacher_momentum")}
        return cls(
            values["total_steps"],
            values["frozen_steps"],
            **curves,
            teacher_temperature=Ramp(**values["teacher_temperature"]),
        )


def scaled_out_dim(images: int) -> int:
    """Outputs for a data size: 1,024 up to 20,000 images, 65,536 above 500,000, powers of two between."""
    if images < 1:
        raise ValueError(f"`images` needs the size of the data set, at least 1, got {images}: set `dataset_images`")
    part = math.log(images / 20_000) / math.log(25)
    return 2 ** (10 + round(6 * min(1.0, max(0.0, part))))


def scaled_momentum(batch: int, total_steps: int) -> float:
    """The teacher's first EMA momentum: 0.996 at a batch of 1024, slower for small batches, quicker for short runs.

    The average spans as many images as the paper's, but no more than a twentieth of the run: of a teacher that stays
    near its random start nobody can learn. Never below 0.99 or above 0.9995: a teacher that is nearly as quick as the
    centre (0.9) outruns it and collapses.
    """
    return max(0.99, min(0.9995, 0.996 ** (batch / 1024), 1 - 20 / total_steps))


def scaled_schedules(
    images: int,
    batch: int,
    total_steps: int,
    *,
    base_learning_rate: float = 5e-4,
    final_learning_rate: float = 1e-6,
    weight_decay: tuple[float, float] = (0.04, 0.4),
    teacher_momentum: float | None = None,
    teacher_temperature: tuple[float, float] = (0.04, 0.07),
    warmup_steps: int | None = None,
    temperature_steps: int | None = None,
    frozen_steps: int | None = None,
) -> Schedules:
    """The paper's schedules for a run of any length; what is given stays as given.

    Args:
        images (`int`): size of the data set; with the batch, the length of an epoch.
        batch (`int`): images a step, over all processes and micro-batches.
        total_steps (`int`): of the run.
        base_learning_rate (`float`): for a batch of 256; it grows with the batch.
        warmup_steps (`int`, *optional*): of the learning rate, by default 10 epochs or a tenth of the run.
        temperature_steps (`int`, *optional*): of the teacher's temperature, by default 30 epochs or 3 tenths.
        frozen_steps (`int`, *optional*): of the last layer, by default 1 epoch or a hundredth.
    """
    if min(images, batch, total_steps) < 1:
        raise ValueError(
            f"`images`, `batch` and `total_steps` need at least 1, got {images}, {batch}, {total_steps}: "
            "set `max_steps`, or `epochs` and `dataset_images`"
        )
    epoch = max(1, math.ceil(images / batch))

    def steps(given: int | None, epochs: int, part: float) -> int:
        return given if given is not None else min(epochs * epoch, round(part * total_steps))

    warmup = steps(warmup_steps, 10, 0.1)
    rate = base_learning_rate * batch / 256
    momentum = scaled_momentum(batch, total_steps) if teacher_momentum is None else teacher_momentum
    return Schedules(
        total_steps=total_steps,
        frozen_steps=steps(frozen_steps, 1, 0.01),
        learning_rate=Cosine(rate, final_learning_rate, total_steps, warmup),
        weight_decay=Cosine(*weight_decay, total_steps),
        teacher_momentum=Cosine(momentum, 1.0, total_steps),
        teacher_temperature=Ramp(*teacher_temperature, steps(temperature_steps, 30, 0.3)),
    )
