"""What somebody's code may break in the Python that calls it, and how it is put back."""

from __future__ import annotations

import builtins
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

OF_CALLS = (builtins, os, sys, np)
"""Modules whose names are put back after a call: pickling, importing, tracing and judging need them."""
OF_IMPORTS = (builtins,)
"""Modules whose names are put back after an import, which may well add to the import path."""


class InterpreterState:
    """The names of some modules, the loaded modules and the import path as they are now.

    Code may set `builtins.len` to None or empty `sys.modules`; later calls and imports must succeed all the same.
    """

    def __init__(self, modules: tuple[ModuleType, ...]) -> None:
        self._names = [(vars(module), dict(vars(module))) for module in modules]
        self._modules, self._loaded = sys.modules, dict(sys.modules)
        self._path, self._folders = sys.path, list(sys.path)
        self._with_path = sys in modules

    def put_back(self) -> None:
        """Put everything back that had a value; what was added stays."""
        # By methods alone: there may be no `len`, no `zip` and no `next` any more.
        for namespace, saved in self._names:
            namespace.update(saved)
        self._modules.update(self._loaded)
        if self._with_path:
            self._path[:] = self._folders


@contextlib.contextmanager
def kept_surroundings() -> Iterator[None]:
    """Put the working directory and the environment back, which code in this process may change."""
    directory, environment = Path.cwd(), dict(os.environ)
    try:
        yield
    finally:
        os.chdir(directory)
        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)
