"""Inspect an input of any size: plan, look, and say what was seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stablemax.compute.streaming import BYTES_PER_CELL, RESERVED, Plan, Resources, for_engine, plan, total_of
from stablemax.inputs.blocks import Block, blocks_of, tapering
from stablemax.inputs.foreign_text import size_of
from stablemax.inputs.input_warnings import Noticed, inexact_integers
from stablemax.inputs.logits import Stream
from stablemax.inputs.workspace import Workspace
from stablemax.inspect.inspection_report import inspection_of
from stablemax.inspect.row_numbers import RowNumbers, joined, row_numbers
from stablemax.inspect.tails import Tails, second_looks, tails_of
from stablemax.inspect.tally import Tally, tally_of
from stablemax.inspect.ufunc_buffer import quick_columns
from stablemax.kernels.passes import PIECE
from stablemax.kernels.widening import computable
from stablemax.numerics.format_names import ORDINARY
from stablemax.numerics.formats import Array, get_format
from stablemax.results import Inspection
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED
from stablemax.text.words import counted

ROWS_AT_A_TIME = 1 << 15
"""Most rows that are looked at and judged at once, however few classes they have: some fifty numbers are kept of
each. The numbers of more rows leave the cache; with fewer the threads wait for each other between short calls."""
KEPT_BYTES = 16 << 20
"""Bytes of --memory that the quantiles and the numbers of the rows in work take, however many rows there are."""


def inspect_stream(
    stream: Stream,
    *,
    formats: Sequence[str] = ORDINARY,
    ignore_index: int | None = IGNORED,
    resources: Resources | None = None,
    command: tuple[str, ...] = (),
    progress: Callable[[int, int, str], None] | None = None,
) -> Inspection:
    """Look at every logit once: what the logits are, and which of the formats are safe for them.

    The result is the same to the last bit for any resources, but for what the processor's exp decides.

    >>> import numpy as np
    >>> from stablemax.inputs.stored import StoredArray
    >>> from stablemax.inputs.logits import as_stream
    >>> logits = np.array([[0.0, 20.0], [0.5, 1.0]], np.float32)
    >>> inspection = inspect_stream(as_stream(StoredArray.of(logits)), formats=("float16", "float32"))
    >>> inspection.largest, [s.rows for s in inspection.sightings if s.what == "nan"]
    (20.0, [0])
    >>> [f.shares for f in inspection.forecasts if f.operation == "cross_entropy" and f.formula == "shifted"]
    [{<Outcome.OK: 'ok'>: 1.0}, {<Outcome.OK: 'ok'>: 0.5, <Outcome.LOST: 'lost'>: 0.5}]
    """
    if stream.has_soft_targets:
        raise StablemaxError(
            f"{stream.sources[1].name}: soft targets of shape {stream.sources[1].shape}; inspect takes class labels",
            "leave them out: loss and gradient are then those of the most likely class; if they are more logits, quote "
            "one pattern for all files",
        )
    for name in formats:
        if get_format(name).saturates:
            raise StablemaxError(
                f"{name} has neither infinities nor NaN: what is too large becomes {get_format(name).max:g} unseen",
                "inspect takes the other formats; stablemax compare judges every cell in this one",
            )
    resources = resources or Resources()
    planned = _planned(stream, resources)
    most_rows = min(planned.blocks[0].rows, ROWS_AT_A_TIME)
    step = min(planned.step, most_rows)
    planned = replace(planned, blocks=tapering(stream.rows, step, most_rows // step, planned.threads))
    job = Look(for_engine(stream, resources), tuple(formats), step, ignore_index)
    tally = total_of(job, planned, Tally.of_nothing(len(formats)), stream, resources, progress, "inspecting")
    return inspection_of(tally, stream, tuple(formats), command)


def _planned(stream: Stream, resources: Resources) -> Plan:
    """Cut the rows so that what is kept of them fits into the memory beside the blocks."""
    if resources.memory is None:
        return plan(stream.rows, stream.classes, resources)
    need = RESERVED + KEPT_BYTES + min(stream.classes, PIECE) * BYTES_PER_CELL
    if resources.memory < need:
        raise StablemaxError(
            f"--memory {size_of(resources.memory)} is too little to inspect rows of {counted(stream.classes, 'class')}",
            f"give at least {math.ceil(need / 1e6):.0f}MB",
        )
    return plan(stream.rows, stream.classes, replace(resources, memory=resources.memory - KEPT_BYTES))


@dataclass(frozen=True)
class Look:
    """The streamed job of `inspect`: look at each logit of a block once, and count what there is to see."""

    stream: Stream
    formats: tuple[str, ...]
    step: int  #: Rows that are read at a time, so that they stay in the cache.
    ignore_index: int | None  #: Rows with this label do not count.

    @quick_columns()
    def __call__(self, block: Block, workspace: Workspace) -> Tally:
        """Look at a block."""
        labels, classes = None, self.stream.classes
        kept = np.ones(block.rows, dtype=bool)
        if self.stream.labels is not None:
            labels = self.stream.read_labels(block, self.ignore_index, workspace)
            kept = labels != self.ignore_index
        read = self._rows if classes <= PIECE else self._long_row
        numbers, tails, inexact = [], [], Noticed()
        for part in blocks_of(block.rows, self.step if classes <= PIECE else 1):
            # The label of an ignored row need not be a class.
            classes_of_rows = None if labels is None else np.where(kept, labels, 0)[part.start : part.stop]
            start, stop = block.start + part.start, block.start + part.stop
            part_numbers, pieces, part_inexact = read(start, stop, classes_of_rows, workspace)
            looks = second_looks(part_numbers, classes, self.formats)
            numbers.append(part_numbers)
            tails.append(tails_of(looks, part_numbers, len(self.formats), pieces, workspace))
            inexact += part_inexact
        all_numbers, all_tails = RowNumbers.stacked(numbers), Tails.stacked(tails)
        return tally_of(all_numbers, all_tails, labels, kept, classes, self.formats, block.start, inexact)

    def _rows(
        self, start: int, stop: int, labels: Array | None, workspace: Workspace
    ) -> tuple[RowNumbers, Callable[[], Iterable[tuple[Array, Array]]], Noticed]:
        """Return the numbers of rows, and their logits and exponentials to look at again."""
        stored = self.stream.logits.read(start, stop, workspace)
        x = computable(stored, workspace)
        numbers = row_numbers(x, labels, workspace)
        e = workspace.take("exponentials", x.shape)
        return numbers, lambda: [(x, e)], inexact_integers(stored, start)

    def _long_row(
        self, start: int, stop: int, labels: Array | None, workspace: Workspace
    ) -> tuple[RowNumbers, Callable[[], Iterable[tuple[Array, Array]]], Noticed]:
        """Do the same with one row that is too long to be taken at once."""
        numbers, inexact = None, Noticed()
        for first, x, stored in self._pieces(start, stop, workspace):
            inexact += inexact_integers(stored, start)
            piece = row_numbers(x, None, workspace)
            numbers = piece if numbers is None else joined(numbers, piece, first)
        assert numbers is not None
        if labels is not None:
            label = int(labels[0])
            cell = self.stream.logits.read(start, stop, workspace, first=label, last=label + 1)
            numbers = replace(numbers, label=computable(cell, workspace)[:, 0].astype(np.float64))

        top, at = numbers.top, int(numbers.at[0])

        def exponentials() -> Iterator[tuple[Array, Array]]:
            for first, x, _ in self._pieces(start, stop, workspace):
                e = workspace.take("exponentials", x.shape)
                np.copyto(e, x)
                e -= top[:, None]
                np.exp(e, out=e)
                if first <= at < first + x.shape[1]:
                    e[0, at - first] = 0.0
                yield x, e

        return numbers, exponentials, inexact

    def _pieces(self, start: int, stop: int, workspace: Workspace) -> Iterator[tuple[int, Array, Array]]:
        classes = self.stream.classes
        for first in range(0, classes, PIECE):
            last = min(first + PIECE, classes)
            stored = self.stream.logits.read(start, stop, workspace, first=first, last=last)
            yield first, computable(stored, workspace), stored
