"""The probes on labelled shards: during a run on the teacher, and after it against what must be beaten."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from ..data.shards import ShardSet
from ..hub.encoding_cmr import CMRViTModel
from .probes import (
    accuracy,
    equalise,
    extract_features,
    held_out_sources,
    histogram_features,
    knn_predict,
    linear_predict,
    raw_pixel_features,
)

Featuriser = Callable[[Tensor, Tensor], Tensor]


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
    """Labelled pictures in memory, all of one size.

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

    def features(self, featuriser: Featuriser) -> Tensor:
        """Features of all pictures, shape `(n, width)`."""
        return featuriser(self.images, self.extents)

    def split(self, label: str, by_source: bool = False, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """Which images train, which test, class ids of all (−1 unlabelled), and the classes.

        By default training and validation patients; with `by_source`, sources held out (`held_out_sources`).
        """
        names = [row[label] for row in self.rows]
        if by_source:
            known = [index for index, name in enumerate(names) if name is not None]
            tests, classes = held_out_sources(
                [names[index] for index in known], [self.rows[index]["source"] for index in known], seed
            )
            test = torch.zeros(len(names), dtype=torch.bool)
            test[torch.tensor(known, dtype=torch.long)] = tests
            train = ~test
        else:
            classes = sorted({name for name in names if name is not None})
            train = torch.tensor([row["side"] == "train" for row in self.rows])
            test = torch.tensor([row["side"] == "validation" for row in self.rows])
        ids = torch.tensor([classes.index(name) if name in classes else -1 for name in names])
        return train & (ids >= 0), test & (ids >= 0), ids, classes

    def labels_to_probe(self, by_source: bool = False) -> list[str]:
        """Labels with two classes or more, and images on both sides."""
        found = []
        for label in self.settings.labels:
            train, test, _, classes = self.split(label, by_source)
            if len(classes) > 1 and train.any() and test.any():
                found.append(label)
        return found


def probe_backbone(backbone: CMRViTModel, probe_set: ProbeSet) -> dict[str, float]:
    """`knn_…` and `linear_…`: balanced accuracy of each label on validation patients, during a run."""
    features = probe_set.features(lambda images, extents: extract_features(backbone, images, extents))
    found = {}
    for label in probe_set.labels_to_probe():
        train, test, ids, _ = probe_set.split(label)
        data = features[train], ids[train], features[test]
        found[f"knn_{label}"] = accuracy(knn_predict(*data, k=probe_set.settings.k), ids[test])["balanced"]
        found[f"linear_{label}"] = accuracy(linear_predict(*data), ids[test])["balanced"]
    return found


def compare(
    featurisers: dict[str, Featuriser], probe_set: ProbeSet, seeds: int = 3, by_source: bool = False
) -> list[dict[str, object]]:
    """Each kind of features on each label, mean and standard deviation over seeds of the probe.

    Args:
        featurisers (dict): name to what makes features of (images, extents); see `usual_featurisers`.
        seeds (`int`): of the linear classifier's sample, and of the held-out sources.
        by_source (`bool`): test on sources that a class was not trained on, instead of validation patients.

    Returns:
        Rows with `features`, `label`, `classes`, `train`, `test`, and `knn`, `knn_sd`, `linear`, `linear_sd`.
    """
    rows = []
    for name, featuriser in featurisers.items():
        features = probe_set.features(featuriser)
        for label in probe_set.labels_to_probe(by_source):
            scores: dict[str, list[float]] = {"knn": [], "linear": []}
            for seed in range(seeds):
                train, test, ids, classes = probe_set.split(label, by_source, seed)
                data = features[train], ids[train], features[test]
                scores["knn"].append(accuracy(knn_predict(*data, k=probe_set.settings.k), ids[test])["balanced"])
                scores["linear"].append(accuracy(linear_predict(*data, seed=seed), ids[test])["balanced"])
            row: dict[str, object] = {"features": name, "label": label, "classes": len(classes)}
            row |= {"train": int(train.sum()), "test": int(test.sum())}
            for kind, values in scores.items():
                row |= {kind: mean(values), f"{kind}_sd": stdev(values) if len(values) > 1 else 0.0}
            rows.append(row)
    return rows


def usual_featurisers(backbone: CMRViTModel, every_block: bool = False) -> dict[str, Featuriser]:
    """A backbone, the same with random weights, and features without a network."""
    torch.manual_seed(0)
    random = type(backbone)(backbone.config)

    def of(model: CMRViTModel) -> Featuriser:
        return lambda images, extents: extract_features(model, images, extents, every_block=every_block)

    return {
        "pretrained": of(backbone),
        "random weights": of(random),
        "raw pixels": raw_pixel_features,
        "histogram": histogram_features,
    }
