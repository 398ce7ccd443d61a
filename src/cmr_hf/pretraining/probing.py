"""The probes on labelled shards: during a run on the teacher, and after it against what must be beaten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from ..data.shards import ShardSet
from ..hub.encoding_cmr import CMRViTModel
from .probe_tasks import ProbeImages, ProbeTask
from .probes import (
    accuracy,
    equalise,
    extract_features,
    histogram_features,
    knn_predict,
    linear_predict,
    raw_pixel_features,
)

USED = 0.9  # of the images to fit on, another draw for each seed


@dataclass(frozen=True)
class ProbeSettings:
    """What a run is probed with.

    Attributes:
        shards: folder with labels, as `training/prepare.py` writes it.
        labels: fields of the shards' records.
        every: steps between two probes.
        images: most images that are used, evenly spread over the shards.
        side: side of the middle that is shown, in pixels; the same for all, so that padding tells nothing.
        k: neighbours.
    """

    shards: str
    labels: tuple[str, ...] = ("image_type", "view", "disease")
    every: int = 500
    images: int = 2000
    side: int = 128
    k: int = 20


class ProbeSet:
    """Labelled pictures in memory, all of one size, for a quick look during a run.

    Args:
        settings (`ProbeSettings`): which.
    """

    def __init__(self, settings: ProbeSettings):
        self.settings = settings
        shards = ShardSet(Path(settings.shards))
        step = max(1, -(-len(shards) // settings.images))
        rows = [shards[index] for index in range(0, len(shards), step)]
        images = torch.stack([torch.from_numpy(row["image"]) for row in rows])
        extents = torch.tensor([row["extent"] for row in rows])
        self.images, self.extents, large = equalise(images, extents, settings.side)
        self.rows = [
            {name: row[name] for name in ("source", "side", *settings.labels)}
            for row, kept in zip(rows, large.tolist(), strict=True)
            if kept
        ]

    def split(self, label: str) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Which images train (training patients) and test (validation patients), class ids (−1 unknown), classes."""
        names = [row[label] for row in self.rows]
        classes = sorted({name for name in names if name is not None})
        train = torch.tensor([row["side"] == "train" for row in self.rows])
        test = torch.tensor([row["side"] == "validation" for row in self.rows])
        ids = torch.tensor([classes.index(name) if name in classes else -1 for name in names])
        return train & (ids >= 0), test & (ids >= 0), ids, classes

    def labels_to_probe(self) -> list[str]:
        """Labels with two classes or more, and images on both sides."""
        found = []
        for label in self.settings.labels:
            train, test, _, classes = self.split(label)
            if len(classes) > 1 and train.any() and test.any():
                found.append(label)
        return found


def probe_backbone(backbone: CMRViTModel, probe_set: ProbeSet) -> dict[str, float]:
    """`knn_…` and `linear_…`: balanced accuracy of each label on validation patients, during a run.

    It shows a trend: where a class comes from one source, features may tell the source. `compare` does not allow that.
    """
    features = extract_features(backbone, probe_set.images, probe_set.extents)
    found = {}
    for label in probe_set.labels_to_probe():
        train, test, ids, _ = probe_set.split(label)
        data = features[train], ids[train], features[test]
        found[f"knn_{label}"] = accuracy(knn_predict(*data, k=probe_set.settings.k), ids[test])["balanced"]
        found[f"linear_{label}"] = accuracy(linear_predict(*data), ids[test])["balanced"]
    return found


def compare(features: Mapping[str, Sequence[Tensor]], tasks: Sequence[ProbeTask], k: int = 20) -> list[dict]:
    """Each kind of features on each task.

    Args:
        features (mapping): name → features of all images, shape `(n, width)`, one tensor for each seed of the probe.
        tasks (sequence of `ProbeTask`).
        k (`int`): neighbours.

    Returns:
        Rows with `ProbeTask.about`, `features`, and balanced accuracy as `knn`, `knn_sd`, `linear`, `linear_sd`: mean
        and standard deviation over the seeds, each of which draws nine tenths of the images to fit on.
    """
    rows = []
    for task in tasks:
        for name, of_seeds in features.items():
            scores: dict[str, list[float]] = {"knn": [], "linear": []}
            for seed, own in enumerate(of_seeds):
                drawn = torch.randperm(len(task.fit), generator=torch.Generator().manual_seed(seed))
                drawn = drawn[: max(1, round(USED * len(task.fit)))]
                data = own[task.fit[drawn]], task.fit_ids[drawn], own[task.judge]
                scores["knn"].append(accuracy(knn_predict(*data, k=k), task.judge_ids)["balanced"])
                scores["linear"].append(accuracy(linear_predict(*data), task.judge_ids)["balanced"])
            row = task.about() | {"features": name}
            for kind, values in scores.items():
                row |= {kind: mean(values), f"{kind}_sd": stdev(values) if len(values) > 1 else 0.0}
            rows.append(row)
    return rows


def backbone_features(backbone: CMRViTModel, probe: ProbeImages, seeds: int, name: str) -> dict[str, list[Tensor]]:
    """Features of one backbone: what the heads get, `CMRViTModel.image_features`, and the last [CLS] among them."""
    if not torch.cuda.is_available():
        backbone.set_attn_implementation("eager")  # three times as fast on a CPU at these lengths
    features = extract_features(backbone, probe.images, probe.extents, every_block=True)
    last = features[:, (backbone.tapped_blocks - 1) * backbone.config.hidden_size :][:, : backbone.config.hidden_size]
    return {f"{name}, [CLS]": [last] * seeds, f"{name}, all": [features] * seeds}


def baseline_features(backbone: CMRViTModel, probe: ProbeImages, seeds: int) -> dict[str, list[Tensor]]:
    """What must be beaten: the same network with random weights, others for each seed, and no network at all."""
    found: dict[str, list[Tensor]] = {}
    for seed in range(seeds):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            random = type(backbone)(backbone.config).eval()
        for kind, tensors in backbone_features(random, probe, 1, "random weights").items():
            found.setdefault(kind, []).extend(tensors)
    plain = {"raw pixels": raw_pixel_features, "histogram": histogram_features}
    return found | {kind: [make(probe.images, probe.extents)] * seeds for kind, make in plain.items()}
