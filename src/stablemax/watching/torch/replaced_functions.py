"""Functions of PyTorch that others stand in place of, as long as a run is watched."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def replaced(owner: Any, name: str, wrapper: Callable[..., Any]) -> Iterator[None]:
    """Let a wrapper stand in place of a function; it gets the function first."""
    own = getattr(owner, name)
    wrappers = [wrapper]

    @functools.wraps(own)
    def call(*arguments: Any, **options: Any) -> Any:
        return wrappers[0](own, *arguments, **options) if wrappers else own(*arguments, **options)

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, own)
        # Others may keep what stood there, as PyTorch's compiler does: it then is the function, and holds nothing.
        wrappers.clear()
