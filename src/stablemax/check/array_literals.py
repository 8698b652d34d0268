"""Arrays as Python to paste: of NumPy, PyTorch or JAX, in a number format."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from stablemax.numerics.formats import Array, get_format

_MAX_LITERAL_CELLS = 64
"""Arrays of more cells are not spelled out, unless they have few runs of equal cells."""
_MAX_RUNS = 16
_MIN_FULL = 9
"""From so many equal cells on, the number is written once."""


class _Maker(NamedTuple):
    """The functions by which a library makes arrays."""

    module: str
    #: Name of the function that makes an array of nested lists.
    array: str
    #: A template of the cells and of how often each occurs.
    repeat: str


_MAKERS = {
    "numpy": _Maker("np", "array", "np.repeat({}, {})"),
    "torch": _Maker("torch", "tensor", "torch.repeat_interleave({}, torch.tensor({}))"),
    "jax": _Maker("jnp", "array", "jnp.repeat({}, jnp.array({}))"),
}


def array_literal(values: Array, backend: str, fmt: str) -> str:
    """Write an array of a number format, or of integers where none is named; empty where it is too large."""
    maker = _MAKERS[backend]
    if fmt and get_format(fmt).is_emulated:
        written = array_literal(get_format(fmt).round(values), backend, "")
        return written and f'get_format("{fmt}").cast({written})'
    if fmt:
        # The fewest digits that are read back as the same number of the format.
        shortest = [float(str(v)) for v in get_format(fmt).cast(values).ravel()]
        values = np.array(shortest).reshape(values.shape)
    dtype = f", dtype={dtype_module(backend, fmt) or maker.module}.{fmt}" if fmt else ""
    if values.size >= _MIN_FULL and (values == values.flat[0]).all():
        return f"{maker.module}.full({tuple(values.shape)}, {_number(values.flat[0])}{dtype})"
    if values.size > _MAX_LITERAL_CELLS and values.ndim == 2 and len(values) > 1 and (values == values[0]).all():
        row = array_literal(values[0], backend, fmt)
        return row and f"{maker.module}.tile({row}, ({len(values)}, 1))"
    if values.size > _MAX_LITERAL_CELLS:
        return _runs(values, maker, dtype)
    return f"{maker.module}.{maker.array}({nested(values.tolist(), _number)}{dtype})"


def dtype_module(backend: str, fmt: str) -> str:
    """Name the module that has a format's dtype where the library itself has none: ml_dtypes for NumPy's arrays."""
    has_own_dtype = get_format(fmt).is_native or get_format(fmt).is_emulated
    return "ml_dtypes" if backend == "numpy" and not has_own_dtype else ""


def _runs(values: Array, maker: _Maker, dtype: str) -> str:
    """Write a large array by its runs of equal cells; empty where there are too many."""
    flat = values.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    if len(starts) > _MAX_RUNS:
        return ""
    cells = f"{maker.module}.{maker.array}({nested(flat[starts].tolist(), _number)}{dtype})"
    counts = np.diff([*starts.tolist(), flat.size]).tolist()
    return f"{maker.repeat.format(cells, counts)}.reshape({tuple(values.shape)})"


def nested(values: Any, number: Callable[[Any], str]) -> str:
    """Write nested lists of numbers."""
    if isinstance(values, list):
        return f"[{', '.join(nested(value, number) for value in values)}]"
    return number(values)


def _number(value: Any) -> str:
    if isinstance(value, (int, np.integer)):
        return str(value)
    return repr(float(value)) if math.isfinite(value) else f'float("{float(value)}")'
