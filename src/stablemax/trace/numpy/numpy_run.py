"""NumPy code run beside its exact shadow, at a precision that decides every digit."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import flint
import numpy as np

from stablemax.numerics.formats import FLOAT64, Array
from stablemax.text.errors import StablemaxError, shown
from stablemax.trace import exact_cells as cells
from stablemax.trace.cures.flow import Flow
from stablemax.trace.divergences import Leads, of_all, of_none
from stablemax.trace.leaks import Foreign, Scale, without_leaks
from stablemax.trace.numpy.array_makers import following
from stablemax.trace.numpy.kept_arrays import kept_arrays_shadowed
from stablemax.trace.numpy.shadow_array import ShadowArray
from stablemax.trace.numpy.shadowed import Shadowed, exact_of, fingerprint, plain, shadow, shadow_tree
from stablemax.trace.numpy.tape import Tape
from stablemax.trace.run import FIRST_BITS, Run, Subject, decided, raised, with_exact_branches
from stablemax.trace.traced_code import Code, boundary, scalar_conversions


@dataclass(frozen=True)
class NumpyCode(Subject):
    """NumPy code and its input."""

    #: Which files and modules are the traced code.
    code: Code = field(default_factory=Code)

    backend = "numpy"
    records_flow = True

    def plain(self) -> Run:
        """Run the code and measure nothing."""
        return self._repeated(FIRST_BITS)

    def ordinary(self) -> Array:
        """Run the code on plain arrays, without a shadow beside it."""
        with np.errstate(all="ignore"), _quiet():
            try:
                result = boundary(lambda: self.function(*(array.copy() for array in self.given.arguments)))
            except StablemaxError:
                raise
            except Exception as error:
                raise StablemaxError(*raised(error, self.code.holds)) from error
            return np.asarray(result)

    def observed(self) -> Run:
        """Run the code and observe each operation, with as many bits as the digits of its result take."""
        given = self.given
        run = run_decided(self.function, given.arguments, self.code, exactly=given.cells_of_first)
        run = without_leaks(given.as_rows(run), self.foreign)
        return with_exact_branches(run, lambda: self.led(run, of_all))

    def foreign(self, scale: Scale) -> Foreign | None:
        """Return what comes in from elsewhere where the arguments are scaled; None where the code does not run."""
        tape = Tape(self.code, watch=False, has_shadow=False)
        with contextlib.suppress(StablemaxError):
            run_once(self.function, tuple(map(scale, self.given.arguments)), tape)
            return tape.foreign_calls()
        return None

    def rounded(self, run: Run, count: int) -> Run:
        """Repeat a run; its first operations give the exact value, rounded once, in place of their own."""
        return self._repeated(run.bits, rounded_to=count)

    def led(self, run: Run, leads: Leads, forgotten_to: int = 0) -> Run:
        """Repeat a run with exact answers to some comparisons; its first operations are forgotten."""
        return self._repeated(run.bits, forgotten_to=forgotten_to, leads=leads)

    def valued(self, run: Run, steps: Collection[int]) -> Run:
        """Repeat a run; where exact results of some operations have no value they get one."""
        return self._repeated(run.bits, valued=steps)

    def recorded(self, bits: int = FIRST_BITS) -> tuple[Run, Flow]:
        """Run the code and record its data flow."""
        flow = Flow()
        run = self._repeated(bits, flow=flow, fingerprint=fingerprint)
        return run, flow

    def recorded_from(self, key: Hashable, bits: int) -> Flow:
        """Record the data flow where the shadow starts from what an operation really got."""
        flow = Flow()
        self._repeated(bits, flow=flow, forgotten_to=key)
        return flow

    def with_outputs(self, outputs: Mapping[Hashable, Array]) -> Run:
        """Run the code without its shadow; operations get other outputs, by their numbers."""
        return self._repeated(FIRST_BITS, replaced=outputs, has_shadow=False)

    def flow_key(self, run: Run, index: int) -> Hashable:  # noqa: ARG002 - it is the index in every run
        """Return the number of an operation."""
        return index

    def suspects(self, run: Run) -> tuple[str, ...]:
        """Name calls that take a number out of NumPy unseen, such as ``np.float32(total)``."""
        return scalar_conversions(run.functions) if run.has_foreign else ()

    def _repeated(self, bits: int, **changes: Any) -> Run:
        """Run the code with a tape that changes it."""
        tape = Tape(self.code, watch=False, **changes)
        given = self.given
        return given.as_rows(run_once(self.function, given.arguments, tape, bits, exactly=given.cells_of_first))


def run_once(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    tape: Tape,
    bits: int = FIRST_BITS,
    *,
    exactly: Callable[[], Array] | None = None,
) -> Run:
    """Run a function of arrays once, on copies, so that it may work in place.

    The first, the logits, and arrays of a number format are shadowed, labels are handed on as they are.
    `exactly` gives the cells of the first, where they are not its numbers.
    """
    with flint.ctx.workprec(bits), np.errstate(all="ignore"):
        logits, *others = arguments
        first = shadow(logits.copy(), cells.cells_of(logits) if exactly is None else exactly(), tape, ShadowArray)
        shadowed = (first, *(_shadowed(a, tape) for a in others))
        if tape.flow is not None:
            for number, array in enumerate(shadowed):
                if isinstance(array, Shadowed):
                    tape.flow.add_argument(number, np.asarray(plain(array)), exact_of(array))
        with following(tape), kept_arrays_shadowed(tape), _quiet():
            try:
                result = boundary(lambda: function(*shadowed))
            except StablemaxError:
                raise
            except Exception as error:
                raise StablemaxError(*raised(error, tape.follows)) from error
        value, exact = _apart(result, tape)
        tape.close()
        if exact is None and not tape.not_followed:
            last = tape.steps[-1].line if tape.steps else 0
            tape.not_followed["the result" + (f", after line {last}" if last else "")] = None
    return Run(
        value, exact, tape.steps, tape.records, tape.codes, tuple(tape.not_followed), bits=bits,
        divergences=tape.divergences, notes=tape.sample.notes, is_sampled=bool(tape.sample.skipped),
        is_doubtful=tape.is_doubtful, has_foreign=bool(tape.foreign),
    )  # fmt: skip


def run_decided(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    code: Code,
    *,
    watch: bool = True,
    leads: Leads = of_none,
    exactly: Callable[[], Array] | None = None,
) -> Run:
    """Run a function, and once more with more bits where a digit of its exact result is open."""
    return decided(
        lambda bits: run_once(function, arguments, Tape(code, watch, leads=leads), bits, exactly=exactly),
        lambda run: (cells.format_or_none(run.value.dtype) or FLOAT64).precision,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop what the function prints and warns of: it is run many times."""
    drop = io.StringIO()
    with contextlib.redirect_stdout(drop), contextlib.redirect_stderr(drop), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _shadowed(argument: Any, tape: Tape) -> Any:
    if isinstance(argument, np.ndarray) and cells.is_followed(argument.dtype):
        values = argument.copy()
        return shadow(values, cells.cells_of(values), tape, ShadowArray)
    return argument.copy() if isinstance(argument, np.ndarray) else argument


def _apart(result: Any, tape: Tape) -> tuple[Array, Array | None]:
    """Split what the function returned into values and cells."""
    if isinstance(result, Shadowed):
        return np.asarray(plain(result)), exact_of(result)
    if isinstance(result, (list, tuple)):
        with contextlib.suppress(ValueError, TypeError):
            value = np.asarray(plain(result))
            exact = np.array(shadow_tree(result, tape), dtype=object)
            if cells.format_or_none(value.dtype) is not None and exact.shape == value.shape:
                return value, cells.settled(exact)
    if isinstance(result, (int, float, np.generic, np.ndarray)) and not isinstance(result, bool):
        value = np.asarray(result)
        known = tape.known(result) if isinstance(result, float) else None
        if known is not None:
            return value, cells.as_array(known)
        if value.dtype.kind in "iuf" or cells.format_or_none(value.dtype) is not None:
            return value, None
    raise StablemaxError(
        f"the traced function returns {shown(type(result).__name__)}, not an array of real numbers",
        "return the result as a NumPy array",
    )
