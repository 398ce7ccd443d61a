"""What the commands share: the model, the way through several images, names of files, and words for problems."""

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

DEFAULT_MODEL = "cine-sax"
SUFFIXES = (".nii.gz", ".nii", ".dcm", ".png", ".jpg", ".jpeg", ".ima", ".zip")
Result = TypeVar("Result")
Failures = list[tuple[str, Exception]]


class WrongUsageError(ValueError):
    """What was asked for cannot be done, whatever the images are: exit code 2."""


def load_pipeline(task: str, args: argparse.Namespace) -> Any:
    """The pipeline of a task with the model that `--model` names, or the task's own.

    Raises:
        WrongUsageError: there are no weights for the task, or the model cannot do it.
        OSError: no such model.
    """
    from transformers import pipeline
    from transformers.utils import logging

    from ..registration import DEFAULTS
    from ..weights import embedded, known_names

    logging.disable_progress_bar()
    model = args.model or DEFAULTS.get(task)
    if model in (*DEFAULTS.values(), *known_names()):
        model = str(embedded(model))
    try:
        return pipeline(task, model=model, device=args.device)
    except ValueError as error:
        # transformers appends the tracebacks of all that it tried
        raise WrongUsageError(str(error).partition(" See the original errors")[0]) from error
    except OSError as error:
        if Path(str(model)).is_dir() or str(model).count("/") != 1:
            raise
        raise OSError(f"{model} is not here and could not be fetched: `cmr-hf download {model}` says why") from error


def model_name(args: argparse.Namespace, task: str) -> str:
    """The model as a result names it: of a folder the last part, as its path may say more than it should."""
    from ..registration import DEFAULTS

    model = args.model or DEFAULTS.get(task, "")
    return Path(model).resolve().name if Path(model).is_dir() else model


def read(path: str, args: argparse.Namespace) -> Any:
    """The image of a path, with `--spacing` instead of its own."""
    from ..hub.reading_cmr import read_image

    return read_image(path, spacing_mm=tuple(args.spacing_mm) if args.spacing_mm else None)


def attempts(
    args: argparse.Namespace, names: Sequence[str], work: Callable[[str, str], Result], failed: Failures
) -> Iterator[Result]:
    """What `work(path, name)` gives for each path; where it fails, the path and the error go to `failed`."""
    from tqdm import tqdm

    progress = tqdm(list(zip(args.paths, names, strict=True)), unit="image", disable=None, leave=False)
    for path, name in progress:
        progress.set_postfix_str(name)
        try:
            result = work(path, name)
        # whatever is wrong with one input, the others are still to be done
        except Exception as error:
            if args.debug:
                raise
            failed.append((path, error))
            continue
        yield result


def exit_code(failed: Failures) -> int:
    """Tell what failed; 1 if any of the paths gave no result."""
    for path, error in failed:
        print(f"error: {shown(path)}: {one_line(error)}", file=sys.stderr)
    return 1 if failed else 0


def shown(path: str) -> str:
    """A path as output may name it: an address without its user, password and query."""
    from ..hub.fetching_cmr import is_url, shown_url

    return shown_url(path) if is_url(path) else path


def check_writable(path: Path) -> None:
    """Find out before the long work that a file cannot be written.

    Raises:
        OSError: the folder cannot be made or written to, or `path` is a folder itself.
    """
    from ..clinical.writers import whole_file

    if path.is_dir():
        raise IsADirectoryError(f"`--out` needs the name of a file, {path} is a folder: add a name to it")
    try:
        with whole_file(path) as part:
            part.touch()
            part.unlink()
    except OSError as error:
        raise OSError(
            f"`--out` needs a place that can be written to, got {path} ({error.strerror}): choose another folder"
        ) from None


def file_names(paths: Sequence[str]) -> list[str]:
    """The names the user gave, without the folders above them as far as these are not needed to tell files apart."""
    whole = [Path(shown(path)) for path in paths]
    parts = [path.resolve().parts if path.name in ("", "..") else path.parts for path in whole]
    names: list[str] = []
    for length in range(1, max(map(len, parts)) + 1):
        names = [str(Path(*part[-length:])) for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names


def stems(paths: Sequence[str]) -> list[str]:
    """Names of output files from the names the user gave: safe characters only, each one once."""
    found: list[str] = []
    for path in map(Path, map(shown, paths)):
        name = path.resolve().name if path.name in ("", ".", "..") else path.name
        suffix = next((s for s in SUFFIXES if name.lower().endswith(s)), "")
        base = re.sub(r"[^A-Za-z0-9._-]+", "_", name[: len(name) - len(suffix)]).strip("._-") or "image"
        stem, number = base, 2
        while stem in found:
            stem, number = f"{base}_{number}", number + 1
        found.append(stem)
    return found


def print_left_out(name: str, counts: Sequence[dict]) -> None:
    """A note for each reason why files of a folder were not used, from `left_out_counts`."""
    for entry in counts:
        print(f"{name}: note: {entry['files']} left out: {entry['reason']}")


def print_notice() -> None:
    from ..clinical.writers import RESEARCH_USE_ONLY

    print(RESEARCH_USE_ONLY)


def one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or "no message"
    return text if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {text}"
