"""Any function as a target of a trace: it gets the arguments that were given for it, by their names, and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.target.call_style import guarded
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
from stablemax.trace.run import Subject
from stablemax.trace.traced_code import code_of

if TYPE_CHECKING:
    from stablemax.check.target.load import Code
    from stablemax.check.target.messages import FurtherArgument, Target, TraceOptions

MAX_NUMBERS = 1 << 14
"""A trace of more numbers takes minutes."""


class AnyTarget:
    """A function that is held to no operation: it is traced, and not judged as one of ours."""

    #: There is nothing to say of it before it is traced.
    info = None

    def __init__(self, target: Target, code: Code | None = None) -> None:
        code = load(target.name, target.further) if code is None else code
        self._target, self._function = target, code.function
        self._passed = [argument for argument in target.further if argument.name not in code.made_with]
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

    def trace_any(self, options: TraceOptions) -> Trace:
        """Trace NumPy, PyTorch or JAX code on its arguments."""
        arrays = [a for a in self._passed if isinstance(a.value, np.ndarray)]
        # The first array of a number format leads: its format is that of the trace.
        arrays.sort(key=lambda argument: not _is_float(argument))
        if not arrays or not _is_float(arrays[0]):
            raise StablemaxError(
                f"{shown(self._target.name)}: no argument is an array of floats, and there is nothing to follow",
                "--arg x=FILE.npy, or --arg 'x=uniform(-5, 5, 8)'",
            )
        given = GivenArguments(tuple(a.name for a in arrays), tuple(a.value for a in arrays))
        if given.size[1] > MAX_NUMBERS:
            raise StablemaxError(
                f"the arguments hold {counted(given.size[1], 'number')}, and a trace takes {MAX_NUMBERS:,}",
                "give a part of them",
            )
        fmt = format_of_array(arrays[0].value)
        refuse_emulated(fmt)
        words: dict[str, Any] = {"target": self._target.name, "source": self._words}
        words |= {"command": options.command, "notes": options.notes}
        with kept_random_numbers():
            return trace_any(self._subject(given, fmt), options.max_ulp, **words)

    @property
    def _words(self) -> str:
        """The arguments with their dtypes and shapes, and the constants."""
        return ", ".join(
            f"{a.name} {a.value.dtype} {a.value.shape}" if isinstance(a.value, np.ndarray) else f"{a.name} = {a.text}"
            for a in self._passed
        )

    def _subject(self, given: GivenArguments, fmt: Format) -> Subject:
        function = self._called(given.names)
        if self._backend == "numpy":
            from stablemax.trace.numpy.numpy_run import NumpyCode

            return NumpyCode(given, fmt, function, code_of(self._function))
        if self._backend == "torch":
            from stablemax.trace.torch.torch_trace import TorchCode, refuse_untraceable

            device, code = self._target.device or "cpu", self._function
            refuse_untraceable(fmt, device, (code,), {"target": self._target.name})
            return TorchCode(given, fmt, function, code, device, self._target.backward)
        from stablemax.trace.jax.jax_trace import JaxCode

        target = self._target
        return JaxCode(given, fmt, function, self._function, target.device, target.backward)

    def _called(self, names: Sequence[str]) -> Callable[..., Any]:
        """Return the function of the arrays alone, in their order; what is no array, it gets as it is."""
        function, pick, seed = self._function, self._target.pick, self._target.seed
        constants = {a.name: a.value for a in self._passed if a.name not in names}
        by_position = passed_by_position(function, [a.name for a in self._passed])

        def called(*arrays: Any) -> Any:
            # The code is run many times: each run draws the same random numbers.
            RandomNumbers().seed(seed)
            given = {**dict(zip(names, arrays, strict=True)), **constants}
            value = guarded(function, *(given.pop(name) for name in by_position), **given)
            try:
                return item_of(value, pick)
            except SeveralItemsError as error:
                raise StablemaxError(
                    f"the traced function {error}", f"--pick {' or '.join(map(str, error.items))}"
                ) from None
            except NoSuchItemError as error:
                raise StablemaxError(f"the traced function {error}", f"its items: {listed(error.names)}") from None

        return called


def _is_float(argument: FurtherArgument) -> bool:
    return argument.value.dtype.kind not in "biuOSU"
