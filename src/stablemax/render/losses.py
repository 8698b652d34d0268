"""A loss: one number, or one for each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.forms import ResultKind, Rows
from stablemax.results import LossResult

if TYPE_CHECKING:
    from stablemax.inputs.logits import Stream


class LossOfInput(NamedTuple):
    """A loss with what it was computed from."""

    result: LossResult
    stream: Stream


def document(loss: LossOfInput) -> doc.Document:
    """Give the numbers alone."""
    headers, cells = _cells(loss)
    return [[doc.Values(headers, list(cells))]]


def _cells(loss: LossOfInput) -> tuple[tuple[str, ...], Iterable[tuple[str, ...]]]:
    result = loss.result
    if result.rows is None:
        return ("loss",), [(figures.exact(result.value),)]
    return ("row", "loss"), ((str(i), figures.exact(v)) for i, v in enumerate(result.rows.tolist()))


def content(loss: LossOfInput) -> dict[str, Any]:
    """Give the numbers with what they are of."""
    from stablemax.render.array_text import described_input

    result = loss.result
    numbers = {"loss": result.value} if result.rows is None else {"losses": result.rows.tolist()}
    return {"input": described_input(loss.stream), **numbers, **_about(loss)}


def _about(loss: LossOfInput) -> dict[str, Any]:
    result = loss.result
    row = None if result.first_bad is None else result.first_bad[0]
    file, file_row = (None, None) if row is None else loss.stream.logits.place(row)
    return {
        **{name: getattr(result, name) for name in ("variant", "format", "exact", "kept_rows", "total_rows")},
        "first_bad_row": row,
        "first_bad_file": file,
        "first_bad_file_row": file_row,
    }


def records(loss: LossOfInput) -> Iterator[dict[str, Any]]:
    """Give one record, or one for each row."""
    if loss.result.rows is None:
        yield {"kind": "loss", "loss": loss.result.value, **_about(loss)}
        return
    for i, value in enumerate(loss.result.rows.tolist()):
        yield {"kind": "loss", "row": i, "loss": value}


LOSS = ResultKind(
    "a loss",
    "loss",
    content,
    document=document,
    records=records,
    rows=lambda loss: Rows(*_cells(loss)),
    lines=lambda loss, _: (f"{row[-1]}\n" for row in _cells(loss)[1]),
)
