"""Image type and view of a stack: model and header are weighed against each other, disagreement is shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .inference import Classes
from .sources import TYPES, VIEWS, Opinion

SURE = 0.7  # mean probability from which on a model is believed without a word
# How likely the header's class is before the pictures are seen, where its evidence agrees and where it does not. Small
# models have seen few hospitals; a header that misleads is outvoted by a model that is sure.
TRUST = {True: 0.9, False: 0.6}
# how models may call the classes
CALLED = {
    **{name.lower(): name for name in (*TYPES, *VIEWS)},
    "others": "other",
    "ao": "aorta",
    "lge": "LGE",
}


@dataclass(frozen=True)
class Answer:
    """One question about a stack.

    Attributes:
        value (`str`): the answer that is used.
        by (`str`): "model", also where the header says the same; "header" where it outweighs the model, or there is
            none; "nobody" where neither knows.
        probability (`float`, *optional*): of the model.
        header (`str`, *optional*): what the header says.
        scores (`dict`): of the model, best first.
        uncertain (`bool`): to be looked at.
        notes (`tuple` of `str`): why it is uncertain.
    """

    value: str
    by: str
    probability: float | None = None
    header: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    uncertain: bool = False
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "value": self.value,
            "by": self.by,
            "probability": None if self.probability is None else round(self.probability, 4),
            "header": self.header,
            "scores": {name: round(score, 4) for name, score in self.scores.items()},
            "uncertain": self.uncertain,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Recognition:
    """Image type and view of a stack."""

    image_type: Answer
    view: Answer
    post_contrast: bool | None = None
    is_map: bool = False

    @property
    def kind(self) -> str:
        """For people and file names: "cine SAX", "T1 post SAX", "T2 source SAX" for what a map was made of."""
        after = ""
        if self.image_type.value in ("T1", "T2"):
            after = " source" if not self.is_map else (" post" if self.post_contrast else "")
        if self.image_type.value == self.view.value == "other":
            return "other"
        return f"{self.image_type.value}{after} {self.view.value}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "image_type": self.image_type.to_dict(),
            "view": self.view.to_dict(),
            "post_contrast": self.post_contrast,
            "is_map": self.is_map,
        }


def recognise(header: Opinion, image_type: Classes | None, view: Classes | None, view_why: str = "") -> Recognition:
    """What a stack is.

    Args:
        header (`Opinion`): of its headers.
        image_type, view (`Classes`, *optional*): of the models.
        view_why (`str`): why no view model was asked.
    """
    no_type, no_view = "no model for image types", view_why or "no model for views"
    return Recognition(
        _decided("image type", image_type, header.image_type, header.type_agreed, no_type),
        _decided("view", view, header.view, header.view_agreed, no_view),
        header.post_contrast,
        header.is_map,
    )


def _decided(what: str, classes: Classes | None, header: str | None, agreed: bool, why: str) -> Answer:
    if classes is None:
        if header is None:
            return Answer("other", "nobody", uncertain=True, notes=(f"{what}: {why}, and the header does not say",))
        return Answer(header, "header", None, header, uncertain=not agreed, notes=(f"{what} by the header: {why}",))
    scores = {CALLED.get(name.lower(), name): score for name, score in classes.scores.items()}
    best = next(iter(scores))
    notes = []
    if header is not None and header != best:
        notes.append(f"{what}: the model says {best} ({scores[best]:.2f}), the header says {header}")
    if scores[best] < SURE:
        notes.append(f"{what}: the model is not sure ({scores[best]:.2f} for {best})")
    value = _weighed(scores, header, agreed)
    by = "model" if value == best else "header"
    return Answer(value, by, scores[best], header, scores, bool(notes), tuple(notes))


def _weighed(scores: Mapping[str, float], header: str | None, agreed: bool) -> str:
    """The class that is likeliest by both (Bayes' rule; those the header does not name share the rest)."""
    if header not in scores:
        return next(iter(scores))
    others = (1 - TRUST[agreed]) / max(len(scores) - 1, 1)
    return max(scores, key=lambda name: scores[name] * (TRUST[agreed] if name == header else others))
