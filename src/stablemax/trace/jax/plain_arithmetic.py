"""Primitives that IEEE 754 fixes to the last bit: NumPy computes them as XLA does, which must compile each first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from stablemax.numerics.formats import FORMATS, Array

_ROUNDED: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "sqrt": np.sqrt,
        "neg": np.negative, "abs": np.absolute, "square": np.square, "eq": np.equal, "ne": np.not_equal,
        "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "is_finite": np.isfinite,
    }
)  # fmt: skip
"""Of numbers of a format: each result is the exact one, rounded once."""
_OF_INTEGERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        **{name: _ROUNDED[name] for name in ("add", "sub", "mul", "eq", "ne", "lt", "le", "gt", "ge")},
        "max": np.maximum, "min": np.minimum, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
    }
)  # fmt: skip
_OF_TRUTH_VALUES = ("and", "or", "not", "eq", "ne")


def computed_alike(name: str, params: Mapping[str, Any], arrays: Sequence[Array]) -> Array | None:
    """Compute a primitive on arrays in NumPy; None where XLA may give other bits.

    What lies below the smallest normal number is left to XLA: it may make 0 of it.

    >>> computed_alike("add", {}, [np.float32([1, 2]), np.float32([1, 1])])
    array([2., 3.], dtype=float32)
    >>> computed_alike("add", {}, [np.float32([1e-40]), np.float32([0])]) is None
    True
    """
    kinds = {array.dtype.name for array in arrays}
    if len(kinds) != 1:
        return None
    dtype = arrays[0].dtype
    is_format = dtype.name in FORMATS
    if name == "convert_element_type":
        target = np.dtype(params["new_dtype"])
        if target.name not in FORMATS or not (is_format or dtype.kind in "biu"):
            return None
        result = arrays[0].astype(target)
    else:
        if dtype.kind == "b":
            function = _OF_INTEGERS.get(name) if name in _OF_TRUTH_VALUES else None
        elif dtype.kind in "iu":
            function = _OF_INTEGERS.get(name) if name not in _OF_TRUTH_VALUES[:3] else None
        else:
            function = _ROUNDED.get(name) if is_format else None
        if function is None:
            return None
        result = np.asarray(function(*arrays))
    return None if any(map(_has_subnormals, (*arrays, result))) else result


def _has_subnormals(array: Array) -> bool:
    fmt = FORMATS.get(array.dtype.name)
    if fmt is None:
        return False
    sizes = np.abs(array.astype(np.float64))
    return bool(((sizes > 0) & (sizes < fmt.smallest_normal)).any())
