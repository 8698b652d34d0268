"""The trace of JAX code: run as it is, and its jaxpr equation by equation, or with some equations put right."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import TYPE_CHECKING, Any, Self, Unpack

import flint
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr

from stablemax.libraries.jax_arrays import JaxArrays
from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions
from stablemax.results import Trace
from stablemax.text.errors import StablemaxError, shown
from stablemax.trace import expected_of
from stablemax.trace.cures.flow import Flow
from stablemax.trace.divergences import Leads, of_all
from stablemax.trace.exact_cells import cells_of, format_or_none, nearest
from stablemax.trace.jax.equation import Number, is_float
from stablemax.trace.jax.jax_gradients import DIALECT, Kept
from stablemax.trace.jax.jax_lines import JAX, Lines
from stablemax.trace.jax.jaxpr_shadow import Correcting, Shadowing
from stablemax.trace.jax.jaxpr_walk import Step, Walk, needed_for
from stablemax.trace.line_values import LineValues
from stablemax.trace.run import FIRST_BITS, Fix, Given, Inputs, Run, Subject, decided, raised, with_exact_branches
from stablemax.trace.story import About, tell
from stablemax.trace.traced_code import boundary, code_of, python_function

if TYPE_CHECKING:
    from stablemax.trace.gradients.differentiable import ZeroHandedBack
    from stablemax.trace.gradients.singular_points import SingularPoint
    from stablemax.trace.observation import Observation
    from stablemax.trace.own_truth import OwnTruth

ARRAYS = JaxArrays()
_NEEDS_NUMBERS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
_64_BITS = ("float64", "int64", "uint64", "complex128")


def trace_jax(
    function: Callable[..., Any],
    logits: Array,
    second: Array | None,
    operation: Operation,
    fmt: Format,
    *,
    code: Callable[..., Any] | None = None,
    device: str | None = None,
    backward: bool = False,
    max_ulp: float | None = None,
    given: Given | None = None,
    targets: TargetOptions | None = None,
    **about: Unpack[About],
) -> Trace:
    """Trace JAX code, equation by equation of its jaxpr, and judge its result.

    The result that is judged is that of the call itself, compiled where the code compiles it. Beside it the jaxpr is
    evaluated primitive by primitive, and once more exactly, in balls; a primitive for which there are no balls is run
    in float64. With `backward`, `function` is the forward pass and `operation` its gradient; a loss given as a gradient
    is recognised by its shape. A label of -100 marks a row that does not count.

    Equations are called ``lax.exp`` and stand on the line that called them; those of a gradient stand on the line whose
    gradient they are.

    >>> import numpy as np
    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> trace = trace_jax(jax.jit(lambda x: jnp.exp(x) / jnp.exp(x).sum(1, keepdims=True)),
    ...     np.array([[1.0, 2.0], [1000.0, 1.0]]), None, get_operation("softmax"), FLOAT32)
    >>> trace.outcome.value, trace.blame.sentence.partition(": ")[2]
    ('nan',
     'exp overflows for 1 of 4 cells (first: row 1, class 0, logit 1000.0); it overflows above 88.723 in float32')
    """
    expected = expected_of(operation, logits, second, fmt, max_ulp, targets)
    expected = replace(expected, numbers=about.get("numbers"), may_flush=JaxCode.may_flush)
    upstream = backward and operation.needs_upstream
    given = given or Given(expected.logits, expected.second)
    subject = JaxCode(given, fmt, function, code or function, device, backward, upstream)
    if operation.of_losses and not backward:
        subject = replace(subject, backward=subject.plain().value.shape != logits.shape)
    return tell(subject, expected, about)


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
        with self._settings():
            result = boundary(lambda: self._called(*self._arrays()))[0]
            return self.given.as_rows(Run(_values(result)))

    def observed(self) -> Run:
        """Run the code as it is, and observe each equation, with as many bits as the digits of its result take."""
        with self._forgetful():
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
        with self._forgetful() as is_other:
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
            with self._forgetful():
                return replace(self)._corrected([])
        return self._corrected([Fix(_place(key), "", 0, values) for key, values in outputs.items()])

    def flow_key(self, run: Run, index: int) -> Hashable:
        """Return the place of a number among all of the run."""
        return run.fixes[index].dispatch

    @contextlib.contextmanager
    def _forgetful(self) -> Iterator[bool]:
        """Tell whether the code is other than at first; then JAX forgets before and after what it compiled of it."""
        is_other = self._codes != self._codes_now()
        compiled = [f for f in self._functions() if is_other and hasattr(f, "clear_cache")]
        for function in compiled:
            function.clear_cache()
        try:
            yield is_other
        finally:
            for function in compiled:
                function.clear_cache()

    @functools.cached_property
    def _codes(self) -> tuple[Any, ...]:
        """The code objects of the traced code, as they are at the first run."""
        return self._codes_now()

    def _codes_now(self) -> tuple[Any, ...]:
        return tuple(getattr(python_function(f), "__code__", None) for f in self._functions())

    def _functions(self) -> list[Any]:
        """Return the functions of the traced code, those that JAX compiles among them."""
        names = code_of(self.code, alone=(JAX,)).namespaces
        values = (value for of_module in names for value in list(of_module.values()))
        others = (f for f in values if isinstance(f, FunctionType) or hasattr(f, "__wrapped__"))
        return [self.code, self.function, *others]

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
        with self._forgetful(), self._settings():
            gradient, output = boundary(lambda: self._called(*self._arrays()))
            return self.given.as_rows(Run(_values(gradient), forward=_values(output)))

    def exact_losses(self) -> Array | None:
        """Return the exact results of the forward pass."""
        return self.followed().forward

    def nudged_losses(self, nudges: Mapping[int, Any], bits: int) -> Array | None:
        """Return exact cells of the forward code's results where numbers of the input are more; None where unknown."""
        lines = Lines(code_of(self.code, alone=(JAX,)))
        step = Shadowing(lines, watch=False)
        with flint.ctx.workprec(bits):
            numbers = _nudged(self._forward._numbers(), nudges)
            result = self._forward._walked(step, lines, numbers)[0]
        is_unknown = step.not_followed or step.in_float64 or result.cells is None
        return None if is_unknown else result.cells

    @functools.cached_property
    def _forward(self) -> JaxCode:
        return replace(self, backward=False)

    def own_rules(self) -> frozenset[str]:
        """Name the functions of the traced code whose derivative is written by hand."""
        names = code_of(self.code, alone=(JAX,)).namespaces
        rules = (jax.custom_jvp, jax.custom_vjp)
        return frozenset(name for of_module in names for name, f in list(of_module.items()) if isinstance(f, rules))

    def zero_before(self, step: Observation, point: SingularPoint) -> ZeroHandedBack | None:  # noqa: ARG002 - the step tells
        """Return what handed back a gradient of 0 to the expression of a step."""
        lines, kept = Lines(code_of(self.code, alone=(JAX,)), self._of_gradient), Kept()
        self._walked(kept, lines)
        return kept.origin_of_zero(step.site, lines)

    # --- runs -----------------------------------------------------------------------------------

    def followed(self, *, bits: int = FIRST_BITS, **changes: Any) -> Run:
        """Evaluate the jaxpr and follow each equation; the changes are fields of `Shadowing`."""
        lines = Lines(code_of(self.code, alone=(JAX,)), self._of_gradient)
        step = Shadowing(lines, **{"watch": False, **changes})
        with flint.ctx.workprec(bits):
            numbers = self._numbers()
            if step.flow is not None:
                for i, number in enumerate(numbers):
                    if number.cells is not None:
                        step.flow.add_argument(i, number.array, number.cells)
            result, *forward = self._walked(step, lines, numbers)
            value = _values(result.value)
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
        outputs = self._walked(Correcting({fix.dispatch: fix for fix in fixes}))
        return self.given.as_rows(Run(outputs[0].array))

    @functools.cached_property
    def _jaxpr(self) -> ClosedJaxpr:
        """The equations of the function."""
        return boundary(lambda: jax.make_jaxpr(self._called)(*self._arrays()))

    @functools.cached_property
    def _of_gradient(self) -> frozenset[int]:
        """The equations that the gradient needs, and the output of the function itself does not."""
        if not self.backward:
            return frozenset()
        with self._settings():
            of_gradient, of_output = (needed_for(self._jaxpr, wanted) for wanted in ([True, False], [False, True]))
            return frozenset(of_gradient - of_output)

    def _walked(self, step: Step, lines: Lines | None = None, numbers: list[Number] | None = None) -> list[Number]:
        lines = lines or Lines(code_of(self.code, alone=(JAX,)))
        with self._settings():
            return Walk(lines, step).through(self._jaxpr, numbers or self._numbers())

    def _arrays(self) -> list[Any]:
        return [ARRAYS.put(array, self.device) for array in self.given.arguments]

    def _numbers(self) -> list[Number]:
        with self._settings():
            arrays = self._arrays()
        first = Number(arrays[0], self.given.cells_of_first(), self.given.first_is_exact)
        return [first if is_float(arrays[0]) else Number(arrays[0]), *(_shadowed(a) for a in arrays[1:])]

    def _called(self, *arrays: Any) -> tuple[Any, ...]:
        """Call the function; return its result, or the gradient of that, and that."""
        if not self.backward:
            return (_array(self.function(*arrays)),)
        leaves, others = arrays[: self.leaves], arrays[self.leaves :]
        rest: Sequence[Any] = () if self.upstream else others
        out, pull_back = jax.vjp(lambda *given: _array(self.function(*given, *rest)), *leaves)
        gradients = pull_back(others[0] if self.upstream else jnp.ones_like(out))
        if len(gradients) == 1:
            return gradients[0], out
        return jnp.concatenate([gradient.reshape(-1) for gradient in gradients]), out

    @contextlib.contextmanager
    def _settings(self) -> Iterator[None]:
        """Set up what all runs have alike: 64-bit numbers where an argument has them, no warnings."""
        has_64_bits = any(array.dtype.name in _64_BITS for array in self.given.arguments if is_float(array))
        with (
            jax.enable_x64(True) if has_64_bits else contextlib.nullcontext(),  # noqa: FBT003 - its signature
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
        ):
            warnings.simplefilter("ignore")
            try:
                yield
            except StablemaxError:
                raise
            except Exception as error:
                words, hint = raised(error, code_of(self.code, alone=(JAX,)).holds)
                if isinstance(error, _NEEDS_NUMBERS):
                    words = f"{words.partition(': ')[0]}: it needs a number in Python, and JAX's equations have none"
                    hint = "write it so that jax.jit takes it: jnp.where or jax.lax.cond for if, jnp for np"
                raise StablemaxError(words, hint) from error


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


def _shadowed(array: Any) -> Number:
    return Number(array, cells_of(np.asarray(array))) if is_float(array) else Number(array)


def _array(result: Any) -> Any:
    """Return what a function gave as an array of JAX's."""
    if isinstance(result, (jax.Array, np.ndarray, np.generic, int, float)) and not isinstance(result, bool):
        return jnp.asarray(result)
    raise _no_array(result)


def _values(result: Any) -> Array:
    """Take a result to NumPy."""
    value = np.array(result)
    if value.dtype.kind in "iuf" or format_or_none(value.dtype) is not None:
        return value
    raise _no_array(result)


def _no_array(result: Any) -> StablemaxError:
    return StablemaxError(
        f"the traced function returns {shown(type(result).__name__)}, not an array of real numbers",
        "return the result as a jax.Array",
    )
