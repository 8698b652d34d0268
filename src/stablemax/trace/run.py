"""One run of the traced code beside its exact shadow, and what an observer must be able to run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np

from stablemax.numerics.formats import Array, Format
from stablemax.text.errors import StablemaxError, shown
from stablemax.trace.divergences import of_all
from stablemax.trace.exact_cells import cells_of, is_undecided, nearest, softmax_cells

if TYPE_CHECKING:
    from stablemax.results import Trace
    from stablemax.trace.arrangement import Arrangement
    from stablemax.trace.cures.flow import Flow
    from stablemax.trace.divergences import Divergence, Leads
    from stablemax.trace.observation import Observation, Record
    from stablemax.trace.own_truth import OwnTruth

FIRST_BITS, MORE_BITS = 256, 4096
"""Precision of the shadow: the second where the first leaves a digit of the result open."""

SPARE_BITS = 12
"""A digit is open where the shadow knows fewer bits than the result's format has, and these."""


@dataclass(frozen=True)
class Fix:
    """The correction of an operation's output: its exact values, correctly rounded."""

    #: The place of the operation among all that were dispatched, or that of the number among all of a jaxpr.
    dispatch: int
    #: Its name; empty for whatever operation has that number.
    operation: str
    output: int
    values: Array


@dataclass(frozen=True)
class Run:
    """The results of one run of the code beside its exact shadow."""

    #: The output, bit for bit that of an ordinary run.
    value: Array
    #: What its operations give one by one, where the value is that of compiled code, and another.
    stepwise: Array | None = field(default=None, kw_only=True)
    #: The dtype of the output, where it was taken to another one.
    dtype: str = field(default="", kw_only=True)
    #: Exact cells of the output's shape: what exact arithmetic gives for the same code. None where the shadow did
    #: not reach the end.
    exact: Array | None = None
    steps: Sequence[Observation] = ()
    records: Mapping[tuple[Any, ...], Record] = field(default_factory=dict)
    #: The functions that took part, in the order of their first line.
    functions: Iterable[CodeType] = ()
    #: What the shadow could not follow, with its line.
    not_followed: tuple[str, ...] = ()
    #: Where the result is a gradient of autograd: the loss, or the losses, that it was taken of.
    forward: Array | None = None
    #: What was not followed, and casts no doubt on the formula.
    asides: tuple[str, ...] = ()
    #: What a reader should know about how it ran.
    notes: tuple[str, ...] = ()
    bits: int = FIRST_BITS
    #: What each step should have given, for an observer that puts it there in another run.
    fixes: Sequence[Fix] = ()
    #: Some of its operations were not measured: `steps` are not all.
    is_sampled: bool = False
    #: Numbers may have come back into the code, out of what was not followed, that were taken for its constants.
    is_doubtful: bool = False
    #: Numbers came in that neither the code holds as constants nor an operation made.
    has_foreign: bool = False
    #: Comparisons that exact numbers answer differently.
    divergences: Sequence[Divergence] = ()
    #: Where there are such: what exact arithmetic gives on the branches that the floats took.
    on_float_branches: Array | None = None


class Inputs(Protocol):
    """What the code under trace gets."""

    @property
    def arguments(self) -> tuple[Array, ...]:
        """The arrays that the function gets, the first of them followed whatever its dtype."""

    @property
    def size(self) -> tuple[int, int]:
        """How many rows and classes the places of its numbers are counted by."""

    def cells_of_first(self) -> Array:
        """Return the exact cells of the first argument."""

    @property
    def first_is_exact(self) -> bool:
        """True where the numbers of the first argument are its exact cells."""

    @property
    def arrangement(self) -> Arrangement | None:
        """How rows lie in the array that the function gets; None where they need no arranging."""

    def placed(self, places: Array) -> tuple[Array, ...]:
        """Put the places of all rows and classes into the shapes of the arguments."""

    def row(self, index: int) -> Self:
        """Return the same on one row."""

    def as_rows(self, run: Run) -> Run:
        """Take the results of a run out of the shape that the function gave them."""


@dataclass(frozen=True)
class Given:
    """Rows as they are stored, what the code gets beside them, and how they lie in its array."""

    #: (N, K), of the format or of integers.
    logits: Array
    #: Labels, soft targets or an array beside the logits, where there are any.
    second: Array | None
    #: None for an array (N, K).
    arrangement: Arrangement | None = None
    #: Logits (N, K), where the code gets their softmax, rounded, in their place.
    softmax_of: Array | None = None

    @property
    def arguments(self) -> tuple[Array, ...]:
        """The arrays that the function gets."""
        return tuple(self._given(rows) for rows in (self.logits, self.second) if rows is not None)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and classes."""
        rows, classes = self.logits.shape
        return rows, classes

    def cells_of_first(self) -> Array:
        """Return the exact cells of what the function gets for logits."""
        if self.softmax_of is not None:
            return self._given(softmax_cells(self.softmax_of))
        return cells_of(self._given(self.logits))

    @property
    def first_is_exact(self) -> bool:
        """True where the function gets the logits themselves."""
        return self.softmax_of is None

    def placed(self, places: Array) -> tuple[Array, ...]:
        """Lay the places as the logits lie, for each argument."""
        return (self._given(places),) * len(self.arguments)

    def row(self, index: int) -> Given:
        """Return the same on one row."""
        logits, second, softmax_of = (
            None if rows is None else rows[index : index + 1] for rows in (self.logits, self.second, self.softmax_of)
        )
        assert logits is not None, "there are always logits"
        return Given(logits, second, None if self.arrangement is None else self.arrangement.of_one_row(), softmax_of)

    def as_rows(self, run: Run) -> Run:
        """Take the results of a run out of the shape that the function gave them."""
        if self.arrangement is None:
            return run
        exact = None if run.exact is None else self.arrangement.rows(run.exact)
        return replace(run, value=self.arrangement.rows(run.value), exact=exact)

    def _given(self, rows: Array) -> Array:
        """Put rows (N, K), or one number a row, into the array that the function gets."""
        return rows if self.arrangement is None else self.arrangement.given(rows)


@dataclass(frozen=True)
class Subject(ABC):
    """Code and its input: run by an observer of NumPy, of PyTorch or of JAX."""

    given: Inputs
    format: Format
    function: Callable[..., Any]

    backend = ""
    #: Whatever the code, its library makes 0 of results below the smallest normal number.
    may_flush = False

    def row(self, index: int) -> Self:
        """Return the same on one row."""
        return replace(self, given=self.given.row(index))

    @abstractmethod
    def plain(self) -> Run:
        """Run the code and measure nothing."""

    def ordinary(self) -> Array:
        """Run the code as anybody does, as fast as that is, and return its result."""
        return self.plain().value

    @abstractmethod
    def observed(self) -> Run:
        """Run the code and observe each operation, with as many bits as the digits of its result take."""

    @abstractmethod
    def rounded(self, run: Run, count: int) -> Run:
        """Repeat an observed run; its first operations give the exact value, rounded once, in place of their own."""

    def forgotten(self, run: Run, count: int) -> Run:
        """Repeat an observed run; the shadow starts again from the values that its first operations gave."""
        return self.led(run, of_all, count)

    @abstractmethod
    def led(self, run: Run, leads: Leads, forgotten_to: int = 0) -> Run:
        """Repeat an observed run; exact numbers answer the comparisons that `leads` names.

        The shadow starts again from the values that the first operations gave, as many as `forgotten_to`.
        """

    @abstractmethod
    def valued(self, run: Run, steps: Collection[int]) -> Run:
        """Repeat an observed run; where exact results of some operations have no value, they get 1."""

    @property
    def is_gradient(self) -> bool:
        """True where the result is what autograd makes of the function's output."""
        return False

    #: The four methods below are there: of code without them no cure is looked for.
    records_flow = False

    def recorded(self, bits: int = FIRST_BITS) -> tuple[Run, Flow]:
        """Run the code and record its data flow."""
        raise NotImplementedError

    def recorded_from(self, key: Hashable, bits: int) -> Flow:
        """Record the data flow where the shadow starts from what an operation, by its key, really got."""
        raise NotImplementedError

    def with_outputs(self, outputs: Mapping[Hashable, Array]) -> Run:
        """Run the code without its shadow; operations get other outputs, by the keys of their flow nodes."""
        raise NotImplementedError

    def flow_key(self, run: Run, index: int) -> Hashable:
        """Return the key that an operation of an observed run, by its index, has in the data flow."""
        raise NotImplementedError

    def explained(self, trace: Trace, expected: OwnTruth) -> Trace:  # noqa: ARG002 - for observers that know more
        """Add to a trace what only its observer can find out."""
        return trace

    def suspects(self, run: Run) -> tuple[str, ...]:  # noqa: ARG002 - for observers that can be evaded
        """Name what may have evaded the shadow unseen: no formula is called wrong on such evidence."""
        return ()


def decided(run_with: Callable[[int], Run], precision: Callable[[Run], int]) -> Run:
    """Run code, and once more with more bits where a digit of its exact result is open."""
    run = run_with(FIRST_BITS)
    if run.exact is None or not is_undecided(run.exact, precision(run) + SPARE_BITS).any():
        return run
    return run_with(MORE_BITS)


def with_exact_branches(run: Run, led: Callable[[], Run]) -> Run:
    """Take the exact result from a run in which exact numbers choose the branches, where floats choose others.

    Where only numbers that were taken out of the arrays differ from exact ones, and the exact result does not depend
    on that, no branch does either.
    """
    if not run.divergences:
        return run
    try:
        exact_run = led()
    except StablemaxError:
        raises = "the branches that exact numbers take: there the code raises"
        return replace(run, exact=None, not_followed=(*run.not_followed, raises), on_float_branches=run.exact)
    exact = exact_run.exact if exact_run.value.shape == run.value.shape else None
    if all(d.answer is None for d in run.divergences) and _are_same(run.exact, exact):
        return replace(run, divergences=())
    lost = tuple(dict.fromkeys((*run.not_followed, *exact_run.not_followed)))
    is_doubtful = run.is_doubtful or exact_run.is_doubtful
    return replace(run, exact=exact, not_followed=lost, on_float_branches=run.exact, is_doubtful=is_doubtful)


def _are_same(exact: Array | None, other: Array | None) -> bool:
    """Tell whether two exact results are equal as far as float64 tells."""
    if exact is None or other is None:
        return exact is other
    return np.array_equal(nearest(exact), nearest(other), equal_nan=True)


def raised(error: Exception, is_traced: Callable[[str], bool]) -> tuple[str, str]:
    """Say what the traced code raised, and on which of its own lines."""
    where, frames = "", error.__traceback__
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if is_traced(file):
            where = f" at {shown(Path(file).name)}:{frames.tb_lineno}"
        frames = frames.tb_next
    text = shown(" ".join(str(error).split()), 300)
    hint = "it gets the arrays as they lie in the files; --arg gives it others, --operation says what it computes"
    if isinstance(error, MemoryError):
        hint = "give it more: --memory 8GB"
    return f"the traced function raises {type(error).__name__}{where}: {text}", hint
