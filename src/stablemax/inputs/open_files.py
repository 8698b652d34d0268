"""Files of logits and of labels, opened as one stream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stablemax.inputs.file_format import IN_MEMORY, TableOptions
from stablemax.inputs.foreign_text import file_name
from stablemax.inputs.logits import as_stream
from stablemax.inputs.open import open_array
from stablemax.inputs.spec import expand, out_of_order
from stablemax.operations.operation import Second
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stablemax.inputs.logits import Stream


def open_files(
    logits: Sequence[str],
    labels: Sequence[str] = (),
    *,
    axis: int | None = None,
    input_format: str | None = None,
    table: TableOptions | None = None,
    in_memory: int = IN_MEMORY,
    second: Second = Second.LABELS,
) -> Stream:
    """Open logits and labels of any size; none of their numbers is read but those of text.

    The files share the memory in which text may be kept.
    """
    table = table or TableOptions()
    if labels and table.label_column is not None:
        raise StablemaxError("labels are given twice: in a file and with --label-column", "leave one of them out")
    named, targets = expand(logits), expand(labels)
    if "-" in named and "-" in targets:
        raise StablemaxError("logits and labels cannot both come from standard input", "put one of them into a file")
    label_table = TableOptions(delimiter=table.delimiter, comment=table.comment)
    share = in_memory // (len(named) + len(targets))
    stream = as_stream(
        [open_array(one, input_format=input_format, table=table, in_memory=share) for one in named],
        [open_array(one, table=label_table, in_memory=share) for one in targets],
        axis=axis,
        second=second,
    )
    notes = [] if len(named) == 1 else [_joined(named, stream.rows)]
    return replace(stream, notes=(*notes, *_swapped(targets), *_swapped(named), *stream.notes))


def _joined(names: Sequence[str], rows: int) -> str:
    return f"{len(names):,} files as one input: {file_name(names[0])} to {file_name(names[-1])}, {rows:,} rows"


def _swapped(names: Sequence[str]) -> list[str]:
    pair = out_of_order(names)
    if pair is None:
        return []
    before, after = map(file_name, pair)
    return [f"{before} comes before {after}, as they were named; a quoted pattern has numbers in order"]
