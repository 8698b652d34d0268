"""One dispatched operator: what it reads and writes, what it computes exactly, and which logits that comes from."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from stablemax.numerics.formats import Array
from stablemax.trace.arrangement import Arrangement
from stablemax.trace.cures.flow import Reduction
from stablemax.trace.exact_cells import as_cell, cells_of, nearest, settled
from stablemax.trace.observation import Event, Kind, Observation, Record
from stablemax.trace.torch.aten_names import CONSTANTS, MOVES
from stablemax.trace.torch.decompositions import decomposed
from stablemax.trace.torch.exact_ops import REDUCTIONS, NotExact, positions, reduced
from stablemax.trace.torch.exact_table import EXACT, OF_CALL
from stablemax.trace.torch.storage import NOWHERE, Shadows, wide

See = Callable[[torch.Tensor], Array]
Places = Callable[[int, tuple[int, ...]], Array]

_TAKE_AXES = frozenset((
    "sum", "mean", "prod", "amax", "amin", "logsumexp", "linalg_vector_norm", "cumsum", "cumprod", "_softmax",
    "_log_softmax", "softmax",
))  # fmt: skip
"""Operators with an argument `dim` of the axes that they take together."""
_REDUCED_LOSSES = frozenset(("binary_cross_entropy",))
"""Losses with an argument `reduction`."""
_BINARY = ("add", "sub", "rsub", "mul", "div", "pow")
_PRODUCTS = ("mm", "bmm", "mv", "addmm")


class NotFollowed(Exception):  # noqa: N818 - not an error: the run goes on with the plain value
    """An operator that not even float64 could stand in for."""


@dataclass(frozen=True)
class Call:
    """One dispatched operator with its arguments."""

    function: Any
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    #: What it gave; empty before it ran, and where it writes to its arguments.
    ran: Sequence[Any] = ()

    @functools.cached_property
    def name(self) -> str:
        """Its aten name, without the underscore of an in-place form; with its library where that is another."""
        name = str(self.function._schema.name)
        if name.endswith("_") and not name.endswith("__"):
            name = name[:-1]
        return name.removeprefix("aten::")

    @functools.cached_property
    def floats(self) -> list[torch.Tensor]:
        """Its arguments that are tensors of real numbers."""
        found: list[torch.Tensor] = []
        self.on(found.append)
        return found

    @property
    def operands(self) -> list[Any]:
        """What it calculates with: both sides, whole numbers too, where it has a left and a right one."""
        if self.name in _BINARY:
            return [a for a in self.arguments[:2] if isinstance(a, (torch.Tensor, int, float))]
        return [*self.floats, *(a for a in self.arguments if type(a) is float)]

    @property
    def _named(self) -> dict[str, Any]:
        names = [argument.name for argument in self.function._schema.arguments]
        return {**dict(zip(names, self.arguments, strict=False)), **self.options}

    @property
    def loss_reduction(self) -> str:
        """How a loss makes one number of many: `none`, `mean` or `sum`; empty for what is no such loss."""
        return ("none", "mean", "sum")[self._named.get("reduction", 1)] if self.name in _REDUCED_LOSSES else ""

    @property
    def reduction(self) -> Reduction | None:
        """The axes that it takes together; None where it takes none together."""
        given = self._named
        if self.loss_reduction in ("mean", "sum"):
            return Reduction(tuple(range(given["self"].ndim)), is_of_all=True)
        if self.name not in _TAKE_AXES:
            return None
        ndim, axes = self.arguments[0].ndim, given.get("dim")
        is_of_all = axes is None or axes == []
        listed: Any = range(ndim) if is_of_all else axes if isinstance(axes, (list, tuple)) else [axes]
        axes = [int(axis) % max(1, ndim) for axis in listed]
        return Reduction(tuple(axes), bool(given.get("keepdim", False)), is_of_all=is_of_all)

    @functools.cached_property
    def written(self) -> list[torch.Tensor]:
        """The tensors that it writes to."""
        values: list[Any] = []
        for i, argument in enumerate(self.function._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = self.options.get(argument.name, self.arguments[i] if i < len(self.arguments) else None)
                values += value if isinstance(value, (list, tuple)) else [value]
        return [t for t in values if isinstance(t, torch.Tensor)]

    @property
    def is_view(self) -> bool:
        """True where it only changes how a tensor sees its storage."""
        return torch.Tag.inplace_view in self.function.tags

    def outputs(self, result: Any) -> list[Any]:
        """Return the tensors that hold its results."""
        return self.written or (list(result) if isinstance(result, (list, tuple)) else [result])

    def on(self, see: Callable[[torch.Tensor], Any], *, whole: Callable[[Any], Any] = lambda a: a) -> Any:
        """Return positional and named arguments with each tensor of real numbers replaced."""

        # Operators take tensors and lists of them: PyTorch's own walk through any tree takes as long as a small sum.
        def replaced(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                return see(value) if value.is_floating_point() else whole(value)
            return [replaced(v) for v in value] if isinstance(value, (list, tuple)) else value

        return tuple(map(replaced, self.arguments)), {k: replaced(v) for k, v in self.options.items()}


def computed(call: Call, see: See, in_float64: dict[str, None]) -> list[Any]:
    """Compute an operator exactly on what `see` shows of its tensors; in float64, and noted, where there is no way."""
    exact = computed_exactly(call, see)
    return _computed_in_float64(call, see, in_float64) if exact is None else exact


def computed_exactly(call: Call, see: See, depth: int = 0) -> list[Any] | None:
    """Compute an operator exactly: by its own entry, as a move of cells, or by PyTorch's decomposition of it.

    None where there is no way. The depth counts decompositions of decompositions.
    """
    exactly = EXACT.get(call.name)
    if exactly is not None:
        arguments, options = call.on(see)
        options = {k: v for k, v in options.items() if k != "out"}
        # A ufunc would take one argument more for its output.
        if not isinstance(exactly, np.ufunc) or (len(arguments) == exactly.nin and not options):
            # An overload that the entry was not made for is left to float64, and noted.
            with contextlib.suppress(NotExact, TypeError, ValueError, IndexError):
                return _as_list(exactly(*arguments, **options))
    of_call = OF_CALL.get(call.name)
    if of_call is not None:
        arguments, options = call.on(see)
        with contextlib.suppress(NotExact, TypeError, ValueError, IndexError):
            return _as_list(of_call(call, *arguments, **options))
    if call.name in MOVES:
        cells = moved(call, see, as_cell(0.0))
        if cells is not None:
            return cells
    if call.name in CONSTANTS:
        return None
    return decomposed(call, see, computed_exactly, depth)


def _computed_in_float64(call: Call, see: See, in_float64: dict[str, None]) -> list[Any]:
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
    in_float64.setdefault(call.name)
    outputs = Call(call.function, wider, options).outputs(result)
    return [cells_of(wide(t)) if isinstance(t, torch.Tensor) and t.is_floating_point() else None for t in outputs]


def moved(call: Call, see: See, zero: Any) -> list[Any] | None:
    """Move positions with PyTorch, then put what `see` shows there; None where the operator does more than move."""
    padding = (*call.arguments, 0)[2] if call.name == "constant_pad_nd" else 0
    if call.options.get("value", padding):
        return None
    pool: list[Array] = [np.array([zero])]

    def numbered(t: torch.Tensor) -> torch.Tensor:
        numbers = positions(tuple(t.shape), sum(p.size for p in pool))
        pool.append(see(t).ravel())
        return numbers

    arguments, options = call.on(numbered, whole=lambda t: t.cpu())
    try:
        result = call.function(*arguments, **options)
    except (RuntimeError, NotImplementedError):
        return None  # not for integers
    flat = np.concatenate(pool)
    return [flat[t.numpy()] for t in Call(call.function, arguments, options).outputs(result)]


def _as_list(result: Any) -> list[Any]:
    outputs = list(result) if isinstance(result, tuple) else [result]
    return [None if cells is None else settled(cells) for cells in outputs]


def _is_float_type(value: Any) -> bool:
    return isinstance(value, torch.dtype) and value.is_floating_point


# --- which logit, or which row of logits, each number comes from ------------------------------------


@dataclass
class PlacedRecord(Record):
    """The runs of an operator at one place in the code, with the logit of the first cell of each kind of event."""

    places: dict[Kind, int] = field(default_factory=dict)

    def put(self, seen: Observation, places: Array) -> None:
        """Note which logits the events of a run come from."""
        for event in seen.events:
            self.places.setdefault(event.kind, int(places[event.place]))

    def place(
        self,
        event: Event,
        rows: int,  # noqa: ARG002 - as Record
        classes: int,
        arrangement: Arrangement | None = None,  # noqa: ARG002 - as Record
    ) -> tuple[int | None, int | None]:
        """Return row and class of the logit that an event comes from, each where it is known."""
        place = self.places.get(event.kind, NOWHERE)
        if place == NOWHERE:
            return None, None
        row, column = divmod(place, classes + 1)
        return row, None if column == classes else column


def places_of(call: Call, shadows: Shadows) -> Places:
    """Return, before an operator runs, a function that gives the places of an output, by its number and its shape."""
    if call.name in MOVES:
        outputs = moved(call, shadows.places, NOWHERE)
        if outputs is not None:
            return lambda i, _shape: outputs[i]
    seen = [shadows.places(t).copy() for t in call.floats]
    if call.name in REDUCTIONS and len(seen) == 1:
        return lambda _i, shape: _of_rows(call, seen[0], shape, shadows)
    if call.name in _PRODUCTS:
        seen = [shadows.whole_row(p[..., :1]) for p in seen[:1]]
    return lambda _i, shape: _of_cells(seen, shape, shadows)


def _of_rows(call: Call, places: Array, shape: tuple[int, ...], shadows: Shadows) -> Array:
    """A cell made of one row's numbers comes from that row."""
    rows = shadows.whole_row(places)
    dim, keepdim = (*call.arguments, None, None)[1:3]
    dim, keepdim = call.options.get("dim", dim), bool(call.options.get("keepdim", keepdim))
    if not places.size:
        return np.full(shape, NOWHERE)
    low, high = (reduced(ufunc, rows, dim, keepdim=keepdim) for ufunc in (np.minimum, np.maximum))
    return np.where(low == high, low, NOWHERE).reshape(shape)


def _of_cells(seen: Sequence[Array], shape: tuple[int, ...], shadows: Shadows) -> Array:
    """Take the place of each cell from the input that knows it best: a logit, or else a row."""
    out = np.full(shape, NOWHERE)
    for places in seen:
        try:
            spread = np.broadcast_to(places, shape)
        except ValueError:
            continue
        out = np.where(_knowledge(spread, shadows) > _knowledge(out, shadows), spread, out)
    return out


def _knowledge(places: Array, shadows: Shadows) -> Array:
    is_row = places % (shadows.classes + 1) == shadows.classes
    return np.where(places == NOWHERE, 0, np.where(is_row, 1, 2))
