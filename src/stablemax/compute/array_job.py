"""The job of a block whose results have the size of its logits: put where they belong, not sent back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stablemax.compute.block_job import Job, Noticings
from stablemax.compute.sinks import Sink
from stablemax.inputs.blocks import Block
from stablemax.inputs.input_warnings import inexact_integers
from stablemax.inputs.workspace import Workspace
from stablemax.kernels import array_kernels as kernels
from stablemax.kernels import long_rows
from stablemax.kernels.odds import Odds
from stablemax.kernels.row_kernels import PIECE, logsumexp_from, logsumexps
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions, kept_rows, row_weights


@dataclass(frozen=True)
class Kernel:
    """One of our kernels: an operation of a block of rows, and of a row that is too long to be taken at once.

    `block` gets (x, labels, weights, divisor, out, workspace); `piece` gets (x, odds, weight, divisor, out,
    workspace). An operation of one number a row has neither: it comes from the odds alone.
    """

    block: Callable[[Array, Any, Any, float, Array, Workspace], None] | None = None
    piece: Callable[[Array, Odds, Array, float, Array, Workspace], None] | None = None


KERNELS: dict[str, Kernel] = {
    "softmax": Kernel(lambda x, _y, _w, _d, out, ws: kernels.softmax(x, out, ws), long_rows.softmax),
    "log_softmax": Kernel(
        lambda x, _y, _w, _d, out, ws: kernels.log_softmax(x, out, ws),
        lambda x, odds, _w, _d, out, ws: long_rows.log_softmax(x, odds, out, ws),
    ),
    "logsumexp": Kernel(),
    "gradient": Kernel(kernels.gradient, long_rows.softmax),
}
"""By the name that an operation's record gives."""


def classes_and_weights(labels: Array | None, options: TargetOptions, divisor: float) -> tuple[Array | None, Array]:
    """Return labels that are classes, and each row's weight: 0 where it does not count."""
    if labels is None:
        return None, np.ones(1)
    kept = kept_rows(labels, options.ignore_index)
    chosen = np.where(kept, labels, 0)
    weights = row_weights(chosen, options)
    if divisor == 0:
        # The mean over rows of no weight is 0/0, and so is its gradient.
        return chosen, np.where(kept, np.nan, 0.0)
    return chosen, np.where(kept, 1.0 if weights is None else weights, 0.0)


def fill(
    out: Array,
    operation: Operation,
    x: Array,
    given: tuple[Array | None, Array, float],
    fmt: Format,
    workspace: Workspace,
) -> None:
    """Compute rows x (N, K) by the kernel of an operation into `out`, (N, K) or (N, 1), in a format.

    `given` are the labels, the weights of the rows, and the divisor of a gradient.
    """
    if operation.per_row:
        out[:, 0] = Arithmetic(fmt).narrow(logsumexps(x, workspace))
        return
    kernel = KERNELS[operation.kernel].block
    assert kernel is not None, "one number a row comes from the odds"
    kernel(x, *given, out, workspace)


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayJob(Job):
    """The results of a block of rows, put where they belong."""

    sink: Sink  #: takes the results
    divisor: float = 1.0  #: of a gradient

    @property
    def is_fast(self) -> bool:
        """True where the kernels compute it: the accurate formula, in a dtype, and of the gradients that of labels."""
        changed = self.method.variant or self.method.accumulation or self.xp.format.is_emulated
        has_kernel = self.operation.kernel and (self.has_plain_labels or not self.operation.needs_targets)
        return bool(has_kernel and not changed)

    def __call__(self, block: Block, workspace: Workspace) -> Noticings:
        """Compute a block."""
        return sum((self._compute(step, workspace) for step in block.steps(self.step)), Noticings())

    def _compute(self, block: Block, workspace: Workspace) -> Noticings:
        labels = self.read_second(block, workspace)
        if self.is_fast and self.stream.classes > PIECE:
            rows = range(block.rows)
            by_row = [None] * block.rows if labels is None else [labels[row : row + 1] for row in rows]
            return sum((self._long(block.start + row, by_row[row], workspace) for row in rows), Noticings())
        x = self.stream.logits.read(block.start, block.stop, workspace)
        noticed = Noticings(self.odd_targets(labels, block.start), inexact_integers(x, block.start))
        (self._fast if self.is_fast else self._by_variant)(block, x, labels, workspace)
        return noticed

    def _fast(self, block: Block, x: Array, labels: Array | None, workspace: Workspace) -> None:
        fmt = self.xp.format
        if self.operation.per_row:
            out = np.empty((block.rows, 1), dtype=fmt.dtype)
        else:
            out = self.sink.room(block.start, block.stop, workspace, dtype=fmt.dtype)
        given = *classes_and_weights(labels, self.options, self.divisor), self.divisor
        fill(out, self.operation, self.in_format(x), given, fmt, workspace)
        self.sink.put(block.start, out, workspace)

    def _long(self, row: int, labels: Array | None, workspace: Workspace) -> Noticings:
        """Compute a row that is too long to be taken at once, in pieces."""
        odds, inexact = self.odds_of_long_row(row, workspace)
        if self.operation.per_row:
            self.sink.put(row, self.xp.narrow(logsumexp_from(odds))[:, None], workspace)
            return Noticings(inexact=inexact)

        def read(first: int, last: int) -> Array:
            return self.in_format(self.stream.logits.read(row, row + 1, workspace, first=first, last=last))

        chosen, weight = classes_and_weights(labels, self.options, self.divisor)
        kernel = KERNELS[self.operation.kernel].piece
        assert kernel is not None, "one number a row comes from the odds"
        for first in range(0, self.stream.classes, PIECE):
            last = min(first + PIECE, self.stream.classes)
            out = self.sink.room(row, row + 1, workspace, first=first, last=last, dtype=self.xp.format.dtype)
            kernel(read(first, last), odds, weight, self.divisor, out, workspace)
            if chosen is not None and first <= chosen[0] < last:
                at_label = long_rows.gradient_at_label(read, int(chosen[0]), odds, weight, self.divisor, workspace)
                out[0, chosen[0] - first] = self.xp.narrow(at_label)[0, 0]
            self.sink.put(row, out, workspace, first=first)
        return Noticings(inexact=inexact)

    def _by_variant(self, block: Block, x: Array, labels: Array | None, workspace: Workspace) -> None:
        xp, method = self.xp, self.method
        # A second argument is no part of the logits' format, unless a formula is asked for as it is written.
        second_xp = xp if method.variant or method.accumulation else xp.wider
        if not self.operation.needs_targets:
            values = self.evaluate(x, labels, second_xp, self.divisor)
        else:
            assert labels is not None
            index = np.flatnonzero(kept_rows(labels, self.options.ignore_index))
            values = np.zeros(x.shape, dtype=xp.format.dtype)
            if len(index) and self.divisor == 0:
                values[index] = np.nan
            elif len(index):
                values[index] = self.evaluate(x[index], labels[index], second_xp, self.divisor)
        self.sink.put(block.start, values.reshape(block.rows, -1), workspace)
