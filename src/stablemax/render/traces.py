"""A trace: the source with what happened beneath each line, and a record for each operation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from stablemax.render import document as doc
from stablemax.render import figures, judged_words
from stablemax.render.forms import ResultKind, in_columns
from stablemax.results import Origin, Trace, TracedLine, TracedOperation
from stablemax.text.errors import escaped
from stablemax.text.outcomes import OUTCOMES, Outcome
from stablemax.text.vocabulary import NO_OPERATION

COLUMNS = (
    *("file", "line", "blamed", "index", "phase", "name", "times", "dtype", "shape", "smallest", "largest"),
    *("cells", "inf", "nan", "lost", "error_ulp", "local_error_ulp", "origin", "note"),
)
_NAME = 16
_FINITE = (Outcome.OK, Outcome.INACCURATE, Outcome.UNDEFINED)
_WHOLE = 40
"""Of a file with more lines only those that compute are shown."""
_ORIGINS = {
    Origin.MADE_HERE: "the operation itself makes the error",
    Origin.INHERITED: "its inputs bring it",
    Origin.CANCELLATION: "it makes the errors of its inputs larger",
    Origin.ABSORPTION: "a term vanishes beside a larger one",
}


def document(result: Trace, *, details: bool = False) -> doc.Document:
    """Give the finding, the input, the source with its figures, and what was not followed."""
    width = min(max((len(_name(o)) for line in result.lines for o in line.operations), default=0), _NAME)
    by_file: dict[str, list[TracedLine]] = {}
    for line in result.lines:
        by_file.setdefault(line.file, []).append(line)
    sections: list[doc.Section] = [
        [doc.Source(file, list(_source(lines, result, width, details=details)))] for file, lines in by_file.items()
    ]
    not_followed = [doc.words(*(f"not followed: {what}" for what in result.not_followed))]
    sections.append([*(not_followed if result.not_followed else []), doc.Legend(_legend(result))])
    if result.instead:
        words = (f"pattern: {result.pattern}", f"why: {result.instead_why}")[0 if result.pattern else 1 :]
        sections.append([doc.words(*words), doc.Code("write this instead:", result.instead)])
        sections.append([])
    return doc.report(doc.Finding(result.finding), _facts(result), sections, result.command)


def _facts(result: Trace) -> list[str]:
    judged = f"result: {OUTCOMES[result.outcome].word}"
    if result.error_ulp is not None:
        of_cell = "" if result.outcome in _FINITE else " of a finite cell"
        judged += f", largest error{of_cell} {figures.error(result.error_ulp)}"
    if result.operation == NO_OPERATION:
        return [f"input: {result.source}", f"{judged}, judged by exact arithmetic on the same code"]
    size = judged_words.size_words(result.rows, result.classes)
    return [f"input: {result.source}; {size}, {result.format}", f"{judged}, judged as {result.operation}"]


def _legend(result: Trace) -> list[doc.Span]:
    is_undefined = _nan_as(result) is Outcome.UNDEFINED
    seen = set() if is_undefined else {o.origin for line in result.lines for o in line.operations}
    lead = (
        "beneath each line: its operations, with the range of their finite cells, the cells that are infinite, NaN or 0"
        " where the exact value is not, and the largest error, in ulps of the operation's own format"
    )
    meanings = (f"{origin.value}: {text}" for origin, text in _ORIGINS.items() if origin in seen)
    signs = doc.legend_of([(Outcome.UNDEFINED, None)]) if is_undefined else []
    has_errors = any(o.error_ulp for line in result.lines for o in line.operations)
    units = judged_words.meanings(["1 ulp"] if has_errors else [])
    return [*(doc.Span(text) for text in (lead, *meanings)), *signs, *units]


def _source(lines: list[TracedLine], result: Trace, width: int, *, details: bool) -> Iterator[doc.SourceLine]:
    numbers = range(len(lines)) if details or len(lines) <= _WHOLE else _near_operations(lines)
    before = -1
    for i in numbers:
        line = lines[i]
        blame = result.blame.sentence.partition(": ")[2] if line.blamed and result.blame is not None else ""
        yield doc.SourceLine(
            line.line,
            escaped(line.text),
            [_happening(o, width, _nan_as(result), details=details) for o in line.operations],
            line.blamed,
            blame,
            after_gap=0 <= before < i - 1,
        )
        before = i


def _near_operations(lines: list[TracedLine]) -> list[int]:
    """Return the indices of lines that compute, with their neighbours and the heads of their functions."""
    near: set[int] = set()
    head: int | None = None
    for i, line in enumerate(lines):
        if line.text.lstrip().startswith(("def ", "async def ")):
            head = i
        if line.operations or line.blamed:
            near |= {*range(max(0, i - 1), min(len(lines), i + 2)), *(() if head is None else (head,))}
    return sorted(near)


def _nan_as(result: Trace) -> Outcome:
    """Return what a NaN counts as: in a row without a value it is no failure of anybody's."""
    return Outcome.UNDEFINED if result.outcome is Outcome.UNDEFINED else Outcome.NAN


def _happening(operation: TracedOperation, width: int, nan_as: Outcome, *, details: bool) -> doc.Happening:
    phase = "" if operation.phase == "forward" else operation.phase
    counts = (
        (Outcome.OVERFLOW, operation.inf, "inf"),
        (nan_as, operation.nan, "NaN"),
        (Outcome.LOST, operation.lost, "lost"),
    )
    bad = [doc.Span(f" {word} {n:,} of {operation.cells:,}", sign=outcome) for outcome, n, word in counts if n]
    pieces = [doc.Span(phase), doc.Span(_range(operation)), *bad]
    if operation.error_ulp:
        error = figures.error(operation.error_ulp)
        pieces.append(doc.Span(f" {error}", sign=Outcome.INACCURATE) if _is_inaccurate(operation) else doc.Span(error))
    elif operation.error_ulp == 0 and not bad:
        pieces.append(doc.Span("exact"))
    if operation.origin is not Origin.NONE and nan_as is Outcome.NAN:
        pieces.append(doc.Span(operation.origin.value))
    if details:
        pieces.append(doc.Span(f"{operation.dtype} {_shape(operation)}"))
        if operation.local_error_ulp is not None:
            pieces.append(doc.Span(f"made here {figures.error(operation.local_error_ulp)}"))
        pieces += map(doc.Span, operation.note.split(" "))
    return doc.Happening(f"{_name(operation):<{width}}", [p for p in pieces if p.text], _style(operation, nan_as))


def _name(operation: TracedOperation) -> str:
    return operation.name if operation.times == 1 else f"{operation.name} x{operation.times}"


def _shape(operation: TracedOperation) -> str:
    return "x".join(map(str, operation.shape)) or "scalar"


def _is_inaccurate(operation: TracedOperation) -> bool:
    """Whether the error takes more than half of the digits."""
    from stablemax.numerics.formats import FORMATS

    fmt = FORMATS.get(operation.dtype)
    return fmt is not None and (operation.error_ulp or 0.0) > 2.0 ** (fmt.precision / 2)


def _style(operation: TracedOperation, nan_as: Outcome) -> str:
    if operation.nan:
        return OUTCOMES[nan_as].style
    if operation.inf:
        return OUTCOMES[Outcome.OVERFLOW].style
    return OUTCOMES[Outcome.INACCURATE].style if _is_inaccurate(operation) else "dim"


def _range(operation: TracedOperation) -> str:
    low, high = operation.smallest, operation.largest
    if math.isnan(low):
        return "none finite"
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def records(result: Trace) -> Iterator[dict[str, Any]]:
    """Give a record for each operation."""
    blamed = None if result.blame is None else (result.blame.operation, result.blame.line)
    for line in result.lines:
        for o in line.operations:
            is_blamed = (o.index, o.line) == blamed
            yield {"kind": "operation", **dataclasses.asdict(o), "shape": _shape(o), "blamed": is_blamed}


TRACE = ResultKind("a trace", "trace", document=document, records=records, rows=in_columns(COLUMNS, records))
