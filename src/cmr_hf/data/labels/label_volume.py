"""Masks on a grid of their own, and their way onto an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...hub.checking_cmr import ReadingError
from ...hub.image_cmr import CMRImage
from ..schema import LabelledStack
from .imported import ImportedLabels, masks_of, paint
from .names import LabelMap, structure_of
from .resampling import resample_labels, same_grid


@dataclass
class LabelVolume:
    """Areas of structures on one grid.

    Attributes:
        areas (`dict`): value of `LABELS` or `EPICARDIUM` -> bool `(t, z, y, x)`.
        affine (`np.ndarray` of shape `(4, 4)`): (column, row, slice) → LPS mm; `None` where the file has none.
        name: what reports and errors call the file.
        source: the kind of file, for `LabelledStack.source`.
        report (`list` of `str`): what was left out so far.
    """

    areas: dict[str, np.ndarray]
    affine: np.ndarray | None
    name: str
    source: str
    report: list[str] = field(default_factory=list)

    def apply_to(
        self, image: CMRImage, *, patient: str, licence: str = "unknown", phase_index: int | None = None
    ) -> ImportedLabels:
        """Puts the masks onto an image; on another grid through patient space.

        A mask over as many phases as the image goes phase by phase, and phases without any label count as not drawn.
        A mask of one phase on a cine needs `phase_index`. Within a phase every pixel without label is background.

        Args:
            image: what `read_image` gave.
            patient: a pseudonym, see `LabelledStack`.
            licence: the Hub's name of it.
            phase_index: phase of the image, from 0, that a mask of one phase belongs to.

        Raises:
            ReadingError: the phases do not fit, or the grids differ and one of them has no affine or they do not
                overlap.
        """
        pixels = image.pixels.reshape((1,) * (4 - image.pixels.ndim) + image.pixels.shape)
        shape = pixels.shape[1:]
        report = list(self.report)
        stacks = []
        areas = self._on(shape, image, report)
        for phase, own in self._phases(len(pixels), phase_index).items():
            masks = {name: area[own] for name, area in areas.items()}
            if not any(mask.any() for mask in masks.values()):
                continue
            drawings = [paint({n: mask[place] for n, mask in masks.items()}, shape[1:]) for place in range(shape[0])]
            ids, drawn = masks_of(drawings, shape[1:], empty_is_background=True)
            stacks.append(
                LabelledStack(
                    images=pixels[phase],
                    masks=ids,
                    drawn=drawn,
                    spacing_mm=image.spacing_mm,
                    slice_distance_mm=image.slice_distance_mm,
                    affine=image.affine,
                    patient=patient,
                    phase_index=phase,
                    source=self.source,
                    licence=licence,
                )
            )
        if not stacks:
            raise ReadingError(f"{self.name} has no label of this package's on the image: check it, or `label_map`")
        if len(stacks) < len(pixels):
            report.append(f"{self.name}: {len(pixels) - len(stacks)} of {len(pixels)} phases have no label, left out")
        return ImportedLabels(stacks, report)

    def _phases(self, count: int, phase_index: int | None) -> dict[int, int]:
        """Phase of the image -> phase of the masks."""
        own = len(next(iter(self.areas.values())))
        if phase_index is not None:
            if own != 1 or not 0 <= phase_index < count:
                raise ReadingError(
                    f"`phase_index` needs a mask of one phase and a phase from 0 to {count - 1}, got {own} and "
                    f"{phase_index}: correct it, or leave it out"
                )
            return {phase_index: 0}
        if own != count:
            raise ReadingError(
                f"{self.name} has {own} phases and the image {count}: pass phase_index= for a mask of one phase, else "
                "the image that it was drawn on"
            )
        return {phase: phase for phase in range(count)}

    def _on(self, shape: tuple[int, int, int], image: CMRImage, report: list[str]) -> dict[str, np.ndarray]:
        own = next(iter(self.areas.values())).shape[1:]
        known = self.affine is not None and image.affine is not None
        if own == shape and (not known or same_grid(self.affine, image.affine, shape)):
            if not known:
                report.append(
                    f"{self.name}: positions are unknown; taken for the image's grid, as the shapes are equal"
                )
            return self.areas
        if not known:
            raise ReadingError(
                f"{self.name} has {own} voxels (slices, rows, columns), the image {shape}, and not both say where they "
                "lie: save the mask on the image's grid, or with its geometry"
            )
        names = list(self.areas)
        moved = np.zeros((len(self.areas[names[0]]), *shape), np.uint16)
        for phase, labels in enumerate(moved):
            bits = np.zeros(own, np.uint16)  # one bit a structure, as areas may overlap
            for bit, name in enumerate(names):
                bits |= self.areas[name][phase].astype(np.uint16) << bit
            if bits.any():
                labels[:], sentence = resample_labels(bits, self.affine, shape, image.affine, self.name)
                report.append(sentence)
        return {name: (moved >> bit & 1).astype(bool) for bit, name in enumerate(names)}


def volume_of(
    labels: np.ndarray,
    affine: np.ndarray | None,
    names: Mapping[int, tuple[str, tuple[str, str]]],
    label_map: LabelMap | None,
    name: str,
    source: str,
) -> LabelVolume:
    """Numbers on a grid -> areas of structures.

    A number with a name that is none of this package's (an aorta, say) becomes background and is reported.

    Args:
        labels (`np.ndarray` of shape `(t, z, y, x)`): whole numbers, 0 for background.
        affine: see `LabelVolume`.
        names: number -> (name, code) as in the file, see `structure_of`.
        label_map: see `structure_of`.
        name, source: see `LabelVolume`.

    Raises:
        ReadingError: a number has neither a name nor an entry in `label_map`, or none has a place here.
    """
    labels = whole_numbers(labels, name)
    areas: dict[str, np.ndarray] = {}
    report = []
    given = {key for key in (label_map or {}) if not isinstance(key, str)}
    known = {number for number in {*names, *given} if number != 0}
    nameless = sorted(set(np.unique(labels).tolist()) - known - {0})
    if nameless:
        raise ReadingError(
            f"{name} has labels {nameless[:10]} that nothing names: pass its label description, or label_map="
            "{number: id of this package, or None for background}"
        )
    for number in sorted(known):
        structure = structure_of(number, *names.get(number, ("",)), label_map=label_map)
        if structure is None and number not in given:
            report.append(
                f"{name}: label {number} has a name that is not known and is left out; pass label_map={{{number}: id}}"
            )
        if structure in (None, "background"):
            continue
        area = labels == number
        areas[structure] = areas[structure] | area if structure in areas else area
    if not areas:
        raise ReadingError(f"{name} has no label that this package knows: pass label_map={{number: id}}")
    return LabelVolume(areas, affine, name, source, report)


def whole_numbers(labels: np.ndarray, name: str) -> np.ndarray:
    """Labels as integers; floats are fine when they are whole.

    Raises:
        ReadingError: they are not, or lie beyond 0 to 65535.
    """
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.round(labels)).all()):
        raise ReadingError(f"{name} needs whole numbers as labels, got fractions: save a label map, not probabilities")
    if labels.size and (labels.min() < 0 or labels.max() > 65535):
        raise ReadingError(f"{name} needs labels from 0 to 65535, got {labels.min()} to {labels.max()}: check the file")
    return labels.astype(np.uint16)
