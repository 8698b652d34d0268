"""What ran, in order: every operation with the line that called it."""

from __future__ import annotations

import enum
import functools
import math
import sys
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np

from stablemax.numerics.formats import FLOAT64, Array
from stablemax.operations import NAMES
from stablemax.trace import exact_cells as cells
from stablemax.trace.cures.flow import Flow, Reduction
from stablemax.trace.divergences import (
    Divergence,
    Leads,
    divergence_of,
    divergence_of_number,
    exact_answers,
    of_none,
)
from stablemax.trace.line_values import LineValues
from stablemax.trace.long_loops import LoopSample
from stablemax.trace.observation import Observation, Record, Site, observe, record_of
from stablemax.trace.traced_code import (
    PACKAGE,
    Code,
    boundary,
    display_name,
    expression_at,
    expression_of,
    float_constants,
    is_library,
)

_VARIANTS = tuple(str(Path(PACKAGE, "operations", f"{name}.py")) for name in (*NAMES, "normalisers"))
_TRACE = str(Path(PACKAGE, "trace"))
_NUMPY = str(Path(np.__file__).parent)


class Owner(enum.Enum):
    """The owner of a file of code."""

    TRACED = "the traced code"
    PACKAGE = "this package, without the tracer"
    TRACER = "the tracer, and NumPy"
    LIBRARY = "any other library"


@dataclass(frozen=True)
class _HandedOut:
    """A Python float that the traced code was given, the cell that it stands for, and the call that asked for it."""

    value: float
    cell: Any
    call: str
    #: How it differs from its cell; None where it does not.
    divergence: Divergence | None


@dataclass
class Tape:
    """The record of one run, and what to change in it."""

    #: The traced code, traced even where it is installed.
    code: Code = field(default_factory=Code)
    #: Measure every operation; without, only the shadow is kept.
    watch: bool = True
    #: Keep the exact values of every operation.
    keeps_values: bool = False
    values: list[LineValues] = field(default_factory=list)
    #: So many operations, from the first, give the exact value, rounded once, in place of their own.
    rounded_to: int = 0
    #: After so many operations the shadow starts again from the values.
    forgotten_to: int = 0
    #: Operations, by their numbers, whose exact results get a number where they have none.
    valued: Collection[int] = ()
    #: Outputs to put in the place of those of operations, by their numbers.
    replaced: Mapping[Hashable, Array] = field(default_factory=dict)
    #: Without, operations run on the values alone.
    has_shadow: bool = True
    #: Where the data flow is recorded, if it is.
    flow: Flow | None = None
    #: What identifies the value of a variable of the traced code.
    fingerprint: Callable[[Any], Hashable] = id
    #: Of which comparisons the code gets the exact answer.
    leads: Leads = of_none
    count: int = 0
    comparisons: int = 0
    divergences: list[Divergence] = field(default_factory=list)
    steps: list[Observation] = field(default_factory=list)
    records: dict[tuple[Any, ...], Record] = field(default_factory=dict)
    codes: dict[CodeType, None] = field(default_factory=dict)
    not_followed: dict[str, None] = field(default_factory=dict)
    #: Floats that were handed out, by identity, and which of them came back.
    handed: dict[int, _HandedOut] = field(default_factory=dict)
    recovered: set[int] = field(default_factory=set)
    #: A float came in that is no constant of the code, after others were handed out: it may be made of those.
    has_strangers: bool = False
    #: What was not followed went on as if its numbers were exact.
    went_on: bool = False
    #: Numbers that came in from elsewhere, by the code, instruction and line that took them.
    foreign: dict[tuple[CodeType, int, int], set[bytes]] = field(default_factory=dict)
    sample: LoopSample = field(default_factory=LoopSample)
    #: What is to be measured, each with the number of its run on its line.
    _unmeasured: list[tuple[int, Callable[[], Observation]]] = field(default_factory=list)
    _owners: dict[str, Owner] = field(default_factory=dict)

    def finish(
        self,
        name: str,
        value: Array,
        exact: Array,
        local: Callable[[], Array | None] | None,
        inputs: Sequence[tuple[Array, Array]],
        reduction: Reduction | None = None,
    ) -> tuple[Array, Array]:
        """Record one operation; return its value and shadow, changed as the tape says.

        `local` takes the operation exactly on its actual inputs; without it the shadow is that, too.
        """
        # Integers that numbers were cut down to are measured as any number is.
        fmt = cells.format_or_none(value.dtype) or FLOAT64
        index = self.count
        self.count += 1
        if index < self.rounded_to:
            value = fmt.cast(cells.nearest(exact)).reshape(value.shape)
        value = self._replaced(index, value)
        # What an index picks are the cells that were there.
        if self.flow is not None and name != "index":
            frame = self._frame()
            exact = self.flow.add(
                index, name, value, exact, inputs, reduction=reduction, frame=frame, fingerprint=self.fingerprint
            )
        site = self.site()
        key = (site, name, 0, fmt.name)
        if self.watch and self.sample.takes(key, value, index):
            # Operations are measured after the run: until then NumPy's functions are replaced. The code may change
            # arrays in place before that, hence the copies.
            copies = [(v.copy(), c.copy()) for v, c in inputs]
            here = local() if local is not None else None
            here = exact.copy() if here is None else here
            measure = functools.partial(observe, name, site, index, fmt, value.copy(), exact.copy(), here, copies)
            self._unmeasured.append((self.sample.runs[key] - 1, measure))
        if self.keeps_values:
            self.values.append(LineValues(display_name(site.file), site.line, cells.nearest(exact).ravel()))
        if index in self.valued:
            exact = cells.with_values(exact)
        if index < self.forgotten_to:
            exact = cells.cells_of(value)
        return value, exact

    def passed(self, value: Array) -> Array:
        """Count an operation on values alone; return its output, or the one in its place."""
        index = self.count
        self.count += 1
        return self._replaced(index, value)

    def _replaced(self, index: int, value: Array) -> Array:
        put = self.replaced.get(index)
        return value if put is None or put.shape != value.shape else put.astype(value.dtype)

    def compared(self, name: str, values: Array, operands: Sequence[tuple[Any, Any]]) -> Array:
        """Return the answers of a comparison: the floats' `values`, or the exact ones where these lead.

        The operands are pairs of values and exact cells.
        """
        number, self.comparisons = self.comparisons, self.comparisons + 1
        exact = exact_answers(name, [c for _, c in operands], values)
        if not np.array_equal(values, exact):
            frame = self._frame()
            text = (expression_at(frame) if frame is not None else "") or name
            self.divergences.append(divergence_of(number, self.count, self.site(), text, values, exact, operands))
        return exact if self.leads(number) else values

    def lose_call(self, otherwise: str) -> None:
        """Record that the shadow ends at the running call, named by its source, ``math.exp(x[0])``, or `otherwise`."""
        self.not_followed.setdefault(self._running_call(otherwise))

    def hand_out(self, value: float, cell: Any, otherwise: str) -> float:
        """Give a Python float to the traced code; where exact numbers lead, that next to the exact one.

        What becomes of it is not seen, but the very object is recognised when it comes back: ``return float(loss)``
        loses nothing. A float that never comes back is not followed: the code may decide by it.
        """
        number, self.comparisons = self.comparisons, self.comparisons + 1
        exact = float(cells.nearest(cells.as_array(cell)))
        differs = exact != value and not (math.isnan(exact) and (math.isnan(value) or cell is cells.UNDECIDED))
        divergence = self._divergence_of_number(number, otherwise, value, cell) if differs else None
        # An object of its own: by its identity it is known.
        value = float(str(exact)) if differs and self.leads(number) else value
        self.handed[id(value)] = _HandedOut(value, cell, self._running_call(otherwise), divergence)
        return value

    def decided(self, otherwise: str, value: Any, exact: Any) -> Any:
        """Return the whole numbers that code decides by, the floats' or, where these lead, the exact ones."""
        number, self.comparisons = self.comparisons, self.comparisons + 1
        differs = np.asarray(value != exact)
        if not differs.any():
            return value
        place = np.unravel_index(int(np.argmax(differs)), differs.shape)
        pair = (int(np.asarray(v)[place]) for v in (value, exact))
        self.divergences.append(self._divergence_of_number(number, otherwise, *pair))
        return exact if self.leads(number) else value

    def _divergence_of_number(self, number: int, otherwise: str, value: float, exact: Any) -> Divergence:
        frame = self._frame()
        text = (expression_at(frame) if frame is not None else "") or otherwise
        return divergence_of_number(number, self.count, self.site(), text, value, exact)

    def known(self, value: float) -> Any:
        """Return the cell of a float that was handed out; None for any other."""
        handed = self.handed.get(id(value))
        if handed is None or handed.value is not value:
            return None
        self.recovered.add(id(value))
        return handed.cell

    def take_in(self, number: Any) -> None:
        """Note a number, or an array of them, that came in from elsewhere: no operation of the run made it.

        Behind floats that were handed out, a float may be what the code made of them.
        """
        frame = self._frame()
        if frame is None or any(constant is number for constant in _constants(frame)):
            self.has_strangers |= frame is None and self._may_be_made_of_handed(number)
            return
        self.has_strangers = self.has_strangers or self._may_be_made_of_handed(number)
        place = frame.f_code, frame.f_lasti, frame.f_lineno
        self.foreign.setdefault(place, set()).add(np.asarray(number).tobytes())

    def foreign_calls(self) -> dict[str, set[bytes]]:
        """Return the numbers that came in from elsewhere by the call that took them, with its line."""
        calls: dict[str, set[bytes]] = {}
        for (code, instruction, line), numbers in self.foreign.items():
            call = f"{expression_of(code, instruction)} at {Path(code.co_filename).name}:{line}"
            calls.setdefault(call.strip(), set()).update(numbers)
        return calls

    def _may_be_made_of_handed(self, number: Any) -> bool:
        return bool(self.handed) and isinstance(number, float) and math.isfinite(number)

    @property
    def is_doubtful(self) -> bool:
        """True where numbers may have come back that the shadow takes for constants of the code."""
        return self.went_on or (self.has_strangers and len(self.recovered) < len(self.handed))

    def close(self) -> None:
        """Measure what was recorded, at the precision of the run, and end the run."""
        for run, measure in self._unmeasured:
            seen = measure()
            self.steps.append(seen)
            record_of(seen, self.records, Record, run)
        for key, count in self.sample.skipped.items():
            self.records[key].skip(count)
        followed = {handed.call for key, handed in self.handed.items() if key in self.recovered}
        for handed in self.handed.values():
            if handed.call not in followed:
                self.not_followed.setdefault(handed.call)
                self.divergences += [handed.divergence] if handed.divergence is not None else []
        self.divergences.sort(key=lambda divergence: divergence.number)

    def _running_call(self, otherwise: str) -> str:
        """Name the running call of the traced code, with its line."""
        frame = self._frame()
        if frame is None:
            return otherwise
        if frame.f_code not in self.codes:
            self._add_functions(frame)
        file = frame.f_code.co_filename
        return f"{expression_at(frame) or otherwise} at {Path(file).name}:{frame.f_lineno}"

    def site(self) -> Site:
        """Find the line of the traced code that runs now."""
        frame = self._frame()
        if frame is None:
            return Site()
        code = frame.f_code
        if code not in self.codes:
            self._add_functions(frame)
        return Site(code.co_filename, frame.f_lineno)

    def follows(self, filename: str) -> bool:
        """Tell the traced code from all other."""
        return self.owner(filename) is Owner.TRACED

    def owner(self, filename: str) -> Owner:
        """Tell whose code a file is."""
        owner = self._owners.get(filename)
        if owner is None:
            owner = self._owners[filename] = self._owner_of(filename)
        return owner

    def _owner_of(self, filename: str) -> Owner:
        if filename.startswith((_TRACE, _NUMPY)):
            return Owner.TRACER
        if filename.startswith(PACKAGE):
            return Owner.TRACED if filename.startswith(_VARIANTS) else Owner.PACKAGE
        is_traced = self.code.holds(filename) or not is_library(filename)
        return Owner.TRACED if is_traced else Owner.LIBRARY

    def _frame(self) -> FrameType | None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and not self.follows(frame.f_code.co_filename):
            frame = None if frame.f_code is boundary.__code__ else frame.f_back
        return frame

    def _add_functions(self, frame: FrameType | None) -> None:
        """Note the functions that lead here, the innermost last."""
        chain = []
        while frame is not None and frame.f_code is not boundary.__code__:
            if self.follows(frame.f_code.co_filename):
                chain.append(frame.f_code)
            frame = frame.f_back
        for code in reversed(chain):
            self.codes.setdefault(code)


def _constants(frame: FrameType) -> Iterator[Any]:
    """Yield the floats that stand in a function's code, and those of its module, each the very object."""
    yield from float_constants([frame.f_code])
    yield from (value for value in frame.f_globals.values() if isinstance(value, float))
