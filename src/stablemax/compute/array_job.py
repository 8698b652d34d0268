"""The job of a block whose results have the size of its logits: put where they belong, not sent back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from stablemax.compute.block_job import Job, Noticings
from stablemax.compute.sinks import Sink
from stablemax.inputs.blocks import Block
from stablemax.inputs.input_warnings import inexact_integers
from stablemax.inputs.workspace import Workspace
from stablemax.kernels import long_rows
from stablemax.kernels import row_kernels as kernels
from stablemax.kernels.passes import PIECE, Passes, passes_for
from stablemax.kernels.row_sums import RowSums
from stablemax.numerics.formats import FLOAT64, Array, Format
from stablemax.operations.targets import LabelTargets, kept_rows, row_weights
from stablemax.truth.measure import exact_result


class BlockKernel(Protocol):
    """A kernel of a block of rows, which returns the rows in doubt."""

    def __call__(
        self,
        x: Array,
        labels: Array | None,
        weights: Array,
        divisor: float,
        out: Array,
        fmt: Format,
        passes: Passes,
        workspace: Workspace,
    ) -> Array:
        """Compute x (N, K) into `out`, (N, K) or (N, 1)."""
        ...


@dataclass(frozen=True)
class Kernel:
    """One of our kernels: an operation of a block of rows, and of a row that is too long to be taken at once.

    `piece` gets (x, sums, weight, divisor, out, passes, workspace). An operation of one number a row has none: it
    comes from the sums alone.
    """

    block: BlockKernel
    piece: Callable[[Array, RowSums, Array, float, Array, Passes, Workspace], None] | None = None


KERNELS: dict[str, Kernel] = {
    "softmax": Kernel(lambda x, _y, _w, _d, *rest: kernels.softmax(x, *rest), long_rows.softmax),
    "log_softmax": Kernel(
        lambda x, _y, _w, _d, *rest: kernels.log_softmax(x, *rest),
        lambda x, sums, _w, _d, *rest: long_rows.log_softmax(x, sums, *rest),
    ),
    "logsumexp": Kernel(lambda x, _y, _w, _d, *rest: kernels.logsumexps(x, *rest)),
    "gradient": Kernel(kernels.gradient, long_rows.softmax),
}
"""By the name that an operation's record gives."""


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

    @cached_property
    def first_passes(self) -> Passes:
        """Who makes the passes first: for results of up to 32 bits a quicker way, after which rows may be in doubt."""
        return passes_for(self.stream.rows * self.stream.classes, may_be_quick=self.xp.format is not FLOAT64)

    def _fast(self, block: Block, x: Array, labels: Array | None, workspace: Workspace) -> None:
        x, fmt = self.in_format(x), self.xp.format
        labels, weights = self._weighted(labels, block.rows)
        if self.operation.per_row:
            out = np.empty((block.rows, 1), dtype=fmt.dtype)
        else:
            out = self.sink.room(block.start, block.stop, workspace, dtype=fmt.dtype)
        kernel = KERNELS[self.operation.kernel].block
        rest = kernel(x, labels, weights, self.divisor, out, fmt, self.first_passes, workspace)
        if len(rest) and not self.first_passes.to_the_bit:
            again = np.empty((len(rest), out.shape[1]), dtype=fmt.dtype)
            some = None if labels is None else labels[rest]
            still = kernel(x[rest], some, weights[rest], self.divisor, again, fmt, self.passes, workspace)
            out[rest] = again
            rest = rest[still]
        if len(rest):
            out[rest] = self._proved(x[rest], None if labels is None else labels[rest], weights[rest])
        self.sink.put(block.start, out, workspace)

    def _proved(self, x: Array, labels: Array | None, weights: Array) -> Array:
        """Return the correctly rounded results of a few rows."""
        second = None
        if labels is not None:
            second = LabelTargets(labels, weights[:, None], self.divisor)
        exact = exact_result(self.operation, x, second, self.xp.format)
        return self.xp.format.cast(exact.truth.rounded)

    def _weighted(self, labels: Array | None, rows: int = 1) -> tuple[Array | None, Array]:
        """Return labels that are classes, and each row's weight: 0 where it does not count."""
        if labels is None:
            return None, np.ones(rows)
        kept = kept_rows(labels, self.options.ignore_index)
        chosen = np.where(kept, labels, 0)
        weights = row_weights(chosen, self.options)
        if self.divisor == 0:
            # The mean over rows of no weight is 0/0, and so is its gradient.
            return chosen, np.where(kept, np.nan, 0.0)
        return chosen, np.where(kept, 1.0 if weights is None else weights, 0.0)

    def _long(self, row: int, labels: Array | None, workspace: Workspace) -> Noticings:
        """Compute a row that is too long to be taken at once, in pieces."""
        sums, inexact = self.sums_of_long_row(row, workspace)

        def read(first: int, last: int) -> Array:
            return self.in_format(self.stream.logits.read(row, row + 1, workspace, first=first, last=last))

        if self.operation.per_row:
            out = np.empty((1, 1), dtype=self.xp.format.dtype)
            kernels.put_logsumexps(sums, read(0, 1), out, self.xp.format, self.passes)
            self.sink.put(row, out, workspace)
            return Noticings(inexact=inexact)
        chosen, weight = self._weighted(labels)
        kernel = KERNELS[self.operation.kernel].piece
        assert kernel is not None, "one number a row comes from the sums"
        for first in range(0, self.stream.classes, PIECE):
            last = min(first + PIECE, self.stream.classes)
            out = self.sink.room(row, row + 1, workspace, first=first, last=last, dtype=self.xp.format.dtype)
            kernel(read(first, last), sums, weight, self.divisor, out, self.passes, workspace)
            if chosen is not None and first <= chosen[0] < last:
                label = int(chosen[0])
                mine = long_rows.gradient_at_label(read(label, label + 1), sums, weight, self.divisor, self.passes)
                out[0, label - first] = self.xp.narrow(mine)[0]
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
