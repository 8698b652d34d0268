"""A trace in each output format: the source with what happened beneath each line."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from typing import TYPE_CHECKING, Any

from rich.text import Text

from stablemax.formats import FORMATS
from stablemax.render import console, data, figures
from stablemax.render.comparisons import quoted
from stablemax.render.figures import LOOKS
from stablemax.results import Origin, Outcome
from stablemax.vocabulary import OutputFormat
from stablemax.wording import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stablemax.render.console import Surface
    from stablemax.results import Trace, TracedLine, TracedOperation

COLUMNS = (
    "file",
    "line",
    "blamed",
    "index",
    "phase",
    "name",
    "times",
    "dtype",
    "shape",
    "smallest",
    "largest",
    "cells",
    "inf",
    "nan",
    "lost",
    "error_ulp",
    "local_error_ulp",
    "origin",
    "note",
)
_GUTTER = 8  # "▶ 1234  "
_NAME = 16
_FINITE = (Outcome.OK, Outcome.INACCURATE, Outcome.UNDEFINED)
_WHOLE = 40
"""A file of more lines is cut to those that compute."""


def render(result: Trace, how: OutputFormat, *, color: str, details: bool, to_file: bool) -> str:
    """Write a trace.

    Parameters
    ----------
    result : Trace
        What to write.
    how : OutputFormat
        The output format.
    color : str
        "auto", "always" or "never", for tables.
    details : bool
        All the figures of every operation, in tables.
    to_file : bool
        The text goes to a file.
    """
    if how is OutputFormat.TABLE:
        on = console.surface(color, to_file=to_file)
        text = console.printed(trace(result, on, details=details), on)
        return f"{text}reproduce: {quoted(result.command)}\n" if result.command else text
    if how is OutputFormat.JSON:
        return data.document("trace", result)
    if how is OutputFormat.NDJSON:
        return data.lines([{"kind": "operation", **r} for r in records(result)])
    rows = [[data.cell(r[c]) for c in COLUMNS] for r in records(result)]
    if how is OutputFormat.MARKDOWN:
        facts = "\n".join(f"- {line}" for line in [*_facts(result), *_not_followed(result)])
        return f"{result.finding}\n\n{facts}\n\n{data.table_markdown(list(COLUMNS), rows)}"
    write = data.table_csv if how is OutputFormat.CSV else data.table_plain
    return write(list(COLUMNS), rows)


def records(result: Trace) -> list[dict[str, Any]]:
    """Flatten a trace to a record for each operation."""
    return [
        {**dataclasses.asdict(o), "shape": "x".join(map(str, o.shape)) or "scalar", "blamed": _is_blamed(o, result)}
        for line in result.lines
        for o in line.operations
    ]


def _is_blamed(operation: TracedOperation, result: Trace) -> bool:
    return result.blame is not None and (operation.index, operation.line) == (
        result.blame.operation,
        result.blame.line,
    )


def trace(result: Trace, on: Surface, *, details: bool) -> list[RenderableType]:
    """Lay a trace out: the finding, the input, the source with its figures, what was not followed."""
    parts: list[RenderableType] = [Text(result.finding, style="bold"), Text("")]
    parts += [Text(line, style="dim") for line in _facts(result)]
    width = min(max((len(_name(o)) for line in result.lines for o in line.operations), default=0), _NAME)
    by_file: dict[str, list[TracedLine]] = {}
    for line in result.lines:
        by_file.setdefault(line.file, []).append(line)
    for file, lines in by_file.items():
        parts += [Text(""), Text(file, style="bold")]
        kept = lines if details or len(lines) <= _WHOLE else _near_operations(lines)
        for before, line in zip([None, *kept], kept, strict=False):
            if before is not None and before not in lines[: lines.index(line)][-1:]:
                parts.append(Text(f"{'':>5}:", style="dim"))
            parts += _line(line, result, on, width, details=details)
    parts += [Text(""), *(Text(line) for line in _not_followed(result))]
    parts.append(Text(_legend(result), style="dim"))
    return parts


def _near_operations(lines: list[TracedLine]) -> list[TracedLine]:
    """Keep the lines that compute, with their neighbours and the heads of their functions."""
    kept: set[int] = set()
    head: int | None = None
    for i, line in enumerate(lines):
        if line.text.lstrip().startswith(("def ", "async def ")):
            head = i
        if line.operations or line.blamed:
            kept |= {*range(max(0, i - 1), min(len(lines), i + 2)), *(() if head is None else (head,))}
    return [lines[i] for i in sorted(kept)]


def _facts(result: Trace) -> list[str]:
    size = f"{counted(result.rows, 'row')} x {counted(result.classes, 'class', 'classes')}, {result.format}"
    judged = f"result: {LOOKS[result.outcome].word}"
    if result.error_ulp is not None:
        cell = "" if result.outcome in _FINITE else " of a finite cell"
        judged += f", largest error{cell} {figures.error(result.error_ulp)}"
    return [f"input: {result.source}; {size}", f"{judged}, judged as {result.operation}"]


def _not_followed(result: Trace) -> list[str]:
    return [f"not followed: {what}" for what in result.not_followed]


def _legend(result: Trace) -> str:
    told = [
        "beneath each line: its operations, with the range of their finite cells, the cells that are infinite, NaN or 0"
        " where the exact value is not, and the largest error, in ulps of the operation's own format"
    ]
    meanings = {
        Origin.MADE_HERE: "the operation itself makes the error",
        Origin.CAME_IN: "its inputs bring it",
        Origin.CANCELLATION: "it makes the errors of its inputs larger",
        Origin.ABSORPTION: "a term vanishes beside a larger one",
    }
    seen = {o.origin for line in result.lines for o in line.operations}
    told += [f"{origin.value}: {text}" for origin, text in meanings.items() if origin in seen]
    return "; ".join(told)


def _line(line: TracedLine, result: Trace, on: Surface, width: int, *, details: bool) -> list[RenderableType]:
    sign = (">" if on.ascii_only else "▶") if line.blamed else " "
    style = "bold red" if line.blamed else "bold" if line.operations else ""
    source = textwrap.wrap(
        _plain(line.text), max(20, on.width - _GUTTER), subsequent_indent="      ", drop_whitespace=False,
        replace_whitespace=False, break_long_words=False, break_on_hyphens=False,
    ) or [""]  # fmt: skip
    heads = [f"{sign}{line.line:>5}  ", *[" " * _GUTTER] * (len(source) - 1)]
    parts: list[RenderableType] = [
        Text.assemble((head, style or "dim"), (text, style)) for head, text in zip(heads, source, strict=True)
    ]
    if line.blamed and result.blame is not None:
        words = result.blame.sentence.partition(": ")[2]
        parts += _flowing(["blame:", *words.split()], on, "bold red", separator=" ")
    for operation in line.operations:
        pieces = _pieces(operation, on, width, details=details)
        parts += _flowing(pieces, on, _style(operation), separator="  ")
    return parts


def _plain(text: str) -> str:
    """Show control characters of somebody's source as what they are."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _pieces(operation: TracedOperation, on: Surface, width: int, *, details: bool) -> list[str]:
    """The figures of an operation, each a piece that is never broken."""
    phase = "" if operation.phase == "forward" else operation.phase
    pieces = [f"{_name(operation):<{width}}", phase, _range(operation)]
    for outcome, count in (
        (Outcome.OVERFLOW, operation.inf),
        (Outcome.NAN, operation.nan),
        (Outcome.LOST, operation.lost),
    ):
        if count:
            look = LOOKS[outcome]
            word = {"overflow": "inf"}.get(look.word, look.word)
            pieces.append(f"{figures.glyph(outcome, ascii_only=on.ascii_only)} {word} {count:,} of {operation.cells:,}")
    if operation.error_ulp:
        pieces.append(_error(operation, on))
    elif operation.error_ulp == 0 and not (operation.inf or operation.nan or operation.lost):
        pieces.append("exact")
    if operation.origin is not Origin.NONE:
        pieces.append(operation.origin.value)
    if details:
        shape = "x".join(map(str, operation.shape)) or "scalar"
        pieces += [f"{operation.dtype} {shape}"]
        if operation.local_error_ulp is not None:
            pieces.append(f"made here {figures.error(operation.local_error_ulp)}")
        if operation.note:
            pieces += operation.note.split(" ")
    return [p for p in pieces if p]


def _name(operation: TracedOperation) -> str:
    return operation.name if operation.times == 1 else f"{operation.name} x{operation.times}"


def _error(operation: TracedOperation, on: Surface) -> str:
    mark = ""
    if _is_inaccurate(operation):
        mark = f"{figures.glyph(Outcome.INACCURATE, ascii_only=on.ascii_only)} "
    return f"{mark}{figures.error(operation.error_ulp)}"


def _is_inaccurate(operation: TracedOperation) -> bool:
    """Tell an error that takes more than half of the digits."""
    fmt = FORMATS.get(operation.dtype)
    return fmt is not None and (operation.error_ulp or 0.0) > 2.0 ** (fmt.precision / 2)


def _style(operation: TracedOperation) -> str:
    if operation.nan:
        return LOOKS[Outcome.NAN].style
    if operation.inf:
        return LOOKS[Outcome.OVERFLOW].style
    return LOOKS[Outcome.INACCURATE].style if _is_inaccurate(operation) else "dim"


def _range(operation: TracedOperation) -> str:
    low, high = operation.smallest, operation.largest
    if math.isnan(low):
        return "no finite cell"
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _flowing(pieces: list[str], on: Surface, style: str, *, separator: str) -> list[RenderableType]:
    """Set pieces one after another behind the gutter, on as many lines as the width takes."""
    indent = " " * _GUTTER
    guide = "| " if on.ascii_only else "│ "
    lines: list[str] = []
    for piece in pieces:
        if lines and _GUTTER + 2 + len(lines[-1]) + len(separator) + len(piece) <= on.width:
            lines[-1] += separator + piece
        else:
            lines.append(piece if not lines else f"  {piece}")
    return [Text.assemble((f"{indent}{guide}", "dim"), (line, style), overflow="fold") for line in lines]
