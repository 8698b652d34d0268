"""Which axes a call of NumPy's takes together."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np

from stablemax.trace.cures.flow import Reduction

_DEFAULTS = MappingProxyType(
    {
        **dict.fromkeys(("sum", "mean", "prod", "max", "min", "amax", "amin", "var", "std", "cumsum", "cumprod")),
        **dict.fromkeys(("add.reduce", "multiply.reduce", "maximum.reduce", "logaddexp.reduce"), 0),
        **dict.fromkeys(("add.accumulate", "multiply.accumulate"), 0),
    }
)
"""Functions that reduce, and the axis that each takes by itself: None for all."""


def reduction_of(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Reduction | None:
    """Return the axes that a call takes together; None for a function that takes none together, or masks some numbers.

    >>> reduction_of("sum", (np.zeros((2, 3)), 1), {"keepdims": True})
    Reduction(axes=(1,), keepdims=True, is_of_all=False)
    """
    if name == "linalg.norm":
        # Its second argument is the order.
        if options.get("ord", args[1] if len(args) > 1 else None) not in (None, 2):
            return None
        name, args = "sum", (args[0], *args[2:3])
    if name not in _DEFAULTS or not args or options.get("where", True) is not True or "initial" in options:
        return None
    axis = options.get("axis", args[1] if len(args) > 1 else _DEFAULTS[name])
    ndim = np.ndim(args[0])
    try:
        axes = range(ndim) if axis is None else [int(a) % ndim for a in np.atleast_1d(axis)]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return Reduction(tuple(axes), bool(options.get("keepdims", False)), is_of_all=axis is None)
