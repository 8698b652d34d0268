"""Verdicts on an input of any size: each formula runs and each cell is judged in blocks of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from stablemax.inputs.blocks import Block, blocks_of
from stablemax.libraries.array_api import Backend
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.exact_sum import ExactSum
from stablemax.numerics.formats import Array, Format
from stablemax.operations.variant import Variant
from stablemax.results import ShownRow, Verdict
from stablemax.text.vocabulary import Accumulation
from stablemax.truth.case import Case, Setting, Shared, rounded_case_of, setting_of
from stablemax.truth.reductions import mean_of, sum_of
from stablemax.truth.verdict_tally import VerdictTally
from stablemax.truth.verdicts import computed, refused_verdict, shown_rows, sums_of, tally_of

BLOCK_CELLS = 1 << 18
"""Most cells that are judged at once: some hundred arrays of them are made."""


def blocks_of_case(case: Case) -> list[Block]:
    """Cut the rows of a case; the mean of all losses is one piece."""
    rows, classes = case.logits.shape
    return blocks_of(rows, max(1, rows if case.reduced else BLOCK_CELLS // max(1, classes)))


@dataclass
class _Running:
    """A variant whose blocks are judged one after the other."""

    variant: Variant
    accumulation: str
    #: What it gives on all rows, (N, C), and its own mean, where it takes all rows at once.
    whole: Array | None = None
    mean: float | None = None
    tally: VerdictTally = field(default_factory=VerdictTally.of_nothing)
    losses: list[Array] = field(default_factory=list)
    shown: tuple[ShownRow, ...] = ()


@dataclass
class _ExactLosses:
    """The sum of the exact losses of the blocks, and whether they have a mean."""

    total: ExactSum = field(default_factory=ExactSum)
    has_mean: bool = True

    def add(self, setting: Setting) -> None:
        """Add those of a block."""
        self.total += sum_of(setting.exact, setting.xp.format)
        self.has_mean &= not (setting.exact.undefined.any() or setting.input_overflow.any())


@dataclass(frozen=True)
class BlockJudge:
    """Judges variants on a case block by block."""

    case: Case
    format: Format
    accumulation: Accumulation | None = None
    max_ulp: float | None = None
    show_values: int = 0
    backend: Backend | None = None
    needs: tuple[str, ...] = ()
    may_flush: bool = False

    def verdicts(self, variants: Sequence[Variant], advance: Callable[[int, str], None]) -> Iterator[Verdict]:
        """Judge variants; `advance` is told how many steps are done: two for each block, and one for each variant."""
        fmt, case = self.format, self.case
        xp = Arithmetic(fmt, self.accumulation)
        refused = {v.id: refused_verdict(v, xp, case.logits.shape[-1], self.backend, self.needs) for v in variants}
        running = [_Running(v, sums_of(v, xp, self.backend)) for v in variants if refused[v.id] is None]
        for run in running:
            if self.backend is not None or not run.variant.rowwise:
                given = rounded_case_of(case, Shared(fmt), self.accumulation)
                run.whole, run.mean = computed(run.variant, given, self.backend)
        exact = _ExactLosses()
        for block in blocks_of_case(case):
            advance(0, f"{case.operation} in {fmt.name}: the truth")
            rows = slice(block.start, block.stop)
            setting = setting_of(case.block(rows), Shared(fmt), self.accumulation)
            advance(2, f"{case.operation} in {fmt.name}")
            if case.operation.reduces:
                exact.add(setting)
            for run in running:
                self._judge(run, setting, rows)
                advance(1, f"{run.variant.id} in {fmt.name}")
            advance(len(variants) - len(running), "")
        verdicts = {run.variant.id: self._verdict(run, exact) for run in running}
        yield from (refused[v.id] or verdicts[v.id] for v in variants)

    def _judge(self, run: _Running, setting: Setting, rows: slice) -> None:
        """Judge what a variant gives on a block."""
        variant = run.variant
        output = computed(variant, setting)[0] if run.whole is None else run.whole[rows]
        judged = setting.judge(output, max_ulp=self.max_ulp, may_flush=self.may_flush)
        # What takes all rows at once would do something else on a block, were it watched there.
        watched = variant if run.whole is None else None
        run.tally += tally_of(output, setting, judged, output, bound=variant.bound, watched=watched)
        run.shown += shown_rows(output, judged, setting, self.show_values - len(run.shown))
        if setting.case.operation.reduces:
            run.losses.append(output)

    def _verdict(self, run: _Running, exact: _ExactLosses) -> Verdict:
        fmt, mean, error = self.format, run.mean, None
        if self.case.operation.reduces:
            xp = Arithmetic(fmt, self.accumulation)
            if mean is None:
                with np.errstate(all="ignore"):
                    mean = float(xp.mean(np.concatenate(run.losses).reshape(-1)))
            if exact.has_mean and exact.total.is_finite and self.case.mean_divisor:
                right = mean_of(exact.total, Fraction(self.case.mean_divisor), fmt, is_undefined=False)
                error = right.truth.error_ulp(np.asarray(mean), fmt).item()
        return run.tally.verdict(
            run.variant.id, fmt.name, run.accumulation, mean=mean, mean_error_ulp=error, values=run.shown
        )
