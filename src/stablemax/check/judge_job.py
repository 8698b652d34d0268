"""The streamed job of `judge`: every cell of an output held against the exact value."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from stablemax.check.judge_options import JudgeOptions
from stablemax.compute.arrays import weight_of
from stablemax.compute.block_job import Noticings
from stablemax.compute.streaming import Plan, Progress, Resources, for_engine, plan, total_of
from stablemax.inputs.blocks import Block, tapering
from stablemax.inputs.input_warnings import Noticed, inexact_integers, odd_targets
from stablemax.inputs.logits import Stream
from stablemax.inputs.printed import PrintedNumbers
from stablemax.inputs.workspace import Workspace
from stablemax.numerics.exact_sum import Additive, ExactSum
from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.operations.operation import Operation, Second
from stablemax.operations.targets import TargetOptions, cell_targets, kept_rows
from stablemax.operations.variant import Variant, get
from stablemax.results import ErrorBin, FaultyCell, Outcome
from stablemax.truth.case import Case, Setting, Shared, setting_of
from stablemax.truth.intervals import beyond_digits, nearest_printed
from stablemax.truth.measure import CODES, Judgement
from stablemax.truth.reductions import sum_of
from stablemax.truth.verdict_tally import VerdictTally
from stablemax.truth.verdicts import tally_of

STEP_CELLS = 1 << 15
"""Most logits that are judged at once: some hundred arrays of them are made."""
SHOWN_CELLS = 5
"""How many wrong cells are named."""
_BINS = 64
"""The first bin holds errors up to half an ulp, each further one those up to twice as large, the last all larger."""
_NOT_COMPARED = (Outcome.UNDEFINED, Outcome.INPUT_OVERFLOW)


@dataclass(frozen=True)
class LossTotal(Additive):
    """Exact losses and those that were computed, added without rounding."""

    exact: ExactSum = field(default_factory=ExactSum)
    computed: ExactSum = field(default_factory=ExactSum)
    divisor: ExactSum = field(default_factory=ExactSum)  #: what the mean divides by: how many count, or their weights
    undefined: int = 0  #: rows without a loss
    beyond: int = 0  #: rows with a logit that the format cannot hold
    at_end: int = 0  #: rows with a logit at the end of the format's range


@dataclass(frozen=True, eq=False)
class JudgePart:
    """What was found on some rows; the parts of rows that follow each other merge with ``+``."""

    tally: VerdictTally
    losses: LossTotal = field(default_factory=LossTotal)
    noticed: Noticings = field(default_factory=Noticings)
    rows: int = 0  #: rows that count
    smallest: float = np.inf  #: of the finite logits
    largest: float = -np.inf
    has_unrounded_second: bool = False  #: whether the logits' format lacks a number that stands beside them
    beyond_digits: int | None = 0  #: see `intervals.beyond_digits`
    nearest: int = 0  #: cells that hold the number nearest to the exact value
    compared: int = 0  #: cells that have an exact value
    bins: Array = field(default_factory=lambda: np.zeros(_BINS, np.int64))  #: finite cells by their error
    faulty: tuple[FaultyCell, ...] = ()

    def __add__(self, other: JudgePart) -> JudgePart:
        """Merge with the part of rows that follow."""
        both = (self.beyond_digits, other.beyond_digits)
        return JudgePart(
            self.tally + other.tally,
            self.losses + other.losses,
            self.noticed + other.noticed,
            self.rows + other.rows,
            min(self.smallest, other.smallest),
            max(self.largest, other.largest),
            self.has_unrounded_second or other.has_unrounded_second,
            None if None in both else sum(n for n in both if n is not None),
            self.nearest + other.nearest,
            self.compared + other.compared,
            self.bins + other.bins,
            (*self.faulty, *other.faulty)[:SHOWN_CELLS],
        )

    def error_bins(self) -> tuple[ErrorBin, ...]:
        """Return the errors by powers of two, without empty bins."""
        ends = [0.0, *(2.0 ** (k - 1) for k in range(_BINS - 1)), np.inf]
        return tuple(ErrorBin(ends[i], ends[i + 1], int(n)) for i, n in enumerate(self.bins) if n)


@dataclass(frozen=True, eq=False, kw_only=True)
class JudgeJob:
    """Judge the rows of a block; it can be sent to another process."""

    stream: Stream  #: logits, with the operation's second argument
    output: Stream | None  #: what was computed, (N, C); None where it is one number, the mean of all losses
    options: JudgeOptions
    divisor: float  #: of a gradient
    printed: PrintedNumbers | None = None  #: the digits of an output that is text, (N, C)
    numbers: Array | None = None  #: the number of each row in the user's input, where some rows were chosen
    step: int = 1

    @property
    def operation(self) -> Operation:
        """What the output is meant to be."""
        return self.options.operation

    @property
    def reference(self) -> Variant:
        """The variant whose a-priori bound the errors are held against."""
        return get(f"{self.operation}/{self.operation.reference or self.operation.best}")

    def run(self, resources: Resources, progress: Progress | None) -> JudgePart:
        """Judge all rows."""
        chosen = _planned(self.stream, resources)
        output = None if self.output is None else for_engine(self.output, resources)
        job = replace(self, stream=for_engine(self.stream, resources), output=output, step=chosen.step)
        nothing = JudgePart(VerdictTally.of_nothing())
        return total_of(job, chosen, nothing, self.stream, resources, progress, f"judging {self.operation}")

    def __call__(self, block: Block, workspace: Workspace) -> JudgePart:
        """Judge a block."""
        parts = (self._judged(step, workspace) for step in block.steps(self.step))
        return sum(parts, JudgePart(VerdictTally.of_nothing()))

    def _judged(self, block: Block, workspace: Workspace) -> JudgePart:
        """Judge the rows of a step that count."""
        labels, array = self._read_second(block, workspace)
        kept: slice | Array = slice(None)
        if labels is not None:
            kept = np.flatnonzero(kept_rows(labels, self.options.ignore_index))
        x = self.stream.logits.read(block.start, block.stop, workspace)
        odd = odd_targets(labels, block.start) if labels is not None and labels.ndim == 2 else Noticed()
        noticed = Noticings(odd, inexact_integers(x, block.start))
        # The next reading overwrites the workspace.
        x = x[kept].copy()
        if not x.size:
            return JudgePart(VerdictTally.of_nothing(), noticed=noticed)
        numbers = np.arange(block.start, block.stop) if self.numbers is None else self.numbers[block.start : block.stop]
        options, fmt = self.options, self.options.fmt
        case = Case(
            self.operation,
            numbers[kept],
            x,
            labels=None if labels is None else labels[kept],
            array=array,
            divisor=self.divisor,
            targets=options.targets or TargetOptions(),
        )
        # Targets, weights and gradients count as they are stored: float64 beside bfloat16 logits is not rounded.
        inputs = options.inputs(x.dtype)
        setting = setting_of(case, Shared(fmt, inputs, options.round_logits or FLOAT64))
        finite = x[np.isfinite(x)].astype(np.float64)
        part = JudgePart(
            VerdictTally.of_nothing(),
            losses=self._losses(setting),
            noticed=noticed,
            rows=len(x),
            smallest=float(finite.min(initial=np.inf)),
            largest=float(finite.max(initial=-np.inf)),
            has_unrounded_second=options.round_logits is None and _is_rounded_by(inputs, case),
        )
        if self.output is None:
            return part
        values = self.output.logits.read(block.start, block.stop, workspace)[kept].astype(np.float64)
        printed = None
        if self.printed is not None:
            printed = self.printed.shaped(lambda digits: digits[block.start : block.stop][kept])
        return part + self._compared(values, setting, printed)

    def _read_second(self, block: Block, workspace: Workspace) -> tuple[Array | None, Array | None]:
        """Read the labels of a block, or the array (n, K) that the operation takes."""
        stream, kind = self.stream, self.operation.second
        if kind is Second.NONE:
            return None, None
        if kind is Second.LABELS:
            return stream.read_labels(block, self.options.ignore_index, workspace), None
        if kind is Second.CELL_TARGETS and not stream.has_soft_targets:
            return None, cell_targets(stream.read_labels(block, self.options.ignore_index, workspace), stream.classes)
        return None, stream.read_array(block, workspace, in_unit_range=kind is Second.CELL_TARGETS)

    def _losses(self, setting: Setting) -> LossTotal:
        """Add the exact losses of an operation whose mean may be asked for."""
        case, exact = setting.case, setting.exact
        if not self.operation.reduces:
            return LossTotal()
        labels, count = case.labels, self.operation.loss_count(*case.logits.shape)
        return LossTotal(
            exact=sum_of(exact, setting.xp.format),
            divisor=ExactSum.of_ones(count) if labels is None or labels.ndim == 2 else weight_of(labels, case.targets),
            undefined=int(exact.undefined.sum()),
            beyond=int(setting.input_overflow.sum()),
            at_end=int(setting.end_of_range.sum()),
        )

    def _compared(self, values: Array, setting: Setting, printed: PrintedNumbers | None) -> JudgePart:
        """Judge the values (n, C) of the rows of a setting."""
        truth, options = setting.exact.truth, self.options
        nearest = values if printed is None else nearest_printed(values, printed, truth)
        judged = setting.judge(nearest, max_ulp=options.max_ulp, may_flush=True)
        tally = tally_of(values, setting, judged, nearest, bound=self.reference.bound, printed=printed)
        losses = LossTotal(computed=ExactSum.of(values)) if self.operation.reduces else LossTotal()
        faulty = self._faulty(values, setting, judged)
        if printed is not None:
            beyond = beyond_digits(values, printed, truth)
            return JudgePart(tally, losses, beyond_digits=beyond, faulty=faulty)
        compared = ~np.isin(judged.codes, [CODES.index(outcome) for outcome in _NOT_COMPARED])
        is_nearest = (values == truth.rounded) | (np.isnan(values) & np.isnan(truth.rounded))
        return JudgePart(
            tally,
            losses,
            nearest=int(np.count_nonzero(is_nearest & compared)),
            compared=int(np.count_nonzero(compared)),
            bins=_binned(judged.error_ulp),
            faulty=faulty,
        )

    def _faulty(self, values: Array, setting: Setting, judged: Judgement) -> tuple[FaultyCell, ...]:
        """Return the first cells whose outcome is a failure that is not allowed."""
        allowed = self.options.allow
        failures = [code for code, o in enumerate(CODES) if o.is_failure and o.value not in allowed]
        case, truth = setting.case, setting.exact.truth
        cells = []
        for row, cell in np.argwhere(np.isin(judged.codes, failures))[:SHOWN_CELLS].tolist():
            column, error = cell, float(judged.error_ulp[row, cell])
            if self.operation.per_row:
                column = int(np.argmax(np.nan_to_num(case.logits[row])))
                if case.labels is not None and case.labels.ndim == 1:
                    column = int(case.labels[row])
            cells.append(
                FaultyCell(
                    row=int(case.rows[row]),
                    column=column,
                    logit=float(case.logits[row, column]),
                    output=float(values[row, cell]),
                    truth=float(truth.rounded[row, cell]),
                    outcome=CODES[judged.codes[row, cell]],
                    error_ulp=None if np.isnan(error) else error,
                )
            )
        return tuple(cells)


def _binned(errors: Array) -> Array:
    """Count errors in ulps by powers of two; NaN stands for none."""
    errors = errors[~np.isnan(errors)]
    # 1 is 0.5 * 2**1: a power of two is the end of its bin.
    fraction, exponent = np.frexp(errors)
    bins = np.where(fraction > 0.5, exponent + 1, exponent)
    return np.bincount(np.clip(np.where(errors > 0, bins, 0), 0, _BINS - 1), minlength=_BINS)


def _is_rounded_by(fmt: Format, case: Case) -> bool:
    """True where a format cannot hold the second argument of a case."""
    array = case.labels if case.array is None else case.array
    if array is None or array.dtype.kind in "iu":
        return False
    return bool((fmt.round(array) != array).any())


def _planned(stream: Stream, resources: Resources) -> Plan:
    """Cut the rows so that what is made of a step's cells fits into the cache, and into the memory."""
    chosen = plan(stream.rows, stream.classes, resources, by_variant=True, may_prove=True)
    step = max(1, min(chosen.step, STEP_CELLS // stream.classes))
    most = max(1, chosen.blocks[0].rows // step)
    return replace(chosen, blocks=tapering(stream.rows, step, most, chosen.threads), step=step)
