"""What may leave: the files of an export and nothing else, and nothing in them that says whose machine this is."""

import getpass
import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from .export import HUB

# Allowed by name; all else is refused, whatever it is.
NAMES = (
    r"README\.md",
    r"config\.json",
    r"preprocessor_config\.json",
    r"results\.json",
    r"classifier\.json",
    r"model(-\d{5}-of-\d{5})?\.safetensors",
    r"model\.safetensors\.index\.json",
    r"(LICENSE|LICENCE|ATTRIBUTION|NOTICE)[\w.-]*",
    r"\w+_cmr\.py",
    r"pipeline_cmr_\w+\.py",
)
ALLOWED = re.compile("|".join(f"(?:{name})" for name in NAMES))

# Why it is refused, for a clearer word than "not part of an export"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".npz", ".npy", ".msgpack")
IMAGES = (".dcm", ".ima", ".nii", ".gz", ".nrrd", ".mha", ".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".zip")

# Folders under which a machine keeps its users' files; a URL or a relative path has a letter or a dot before the slash
PATHS = re.compile(
    r"(?<![\w.:/~-])/(?:home|Users|root|work|workspace|mnt|media|data|scratch|tmp|var|opt|srv|private)/[\w.@+-]+"
    r"|(?<![\w])[A-Za-z]:\\{1,2}[\w.@+-]+|file://\S+|(?<![\w.])~/[\w.-]+"
)
SECRET = re.compile(r"\bhf_[A-Za-z0-9]{20,}\b")
EMBEDDED_IMAGE = re.compile(r"data:image/\w+;base64")
# Accounts that are nobody in particular, and words of any text
NOBODY = {"root", "user", "users", "admin", "ubuntu", "debian", "runner", "jovyan", "docker", "app", "test", "model"}
LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit


def check_folder(folder: Path) -> None:
    """Refuses a folder that holds anything else than a clean export.

    Raises:
        ValueError: names every fault: a file that is no part of an export (pickles, pictures, archives), code that is
            not this package's, weights that are no safetensors, JSON that is none, an absolute path, the name of the
            user, a token, a picture inside a text.
    """
    faults = list(faults_of(folder))
    if faults:
        shown = "; ".join(faults[:10]) + (f"; and {len(faults) - 10} more" if len(faults) > 10 else "")
        raise ValueError(f"{folder.name} must not be published: {shown}. Remove or mend these, then publish again")


def faults_of(folder: Path) -> Iterator[str]:
    """Every reason why a folder must not be published, in words."""
    if not any(folder.iterdir()):
        yield "the folder is empty"
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            yield f"{name} is a link"
        elif path.is_dir():
            yield f"{name} is a folder, an export has none"
        elif not ALLOWED.fullmatch(name):
            yield f"{name} {_why_not(name)}"
        elif name.endswith(".safetensors"):
            yield from _weights(path)
        else:
            yield from _text(path)


def _why_not(name: str) -> str:
    if name.lower().endswith(PICKLES):
        return "may run code when it is loaded (weights must be safetensors)"
    if name.lower().endswith(IMAGES):
        return "may be or hold a patient's picture"
    return "is not part of an export"


def _weights(path: Path) -> Iterator[str]:
    """The header of safetensors: well-formed, as long as the file says, without a path in its free text."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        try:
            header = json.loads(file.read(length)) if 0 < length <= LONGEST_HEADER else None
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            yield f"{path.name} is no safetensors file"
            return
    if 8 + length + max(ends, default=0) != path.stat().st_size:
        yield f"{path.name} is cut short or has something behind its weights"
    yield from _traces(path.name, json.dumps(header.get("__metadata__", {})))


def _text(path: Path) -> Iterator[str]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        yield f"{path.name} is not text"
        return
    if path.suffix == ".py":
        # the package's own code may speak of paths; what counts is that it is that code
        own = HUB / path.name
        if not own.is_file() or own.read_bytes() != content:
            yield f"{path.name} is not the code of this package"
        return
    if path.suffix == ".json":
        try:
            json.loads(text)
        except ValueError:
            yield f"{path.name} is not JSON"
    yield from _traces(path.name, text)


def _traces(name: str, text: str) -> Iterator[str]:
    """Who and where: paths, users, tokens, pictures in a text."""
    if found := PATHS.search(text):
        yield f"{name} names a path of a machine, {found.group()}"
    for user in _users():
        if re.search(rf"(?<![\w-]){re.escape(user)}(?![\w-])", text):
            yield f"{name} names the user {user}"
    if SECRET.search(text):
        yield f"{name} holds a token of the Hub"
    if EMBEDDED_IMAGE.search(text):
        yield f"{name} holds a picture"


def _users() -> set[str]:
    names = {Path.home().name}
    try:
        names.add(getpass.getuser())
    except (OSError, KeyError, ImportError):  # no such account, in a container say
        pass
    return {name for name in names if len(name) > 2 and name.lower() not in NOBODY}
