"""What code asks of shadowed numbers, to decide by: which are 0, which are finite, which are close to others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import EXACT, as_cell, cells_of, nearest
from stablemax.trace.numpy.shadowed import Shadowed, carrier, exact_of, plain, plain_array, shadow_tree


def truth_of(array: Shadowed) -> Array:
    """Mark the cells that are not 0: what `bool`, `any` and `nonzero` ask of an array."""
    values = plain_array(array)
    return array.tape.compared("nonzero", np.asarray(values != 0), [(values, exact_of(array))])


CHOOSERS = ("argmax", "argmin", "argsort", "argpartition", "searchsorted")
"""Functions that give places of numbers, chosen by their order."""


def places_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Answer a function that chooses places, by the floats and by the exact numbers, next to these."""
    like = carrier(args, kwargs)
    value = function(*plain(args), **plain(kwargs))
    args, kwargs = _next_to_exact((args, {k: v for k, v in kwargs.items() if k != "out"}))
    return like.tape.decided("the places", value, function(*args, **kwargs))


def _next_to_exact(thing: Any) -> Any:
    if isinstance(thing, Shadowed):
        return nearest(exact_of(thing)) if thing.dtype.kind not in "iu" else plain_array(thing)
    if type(thing) in (list, tuple):
        return type(thing)(_next_to_exact(t) for t in thing)
    return {k: _next_to_exact(v) for k, v in thing.items()} if type(thing) is dict else thing


def with_nan_replaced(func: Callable[..., Any], array: Any, *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Return ``np.nan_to_num`` on cells: finite numbers keep their shadow, what replaces the others is exact."""
    values = np.array(plain(array))
    is_finite = np.isfinite(values.astype(np.float64))
    if isinstance(array, Shadowed):
        is_finite = array.tape.compared("isfinite", is_finite, [(values, exact_of(array))])
    replaced = cells_of(func(values, *args, **kwargs))
    return lambda x, *_args, **_kwargs: np.where(is_finite, x, replaced)


def is_close(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:  # noqa: FBT001, FBT002 - NumPy's signature
    """Answer ``np.isclose``: a comparison of |a - b| with what is allowed."""
    like = carrier(a, b)
    answers = np.asarray(np.isclose(plain(a), plain(b), rtol, atol, equal_nan))
    x, y = (cells_of(c) for c in shadow_tree((a, b), like.tape))
    sides = EXACT["absolute"](x - y), EXACT["absolute"](y) * as_cell(rtol) + as_cell(atol)
    answers = like.tape.compared("less_equal", answers, [(nearest(cells_of(c)), c) for c in sides])
    return answers if answers.ndim else answers[()]


def are_close(*args: Any, **kwargs: Any) -> bool:
    """Answer ``np.allclose``."""
    return bool(np.all(is_close(*args, **kwargs)))


CLOSE: dict[str, Callable[..., Any]] = {"isclose": is_close, "allclose": are_close}
