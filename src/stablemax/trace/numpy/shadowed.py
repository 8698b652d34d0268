"""An array that carries, beside its values, the exact numbers that they stand for, and how both are computed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.numerics.formats import FLOAT64, Array
from stablemax.trace.divergences import COMPARED
from stablemax.trace.exact_cells import as_cell, cells_of, format_or_none, is_followed, settled
from stablemax.trace.numpy.exact_functions import NotFollowedError
from stablemax.trace.numpy.reduced_axes import reduction_of
from stablemax.trace.special_cells import FUNCTIONS

if TYPE_CHECKING:
    from stablemax.trace.numpy.tape import Tape

_UNFOLLOWABLE = (NotFollowedError, TypeError, ValueError, AttributeError, IndexError, NotImplementedError)


class Shadowed(np.ndarray):
    """Values with a shadow.

    The array's own memory holds the values, computed by NumPy itself on plain arrays, so that they are
    those of an ordinary run bit for bit. A view of the values has a view of the cells, so that what is
    written through it reaches both.
    """

    #: Cells of the array's shape; None until they are asked for: then they are the values.
    exact: Array | None
    #: The record of the run.
    tape: Tape
    #: The array stands for a NumPy scalar: it has no dimensions, and is never changed in place.
    is_scalar: bool
    #: The line that made it, where it is an array of integers; else 0.
    made_on: int

    def __array_finalize__(self, source: Any) -> None:
        self.exact = None
        self.tape = getattr(source, "tape", None)  # type: ignore[assignment]
        self.is_scalar = False
        self.made_on = 0
        if isinstance(source, Shadowed):
            # Everything that is followed is made of plain arrays: NumPy made this one by itself.
            self.tape.lose_call("an array that NumPy made of a traced one")


def plain_array(array: Shadowed) -> Array:
    """Return the values as an ordinary array on the same memory."""
    return np.ndarray.view(array, np.ndarray)


def leaves(thing: Any) -> Iterator[Any]:
    """Yield what nested lists, tuples and dictionaries hold."""
    if isinstance(thing, dict):
        thing = tuple(thing.values())
    if isinstance(thing, (list, tuple)):
        for inner in thing:
            yield from leaves(inner)
    else:
        yield thing


def _replaced(thing: Any, on_leaf: Callable[[Any], Any]) -> Any:
    """Return nested lists, tuples and dictionaries with each leaf replaced."""
    if type(thing) in (list, tuple):
        return type(thing)(_replaced(t, on_leaf) for t in thing)
    if type(thing) is dict:
        return {k: _replaced(v, on_leaf) for k, v in thing.items()}
    return on_leaf(thing)


def plain(thing: Any) -> Any:
    """Take the shadows off an argument: arrays, scalars, and sequences of them."""

    def without_shadow(leaf: Any) -> Any:
        if not isinstance(leaf, Shadowed):
            return leaf
        return plain_array(leaf)[()] if leaf.is_scalar else plain_array(leaf)

    return _replaced(thing, without_shadow)


def exact_of(array: Shadowed) -> Array:
    """Return the cells of an array; one without them starts from its values.

    A fresh array gets its cells when they are first asked for: ``numpy.random`` makes an empty one and
    fills it unseen.
    """
    if array.exact is None:
        array.exact = cells_of(plain_array(array))
    return array.exact


def shadow(value: Any, exact: Array | None, tape: Tape, kind: type[Shadowed]) -> Any:
    """Put values and cells together; values that are neither of a number format nor integers stay plain."""
    values = np.asarray(value)
    if not is_followed(values.dtype):
        return value
    array = np.ndarray.view(values, kind)
    array.exact, array.tape, array.is_scalar = exact, tape, isinstance(value, np.generic)
    if array.is_scalar and exact is not None:
        array.exact = exact.copy()
    return array


def made(value: Any, exact: Array | None, tape: Tape, kind: type[Shadowed]) -> Any:
    """Shadow an array that the traced code makes; one of integers remembers its line, for what is cut off in it."""
    array = shadow(value, exact, tape, kind)
    if isinstance(array, Shadowed) and array.dtype.kind in "iu":
        array.made_on = tape.site().line
    return array


def operate(
    like: Shadowed,
    name: str,
    function: Callable[..., Any],
    exactly: Callable[..., Any] | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    out: Any = None,
    options: dict[str, Any] | None = None,
) -> Any:
    """Run an operation on the values, and exactly on their cells, and record it.

    One of its arguments, `like`, has the tape, and the class of the result. In arguments for `exactly` shadowed arrays
    and floats become cells; it is None for an operation that has no exact form. `options` are those of the call that
    are bound in `function` already.
    """
    tape, kwargs = like.tape, kwargs or {}
    if not tape.has_shadow:
        return _on_values(like, name, function, args, kwargs, out, is_followed_exactly=exactly is not None)
    read = {k: v for k, v in kwargs.items() if k != "out"}
    shadows = shadow_tree((args, read), tape)
    inputs = _arrays(args, read, whole_numbers=name in FUNCTIONS)
    # The inputs may be overwritten.
    inputs = inputs if out is None else [(values.copy(), exact) for values, exact in inputs]
    here = _replaced((args, read), _value_cells) if tape.watch else None
    result = _on_floats(tape, name, function, args, kwargs)
    value = np.asarray(plain(result))
    answers = _answers(tape, name, value, args, shadows[0]) if out is None else None
    if answers is not None:
        return answers[()] if isinstance(result, np.generic) else answers
    if not is_followed(value.dtype):
        if exactly is None and value.dtype.kind in "fc":
            tape.lose_call(name)
        return result
    try:
        if exactly is None:
            raise NotFollowedError(name)
        exact = _in_shape(exactly(*shadows[0], **shadows[1]), value.shape)
        local = None if here is None else functools.partial(_local, exactly, here, value.shape)
    except _UNFOLLOWABLE:
        tape.lose_call(name)
        if isinstance(out, Shadowed):
            exact_of(out)[...] = cells_of(value)
            return out
        return result
    if format_or_none(value.dtype) is None:  # integers are computed without rounding
        changed = value
    else:
        reduction = None if tape.flow is None else reduction_of(name, args, {**kwargs, **(options or {})})
        changed, exact = tape.finish(name, value, exact, local, inputs, reduction)
    if out is None:
        return _with_shadow(like, result, value, changed, exact)
    if not isinstance(out, Shadowed):
        tape.lose_call(f"{name} into an array from outside")
        return result
    if changed is not value:
        plain_array(out)[...] = changed
    exact_of(out)[...] = exact
    return out


def _on_floats(
    tape: Tape, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Run an operation on the values; one that raises leads the code where exact numbers do not."""
    try:
        return function(*plain(args), **plain(kwargs))
    except FloatingPointError:
        tape.lose_call(name)
        tape.went_on = True
        raise


def _with_shadow(like: Shadowed, result: Any, value: Array, changed: Array, exact: Array | None) -> Any:
    """Give the result of an operation its shadow; `changed` takes the place of its value, where that is another."""
    if changed is not value:
        result = changed[()] if isinstance(result, np.generic) else changed
    return shadow(result, exact, like.tape, type(like))


def _on_values(
    like: Shadowed,
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    out: Any,
    *,
    is_followed_exactly: bool,
) -> Any:
    """Run an operation on the values alone, and count it as one that is followed is."""
    for leaf in leaves((args, kwargs)):
        if is_foreign(leaf) and (not isinstance(leaf, float) or like.tape.known(leaf) is None):
            like.tape.take_in(leaf)
    result = function(*plain(args), **plain(kwargs))
    value = np.asarray(plain(result))
    is_answer = name in COMPARED and value.dtype == bool
    if is_answer or not is_followed_exactly or not is_followed(value.dtype):
        return result
    changed = value if format_or_none(value.dtype) is None else like.tape.passed(value)
    if isinstance(out, Shadowed):
        plain_array(out)[...] = changed
        return out
    return _with_shadow(like, result, value, changed, None)


def _answers(tape: Tape, name: str, value: Array, args: tuple[Any, ...], cells: Any) -> Array | None:
    """Answer a comparison on the values and exactly; None for what is none, or has no exact answer: `x == None`."""
    if name in COMPARED and value.dtype == bool:
        with contextlib.suppress(*_UNFOLLOWABLE):
            return tape.compared(name, value, [(plain(a), c) for a, c in zip(args, cells, strict=True)])
    return None


def _local(exactly: Callable[..., Any], arguments: Any, shape: tuple[int, ...]) -> Array | None:
    """Take an operation exactly on its actual inputs; None where that does not work, as it did on the shadow."""
    with contextlib.suppress(*_UNFOLLOWABLE):
        return _in_shape(exactly(*arguments[0], **arguments[1]), shape)
    return None


def _in_shape(cells: Any, shape: tuple[int, ...]) -> Array:
    cells = settled(cells)
    return cells if cells.shape == shape else np.broadcast_to(cells, shape).copy()


def move(
    like: Shadowed,
    name: str,
    function: Callable[..., Any],
    on_cells: Callable[..., Any],
    args: Any,
    kwargs: dict[str, Any],
) -> Any:
    """Run a function that only moves numbers on the values and on their cells; it is not recorded."""
    tape, kind = like.tape, type(like)
    result = function(*plain(args), **plain(kwargs))
    if result is None and not isinstance(args[0], Shadowed):
        # Written into an array of a library, which has no shadow to write into.
        tape.lose_call(f"np.{name}()")
        tape.went_on = True
        return None
    # Whole numbers behind the array that is moved say where to.
    places = [plain(a) if isinstance(a, Shadowed) and a.dtype.kind in "iu" else a for a in args[1:]]
    try:
        options = {k: v for k, v in kwargs.items() if k != "dtype"}
        exact = on_cells(*shadow_tree((*args[:1], *places), tape), **shadow_tree(options, tape))
    except _UNFOLLOWABLE:
        tape.lose_call(f"np.{name}()")
        return result
    if isinstance(result, (list, tuple)):
        pairs = zip(result, exact, strict=True)
        return type(result)(shadow(r, settled(e), tape, kind) for r, e in pairs)
    out = kwargs.get("out")
    if isinstance(out, Shadowed):
        return out
    return None if result is None else shadow(result, settled(exact), tape, kind)


# --- what an operation gets ---------------------------------------------------------------------


def shadow_tree(thing: Any, tape: Tape) -> Any:
    """Turn an argument into the cells that it stands for."""

    def to_cells(leaf: Any) -> Any:
        if isinstance(leaf, Shadowed):
            return _unwrapped(exact_of(leaf))
        known = tape.known(leaf) if isinstance(leaf, float) else None
        if known is None and is_foreign(leaf):
            tape.take_in(leaf)
        if isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind == "f":
            # An array that was made in the traced code, or is kept by it, has a shadow.
            tape.went_on |= bool(tape.not_followed)
        return _value_cells(leaf) if known is None else known

    return _replaced(thing, to_cells)


def is_foreign(leaf: Any) -> bool:
    """True for a number, or an array of them, that carries no shadow."""
    if isinstance(leaf, Shadowed):
        return False
    return isinstance(leaf, float) or (isinstance(leaf, (np.ndarray, np.generic)) and leaf.dtype.kind == "f")


def _value_cells(leaf: Any) -> Any:
    """Turn numbers of a format into cells of their values; all else stays."""
    if isinstance(leaf, float):
        return as_cell(leaf)
    is_real = isinstance(leaf, (np.ndarray, np.generic)) and format_or_none(leaf.dtype) is not None
    is_real = is_real or isinstance(leaf, Shadowed)
    return _unwrapped(cells_of(plain(leaf))) if is_real else leaf


def _unwrapped(cells: Array) -> Any:
    return cells if cells.ndim else cells[()]


def _arrays(args: tuple[Any, ...], kwargs: dict[str, Any], *, whole_numbers: bool) -> list[tuple[Array, Array]]:
    """Collect the arrays and numbers of an argument, with their cells.

    A positional whole number may be an operand or an axis: `whole_numbers` tells which.
    """
    pairs = []
    for leaf, may_be_whole in [*((a, whole_numbers) for a in leaves(args)), *((k, False) for k in leaves(kwargs))]:
        if isinstance(leaf, Shadowed):
            pairs.append((plain_array(leaf), exact_of(leaf)))
        elif isinstance(leaf, (int, float, np.ndarray, np.generic)):
            values = np.asarray(leaf)
            if format_or_none(values.dtype) is not None or (may_be_whole and values.dtype.kind in "iu"):
                pairs.append((values, cells_of(values)))
    return pairs


def fingerprint(value: Any) -> Hashable:
    """Return what identifies the value of a variable of the traced code."""
    if isinstance(value, Shadowed) and value.exact is not None:
        return value.shape, tuple(map(id, value.exact.ravel().tolist()))
    return id(value)


def carrier(*things: Any) -> Shadowed:
    """Return the first shadowed array of some arguments."""
    # NumPy calls the protocols of arguments only, so that there is one.
    return next(leaf for leaf in leaves(things) if isinstance(leaf, Shadowed))


def is_fancy(index: Any) -> bool:
    """Tell an index that picks cells from one that gives a view."""
    indices = index if isinstance(index, tuple) else (index,)
    return any(isinstance(i, (list, np.ndarray)) for i in indices)


def narrows(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Tell whether a conversion may round."""
    a, b = format_or_none(source), format_or_none(target)
    if target.kind in "iu":
        return a is not None
    if a is None or b is None:
        return b is not None and b != FLOAT64 and source.kind in "iu"
    return a.precision > b.precision or a.emax > b.emax or a.emin < b.emin
