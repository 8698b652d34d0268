"""What a trace says of the code, be it NumPy's or PyTorch's: the finding, the line to blame, and the listing."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from stablemax.numerics.formats import FORMATS, Array
from stablemax.results import Blame, Origin, Outcome, Trace, TracedLine, TracedOperation
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.words import counted
from stablemax.trace.blame import Traced, bad_cell, culprit_of
from stablemax.trace.exact_cells import nearest
from stablemax.trace.observation import BACKWARD, Kind, Record
from stablemax.trace.reading import first_of
from stablemax.trace.traced_code import display_name, listing
from stablemax.truth.measure import CODES, Judgement, largest

if TYPE_CHECKING:
    from stablemax.trace.observation import Cell, Event, Observation, Site
    from stablemax.trace.reading import Expected, Reading
    from stablemax.trace.run import Run, Subject

_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}
_EXPONENTIALS = ("exp", "shifted_exp")
_GRAVEST_FIRST = (Kind.OVERFLOW, Kind.POLE, Kind.INVALID, Kind.ZERO)


class About(TypedDict, total=False):
    """The subject of a trace, as sentences name it: the code, its input, the command, the notes."""

    #: Name of the code.
    target: str
    #: Where the input came from, and the numbers of its rows where they are some of many.
    source: str
    numbers: Array | None
    #: The command that gives the same trace again.
    command: tuple[str, ...]
    #: What a reader should know.
    notes: tuple[str, ...]


def name_of(about: About) -> str:
    """Return what sentences call the code."""
    return about.get("target") or "the traced function"


def tell(subject: Subject, expected: Expected, about: About) -> Trace:
    """Run the code, judge its result, and find the line to blame for a bad one."""
    traced = Traced(subject, expected, name_of(about), about.get("numbers"))
    run = subject.observed()
    reading = expected.reading(run)
    judged = reading.judged(run.value)
    worst = CODES[int(judged.codes.max())] if judged.codes.size else Outcome.OK
    wrong = reading.wrong_exactly(run)
    is_wrong = None if wrong is None else bool(wrong.any())
    not_followed = run.not_followed
    if is_wrong:
        # What evaded the shadow may be what made it wrong.
        not_followed = tuple(dict.fromkeys((*not_followed, *subject.suspects(run))))
        is_wrong = None if not_followed else True
    blame: Blame | None = None
    if is_wrong and wrong is not None:
        finding = _wrong_formula(traced, run, reading, wrong)
    elif worst.is_failure:
        finding, blame = _unstable(traced, run, reading, judged, worst)
    else:
        finding = _good(traced, run, reading, judged, worst)
    return Trace(
        target=about.get("target", ""),
        operation=str(expected.operation),
        backend=subject.backend,
        format=subject.format.name,
        source=about.get("source", ""),
        rows=subject.logits.shape[0],
        classes=subject.logits.shape[1],
        lines=_lines(traced, run, blame),
        outcome=worst,
        error_ulp=largest(judged.error_ulp),
        formula_is_wrong=is_wrong,
        blame=None if blame is None else replace(blame, file=_file(traced, blame.file)),
        finding=finding,
        not_followed=(*run.asides, *not_followed),
        command=about.get("command", ()),
        notes=(*about.get("notes", ()), *_notes(run, reading)),
    )


def _notes(run: Run, reading: Reading) -> tuple[str, ...]:
    notes = [f"the output is read as {reading.meaning}"] if reading.meaning else []
    notes += run.notes
    if run.exact is None:
        notes.append("the shadow did not reach the result: whether the formula is right is not known")
    return tuple(notes)


# --- the finding ------------------------------------------------------------------------------------


def _wrong_formula(traced: Traced, run: Run, reading: Reading, wrong: Array) -> str:
    """Say that the code is not what it is meant to be, with the first cell that shows it."""
    cell = first_of(wrong)
    assert run.exact is not None, "a wrong formula was seen in its shadow"
    gives = float(nearest(run.exact).reshape(wrong.shape)[cell])
    right = float(reading.exact.truth.nearest[cell])
    where = reading.meaning if reading.is_reduced else _result_name(traced, *cell)
    last = run.steps[-1].line if run.steps else 0
    return (
        f"{traced.name} is not {traced.expected.operation}: in exact arithmetic it gives {gives:.6g} where {right:.6g} "
        f"is right ({where}). The formula itself is wrong.{f' Its last operation is on line {last}.' if last else ''}"
    )


def _good(traced: Traced, run: Run, reading: Reading, judged: Judgement, worst: Outcome) -> str:
    """Say that the result holds, how well, and where its error is largest."""
    if reading.exact.undefined.all():
        return f"{traced.expected.operation} has no value on this input: every row holds NaN, +inf or nothing but -inf."
    left_out = " Rows in which the formula has no value are left out." if worst is Outcome.UNDEFINED else ""
    error = largest(judged.error_ulp)
    size = "" if error is None else f": the largest error is {error:.3g} ulp"
    observations = [r.seen for r in run.records.values() if r.seen.error_ulp]
    if not observations or not error:
        return f"{traced.name} holds{size}.{left_out}"
    most = max(observations, key=lambda seen: seen.error_ulp or 0.0)
    where = f" on line {most.line}" if most.line else ""
    return (
        f"{traced.name} holds{size}. Its least accurate operation is {most.name}{where} "
        f"({most.error_ulp:.3g} ulp).{left_out}"
    )


def _unstable(
    traced: Traced, run: Run, reading: Reading, judged: Judgement, worst: Outcome
) -> tuple[str, Blame | None]:
    """Name the operation that made a bad result of a right formula, and the line to blame."""
    cell = first_of(judged.codes == CODES.index(worst))
    gives = float(run.value.astype(np.float64).reshape(judged.codes.shape)[cell])
    right = float(reading.exact.truth.rounded[cell])
    share = where = ""
    if not reading.is_reduced:
        failing = reading.failing(run.value)
        unit = "row" if traced.expected.operation.per_row else "cell"
        share = f" for {int(failing.sum()):,} of {counted(failing.size, unit)}"
        where = f" ({_result_name(traced, *cell)})"
    result = (
        f"{traced.name} is {OUTCOMES[worst].predicate}{share} in {traced.subject.format.name}: "
        f"it gives {gives:.6g} where {right:.6g} is right{where}."
    )
    bad = bad_cell(traced, reading, judged.codes, worst)
    culprit = culprit_of(bad)
    if culprit is None:
        return f"{result} No operation could be blamed.", None
    step, root = culprit
    # A step of one row belongs to a record of the whole run.
    record = run.records.get(step.key) or Record(replace(step, index=0))
    words = _sentence(record, step, traced, bad.row, root)
    return f"{words[0].upper()}{words[1:]}. {result}", Blame(step.site.file, step.line, record.seen.index, words)


def _result_name(traced: Traced, row: int, column: int) -> str:
    """Name a cell of the result by its row and, where it has them, its label or class and the logit there."""
    expected, row_name = traced.expected, traced.row_name(row)
    if not expected.operation.per_row:
        return traced.logit_name(row, column)
    if not expected.has_labels or expected.second is None:
        return row_name
    label = int(expected.second[row])
    has_logit = 0 <= label < expected.logits.shape[1]
    return f"{row_name}, label {label}" + (f", logit {float(expected.logits[row, label])!r}" if has_logit else "")


# --- the listing ------------------------------------------------------------------------------------


def _lines(traced: Traced, run: Run, blame: Blame | None) -> tuple[TracedLine, ...]:
    """List the lines of the functions that took part, each with its operations."""
    operations: dict[tuple[str, int], list[TracedOperation]] = {}
    ran: dict[str, set[int]] = {}
    for record in run.records.values():
        site = record.seen.site
        operations.setdefault((site.file, site.line), []).append(_operation(traced, record))
        ran.setdefault(site.file, set()).add(site.line)
    texts = listing(run.functions, ran)
    # Code without source, an operator of C or a line typed in, has its operations all the same.
    texts.update({key: traced.name for key in operations if key not in texts})
    return tuple(
        TracedLine(
            file=_file(traced, file),
            line=line,
            text=text,
            operations=tuple(sorted(operations.get((file, line), ()), key=lambda o: o.index)),
            blamed=blame is not None and (file, line) == (blame.file, blame.line),
        )
        for (file, line), text in texts.items()
    )


def _operation(traced: Traced, record: Record) -> TracedOperation:
    seen = record.seen
    figures = {f.name: getattr(seen, f.name) for f in fields(TracedOperation)}
    names = {"name": seen.label, "file": _file(traced, seen.site.file), "note": _note(record, traced)}
    return TracedOperation(**{**figures, **names})


def _file(traced: Traced, file: str) -> str:
    return display_name(file) if file else traced.name


# --- one operation, in words -----------------------------------------------------------------------


def _sentence(record: Record, step: Observation, traced: Traced, row: int, root: Observation | None) -> str:
    """Say what the blamed operation did.

    The record has its figures in the whole run, the step is the operation on the bad row alone; the root lost what
    the step needed, where that is another operation.
    """
    words = f"{_line(step.site)}{_deed(record, step, traced, row)}"
    return f"{words}; {_root(root, step)}" if root is not None else words


def _note(record: Record, traced: Traced) -> str:
    """Say the gravest thing that happened in an operation; empty where nothing did."""
    seen = record.seen
    for event in sorted(seen.events, key=lambda e: _GRAVEST_FIRST.index(e.kind)):
        return _event(seen, event, traced.place_name(record, event, 0))
    return _cell(seen) if seen.origin in (Origin.CANCELLATION, Origin.ABSORPTION) else ""


def _line(site: Site) -> str:
    """Begin a sentence with the line; say so where it is blamed for its backward pass."""
    if not site.file:
        return ""
    if site.phase != BACKWARD:
        return f"line {site.line}: "
    node = site.node.rstrip("0123456789").removesuffix("Backward")
    return f"line {site.line}, backward{f' of {node}' if node else ''}: "


def _deed(record: Record, step: Observation, traced: Traced, row: int) -> str:
    for kind in _GRAVEST_FIRST:
        event = next((e for e in record.seen.events if e.kind is kind), None)
        if event is not None and kind in step.kinds:
            return _event(record.seen, event, traced.place_name(record, event, row))
    return _cell(step) or f"{step.name} makes the result bad"


def _event(seen: Observation, event: Event, place: str) -> str:
    """Say what happened, to how many cells, and where first."""
    name, fmt = seen.name, FORMATS[seen.dtype]
    share = f"for {event.cells:,} of {counted(seen.cells, 'cell')}"
    first, calculation = f"(first: {place})", _calculation(name, event.operands)
    if event.kind is Kind.OVERFLOW:
        limit = f"; it overflows above {fmt.exp_overflow.real:.5g} in {fmt.name}" if name in _EXPONENTIALS else ""
        return f"{name} overflows {share} {first}{limit}"
    if event.kind is Kind.ZERO:
        limit = f"; it gives 0 below {fmt.exp_underflow.real:.5g} in {fmt.name}" if name in _EXPONENTIALS else ""
        return f"{name} gives 0 {share} {first}{limit}"
    if event.kind is Kind.POLE:
        operands = f"of {_number(event.operands[0])}" if len(event.operands) == 1 else calculation
        return f"{f'{name} {operands}'.rstrip()} is infinite {share} {first}"
    return f"{name} gives NaN {share}{f': {calculation}' if calculation else ''} {first}"


def _cell(seen: Observation) -> str:
    """Say what became of the worst cell: what went in, what came out, what would have been right."""
    if seen.worst is None:
        return ""
    verb = {
        Origin.CANCELLATION: "cancels",
        Origin.ABSORPTION: "absorbs",
        Origin.INHERITED: "magnifies what was rounded before",
    }.get(seen.origin, "is inaccurate")
    return f"{seen.name} {verb}: {_outcome(seen.name, seen.worst)}"


def _outcome(name: str, cell: Cell) -> str:
    """Say what came out beside what should have, or by how much it is off where the two print alike."""
    what = _calculation(name, cell.operands) or name
    value, exact = _number(cell.value), _number(cell.exact)
    if value == exact:
        return f"{what} gives {value}, off by {abs(cell.difference):.3g}"
    return f"{what} gives {value}, exactly {exact}"


def _root(root: Observation, step: Observation) -> str:
    file = f"{Path(root.site.file).name} " if root.site.file != step.site.file else ""
    where = f" on {file}line {root.line}" if root.line else ""
    fmt = FORMATS[root.dtype]
    if any(e.kind is Kind.ZERO and abs(e.exact) < fmt.smallest_normal for e in root.events):
        limit = f" (below {fmt.exp_underflow.real:.5g} in {root.dtype})" if root.name in _EXPONENTIALS else ""
        return f"the 0 comes from {root.name}{where}, which underflows{limit}"
    if root.worst is None:
        return f"the digits are lost{where}, in {root.name}"
    verb = "absorbed" if root.origin is Origin.ABSORPTION else "rounded away"
    return f"the digits were {verb}{where}: {_outcome(root.name, root.worst)}"


def _calculation(name: str, operands: tuple[float, ...]) -> str:
    """Write an operation of one or two numbers; empty for one of many."""
    if len(operands) == 2 and name in _SIGNS:
        return f"{_number(operands[0])} {_SIGNS[name]} {_number(operands[1])}"
    return f"{name}({', '.join(map(_number, operands))})" if 1 <= len(operands) <= 2 else ""


def _number(value: float) -> str:
    """Write a number to six digits; one near 1 to as many as tell it from 1.

    >>> _number(1001.0), _number(-2.0611536181902037e-09), _number(0.99999999793884631), _number(1.0986122886681098)
    ('1001', '-2.06115e-09', '0.9999999979388463', '1.09861')
    """
    short = f"{value:.6g}"
    return repr(value) if short in ("1", "-1") and abs(value) != 1 else short
