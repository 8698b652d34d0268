"""Arrays in a number format that NumPy has no dtype for: float64 inside, each result rounded to the format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from stablemax.numerics.formats import Array, Format

_SELECTING = (np.maximum, np.minimum, np.fmax, np.fmin)
"""Binary functions that return one of their operands: their reductions round nothing."""
_CLOSED = (*_SELECTING, np.negative, np.absolute)
"""Functions that make numbers of a format of numbers of it: nothing is left to round."""


class Emulated(np.ndarray):
    """Numbers of a format that has no dtype, as float64; the result of every operation is rounded to the format.

    For +, -, *, / and the square root that is the correctly rounded result where 53 >= 2p + 2, so for p <= 25:
    rounding first to float64 and then to the format is innocuous (S. Figueroa, "When is double rounding
    innocuous?", ACM SIGNUM Newsletter 30(3), 1995). exp and log of float64 have an error of their own: the result
    is off by at most half an ulp of the format and 2**(p - 52) of one. A sum adds in a tree, as NumPy does, and
    rounds each addition; with ``dtype=`` it is that dtype's. `astype` and `numpy.asarray` leave the format.
    """

    format: Format

    @classmethod
    def of(cls, values: Array, fmt: Format) -> Emulated:
        """Wrap float64 numbers that are rounded already."""
        array = np.asarray(values).view(cls)
        array.format = fmt
        return array

    def __array_finalize__(self, source: Any) -> None:
        """Take the format over from the array of which NumPy made this one."""
        self.format = getattr(source, "format", None)  # type: ignore[assignment]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        """Run the ufunc in float64 and round."""
        operands, fmt = tuple(_plain(a) for a in inputs), _format_of(*inputs, *(out or ()))
        if method == "accumulate" and out is None:
            return Emulated.of(_accumulated(ufunc, fmt.round, *operands, **kwargs), fmt)
        if method == "reduce" and ufunc not in _SELECTING and kwargs.get("dtype") is None:
            result = _reduced(ufunc, fmt.round, *operands, **kwargs)
        elif method in ("__call__", "reduce", "outer"):
            into = {} if out is None else {"out": tuple(_plain(o) for o in out)}
            result = getattr(ufunc, method)(*operands, **into, **kwargs)
        else:
            return NotImplemented
        if kwargs.get("dtype") is not None:
            return result
        if out is None:
            is_closed = method == "__call__" and ufunc in _CLOSED and _are_numbers_of(fmt, inputs)
            return Emulated.of(result, fmt) if is_closed else _rounded(result, fmt)
        for target, value in zip(out, result if isinstance(result, tuple) else (result,), strict=True):
            plain = _plain(target)
            plain[...] = fmt.round(value) if plain.dtype == np.float64 else value
        return out[0] if len(out) == 1 else out

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        """Run a NumPy function, made of ufuncs or not, and round what it returns."""
        if func is np.where and len(args) == 3 and _are_numbers_of(self.format, args[1:]):
            return Emulated.of(np.where(*map(_plain, args)), self.format)
        return _rounded(super().__array_function__(func, types, args, kwargs), self.format)

    def __getitem__(self, index: Any) -> Any:
        """Keep a single number in the format too."""
        return Emulated.of(super().__getitem__(index), self.format)

    def __setitem__(self, index: Any, value: Any) -> None:
        """Round what is written into the array."""
        super().__setitem__(index, self.format.round(_plain(value)) if self.dtype == np.float64 else value)

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Array:
        """Convert to an ordinary array, out of the format."""
        return np.asarray(self).astype(dtype, *args, **kwargs)

    def dot(self, other: Any, out: Any = None) -> Any:
        """Multiply matrices: added in float64, rounded once."""
        return np.dot(self, other) if out is None else np.matmul(self, other, out=out)

    def __reduce__(self) -> Any:
        """Take the format along to another process."""
        return Emulated.of, (np.array(self), self.format)


def _are_numbers_of(fmt: Format, things: Iterable[Any]) -> bool:
    return all(isinstance(t, Emulated) and t.dtype == np.float64 and t.format == fmt for t in things)


def _format_of(*things: Any) -> Format:
    return next(t.format for t in things if isinstance(t, Emulated))


def _plain(thing: Any) -> Any:
    return thing.view(np.ndarray) if isinstance(thing, Emulated) else thing


def _rounded(result: Any, fmt: Format) -> Any:
    """Put float64 results, single or several, into the format; masks and indices stay what they are."""
    if isinstance(result, (tuple, list)):
        return type(result)(_rounded(r, fmt) for r in result)
    if isinstance(result, (np.ndarray, np.generic)) and result.dtype == np.float64:
        return Emulated.of(fmt.round(_plain(result)), fmt)
    return _plain(result)


def _accumulated(ufunc: np.ufunc, rounded: Callable[[Any], Array], x: Array, axis: int = 0, dtype: Any = None) -> Array:
    """Run along an axis, each step rounded."""
    steps = np.moveaxis(np.array(x, dtype=dtype), axis, 0)
    for i in range(1, len(steps)):
        steps[i] = rounded(ufunc(steps[i - 1], steps[i]))
    return np.moveaxis(steps, 0, axis)


def _reduced(
    ufunc: np.ufunc,
    rounded: Callable[[Any], Array],
    x: Array,
    *,
    axis: int | tuple[int, ...] | None = 0,
    keepdims: bool = False,
    initial: Any = None,
    where: Any = True,
    **_dtype: None,
) -> Any:
    """Combine neighbouring halves until one number is left, each step rounded."""
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = tuple(sorted(a % x.ndim for a in axes))
    if where is not True:
        x = np.where(where, x, ufunc.identity)
    rest = np.moveaxis(x, axes, range(-len(axes), 0)) if axes else x[..., None]
    rest = rest.reshape(*rest.shape[: x.ndim - len(axes)], -1)
    first = ufunc.identity if initial is None and rest.shape[-1] == 0 else _plain(initial)
    if first is not None:
        rest = np.concatenate([np.full((*rest.shape[:-1], 1), first), rest], axis=-1)
    while rest.shape[-1] > 1:
        half = rest.shape[-1] // 2
        both = rounded(ufunc(rest[..., :half], rest[..., half : 2 * half]))
        rest = np.concatenate([both, rest[..., 2 * half :]], axis=-1)
    total = rest[..., 0]
    return np.expand_dims(total, axes) if keepdims else total
