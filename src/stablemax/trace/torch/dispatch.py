"""Runs every dispatched operator twice: as PyTorch does, and exactly on the shadows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from stablemax.libraries.torch_arrays import to_numpy, to_torch
from stablemax.numerics.formats import FORMATS, Array
from stablemax.trace.cures.flow import Flow
from stablemax.trace.divergences import (
    Divergence,
    Leads,
    divergence_of,
    divergence_of_number,
    exact_answers,
    of_none,
)
from stablemax.trace.exact_cells import as_array, cells_of, nearest, with_values
from stablemax.trace.line_values import LineValues
from stablemax.trace.long_loops import LoopSample
from stablemax.trace.observation import Observation, Site, observe, record_of
from stablemax.trace.run import Fix
from stablemax.trace.special_cells import FUNCTIONS
from stablemax.trace.torch.aten_call import Call, NotFollowed, PlacedRecord, computed, places_of
from stablemax.trace.torch.aten_names import COMPARISONS, CONSTANTS, MOVES
from stablemax.trace.torch.eager_mode import Eager
from stablemax.trace.torch.exact_table import EXACT
from stablemax.trace.torch.storage import Shadows, wide
from stablemax.trace.torch.torch_lines import Locator
from stablemax.trace.traced_code import display_name, float_constants

_COPIES = MOVES | {"clone", "copy", "_to_copy", "fill", "zero", "index_put", "_index_put_impl", "scatter"}
_TAKEN_OUT = "_local_scalar_dense"
_PLACES = ("argmax", "argmin")
_DECIDING = frozenset((*COMPARISONS, *_PLACES, _TAKEN_OUT))
_WORDS = {
    "sub": "subtract", "rsub": "subtract", "mul": "multiply", "div": "divide", "neg": "negative", "pow": "power",
    "mm": "matmul", "bmm": "matmul", "mv": "matmul",
}  # fmt: skip
"""NumPy's names of operators, for sentences about both libraries."""


@dataclass(frozen=True)
class _Before:
    """The operands and exact outputs of an operator; what a measured run alone needs is computed when asked for."""

    call: Call
    #: Cells of each output, from the shadows and from the values; empty where it could not be followed.
    exact: list[Any]
    local: Callable[[], list[Any]]
    operands: Callable[[], list[tuple[Array, Array]]]
    places: Callable[[int, tuple[int, ...]], Array]
    is_shadowed: bool


class Watch(Eager):
    """Follows a run operator by operator.

    The first dispatches, up to `forgotten_to`, run unseen: the shadow begins after them, with the values as they are
    then.
    """

    def __init__(self, shadows: Shadows, locator: Locator, *, forgotten_to: int = 0, leads: Leads = of_none) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shadows = shadows
        self.locator = locator
        self.forgotten_to = forgotten_to
        self.leads = leads
        self.dispatches = 0
        self.comparisons = 0
        self.divergences: list[Divergence] = []
        self.values: list[LineValues] | None = None
        #: Measure every operator; without, only the shadow is kept.
        self.measures = True
        #: Operators, by their numbers, whose exact results get a number where they have none.
        self.valued: Collection[int] = ()
        #: Where the data flow is recorded, if it is.
        self.flow: Flow | None = None
        self.sample = LoopSample()
        self.steps: list[Observation] = []
        self.fixes: list[Fix] = []
        self.records: dict[tuple[Any, ...], PlacedRecord] = {}
        self.not_followed: dict[tuple[str, int], str] = {}
        self.in_float64: dict[str, None] = {}
        #: What was not followed went on as if its numbers were exact.
        self.went_on = False
        #: Python's own numbers that operators got after numbers had left PyTorch: they may be made of those.
        self.strangers: set[float] = set()

    @property
    def is_doubtful(self) -> bool:
        """True where numbers may have come back that the shadow takes for constants of the code."""
        return self.went_on or bool(self.strangers - set(float_constants(self.locator.functions)))

    @property
    def notes(self) -> tuple[str, ...]:
        """Say which operators have no exact form, and whether all were measured."""
        names = ", ".join(self.in_float64)
        in_float64 = (f"compared with float64, not with exact arithmetic: {names}",) if names else ()
        return (*in_float64, *self.sample.notes)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, and follow it."""
        dispatch, self.dispatches = self.dispatches, self.dispatches + 1
        call = Call(func, tuple(args), kwargs or {})
        if dispatch < self.forgotten_to:
            self.comparisons += call.name in _DECIDING and bool(call.floats)
            for t in call.written:
                self.shadows.forget(t)
            return func(*call.arguments, **call.options)
        site = self.locator.site()
        if self.not_followed:
            self.strangers |= {a for a in (*args, *(kwargs or {}).values()) if isinstance(a, float)}
            self.went_on |= call.name in _FROM_PYTHON
        if not call.floats or call.name in CONSTANTS:
            result = func(*call.arguments, **call.options)
            of_whole = self._of_whole_numbers(call, result)
            if of_whole is not None:
                with _unseen():
                    self._look(of_whole, None, call.outputs(result), dispatch, site)
            return result
        # A write in place destroys its inputs: they have to be looked at before.
        with _unseen():
            # A view in place, as of unsqueeze_(), writes no numbers: the shadow lies beside the storage.
            before = self._before(call) if call.written and not call.is_view else None
            if before is not None:
                before.local()
                before.operands()
        result = func(*call.arguments, **call.options)
        with _unseen():
            if call.name in _PLACES or call.name == _TAKEN_OUT:
                result = self._decided(call, result, site)
            self._look(call, before, call.outputs(result), dispatch, site)
        return result

    def _decided(self, call: Call, result: Any, site: Site) -> Any:
        """Return the number that is taken out, or the places of the largest: next to the exact ones where these lead.

        What Python does with the number is not seen: it may decide by it.
        """
        number, self.comparisons = self.comparisons, self.comparisons + 1
        tensor = call.arguments[0]
        exact = torch.from_numpy(nearest(self.shadows.cells(tensor))).to(tensor.device)
        other = call.function(exact, *call.arguments[1:], **call.options)
        values, exact_values = (np.asarray(torch.as_tensor(r).cpu(), dtype=np.float64) for r in (result, other))
        if np.array_equal(values, exact_values, equal_nan=True):
            return result
        place = np.unravel_index(int(np.argmax(values != exact_values)), values.shape)
        text = self.locator.source() or call.name
        pair = (float(values[place]), float(exact_values[place]))
        self.divergences.append(divergence_of_number(number, len(self.steps), site, text, *pair))
        return other if self.leads(number) else result

    def _of_whole_numbers(self, call: Call, result: Any) -> Call | None:
        """Return a call on whole numbers alone that computes real ones as PyTorch runs it: on numbers of its result.

        None for every other call.
        """
        is_computed = call.name not in CONSTANTS and (call.name in EXACT and call.name not in _COPIES)
        if not (is_computed and isinstance(result, torch.Tensor) and result.is_floating_point()):
            return None
        with _unseen():
            as_real = lambda t: t if t.dtype == torch.bool else t.to(result.dtype)  # noqa: E731 - used once
            arguments, options = call.on(lambda t: t, whole=as_real)
        converted = Call(call.function, arguments, options)
        return converted if converted.floats else None

    def lose(self, what: str, site: Site) -> None:
        """Record that the shadow could not follow something, with its line."""
        where = f" at {Path(site.file).name}:{site.line}" if site.file else ""
        self.not_followed.setdefault((site.file, site.line), f"{what}{where}")

    def _look(self, call: Call, before: _Before | None, outputs: list[Any], dispatch: int, site: Site) -> None:
        """Follow an operator that has run."""
        tensors = [t for t in outputs if isinstance(t, torch.Tensor)]
        if not any(t.is_floating_point() for t in tensors):
            if call.name in COMPARISONS and len(tensors) == 1:
                self._compare(call, tensors[0], site)
            else:
                self._lose_numbers(call, tensors, site)
            return
        are_views = len(tensors) == len(outputs) and all(self.shadows.shares(t, call.floats) for t in tensors)
        if before is not None or not are_views:
            before = before or self._before(replace(call, ran=outputs))
            self._follow(before, outputs, dispatch, site)

    def _compare(self, call: Call, answers: torch.Tensor, site: Site) -> None:
        """Answer a comparison exactly, too, and put that answer in its place where exact numbers lead."""
        number, self.comparisons = self.comparisons, self.comparisons + 1
        operands = [self._operand(a) for a in call.arguments[:2]]
        name, values = COMPARISONS[call.name], answers.cpu().numpy().copy()
        exact = exact_answers(name, [cells for _, cells in operands], values)
        if not np.array_equal(values, exact):
            text = self.locator.source() or call.name
            self.divergences.append(divergence_of(number, len(self.steps), site, text, values, exact, operands))
        if self.leads(number):
            answers.copy_(torch.from_numpy(exact))

    def _lose_numbers(self, call: Call, outputs: list[torch.Tensor], site: Site) -> None:
        """Record that shadowed numbers became something without a shadow."""
        losses = {_TAKEN_OUT: "a tensor taken as a number", "_to_copy": "conversion to integers"}
        loss = losses.get(call.name) or (_COMPLEX if any(t.is_complex() for t in outputs) else "")
        if loss and any(self.shadows.has(t) for t in call.floats) and not self._is_kept(call, outputs):
            self.lose(loss, site)
            self.went_on |= loss == _COMPLEX

    def _is_kept(self, call: Call, outputs: list[torch.Tensor]) -> bool:
        """Tell whether a conversion to truth values or integers gives what it gives of exact numbers, too."""
        if call.name != "_to_copy" or len(outputs) != 1:
            return False
        exact, values = self.shadows.cells(call.floats[0]), outputs[0].cpu().numpy()
        if values.dtype != np.bool_:
            return values.dtype.kind in "iu" and np.array_equal(nearest(as_array(FUNCTIONS["trunc"](exact))), values)
        return bool(np.array_equal(exact_answers("not_equal", [exact, cells_of(np.zeros(()))], values), values))

    def _before(self, call: Call) -> _Before:
        inputs = call.floats
        is_exact = all(self.shadows.is_exact(t) for t in inputs)
        try:
            exact = computed(call, self.shadows.cells, self.in_float64)
        except NotFollowed:
            exact = []

        @functools.cache
        def local() -> list[Any]:
            if is_exact or not exact:
                return exact
            with contextlib.suppress(NotFollowed):
                return computed(call, lambda t: cells_of(wide(t)), self.in_float64)
            return exact

        @functools.cache
        def operands() -> list[tuple[Array, Array]]:
            return [self._operand(a) for a in call.operands]

        is_shadowed = any(self.shadows.has(t) for t in inputs)
        return _Before(call, exact, local, operands, places_of(call, self.shadows), is_shadowed)

    def _operand(self, operand: Any) -> tuple[Array, Array]:
        """Return what an operator reads: its number as it is, and exactly."""
        if not isinstance(operand, torch.Tensor):
            return np.asarray(operand), cells_of(operand)
        if not operand.is_floating_point():
            whole = operand.detach().cpu().numpy().astype(np.float64)
            return whole, cells_of(whole)
        # A write in place is shown with what it read, not with what it left there.
        return np.array(to_numpy(operand)), self.shadows.cells(operand).copy()

    def _follow(self, before: _Before, outputs: list[Any], dispatch: int, site: Site) -> None:
        is_known = all(_format_of(t) in FORMATS for t in outputs if _is_real(t))
        if len(before.exact) != len(outputs) or not is_known:
            if before.is_shadowed:
                self.lose(f"{before.call.name}()", site)
                self.went_on = True
            for t in outputs:
                if isinstance(t, torch.Tensor):
                    self.shadows.forget(t)
            return
        for i, t in enumerate(outputs):
            if _is_real(t) and before.exact[i] is not None:
                self._finish(before, i, t, dispatch, site)

    def _finish(self, before: _Before, output: int, tensor: torch.Tensor, dispatch: int, site: Site) -> None:
        """Measure one output, record it and give it its shadow."""
        aten, fmt, shape = before.call.name, FORMATS[_format_of(tensor)], tuple(tensor.shape)
        exact = before.exact[output].reshape(shape)
        places = before.places(output, shape)
        if self.flow is not None:
            exact = self._record(self.flow, before, (dispatch, output), tensor, exact)
            self.shadows.write(tensor, exact, places, exact=False)
            return
        label = aten.replace("::", ".") if "::" in aten else f"aten.{aten}"
        value = to_numpy(tensor)
        if not (self.measures and self.sample.takes((site, label, output, fmt.name), value, len(self.steps))):
            self.shadows.write(tensor, exact, places, exact=False)
            return
        local = before.local()[output].reshape(shape)
        operands = before.operands()[::-1] if aten == "rsub" else before.operands()
        seen = observe(
            _WORDS.get(aten, aten), site, len(self.steps), fmt, value, exact, local, operands,
            label=label, output=output,
        )  # fmt: skip
        if aten not in _COPIES or seen.local_error_ulp or seen.events:
            if len(self.steps) in self.valued:
                exact = with_values(exact)
            self.steps.append(seen)
            run = self.sample.runs[site, label, output, fmt.name] - 1
            self.fixes.append(Fix(dispatch, aten, output, fmt.round(nearest(exact))))
            record_of(seen, self.records, PlacedRecord, run).put(seen, places)
        if self.values is not None:
            self.values.append(LineValues(display_name(site.file), site.line, nearest(exact).ravel()))
        is_exact = not (seen.error_ulp or seen.inf or seen.nan or seen.lost or seen.events)
        self.shadows.write(tensor, exact, places, exact=is_exact)

    def _record(self, flow: Flow, before: _Before, key: tuple[int, int], tensor: torch.Tensor, exact: Array) -> Array:
        """Record an operator in the data flow; return cells of its own for its output."""
        call = before.call
        if call.name in _COPIES:
            return exact  # the cells are those that were moved, and known
        operands = before.operands()[::-1] if call.name == "rsub" else before.operands()
        name = call.name if set(call.options) - {"dim", "keepdim", "dtype"} else _WORDS.get(call.name, call.name)
        name += f".{call.loss_reduction}" if call.loss_reduction else ""
        return flow.add(
            key, name, to_numpy(tensor), exact, operands,
            reduction=call.reduction, frame=self.locator.frame(), fingerprint=self.fingerprint,
        )  # fmt: skip

    def fingerprint(self, value: Any) -> Hashable:
        """Return what identifies the value of a variable of the traced code."""
        if isinstance(value, torch.Tensor) and value.is_floating_point() and self.shadows.has(value):
            cells = self.shadows.cells(value)
            return cells.shape, tuple(map(id, cells.ravel().tolist()))
        return id(value)


def _unseen() -> AbstractContextManager[Any]:
    """Keep `Escapes` from seeing what the tracer itself takes out of PyTorch: TorchScript leaves it on."""
    return torch._C.DisableTorchFunction()


def _is_real(output: Any) -> bool:
    return isinstance(output, torch.Tensor) and output.is_floating_point()


def _format_of(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


class Escapes(TorchFunctionMode):
    """Records where numbers leave PyTorch, for NumPy, lists or Python's own numbers."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of PyTorch, and record the numbers that leave PyTorch through it."""
        word = _WAYS_OUT.get(getattr(func, "__name__", ""))
        tensor = args[0] if word is not None and args and isinstance(args[0], torch.Tensor) else None
        if word is not None and tensor is not None and self.watch.shadows.has(tensor):
            self.watch.lose(word, self.watch.locator.caller())
        return func(*args, **(kwargs or {}))


_COMPLEX = "complex numbers"
_FROM_PYTHON = ("lift_fresh", "lift_fresh_copy", "scalar_tensor")
"""Operators that make a tensor of Python's own numbers."""

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


class Replace(Eager):
    """Runs code as it is, but for some operators that give what they should have."""

    def __init__(self, fixes: Sequence[Fix]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dispatches = 0
        self._fixes: dict[int, list[Fix]] = {}
        for fix in fixes:
            self._fixes.setdefault(fix.dispatch, []).append(fix)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator, then overwrite its outputs with their exact values where there is a fix."""
        dispatch, self.dispatches = self.dispatches, self.dispatches + 1
        call = Call(func, tuple(args), kwargs or {})
        result = func(*call.arguments, **call.options)
        for fix in self._fixes.get(dispatch, ()):
            # Once a number is right the code may take other branches, where this is another operator.
            output = call.outputs(result)[fix.output] if fix.operation in ("", call.name) else None
            if isinstance(output, torch.Tensor) and tuple(output.shape) == fix.values.shape:
                output.copy_(to_torch(fix.values))
        return result
