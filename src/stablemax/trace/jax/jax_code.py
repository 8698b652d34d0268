"""JAX code and its input: run as it is, followed equation by equation, or with some equations put right."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import flint
import numpy as np

from stablemax.numerics.formats import FLOAT64, Array
from stablemax.trace.cures.flow import Flow
from stablemax.trace.divergences import Leads, of_all
from stablemax.trace.exact_cells import format_or_none, nearest
from stablemax.trace.jax.equation import Number
from stablemax.trace.jax.jax_call import JaxCall, values_of
from stablemax.trace.jax.jax_gradients import DIALECT, Kept
from stablemax.trace.jax.jax_lines import JAX, Lines
from stablemax.trace.jax.jaxpr_shadow import Correcting, Shadowing
from stablemax.trace.jax.recompiling import Functions
from stablemax.trace.line_values import LineValues
from stablemax.trace.run import FIRST_BITS, Fix, Inputs, Run, Subject, decided, with_exact_branches
from stablemax.trace.traced_code import code_of

if TYPE_CHECKING:
    from stablemax.results import Trace
    from stablemax.trace.gradients.differentiable import ZeroHandedBack
    from stablemax.trace.gradients.singular_points import SingularPoint
    from stablemax.trace.observation import Observation
    from stablemax.trace.own_truth import OwnTruth


@dataclass(frozen=True)
class JaxCode(Subject):
    """JAX code and its input."""

    #: The function whose file is the traced code: `function` itself, unless that only wraps it.
    code: Callable[..., Any]
    #: The device, as JAX calls it; None for its first choice.
    device: str | None = None
    #: The result is the gradient of the sum of the function's output.
    backward: bool = False
    #: `second` is the upstream gradient of that, and not for the function.
    upstream: bool = False
    #: So many of the arrays, the first ones, get a gradient: that of several is one row of all their numbers.
    leaves: int = 1

    backend = "jax"
    records_flow = True
    # XLA does, on processors.
    may_flush = True

    def plain(self) -> Run:
        """Run the code as it is, compiled where it compiles itself."""
        return self.given.as_rows(Run(values_of(self._call.plain()[0])))

    def observed(self) -> Run:
        """Run the code as it is, and observe each equation, with as many bits as the digits of its result take."""
        with self._functions.fresh():
            plain = self.plain()
        run = decided(
            lambda bits: self.followed(bits=bits, watch=True),
            lambda run: (format_or_none(run.value.dtype) or FLOAT64).precision,
        )
        run = with_exact_branches(run, lambda: self.led(run, of_all))
        if np.array_equal(run.value, plain.value, equal_nan=True):
            return run
        return replace(run, value=plain.value, stepwise=run.value)

    def rounded(self, run: Run, count: int) -> Run:
        """Evaluate the jaxpr; its first equations give the exact value, rounded once, in place of their own."""
        return self._corrected(run.fixes[:count])

    def values_by_line(self) -> list[LineValues]:
        """Run the code and keep the exact values of each equation."""
        values: list[LineValues] = []
        self.followed(leads=of_all, values=values)
        return values

    def led(self, run: Run, leads: Leads, forgotten_to: int = 0) -> Run:
        """Repeat an observed run with exact answers to some comparisons; its first equations are forgotten."""
        ticks = run.fixes[forgotten_to - 1].dispatch + 1 if forgotten_to else 0
        return self.followed(bits=run.bits, leads=leads, forgotten_to=ticks)

    def valued(self, run: Run, steps: Collection[int]) -> Run:
        """Repeat an observed run; where exact results of some equations have no value they get one."""
        return self.followed(bits=run.bits, valued={run.fixes[i].dispatch for i in steps})

    @property
    def is_gradient(self) -> bool:
        """True for the gradient of the function."""
        return self.backward

    def recorded(self, bits: int = FIRST_BITS) -> tuple[Run, Flow]:
        """Evaluate the jaxpr and record its data flow.

        The code may be other than at first: it is taken anew, and then the result is that of the compiled code.
        """
        flow, fresh = Flow(), replace(self)
        with self._functions.fresh() as is_other:
            run = fresh.followed(bits=bits, flow=flow)
            return (replace(run, value=fresh.plain().value) if is_other else run), flow

    def recorded_from(self, key: Hashable, bits: int) -> Flow:
        """Record the data flow where the shadow starts from what an equation really got."""
        flow = Flow()
        self.followed(bits=bits, flow=flow, forgotten_to=_place(key))
        return flow

    def with_outputs(self, outputs: Mapping[Hashable, Array]) -> Run:
        """Evaluate the jaxpr without a shadow; numbers of the run get other values, by their places in it.

        Without any the code is taken anew: it may be other than before.
        """
        if not outputs:
            with self._functions.fresh():
                return replace(self)._corrected([])
        return self._corrected([Fix(_place(key), "", 0, values) for key, values in outputs.items()])

    def flow_key(self, run: Run, index: int) -> Hashable:
        """Return the place of a number among all of the run."""
        return run.fixes[index].dispatch

    @functools.cached_property
    def _functions(self) -> Functions:
        return Functions(self.code, self.function)

    @functools.cached_property
    def _call(self) -> JaxCall:
        return JaxCall(
            self.given, self.function, self._functions, self.device, self.backward, self.upstream, self.leaves
        )

    # --- gradients ------------------------------------------------------------------------------

    dialect = DIALECT

    def explained(self, trace: Trace, expected: OwnTruth) -> Trace:
        """Name the cause of a gradient that is infinite or NaN, with a cure that was run."""
        if not self.backward or self.upstream or expected.run.is_sampled:
            return trace
        from stablemax.trace.gradients.gradient_cause import with_cause

        return with_cause(self, trace, expected)

    def on(self, given: Inputs) -> Self:
        """Return the same code on another input."""
        return replace(self, given=given)

    def rerun(self) -> Run:
        """Run the code as it now is, compiled where it compiles itself: its gradient, and its output."""
        with self._functions.fresh():
            gradient, output = map(values_of, self._call.plain())
            return self.given.as_rows(Run(gradient, forward=output))

    def exact_losses(self) -> Array | None:
        """Return the exact results of the forward pass."""
        return self.followed().forward

    def nudged_losses(self, nudges: Mapping[int, Any], bits: int) -> Array | None:
        """Return exact cells of the forward code's results where numbers of the input are more; None where unknown."""
        lines = Lines(code_of(self.code, alone=(JAX,)))
        step = Shadowing(lines, watch=False)
        with flint.ctx.workprec(bits):
            call = replace(self._call, backward=False)
            result = call.walked(step, lines, _nudged(call.numbers(), nudges), lose=step.lose)[0]
        is_unknown = step.not_followed or step.in_float64 or result.cells is None
        return None if is_unknown else result.cells

    def own_rules(self) -> frozenset[str]:
        """Name the functions of the traced code whose derivative is written by hand."""
        return self._functions.own_rules()

    def zero_before(self, step: Observation, point: SingularPoint) -> ZeroHandedBack | None:  # noqa: ARG002 - the step tells
        """Return what handed back a gradient of 0 to the expression of a step."""
        lines, kept = Lines(code_of(self.code, alone=(JAX,)), self._call.of_gradient), Kept()
        self._call.walked(kept, lines)
        return kept.origin_of_zero(step.site, lines)

    # --- runs -----------------------------------------------------------------------------------

    def followed(self, *, bits: int = FIRST_BITS, **changes: Any) -> Run:
        """Evaluate the jaxpr and follow each equation; the changes are fields of `Shadowing`."""
        lines = Lines(code_of(self.code, alone=(JAX,)), self._call.of_gradient)
        step = Shadowing(lines, **{"watch": False, **changes})
        with flint.ctx.workprec(bits):
            numbers = self._call.numbers()
            if step.flow is not None:
                for i, number in enumerate(numbers):
                    if number.cells is not None:
                        step.flow.add_argument(i, number.array, number.cells)
            result, *forward = self._call.walked(step, lines, numbers, lose=step.lose)
            value = values_of(result.value)
            losses = nearest(forward[0].exact).reshape(forward[0].array.shape) if forward else None
            exact = None if result.cells is None and step.not_followed else result.exact
        for key, count in step.sample.skipped.items():
            if key in step.records:
                step.records[key].skip(count)
        run = Run(
            value, exact, step.steps, step.records, lines.functions, tuple(step.not_followed.values()),
            forward=losses, notes=step.notes, bits=bits, fixes=step.fixes, divergences=step.divergences,
            is_sampled=bool(step.sample.skipped),
        )  # fmt: skip
        return self.given.as_rows(run)

    def _corrected(self, fixes: Sequence[Fix]) -> Run:
        step = Correcting({fix.dispatch: fix for fix in fixes})
        outputs = self._call.walked(step, Lines(code_of(self.code, alone=(JAX,))))
        return self.given.as_rows(Run(outputs[0].array))


def _nudged(numbers: Sequence[Number], nudges: Mapping[int, Any]) -> list[Number]:
    """Make exact cells of arrays, counted through all of them, more by some cells."""
    out: list[Number] = []
    first = 0
    for number in numbers:
        own = {n - first: by for n, by in nudges.items() if first <= n < first + number.array.size}
        first += number.array.size
        cells = number.exact.flatten() if own else None
        for place, by in own.items():
            assert cells is not None, "cells are nudged"
            cells[place] = cells[place] + by
        out.append(number if cells is None else Number(number.value, cells.reshape(number.array.shape), is_exact=False))
    return out


def _place(key: Hashable) -> int:
    assert isinstance(key, int), "numbers of a run are known by their places"
    return key
