"""The rooms of the house and who may import whom, read from the source with `ast`; nothing is imported.

The second half builds small trees that break each rule, so that the guards themselves are known to bite.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "cmr_hf"
MAX_LINES = 400

# Room -> the other rooms it may import. `weights` and `samples` are files that travel with the package.
MAY_IMPORT: dict[str, set[str]] = {
    "hub": set(),
    "weights": {"hub"},
    "samples": {"hub"},
    "registration": {"hub", "weights"},
    "studies": {"hub"},
    "clinical": {"hub"},
    "phantoms": {"hub"},
    "data": {"hub", "studies", "phantoms"},
    "pretraining": {"hub", "data"},
    "evaluation": {"hub", "data", "clinical"},
    "finetuning": {"hub", "data", "clinical", "evaluation"},
    "assessment": {"hub", "studies", "clinical", "weights"},
    "publishing": {"hub", "clinical"},
}
ROOT = "the package's __init__"
MAY_IMPORT[ROOT] = set(MAY_IMPORT)
ANYTHING = set(MAY_IMPORT)
MAY_IMPORT |= {"cli": ANYTHING, "__main__": ANYTHING | {"cli"}, "training": ANYTHING, "spaces": ANYTHING}

HUB_IMPORTS = {"numpy", "torch", "transformers"}
HUB_IMPORTS_IN_TRY = {"pydicom", "nibabel", "PIL"}
TRAINING_ONLY = {"torchvision", "timm", "segmentation_models_pytorch", "monai"}
TRAINING_ONLY_ROOMS = {"data", "finetuning"}
TRAIN_EXTRA_ROOMS = {"data", "pretraining", "finetuning"}  # `pip install cmr_hf[train]`
TRAIN_EXTRA_FOLDERS = {"evaluation/metrics"}
UNSAFE_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
IMPORT_NAMES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}  # distribution -> module


@dataclass(frozen=True)
class Import:
    """One imported name: `from a.b import c` is module "a.b", name "c"; `import a.b` has no name."""

    line: int
    module: str  # absolute, relative dots resolved
    name: str | None
    level: int  # number of leading dots
    in_try: bool
    at_import_time: bool  # runs when the file is imported, and must succeed

    @property
    def top(self) -> str:
        return self.module.split(".")[0]


def python_files(root: Path, *folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (root / folder).rglob("*.py"))


def source_files(root: Path) -> list[Path]:
    return python_files(root, "src", "training", "spaces")


def module_parts(root: Path, file: Path) -> tuple[str, ...]:
    relative = file.relative_to(root / "src") if file.is_relative_to(root / "src") else file.relative_to(root)
    return relative.with_suffix("").parts


def room_of(root: Path, file: Path) -> str:
    parts = module_parts(root, file)
    if parts[0] != PACKAGE:
        return parts[0]
    return ROOT if parts[1] == "__init__" else parts[1]


def imports_of(root: Path, file: Path) -> list[Import]:
    package = module_parts(root, file)[:-1]
    found: list[Import] = []

    def visit(node: ast.AST, in_try: bool, at_import_time: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(node.lineno, a.name, None, 0, in_try, at_import_time) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.extend(Import(node.lineno, module, a.name, node.level, in_try, at_import_time) for a in node.names)
        elif isinstance(node, ast.Call) and _called_name(node).split(".")[-1] in (
            "import_module",
            "__import__",
        ):
            target = node.args[0] if node.args else None
            if isinstance(target, ast.Constant) and isinstance(target.value, str) and target.value[:1] != ".":
                found.append(Import(node.lineno, target.value, None, 0, in_try, at_import_time))
        in_try = in_try or isinstance(node, ast.Try)
        lazy = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        for child in ast.iter_child_nodes(node):
            visit(child, in_try, at_import_time and not lazy)

    visit(ast.parse(file.read_text(encoding="utf-8"), filename=str(file)), in_try=False, at_import_time=True)
    return found


def _called_name(call: ast.Call) -> str:
    return ast.unparse(call.func) if isinstance(call.func, (ast.Name, ast.Attribute)) else ""


def target_room(root: Path, item: Import) -> str | None:
    """The room that an import reaches, or None for what is not ours."""
    parts = item.module.split(".")
    if parts[0] in ("training", "spaces"):
        return parts[0] if (root / parts[0]).is_dir() else None
    if parts[0] != PACKAGE:
        return None
    if len(parts) > 1:
        return parts[1]
    if item.name == "__version__":
        return None  # a fact about the package, not a room
    folder = root / "src" / PACKAGE / str(item.name)
    return item.name if item.name and (folder.is_dir() or folder.with_suffix(".py").is_file()) else ROOT


def forbidden_arrows(root: Path) -> Iterator[str]:
    for file in source_files(root):
        room = room_of(root, file)
        where = file.relative_to(root)
        if room not in MAY_IMPORT:
            yield f"{where}: room `{room}` is not in the plan; say in MAY_IMPORT what it may import"
            continue
        for item in imports_of(root, file):
            target = target_room(root, item)
            if target is not None and target != room and target not in MAY_IMPORT[room]:
                yield f"{where}:{item.line}: `{room}` may not import `{target}`"


def hub_faults(root: Path) -> Iterator[str]:
    """What would break when transformers copies the hub files, flat, beside the weights."""
    hub = root / "src" / PACKAGE / "hub"
    files = python_files(root, f"src/{PACKAGE}/hub")
    siblings = {file.stem for file in files}
    seen: set[str] = set()
    for file in files:
        where = file.relative_to(root)
        if file.parent != hub:
            yield f"{where}: hub files lie flat; sub-folders are not copied to the Hub"
        if file.stem.lower() in seen:
            yield f"{where}: two hub files called {file.stem}"
        seen.add(file.stem.lower())
        for item in imports_of(root, file):
            allowed = HUB_IMPORTS | sys.stdlib_module_names | (HUB_IMPORTS_IN_TRY if item.in_try else set())
            if item.level == 0 and item.top not in allowed:
                hint = " outside a try block" if item.top in HUB_IMPORTS_IN_TRY else ""
                yield f"{where}:{item.line}: hub may not import `{item.module}`{hint}"
            if item.level > 0 and item.module not in {f"{PACKAGE}.hub.{name}" for name in siblings}:
                yield f"{where}:{item.line}: write `from .sibling import Name`, not from `{item.module}`"
        # transformers looks for relative imports with this expression, docstrings included
        for name in re.findall(r"^\s*from\s+\.(\S+)\s+import", file.read_text(encoding="utf-8"), re.MULTILINE):
            if name not in siblings:
                yield f"{where}: transformers would look for a hub file called {name}.py"


def core_modules(root: Path) -> set[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.split(r"[^\w.-]", requirement)[0].lower() for requirement in project["dependencies"]]
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}


def may_need_train_extra(root: Path, file: Path) -> bool:
    parts = module_parts(root, file)[1:]
    return parts[0] in TRAIN_EXTRA_ROOMS or any("/".join(parts).startswith(f) for f in TRAIN_EXTRA_FOLDERS)


def heavy_imports(root: Path) -> Iterator[str]:
    """What `pip install cmr_hf` does not bring, or what belongs to training, imported at import time."""
    allowed = core_modules(root) | sys.stdlib_module_names | {PACKAGE}
    for file in python_files(root, "src"):
        room = room_of(root, file)
        for item in imports_of(root, file):
            where = f"{file.relative_to(root)}:{item.line}"
            if not item.at_import_time or item.level > 0:
                continue
            if item.top in TRAINING_ONLY:
                if room not in TRAINING_ONLY_ROOMS:
                    yield f"{where}: `{item.top}` is for training; `{room}` may not import it at import time"
            elif not may_need_train_extra(root, file) and not item.in_try and item.top not in allowed:
                yield f"{where}: `{item.top}` is not a core dependency; import it where it is used"


def unsafe_loading(root: Path) -> Iterator[str]:
    """Code that would run whatever a downloaded file says."""
    for file in source_files(root):
        imports = imports_of(root, file)
        text = file.read_text(encoding="utf-8")
        torch_names = {"torch"} | set(re.findall(r"^\s*import torch as (\w+)", text, re.MULTILINE))
        where = file.relative_to(root)
        for item in imports:
            if item.top in UNSAFE_MODULES:
                yield f"{where}:{item.line}: `{item.top}` runs code from files; use safetensors or JSON"
            if item.module == "torch" and item.name == "load":
                yield f"{where}:{item.line}: torch.load unpickles; use safetensors"
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            called = _called_name(node)
            if called in {f"{name}.load" for name in torch_names} or called.endswith(".read_pickle"):
                yield f"{where}:{node.lineno}: {called} unpickles; use safetensors or JSON"
            for keyword in node.keywords:
                refused = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg == "allow_pickle" and not refused:
                    yield f"{where}:{node.lineno}: allow_pickle may only be False"


def long_files(root: Path) -> Iterator[str]:
    for file in [*source_files(root), *python_files(root, "tests")]:
        lines = len(file.read_text(encoding="utf-8").splitlines())
        if lines > MAX_LINES:
            yield f"{file.relative_to(root)}: {lines} lines; past {MAX_LINES} it is two rooms"


GUARDS = [forbidden_arrows, hub_faults, heavy_imports, unsafe_loading, long_files]


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.__name__)
def test_the_house_keeps_its_rules(guard: Callable[[Path], Iterator[str]]):
    assert len(python_files(REPO_ROOT, "src")) > 3, "the guards look at an empty house"
    faults = list(guard(REPO_ROOT))
    assert not faults, "\n" + "\n".join(faults)


# ---- the guards themselves: a file (of src/cmr_hf unless it is a script), its source, and what the guard
# must say about it; None where it must be silent

BROKEN = [
    (forbidden_arrows, "clinical/a.py", "from cmr_hf.data import shards", "`clinical` may not import `data`"),
    (forbidden_arrows, "clinical/a.py", "from ..data.shards import X", "`clinical` may not import `data`"),
    (forbidden_arrows, "studies/a.py", "def f():\n    from .. import clinical", "may not import `clinical`"),
    (forbidden_arrows, "hub/a.py", "import cmr_hf.clinical", "`hub` may not import `clinical`"),
    (forbidden_arrows, "hub/a.py", "import cmr_hf", "`hub` may not import `the package's __init__`"),
    (forbidden_arrows, "data/a.py", "from cmr_hf import embedded", "`data` may not import `the package's"),
    (forbidden_arrows, "publishing/a.py", "import cmr_hf.cli", "`publishing` may not import `cli`"),
    (forbidden_arrows, "__init__.py", "from .cli import main", "may not import `cli`"),
    (forbidden_arrows, "pretraining/a.py", "import training.pretrain", "may not import `training`"),
    (forbidden_arrows, "cli/a.py", "from spaces.app import demo", "`cli` may not import `spaces`"),
    (forbidden_arrows, "studies/a.py", "import_module('cmr_hf.cli')", "`studies` may not import `cli`"),
    (forbidden_arrows, "attic/a.py", "", "room `attic` is not in the plan"),
    (forbidden_arrows, "data/a.py", "from ..studies import x\nfrom cmr_hf.hub import y", None),
    (forbidden_arrows, "publishing/a.py", "from .. import __version__", None),
    (forbidden_arrows, "training/finetune.py", "import cmr_hf\nfrom cmr_hf.finetuning import Trainer", None),
    (hub_faults, "hub/a.py", "import scipy", "hub may not import `scipy`"),
    (hub_faults, "hub/a.py", "def f():\n    import pydicom", "`pydicom` outside a try block"),
    (hub_faults, "hub/a.py", "try:\n    import highdicom\nexcept ImportError: ...", "import `highdicom`"),
    (hub_faults, "hub/a.py", "from cmr_hf.hub.b import X", "hub may not import `cmr_hf.hub.b`"),
    (hub_faults, "hub/a.py", "from . import b", "from .sibling import Name"),
    (hub_faults, "hub/a.py", "from ..clinical import b", "from .sibling import Name"),
    (hub_faults, "hub/a.py", "from .absent import X", "look for a hub file called absent.py"),
    (hub_faults, "hub/a.py", '"""Say\n    from .wonder import X\n"""', "called wonder.py"),
    (hub_faults, "hub/parts/a.py", "import numpy", "hub files lie flat"),
    (hub_faults, "hub/a.py", "import os, torch.nn\ntry:\n    import PIL\nexcept ImportError: ...", None),
    (hub_faults, "hub/a.py", "from .b import X\nfrom transformers import ViTModel", None),
    (heavy_imports, "pretraining/a.py", "import timm", "`timm` is for training"),
    (heavy_imports, "clinical/a.py", "try:\n    import monai\nexcept ImportError: ...", "`monai` is for"),
    (heavy_imports, "clinical/a.py", "from highdicom import seg", "`highdicom` is not a core dependency"),
    (heavy_imports, "clinical/a.py", "import PIL\ndef f():\n    import highdicom", None),
    (heavy_imports, "evaluation/a.py", "import scipy", "`scipy` is not a core dependency"),
    (heavy_imports, "evaluation/metrics/dice/dice.py", "import evaluate, datasets", None),
    (heavy_imports, "data/a.py", "import monai, datasets", None),
    (unsafe_loading, "training/a.py", "import torch\ntorch.load('x')", "torch.load unpickles"),
    (unsafe_loading, "training/a.py", "import torch as t\nt.load(x, weights_only=True)", "t.load unpickles"),
    (unsafe_loading, "training/a.py", "from torch import load", "torch.load unpickles"),
    (unsafe_loading, "spaces/a.py", "import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle"),
    (unsafe_loading, "data/a.py", "def f():\n    import pickle", "`pickle` runs code"),
    (unsafe_loading, "data/a.py", "import numpy as np\nnp.load('x', allow_pickle=False)", None),
    (long_files, "data/a.py", "x = 1\n" * (MAX_LINES + 1), "401 lines"),
    (long_files, "data/a.py", "x = 1\n" * MAX_LINES, None),
]  # fmt: skip


@pytest.mark.parametrize(("guard", "file", "source", "says"), BROKEN)
def test_when_a_rule_is_broken_then_its_guard_says_so(
    tmp_path: Path, guard: Callable[[Path], Iterator[str]], file: str, source: str, says: str | None
):
    tree = {"hub/b.py": "import torch\n", "cli/__init__.py": "", "clinical/__init__.py": ""}
    tree |= {"spaces/app.py": "", "training/prepare.py": "", file: source}
    tree = {n if n.startswith(("training/", "spaces/")) else f"src/{PACKAGE}/{n}": t for n, t in tree.items()}
    tree["pyproject.toml"] = '[project]\ndependencies = ["torch>=2.6", "pillow"]\n'
    for name, text in tree.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    faults = list(guard(tmp_path))
    if says is None:
        assert not faults
    else:
        assert len(faults) >= 1
        assert any(says in fault for fault in faults), faults
