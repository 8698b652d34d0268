"""Somebody's function as a target: found out how it wants to be called, then called, run exactly and traced."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from stablemax.check.target.autograd_code import autograd_code
from stablemax.check.target.call_style import call_styles, refuse_missing_arguments
from stablemax.check.target.calling import Caller, first_rows, second_rows
from stablemax.check.target.declared import declared
from stablemax.check.target.globals_read import bound, global_arrays_read
from stablemax.check.target.infer import backends_of, gradient_of, operation_of
from stablemax.check.target.load import Code
from stablemax.check.target.messages import LoadedTarget, Result, TargetInfo
from stablemax.check.target.parameters import parameters_of, refuse_unknown, signature_of
from stablemax.check.target.probe import Fit, is_like_the_logits, probe_of
from stablemax.check.target.random_state import kept_random_numbers
from stablemax.check.target.traced_call import TracedCall
from stablemax.numerics.formats import FLOAT16, FLOAT32, FLOAT64, Array, Format, format_of_array
from stablemax.operations.operation import Second
from stablemax.results import Trace
from stablemax.text.errors import StablemaxError
from stablemax.trace.arrangement import InBatch
from stablemax.trace.run import Given

if TYPE_CHECKING:
    from stablemax.check.target.call_style import CallStyle
    from stablemax.check.target.messages import Call, FurtherArgument, Target, TraceOptions
    from stablemax.check.target.probe import Probe
    from stablemax.operations.operation import Operation
    from stablemax.trace.line_values import LineValues

_PROBE_FORMATS = (FLOAT32, FLOAT64, FLOAT16)


class _Attempt(NamedTuple):
    """A call on the easy input: how, with what result, and how well that fits the operation."""

    caller: Caller
    result: Result
    fit: Fit


class CodeTarget(LoadedTarget):
    """Somebody's function, whose signature and first calls show how it wants to be called."""

    def __init__(self, target: Target, code: Code, module: str) -> None:
        function = code.function
        operation = target.operation or operation_of(target.name, function)
        further = tuple(argument for argument in target.further if argument.name not in code.made_with)
        target = replace(target, further=further, backward=target.backward or code.is_autograd_backward)
        if target.backward:
            operation = gradient_of(operation)
        backends = (target.backend,) if target.backend else backends_of(function)
        if target.backward and backends == ("numpy",):
            raise StablemaxError("--backward needs a library with autograd", "--backend torch, or --backend jax")
        if target.shift and not operation.needs_targets:
            raise StablemaxError(f"--shift is for losses, and {target.name} computes {operation}", "leave it out")
        refuse_unknown(target.name, function, [argument.name for argument in target.further])
        self._target, self._code = target, code
        self._likeliest_backend = backends[0]
        self._callers = [Caller(function, target, operation, name) for name in backends]
        self.info = TargetInfo(
            *(target.name, operation, backends[0], frozenset(), (), module, code.expression),
            *(signature_of(function), global_arrays_read(function)),
        )
        self._possible_styles = self._styles()
        self._proven_style: CallStyle | None = None
        self._is_prepared = False
        self._declared = declared(function, operation)
        self.info = replace(self.info, takes=self._possible_styles[0].takes | self._declared)

    def prepare(self) -> TargetInfo:
        """Find out on an easy input how the function wants to be called; return what is known of it then."""
        if not self._is_prepared:
            self._is_prepared = True
            further = tuple(argument.name for argument in self._target.further)
            arrays = tuple(argument.name for argument in self._target.further if isinstance(argument.value, np.ndarray))
            refuse_missing_arguments(self._code.function, self._called_operation, further, self.info.name, arrays)
            with kept_random_numbers():
                self._settle(self._best_attempt())
        return self.info

    def call(self, call: Call) -> Result:
        """Call the function; an exception becomes the result's trouble."""
        return self.call_all([call])[0]

    def call_all(self, calls: Sequence[Call]) -> list[Result]:
        """Call the function once for each."""
        self.prepare()
        with kept_random_numbers():
            return [self._called(call) for call in calls]

    def _called(self, call: Call) -> Result:
        if self._proven_style is not None or call.forward:
            return self._caller.call(self._style_for(call), call)
        refusal: Result | None = None
        for style in (style for style in self._possible_styles if not style.axes):
            result = self._caller.call(style, call)
            if result.output is not None:
                return result
            refusal = refusal or result
        assert refusal is not None
        return refusal

    def run_exactly(self, call: Call) -> Array | None:
        """Run NumPy code on exact numbers; None where that is not possible."""
        from stablemax.trace import run_in_shadow
        from stablemax.trace.exact_cells import nearest

        self.prepare()
        if self.info.backend != "numpy":
            return None
        style = self._style_for(call)
        second = second_rows(style, call)
        others = () if second is None else (second,)
        try:
            arrangement = self._caller.arrangement(style, call)
            first, softmax_of = first_rows(style, call), call.logits if style.of_output else None
            function = self._plain_function(call)
            exact = run_in_shadow(function, first, *others, arrangement=arrangement, softmax_of=softmax_of).exact
        except StablemaxError:
            return None
        return None if exact is None else nearest(exact)

    def values_of(self, call: Call) -> list[LineValues]:
        """Run NumPy, PyTorch or JAX code exactly, and keep what each operation gives."""
        self.prepare()
        style = self._style_for(call)
        if style.axes or self._target.shift or style.of_output:
            return []
        first, second, fmt = first_rows(style, call), second_rows(style, call), format_of_array(call.logits)
        function, code = self._plain_function(call), self._code.function
        with contextlib.suppress(StablemaxError):
            if self.info.backend == "numpy":
                from stablemax.trace import values_by_line

                return values_by_line(first, second, fmt, function, code)
            given, upstream = Given(fmt.cast(first), second), self.info.operation.needs_upstream
            subject = autograd_code(self.info.backend, self._target, given, fmt, function, code, upstream=upstream)
            return subject.values_by_line()
        return []

    def call_instead(self, code: str, name: str, calls: Sequence[Call]) -> list[Result]:
        """Call a function of other code as the target's own is called."""
        names: dict[str, Any] = {"__name__": "instead"}
        exec(compile(code, "instead.py", "exec"), names)  # noqa: S102 - the code is ours
        target = replace(self._target, operation=self.info.operation, backend=self.info.backend, pick=None)
        return CodeTarget(target, Code(names[name], name), "").call_all(calls)

    def trace(self, call: Call, options: TraceOptions) -> Trace:
        """Trace NumPy, PyTorch or JAX code."""
        self.prepare()
        style = self._style_for(call)
        if style.axes:
            call = replace(call, arrangement=InBatch(style.axes))
        traced = TracedCall.of(call, self.info, style, shift=self._target.shift)
        function = self._plain_function(traced.call)
        words: dict[str, Any] = {"target": self.info.name, "code": self._code.function, **vars(options)}
        words["notes"] = (*options.notes, *traced.notes)
        if traced.numbers is not None:
            words["numbers"] = traced.numbers if options.numbers is None else options.numbers[traced.numbers]
        if self.info.backend == "numpy":
            from stablemax.trace import trace_numpy

            return trace_numpy(function, *traced.expected, given=traced.given, targets=traced.targets, **words)
        if self.info.backend == "torch":
            from stablemax.trace.torch.torch_trace import trace_torch

            device = self._target.device or "cpu"
            words |= {"backward": self._target.backward, "device": device}
            return trace_torch(function, *traced.expected, given=traced.given, targets=traced.targets, **words)
        from stablemax.trace.jax.jax_trace import trace_jax

        words |= {"backward": self._target.backward, "device": self._target.device}
        return trace_jax(function, *traced.expected, given=traced.given, targets=traced.targets, **words)

    @property
    def _caller(self) -> Caller:
        """Calls the function with arrays of the library that it works on."""
        return self._callers[0]

    @property
    def _style(self) -> CallStyle:
        """How the function is called: the likeliest style, as long as no call proved one."""
        return self._proven_style or self._possible_styles[0]

    @property
    def _called_operation(self) -> Operation:
        """What the function itself computes: autograd takes the gradient of a forward pass."""
        operation = self.info.operation
        return (operation.forward or operation) if self._target.backward else operation

    def _style_for(self, call: Call) -> CallStyle:
        """How a call is made: an array that lies in a shape of its own is not taken apart into rows."""
        has_own_shape = call.arrangement is not None or call.logits.ndim != 2
        # While a global holds the logits, what it held before does not ask for a shape.
        return replace(self._style, by_row=False, axes="") if has_own_shape or call.bound else self._style

    def _styles(self) -> list[CallStyle]:
        further = tuple((argument.name, _text(argument, self._caller.backend)) for argument in self._target.further)
        return call_styles(self._code.function, self._called_operation, further, self._target.pick)

    def _plain_function(self, call: Call) -> Callable[..., Any]:
        """Return the function as ``f(x)`` or ``f(x, second_argument)`` on its own library's arrays."""
        function, style = self._code.function, self._style_for(call)
        options = self._caller.library_options(style, call)

        def plain(x: Any, second_argument: Any = None) -> Any:
            with bound(function, call.bound, x):
                return style(function, x, second_argument, **options)

        return plain

    # --- how it wants to be called ------------------------------------------------------------------

    def _best_attempt(self) -> _Attempt | None:
        """Call the function on the easy input in each possible style; return the call that fits best."""
        for fmt in _PROBE_FORMATS:
            for kind in ("rows", "row", "batch"):
                attempts = self._attempts(fmt, kind)
                best: _Attempt | None = None
                for attempt in attempts:
                    best = attempt if best is None or attempt.fit > best.fit else best
                    if best.fit is Fit.RIGHT:
                        break
                # Any numbers can be broadcast to some batch: it must give back the rows.
                least = Fit.SHAPE if kind == "batch" else Fit.ANY_OUTPUT
                if best is not None and best.fit >= least:
                    return best
        return None

    def _attempts(self, fmt: Format, kind: str) -> Iterator[_Attempt]:
        probe = probe_of(self.info.operation)
        call = probe.call(fmt)
        for caller in self._callers:
            refusal: Result | None = None
            for style in self._possible_styles:
                if style.kind == "rows" != kind:
                    refusal = refusal or caller.call(style, call)
                elif style.kind == kind:
                    reason = "" if refusal is None else _reason(refusal)
                    yield from self._attempt(caller, replace(style, reason=reason), probe, call)

    def _attempt(self, caller: Caller, style: CallStyle, probe: Probe, call: Call) -> Iterator[_Attempt]:
        """Call the function in one style, and where it returns several items, once for each that may be meant."""
        result = caller.call(style, call, watch=True)
        for item, shape in result.items.items():
            if probe.may_be(shape, backward=self._target.backward):
                yield from self._attempt(caller, replace(style, pick=item), probe, call)
        if result.output is None:
            yield _Attempt(caller, result, Fit.NONE)
        elif self._is_picked_gradient(result.output):
            yield _Attempt(caller, result, Fit.ANY_OUTPUT)
        else:
            fit = Fit.NONE if self._is_matrix_of_losses(result.output) else probe.fit(result.output)
            yield _Attempt(caller, result, fit)

    def _settle(self, best: _Attempt | None) -> None:
        """Keep to the style that fits best, and note what of it was found out or guessed."""
        if best is None:
            return
        caller, result, _ = best
        self._callers.sort(key=lambda one: one is not caller)
        gradient = self.info.operation.gradient
        if gradient is not None and result.output is not None and self._is_picked_gradient(result.output):
            self.info = replace(self.info, operation=gradient)
            self._callers = [replace(one, operation=gradient) for one in self._callers]
            self._possible_styles = self._styles()
            self._settle(self._best_attempt())
            note = f"item {self._target.pick} has the shape of the logits: it is judged as {gradient}"
            self.info = replace(self.info, notes=(note, *self.info.notes))
            return
        style = self._proven_style = result.style
        self.info = replace(
            self.info,
            backend=caller.backend,
            takes=style.takes | self._declared,
            takes_rows_of_targets=style.rows_of_targets,
            notes=tuple(self._notes(style)),
        )

    def _notes(self, style: CallStyle) -> Iterator[str]:
        parameters = [] if style.after_forward else parameters_of(self._code.function) or []
        operation = self.info.operation
        if style.second_first or style.logits_name or self._is_guess(style):
            yield _order_note(style, [p.name for p in parameters], operation, is_guess=self._is_guess(style))
        if style.of_output:
            yield "it takes the output of the softmax: called with that of the logits, rounded once"
        if style.rows_of_targets:
            yield "it takes a target for every class: class numbers are passed as one-hot rows"
        if style.pick is not None and self._target.pick is None:
            yield f"it returns several items: item {style.pick} is judged, by its shape (--pick names another)"
        if style.after_forward:
            yield "its forward pass is called before its backward pass, on the same input"
        if style.axes:
            yield f"called with a batch {InBatch(style.axes).words}: with (N, K) it {style.reason}"
        if self._caller.is_random:
            yield f"it draws random numbers: each call begins with seed {self._target.seed}"
        if self._caller.backend != self._likeliest_backend:
            yield f"called with arrays of {self._caller.backend}, which was found by trying (--backend)"

    def _is_guess(self, style: CallStyle) -> bool:
        """True where the names of the parameters do not say which is which."""
        several = {(s.second_first, s.logits_name, s.second_name) for s in self._possible_styles}
        shown = parameters_of(self._code.function) is not None and not style.after_forward
        return shown and len(several) > 1

    def _is_picked_gradient(self, output: Array) -> bool:
        """True where the picked item is the gradient that a loss returns beside its value."""
        operation, target = self.info.operation, self._target
        was_asked_for = target.pick is not None and target.operation is None
        has_gradient = operation.per_row and operation.gradient is not None
        return was_asked_for and has_gradient and is_like_the_logits(output.shape)

    def _is_matrix_of_losses(self, output: Array) -> bool:
        """True where a loss was written for one row: x[labels] of several rows is a matrix."""
        operation = self.info.operation
        return operation.reduces and operation.per_row and output.ndim == 2 and output.shape[1] > 1


def _text(argument: FurtherArgument, backend: str) -> str:
    """Write a further argument for code of a library."""
    maker = {"torch": "torch.from_numpy", "jax": "jnp.asarray"}.get(backend, "")
    return f"{maker}({argument.text})" if maker and isinstance(argument.value, np.ndarray) else argument.text


_SECOND_NAMES = {
    Second.LABELS: "targets",
    Second.CELL_TARGETS: "targets",
    Second.UPSTREAM: "upstream gradient",
    Second.LOGITS: "other logits",
}


def _order_note(style: CallStyle, names: list[str], operation: Operation, *, is_guess: bool) -> str:
    """Say which parameter gets what, and whether its name says so."""
    logits, second = (1, 0) if style.second_first else (0, 1)
    pair = [(style.logits_name or names[logits], "softmax" if style.of_output else "logits")]
    if len(names) > 1 and operation.second in _SECOND_NAMES:
        pair.append((style.second_name or names[second], _SECOND_NAMES[operation.second]))
    text = ", ".join(f"{name}={what}" for name, what in sorted(pair, key=lambda p: names.index(p[0])))
    why = "a guess: the names of its parameters do not say" if is_guess else "by the names of its parameters"
    return f"called as f({text}), {why}"


def _reason(refusal: Result) -> str:
    return refusal.trouble if refusal.output is None else f"returned shape {refusal.output.shape}"
