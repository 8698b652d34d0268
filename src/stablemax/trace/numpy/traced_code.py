"""Which code is traced: its files, and the modules that they are."""

from __future__ import annotations

import inspect
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stablemax.trace.numpy.tape import Tape

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Code:
    """Which code is traced: its files and folders, and the globals of its modules."""

    roots: tuple[str, ...] = ()
    namespaces: tuple[dict[str, Any], ...] = ()

    def tape(self, **instructions: Any) -> Tape:
        """Return an empty tape that follows this code."""
        return Tape(roots=self.roots, namespaces=self.namespaces, **instructions)


def code_of(function: Callable[..., Any]) -> Code:
    """Find the code of a function; of an installed one, its package is traced whole."""
    unwrapped = inspect.unwrap(function)
    if _is_ours(unwrapped):
        # A wrapper of this package's: the function that it calls is in its closure.
        held = [cell.cell_contents for cell in getattr(unwrapped, "__closure__", None) or ()]
        unwrapped = next((inspect.unwrap(h) for h in held if callable(h) and not _is_ours(h)), unwrapped)
    unwrapped = getattr(unwrapped, "__func__", unwrapped)
    code = getattr(unwrapped, "__code__", None)
    if code is None or _is_ours(unwrapped):
        return Code()
    file = Path(code.co_filename)
    top = (getattr(unwrapped, "__module__", "") or "").partition(".")[0]
    installed = "site-packages" in file.parts or "dist-packages" in file.parts
    root = file
    if installed and top in file.parts:
        root = Path(*file.parts[: file.parts.index(top) + 1])
    folder = str(root if root.suffix == "" else root.parent)
    names = [unwrapped.__globals__]
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if path.startswith(folder + os.sep) and vars(module) is not names[0]:
            names.append(vars(module))
    return Code((str(root),), tuple(names))


def _is_ours(thing: Any) -> bool:
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return module.partition(".")[0] == "stablemax"
