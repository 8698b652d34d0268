"""A loss in each output format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stablemax.render import data, figures
from stablemax.render.arrays import described_input
from stablemax.vocabulary import OutputFormat

if TYPE_CHECKING:
    from stablemax.inputs.logits import Stream
    from stablemax.results import LossResult


def render(result: LossResult, how: OutputFormat, stream: Stream) -> str:
    """Write a loss: a number alone, or every row's."""
    values = [result.value] if result.rows is None else result.rows.tolist()
    file, row = (None, None) if result.first_bad is None else stream.logits.place(result.first_bad[0])
    body = {
        "variant": result.variant,
        "format": result.format,
        "kept_rows": result.kept_rows,
        "total_rows": result.total_rows,
        "first_bad_row": None if result.first_bad is None else result.first_bad[0],
        "first_bad_file": file,
        "first_bad_file_row": row,
    }
    if how is OutputFormat.JSON:
        found = {"loss": result.value} if result.rows is None else {"losses": values}
        return data.document("loss", {"input": described_input(stream), **found, **body})
    if how is OutputFormat.NDJSON:
        if result.rows is None:
            return data.lines([{"kind": "loss", "loss": result.value, **body}])
        return data.lines([{"kind": "loss", "row": i, "loss": v} for i, v in enumerate(values)])
    if how in (OutputFormat.TABLE, OutputFormat.PLAIN):
        return "".join(f"{figures.exact(v)}\n" for v in values)
    write = data.table_csv if how is OutputFormat.CSV else data.table_markdown
    if result.rows is None:
        return write(["loss"], [[figures.exact(result.value)]])
    return write(["row", "loss"], [[str(i), figures.exact(v)] for i, v in enumerate(values)])
