"""Which files of the hub room an export must hold, found by another way than transformers finds them."""

import ast
from pathlib import Path

import cmr_hf

HUB = Path(cmr_hf.__file__).parent / "hub"


def closure(*modules: str) -> set[str]:
    """Files of the hub room that these modules need, followed import by import."""
    found, waiting = set(), list(modules)
    while waiting:
        name = waiting.pop()
        if f"{name}.py" not in found:
            found.add(f"{name}.py")
            tree = ast.parse((HUB / f"{name}.py").read_text(encoding="utf-8"))
            waiting += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    return found
