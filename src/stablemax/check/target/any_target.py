"""Any function as a target of a trace: it gets the arguments that were given for it, by their names, and no others."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.any_function.judged_input import HeldTo, JudgedInput, judged_input, suspicion
from stablemax.check.any_function.written_target import WrittenTarget
from stablemax.check.target.autograd_code import autograd_code
from stablemax.check.target.call_style import guarded
from stablemax.check.target.held_arrays import held_arrays
from stablemax.check.target.infer import backends_of
from stablemax.check.target.load import load
from stablemax.check.target.parameters import parameters_of, passed_by_position, refuse_unknown
from stablemax.check.target.random_state import RandomNumbers, kept_random_numbers
from stablemax.check.target.returned import NoSuchItemError, SeveralItemsError, item_of
from stablemax.check.target.traced_call import refuse_emulated
from stablemax.numerics.formats import Format, format_of_array
from stablemax.results import Trace
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.words import counted, listed
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.own_truth import trace_any
from stablemax.trace.run import Subject, raised
from stablemax.trace.traced_code import Code as TracedCode
from stablemax.trace.traced_code import code_of

if TYPE_CHECKING:
    from stablemax.check.any_function.candidates import Inputs
    from stablemax.check.target.load import Code
    from stablemax.check.target.messages import FurtherArgument, Target, TraceOptions

MAX_NUMBERS = 1 << 14
"""A trace of more numbers takes minutes."""


class AnyTarget:
    """A function that is held to no operation: it is traced, and judged by exact arithmetic on its own code."""

    #: There is nothing to say of it before it is traced.
    info = None

    def __init__(self, target: Target, code: Code | None = None) -> None:
        code = load(target.name, target.further, target.seed) if code is None else code
        self._target, self._code, self._function = target, code, code.function
        own = [p.name for p in parameters_of(code.function) or [] if p.is_required]
        # What its class was made with, it gets once more where it has a parameter of that name.
        self._passed = [a for a in target.further if a.name not in code.made_with or a.name in own]
        self._held = held_arrays(code.function)
        names = [argument.name for argument in self._passed]
        refuse_unknown(target.name, code.function, names)
        missing = [p.name for p in parameters_of(code.function) or [] if p.is_required and p.name not in names]
        if missing:
            raise StablemaxError(
                f"{shown(target.name)} takes {listed(missing)}, too",
                f"give a value, a file or a range: {' '.join(f'--arg {name}=VALUE' for name in missing)}",
            )
        self._backend = target.backend or backends_of(code.function)[0]
        if target.backward and self._backend == "numpy":
            raise StablemaxError("--backward needs a library with autograd", "--backend torch, or --backend jax")

    def trace_any(self, options: TraceOptions, inputs: Inputs | None = None) -> Trace:
        """Trace NumPy, PyTorch or JAX code on its arguments, some of them replaced by others of their name."""
        passed = self._with(inputs or {})
        words: dict[str, Any] = {"target": self._target.name, "source": _words(passed)}
        words |= {"command": options.command, "notes": options.notes}
        with kept_random_numbers():
            return trace_any(self._subject(*self._given(passed)), options.max_ulp, **words)

    def judge_each(self, inputs: Sequence[Inputs], held_to: HeldTo) -> list[JudgedInput]:
        """Hold the result of each input against what exact arithmetic gives for the same code."""
        with kept_random_numbers():
            return [judged_input(self._subject(*self._given(self._with(one))), held_to) for one in inputs]

    def suspect(self, inputs: Sequence[Inputs]) -> list[float]:
        """Tell of each input how much its result looks like a fault beside one in float64, without any proof."""
        with kept_random_numbers():
            return [
                suspicion(*(self._subject(*self._given(self._with(arrays))) for arrays in (one, _in_float64(one))))
                for one in inputs
            ]

    def written(self) -> WrittenTarget:
        """Return how Python code imports the function and calls it."""
        module = self._target.name.rpartition(":")[0]
        return WrittenTarget(
            self._backend,
            "" if module.endswith(".ipynb") else module,
            self._code.expression,
            tuple(passed_by_position(self._function, [a.name for a in self._passed])),
            {a.name: a.text for a in self._passed if not isinstance(a.value, np.ndarray)},
            {a.name: a.value for a in self._passed if isinstance(a.value, np.ndarray)},
            self._target.seed if self._code.is_made_at_random else None,
        )

    def _with(self, inputs: Inputs) -> list[FurtherArgument]:
        """Return the arguments, some of their arrays replaced."""
        return [replace(a, value=inputs.get(a.name, a.value)) for a in self._passed]

    def _given(self, passed: Sequence[FurtherArgument]) -> tuple[GivenArguments, Format]:
        """Return the arrays among the arguments, and the format of the first of floats."""
        arrays = [a for a in passed if isinstance(a.value, np.ndarray)]
        # The first array of a number format leads: its format is that of the trace.
        arrays.sort(key=lambda argument: not _is_float(argument))
        if not arrays or not _is_float(arrays[0]):
            raise StablemaxError(
                f"{shown(self._target.name)}: no argument is an array of floats, and there is nothing to follow",
                _array_instead(passed) or "--arg x=FILE.npy, or --arg 'x=uniform(-5, 5, 8)'",
            )
        given = GivenArguments(tuple(a.name for a in arrays), tuple(a.value for a in arrays), self._held)
        if given.size[1] > MAX_NUMBERS:
            raise StablemaxError(
                f"the arguments hold {counted(given.size[1], 'number')}, and a trace takes {MAX_NUMBERS:,}",
                "give a part of them",
            )
        fmt = format_of_array(arrays[0].value)
        refuse_emulated(fmt)
        return given, fmt

    def _subject(self, given: GivenArguments, fmt: Format) -> Subject:
        function = self._called(given.names)
        if self._backend == "numpy":
            from stablemax.trace.numpy.numpy_run import NumpyCode

            return NumpyCode(given, fmt, function, self._traced_code)
        target, code = self._target, self._function
        if self._backend == "torch":
            from stablemax.trace.torch.torch_trace import refuse_untraceable

            refuse_untraceable(fmt, target.device or "cpu", (code,), {"target": target.name})
        return autograd_code(self._backend, target, given, fmt, function, code, leaves=_floats(given))

    @functools.cached_property
    def _traced_code(self) -> TracedCode:
        """The files and modules that the function's code is, found once for all its inputs."""
        return code_of(self._function)

    def _called(self, names: Sequence[str]) -> Callable[..., Any]:
        """Return the function of the arrays alone, in their order; what is no array, it gets as it is."""
        function, pick, seed = self._function, self._target.pick, self._target.seed
        constants = {a.name: a.value for a in self._passed if a.name not in names}
        by_position = passed_by_position(function, [a.name for a in self._passed])

        def called(*arrays: Any) -> Any:
            # The code is run many times: each run draws the same random numbers.
            RandomNumbers().seed(seed)
            given = {**dict(zip(names, arrays, strict=True)), **constants}
            try:
                value = guarded(function, *(given.pop(name) for name in by_position), **given)
            except (AttributeError, TypeError) as error:
                instead = _array_instead(self._passed)
                if not instead:
                    raise
                # The code may ask a list for what arrays have.
                raise StablemaxError(raised(error, self._traced_code.holds)[0], instead) from error
            try:
                return item_of(value, pick)
            except SeveralItemsError as error:
                raise StablemaxError(
                    f"the traced function {error}", f"--pick {' or '.join(map(str, error.items))}"
                ) from None
            except NoSuchItemError as error:
                raise StablemaxError(f"the traced function {error}", f"its items: {listed(error.names)}") from None

        return called


def _array_instead(passed: Sequence[FurtherArgument]) -> str:
    """Say how a list of numbers that the code gets as one is passed as an array; empty where there is none."""
    for one in passed:
        if isinstance(one.value, (list, tuple)):
            with contextlib.suppress(ValueError):
                if np.array(one.value).dtype.kind in "iuf":
                    return f"{one.name} is a list, as Python has it; as an array: --arg '{one.name}=array({one.text})'"
    return ""


def _floats(given: GivenArguments) -> int:
    """Return how many of the arguments are arrays of floats: a gradient is taken by each of them."""
    return sum(a.dtype.kind not in "biu" for a in given.arguments)


def _words(passed: Sequence[FurtherArgument]) -> str:
    """Return the arguments with their dtypes and shapes, and the constants."""
    return ", ".join(
        f"{a.name} {a.value.dtype} {a.value.shape}" if isinstance(a.value, np.ndarray) else f"{a.name} = {a.text}"
        for a in passed
    )


def _in_float64(inputs: Inputs) -> Inputs:
    return {name: a if a.dtype.kind in "biuOSU" else a.astype(np.float64) for name, a in inputs.items()}


def _is_float(argument: FurtherArgument) -> bool:
    return argument.value.dtype.kind not in "biuOSU"
