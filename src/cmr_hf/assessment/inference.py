"""Images of all series through the models in batches: one pass of an encoder serves all heads that share it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..hub.modeling_cmr import CMRForLandmarkDetection, CMRForSemanticSegmentation
from .models import LoadedModel

BATCH_SIZE = 8
HALF = 0.5


@dataclass(frozen=True)
class Request:
    """Images of one stack, and who shall look at them.

    Attributes:
        key (`str`): of the stack.
        images: gives `np.ndarray` of shape `(n, y, x)`, or `(n, 3, y, x)` for tasks that see three images at once;
            called when their turn comes.
        count (`int`): n.
        spacing_mm (two `float`): (row, column).
        roles (`tuple` of `str`): of `models.ROLES`.
        content (`str`): hash of the images.
    """

    key: str
    images: Callable[[], np.ndarray]
    count: int
    spacing_mm: tuple[float, float]
    roles: tuple[str, ...]
    content: str = ""


@dataclass(frozen=True)
class Classes:
    """What a classifier says of all images of a request together.

    Attributes:
        scores (`dict`): name → mean probability, best first.
        agreement (`float`): share of the images whose own best class is the one of all.
    """

    scores: dict[str, float]
    agreement: float

    @property
    def best(self) -> str:
        return next(iter(self.scores))


@dataclass(frozen=True)
class Masks:
    """Label maps on the source grid.

    Attributes:
        labels (`np.ndarray` of shape `(n, y, x)`, uint8)
        chances (`dict`): label id → probability × 255 of shape `(n, y, x)`, uint8, for every class but background.
        single (`tuple` of `int`): labels of which there is one piece in a heart, by the model's configuration.
    """

    labels: np.ndarray
    chances: dict[int, np.ndarray]
    single: tuple[int, ...] = ()


@dataclass(frozen=True)
class Points:
    """Landmarks on the source grid.

    Attributes:
        points (`np.ndarray` of shape `(n, landmarks, 2)`): (row, column) in pixels.
        scores (`np.ndarray` of shape `(n, landmarks)`): probability that each is there.
        names (`tuple` of `str`)
    """

    points: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...]


@dataclass
class _Pending:
    """A request on its way: what has been answered, and how many of its images are still out."""

    request: Request
    size: tuple[int, int]
    left: int
    parts: dict[str, list[Any]] = field(default_factory=dict)


def answers(
    requests: Sequence[Request],
    loaded: Iterable[LoadedModel],
    batch_size: int = BATCH_SIZE,
    told: Callable[[int], None] = lambda count: None,
    failed: Callable[[Request, Exception], None] | None = None,
) -> Iterator[tuple[Request, str, Any]]:
    """What each role of each request says; a stack's answers come as soon as its last image is through.

    Images are put together in batches whatever stack they are from. Models that share an encoder
    (`LoadedModel.encoder`) are answered from one pass.

    Args:
        requests (list of `Request`)
        loaded (list of `LoadedModel`): of all roles asked for.
        batch_size (`int`): images per pass.
        told: called with the number of images that an encoder has just seen.
        failed: called where images cannot be read or answered; that request gives nothing, the others go on.
            Without it the error is raised.

    Yields:
        Request, role, and `Classes`, `Masks` or `Points`.

    Raises:
        ValueError: a batch size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` needs to be at least 1, got {batch_size}: use {BATCH_SIZE}")
    for models in by_encoder(loaded).values():
        names = {one.name for one in models}
        mine = [one for one in requests if names & set(one.roles)]
        yield from _through(models, mine, batch_size, told, failed)


def by_encoder(loaded: Iterable[LoadedModel]) -> dict[str, list[LoadedModel]]:
    """Models in groups that share an encoder."""
    groups: dict[str, list[LoadedModel]] = {}
    for one in loaded:
        groups.setdefault(one.encoder, []).append(one)
    return groups


def passes(requests: Sequence[Request], loaded: Iterable[LoadedModel]) -> int:
    """How many images the encoders will see in all."""
    groups = [{one.name for one in models} for models in by_encoder(loaded).values()]
    return sum(one.count for names in groups for one in requests if names & set(one.roles))


def _through(
    models: list[LoadedModel],
    requests: Sequence[Request],
    batch_size: int,
    told: Callable[[int], None],
    failed: Callable[[Request, Exception], None] | None,
) -> Iterator[tuple[Request, str, Any]]:
    batch: list[tuple[_Pending, torch.Tensor]] = []
    waiting: list[_Pending] = []

    def flush() -> Iterator[tuple[Request, str, Any]]:
        if batch:
            try:
                _answer(models, batch)
            except Exception as error:  # a batch that cannot be answered must not take the other stacks with it
                if failed is None:
                    raise
                for pending in _distinct(batch):
                    pending.left = -1
                    failed(pending.request, error)
            told(len(batch))
            batch.clear()
        for pending in [one for one in waiting if one.left <= 0]:
            waiting.remove(pending)
            if pending.left == 0:
                yield from _finished(models, pending)

    for request in requests:
        try:
            values, size = _prepared(models[0], request)
        except Exception as error:  # a file that is damaged
            if failed is None:
                raise
            failed(request, error)
            told(request.count)
            continue
        pending = _Pending(request, size, len(values))
        waiting.append(pending)
        for one in values:
            if pending.left < 0:
                told(1)
                continue
            batch.append((pending, one))
            if len(batch) == batch_size:
                yield from flush()
    yield from flush()


def _prepared(model: LoadedModel, request: Request) -> tuple[torch.Tensor, tuple[int, int]]:
    images = np.asarray(request.images())
    if len(images) != request.count:
        raise ValueError(f"`count` needs to be the number of images, got {request.count} for {len(images)}")
    values = model.processor(images, spacing_mm=request.spacing_mm, stack_channels=images.ndim == 4)["pixel_values"]
    return values, tuple(images.shape[-2:])


@torch.inference_mode()
def _answer(models: list[LoadedModel], batch: list[tuple[_Pending, torch.Tensor]]) -> None:
    """One batch through the encoder and the heads that are asked; the answers go to their requests."""
    first = models[0].model
    values = torch.stack([one for _, one in batch]).to(first.device, first.dtype)
    encoded = first.backbone(values, output_hidden_states=True)
    for one in models:
        chosen = [index for index, (pending, _) in enumerate(batch) if one.name in pending.request.roles]
        if not chosen:
            continue
        logits = one.model(
            pixel_values=values if len(chosen) == len(batch) else values[chosen],
            encoder_outputs=encoded if len(chosen) == len(batch) else _part(encoded, chosen),
        ).logits
        rows = {index: row for row, index in enumerate(chosen)}
        for pending in _distinct(batch):
            own = [rows[index] for index in chosen if batch[index][0] is pending]
            if own:
                part = _read(one, logits[own].float().cpu(), pending)
                pending.parts.setdefault(one.name, []).append(part)
    for pending, _ in batch:
        pending.left -= 1


def _distinct(batch: list[tuple[_Pending, torch.Tensor]]) -> list[_Pending]:
    return list({id(pending): pending for pending, _ in batch}.values())


def _part(encoded: Any, chosen: list[int]) -> Any:
    """The outputs of the encoder for some images of a batch."""
    return type(encoded)(
        **{
            name: tuple(state[chosen] for state in value) if isinstance(value, tuple) else value[chosen]
            for name, value in encoded.items()
            if value is not None
        }
    )


def _read(one: LoadedModel, logits: torch.Tensor, pending: _Pending) -> Any:
    spacing = pending.request.spacing_mm
    if isinstance(one.model, CMRForSemanticSegmentation):
        labels, chances = one.processor.segment(logits, pending.size, spacing)
        return labels.numpy(), (chances[:, 1:] * 255 + HALF).to(torch.uint8).numpy()
    if isinstance(one.model, CMRForLandmarkDetection):
        points, scores = one.processor.find_landmarks(logits, pending.size, spacing, one.model.config.landmark_sigma)
        return points.numpy(), scores.numpy()
    return logits.softmax(dim=-1).numpy()


def _finished(models: list[LoadedModel], pending: _Pending) -> Iterator[tuple[Request, str, Any]]:
    for one in models:
        parts = pending.parts.pop(one.name, None)
        if parts is None:
            continue
        if isinstance(one.model, CMRForSemanticSegmentation):
            made: Any = _masks(one, *(np.concatenate([part[k] for part in parts]) for k in (0, 1)))
        elif isinstance(one.model, CMRForLandmarkDetection):
            names = tuple(one.labels[index] for index in sorted(one.labels))
            made = Points(*(np.concatenate([part[k] for part in parts]) for k in (0, 1)), names)
        else:
            made = _classes(np.concatenate(parts), one.labels)
        yield pending.request, one.name, made


def _masks(one: LoadedModel, labels: np.ndarray, chances: np.ndarray) -> Masks:
    """The model's own class numbers as the package's."""
    ids = one.label_ids
    table = np.zeros(256, dtype=np.uint8)
    table[list(ids)] = list(ids.values())
    single = tuple(ids[int(index)] for index in one.model.config.single_component_labels or [])
    return Masks(table[labels], {ids[k + 1]: chances[:, k] for k in range(chances.shape[1])}, single)


def _classes(chances: np.ndarray, names: dict[int, str]) -> Classes:
    mean = chances.mean(axis=0)
    order = np.argsort(-mean, kind="stable")
    agreement = float((chances.argmax(axis=1) == order[0]).mean())
    return Classes({names[int(index)]: float(mean[index]) for index in order}, agreement)
