"""The cross-entropy of an input of any size, as torch.nn.functional.cross_entropy defines it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.compute.streaming import STEPS, Resources, for_engine, plan, total_of
from stablemax.inputs.input_warnings import Noticed, inexact_integers, inexact_notes, odd_targets, soft_target_notes
from stablemax.kernels import long_rows
from stablemax.kernels import row_kernels as kernels
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.exact_sum import ExactSum, rounded
from stablemax.numerics.formats import FLOAT64, Array, Format, get_format
from stablemax.operations import get_operation
from stablemax.operations.targets import TargetOptions, check_options, kept_rows, row_weights, targets_of
from stablemax.operations.variant import Variant, default_id, default_variant, evaluate, get
from stablemax.results import LossResult
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Accumulation, Reduction

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.inputs.blocks import Block
    from stablemax.inputs.logits import Stream
    from stablemax.inputs.workspace import Workspace


BYTES_PER_ROW = 128
"""What a row's loss takes until it is printed, its text included."""


@dataclass(frozen=True)
class LossPart:
    """What a block of rows adds to a loss; parts merge in any order to the same bits."""

    #: Of the rows that count, multiplied by their weights.
    losses: ExactSum = field(default_factory=ExactSum)
    #: Of the rows that count; their number where there are no weights.
    weights: ExactSum = field(default_factory=ExactSum)
    #: All rows, those that are ignored included.
    rows: int = 0
    #: First row whose loss is not finite, and why in words.
    first_bad: tuple[int, str] | None = None
    #: Soft targets that do not sum to 1, integers that float64 cannot hold.
    odd: Noticed = field(default_factory=Noticed)
    #: Soft targets that do not sum to 1, integers that float64 cannot hold.
    inexact: Noticed = field(default_factory=Noticed)
    #: Losses, with 0 where ignored, and which rows count; only where every row is asked for. In the order of the
    #: blocks.
    values: tuple[tuple[Array, Array], ...] = ()

    def __add__(self, other: LossPart) -> LossPart:
        """Merge two parts."""
        return LossPart(
            self.losses + other.losses,
            self.weights + other.weights,
            self.rows + other.rows,
            min((bad for bad in (self.first_bad, other.first_bad) if bad), default=None),
            self.odd + other.odd,
            self.inexact + other.inexact,
            self.values + other.values,
        )


@dataclass(frozen=True, eq=False)
class LossJob:
    """The losses of a block of rows."""

    #: Logits and labels.
    stream: Stream
    #: Weights, smoothing, ignored label.
    options: TargetOptions
    #: How many rows are computed at once.
    step: int = 1
    #: Another formula than the accurate one, another format than float64.
    variant: str | None = None
    #: Another formula than the accurate one, another format than float64.
    format: str | None = None
    #: How sums are added.
    accumulation: Accumulation | None = None
    #: Whether every row's loss is wanted.
    keeps_rows: bool = False

    def __call__(self, block: Block, workspace: Workspace) -> LossPart:
        """Compute the losses of a block."""
        options, soft = self.options, self.stream.has_soft_targets
        labels = self.stream.read_labels(block, options.ignore_index, workspace)
        kept = kept_rows(labels, options.ignore_index)
        losses = np.zeros(block.rows, dtype=get_format(self.format or FLOAT64.name).dtype)
        compute, inexact = (self._fast if self.is_fast else self._by_variant), Noticed()
        for step in block.steps(self.step):
            rows = slice(step.start - block.start, step.stop - block.start)
            inexact += compute(step, labels[rows], kept[rows], losses[rows], workspace)
        weights = row_weights(labels[kept], options)
        count = int(kept.sum())
        bad = np.flatnonzero(~np.isfinite(losses) & kept)
        return LossPart(
            ExactSum.of(losses[kept]),
            ExactSum.of(weights) if weights is not None else ExactSum.of_ones(count),
            block.rows,
            self._why(block, losses, labels, int(bad[0]), workspace) if len(bad) else None,
            odd_targets(labels, block.start) if soft else Noticed(),
            inexact,
            ((losses, kept),) if self.keeps_rows else (),
        )

    @property
    def is_fast(self) -> bool:
        """Whether the kernels compute it: the accurate formula, in float64, of labels."""
        changed = self.variant or self.format or self.accumulation or self.options.label_smoothing
        return not (changed or self.stream.has_soft_targets)

    def _fast(self, step: Block, labels: Array, kept: Array, out: Array, workspace: Workspace) -> Noticed:
        # A row that does not count may have any label; class 0 is as good as another.
        chosen, noticed = np.where(kept, labels, 0), Noticed()
        if self.stream.classes <= kernels.PIECE:
            x = self.stream.logits.read(step.start, step.stop, workspace)
            noticed = inexact_integers(x, step.start)
            out[:] = kernels.losses(x, chosen, workspace)
        else:
            for n, y in enumerate(chosen):
                out[n], more = self._long(step.start + n, int(y), workspace)
                noticed += more
        if self.options.weight is not None:
            out *= self.options.weight[chosen]
        out[~kept] = 0.0
        return noticed

    def _long(self, row: int, label: int, workspace: Workspace) -> tuple[float, Noticed]:
        logits, noticed = self.stream.logits, Noticed()

        def read(first: int, last: int) -> Array:
            nonlocal noticed
            x = logits.read(row, row + 1, workspace, first=first, last=last)
            noticed += inexact_integers(x, row, first)
            return x

        odds = long_rows.odds(read, self.stream.classes, workspace)
        at_label = logits.read(row, row + 1, workspace, first=label, last=label + 1)[:, 0]
        return float(kernels.loss_from(odds, at_label)[0]), noticed

    def _by_variant(self, step: Block, labels: Array, kept: Array, out: Array, workspace: Workspace) -> Noticed:
        xp = Arithmetic(get_format(self.format or FLOAT64.name), self.accumulation)
        x = self.stream.logits.read(step.start, step.stop, workspace)
        at = np.flatnonzero(kept)
        if len(at):
            targets = targets_of(labels[at], self.stream.classes, self.options, xp)
            out[at] = evaluate(self._formula(xp.format), xp.array(x[at]), xp, targets)
        return inexact_integers(x, step.start)

    def _formula(self, fmt: Format) -> Variant:
        return get(self.variant) if self.variant else default_variant(get_operation("cross_entropy"), fmt)

    def _why(
        self, block: Block, losses: Array, labels: Array, bad: int, workspace: Workspace
    ) -> tuple[int, str] | None:
        row, fmt = block.start + bad, get_format(self.format or FLOAT64.name)
        label = int(labels[bad]) if labels.ndim == 1 else None
        name, place = self.stream.logits.place(row)
        called = f"row {row}" if len(self.stream.logits.parts) == 1 else f"row {place} of {name}"
        reason = why_not_finite(self.stream, row, label, fmt, workspace)
        return row, f"{called} has loss {float(losses[bad])}{reason}"


def why_not_finite(stream: Stream, row: int, label: int | None, fmt: Format, workspace: Workspace) -> str:
    """Say what in a row's logits makes its loss infinite or NaN, as words that follow "loss inf"."""
    smallest, largest, masked = math.inf, -math.inf, -1
    at_label = 0.0
    for first in range(0, stream.classes, kernels.PIECE):
        last = min(first + kernels.PIECE, stream.classes)
        x = stream.logits.read(row, row + 1, workspace, first=first, last=last)[0].astype(np.float64)
        for what, where in (("NaN", np.isnan(x)), ("+inf", np.isposinf(x))):
            if where.any():
                return f": its logit of class {first + int(np.argmax(where))} is {what}"
        beyond = np.isfinite(x) & ~np.isfinite(fmt.round(x))
        if beyond.any():
            at = int(np.argmax(beyond))
            return f": its logit of class {first + at}, {x[at]:g}, is beyond {fmt.name}"
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


def cross_entropy_of(
    stream: Stream,
    *,
    reduction: Reduction = Reduction.MEAN,
    options: TargetOptions | None = None,
    variant: Variant | None = None,
    fmt: Format | None = None,
    accumulation: Accumulation | None = None,
    resources: Resources | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> LossResult:
    """Compute the loss of an input."""
    options, resources = options or TargetOptions(), resources or Resources()
    if stream.labels is None:
        raise StablemaxError("a loss needs labels", "give a file of labels, or name a column with --label-column")
    check_options(options, stream.classes)
    xp = Arithmetic(fmt or FLOAT64, accumulation)
    formula = default_id(get_operation("cross_entropy"), xp.format) if variant is None else variant.id
    # A sum in a format depends on the order of the rows, so that all of them are needed at once.
    keeps_rows = reduction is Reduction.NONE or fmt is not None
    check_rows_fit(stream.rows, keeps_rows=keeps_rows, resources=resources)
    job = LossJob(
        stream,
        options,
        variant=None if variant is None else variant.id,
        format=None if fmt is None else fmt.name,
        accumulation=accumulation,
        keeps_rows=keeps_rows,
    )
    cut = plan(
        stream.rows,
        stream.classes,
        resources,
        whole=variant is not None and not variant.rowwise,
        by_variant=not job.is_fast,
        # The labels of a block are read at once.
        steps=1 if stream.has_soft_targets else STEPS,
    )
    job = replace(job, stream=for_engine(stream, resources), step=cut.step)
    total = total_of(job, cut, LossPart(), stream, resources, progress, formula)
    weighted = options.weight is not None and not stream.has_soft_targets
    value = reduced(total, reduction, fmt, xp, total.weights if weighted else None)
    return result_from(total, stream, reduction, formula, xp.format, value)


def reduced(
    total: LossPart, reduction: Reduction, fmt: Format | None, xp: Arithmetic, weights: ExactSum | None
) -> float:
    """Reduce the losses: exactly, or in a format that was asked for."""
    if reduction is Reduction.NONE:
        return math.nan
    if fmt is not None:
        losses = np.concatenate([p[k] for p, k in total.values]) if total.values else np.zeros(0)
        return _reduce(losses, weights, reduction, xp)
    return total.losses.rounded() if reduction is Reduction.SUM else total.losses.mean(total.weights)


def result_from(
    total: LossPart, stream: Stream, reduction: Reduction, formula: str, fmt: Format, value: float
) -> LossResult:
    """Say what the merged parts of an input give."""
    losses = np.concatenate([p for p, _ in total.values]) if total.values else np.zeros(0)
    name = stream.sources[-1].name
    return LossResult(
        value=value,
        rows=losses.astype(np.float64) if reduction is Reduction.NONE else None,
        variant=formula,
        format=fmt.name,
        kept_rows=total.losses.count,
        total_rows=stream.rows,
        first_bad=total.first_bad,
        notes=(*soft_target_notes(total.odd, name), *inexact_notes(total.inexact, stream.sources[0].name)),
    )


def check_rows_fit(rows: int, *, keeps_rows: bool, resources: Resources) -> None:
    """Refuse to hold a number for every row where that alone is more than the memory that may be used."""
    if keeps_rows and resources.memory is not None and rows * BYTES_PER_ROW > resources.memory:
        raise StablemaxError(
            f"a loss for each of {rows:,} rows takes more than --memory {resources.memory:,} bytes",
            f"give --memory {math.ceil(rows * BYTES_PER_ROW / 1e6)}MB, or take the mean",
        )


def _reduce(losses: Array, weights: ExactSum | None, reduction: Reduction, xp: Arithmetic) -> float:
    """Reduce in the format itself."""
    with np.errstate(all="ignore"):
        if reduction is Reduction.SUM:
            return float(xp.sum(losses.reshape(1, -1))[0, 0]) if losses.size else 0.0
        if losses.size == 0:
            return math.nan
        mean = xp.mean(losses)
        if weights is None:
            return float(mean)
        # A weighted mean is the plain one times N over the sum of the weights.
        share = Arithmetic(FLOAT64).number(rounded(weights.fraction / losses.size))
        return float(xp.array(np.float64(mean) / share))
