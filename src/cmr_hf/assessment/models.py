"""The models of an assessment: those inside the package and those that a caller gives, each of them optional."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from ..clinical.shape import ShapeClassifier
from ..hub.image_processing_cmr import CMRImageProcessor
from ..hub.modeling_cmr import CMRForImageClassification, CMRForLandmarkDetection, CMRForSemanticSegmentation
from ..hub.weight_files_cmr import weight_files
from ..weights import SHAPE_CLASSIFIER, embedded, known_names

logger = logging.get_logger(__name__)

CHUNK = 1 << 20
SHAPE_ROLE = "disease-by-shape"
# how models may call what the package numbers (`clinical.volumes.LABEL_NAMES`)
LABEL_IDS = {"background": 0, "lv": 1, "lv cavity": 1, "myocardium": 2, "rv": 3, "la": 4, "ra": 5, "scar": 6}


@dataclass(frozen=True)
class Role:
    """What a model does in an assessment.

    Attributes:
        task (`str`): the pipeline that the model is for.
        head: the class that opens it.
        what (`str`): for the sentence "no model for …".
    """

    task: str
    head: type[PreTrainedModel]
    what: str


ROLES = {
    "image-type": Role("cmr-image-type-classification", CMRForImageClassification, "image types"),
    "cine-view": Role("cmr-view-classification", CMRForImageClassification, "views"),
    "cine-sax": Role("cmr-segmentation", CMRForSemanticSegmentation, "short-axis cines"),
    "cine-4ch": Role("cmr-segmentation", CMRForSemanticSegmentation, "four-chamber cines"),
    "lge-sax": Role("cmr-segmentation", CMRForSemanticSegmentation, "short-axis late enhancement"),
    "mapping-sax": Role("cmr-segmentation", CMRForSemanticSegmentation, "short-axis T1 and T2 maps"),
    "rv-insertion": Role("cmr-landmark-detection", CMRForLandmarkDetection, "RV insertion points"),
    "lge-detection": Role("cmr-lge-detection", CMRForImageClassification, "the presence of late enhancement"),
    "disease": Role("cmr-disease-detection", CMRForImageClassification, "diseases"),
}


@dataclass
class LoadedModel:
    """A model that is ready to answer.

    Attributes:
        name (`str`): of `ROLES`.
        model (`PreTrainedModel`), processor (`CMRImageProcessor`)
        digest (`str`): of the files it came from.
        encoder (`str`): equal for models whose encoder and processor are equal, so that one pass serves them all.
    """

    name: str
    model: PreTrainedModel
    processor: CMRImageProcessor
    digest: str
    encoder: str

    @property
    def labels(self) -> dict[int, str]:
        """Class id of the model → name."""
        return {int(index): str(name) for index, name in self.model.config.id2label.items()}

    @property
    def label_ids(self) -> dict[int, int]:
        """Class id of a segmentation model → label id of the package, by name.

        Raises:
            ValueError: a class that the package has no number for.
        """
        strange = [name for name in self.labels.values() if name.lower() not in LABEL_IDS]
        if strange:
            raise ValueError(
                f"`models` needs classes among {', '.join(LABEL_IDS)} for {self.name!r}, got {', '.join(strange)}: "
                "rename them in config.id2label"
            )
        return {index: LABEL_IDS[name.lower()] for index, name in self.labels.items()}


class Models:
    """What is embedded in the package, and what is given instead or beside it.

    Args:
        given (mapping of `str` to folder, Hub id or `None`, *optional*): role ("lge-sax") → where its model lies;
            `None` switches a role off.
        device (`str`, *optional*): "cuda" say; by default CUDA where there is one, else the CPU.

    Raises:
        ValueError: a role that there is not, or a folder without a model.
    """

    def __init__(self, given: Mapping[str, Any] | None = None, device: str | None = None):
        given = dict(given or {})
        strange = sorted(set(given) - set(ROLES))
        if strange:
            raise ValueError(f"`models` needs names of {', '.join(ROLES)}, got {', '.join(strange)}: rename them")
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._places: dict[str, str] = {name: str(embedded(name)) for name in known_names() if name in ROLES}
        self._off = {name for name, place in given.items() if place is None}
        for name, place in given.items():
            if place is None:
                self._places.pop(name, None)
            elif Path(place).exists() and not (Path(place) / "config.json").is_file():
                raise ValueError(f"`models` needs folders with a config.json, got none for {name!r}: name the folder")
            else:
                self._places[name] = str(place)
        self._loaded: dict[str, LoadedModel] = {}
        self._digests: dict[str, str] = {}
        self._encoders: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def names(self) -> list[str]:
        """Roles that have a model."""
        return [name for name in ROLES if name in self._places]

    def why_missing(self, name: str) -> str:
        """The sentence that stands where a role has no model."""
        switched = ": switched off" if name in self._off else f' ("{name}")'
        return f"not measured: no model for {ROLES[name].what}{switched}"

    def digest(self, name: str) -> str:
        """Hash of a model's files, without opening it; of a Hub id its name."""
        if name not in self._digests:
            self._digests[name] = _digest(self._places[name])
        return self._digests[name]

    @property
    def shape(self) -> ShapeClassifier | None:
        """What tells diseases from measured volumes and walls, if this release has one and diseases are asked for."""
        if "disease" in self._off or not SHAPE_CLASSIFIER.is_file():
            return None
        return ShapeClassifier.load(SHAPE_CLASSIFIER)

    def load(self, name: str) -> LoadedModel:
        """The model of a role, opened once. Encoders with equal weights are kept once.

        Raises:
            KeyError: the role has no model.
            ValueError: the model is for another task.
        """
        if name not in self._loaded:
            self._loaded[name] = self._open(name)
        return self._loaded[name]

    def _open(self, name: str) -> LoadedModel:
        role, place = ROLES[name], self._places[name]
        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            model = role.head.from_pretrained(place)
            processor = CMRImageProcessor.from_pretrained(place)
        finally:
            if bars:
                logging.enable_progress_bar()
        trained_for = getattr(model.config, "task", None)
        if trained_for not in (None, role.task):
            raise ValueError(f"`models` needs a model of {role.task} for {name!r}, got one of {trained_for}: swap them")
        encoder = _encoder_digest(model, processor)
        if encoder in self._encoders:
            model.backbone = self._encoders[encoder]
        model = model.to(self.device).eval()
        self._encoders[encoder] = model.backbone
        return LoadedModel(name, model, processor, self.digest(name), encoder)

    def about(self) -> dict[str, dict[str, Any]]:
        """Which model answers for which role, for the record: a folder by its last part only."""
        told: dict[str, dict[str, Any]] = {}
        for name in ROLES:
            if name not in self._places:
                told[name] = {"model": None, "reason": self.why_missing(name)}
                continue
            place = self._places[name]
            told[name] = {"model": Path(place).name if Path(place).exists() else place, "sha256": self.digest(name)}
            licence = (
                getattr(self._loaded[name].model.config, "weights_license", None) if name in self._loaded else None
            )
            if licence:
                told[name]["weights_license"] = licence
        if self.shape is not None:
            digest = hashlib.sha256(SHAPE_CLASSIFIER.read_bytes()).hexdigest()
            told[SHAPE_ROLE] = {"model": SHAPE_CLASSIFIER.parent.name, "sha256": digest}
            told[SHAPE_ROLE]["weights_license"] = self.shape.weights_license
        return told


def _digest(place: str) -> str:
    folder = Path(place).resolve()
    if not folder.is_dir():
        return hashlib.sha256(place.encode()).hexdigest()
    total = hashlib.sha256()
    for file in sorted({*folder.iterdir(), *weight_files(folder)}):
        if file.suffix in (".safetensors", ".json") and file.name not in ("results.json",):
            total.update(file.name.encode())
            with file.open("rb") as stream:
                while chunk := stream.read(CHUNK):
                    total.update(chunk)
    return total.hexdigest()


def _encoder_digest(model: PreTrainedModel, processor: CMRImageProcessor) -> str:
    """Of the encoder's weights and what the processor makes of an image."""
    made = (processor.size, processor.spacing_mm, processor.percentile, type(model.backbone).__name__)
    total = hashlib.sha256(repr(made).encode())
    for name, tensor in sorted(model.backbone.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.detach().cpu().float().numpy().tobytes())
    return total.hexdigest()
