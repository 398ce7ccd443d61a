"""Writes all files of an assessment; one that fails is named in the results and stops none of the others."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ...clinical.bullseye import bullseye_figure
from ...clinical.curve_figure import volume_curve_figure
from ...clinical.figures import overlay_figure
from ...clinical.writers import whole_file, write_json, write_nifti_mask
from ...hub.image_cmr import CMRImage
from ..privacy import Private
from .dicom_seg import write_dicom_seg
from .pictures import contact_sheet, movie
from .report import write_report

if TYPE_CHECKING:
    from ..results import StackAssessment, StudyAssessment

WRITTEN = "written.json"  # hashes of the masks as they were written, so that corrected ones are not overwritten
# figure per segment -> title, decimals, limits of the colours
BULLSEYES = {
    "wall_thickness_ed": ("Wall thickness at ED", 1, (0.0, 16.0)),
    "wall_thickening": ("Wall thickening", 0, (0.0, 100.0)),
    "t1_native": ("Native T1", 0, None),
    "t1_post": ("T1 after contrast", 0, None),
    "t2": ("T2", 0, None),
    "ecv": ("Extracellular volume", 0, (15.0, 60.0)),
    "lge_5sd_extent": ("Late enhancement, 5 SD", 0, (0.0, 100.0)),
    "lge_fwhm_extent": ("Late enhancement, FWHM", 0, (0.0, 100.0)),
}
FACTS = (("lv_edv", "EDV", 0), ("lv_esv", "ESV", 0), ("lv_ef", "EF", 0))
DPI = 110


def write_all(made: "StudyAssessment", out: Path, private: Private, seg_phases: str, progress: bool) -> None:
    """Writes everything below a folder.

    Args:
        made (`StudyAssessment`): gets the paths of what was written.
        out (`Path`): made where it is missing.
        private (`Private`): takes names out of errors.
        seg_phases (`str`): "ed-es", "all" or "none".
        progress (`bool`): a bar on stderr.
    """
    made.out = out
    out.mkdir(parents=True, exist_ok=True)
    with tqdm(
        total=3 * len(made.stacks) + 2, desc="writing", unit="file", leave=False, disable=None if progress else True
    ) as bar:
        for stack in made.stacks:
            for write in (_masks, _pictures, lambda one, *rest: _segs(one, *rest, seg_phases)):
                _attempt(stack, private, lambda one=stack, write=write: write(one, made, out))
                bar.update()
        _attempt(None, private, lambda: _sheets(made, out), made)
        bar.update()
        write_json(made.to_dict(), out / "assessment.json")
        made.files |= {"assessment": "assessment.json", "report": "report.html"}
        write_report(made, out / "report.html")
        write_json(made.to_dict(), out / "assessment.json")
        bar.update()


def _attempt(
    stack: "StackAssessment | None", private: Private, write: Callable[[], None], made: "StudyAssessment | None" = None
) -> None:
    try:
        write()
    except Exception as error:  # a picture that fails must not take the figures with it
        place = made if stack is None else stack
        place.not_measured.append(f"not written: {private.error(error)}")


def _masks(stack: "StackAssessment", made: "StudyAssessment", out: Path) -> None:
    if stack.labels is None:
        return
    path = out / "masks" / f"{stack.name}_mask.nii.gz"
    book = out / "cache" / WRITTEN
    known = json.loads(book.read_text(encoding="utf-8")) if book.is_file() else {}
    if path.is_file() and stack.masks_from == "model" and _hash(path) != known.get(path.name):
        stack.notes.append(f"masks/{path.name} was changed by hand and is kept; give --masks to measure it")
        path = path.with_name(path.name.replace("_mask.", "_model."))
    source = stack.source
    times = source.times_ms
    image = CMRImage(
        np.empty(source.shape, dtype=bool),
        source.stack.spacing_mm,
        source.stack.distance_mm,
        source.affine,
        stack.name,
        "dicom",
        trigger_times_ms=times,
    )
    write_nifti_mask({"segmentation": stack.labels}, image, path)
    with whole_file(book) as part:
        part.write_text(json.dumps(known | {path.name: _hash(path)}), encoding="utf-8")
    stack.files["mask"] = f"masks/{path.name}"
    if not source.regular:
        stack.notes.append("the slices are not equally spaced: the mask's file spreads them evenly, see positions")


def _hash(path: Path) -> str:
    """Of the labels, not of the file: compression writes the time."""
    import nibabel

    return hashlib.sha256(np.ascontiguousarray(nibabel.load(path).dataobj, dtype=np.uint8).tobytes()).hexdigest()


def _segs(stack: "StackAssessment", made: "StudyAssessment", out: Path, which: str) -> None:
    if stack.labels is None or which == "none":
        return
    phases = range(len(stack.labels))
    if which == "ed-es":
        found = [phase for phase in (stack.measured.ed, stack.measured.es) if phase is not None]
        phases = found or [0]
    for number, phase in enumerate(phases, 1):
        if stack.labels[phase].any():
            path = out / "dicom_seg" / f"{stack.name}_phase{phase + 1:02d}.dcm"
            write_dicom_seg(stack, phase, path, number)
            stack.files[f"seg_phase_{phase + 1}"] = f"dicom_seg/{path.name}"


def _pictures(stack: "StackAssessment", made: "StudyAssessment", out: Path) -> None:
    if stack.labels is None:
        return
    folder, measured = out / "pictures", stack.measured
    figures = measured.measures
    facts = "   ".join(
        f"{shown} {figures[name].value:.{digits}f} {figures[name].unit}"
        for name, shown, digits in FACTS
        if figures.get(name)
    )
    phases = {"ED": measured.ed, "ES": measured.es} if measured.ed is not None else {"": 0}
    path = folder / f"{stack.name}_overlay.png"
    overlay_figure(
        made.pixels.of(stack.source),
        stack.labels,
        stack.source.stack.spacing_mm,
        path,
        phases=phases,
        slice_distance_mm=stack.source.stack.distance_mm,
        title=stack.headline,
        facts=facts,
        dpi=DPI,
    )
    stack.files["overlay"] = f"pictures/{path.name}"
    if stack.source.shape[0] > 1 and stack.recognition.image_type.value == "cine":
        path = movie(stack, made.pixels, folder / f"{stack.name}.gif")
        stack.files["movie"] = f"pictures/{path.name}"
    if measured.function is not None and measured.function.curves and measured.ed is not None:
        path = folder / f"{stack.name}_volumes.png"
        volume_curve_figure(
            measured.function.curves,
            measured.function.phases,
            path,
            times_ms=stack.source.times_ms,
            title="Volume over time",
            facts=stack.title,
            dpi=DPI,
        )
        stack.files["volumes"] = f"pictures/{path.name}"


def _sheets(made: "StudyAssessment", out: Path) -> None:
    folder = out / "pictures"
    made.files["contact_sheet"] = f"pictures/{contact_sheet(made, folder / 'contact_sheet.png').name}"
    for key, (title, decimals, limits) in BULLSEYES.items():
        values = {number: one for number, one in made.segmental.get(key, {}).items() if isinstance(number, int)}
        if any(values.values()):
            path = folder / f"bullseye_{key}.png"
            bullseye_figure(values, path, title=title, limits=limits, decimals=decimals, dpi=DPI)
            made.files[f"bullseye_{key}"] = f"pictures/{path.name}"
