"""Arrays written as Python, as short as the numbers allow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import get_format

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array

_MAX_CELLS = 64
"""Arrays of more cells are not spelled out, unless they have few runs of equal cells."""
_MAX_RUNS = 16
_MIN_FULL = 9
"""From so many equal cells on, the number is written once."""


@dataclass(frozen=True)
class _Maker:
    """How a library makes an array: templates of the cells or the shape, the value, and the dtype."""

    module: str
    array: str
    full: str
    repeat: str


_MAKERS = {
    "numpy": _Maker("np", "np.array({}{})", "np.full({}, {}{})", "np.repeat({}, {})"),
    "torch": _Maker(
        "torch", "torch.tensor({}{})", "torch.full({}, {}{})", "torch.repeat_interleave({}, torch.tensor({}))"
    ),
    "jax": _Maker("jnp", "jnp.array({}{})", "jnp.full({}, {}{})", "jnp.repeat({}, jnp.array({}))"),
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
        return maker.full.format(tuple(values.shape), _number(values.flat[0]), dtype)
    if values.size > _MAX_CELLS:
        return _runs(values, maker, dtype)
    return maker.array.format(_nested(values.tolist()), dtype)


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
    cells = maker.array.format(_nested(flat[starts].tolist()), dtype)
    counts = np.diff([*starts.tolist(), flat.size]).tolist()
    return f"{maker.repeat.format(cells, counts)}.reshape({tuple(values.shape)})"


def _nested(values: object) -> str:
    return f"[{', '.join(map(_nested, values))}]" if isinstance(values, list) else _number(values)


def _number(value: object) -> str:
    if isinstance(value, (int, np.integer)):
        return str(value)
    number = float(value)  # type: ignore[arg-type]
    return repr(number) if math.isfinite(number) else f'float("{number}")'
