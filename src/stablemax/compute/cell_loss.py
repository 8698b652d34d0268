"""The binary cross-entropy of an input of any size: the mean, or the sum, of the losses of its cells."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stablemax.compute.loss import LossPart
from stablemax.compute.streaming import Resources, for_engine, plan, total_of
from stablemax.inputs.input_warnings import inexact_integers, inexact_notes
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.exact_sum import ExactSum
from stablemax.numerics.formats import FLOAT64, get_format
from stablemax.operations import get_operation
from stablemax.operations.targets import TargetOptions, check_options, second_of
from stablemax.operations.variant import default_id, evaluate, get
from stablemax.results import LossResult
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import Reduction

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.inputs.blocks import Block
    from stablemax.inputs.logits import Stream
    from stablemax.inputs.workspace import Workspace
    from stablemax.numerics.formats import Array, Format
    from stablemax.operations.variant import Variant
    from stablemax.text.vocabulary import Accumulation


@dataclass(frozen=True, eq=False)
class CellLossJob:
    """The losses of the cells of a block of rows."""

    stream: Stream  #: logits, and targets in their shape
    options: TargetOptions  #: weights
    variant: str  #: the formula
    format: str  #: what it computes in
    accumulation: Accumulation | None = None
    keeps_cells: bool = False  #: whether every loss is wanted, for a reduction in the format itself
    step: int = 1  #: how many rows are computed at once

    def __call__(self, block: Block, workspace: Workspace) -> LossPart:
        """Compute the losses of a block."""
        return sum((self._compute(step, workspace) for step in block.steps(self.step)), LossPart())

    def _compute(self, block: Block, workspace: Workspace) -> LossPart:
        operation, xp = get_operation("binary_cross_entropy"), Arithmetic(get_format(self.format), self.accumulation)
        targets = self.stream.read_array(block, workspace, in_unit_range=True)
        x = self.stream.logits.read(block.start, block.stop, workspace)
        second = second_of(operation, targets, xp, options=self.options)
        losses = evaluate(get(self.variant), xp.array(x), xp, second)
        bad = np.argwhere(~np.isfinite(losses))
        return LossPart(
            ExactSum.of(losses.ravel()),
            ExactSum.of_ones(losses.size),
            block.rows,
            self._why(block.start, x, targets, losses, *bad[0]) if len(bad) else None,
            inexact=inexact_integers(x, block.start),
            values=((losses.ravel(), np.ones(losses.size, dtype=bool)),) if self.keeps_cells else (),
        )

    def _why(self, start: int, x: Array, targets: Array, losses: Array, row: int, column: int) -> tuple[int, str]:
        name, place = self.stream.logits.place(start + int(row))
        called = f"row {place}" if len(self.stream.logits.parts) == 1 else f"row {place} of {name}"
        loss, logit, target = (float(array[row, column]) for array in (losses, x, targets))
        reason = f"its logit is {logit:g}, its target {target:g}"
        return start + int(row), f"{called}, class {column} has loss {loss}: {reason}"


def binary_cross_entropy_of(
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
    """Compute the mean or the sum of the losses of all cells.

    Without a format everything is computed in float64, and the sum over the cells is exact and rounded once.
    """
    options, resources = options or TargetOptions(), resources or Resources()
    if not stream.has_soft_targets:
        raise StablemaxError(
            "a binary cross-entropy needs a target for each logit", "name a file of targets in the shape of the logits"
        )
    check_options(options, stream.classes)
    xp = Arithmetic(fmt or FLOAT64, accumulation)
    formula = default_id(get_operation("binary_cross_entropy"), xp.format) if variant is None else variant.id
    job = CellLossJob(stream, options, formula, xp.format.name, accumulation, keeps_cells=fmt is not None)
    cut = plan(stream.rows, stream.classes, resources, by_variant=True, steps=1)
    job = replace(job, stream=for_engine(stream, resources), step=cut.step)
    total = total_of(job, cut, LossPart(), stream, resources, progress, formula)
    if fmt is None:
        value = total.losses.rounded() if reduction is Reduction.SUM else total.losses.mean(total.weights)
    else:
        value = _in_format(np.concatenate([losses for losses, _ in total.values]), reduction, xp)
    return LossResult(
        value=value,
        rows=None,
        variant=formula,
        format=xp.format.name,
        kept_rows=stream.rows,
        total_rows=stream.rows,
        first_bad=total.first_bad,
        notes=inexact_notes(total.inexact, stream.sources[0].name),
    )


def _in_format(losses: Array, reduction: Reduction, xp: Arithmetic) -> float:
    if not losses.size:
        return 0.0 if reduction is Reduction.SUM else math.nan
    with np.errstate(all="ignore"):
        return float(xp.sum(losses.reshape(1, -1))[0, 0] if reduction is Reduction.SUM else xp.mean(losses))
