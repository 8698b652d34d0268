"""Which code is traced: the function's own file, or its package where that is an installed one."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType

PACKAGE = str(Path(__file__).parents[1])
STANDARD_LIBRARY = sysconfig.get_paths()["stdlib"]
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Code:
    """A function's code: its file, or the folder of its package."""

    root: str = ""
    #: The globals of the function's module.
    names: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def namespaces(self) -> list[dict[str, Any]]:
        """The globals of all modules in its folder."""
        if not self.root:
            return []
        folder = self.root if self.root.endswith(os.sep) else str(Path(self.root).parent) + os.sep
        modules = [m for m in list(sys.modules.values()) if (getattr(m, "__file__", None) or "").startswith(folder)]
        return [self.names, *(vars(m) for m in modules if vars(m) is not self.names)]

    def holds(self, filename: str) -> bool:
        """Tell whether a file belongs to it."""
        return bool(self.root) and filename.startswith(self.root)


def boundary(call: Callable[[], Any]) -> Any:
    """Call the traced code: frames outside this one are not its own."""
    return call()


def is_library(filename: str) -> bool:
    """Tell whether a file is installed, or part of Python."""
    return any(folder in filename for folder in _INSTALLED) or filename.startswith(("<frozen", STANDARD_LIBRARY))


def code_of(function: Callable[..., Any], *, alone: tuple[str, ...] = ()) -> Code:
    """Find the code of a function; of an installed package the whole, unless that is one of the folders `alone`."""
    inner = _python_function(function)
    if inner is None or _is_ours(inner):
        return Code()
    root = file = inner.__code__.co_filename
    parts = Path(file).parts
    for i, part in enumerate(parts):
        if part in _INSTALLED and len(parts) > i + 2 and not file.startswith(alone):
            root = str(Path(*parts[: i + 2])) + os.sep
            break
    return Code(root, inner.__globals__)


def _python_function(function: Callable[..., Any]) -> FunctionType | None:
    """Return the Python function behind a wrapper, method, module or callable object; None for one in C."""
    inner: Any = inspect.unwrap(function)
    if _is_ours(inner):
        # A wrapper of this package's: the function that it calls is in its closure.
        held = [cell.cell_contents for cell in getattr(inner, "__closure__", None) or ()]
        inner = next((inspect.unwrap(h) for h in held if callable(h) and not _is_ours(h)), inner)
    inner = getattr(inner, "forward", None) or inner
    owners: tuple[Any, ...] = (getattr(inner, "__func__", inner), type(inner).__call__)
    return next((owner for owner in owners if isinstance(getattr(owner, "__code__", None), CodeType)), None)


def _is_ours(thing: Any) -> bool:
    module = getattr(thing, "__module__", None) or type(thing).__module__
    return module.partition(".")[0] == "stablemax"
