"""A comparison in each output format."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from stablemax.render import data
from stablemax.render.figures import LOOKS
from stablemax.vocabulary import OutputFormat

if TYPE_CHECKING:
    from stablemax.results import Comparison, OperationReport


def render(
    result: Comparison, how: OutputFormat, *, color: str, details: bool, show_values: bool, to_file: bool
) -> str:
    """Write a comparison.

    Parameters
    ----------
    result : Comparison
        What to write.
    how : OutputFormat
        The output format.
    color : str
        "auto", "always" or "never", for tables.
    details, show_values : bool
        Add all the figures, or the values kept, to tables.
    to_file : bool
        The text goes to a file.
    """
    if how is OutputFormat.TABLE:
        from stablemax.render import console, tables

        on = console.surface(color, to_file=to_file)
        text = console.printed(tables.comparison(result, on, details=details, show_values=show_values), on)
        # A command is one line, however long: a copy of it must run.
        return f"{text}reproduce: {shlex.join(result.command)}\n" if result.command else text
    if how is OutputFormat.JSON:
        return data.document("comparison", result)
    if how is OutputFormat.NDJSON:
        return data.lines(data.comparison_records(result))
    if how is OutputFormat.MARKDOWN:
        return _markdown(result)
    rows = [data.verdict_row(r.operation, v) for r in result.reports for v in r.verdicts]
    write = data.table_csv if how is OutputFormat.CSV else data.table_plain
    return write(list(data.VERDICT_COLUMNS), rows)


def _markdown(result: Comparison) -> str:
    from stablemax.render.tables import facts, figure_of

    def cell(report: OperationReport, variant: str, fmt: str) -> str:
        verdict = next(v for v in report.verdicts if v.variant == variant and v.format == fmt)
        if verdict.worst is None:
            return "not run"
        return f"{LOOKS[verdict.worst].glyph} {LOOKS[verdict.worst].word} {figure_of(verdict)}".strip()

    parts = [f"{result.finding}\n", *(f"- {line}" for line in facts(result)), ""]
    for report in result.reports:
        names = dict.fromkeys(v.variant for v in report.verdicts)
        rows = [[n.partition("/")[2], *(cell(report, n, f) for f in result.formats)] for n in names]
        parts.append(data.table_markdown([report.operation, *result.formats], rows))
    parts.append(f"Reproduce: `{shlex.join(result.command)}`")
    return "\n".join(parts) + "\n"
