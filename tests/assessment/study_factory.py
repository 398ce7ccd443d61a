"""A small made-up study as DICOM with planted identity, and models that know its heart by its brightness."""

from pathlib import Path

import numpy as np
import torch
from pydicom.uid import generate_uid
from transformers.modeling_outputs import ImageClassifierOutput, SemanticSegmenterOutput

from cmr_hf import CMRForImageClassification, CMRForSemanticSegmentation, CMRImageProcessor
from cmr_hf.assessment.models import ROLES, LoadedModel, Models
from tests.clinical.heart_factory import affine_of, ideal_heart
from tests.dicom_factory import write_slice
from tests.model_factory import LABELS, names, randomised, tiny_config, tiny_processor

NAME, NUMBER, BIRTH = "Planted^Person", "PLANTED-0815", "19470203"
PERSON = {"PatientName": NAME, "PatientID": NUMBER, "PatientBirthDate": BIRTH, "AccessionNumber": "PLANTED-ACC"}
SECRETS = ("Planted", NUMBER, BIRTH, "PLANTED-ACC", "Dr^Secret", "Secret Hospital")
GREY = {0: 0, 1: 1000, 2: 400, 3: 1400}  # of labels: so that the models below can tell them apart
LEVELS = [2 * GREY[label] / GREY[3] - 1 for label in LABELS]
SIZE, SPACING, SLICES, PHASES = (80, 80), (1.5, 1.5), 8, 6
T1_MS = {0: 0, 1: 1600, 2: 640, 3: 2240}  # as bright to the models as the cine


def cine_labels(phases=PHASES, slices=SLICES):
    """Labels (t, z, y, x) of a heart that contracts until the middle phase, and its stack."""
    made = []
    for t in range(phases):
        contraction = np.sin(np.pi * t / phases)
        labels, stack, _ = ideal_heart(
            slices, affine_of(spacing_mm=SPACING, size=SIZE), SIZE, 24 - 8 * contraction, 9 + 3 * contraction, cap=False
        )
        made.append(labels)
    return np.stack(made), stack


def write_series(folder, labels, stack, grey, number, description, uids, **tags):
    """One DICOM file for each slice and phase."""
    series = generate_uid()
    for t in range(len(labels)):
        for z in range(len(stack)):
            affine = stack.affines[z]
            orientation = [*(affine[:3, 0] / SPACING[1]), *(affine[:3, 1] / SPACING[0])]
            write_slice(
                folder / f"{NAME}_{number}_{t}_{z}.dcm",
                np.vectorize(grey.get)(labels[t, z]).astype(np.uint16),
                **PERSON,
                ReferringPhysicianName="Dr^Secret",
                InstitutionName="Secret Hospital",
                StudyInstanceUID=uids[0],
                SeriesInstanceUID=series,
                FrameOfReferenceUID=uids[1],
                SOPInstanceUID=generate_uid(),
                SeriesNumber=number,
                SeriesDescription=description,
                InstanceNumber=t * len(stack) + z + 1,
                ImageOrientationPatient=[round(float(one), 9) for one in orientation],
                ImagePositionPatient=[round(float(one), 6) for one in affine[:3, 3]],
                PixelSpacing=list(SPACING),
                SliceThickness=8,
                **{key: value(t, z) if callable(value) else value for key, value in tags.items()},
            )


def write_study(root, phases=PHASES, maps=True):
    """A folder named after the patient: a short-axis cine and a native T1 map of three slices.

    Returns:
        The folder, and the labels and stack of the cine.
    """
    folder = Path(root) / "Planted_Person_0815"
    folder.mkdir(parents=True)
    uids = generate_uid(), generate_uid()
    labels, stack = cine_labels(phases)
    cine = {"TriggerTime": lambda t, z: 100.0 * t, "NominalInterval": 800, "ScanningSequence": "GR"}
    sized = {"PatientSize": 1.8, "PatientWeight": 80, "PatientSex": "M", "MagneticFieldStrength": 1.5}
    write_series(folder, labels, stack, GREY, 3, "cine_SAX", uids, **cine, **sized, SequenceVariant="SS")
    if maps:
        chosen = [1, 2, 3]
        still = type(stack).of_affines(stack.affines[chosen], 8.0)
        kind = {"ImageType": ["DERIVED", "PRIMARY", "T1", "T1 MAP"], "RescaleType": "MS", **sized}
        write_series(folder, labels[:1, chosen], still, T1_MS, 5, "MOLLI_native_SAX_T1_MAP", uids, **kind)
    return folder, labels, stack


class PaintedSegmenter(CMRForSemanticSegmentation):
    """Tells labels by brightness; its encoder runs all the same."""

    def forward(self, pixel_values, encoder_outputs=None, **kwargs):
        self.encode(pixel_values, encoder_outputs)
        level = torch.tensor(LEVELS)[None, :, None, None]
        return SemanticSegmenterOutput(logits=-80.0 * (pixel_values[:, :1] - level) ** 2)


class DecidedClassifier(CMRForImageClassification):
    """Says the first class of whatever it sees."""

    def forward(self, pixel_values=None, encoder_outputs=None, **kwargs):
        self.encode(pixel_values, encoder_outputs)
        logits = torch.zeros(len(pixel_values), self.config.num_labels)
        logits[:, 0] = 4.0
        return ImageClassifierOutput(logits=logits)


def loaded(name, model, encoder="one", processor=None):
    """A model as the registry gives it."""
    return LoadedModel(name, model.eval(), processor or tiny_processor(), f"digest of {name}", encoder)


def painted(name="cine-sax", encoder="one"):
    """The model that tells labels by brightness, on a random encoder."""
    torch.manual_seed(0)
    model = randomised(PaintedSegmenter(tiny_config(single_component_labels=[1, 2, 3])))
    return loaded(name, model, encoder, CMRImageProcessor(size=80, spacing_mm=1.5, percentile=100.0))


def decided(name, classes, encoder="one"):
    """The model that says the first of its classes."""
    torch.manual_seed(0)
    return loaded(name, randomised(DecidedClassifier(tiny_config(**names(classes)))), encoder)


class GivenModels(Models):
    """A registry of models that are at hand, and no other."""

    def __init__(self, *given):
        super().__init__(dict.fromkeys(ROLES), "cpu")
        self._off = set()
        self._loaded = {one.name: one for one in given}
        self._places = {one.name: one.name for one in given}
        self._digests = {one.name: one.digest for one in given}
