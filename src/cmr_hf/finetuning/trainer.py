"""The Trainer, by task: losses, and evaluation as a pipeline would answer; and what training cost."""

import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.utils.data import Sampler, WeightedRandomSampler
from transformers import Trainer, TrainerCallback
from transformers.utils import SAFE_WEIGHTS_NAME, logging

from ..data.schema import LabelledStack
from ..evaluation.classes import class_accuracy
from ..hub.decoding_cmr import segmentation_loss
from ..hub.image_processing_cmr import CMRImageProcessor
from .answers import classify, landmark_distances_mm
from .models import untrained
from .segmentation import evaluate_stacks, merge_undrawn

logger = logging.get_logger(__name__)


class CMRTrainer(Trainer, ABC):
    """transformers' Trainer for the heads of this package: what is common to all of them.

    Args:
        processor (`CMRImageProcessor`): saved beside each checkpoint.
        eval_samples (list): what `evaluate` measures on, in whatever form `measure` takes; every process measures all.
        weights (`torch.Tensor` of shape `(samples,)`, *optional*): how often each sample is drawn; by default each once
            a pass.
        layer_decay (`float`, defaults to 1.0): learning rate of each block of the encoder over that of the next one,
            the head's being the highest (Clark et al. 2020; Bao et al. 2022).
        last_layer_rate (`float`, defaults to 1.0): learning rate of a decoder's last layer over that of the rest.
    """

    def __init__(
        self,
        *args,
        processor: CMRImageProcessor,
        eval_samples: Sequence[Any],
        weights: torch.Tensor | None = None,
        layer_decay: float = 1.0,
        last_layer_rate: float = 1.0,
        **kwargs,
    ):
        super().__init__(*args, processing_class=processor, eval_dataset=list(eval_samples), **kwargs)
        self.model_accepts_loss_kwargs = False  # losses are means: over several small batches they must be averaged
        self.processor = processor
        self.eval_samples = list(eval_samples)
        self.weights = weights
        self.layer_decay = layer_decay
        self.last_layer_rate = last_layer_rate

    def loss_of(self, model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Loss of a batch, and what the model gave; the model's own by default."""
        outputs = model(**inputs)
        return outputs.loss, outputs

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        for part in untrained(self.accelerator.unwrap_model(model)):
            part.eval()  # the Trainer has just put all of the model into training
        loss, outputs = self.loss_of(model, inputs)
        return (loss, outputs) if return_outputs else loss

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        if self.layer_decay == self.last_layer_rate == 1.0 or self.optimizer is not None:
            return super().create_optimizer(*args, **kwargs)
        kind, settings = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        decays = set(self.get_decay_parameter_names(self.model))
        rate = settings.pop("lr")
        groups: dict[tuple[float, bool], dict[str, Any]] = {}
        scales = layer_scales(self.model, self.layer_decay)
        scales |= {name: self.last_layer_rate for name in scales if name.startswith("decoder.classifier.")}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                key = scales[name], name in decays
                decay = self.args.weight_decay if name in decays else 0.0
                group = groups.setdefault(key, {"params": [], "lr": rate * key[0], "weight_decay": decay})
                group["params"].append(parameter)
        self.optimizer = kind(list(groups.values()), lr=rate, **settings)
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler | None:
        if self.weights is None:
            return super()._get_train_sampler(train_dataset)
        generator = torch.Generator().manual_seed(self.args.seed)
        return WeightedRandomSampler(self.weights, len(self.weights), generator=generator)

    @abstractmethod
    def measure(self, samples: Sequence[Any], prefix: str) -> dict[str, float]:
        """Metrics on samples, each name with a prefix."""

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        metrics = self.measure(self.eval_samples if eval_dataset is None else eval_dataset, metric_key_prefix)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def layer_scales(model: torch.nn.Module, decay: float) -> dict[str, float]:
    """Name of each parameter → factor of its learning rate: `decay` to the number of blocks above it, 1 in the head.

    Blocks are those of a ViT or the stages of a ResNet; what comes before the first is one more below it.
    """
    places = {}
    for name, _ in model.named_parameters():
        block = re.match(r"backbone\.(?:layers|encoder\.stages)\.(\d+)\.", name)
        before = re.match(r"backbone\.embed", name)
        places[name] = int(block[1]) + 1 if block else 0 if before else None
    top = max((place for place in places.values() if place is not None), default=-1) + 1
    return {name: decay ** (top - (top if place is None else place)) for name, place in places.items()}


class SegmentationTrainer(CMRTrainer):
    """The Trainer whose metrics are Dice per slice and per volume on held-out stacks.

    Args:
        eval_stacks (`list` of `LabelledStack`): what `evaluate` measures on; `eval_dice` is the mean of the classes,
            per volume, and then of the data sets, and chooses the best checkpoint.
    """

    def __init__(self, *args, eval_stacks: Sequence[LabelledStack], **kwargs):
        super().__init__(*args, eval_samples=eval_stacks, **kwargs)

    def loss_of(self, model: torch.nn.Module, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """The model's own loss, where classes that nobody drew on a slice are part of its background."""
        outputs = model(pixel_values=inputs["pixel_values"])
        config = self.accelerator.unwrap_model(model).config
        loss = segmentation_loss(
            merge_undrawn(outputs.logits, inputs["drawn"], inputs["absent"]), inputs["labels"], config
        )
        return loss, outputs

    def measure(self, samples: Sequence[LabelledStack], prefix: str) -> dict[str, float]:
        labels = {index: name for index, name in self.model.config.id2label.items() if index != 0}
        sources = sorted({stack.source for stack in samples})
        metrics, means = {}, []
        for source in sources:
            with torch.autocast(self.args.device.type, dtype=torch.bfloat16, enabled=self.args.bf16):
                own = [stack for stack in samples if stack.source == source]
                table = evaluate_stacks(self.model, self.processor, own, labels)
            start = prefix if len(sources) == 1 else f"{prefix}_{source}"
            metrics |= {
                f"{start}_dice_{level}_{name.replace(' ', '_')}": entry["mean"]
                for level, entries in table.items()
                for name, entry in entries.items()
                if entry["mean"] is not None
            }
            volumes = [entry["mean"] for entry in table["per_volume"].values() if entry["mean"] is not None]
            means.append(sum(volumes) / len(volumes) if volumes else 0.0)
        metrics[f"{prefix}_dice"] = sum(means) / len(means)
        return metrics


class ClassificationTrainer(CMRTrainer):
    """The Trainer whose metrics are accuracies on held-out samples; the mean of the classes chooses the checkpoint."""

    def measure(self, samples: Sequence[dict], prefix: str) -> dict[str, float]:
        names = self.model.config.id2label
        with torch.autocast(self.args.device.type, dtype=torch.bfloat16, enabled=self.args.bf16):
            logits = classify(self.model, self.processor, samples)
        truth = torch.tensor([sample["label"] for sample in samples])
        found = class_accuracy(logits.argmax(-1).tolist(), truth.tolist(), len(names))
        metrics = {
            f"{prefix}_balanced_accuracy": found.balanced,
            f"{prefix}_accuracy": found.total,
            f"{prefix}_loss": torch.nn.functional.cross_entropy(logits, truth).item(),
        }
        return metrics | {
            f"{prefix}_accuracy_{names[index].replace(' ', '_')}": value
            for index, value in enumerate(found.per_class)
            if value is not None
        }


class LandmarkTrainer(CMRTrainer):
    """The Trainer whose metrics are distances in mm on held-out images; the mean of the landmarks chooses."""

    def measure(self, samples: Sequence[dict], prefix: str) -> dict[str, float]:
        names = self.model.config.id2label
        with torch.autocast(self.args.device.type, dtype=torch.bfloat16, enabled=self.args.bf16):
            distances = landmark_distances_mm(self.model, self.processor, samples)
        means = {name: np.nanmean(distances[:, index]) for index, name in names.items() if _any(distances[:, index])}
        metrics = {f"{prefix}_distance_mm": float(np.mean(list(means.values())))}
        return metrics | {f"{prefix}_distance_mm_{name.replace(' ', '_')}": float(v) for name, v in means.items()}


def _any(values: np.ndarray) -> bool:
    return not np.isnan(values).all()


class FreshDraws(TrainerCallback):
    """Lets a run that goes on from a checkpoint draw other augmentation than the steps before it did.

    Args:
        collator: with a `generator`.
        seed (`int`): of the run; each process has its own draws.
    """

    def __init__(self, collator: Any, seed: int):
        self.collator, self.seed = collator, seed

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        offset = state.global_step + 1_000_003 * args.process_index
        if offset:
            self.collator.generator.manual_seed(self.seed + offset)


class ElapsedTime(TrainerCallback):
    """Minutes of training, counted on over stops: each checkpoint's are kept in `output_dir/elapsed_minutes.json`."""

    def __init__(self) -> None:
        self._before = 0.0
        self._started = time.perf_counter()

    @property
    def minutes(self) -> float:
        return self._before + (time.perf_counter() - self._started) / 60

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._started = time.perf_counter()
        self._before = self._kept(args).get(str(state.global_step), 0.0) if state.global_step else 0.0

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            kept = self._kept(args) | {str(state.global_step): round(self.minutes, 2)}
            self._file(args).write_text(json.dumps(kept), encoding="utf-8")

    def _kept(self, args: Any) -> dict[str, float]:
        file = self._file(args)
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}

    @staticmethod
    def _file(args: Any) -> Path:
        return Path(args.output_dir) / "elapsed_minutes.json"


def keep_mean(trainer: CMRTrainer, count: int) -> list[int]:
    """Gives a trained model the mean weights of the last checkpoints there are, if that is better on validation.

    Returns:
        The steps of the checkpoints whose mean it now has; none where what it had was better, or there are too few.

    Source: Wortsman et al. 2022, Model soups.
    """
    folders = {int(one.name.split("-")[1]): one for one in Path(trainer.args.output_dir).glob("checkpoint-*")}
    steps = sorted(step for step, one in folders.items() if (one / SAFE_WEIGHTS_NAME).is_file())[-count:]
    if len(steps) < max(count, 2):
        logger.warning(
            f"no mean of {count} checkpoints: {trainer.args.output_dir} has {len(steps)}; raise save_total_limit"
        )
        return []
    model = trainer.accelerator.unwrap_model(trainer.model)
    metric, sign = trainer.args.metric_for_best_model, 1 if trainer.args.greater_is_better else -1
    before = trainer.evaluate()[metric]
    earlier = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mean: dict[str, torch.Tensor] = {}
    for step in steps:
        for name, tensor in load_file(folders[step] / SAFE_WEIGHTS_NAME).items():
            if tensor.is_floating_point():
                mean[name] = mean.get(name, 0) + tensor.float() / len(steps)
    model.load_state_dict(earlier | {name: tensor.to(earlier[name].dtype) for name, tensor in mean.items()})
    if sign * trainer.evaluate()[metric] > sign * before:
        return steps
    model.load_state_dict(earlier)
    return []
