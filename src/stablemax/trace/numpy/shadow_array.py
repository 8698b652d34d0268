"""A shadowed array that behaves as NumPy's own: protocols, operators, methods."""

from __future__ import annotations

import builtins
import functools
import math
import operator
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import arb

from stablemax.trace.exact_cells import EXACT, as_array, cells_of, format_or_none, nearest, settled
from stablemax.trace.numpy.exact_functions import LIKE, MOVED, TRUTHS, VALUES
from stablemax.trace.numpy.exact_matrix_functions import MATRICES, SEVERAL
from stablemax.trace.numpy.exact_statistics import COMPUTED, PRODUCTS_OF_VECTORS
from stablemax.trace.numpy.questions import CHOOSERS, CLOSE, places_of, truth_of, with_nan_replaced
from stablemax.trace.numpy.shadowed import (
    Shadowed,
    carrier,
    exact_of,
    is_fancy,
    made,
    move,
    narrows,
    operate,
    plain,
    plain_array,
    shadow,
    shadow_tree,
)
from stablemax.trace.special_cells import FUNCTIONS

if TYPE_CHECKING:
    from stablemax.trace.numpy.tape import Tape


class ShadowArray(Shadowed):
    """A shadow array, which the traced code gets in place of an array: each number with its exact value."""

    # --- protocols ------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """Run a ufunc, or one of its methods, on the values and on the shadow."""
        like = carrier(inputs, kwargs)
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if ufunc is np.divmod and method == "__call__" and not kwargs:
            return np.floor_divide(*inputs), np.remainder(*inputs)
        if method == "at":
            return _at(like.tape, name, ufunc, inputs)
        run = functools.partial(getattr(ufunc, method), **plain(kwargs))
        out = (kwargs.pop("out", None) or (None,))[0]
        exactly = _exact_ufunc(like.tape, ufunc, method, kwargs, out)
        return operate(like, name, run, exactly, inputs, out=out, options=kwargs)

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        """Run a NumPy function on the values and on the shadow."""
        like = carrier(args, kwargs)
        tape = like.tape
        name = f"{func.__module__}.{func.__name__}".removeprefix("numpy.")
        if name in COMPUTED and not (name == "where" and len(args) < 3):
            return operate(like, name, func, COMPUTED[name], args, kwargs, kwargs.get("out"))
        if name in SEVERAL:
            return _several(like, name, func, args, kwargs)
        if name in MOVED:
            return move(like, name, func, func, args, kwargs)
        if name == "nan_to_num":
            exactly = with_nan_replaced(func, args[0], *plain(args[1:]), **plain(kwargs))
            return operate(like, name, func, exactly, args, kwargs)
        if name in _OWN_FORMS:
            return _OWN_FORMS[name](*args, **kwargs)
        if name in CHOOSERS:
            return places_of(func, *args, **kwargs)
        if name in TRUTHS and isinstance(args[0], Shadowed):
            args = (truth_of(args[0]), *args[1:])
        result = func(*plain(args), **plain(kwargs))
        if name in LIKE:
            return made(result, cells_of(result), tape, ShadowArray)
        if name not in VALUES:
            tape.lose_call(f"np.{name}()")
        return result

    # --- places ---------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Any:
        index = plain(index)
        exact = exact_of(self)
        if is_fancy(index):
            return operate(self, "index", lambda a: a[index], lambda e: e[index], (self,))
        return shadow(plain_array(self)[index], as_array(exact[index]), self.tape, ShadowArray)

    def __setitem__(self, index: Any, value: Any) -> None:
        index, values, new_values = plain(index), plain_array(self), np.asarray(plain(value))
        cells = settled(np.asarray(shadow_tree(value, self.tape), dtype=object))
        values[index] = new_values
        if isinstance(value, Shadowed) and narrows(new_values.dtype, self.dtype):
            written = np.asarray(values[index])
            exact = np.broadcast_to(cells, written.shape)
            inputs = [(np.broadcast_to(new_values, written.shape), exact)]
            origin = f" made on line {self.made_on}" if self.made_on else ""
            name = "assign" if format_or_none(self.dtype) else f"assign to an array of integers{origin}"
            values[index], cells = self.tape.finish(name, written, exact, None, inputs)
        exact_of(self)[index] = cells if cells.ndim else cells[()]

    def __iter__(self) -> Iterator[Any]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # --- numbers --------------------------------------------------------------------------------

    def __float__(self) -> float:
        return self.tape.hand_out(float(plain(self)), exact_of(self).reshape(-1)[0], "float()")

    def item(self, *place: Any) -> Any:
        """One cell as a Python float."""
        number = np.arange(self.size).reshape(self.shape).item(*place)
        value = float(plain_array(self).item(number))
        return self.tape.hand_out(value, exact_of(self).reshape(-1)[number], "item()")

    def tolist(self) -> Any:
        """All cells as Python floats, in nested lists."""
        if self.ndim == 0:
            return self.tape.hand_out(float(plain(self)), exact_of(self)[()], "tolist()")
        return [row.tolist() for row in self]

    def __int__(self) -> int:
        value, exact = int(plain(self)), float(nearest(exact_of(self).reshape(-1)[:1])[0])
        if self.dtype.kind in "iu":
            return value
        if not math.isfinite(exact):
            self.tape.lose_call("int()")
            return value
        return int(self.tape.decided("int()", value, int(exact)))

    def __reduce__(self) -> Any:
        self.tape.lose_call("pickle")
        return np.asarray(plain(self)).__reduce__()

    def __deepcopy__(self, memo: Any) -> Any:
        return self.copy()

    # --- methods that need more than the tables below ---------------------------------------------

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        """Convert, rounding where the dtype is narrower."""
        wanted = np.dtype(dtype)
        if wanted.kind == "b":
            return truth_of(self)
        if format_or_none(wanted) is None and self.dtype.kind in "iu" and wanted.kind in "iu":
            return shadow(
                plain_array(self).astype(dtype, *args, **kwargs), exact_of(self).copy(), self.tape, ShadowArray
            )
        if format_or_none(wanted) is None:
            self.tape.lose_call("astype()")
            return plain(self).astype(dtype, *args, **kwargs)
        if wanted == self.dtype and kwargs.get("copy") is False:
            return self

        def convert(values: Any) -> Any:
            return values.astype(dtype, *args, **kwargs)

        if narrows(self.dtype, wanted):
            return operate(self, "astype", convert, lambda e: e, (self,))
        return shadow(convert(plain(self)), exact_of(self).copy(), self.tape, ShadowArray)

    def view(self, *args: Any, **kwargs: Any) -> Any:
        """Look at the same memory; as another dtype or class the shadow is lost."""
        if not args and not kwargs:
            return shadow(plain_array(self), exact_of(self), self.tape, ShadowArray)
        self.tape.lose_call("view()")
        return plain_array(self).view(*args, **kwargs)

    def fill(self, value: Any) -> None:
        """Set every cell."""
        self[...] = value

    def sort(self, axis: Any = -1, *_options: Any, **_kwargs: Any) -> None:
        """Sort in place, the shadow as the values."""
        self[...] = _sorted(self, axis)

    def partition(self, kth: Any, axis: Any = -1, *_options: Any, **_kwargs: Any) -> None:
        """Partition in place, the shadow as the values."""
        places = np.argpartition(plain_array(self), kth, axis=axis)
        for array in (plain_array(self), exact_of(self)):
            array[...] = np.take_along_axis(array, places, axis=axis)

    def put(self, places: Any, values: Any, mode: Any = "raise") -> None:
        """Set cells of the flattened array."""
        plain_array(self).put(places, plain(values), mode)
        exact_of(self).put(places, settled(np.asarray(shadow_tree(values, self.tape), dtype=object)), mode)

    @property
    def flat(self) -> Any:
        """The cells in a row: a view where the memory allows it."""
        return self.reshape(-1)

    @flat.setter
    def flat(self, value: Any) -> None:
        self.reshape(-1)[...] = value

    @property
    def T(self) -> Any:  # noqa: N802 - NumPy's name
        """The axes reversed."""
        return self.transpose()

    @property
    def mT(self) -> Any:  # noqa: N802 - NumPy's name
        """The last two axes exchanged."""
        return self.swapaxes(-1, -2)

    @property  # type: ignore[misc]  # NumPy lets it be set
    def real(self) -> Any:
        """The array: it is real."""
        return self


_ROUNDING_OPTIONS = ("dtype", "casting", "order", "subok", "signature")


def _several(like: Shadowed, name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Run a function with several results, each of which is an operation of its own."""
    values = func(*plain(args), **plain(kwargs))
    if not isinstance(values, tuple):  # it gives one alone where its arguments say so
        one = "linalg.svdvals" if name == "linalg.svd" else name
        exactly = None if one not in MATRICES else lambda a, *_, **__: MATRICES[one](a)
        return operate(like, name, func, exactly, args, kwargs)
    parts = [
        operate(
            like,
            name,
            lambda *a, i=i, **k: func(*a, **k)[i],
            lambda *a, i=i, **k: SEVERAL[name](values, *a, **k)[i],
            args,
            kwargs,
        )
        for i in range(len(values))
    ]
    return type(values)(*parts) if hasattr(values, "_fields") else tuple(parts)


def _exact_ufunc(
    tape: Tape, ufunc: np.ufunc, method: str, kwargs: dict[str, Any], out: Any
) -> Callable[..., Any] | None:
    """The same call on cells; None where there is none."""
    if method == "__call__" and ufunc.__name__ in PRODUCTS_OF_VECTORS and not kwargs:
        return PRODUCTS_OF_VECTORS[ufunc.__name__]
    exact = FUNCTIONS.get(ufunc.__name__)
    if exact is None or ufunc.nout != 1 or exact.nin != ufunc.nin:
        return None
    options = {k: shadow_tree(v, tape) for k, v in kwargs.items() if k not in _ROUNDING_OPTIONS}
    where = options.pop("where", True)
    if where is True:
        if options.get("initial", 0) is None:
            del options["initial"]
        return lambda *xs: getattr(exact, method)(*xs, **options)
    if method == "reduce":
        identity = {"add": arb(0), "multiply": arb(1)}.get(ufunc.__name__, exact.identity)
        return lambda *xs: exact.reduce(*xs, **{"initial": identity, **options, "where": where})
    if not isinstance(out, Shadowed):
        return None
    # The cells that the mask leaves out keep what was there.
    before = exact_of(out).copy()
    return lambda *xs: np.where(where, exact(*xs, **options), before)


def _at(tape: Tape, name: str, ufunc: np.ufunc, inputs: tuple[Any, ...]) -> None:
    """``ufunc.at``: unbuffered, in place."""
    target, places, *operands = inputs
    places, values = plain(places), plain(target)
    if not isinstance(target, Shadowed):
        tape.lose_call(f"{name} on an array from outside")
        ufunc.at(values, places, *plain(operands))
        return
    # An array may have no cells yet: they are its values as they were before.
    before, cells = values.copy(), exact_of(target)
    ufunc.at(values, places, *plain(operands))
    exact = FUNCTIONS.get(ufunc.__name__)
    if exact is None:
        tape.lose_call(name)
        cells[...] = cells_of(values)
        return
    local = cells_of(before)
    exact.at(local, places, *(cells_of(plain(o)) for o in operands))
    exact.at(cells, places, *shadow_tree(operands, tape))
    values[...], cells[...] = tape.finish(name, values, cells, lambda: local, [(before, cells_of(before))])


def _sorted(array: Any, axis: int | None = -1, *_options: Any, **_kwargs: Any) -> Any:
    if axis is None:
        array, axis = array.reshape(-1), -1
    places = np.argsort(plain_array(array), axis=axis, kind="stable")
    exact = np.take_along_axis(exact_of(array), places, axis=axis)
    return shadow(np.sort(plain_array(array), axis=axis), exact, array.tape, ShadowArray)


def _along_axis(function: Any, axis: int, array: Any, *args: Any, **kwargs: Any) -> Any:
    """``np.apply_along_axis``, slice by slice."""
    tape = carrier(array).tape
    lanes = np.moveaxis(array, axis, -1)
    results = [function(lanes[i], *args, **kwargs) for i in np.ndindex(*lanes.shape[:-1])]
    values = np.stack([np.asarray(plain(r)) for r in results])
    exact = np.stack([as_array(shadow_tree(r, tape)) for r in results])
    shape = (*lanes.shape[:-1], *values.shape[1:])
    whole = shadow(values.reshape(shape), settled(exact.reshape(shape)), tape, ShadowArray)
    # The results of a slice stand where the slice stood.
    return np.moveaxis(
        whole, range(lanes.ndim - 1, whole.ndim), range(axis % lanes.ndim, axis % lanes.ndim + values.ndim - 1)
    )


def _piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Call the functions on their pieces, as ``np.piecewise`` does; the last one that holds wins."""
    holds = np.atleast_2d(plain(condlist)) if np.ndim(plain(condlist)) <= np.ndim(plain(x)) else plain(condlist)
    holds = [np.asarray(condition, dtype=bool).reshape(np.shape(plain(x))) for condition in holds]
    if len(funclist) == len(holds) + 1:
        holds.append(~np.any(holds, axis=0))
    out = np.zeros_like(x)
    for condition, function in zip(holds, funclist, strict=True):
        if not callable(function):
            out[condition] = function
        elif condition.any():
            out[condition] = function(x[condition], *args, **kw)
    return out


_OWN_FORMS: dict[str, Callable[..., Any]] = {
    **CLOSE,
    "sort": _sorted,
    "apply_along_axis": _along_axis,
    "piecewise": _piecewise,
}

# --- operators and methods, from tables ---------------------------------------------------------

_BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power", "matmul": "matmul",
}  # fmt: skip
_SIGNS = {"neg": "negative", "pos": "positive", "abs": "absolute"}
_NUMBERS = (np.ndarray, np.generic, int, float, complex, list, tuple)


def _operators(name: str, ufunc: str) -> None:
    exact, run, in_place = EXACT[ufunc], getattr(operator, name), getattr(operator, f"i{name}")

    def forward(self: ShadowArray, other: Any) -> Any:
        return operate(self, ufunc, run, exact, (self, other)) if isinstance(other, _NUMBERS) else NotImplemented

    def reflected(self: ShadowArray, other: Any) -> Any:
        return operate(self, ufunc, run, exact, (other, self)) if isinstance(other, _NUMBERS) else NotImplemented

    def updated(self: ShadowArray, other: Any) -> Any:
        if self.is_scalar:
            return run(self, other)
        return operate(self, ufunc, in_place, exact, (self, other), out=self)

    for prefix, method in (("", forward), ("r", reflected), ("i", updated)):
        setattr(ShadowArray, f"__{prefix}{name}__", method)


def _sign_operator(name: str, ufunc: str) -> None:
    def method(self: ShadowArray) -> Any:
        return operate(self, ufunc, getattr(operator, name), EXACT[ufunc], (self,))

    setattr(ShadowArray, f"__{name}__", method)


def _method(name: str) -> Callable[..., Any]:
    return lambda array, *args, **kwargs: getattr(array, name)(*args, **kwargs)


def _computing_method(name: str) -> None:
    def method(self: ShadowArray, *args: Any, **kwargs: Any) -> Any:
        return operate(self, name, _method(name), COMPUTED[name], (self, *args), kwargs, kwargs.get("out"))

    setattr(ShadowArray, name, method)


def _moving_method(name: str) -> None:
    def on_cells(cells: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(as_array(cells), name)(*args, **kwargs)

    def method(self: ShadowArray, *args: Any, **kwargs: Any) -> Any:
        return move(self, name, _method(name), on_cells, (self, *args), kwargs)

    setattr(ShadowArray, name, method)


def _value_method(name: str, function: Callable[..., Any], *, loses: bool) -> None:
    def method(self: ShadowArray, *args: Any, **kwargs: Any) -> Any:
        if loses:
            self.tape.lose_call(f"{name.strip('_')}()")
        return function(plain(self), *plain(args), **plain(kwargs))

    setattr(ShadowArray, name, method)


def _choosing_method(name: str) -> None:
    def method(self: ShadowArray, *args: Any, **kwargs: Any) -> Any:
        return places_of(_method(name), self, *args, **kwargs)

    setattr(ShadowArray, name, method)


def _truth_method(name: str, function: Callable[..., Any]) -> None:
    def method(self: ShadowArray, *args: Any, **kwargs: Any) -> Any:
        return function(truth_of(self), *plain(args), **plain(kwargs))

    setattr(ShadowArray, name, method)


for _name, _ufunc in _BINARY.items():
    _operators(_name, _ufunc)
for _name, _ufunc in _SIGNS.items():
    _sign_operator(_name, _ufunc)
for _name in ("sum", "prod", "max", "min", "mean", "var", "std", "cumsum", "cumprod", "clip", "round", "trace", "dot"):
    _computing_method(_name)
for _name in ("reshape", "transpose", "swapaxes", "squeeze", "ravel", "flatten", "copy", "__copy__", "take", "repeat",
              "diagonal", "compress"):  # fmt: skip
    _moving_method(_name)
for _name in ("tobytes", "tofile", "dump", "dumps", "byteswap", "getfield", "choose"):
    _value_method(_name, _method(_name), loses=True)
for _name in CHOOSERS:
    _choosing_method(_name)
for _name in ("all", "any", "nonzero"):
    _truth_method(_name, _method(_name))
_truth_method("__bool__", bool)
for _name in ("complex", "round"):
    _value_method(f"__{_name}__", getattr(builtins, _name), loses=True)
for _name in ("hash", "repr", "str", "format"):
    _value_method(f"__{_name}__", getattr(builtins, _name), loses=False)
