"""Functions of NumPy that no protocol reaches: those that make arrays, and those that are given lists of numbers.

A run replaces them for the traced code, and puts them back.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.trace.exact_cells import cells_of, format_or_none, is_followed, settled
from stablemax.trace.numpy.exact_functions import MOVED, VALUES
from stablemax.trace.numpy.exact_statistics import COMPUTED, OF_SCIPY
from stablemax.trace.numpy.shadow_array import ShadowArray
from stablemax.trace.numpy.shadowed import (
    Shadowed,
    carrier,
    exact_of,
    leaves,
    made,
    narrows,
    operate,
    plain,
    plain_array,
    shadow,
    shadow_tree,
)
from stablemax.trace.numpy.tape import Owner, Tape
from stablemax.trace.special_cells import FUNCTIONS

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
    replaced: list[tuple[dict[str, Any], str, Any]] = []
    scipy_special = sys.modules.get("scipy.special")
    found = [(vars(np), name, getattr(np, name), wrap) for name, wrap in _REPLACED.items()]
    found += [(vars(scipy_special), n, getattr(scipy_special, n), _outsider) for n in OF_SCIPY if scipy_special]
    wrappers = [(space, name, original, wrap(original, tape)) for space, name, original, wrap in found]
    # By identity, so that one pass finds the aliases of all; of two names of one function the first has it.
    by_id = {id(original): wrapper for _, _, original, wrapper in reversed(wrappers)}
    try:
        for space, name, original, wrapper in wrappers:
            replaced.append((space, name, original))
            space[name] = wrapper
        for names in tape.code.namespaces:
            for alias, original in [item for item in names.items() if id(item[1]) in by_id]:
                replaced.append((names, alias, original))
                names[alias] = by_id[id(original)]
        yield
    finally:
        for space, name, original in replaced:
            space[name] = original


_METHODS = ("reduce", "accumulate", "reduceat", "outer")


class _Taker:
    """A function, a ufunc or a method of one that takes lists of shadowed numbers, too; in all else the original."""

    def __init__(self, original: Callable[..., Any], tape: Tape) -> None:
        # All other attributes are asked of the original: to copy them would take longer than most calls.
        self._original = original
        self._tape = tape
        self.__wrapped__ = original
        # A library that is first imported in the traced code may write a doc string of its own from it.
        self.__doc__ = original.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._tape.follows(sys._getframe(1).f_code.co_filename):
            args = tuple(self._without_list(a) for a in args)
        return self._original(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._original, name)
        return _Taker(attribute, self._tape) if name in _METHODS else attribute

    def _without_list(self, argument: Any) -> Any:
        """Turn a list that holds shadowed numbers into an array, as NumPy would."""
        is_list = type(argument) in (list, tuple) and _holds_shadows(argument, self._tape)
        return _converted(np.array, self._tape, (argument,), {}) if is_list else argument


def _maker(original: Callable[..., Any], tape: Tape) -> Callable[..., Any]:
    @functools.wraps(original)
    def make(*args: Any, **kwargs: Any) -> Any:
        is_traced = tape.follows(sys._getframe(1).f_code.co_filename)
        return _made(original, tape, args, kwargs) if is_traced else original(*args, **kwargs)

    return make


def _converter(original: Callable[..., Any], tape: Tape) -> Callable[..., Any]:
    @functools.wraps(original)
    def convert(*args: Any, **kwargs: Any) -> Any:
        owner = tape.owner(sys._getframe(1).f_code.co_filename)
        holds_shadows = owner is not Owner.TRACER and bool(args) and _holds_shadows(args[0], tape)
        if owner is Owner.TRACED or (owner is Owner.PACKAGE and holds_shadows):
            return _converted(original, tape, args, kwargs)
        if holds_shadows:
            tape.lose_call(f"np.{original.__name__}() in a library")
            args, kwargs = plain(args), plain(kwargs)
        return original(*args, **kwargs)

    return convert


def _outsider(original: Callable[..., Any], tape: Tape) -> Callable[..., Any]:
    """Follow a function of another library that is given shadowed arrays."""
    exactly = OF_SCIPY[original.__name__]

    @functools.wraps(original)
    def follow(*args: Any, **kwargs: Any) -> Any:
        is_traced = tape.follows(sys._getframe(1).f_code.co_filename)
        if is_traced and any(isinstance(leaf, Shadowed) for leaf in leaves((args, kwargs))):
            return operate(carrier(args, kwargs), original.__name__, original, exactly, args, kwargs)
        return original(*args, **kwargs)

    return follow


def _made(original: Callable[..., Any], tape: Tape, args: Any, kwargs: Any) -> Any:
    value = original(*plain(args), **plain(kwargs))
    if not isinstance(value, np.ndarray) or not is_followed(value.dtype) or _are_places(original, value):
        return value
    if original.__name__ != "full" and any(isinstance(leaf, Shadowed) for leaf in leaves((args, kwargs))):
        tape.lose_call(f"np.{original.__name__}()")
        tape.went_on = True
    fill = args[1] if original.__name__ == "full" and len(args) > 1 else kwargs.get("fill_value")
    exact = np.broadcast_to(exact_of(fill), value.shape).copy() if isinstance(fill, Shadowed) else None
    return made(value, exact, tape, ShadowArray)


def _are_places(original: Callable[..., Any], value: Array) -> bool:
    """True for the whole numbers of `arange`, by which cells are picked."""
    return original.__name__ == "arange" and value.dtype.kind in "iu"


def _converted(original: Callable[..., Any], tape: Tape, args: Any, kwargs: Any) -> Any:
    argument = args[0] if args else kwargs.get("object", kwargs.get("a"))
    value = original(*plain(args), **plain(kwargs))
    is_whole = isinstance(argument, Shadowed) and value.dtype.kind in "iu" and argument.dtype.kind in "iu"
    if format_or_none(value.dtype) is None and not is_whole:
        if isinstance(argument, Shadowed):
            tape.lose_call(f"np.{original.__name__}()")
        return value
    if isinstance(argument, Shadowed):
        if value.dtype == argument.dtype and np.shares_memory(value, plain_array(argument)):
            # Nothing was converted: what is written into the one is seen in the other.
            return argument if not argument.is_scalar else shadow(value, exact_of(argument), tape, ShadowArray)
        exact, source = exact_of(argument).copy(), argument.dtype
    elif _holds_shadows(argument, tape):
        exact = settled(np.array(shadow_tree(argument, tape), dtype=object))
        real = (float, np.ndarray, np.generic)
        source = np.result_type(*(np.asarray(plain(t)).dtype for t in leaves(argument) if isinstance(t, real)))
    else:
        _take_in(argument, value, tape)
        exact, source = cells_of(value), value.dtype
    exact = exact.reshape(value.shape)
    if narrows(source, value.dtype):
        unrounded = np.asarray(plain(argument)).reshape(value.shape)
        value, exact = tape.finish(original.__name__, value, exact, None, [(unrounded, exact)])
    return shadow(value, exact, tape, ShadowArray)


def _take_in(argument: Any, value: Array, tape: Tape) -> None:
    """Note what an array is made of that no operation of the run made: a list's numbers, or another library's array."""
    numbers = list(leaves(argument))
    for number in numbers if all(isinstance(n, (int, float)) for n in numbers) else [value]:
        if isinstance(number, (float, np.ndarray)):
            tape.take_in(number)


def _holds_shadows(thing: Any, tape: Tape) -> bool:
    return any(isinstance(t, Shadowed) or (isinstance(t, float) and id(t) in tape.handed) for t in leaves(thing))


_REPLACED: dict[str, Callable[[Any, Tape], Any]] = {
    **dict.fromkeys(CONVERTERS, _converter),
    **dict.fromkeys(MAKERS, _maker),
    **dict.fromkeys((*_TAKERS, *(name for name in FUNCTIONS if hasattr(np, name))), _Taker),
}
