"""Arrays that code reads from its module, not from its arguments."""

from __future__ import annotations

import contextlib
import dis
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stablemax.trace.traced_code import display_name, python_function


@dataclass(frozen=True)
class GlobalRead:
    """A global array that a function reads, and where it does so first."""

    name: str
    file: str
    line: int


def global_arrays_read(function: Callable[..., Any]) -> tuple[GlobalRead, ...]:
    """Find the arrays of its module that a function reads: a logit among them is not the caller's."""
    inner = python_function(function)
    if inner is None:
        return ()
    lines: dict[str, int] = {}
    for instruction in dis.get_instructions(inner.__code__):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and _is_array(inner.__globals__.get(instruction.argval)):
            positions = instruction.positions
            lines.setdefault(instruction.argval, (positions.lineno if positions else None) or 0)
    return tuple(GlobalRead(name, display_name(inner.__code__.co_filename), line) for name, line in lines.items())


def _is_array(value: Any) -> bool:
    """Tell an array with dimensions, of any library."""
    has_array_type = type(value).__module__.partition(".")[0] in ("numpy", "torch", "jax", "jaxlib")
    return has_array_type and getattr(value, "ndim", 0) >= 1


@contextlib.contextmanager
def bound(function: Callable[..., Any], name: str, value: Any) -> Iterator[None]:
    """Let a global of a function's module hold a value until the block ends; an empty name binds nothing."""
    inner = python_function(function) if name else None
    if inner is None or name not in inner.__globals__:
        yield
        return
    before = inner.__globals__[name]
    inner.__globals__[name] = value
    try:
        yield
    finally:
        inner.__globals__[name] = before
