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
        "max": np.maximum, "min": np.minimum,
    }
)  # fmt: skip
_OF_TRUTH_VALUES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"and": np.logical_and, "or": np.logical_or, "not": np.logical_not, "eq": np.equal, "ne": np.not_equal}
)
_NARROW = ("float16", "bfloat16")


def computed_alike(name: str, params: Mapping[str, Any], arrays: Sequence[Array]) -> Array | None:
    """Compute a primitive on arrays in NumPy; None where XLA may give other bits.

    What lies below the smallest normal number is left to XLA: it may make 0 of it.

    >>> computed_alike("add", {}, [np.float32([1, 2]), np.float32([1, 1])])
    array([2., 3.], dtype=float32)
    >>> computed_alike("add", {}, [np.float32([1e-40]), np.float32([0])]) is None
    True
    """
    if len({array.dtype for array in arrays}) != 1:
        return None
    if name == "convert_element_type":
        result = _converted(arrays[0], np.dtype(params["new_dtype"]))
    else:
        function = _function(name, arrays[0].dtype)
        result = None if function is None else np.asarray(function(*arrays))
    return None if result is None or any(map(_has_subnormals, (*arrays, result))) else result


def _function(name: str, dtype: np.dtype[Any]) -> Callable[..., Any] | None:
    """Return the function of NumPy's that is a primitive on numbers of a dtype."""
    if dtype.name in FORMATS:
        return _ROUNDED.get(name)
    if dtype.kind == "b":
        return _OF_TRUTH_VALUES.get(name)
    return _OF_INTEGERS.get(name) if dtype.kind in "iu" else None


def _converted(array: Array, target: np.dtype[Any]) -> Array | None:
    """Round numbers to a format; None where NumPy may round them twice."""
    is_wide = target.name in ("float32", "float64")
    is_narrow = target.name in FORMATS and array.dtype.name in (*_NARROW, "float32", "bool")
    from_any = array.dtype.name in FORMATS or array.dtype.kind in "biu"
    return array.astype(target) if is_narrow or (is_wide and from_any) else None


def _has_subnormals(array: Array) -> bool:
    fmt = FORMATS.get(array.dtype.name)
    if fmt is None:
        return False
    sizes = np.abs(array.astype(np.float64))
    return bool(((sizes > 0) & (sizes < fmt.smallest_normal)).any())
