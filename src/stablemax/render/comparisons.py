"""A comparison in each output format."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from stablemax.render import data
from stablemax.render.figures import LOOKS, glyph
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
        return f"{text}reproduce: {quoted(result.command)}\n" if result.command else text
    if how is OutputFormat.JSON:
        return data.document("comparison", result)
    if how is OutputFormat.NDJSON:
        return data.lines(data.comparison_records(result))
    if how is OutputFormat.MARKDOWN:
        from stablemax.render.console import surface

        return _markdown(result, ascii_only=surface(color, to_file=to_file).ascii_only)
    rows = [data.verdict_row(r.operation, v) for r in result.reports for v in r.verdicts]
    write = data.table_csv if how is OutputFormat.CSV else data.table_plain
    return write(list(data.VERDICT_COLUMNS), rows)


def _markdown(result: Comparison, *, ascii_only: bool) -> str:
    from stablemax.render.tables import facts, figure_of, row_label

    def cell(report: OperationReport, variant: str, fmt: str) -> str:
        verdict = next(v for v in report.verdicts if v.variant == variant and v.format == fmt)
        if verdict.worst is None:
            return "not run"
        return f"{glyph(verdict.worst, ascii_only=ascii_only)} {LOOKS[verdict.worst].word} {figure_of(verdict)}".strip()

    parts = [f"{result.finding}\n", *(f"- {line}" for line in facts(result)), ""]
    for report in result.reports:
        names = dict.fromkeys(v.variant for v in report.verdicts)
        rows = [[row_label(n), *(cell(report, n, f) for f in result.formats)] for n in names]
        parts.append(data.table_markdown([report.operation, *result.formats], rows))
    parts.append(f"Reproduce: `{quoted(result.command)}`")
    return "\n".join(parts) + "\n"


def quoted(command: tuple[str, ...]) -> str:
    r"""Join arguments so that a shell reads them back, with control characters as bash's ``$'\e'``.

    Examples
    --------
    >>> print(quoted(("stablemax", "loss", "a b.npy", "red\x1b[31m.npy")))
    stablemax loss 'a b.npy' $'red\x1b[31m.npy'
    """
    return " ".join(shlex.quote(a) if a.isprintable() else _ansi_c(a) for a in command)


def _ansi_c(text: str) -> str:
    escaped = "".join(c if c.isprintable() and c not in "\\'" else _escape(c) for c in text)
    return f"$'{escaped}'"


def _escape(character: str) -> str:
    if character in "\\'":
        return f"\\{character}"
    return f"\\x{ord(character):02x}" if ord(character) < 0x80 else f"\\U{ord(character):08x}"
