"""The arrays that the object of a method holds: the parameters and buffers of a module, the attributes of an object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from stablemax.check.target.call_style import as_array
from stablemax.numerics.formats import Array

_MOST_NUMBERS = 1 << 16


def held_arrays(function: Callable[..., Any]) -> dict[str, Array]:
    """Return the arrays of floats that the object behind a function holds, as people name them.

    >>> class Scaled:
    ...     def __init__(self):
    ...         self.scale = np.array([2.0])
    ...     def __call__(self, x):
    ...         return x * self.scale
    >>> held_arrays(Scaled())
    {'its scale': array([2.])}
    """
    owner = getattr(function, "__self__", function)
    return {f"its {name}": array for name, array in _arrays(owner) if array.size <= _MOST_NUMBERS}


def _arrays(owner: Any) -> Iterator[tuple[str, Array]]:
    if callable(getattr(owner, "named_parameters", None)) and callable(getattr(owner, "named_buffers", None)):
        for kind, values in (("parameter", owner.named_parameters()), ("buffer", owner.named_buffers())):
            yield from ((f"{kind} {name}", as_array(value)) for name, value in values if value.is_floating_point())
        return
    for name, value in getattr(owner, "__dict__", {}).items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            yield name, value
