"""Arrays that code keeps: parameters and buffers of a module, attributes of an object, globals of its file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from stablemax.check.target.call_style import as_array
from stablemax.check.target.globals_read import global_arrays_read
from stablemax.numerics.formats import Array
from stablemax.trace.traced_code import python_function

_MOST_NUMBERS = 1 << 16
_DEEPEST = 3


def held_arrays(function: Callable[..., Any]) -> dict[str, Array]:
    """Return the arrays of floats that a function's object holds, and those of its module, as people name them.

    >>> class Scaled:
    ...     def __init__(self):
    ...         self.scale = np.array([2.0])
    ...     def __call__(self, x):
    ...         return x * self.scale
    >>> held_arrays(Scaled())
    {'its scale': array([2.])}
    """
    owner = getattr(function, "__self__", function)
    held = {f"its {name}": array for name, array in _arrays(owner)}
    names = getattr(python_function(function), "__globals__", {})
    held |= {read.name: as_array(names[read.name]) for read in global_arrays_read(function)}
    return {name: array for name, array in held.items() if array.size <= _MOST_NUMBERS}


def _arrays(owner: Any) -> Iterator[tuple[str, Array]]:
    if callable(getattr(owner, "named_parameters", None)) and callable(getattr(owner, "named_buffers", None)):
        for kind, values in (("parameter", owner.named_parameters()), ("buffer", owner.named_buffers())):
            yield from ((f"{kind} {name}", as_array(value)) for name, value in values if value.is_floating_point())
        return
    yield from _attributes(owner, "", type(owner).__module__)


def _attributes(owner: Any, path: str, module: str) -> Iterator[tuple[str, Array]]:
    """Yield the arrays of an object, and of the objects of its module's classes that it is made of."""
    if path.count(".") > _DEEPEST:
        return
    for name, value in getattr(owner, "__dict__", {}).items():
        parts = {f"{name}[{i}]": part for i, part in enumerate(value)} if isinstance(value, (list, tuple)) else {}
        for part_name, part in (parts or {name: value}).items():
            if isinstance(part, np.ndarray) and part.dtype.kind == "f":
                yield f"{path}{part_name}", part
            elif type(part).__module__ == module and module != "builtins":
                yield from _attributes(part, f"{path}{part_name}.", module)
