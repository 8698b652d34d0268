"""Python code in a file or a notebook, read without running it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from stablemax.text.errors import StablemaxError, shown

ENDINGS = (".py", ".ipynb")
"""Endings of files that hold Python code."""


def defined_names(path: Path) -> list[str]:
    """Return the functions and classes that a file defines, in their order; raise where it is no Python code."""
    text = "\n".join(cells_of(path)) if path.suffix == ".ipynb" else path.read_text(encoding="utf-8")
    return [node.name for node in ast.parse(text).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]


def cells_of(path: Path) -> list[str]:
    """Return the Python code of a notebook's cells; of another kernel's magic lines only that they were there."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        cells = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
        sources = ["".join(cell["source"]) for cell in cells]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {shown(error)}"
        raise StablemaxError(f"{shown(path)}: is not a notebook ({reason})", "save it with Jupyter") from None
    return [_without_magic(source) for source in sources]


def _without_magic(source: str) -> str:
    """Empty the lines that are commands of Jupyter's, so that the others keep their numbers."""
    if source.lstrip().startswith("%%"):
        return ""
    lines = source.splitlines(keepends=True)
    return "".join("\n" if line.lstrip().startswith(("%", "!", "?")) else line for line in lines)
