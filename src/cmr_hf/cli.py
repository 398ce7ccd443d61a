"""`cmr-hf segment | info | demo`: the command line. Results go to stdout, progress and problems to stderr."""

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clinical import CineMeasures

# transformers, torch and matplotlib are imported inside the commands, so that --help answers at once
DEFAULT_MODEL = "cine-sax"
SUFFIXES = (".nii.gz", ".nii", ".dcm", ".png", ".jpg", ".jpeg", ".npy", ".ima")


@dataclass(frozen=True)
class Segmented:
    """One input that went through: its measures and the files that were written."""

    stem: str
    measures: "CineMeasures"
    files: list[Path]
    left_out: list[dict]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 all done, 1 something failed, 2 wrong usage."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if args.debug:
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return 1


def segment(args: argparse.Namespace) -> int:
    """`cmr-hf segment`: every path becomes a mask, an overlay, a JSON and a line of the table."""
    from tqdm import tqdm

    pipe = _pipeline(args)
    stems = _stems(args.paths)
    failed: list[tuple[str, Exception]] = []
    done: list[Segmented] = []
    progress = tqdm(list(zip(args.paths, stems, strict=True)), unit="image", disable=None, leave=False)
    for path, stem in progress:
        progress.set_postfix_str(stem)
        try:
            done.append(_segment_one(pipe, path, args.out, stem, args))
        # whatever is wrong with one input, the others are still to be done
        except Exception as error:
            if args.debug:
                raise
            failed.append((path, error))
    if done:
        print(_summary_table(done))
        for entry in done:
            _print_remarks(entry, prefix=f"{entry.stem}: " if len(done) > 1 else "")
        print(f"\n{sum(len(entry.files) for entry in done)} files in {args.out}")
        _print_notice()
    for path, error in failed:
        print(f"error: {path}: {_one_line(error)}", file=sys.stderr)
    return 1 if failed else 0


def demo(args: argparse.Namespace) -> int:
    """`cmr-hf demo`: the real short-axis stack that ships with the package, from DICOM to EF."""
    from .samples import SAMPLES, sample

    started = time.perf_counter()
    print(f"Sample: {SAMPLES['sax_cine']}")
    pipe = _pipeline(args)
    entry = _segment_one(pipe, str(sample("sax_cine")), args.out, "sax_cine", args)
    print(_slice_table(entry.measures))
    print()
    print(_summary_table([entry]))
    _print_remarks(entry)
    print()
    for file in entry.files:
        print(f"wrote {file}")
    print(f"in {time.perf_counter() - started:.1f} s")
    _print_notice()
    return 0


def info(args: argparse.Namespace) -> int:
    """`cmr-hf info`: versions, device, embedded models with licence and measured Dice, samples."""
    import torch
    import transformers

    from . import __version__
    from .samples import SAMPLES
    from .weights import embedded, embedded_names

    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"cmr_hf        {__version__}")
    print(f"transformers  {transformers.__version__}")
    print(f"torch         {torch.__version__}")
    print(f"device        {device}")
    models = [embedded(name) for name in embedded_names()]
    print("\nEmbedded models" + ("" if models else ": none"))
    for folder in models:
        print(f"  {folder.name:<12} {_licence(folder)}")
        for line in _dice_lines(folder / "results.json"):
            print(f"  {'':<12} {line}")
    print("\nSamples")
    for name, what in SAMPLES.items():
        print(f"  {name:<12} {what}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cmr-hf", description="Reads cardiac MR. Research use only.")
    commands = parser.add_subparsers(required=True, metavar="command")
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    model.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="M",
        help=f"embedded model, folder or Hub id (default {DEFAULT_MODEL})",
    )
    model.add_argument("--batch-size", type=_positive_int, default=8, metavar="N", help="slices at once (default 8)")
    model.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, mps (default: transformers' choice)")
    model.add_argument("--full-field", action="store_true", help="overlay shows the whole field of view")

    one = commands.add_parser("segment", parents=[model], help="masks, overlays, measures of your images")
    one.add_argument("paths", nargs="+", metavar="PATH", help="DICOM file or folder of one stack, NIfTI, PNG, JPEG")
    one.add_argument("--spacing-mm", nargs=2, type=float, metavar=("R", "C"), help="distance of rows and columns")
    one.set_defaults(run=segment)
    shown = commands.add_parser("demo", parents=[model], help="the same on a real stack that ships with the package")
    shown.set_defaults(run=demo, spacing_mm=None)
    about = commands.add_parser("info", help="versions, embedded models and samples")
    about.set_defaults(run=info)
    for command in (one, shown, about):
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"needs a whole number of at least 1, got {text}")
    return value


def _pipeline(args: argparse.Namespace) -> Any:
    from transformers import pipeline
    from transformers.utils import logging

    from .weights import embedded, embedded_names

    logging.disable_progress_bar()
    inside = args.model == DEFAULT_MODEL or args.model in embedded_names()
    model = str(embedded(args.model)) if inside else args.model
    return pipeline("cmr-segmentation", model=model, device=args.device)


def _segment_one(pipe: Any, path: str, out: Path, stem: str, args: argparse.Namespace) -> Segmented:
    from . import __version__
    from .clinical import measure
    from .clinical.figures import overlay_figure
    from .clinical.writers import write_mask, write_measures_json
    from .hub.reading_cmr import read_image

    spacing_mm = tuple(args.spacing_mm) if args.spacing_mm else None
    image = read_image(path, spacing_mm=spacing_mm)
    result = pipe(image, batch_size=args.batch_size)
    labels = result["segmentation"]
    measures = measure(labels, image.spacing_mm, image.slice_distance_mm, result["labels"])
    files = [
        overlay_figure(
            image.pixels,
            labels,
            image.spacing_mm,
            out / f"{stem}_overlay.png",
            names=result["labels"],
            phases={"ED": measures.ed_phase, "ES": measures.es_phase} if measures.phases > 1 else None,
            slice_distance_mm=image.slice_distance_mm,
            title=stem,
            facts=_facts(measures),
            full_field=args.full_field,
        ),
        write_mask(result, image, out / stem),
        write_measures_json(
            measures,
            result,
            out / f"{stem}_measures.json",
            source=stem,
            # a folder's own path may say more than it should
            model=Path(args.model).name if Path(args.model).is_dir() else args.model,
            cmr_hf_version=__version__,
        ),
    ]
    return Segmented(stem, measures, files, image.left_out)


def _stems(paths: Sequence[str]) -> list[str]:
    """Names of output files from the names the user gave: safe characters only, each one once."""
    stems: list[str] = []
    for path in paths:
        name = Path(path).resolve().name if Path(path).name in ("", ".", "..") else Path(path).name
        suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), "")
        base = re.sub(r"[^A-Za-z0-9._-]+", "_", name[: len(name) - len(suffix)]).strip("._-") or "image"
        stem, number = base, 2
        while stem in stems:
            stem, number = f"{base}_{number}", number + 1
        stems.append(stem)
    return stems


def _facts(measures: "CineMeasures") -> str:
    parts = [
        ("EDV", measures.lv_edv_ml, "ml"),
        ("ESV", measures.lv_esv_ml, "ml"),
        ("EF", measures.lv_ef_percent, "%"),
    ]
    return "   ".join(f"{name} {value:.0f} {unit}" for name, value, unit in parts if value is not None)


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _summary_table(entries: Sequence[Segmented]) -> str:
    """One line per image: function of both ventricles."""
    wide = max(10, *(len(entry.stem) for entry in entries))
    units = ("ml", "ml", "%", "g", "ml", "ml", "%")
    titles = ("LV EDV", "ESV", "EF", "mass", "RV EDV", "ESV", "EF")
    lines = [
        f"{'':<{wide}}  slices  phases" + "".join(f"{title:>8}" for title in titles),
        f"{'':<{wide}}                " + "".join(f"{unit:>8}" for unit in units),
    ]
    for entry in entries:
        m = entry.measures
        values = (
            m.lv_edv_ml,
            m.lv_esv_ml,
            m.lv_ef_percent,
            m.lv_mass_g,
            m.rv_edv_ml,
            m.rv_esv_ml,
            m.rv_ef_percent,
        )
        numbers = "".join(f"{_number(v):>8}" for v in values)
        lines.append(f"{entry.stem:<{wide}}  {m.slices:>6}  {m.phases:>6}{numbers}")
    return "\n".join(lines)


def _slice_table(measures: "CineMeasures") -> str:
    """Areas in cm2 of each slice at ED and ES, and the volumes under them."""
    phases = [(n, t) for n, t in (("ED", measures.ed_phase), ("ES", measures.es_phase)) if t is not None]
    if measures.areas_mm2 is None or not phases:
        return "no areas: " + measures.refusals.get("areas_mm2", "no LV cavity found")
    names = list(measures.areas_mm2)
    heads = [f"{name} {kind}" for name in names for kind, _ in phases]
    wide = max(len(head) for head in heads) + 2
    lines = ["\narea, cm2   " + "".join(f"{head:>{wide}}" for head in heads)]
    for z in range(measures.slices):
        areas = [measures.areas_mm2[name][t, z] / 100.0 for name in names for _, t in phases]
        cells = "".join(f"{(_number(a, 1) if a else '–'):>{wide}}" for a in areas)
        lines.append(f"slice {z + 1:<6}{cells}")
    volumes = [measures.volumes_ml[name][t] for name in names for _, t in phases]
    lines.append("volume, ml  " + "".join(f"{_number(v, 1):>{wide}}" for v in volumes))
    where = ", ".join(f"{kind} is phase {t + 1}" for kind, t in phases)
    return "\n".join([*lines, f"{where} of {measures.phases}"])


def _print_remarks(entry: Segmented, prefix: str = "") -> None:
    """Reasons for missing numbers (one line per reason), notes, and how many files were left out."""
    reasons: dict[str, list[str]] = {}
    for name, reason in entry.measures.refusals.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        # EDV, ESV, SV and EF of a ventricle are missing together
        sides = [side.upper() for side in ("lv", "rv") if f"{side}_edv_ml" in names]
        whole = [f"{' and '.join(sides)} volumes and EF"] if sides else []
        others = {"lv_ef_percent": "LV EF", "rv_ef_percent": "RV EF", "lv_mass_g": "LV mass", "areas_mm2": "areas"}
        rest = [text for name, text in others.items() if name in names and not (sides and "ef" in name)]
        print(f"{prefix}no {', '.join(whole + rest)}: {reason}")
    for note in entry.measures.notes:
        print(f"{prefix}note: {note}")
    if entry.left_out:
        print(f"{prefix}note: {len(entry.left_out)} files were left out; reasons are in the JSON")


def _print_notice() -> None:
    from .clinical.writers import RESEARCH_USE_ONLY

    print(RESEARCH_USE_ONLY)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {text}"


def _licence(folder: Path) -> str:
    """First line with words in the model's licence file."""
    for file in sorted(folder.glob("LICEN[SC]E*")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.strip(" #=-*"):
                return line.strip(" #=-*")
    return "no licence file"


def _dice_lines(file: Path) -> list[str]:
    """Every entry of a results file whose name contains "dice", as `where: class value, …`."""
    if not file.is_file():
        return ["Dice not measured"]

    def walk(value: Any, where: tuple[str, ...]) -> list[str]:
        if not isinstance(value, dict):
            number = isinstance(value, (int, float)) and any("dice" in part.lower() for part in where)
            return [f"{' '.join(where)}: {value:.3f}"] if number else []
        if value and all(isinstance(v, (int, float)) for v in value.values()):
            named = any("dice" in part.lower() for part in where)
            scores = ", ".join(f"{name} {score:.3f}" for name, score in value.items())
            return [f"{' '.join(where)}: {scores}"] if named else []
        return [line for name, inner in value.items() for line in walk(inner, (*where, str(name)))]

    try:
        return walk(json.loads(file.read_text()), ()) or ["Dice not measured"]
    except json.JSONDecodeError:
        return [f"{file.name} is not readable"]


if __name__ == "__main__":
    sys.exit(main())
