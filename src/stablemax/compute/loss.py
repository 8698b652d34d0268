"""The loss of an input of any size: the mean or the sum of its losses, or the loss of every row."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.compute.array_job import PROOF_CELLS
from stablemax.compute.block_job import Job, Method, Noticings, check_second
from stablemax.compute.proved import nearest, prove_heavy
from stablemax.compute.streaming import STEPS, Progress, Resources
from stablemax.inputs.blocks import Block
from stablemax.inputs.input_warnings import Noticed, inexact_integers
from stablemax.inputs.logits import Stream
from stablemax.inputs.workspace import Workspace
from stablemax.kernels import row_kernels as kernels
from stablemax.kernels.passes import PIECE
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.exact_sum import Additive, ExactSum, rounded
from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions, kept_rows, row_weights
from stablemax.results import LossResult
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Reduction
from stablemax.text.words import counted

if TYPE_CHECKING:
    from stablemax.kernels.exact_rows import Nearest

BYTES_PER_ROW = 128
"""Memory that the loss of a row takes until it is printed, its text included."""


@dataclass(frozen=True)
class Rests(Additive):
    """What the rounding took off proved losses."""

    sums: ExactSum = field(default_factory=ExactSum)
    errors: ExactSum = field(default_factory=ExactSum)  #: of what is not known of them, where Numba's loops proved them


@dataclass(frozen=True)
class LossPart(Additive):
    """The partial sums of a loss over a block of rows; they merge in any order to the same bits."""

    losses: ExactSum = field(default_factory=ExactSum)  #: of the rows that count, multiplied by their weights
    rests: Rests = field(default_factory=Rests)  #: of the losses that are proved
    weights: ExactSum = field(default_factory=ExactSum)  #: of these losses; without weights, how many they are
    kept_rows: int = 0  #: how many rows count
    bad: Noticed = field(default_factory=Noticed)  #: losses that are not finite: the first row, and why in words
    noticed: Noticings = field(default_factory=Noticings)
    #: Losses, 0 where ignored, and which rows count, in the order of the blocks; only where every loss is asked for.
    values: tuple[tuple[Array, Array], ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class LossJob(Job):
    """The losses of a block: one for each row, or for each cell of an operation of cells."""

    keeps_losses: bool = False  #: whether every loss is wanted

    @property
    def proves(self) -> bool:
        """Whether a loss may be in doubt: one that is right to 1.5 ulp never is."""
        return self.method.exact

    def rehearse(self) -> None:
        """Compute the loss of two logits."""
        x, label = np.zeros((1, 2), dtype=self.stream.logits.dtype), np.zeros(1, dtype=np.int64)
        if self.needs_loops:
            self._nearest(x, label, None, Workspace())
        else:
            kernels.losses(x, label, self.passes, Workspace())

    def __call__(self, block: Block, workspace: Workspace) -> LossPart:
        """Compute the losses of a block."""
        labels = self.read_second(block, workspace)
        kept = kept_rows(labels, self.options.ignore_index)
        losses = np.zeros(labels.shape if self.operation.cellwise else block.rows, dtype=self.xp.format.dtype)
        compute = self._by_variant if not self.is_fast else self._proved if self.needs_loops else self._fast
        inexact, rests = Noticed(), Rests()
        for step in block.steps(self.step):
            rows = slice(step.start - block.start, step.stop - block.start)
            noticed, rest = compute(step, labels[rows], kept[rows], losses[rows], workspace)
            inexact, rests = inexact + noticed, rests + rest
        weights = row_weights(labels[kept], self.options)
        return LossPart(
            ExactSum.of(losses[kept]),
            rests,
            ExactSum.of_ones(losses[kept].size) if weights is None else ExactSum.of(weights),
            int(kept.sum()),
            self._bad(block, losses, labels, workspace),
            Noticings(self.odd_targets(labels, block.start), inexact),
            ((losses, kept),) if self.keeps_losses else (),
        )

    @property
    def has_kernel(self) -> bool:
        """True where there is a kernel: of the accurate formula, in float64, of labels, and of proofs of whole rows."""
        is_kind = self.method == Method() or (self.method == Method(exact=True) and self.stream.classes <= PIECE)
        return is_kind and self.has_plain_labels

    def _fast(self, step: Block, labels: Array, kept: Array, out: Array, workspace: Workspace) -> tuple[Noticed, Rests]:
        # A row that does not count may have any label; class 0 is as good as another.
        chosen, noticed = np.where(kept, labels, 0), Noticed()
        weights = row_weights(chosen, self.options)
        if self.stream.classes <= PIECE:
            x = self.stream.logits.read(step.start, step.stop, workspace)
            noticed = inexact_integers(x, step.start)
            out[:] = kernels.losses(x, chosen, self.passes, workspace, weights)
            prove_heavy(out, self.operation, x, chosen, weights)
        else:
            for n, label in enumerate(chosen.tolist()):
                sums, inexact = self.sums_of_long_row(step.start + n, workspace)
                row = slice(step.start + n, step.start + n + 1)
                at_label = self.stream.logits.read(row.start, row.stop, workspace, first=label, last=label + 1)[:, 0]
                weight = None if weights is None else weights[n : n + 1]
                out[n], noticed = sums.losses(at_label.astype(np.float64), weight)[0], noticed + inexact
                if weight is not None and weight[0] > kernels.MOST_FACTOR:
                    x = self.stream.logits.read(row.start, row.stop, workspace)
                    prove_heavy(out[n : n + 1], self.operation, x, chosen[n : n + 1], weight)
        out[~kept] = 0.0
        return noticed, Rests()

    def _proved(
        self, step: Block, labels: Array, kept: Array, out: Array, workspace: Workspace
    ) -> tuple[Noticed, Rests]:
        """Prove losses by Numba's loops, and those that are left in doubt as `_by_variant`."""
        x, chosen = self.stream.logits.read(step.start, step.stop, workspace), np.where(kept, labels, 0)
        found = self._nearest(x, chosen, row_weights(chosen, self.options), workspace)
        out[:] = np.where(kept, found.values, 0.0)
        sure = kept & ~found.in_doubt
        rests, errors = ExactSum.of(found.rests[sure]), ExactSum.of(found.errors[sure])
        doubtful, size = np.flatnonzero(kept & found.in_doubt), max(1, PROOF_CELLS // x.shape[1])
        for first in range(0, len(doubtful), size):
            rests += self._put_nearest(x, labels, doubtful[first : first + size], out)
        # What proves a rounding leaves at most 2**-34 of an ulp open: a whole one is on the safe side.
        ulps = np.spacing(np.abs(out[doubtful][np.isfinite(out[doubtful])]))
        return inexact_integers(x, step.start), Rests(rests, errors + ExactSum.of(ulps))

    def _nearest(self, x: Array, labels: Array, weights: Array | None, workspace: Workspace) -> Nearest:
        # Only here: it loads Numba, and the exact arithmetic.
        from stablemax.kernels import exact_rows

        return exact_rows.losses(x, labels, workspace, weights)

    def _put_nearest(self, x: Array, labels: Array, index: Array, out: Array) -> ExactSum:
        """Prove the losses of some rows, and add what rounding took off them."""
        second = self.second(x[index], labels[index], self.xp)
        values, rests = nearest(self.operation, x[index].astype(np.float64), second, FLOAT64)
        out[index] = values.reshape(out[index].shape)
        return ExactSum.of(rests)

    def _by_variant(
        self, step: Block, labels: Array, kept: Array, out: Array, workspace: Workspace
    ) -> tuple[Noticed, Rests]:
        x = self.stream.logits.read(step.start, step.stop, workspace)
        index, rests = np.flatnonzero(kept), Rests()
        if len(index) and self.method.exact:
            rests = Rests(self._put_nearest(x, labels, index, out))
        elif len(index):
            out[index] = self.evaluate(x[index], labels[index], self.xp)
        return inexact_integers(x, step.start), rests

    def _bad(self, block: Block, losses: Array, labels: Array, workspace: Workspace) -> Noticed:
        """Count the losses that are not finite, and say of the first why it is not."""
        bad = np.argwhere(~np.isfinite(losses))
        if not len(bad):
            return Noticed()
        index = tuple(bad[0].tolist())
        row, loss, logits = block.start + index[0], float(losses[index]), self.stream.logits
        name, row_of_file = logits.place(row)
        called = f"row {row}" if len(logits.parts) == 1 else f"row {row_of_file} of {name}"
        if self.operation.cellwise:
            logit = float(logits.read(row, row + 1, workspace)[0, index[1]])
            target = float(labels[index])
            words = f"{called}, class {index[1]} has loss {loss}: its logit is {logit:g}, its target {target:g}"
        else:
            label = int(labels[index]) if labels.ndim == 1 else None
            words = f"{called} has loss {loss}{why_not_finite(self.stream, row, label, self.xp.format, workspace)}"
        return Noticed(len(bad), (row, words))


def why_not_finite(stream: Stream, row: int, label: int | None, fmt: Format, workspace: Workspace) -> str:
    """Say what in a row's logits makes its loss infinite or NaN, as words that follow "loss inf"."""
    smallest, largest, masked = math.inf, -math.inf, -1
    at_label = 0.0
    for first in range(0, stream.classes, PIECE):
        last = min(first + PIECE, stream.classes)
        x = stream.logits.read(row, row + 1, workspace, first=first, last=last)[0].astype(np.float64)
        for name, marked in (("NaN", np.isnan(x)), ("+inf", np.isposinf(x))):
            if marked.any():
                return f": its logit of class {first + int(np.argmax(marked))} is {name}"
        beyond = np.isfinite(x) & ~np.isfinite(fmt.round(x))
        if beyond.any():
            column = int(np.argmax(beyond))
            return f": its logit of class {first + column}, {x[column]:g}, is beyond {fmt.name}"
        finite = x[np.isfinite(x)]
        smallest = min(smallest, float(finite.min(initial=math.inf)))
        largest = max(largest, float(finite.max(initial=-math.inf)))
        if masked < 0 and len(finite) < len(x):
            masked = first + int(np.argmax(np.isneginf(x)))
        if label is not None and first <= label < last:
            at_label = float(x[label - first])
    if largest == -math.inf:
        return ": all its logits are -inf"
    if at_label == -math.inf:
        return f": the logit of its label, class {label}, is -inf"
    if masked >= 0:
        return f": class {masked} has weight in the target and logit -inf"
    return f", though its logits are finite, from {smallest:g} to {largest:g}"


def loss_of(
    operation: Operation,
    stream: Stream,
    method: Method | None = None,
    *,
    reduction: Reduction = Reduction.MEAN,
    options: TargetOptions | None = None,
    resources: Resources | None = None,
    progress: Progress | None = None,
) -> LossResult:
    """Compute the loss of an input, by an operation that gives losses: of rows, or of cells.

    Without a format everything is computed in float64, and the sum of the losses is exact and rounded once.
    """
    method, options, resources = method or Method(), options or TargetOptions(), resources or Resources()
    check_second(operation, stream, options)
    # A sum in a format depends on the order of the rows, so that all of them are needed at once.
    keeps_losses = reduction is Reduction.NONE or method.format is not None
    if not operation.cellwise and keeps_losses:
        check_rows_fit(stream.rows, resources)
    job = LossJob(stream=stream, operation=operation, method=method, options=options, keeps_losses=keeps_losses)
    # The labels of a block are read at once.
    steps = 1 if stream.has_soft_targets else STEPS
    total = job.run(LossPart(), resources, progress, steps=steps)
    if not (keeps_losses or is_certain(total, reduction)):
        total = replace(job, may_use_loops=False).run(LossPart(), resources, progress, steps=steps)
    weighted = options.weight is not None and not stream.has_soft_targets
    losses = np.concatenate([losses for losses, _ in total.values]) if total.values else np.zeros(0)
    return LossResult(
        value=reduced(total, reduction, method.format, job.xp, total.weights if weighted else None),
        rows=losses.astype(np.float64) if reduction is Reduction.NONE else None,
        variant=job.formula,
        format=job.xp.format.name,
        kept_rows=total.kept_rows,
        total_rows=stream.rows,
        first_bad=total.bad.first,
        notes=total.noticed.notes(stream),
        exact=method.exact,
    )


def check_rows_fit(rows: int, resources: Resources) -> None:
    """Refuse to hold a number for every row where that alone is more than the memory that may be used."""
    if resources.memory is not None and rows * BYTES_PER_ROW > resources.memory:
        raise StablemaxError(
            f"a loss for each of {counted(rows, 'row')} takes more than --memory {resources.memory:,} bytes",
            f"give --memory {math.ceil(rows * BYTES_PER_ROW / 1e6)}MB, or take the mean",
        )


def is_certain(total: LossPart, reduction: Reduction) -> bool:
    """Tell whether what is not known of the losses leaves their mean, or their sum, the same number."""
    error = total.rests.errors.units
    lower, upper = (exactly_reduced(total, reduction, off) for off in (-error, error))
    return lower == upper or math.isnan(lower)


def exactly_reduced(total: LossPart, reduction: Reduction, off: int = 0) -> float:
    """Reduce the losses and round once; `off` are units of 2**-1074 to add."""
    # What is not finite is so already without what the rounding took off.
    exact = total.losses + total.rests.sums if total.losses.is_finite else total.losses
    exact = replace(exact, units=exact.units + off)
    return exact.rounded() if reduction is Reduction.SUM else exact.mean(total.weights)


def reduced(
    total: LossPart, reduction: Reduction, fmt: Format | None, xp: Arithmetic, weights: ExactSum | None
) -> float:
    """Reduce the losses: exactly, or in a format that was asked for."""
    if reduction is Reduction.NONE:
        return math.nan
    if fmt is None:
        return exactly_reduced(total, reduction)
    if total.losses.count == 0:
        return 0.0 if reduction is Reduction.SUM else math.nan
    losses = xp.array(np.concatenate([losses[kept].ravel() for losses, kept in total.values]))
    with np.errstate(all="ignore"):
        if reduction is Reduction.SUM:
            return float(xp.sum(losses, axis=None)[0, 0])
        mean = xp.mean(losses)
        if weights is None:
            return float(mean)
        # A weighted mean is the plain one times N over the sum of the weights.
        share = Arithmetic(FLOAT64).number(rounded(weights.fraction / losses.size))
        return float(xp.array(np.float64(mean) / share))
