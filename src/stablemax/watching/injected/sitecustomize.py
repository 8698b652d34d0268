"""Begins the watch in a program that ``stablemax watch`` has started: Python imports this by its name at its start.

It needs nothing but the standard library: the Python of the program need not have stablemax, nor PyTorch.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

_FOLDER = str(Path(__file__).parent)
_VARIABLE = "STABLEMAX_WATCH"


class _Beginning:
    """The loader of a module, which begins the watch once the module is loaded."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def create_module(self, spec: Any) -> Any:
        """Create the module as its own loader does."""
        return self._own.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """Load the module, then begin."""
        module.__loader__ = module.__spec__.loader = self._own
        self._own.exec_module(module)
        _begin()


class _Finder:
    """Finds PyTorch when it is first imported, and steps aside."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:  # noqa: ARG002 - as Python calls it
        """Find PyTorch as Python does, and let the watch begin behind its loading."""
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("torch")
        if spec is not None and spec.loader is not None:
            spec.loader = _Beginning(spec.loader)  # type: ignore[assignment]
        return spec


def _begin() -> None:
    try:
        from stablemax.watching.torch.injection import begin
    except ImportError as error:
        import json

        folder = json.loads(os.environ[_VARIABLE])["folder"]
        Path(folder, f"missing-{os.getpid()}").write_text(f"{sys.executable}\n{error}\n", encoding="utf-8")
        # What started this program says it.
        raise SystemExit(2) from None
    begin(os.environ[_VARIABLE])


def _run_next() -> None:
    """Run the sitecustomize that this one stands before, where there is one."""
    places = [place for place in sys.path if place and os.path.realpath(place) != os.path.realpath(_FOLDER)]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", places)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


if __name__ == "sitecustomize" and _VARIABLE in os.environ:
    sys.meta_path.insert(0, _Finder())
    _run_next()
