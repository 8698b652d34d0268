"""What a trace says of the code, whatever library it is for: the finding, the line to blame, and the listing."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from stablemax.numerics.formats import Array
from stablemax.results import Blame, Outcome, Trace, TracedLine, TracedOperation
from stablemax.text.outcomes import OUTCOMES
from stablemax.text.words import counted
from stablemax.trace.blame import Traced, bad_cell, culprit_of
from stablemax.trace.branches import branch_words, decisive_branch
from stablemax.trace.exact_cells import nearest
from stablemax.trace.observation import Record
from stablemax.trace.operation_words import line_words, note_on, sentence_of
from stablemax.trace.reading import first_of
from stablemax.trace.traced_code import display_name, listing
from stablemax.truth.measure import CODES, Judgement, largest

if TYPE_CHECKING:
    from stablemax.trace.reading import Expectation, Reading
    from stablemax.trace.run import Run, Subject


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


def tell(subject: Subject, expected: Expectation, about: About, run: Run | None = None) -> Trace:
    """Run the code, unless it was, judge its result, and find the line to blame for a bad one."""
    traced = Traced(subject, expected, name_of(about))
    run = run or subject.observed()
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
        finding, blame = _undefined(traced, run, reading) or (_good(traced, run, reading, judged, worst), None)
    excuse = _excuse(traced, run, reading, judged)
    return Trace(
        target=about.get("target", ""),
        operation=expected.name,
        backend=subject.backend,
        format=subject.format.name,
        source=about.get("source", ""),
        rows=expected.size[0],
        classes=expected.size[1],
        lines=_lines(traced, run, blame),
        outcome=worst,
        error_ulp=largest(judged.error_ulp),
        formula_is_wrong=is_wrong,
        blame=None if blame is None else replace(blame, file=_file(traced, blame.file)),
        finding=f"{finding} {excuse}".rstrip(),
        not_followed=(*run.asides, *not_followed),
        command=about.get("command", ()),
        notes=(*about.get("notes", ()), *_notes(run, reading)),
    )


def _notes(run: Run, reading: Reading) -> tuple[str, ...]:
    notes = [f"the output is read as {reading.meaning}"] if reading.meaning else []
    notes += run.notes
    if run.stepwise is not None:
        notes += _of_compiled_code(run, reading, run.stepwise)
    if run.exact is None:
        notes.append("the shadow did not reach the result: whether the formula is right is not known")
    return tuple(notes)


def _of_compiled_code(run: Run, reading: Reading, stepwise: Array) -> list[str]:
    """Say how compiled code, which is judged, differs from its operations one by one, which the lines show."""
    compiled, by_steps = (reading.failing(value) for value in (run.value, stepwise))
    if np.array_equal(compiled, by_steps):
        return ["the result is that of compiled code, which rounds otherwise than its operations one by one"] * any(
            compiled.ravel()
        )
    if not compiled.any():
        return ["compiled, as it is called, the code holds; the lines show its operations one by one, which fail"]
    if not by_steps.any():
        return ["the compiled code fails, as it is called; its operations one by one, which the lines show, hold"]
    return ["compiled code and its operations one by one, which the lines show, fail in other cells"]


# --- the finding ------------------------------------------------------------------------------------


def _wrong_formula(traced: Traced, run: Run, reading: Reading, wrong: Array) -> str:
    """Say that the code is not what it is meant to be, with the first cell that shows it."""
    cell = first_of(wrong)
    assert run.exact is not None, "a wrong formula was seen in its shadow"
    gives = float(nearest(run.exact).reshape(wrong.shape)[cell])
    right = float(reading.exact.truth.nearest[cell])
    where = reading.meaning if reading.is_reduced else traced.expected.result_name(*cell)
    return (
        f"{traced.name} is not {traced.expected.name}: in exact arithmetic it gives {gives:.6g} where {right:.6g} "
        f"is right ({where}). The formula itself is wrong."
    )


def _good(traced: Traced, run: Run, reading: Reading, judged: Judgement, worst: Outcome) -> str:
    """Say that the result holds, how well, and where its error is largest."""
    if reading.exact.undefined.all():
        return traced.expected.without_value(run)
    left_out = f" {traced.expected.left_out}" if worst is Outcome.UNDEFINED else ""
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


def _excuse(traced: Traced, run: Run, reading: Reading, judged: Judgement) -> str:
    """Say which numbers lack digits because of the input, as code on it cannot but do; empty where none do."""
    excused = np.zeros(0, dtype=bool) if reading.excused is None else reading.excused_cells(run.value)
    if not excused.any():
        return ""
    row, column = first_of(excused)
    error = float(judged.error_ulp[row, column])
    first = f" ({traced.expected.result_name(row, column)})"
    if excused.size > 1:
        first = f" of {int(excused.sum()):,} of {counted(excused.size, traced.expected.unit)}{first}"
    return (
        f"The error{first} is {error:.3g} ulp because the problem is ill-conditioned there: a few roundings of the "
        "input change the exact result as much, and the code is not to blame."
    )


def _undefined(traced: Traced, run: Run, reading: Reading) -> tuple[str, Blame] | None:
    """Name the operation because of which no number is right for a cell; None where none is to blame."""
    found = traced.expected.undefined_step(run, reading)
    if found is None:
        return None
    step, words = found
    record = run.records.get(step.key) or Record(replace(step, index=0))
    words = f"{line_words(step.site)}{words}"
    finding = f"{words[0].upper()}{words[1:]}. {traced.expected.without_value(run)}"
    return finding, Blame(step.site.file, step.line, record.seen.index, words)


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
        share = f" for {int(failing.sum()):,} of {counted(failing.size, traced.expected.unit)}"
        where = f" ({traced.expected.result_name(*cell)})"
    result = (
        f"{traced.name} is {OUTCOMES[worst].predicate}{share} in {traced.subject.format.name}: "
        f"it gives {gives:.6g} where {right:.6g} is right{where}."
    )
    bad = bad_cell(traced, run, reading, judged.codes, worst)
    branch = decisive_branch(bad)
    if branch is not None:
        words = branch_words(branch, traced)
        site = branch.comparison.site
        operation = -1 if branch.root is None else branch.root.index
        return f"{words[0].upper()}{words[1:]}. {result}", Blame(site.file, site.line, operation, words)
    culprit = culprit_of(bad)
    if culprit is None:
        return f"{result} No operation could be blamed.", None
    step, root = culprit
    # A step of one row belongs to a record of the whole run.
    record = run.records.get(step.key) or Record(replace(step, index=0))
    between = () if root is None else [s for s in bad.run.steps if root.index < s.index < step.index]
    words = sentence_of(record, step, traced, bad.row, root, between) + traced.expected.cause(step)
    return f"{words[0].upper()}{words[1:]}. {result}", Blame(step.site.file, step.line, record.seen.index, words)


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
    names = {"name": seen.label, "file": _file(traced, seen.site.file), "note": note_on(record, traced)}
    return TracedOperation(**{**figures, **names})


def _file(traced: Traced, file: str) -> str:
    return display_name(file) if file else traced.name
