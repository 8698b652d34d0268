"""One input of any function, judged: its result against what exact arithmetic gives for the same code."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.results import Outcome
from stablemax.text.errors import StablemaxError
from stablemax.trace.given_arguments import GivenArguments
from stablemax.trace.input_roundings import errors_of_input
from stablemax.trace.own_truth import OwnTruth, format_of_run, trace_any, trusted
from stablemax.truth.measure import CODES, largest

if TYPE_CHECKING:
    from stablemax.trace.run import Subject


@dataclass(frozen=True)
class HeldTo:
    """What a result is judged by."""

    #: Errors above are inaccurate; half of the format's bits when None.
    max_ulp: float | None = None
    #: Outcomes that do not count.
    allow: tuple[str, ...] = ()
    #: Every value counts by itself, those far below the largest of a result, too; and each number of an input.
    by_value: bool = False
    #: Where a gradient of the code has no value even exactly, ask its trace whether the function has a derivative;
    #: where the input explains an error, ask it whether there is code without that error.
    asks_trace: bool = False


@dataclass(frozen=True, eq=False)
class JudgedInput:
    """What became of one input."""

    #: The worst of the cells that count; ok without any.
    outcome: Outcome = Outcome.OK
    #: The first cell with that outcome, in the flattened result.
    cell: int = 0
    #: What came out, and the exact values, rounded to the format; the cells that count.
    value: Array = field(default_factory=lambda: np.zeros(0))
    truth: Array = field(default_factory=lambda: np.zeros(0))
    counts: Array = field(default_factory=lambda: np.zeros(0, dtype=bool))
    #: The format that the result is judged in.
    format: str = ""
    #: Largest error of the cells that count.
    error_ulp: float | None = None
    #: Exact arithmetic has no value for some cell either, or none that the format holds.
    is_undefined: bool = False
    #: Some cell has an error that a few roundings of the inputs explain.
    is_ill_conditioned: bool = False
    #: Some cell far below the largest of the result loses its digits.
    loses_small: bool = False
    #: The code raised: the message, and a hint.
    refusal: tuple[str, str] = ("", "")
    #: What the shadow could not follow, where it did not reach the result.
    not_followed: tuple[str, ...] = ()

    @property
    def is_proved(self) -> bool:
        """True where exact arithmetic tells what is right."""
        return not self.refusal[0] and not self.not_followed

    def is_broken_like(self, other: JudgedInput) -> bool:
        """True where it breaks as another does: a result without digits may be 0 or something else."""
        kinds = {self.outcome, other.outcome}
        return self.is_broken and (len(kinds) == 1 or kinds == {Outcome.INACCURATE, Outcome.LOST})

    @property
    def is_broken(self) -> bool:
        """True where a cell that has an ordinary exact value is not that."""
        return self.is_proved and self.outcome.is_failure


def judged_input(subject: Subject, held_to: HeldTo) -> JudgedInput:
    """Run code on an input, and hold its result against its exact shadow.

    A cell without an exact value counts where only an infinity of the code's own takes it away, as trace says. A cell
    that lost digits does not count where its exact value and what came out lie below the smallest normal number; where
    its error is small on the scale of the result, its largest number, unless all values count; and where roundings of
    the inputs explain it: code is held to more only where its trace knows better code, and is asked.

    >>> from stablemax.numerics.formats import FLOAT32
    >>> from stablemax.trace.numpy.numpy_run import NumpyCode
    >>> given = GivenArguments(("x",), (np.float32([1.0, 200.0]),))
    >>> judged = judged_input(NumpyCode(given, FLOAT32, lambda x: np.log(1 + np.exp(x))), HeldTo())
    >>> judged.outcome.value, judged.cell, float(judged.truth[1])
    ('overflow', 1, 200.0)
    """
    try:
        run = trusted(subject.observed(), subject)
    except StablemaxError as error:
        return JudgedInput(refusal=(error.message, error.hint))
    if run.exact is None:
        return JudgedInput(not_followed=run.not_followed or ("the result",))
    assert isinstance(subject.given, GivenArguments), "any function gets named arguments"
    fmt = format_of_run(run, subject.format)
    own = OwnTruth(subject, subject.given, run, fmt, held_to.max_ulp)
    reading = own.reading(run)
    judgement = reading.judged(run.value)
    codes, errors = judgement.codes.ravel(), judgement.error_ulp.ravel()
    truth = reading.exact.truth
    right, undefined = truth.rounded.ravel(), reading.exact.undefined_cells.ravel()
    failing = np.isin(codes, [CODES.index(o) for o in Outcome if o.is_failure and o.value not in held_to.allow])
    size = np.abs(truth.nearest.ravel())
    has_digits = np.isin(codes, [CODES.index(o) for o in (Outcome.INACCURATE, Outcome.LOST)])
    tiny = has_digits & (size > 0) & (size < fmt.smallest_normal)
    tiny &= np.abs(run.value.astype(np.float64).ravel()) < fmt.smallest_normal
    suspects = failing & has_digits & ~tiny
    small = suspects & (False if held_to.by_value else reading.small_on_scale(run.value).ravel())
    suspects &= ~small
    explained = np.zeros_like(failing)
    if suspects.any():
        by_input = errors_of_input(subject, run, held_to.max_ulp, by_value=held_to.by_value)
        explained = suspects & (reading.distances(run.value).ravel() <= by_input)
    broken = failing & ~tiny & ~small & ~explained
    worst = int(codes[broken].max()) if broken.any() else CODES.index(Outcome.OK)
    counts = ~undefined & ~tiny & ~small & ~explained
    judged = JudgedInput(
        outcome=CODES[worst],
        cell=int(np.argmax(broken & (codes == worst))) if broken.size else 0,
        value=run.value,
        truth=right.reshape(run.value.shape),
        counts=counts.reshape(run.value.shape),
        format=fmt.name,
        error_ulp=largest(errors[counts & (codes == CODES.index(Outcome.OK))]),
        is_undefined=bool(undefined.any()),
        is_ill_conditioned=bool(explained.any()),
        loses_small=bool(small.any()),
    )
    return judged if judged.is_broken else _looked_into(judged, own, held_to, np.where(explained, codes, 0))


def _looked_into(judged: JudgedInput, own: OwnTruth, held_to: HeldTo, excused: Array) -> JudgedInput:
    """Look into what does not count at first: cells without a value, and the codes of `excused` ones, else 0."""
    subject, run = own.subject, own.run
    if judged.is_undefined and own.brings_infinity:
        return _of_own_infinity(judged, held_to)
    is_cured = held_to.asks_trace and judged.is_ill_conditioned and bool(trace_any(subject, held_to.max_ulp).instead)
    if is_cured:
        return _with_counted(judged, excused)
    is_asked = held_to.asks_trace and judged.is_undefined and run.forward is not None
    return _by_its_trace(judged, subject, held_to) if is_asked else judged


def _of_own_infinity(judged: JudgedInput, held_to: HeldTo) -> JudgedInput:
    """Count a number that the input has and an infinity of the code's own takes away: a row that is masked wholly."""
    value = judged.value.astype(np.float64).ravel()
    cell = int(np.argmax(~np.isfinite(value)))
    outcome = Outcome.NAN if np.isnan(value[cell]) else Outcome.OVERFLOW
    return judged if outcome.value in held_to.allow else replace(judged, outcome=outcome, cell=cell, is_undefined=False)


def _with_counted(judged: JudgedInput, excused: Array) -> JudgedInput:
    """Count the errors that the input explains: there is code without them."""
    worst = int(excused.max())
    counts = judged.counts | (excused > 0).reshape(judged.value.shape)
    cell = int(np.argmax(excused == worst))
    return replace(judged, outcome=CODES[worst], cell=cell, counts=counts, is_ill_conditioned=False)


def _by_its_trace(judged: JudgedInput, subject: Subject, held_to: HeldTo) -> JudgedInput:
    """Take the verdict of a trace on a gradient that has no exact value: the function may have a derivative there."""
    outcome = trace_any(subject, held_to.max_ulp).outcome
    if not outcome.is_failure or outcome.value in held_to.allow:
        return judged
    cell = int(np.argmax(~np.isfinite(judged.value.astype(np.float64))))
    return replace(judged, outcome=outcome, cell=cell, is_undefined=False)


def suspicion(subject: Subject, wide: Subject) -> float:
    """Tell how much an ordinary run looks like a fault beside one in float64: 0 for not at all, without any proof.

    >>> from stablemax.numerics.formats import FLOAT32, FLOAT64
    >>> from stablemax.trace.numpy.numpy_run import NumpyCode
    >>> x = np.float32([200.0])
    >>> given = (GivenArguments(("x",), (x.astype(dtype),)) for dtype in (np.float32, np.float64))
    >>> suspicion(*(NumpyCode(g, fmt, lambda x: np.log(1 + np.exp(x))) for g, fmt in zip(given, (FLOAT32, FLOAT64))))
    inf
    """
    try:
        value, other = (np.atleast_1d(one.ordinary().astype(np.float64)) for one in (subject, wide))
    except (StablemaxError, TypeError, ValueError):
        # What is no array of numbers is refused where it is proved.
        return 0.0
    if value.shape != other.shape or not value.size:
        return 0.0
    if not np.isfinite(value).all():
        return float(np.inf)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        relative = np.abs(value - other) / np.abs(other)
    # A 0, in either, is what is left where all digits are lost.
    return float(np.max(np.where((value == 0) | (other == 0), 0.5, np.nan_to_num(relative, nan=1.0, posinf=1.0))))
