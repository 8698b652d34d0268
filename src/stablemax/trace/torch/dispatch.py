"""Runs every dispatched operator twice: as PyTorch does, and exactly on the shadows."""

from __future__ import annotations

import contextlib
import functools
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from stablemax.formats import FORMATS
from stablemax.peers.torch_arrays import to_numpy
from stablemax.trace.exact_cells import as_cell, cells_of, nearest, settled
from stablemax.trace.numpy.tape import Record, Site, Step
from stablemax.trace.observe import observe
from stablemax.trace.torch.exact_ops import CONSTANTS, EXACT, MOVES, REDUCTIONS, NotExact, positions, reduced
from stablemax.trace.torch.storage import NOWHERE, Shadows, wide
from stablemax.trace.torch.torch_lines import Spot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stablemax.formats import Array
    from stablemax.trace.observe import Observation
    from stablemax.trace.torch.torch_lines import Locator

_COPIES = MOVES | {"clone", "copy", "_to_copy", "fill", "zero", "index_put", "_index_put_impl", "scatter"}
_PRODUCTS = ("mm", "bmm", "mv", "addmm")
_BINARY = ("add", "sub", "rsub", "mul", "div", "pow")
# PyTorch has two names for each of these; the longer one is NumPy's.
_WORDS = {
    "sub": "subtract",
    "rsub": "subtract",
    "mul": "multiply",
    "div": "divide",
    "neg": "negative",
    "pow": "power",
    "mm": "matmul",
    "bmm": "matmul",
    "mv": "matmul",
}


class NotFollowed(Exception):  # noqa: N818 - not an error: the run goes on with the plain value
    """An operator that not even float64 could stand in for."""


@dataclass(frozen=True)
class Call:
    """One dispatched operator with its arguments."""

    function: Any
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its aten name, without the underscore of an in-place form; with its library where that is another."""
        name = str(self.function._schema.name)
        if name.endswith("_") and not name.endswith("__"):
            name = name[:-1]
        return name.removeprefix("aten::")

    @property
    def floats(self) -> list[torch.Tensor]:
        """Its arguments that are tensors of real numbers."""
        leaves = tree_leaves((self.arguments, dict(self.options)))
        return [t for t in leaves if isinstance(t, torch.Tensor) and t.is_floating_point()]

    @property
    def operands(self) -> list[Any]:
        """What it calculates with: both sides, whole numbers too, where it has a left and a right one."""
        if self.name in _BINARY:
            return [a for a in self.arguments[:2] if isinstance(a, (torch.Tensor, int, float))]
        return [*self.floats, *(a for a in self.arguments if type(a) is float)]

    @property
    def written(self) -> list[torch.Tensor]:
        """The tensors that it writes to."""
        found: list[Any] = []
        for i, argument in enumerate(self.function._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = self.options.get(argument.name, self.arguments[i] if i < len(self.arguments) else None)
                found += value if isinstance(value, (list, tuple)) else [value]
        return [t for t in found if isinstance(t, torch.Tensor)]

    def outputs(self, result: Any) -> list[Any]:
        """Return the tensors that hold its results."""
        return self.written or (list(result) if isinstance(result, (list, tuple)) else [result])

    def on(self, see: Callable[[torch.Tensor], Any], *, whole: Callable[[Any], Any] = lambda a: a) -> Any:
        """Return positional and named arguments with each tensor of real numbers replaced."""

        def replaced(t: torch.Tensor) -> Any:
            return see(t) if t.is_floating_point() else whole(t)

        return tree_map_only(torch.Tensor, replaced, (self.arguments, dict(self.options)))


@dataclass(frozen=True)
class Fix:
    """What one run of an operator should have given: the exact values, correctly rounded."""

    dispatch: int
    aten: str
    output: int
    values: Array


@dataclass(frozen=True)
class Ran(Step):
    """One operator, as it ran.

    Parameters
    ----------
    spot : Spot
        Line, phase and node.
    fix : Fix
        What it should have given.
    """

    spot: Spot
    fix: Fix


@dataclass
class Placed(Record):
    """One operator at one place in the code, over all of its runs.

    Parameters
    ----------
    aten : str
        Its aten name.
    spot : Spot
        Line, phase and node.
    places : dict
        For each kind of event, the place of the logit of its first cell.
    """

    aten: str = ""
    spot: Spot = field(default_factory=lambda: Spot("", 0))
    places: dict[Any, int] = field(default_factory=dict)

    def put(self, seen: Observation, places: Array) -> None:
        """Note which logits the events of a run come from."""
        for event in seen.events:
            self.places.setdefault(event.kind, int(places[event.place]))


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows a run operator by operator.

    Parameters
    ----------
    shadows : Shadows
        Of the input, and of what comes of it.
    locator : Locator
        Finds the lines.
    forgotten_to : int
        So many dispatches are run without a look: the shadow begins after them, with the values as
        they are then.
    """

    def __init__(self, shadows: Shadows, locator: Locator, *, forgotten_to: int = 0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shadows = shadows
        self.locator = locator
        self.forgotten_to = forgotten_to
        self.dispatches = 0
        self.steps: list[Ran] = []
        self.records: dict[tuple[Any, ...], Placed] = {}
        self.not_followed: dict[tuple[str, int], str] = {}
        self.in_float64: dict[str, None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and follow it."""
        dispatch, self.dispatches = self.dispatches, self.dispatches + 1
        call = Call(func, tuple(args), kwargs or {})
        if dispatch < self.forgotten_to:
            for t in call.written:
                self.shadows.forget(t)
            return func(*call.arguments, **call.options)
        spot = self.locator.spot()
        inputs = call.floats
        if not inputs or call.name in CONSTANTS:
            return func(*call.arguments, **call.options)
        # A write in place destroys its inputs: they have to be looked at before.
        with _unseen():
            before = self._before(call) if call.written else None
        result = func(*call.arguments, **call.options)
        with _unseen():
            self._look(call, before, call.outputs(result), dispatch, spot)
        return result

    def _look(self, call: Call, before: _Before | None, outputs: list[Any], dispatch: int, spot: Spot) -> None:
        """Follow an operator that has run."""
        inputs = call.floats
        if not any(isinstance(t, torch.Tensor) and t.is_floating_point() for t in outputs):
            self._lose_numbers(call, inputs, outputs, spot)
        elif before is not None or not self._is_view(outputs, inputs):
            self._follow(before or self._before(call), outputs, dispatch, spot)

    def lose(self, what: str, spot: Spot) -> None:
        """Take down what the shadow could not go through."""
        where = f" at {Path(spot.file).name}:{spot.line}" if spot.file else ""
        self.not_followed.setdefault((spot.file, spot.line), f"{what}{where}")

    def _lose_numbers(self, call: Call, inputs: list[torch.Tensor], outputs: list[Any], spot: Spot) -> None:
        if not any(self.shadows.has(t) for t in inputs):
            return
        if call.name == "_local_scalar_dense":
            self.lose("a tensor taken as a number", spot)
        elif call.name == "_to_copy":
            self.lose("conversion to integers", spot)
        elif any(isinstance(t, torch.Tensor) and t.is_complex() for t in outputs):
            self.lose("complex numbers", spot)

    def _is_view(self, outputs: list[Any], inputs: list[torch.Tensor]) -> bool:
        return all(isinstance(t, torch.Tensor) and self.shadows.shares(t, inputs) for t in outputs)

    def _before(self, call: Call) -> _Before:
        inputs = call.floats
        exact_inputs = all(self.shadows.is_exact(t) for t in inputs)
        try:
            exact: list[Any] | None = self._computed(call, self.shadows.cells)
            local = exact if exact_inputs else self._computed(call, lambda t: cells_of(wide(t)))
        except NotFollowed:
            exact = local = None
        operands = [self._operand(a) for a in call.operands]
        shadowed = any(self.shadows.has(t) for t in inputs)
        return _Before(call, exact, local, operands, self._placed(call), shadowed)

    def _operand(self, operand: Any) -> tuple[Array, Array]:
        """Return what an operator reads: its number as it is, and exactly."""
        if not isinstance(operand, torch.Tensor):
            return np.asarray(operand), cells_of(operand)
        if not operand.is_floating_point():
            whole = operand.detach().cpu().numpy().astype(np.float64)
            return whole, cells_of(whole)
        # A write in place is told with what it read, not with what it left there.
        return np.array(to_numpy(operand)), self.shadows.cells(operand).copy()

    def _computed(self, call: Call, see: Callable[[torch.Tensor], Array]) -> list[Any]:
        """Compute an operator exactly on what is seen of its tensors; in float64 where there is no exact way."""
        exactly = EXACT.get(call.name)
        if exactly is not None:
            arguments, options = call.on(see)
            options = {k: v for k, v in options.items() if k != "out"}
            if _accepts(exactly, arguments, options):
                # A way of calling it that the entry was not made for is left to float64, and noted.
                with contextlib.suppress(NotExact, TypeError, ValueError, IndexError):
                    return _as_list(exactly(*arguments, **options))
        if call.name in MOVES:
            moved = _moved(call, see, as_cell(0.0))
            if moved is not None:
                return moved
        return self._computed_in_float64(call, see)

    def _computed_in_float64(self, call: Call, see: Callable[[torch.Tensor], Array]) -> list[Any]:
        if torch.Tag.nondeterministic_seeded in call.function.tags:
            raise NotFollowed
        with np.errstate(over="ignore"):
            seen = {id(t): nearest(see(t)) for t in call.floats}
        if any(np.isinf(seen[id(t)]).any() and not np.isinf(wide(t)).any() for t in call.floats):
            raise NotFollowed
        arguments, options = call.on(lambda t: torch.from_numpy(seen[id(t)].copy()).to(t.device))
        wider = tuple(torch.float64 if _is_float_type(a) else a for a in arguments)
        options = {k: torch.float64 if _is_float_type(v) else v for k, v in options.items()}
        try:
            result = call.function(*wider, **options)
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            raise NotFollowed from error
        self.in_float64.setdefault(call.name)
        found = Call(call.function, wider, options).outputs(result)
        return [cells_of(wide(t)) if isinstance(t, torch.Tensor) and t.is_floating_point() else None for t in found]

    def _placed(self, call: Call) -> Callable[[int, tuple[int, ...]], Array]:
        """Find out which logits the numbers of an output come from."""
        see = self.shadows.places
        if call.name in MOVES:
            moved = _moved(call, see, NOWHERE)
            if moved is not None:
                return lambda i, _shape: moved[i]
        seen = [see(t).copy() for t in call.floats]
        if call.name in REDUCTIONS and len(seen) == 1:
            return lambda _i, shape: self._placed_row(call, seen[0], shape)
        if call.name in _PRODUCTS:
            seen = [self.shadows.whole_row(p[..., :1]) for p in seen[:1]]
        return lambda _i, shape: self._placed_cells(seen, shape)

    def _placed_row(self, call: Call, places: Array, shape: tuple[int, ...]) -> Array:
        rows = self.shadows.whole_row(places)
        dim, keepdim = (*call.arguments, None, None)[1:3]
        dim, keepdim = call.options.get("dim", dim), bool(call.options.get("keepdim", keepdim))
        if not places.size:
            return np.full(shape, NOWHERE)
        low, high = (reduced(ufunc, rows, dim, keepdim=keepdim) for ufunc in (np.minimum, np.maximum))
        return np.where(low == high, low, NOWHERE).reshape(shape)

    def _placed_cells(self, seen: Sequence[Array], shape: tuple[int, ...]) -> Array:
        """Take the place of each cell from the input that knows it best: a logit, or else a row."""
        out = np.full(shape, NOWHERE)
        for places in seen:
            try:
                spread = np.broadcast_to(places, shape)
            except ValueError:
                continue
            out = np.where(self._knowledge(spread) > self._knowledge(out), spread, out)
        return out

    def _knowledge(self, places: Array) -> Array:
        of_row = places % (self.shadows.classes + 1) == self.shadows.classes
        return np.where(places == NOWHERE, 0, np.where(of_row, 1, 2))

    def _follow(self, before: _Before, outputs: list[Any], dispatch: int, spot: Spot) -> None:
        call = before.call
        known = all(_format_of(t) in FORMATS for t in outputs if isinstance(t, torch.Tensor) and t.is_floating_point())
        if before.exact is None or before.local is None or len(before.exact) != len(outputs) or not known:
            if before.shadowed:
                self.lose(f"{call.name}()", spot)
            for t in outputs:
                if isinstance(t, torch.Tensor):
                    self.shadows.forget(t)
            return
        for i, t in enumerate(outputs):
            if isinstance(t, torch.Tensor) and t.is_floating_point() and before.exact[i] is not None:
                self._finish(before, i, t, dispatch, spot)

    def _finish(self, before: _Before, i: int, output: torch.Tensor, dispatch: int, spot: Spot) -> None:
        """Measure one output, take it down and give it its shadow."""
        aten = before.call.name
        fmt = FORMATS[_format_of(output)]
        assert before.exact is not None
        assert before.local is not None
        shape = tuple(output.shape)
        exact, local = (c[i].reshape(shape) for c in (before.exact, before.local))
        places = before.places(i, shape)
        name = _WORDS.get(aten, aten)
        seen = observe(name, fmt, to_numpy(output), exact, local, before.operands[:: -1 if aten == "rsub" else 1])
        if aten not in _COPIES or seen.local_error_ulp or seen.events:
            fix = Fix(dispatch, aten, i, fmt.round(nearest(exact)))
            self.steps.append(Ran(name, Site(spot.file, spot.line), fmt.name, seen, spot, fix))
            self._record(aten, seen, spot, i).put(seen, places)
        equal = not (seen.error_ulp or seen.inf or seen.nan or seen.lost or seen.events)
        self.shadows.write(output, exact, places, exact=equal)

    def _record(self, aten: str, seen: Observation, spot: Spot, output: int) -> Placed:
        step = self.steps[-1]
        key = (aten, output, step.dtype, spot)
        if key in self.records:
            self.records[key].add(seen)
        else:
            first = {e.kind: 0 for e in seen.events}
            index = len(self.steps) - 1
            self.records[key] = Placed(index, step.name, step.site, step.dtype, seen, 1, first, aten, spot)
        return self.records[key]


@dataclass(frozen=True)
class _Before:
    """What is known of an operator before it runs: a write in place destroys its inputs."""

    call: Call
    exact: list[Any] | None
    local: list[Any] | None
    operands: list[tuple[Array, Array]]
    places: Callable[[int, tuple[int, ...]], Array]
    shadowed: bool


def _unseen() -> contextlib.AbstractContextManager[Any]:
    """Keep our own way out of PyTorch from being taken for the code's: TorchScript leaves `Escapes` on."""
    return torch._C.DisableTorchFunction()


def _as_list(found: Any) -> list[Any]:
    parts = list(found) if isinstance(found, tuple) else [found]
    return [None if p is None else settled(p) for p in parts]


@functools.cache
def _signature(exactly: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(exactly)


def _accepts(exactly: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Tell whether an entry takes the arguments of this overload."""
    if isinstance(exactly, np.ufunc):
        return len(arguments) == exactly.nin and not options
    try:
        _signature(exactly).bind(*arguments, **options)
    except TypeError:
        return False
    return True


def _format_of(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _is_float_type(value: Any) -> bool:
    return isinstance(value, torch.dtype) and value.is_floating_point


def _moved(call: Call, see: Callable[[torch.Tensor], Array], zero: Any) -> list[Any] | None:
    """Let PyTorch move positions about, then put there what is seen; None where it wants more than that."""
    padding = (*call.arguments, 0)[2] if call.name == "constant_pad_nd" else 0
    if call.options.get("value", padding):
        return None
    pool: list[Array] = [np.array([zero])]

    def numbered(t: torch.Tensor) -> torch.Tensor:
        found = positions(tuple(t.shape), sum(p.size for p in pool))
        pool.append(see(t).ravel())
        return found

    arguments, options = call.on(numbered, whole=lambda t: t.cpu())
    try:
        result = call.function(*arguments, **options)
    except (RuntimeError, NotImplementedError):
        return None  # not for integers
    flat = np.concatenate(pool)
    found = Call(call.function, arguments, options).outputs(result)
    return [flat[t.numpy()] for t in found]


class Escapes(TorchFunctionMode):
    """Takes down where numbers leave PyTorch: NumPy, lists, Python's own numbers.

    Parameters
    ----------
    watch : Watch
        What they escape from.
    """

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of PyTorch, and look at what it lets out."""
        word = _WAYS_OUT.get(getattr(func, "__name__", ""))
        tensor = args[0] if word is not None and args and isinstance(args[0], torch.Tensor) else None
        if word is not None and tensor is not None and self.watch.shadows.has(tensor):
            self.watch.lose(word, self.watch.locator.caller())
        return func(*args, **(kwargs or {}))


_WAYS_OUT = {
    "numpy": ".numpy()",
    "__array__": "conversion to a NumPy array",
    "tolist": ".tolist()",
    "item": ".item()",
    "__float__": "float()",
    "__int__": "int()",
    "__index__": "a tensor taken as an index",
    "__dlpack__": "__dlpack__()",
    "data_ptr": ".data_ptr()",
}


class Replace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs code as it is, but for some operators that give what they should have.

    Parameters
    ----------
    fixes : sequence of Fix
        What to give, and where.
    """

    def __init__(self, fixes: Sequence[Fix]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dispatches = 0
        self._fixes: dict[int, list[Fix]] = {}
        for fix in fixes:
            self._fixes.setdefault(fix.dispatch, []).append(fix)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, then put right what is to be put right."""
        dispatch, self.dispatches = self.dispatches, self.dispatches + 1
        call = Call(func, tuple(args), kwargs or {})
        result = func(*call.arguments, **call.options)
        for fix in self._fixes.get(dispatch, ()):
            # Once a number is right the code may take other branches, where this is another operator.
            output = call.outputs(result)[fix.output] if call.name == fix.aten else None
            if isinstance(output, torch.Tensor) and tuple(output.shape) == fix.values.shape:
                output.copy_(torch.from_numpy(fix.values.copy()))
        return result
