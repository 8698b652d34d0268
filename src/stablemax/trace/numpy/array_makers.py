"""Functions of NumPy that no protocol reaches: those that make arrays, and those that are given lists of numbers.

A run replaces them for the traced code, and puts them back.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.trace.exact_cells import EXACT, cells_of, format_or_none, settled
from stablemax.trace.numpy.exact_functions import COMPUTED, MOVED, VALUES
from stablemax.trace.numpy.shadow_array import ShadowArray
from stablemax.trace.numpy.shadowed import Shadowed, exact_of, narrows, plain, plain_array, shadow, shadow_tree
from stablemax.trace.numpy.tape import Owner, Tape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


CONVERTERS = ("array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray")
# These take a sequence of arrays, and ask each of them.
_SEQUENCES = frozenset((
    "concatenate", "concat", "stack", "vstack", "hstack", "dstack", "column_stack", "block", "where", "select",
    "einsum", "broadcast_arrays", "choose", "linalg.multi_dot", "linalg.norm",
))  # fmt: skip
_TAKERS = tuple(sorted(n for n in (*COMPUTED, *MOVED, *VALUES) if n not in _SEQUENCES and hasattr(np, n)))
MAKERS = ("zeros", "empty", "ones", "full", "eye", "identity", "linspace", "arange", "tri")


@contextlib.contextmanager
def following(tape: Tape) -> Iterator[None]:
    """Make the arrays of the traced code shadowed ones until the block ends, also by ``from numpy import zeros``.

    Libraries get NumPy's own functions.
    """
    replaced: list[tuple[Any, str, Any]] = []
    try:
        for name, wrap in _REPLACED.items():
            original = getattr(np, name)
            wrapper = wrap(original, tape)
            replaced.append((vars(np), name, original))
            setattr(np, name, wrapper)
            for names in tape.code.namespaces:
                for alias in [k for k, v in names.items() if v is original]:
                    replaced.append((names, alias, original))
                    names[alias] = wrapper
        yield
    finally:
        for space, name, original in replaced:
            space[name] = original


_METHODS = ("reduce", "accumulate", "reduceat", "outer")


class _FollowedUfunc:
    """A ufunc that takes lists of shadowed numbers, too; in all else the ufunc itself."""

    def __init__(self, original: np.ufunc, tape: Tape) -> None:
        self._original = original
        self._tape = tape

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._tape.follows(sys._getframe(1).f_code.co_filename):
            args = _without_lists(args, self._tape)
        return self._original(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._original, name)
        if name in _METHODS and self._tape.follows(sys._getframe(1).f_code.co_filename):
            return _taker(attribute, self._tape)
        return attribute


def _taker(original: Callable[..., Any], tape: Tape) -> Callable[..., Any]:
    @functools.wraps(original)
    def take(*args: Any, **kwargs: Any) -> Any:
        if tape.follows(sys._getframe(1).f_code.co_filename):
            args = _without_lists(args, tape)
        return original(*args, **kwargs)

    return take


def _without_lists(args: tuple[Any, ...], tape: Tape) -> tuple[Any, ...]:
    """Turn lists that hold shadowed numbers into arrays, as NumPy would."""
    listed = [type(a) in (list, tuple) and _holds_shadows(a, tape) for a in args]
    if not any(listed):
        return args
    return tuple(
        _converted(np.array, tape, (a,), {}) if is_list else a for a, is_list in zip(args, listed, strict=True)
    )


def _maker(original: Callable[..., Any], tape: Tape) -> Callable[..., Any]:
    return _wrapped(original, tape, convert=False)


def _converter(original: Callable[..., Any], tape: Tape) -> Callable[..., Any]:
    return _wrapped(original, tape, convert=True)


def _wrapped(original: Callable[..., Any], tape: Tape, *, convert: bool) -> Callable[..., Any]:
    @functools.wraps(original)
    def make(*args: Any, **kwargs: Any) -> Any:
        owner = tape.owner(sys._getframe(1).f_code.co_filename)
        if owner is Owner.TRACED:
            return _converted(original, tape, args, kwargs) if convert else _made(original, tape, args, kwargs)
        if convert and owner is not Owner.TRACER and args and _holds_shadows(args[0], tape):
            if owner is Owner.PACKAGE:
                return _converted(original, tape, args, kwargs)
            tape.lose_call(f"np.{original.__name__}() in a library")
            return original(*plain(args), **plain(kwargs))
        return original(*args, **kwargs)

    return make


def _made(original: Callable[..., Any], tape: Tape, args: Any, kwargs: Any) -> Any:
    value = original(*plain(args), **plain(kwargs))
    if not isinstance(value, np.ndarray) or format_or_none(value.dtype) is None:
        return value
    fill = args[1] if original.__name__ == "full" and len(args) > 1 else kwargs.get("fill_value")
    exact = np.broadcast_to(exact_of(fill), value.shape).copy() if isinstance(fill, Shadowed) else None
    return shadow(value, exact, tape, ShadowArray)


def _converted(original: Callable[..., Any], tape: Tape, args: Any, kwargs: Any) -> Any:
    given = args[0] if args else kwargs.get("object", kwargs.get("a"))
    value = original(*plain(args), **plain(kwargs))
    if format_or_none(value.dtype) is None:
        if isinstance(given, Shadowed):
            tape.lose_call(f"np.{original.__name__}()")
        return value
    if isinstance(given, Shadowed):
        if value.dtype == given.dtype and np.shares_memory(value, plain_array(given)):
            # Nothing was converted: what is written into the one is seen in the other.
            return given if not given.is_scalar else shadow(value, exact_of(given), tape, ShadowArray)
        exact, source = exact_of(given).copy(), given.dtype
    else:
        exact = (
            settled(np.array(shadow_tree(given, tape), dtype=object))
            if _holds_shadows(given, tape)
            else cells_of(value)
        )
        source = np.result_type(*_dtypes(given)) if _holds_shadows(given, tape) else value.dtype
    exact = exact.reshape(value.shape)
    if narrows(source, value.dtype):
        wide = np.asarray(plain(given))
        value, exact = tape.finish(original.__name__, value, exact, None, [(wide.reshape(value.shape), exact)])
    return shadow(value, exact, tape, ShadowArray)


def _holds_shadows(thing: Any, tape: Tape) -> bool:
    if isinstance(thing, (list, tuple)):
        return any(_holds_shadows(t, tape) for t in thing)
    return isinstance(thing, Shadowed) or (isinstance(thing, float) and id(thing) in tape.handed)


def _dtypes(thing: Any) -> list[Any]:
    if isinstance(thing, (list, tuple)):
        return [d for t in thing for d in _dtypes(t)]
    if isinstance(thing, float):
        return [np.dtype(np.float64)]
    return [thing.dtype] if isinstance(thing, (np.ndarray, np.generic)) else []


_REPLACED: dict[str, Callable[[Any, Tape], Any]] = {
    **dict.fromkeys(CONVERTERS, _converter),
    **dict.fromkeys(MAKERS, _maker),
    **dict.fromkeys(_TAKERS, _taker),
    **dict.fromkeys((n for n in EXACT if n not in _TAKERS), _FollowedUfunc),
}
