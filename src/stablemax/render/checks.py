"""What `check` found: its document, rows and checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from stablemax.render import document as doc
from stablemax.render import figures, judged_words
from stablemax.render.forms import Check, Checks, ResultKind, in_columns
from stablemax.results import CheckReport, Contract, HazardVerdict, LawVerdict, ShapeVerdict
from stablemax.text.errors import escaped
from stablemax.text.outcomes import GRADES, OUTCOMES, Grade, Outcome
from stablemax.text.words import counted, listed

HAZARD_COLUMNS = ("hazard", "format", "grade", "worst", "failed", "error_ulp", "trouble", "skipped")
_PRINTED_LINES = 5
_FEW_SHAPES = 5
_TINY = "tiny"
_WIDE = 23  # "≈ inaccurate 1.6e15 ulp"
_NARROW = 10  # "▲ overflow", "≈ 1920 ulp"
# What happened instead of an output, by how the message about it begins.
_NO_ANSWER = {
    "raised": "it raised an exception",
    "junk": "its answer is no array of that shape",
    "memory": "it needs more than --memory",
    "crashed": "its process ended",
    "hung": "no answer within --timeout",
    "none": "no answer",
}
_TROUBLES = {
    "raised": "raised",
    "returned": "junk",
    "wrote": "junk",
    "needs": "memory",
    "ended": "crashed",
    "ends": "crashed",
    "closed": "crashed",
    "lowered": "crashed",
    "gave no answer": "hung",
    "is not called": "hung",
    "": "none",
}


def document(report: CheckReport, *, details: bool = False) -> doc.Document:
    """Give the verdict, the hazards that it fails on or all, the laws that it breaks, and an input that shows it."""
    laws: dict[str, list[LawVerdict]] = {}
    for law in report.laws:
        laws.setdefault(law.law, []).append(law)
    tried = [counted(len(laws), "law"), *([counted(len(report.shapes), "shape")] if report.shapes else [])]
    fact = (
        f"checked as {report.operation} on {report.backend} arrays, with {listed(tried)}. "
        f"{judged_words.contract_words(report.contract)}"
    )
    sections = [*_hazards(report, details=details), *_shapes(report, details=details)]
    broken = [[law for law in of_name if law.detail] for of_name in laws.values()]
    if any(broken):
        sections.append([doc.Lines([_law(of_name, report.contract) for of_name in broken if of_name])])
    if report.printed:
        sections.append([_excerpt(report.printed)])
    if report.instead:
        sections.append([doc.words(f"why: {report.instead_why}"), doc.Code("write this instead:", report.instead)])
        sections += [] if report.counterexample is not None and report.counterexample.code else [[]]
    example = report.counterexample
    if example is not None and example.code:
        sections.append([doc.Code("smallest input that breaks it:", example.code)])
        sections += [[doc.Code("a test that fails until it is mended:", example.test)], []]
    finding = doc.Finding(report.finding, GRADES[report.grade].style, report.grade.value)
    return doc.report(finding, [fact], sections, report.command)


def _excerpt(text: str) -> doc.Excerpt:
    """Show the beginning of what somebody's code printed; its escape sequences must not reach a terminal."""
    lines = text.splitlines()
    more = f"and {counted(len(lines) - _PRINTED_LINES, 'more line')}" if len(lines) > _PRINTED_LINES else ""
    return doc.Excerpt("it printed:", [escaped(line) for line in lines[:_PRINTED_LINES]], more)


def _law(broken: list[LawVerdict], contract: Contract) -> doc.Line:
    """Report one law in all its formats, with the example of the widest format that breaks it."""
    law, formats = broken[0].law, listed([law.format for law in broken])
    text = f"{law} in {formats}: {broken[-1].detail}"
    if any(law.failed for law in broken):
        return [doc.Span(f" law broken: {text}", "red", Outcome.NAN)]
    if law in contract.allow:
        return [doc.Span(f" law broken, which is allowed: {text}", "dim", Outcome.OK)]
    return [doc.Span(f" law broken, to which it is not held: {text}", "yellow", Outcome.INACCURATE)]


def _hazards(report: CheckReport, *, details: bool) -> list[doc.Section]:
    """Show hazards x formats: the failing ones, or all of them; of code that passes those where values are lost."""
    failing = {h.hazard for h in report.hazards if h.failed}
    if report.passed:
        failing = {h.hazard for h in report.hazards if h.grade not in (None, Grade.ACCURATE)}
    names = list(dict.fromkeys(h.hazard for h in report.hazards if details or h.hazard in failing))
    if not names or not report.formats:
        return []
    shown = [h for h in report.hazards if h.hazard in names and h.worst is not None]
    matrix = _matrix(report, names)
    cells = [cell for row in matrix.rows for cell in row]
    blocks: list[doc.Block] = [matrix]
    if legend := [*_legend(shown, cells, report.contract), *judged_words.meanings(cell.wide.text for cell in cells)]:
        blocks.append(doc.Legend(legend))
    passed = len({h.hazard for h in report.hazards if not h.skipped} - failing)
    if not details and passed:
        kept = "is accurate" if report.passed else "keeps its contract"
        blocks.append(doc.aside(f"and {counted(passed, 'hazard')} on which it {kept}: --details"))
    return [blocks]


def _legend(shown: list[HazardVerdict], cells: list[doc.Cell], contract: Contract) -> Iterator[doc.Span]:
    """Explain the words and signs of the cells."""
    if any(h.worst is Outcome.OK and h.grade is not Grade.STABLE for h in shown):
        yield doc.Span(" ok: accurate, with the largest error in ulp", sign=Outcome.OK)
    yield from doc.legend_of(((h.worst, h.grade) for h in shown if not h.trouble), has_short_words=True)
    if any(_is_tiny(h, contract) for h in shown):
        yield doc.Span(f"{_TINY}: the result is below the smallest normal number, and may be flushed to 0")
    signs = {cell.wide.text.partition("\n")[0].strip(): cell.wide.sign for cell in cells}
    for word, meaning in _NO_ANSWER.items():
        if word in signs:
            yield doc.Span(f" {word}: {meaning}", sign=signs[word])
    if judged_words.NOT_RUN.text in signs:
        yield doc.Span(f"{judged_words.NOT_RUN.text}: the code does not take such an input")


def _is_tiny(verdict: HazardVerdict, contract: Contract) -> bool:
    """Whether a failure does not count because the exact result is subnormal."""
    worst = verdict.worst
    is_accurate = verdict.grade is Grade.ACCURATE
    return worst is not None and worst.is_failure and is_accurate and worst not in contract.allow


def _shapes(report: CheckReport, *, details: bool) -> list[doc.Section]:
    """List the failing shapes, the smallest first, or all of them."""
    chosen = [shape for shape in report.shapes if details or shape.failed]
    few = chosen if details else chosen[:_FEW_SHAPES]
    if not chosen:
        return []
    more = [doc.aside(f"and {counted(len(chosen) - len(few), 'more shape')}: --details")] if few != chosen else []
    return [[doc.Lines([_shape(shape) for shape in few]), *more]]


def _shape(shape: ShapeVerdict) -> doc.Line:
    sign: Outcome | Grade = Outcome.NAN if shape.trouble else shape.worst or Outcome.OK
    return [doc.Span(f" {_shape_words(shape)}", sign=shape.grade if shape.grade is Grade.STABLE else sign)]


def _shape_words(shape: ShapeVerdict) -> str:
    outcome = shape.worst or Outcome.OK
    figure = figures.short_error(shape.error_ulp) if outcome in (Outcome.OK, Outcome.INACCURATE) else ""
    words = shape.trouble or f"{judged_words.graded(outcome, shape.grade)} {figure}".rstrip()
    return f"{shape.shape}, in {shape.format}: {words}"


def _matrix(report: CheckReport, hazards: list[str]) -> doc.Matrix:
    cells = {(h.hazard, h.format): _cell(h, report.contract) for h in report.hazards}
    not_run = doc.Cell(judged_words.NOT_RUN)
    longest = max(map(len, report.formats))
    return doc.Matrix(
        "hazard",
        [doc.Column(fmt) for fmt in report.formats],
        [doc.Span(name) for name in hazards],
        [[cells.get((name, fmt), not_run) for fmt in report.formats] for name in hazards],
        wide_width=max(_WIDE, longest),
        narrow_width=max(_NARROW, longest),
    )


def _cell(verdict: HazardVerdict, contract: Contract) -> doc.Cell:
    """Show what came out, or what happened instead; a failure that does not count is dim and says why not."""
    if verdict.skipped:
        return doc.Cell(judged_words.NOT_RUN)
    outcome = verdict.worst or Outcome.OK
    if verdict.grade is Grade.STABLE:
        return judged_words.stable_cell(outcome, is_short=True)
    wide, narrow = OUTCOMES[outcome].word, OUTCOMES[outcome].short
    if verdict.trouble:
        outcome = Outcome.NAN if verdict.failed else Outcome.UNDEFINED
        wide = narrow = next(word for beginning, word in _TROUBLES.items() if verdict.trouble.startswith(beginning))
    elif judged_words.has_error(verdict):
        figure = figures.short_error(verdict.error_ulp)
        wide, narrow = f"{wide} {figure}".rstrip(), _shorter(figure) or narrow
    style = below = ""
    if outcome.is_failure and not verdict.failed:
        style = "dim"
        below = "\n(allowed)" if outcome in contract.allow else f"\n({_TINY})"
    return doc.Cell(*(doc.Span(f" {text}{below}", style, outcome) for text in (wide, narrow)))


def _shorter(figure: str) -> str:
    """Write an error so that it fits a narrow cell: fewer digits, then without its unit."""
    room = _NARROW - 2
    if len(figure) <= room:
        return figure
    number = figure.removesuffix(" ulp")
    if not number.startswith(">"):
        mantissa, _, exponent = f"{float(number):.0e}".partition("e")
        number = f"{mantissa}e{int(exponent)}"
    return f"{number} ulp" if len(number) <= room - 4 else number


def records(report: CheckReport) -> Iterator[dict[str, Any]]:
    """Give a record for each hazard in each format."""
    for h in report.hazards:
        yield {"kind": "hazard", "target": report.target, **{column: getattr(h, column) for column in HAZARD_COLUMNS}}


def checks(report: CheckReport, _: frozenset[Outcome | Grade]) -> Checks:
    """Give a check for the verdict, each hazard and each law; the contract says what is a failure."""
    group = f"stablemax.check.{report.target}"
    grade = report.grade.value
    whole = Check(group, "verdict", outcome=grade)
    if not report.passed:
        failure, file, line = report.finding, report.blame_file, report.blame_line
        whole = replace(whole, failure=failure, kind=grade, details=_evidence(report), file=file, line=line)
    every = (
        whole,
        *(_hazard_check(h, group) for h in report.hazards),
        *(_shape_check(shape, group) for shape in report.shapes if shape.failed),
        *(_law_check(law, group) for law in report.laws),
    )
    return Checks(f"stablemax check {report.target}", report.finding, every)


def _law_check(law: LawVerdict, group: str) -> Check:
    check = Check(group, f"law {law.law}", law.format, outcome=law.detail or "holds")
    if not law.failed:
        return check
    return replace(check, failure=f"{law.law} does not hold in {law.format}: {law.detail}", kind="law")


def _shape_check(shape: ShapeVerdict, group: str) -> Check:
    outcome = shape.trouble or OUTCOMES[shape.worst or Outcome.OK].word
    return Check(group, f"shape {shape.shape}", shape.format, outcome, failure=_shape_words(shape), kind="shape")


def _hazard_check(verdict: HazardVerdict, group: str) -> Check:
    check = judged_words.outcome_check(group, verdict.hazard, verdict)
    if verdict.trouble:
        check = replace(check, outcome=verdict.trouble, skipped="")
    if not verdict.failed:
        return check
    kind = "no-output" if verdict.trouble or verdict.worst is None else verdict.worst.value
    details = judged_words.place_words(verdict.first_bad, verdict.format)
    return replace(check, failure=f"{check.name}: {check.outcome}", kind=kind, details=details)


def _evidence(report: CheckReport) -> str:
    """Return the smallest input as code, and what the target printed."""
    parts = []
    if report.counterexample is not None and report.counterexample.code:
        parts.append(f"smallest input that breaks it:\n\n{report.counterexample.code.rstrip()}")
    if report.printed:
        parts.append(f"it printed:\n{report.printed.rstrip()}")
    return "\n\n".join(parts)


CHECK = ResultKind(
    "a check", "check", document=document, records=records, rows=in_columns(HAZARD_COLUMNS, records), checks=checks
)
