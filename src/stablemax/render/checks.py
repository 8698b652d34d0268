"""What `check` found: its document, rows and checks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.forms import Check, Checks, ResultKind, Rows
from stablemax.render.judged_words import limit_of, outcome_words, place_words
from stablemax.results import Standing
from stablemax.text.outcomes import OUTCOMES, Outcome
from stablemax.text.words import counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.results import CheckReport, Contract, HazardVerdict, LawVerdict

STANDING_STYLES = {
    Standing.GOOD: "bold green",
    Standing.UNSTABLE: "bold yellow",
    Standing.WRONG: "bold red",
    Standing.BROKEN: "bold red",
}
HAZARD_COLUMNS = ("hazard", "format", "worst", "failed", "error_ulp", "trouble", "skipped")
_PRINTED_LINES = 5
_TINY = "tiny"
_WIDE = 23  # "≈ inaccurate 1.6e15 ulp"
_NARROW = 10  # "▲ overflow", "≈ 1920 ulp"
# What happened instead of an output, by how it is told.
_TROUBLES = {"raised": "raised", "returned": "junk", "ended": "crashed", "gave no answer": "hung"}


def document(report: CheckReport, *, details: bool = False) -> doc.Document:
    """Give the verdict, the hazards that it fails on or all, the laws that it breaks, and an input that shows it."""
    finding = doc.Finding(report.finding, STANDING_STYLES[report.standing], report.standing.value)
    sections: list[doc.Section] = [(finding,), (doc.Facts(tuple(facts(report))),)]
    sections += _hazards(report, details=details)
    broken = [law for law in report.laws if law.detail]
    if broken:
        names = dict.fromkeys(law.law for law in broken)
        sections.append((doc.Lines(tuple(_law([law for law in broken if law.law == name]) for name in names)),))
    if report.printed:
        sections.append((_excerpt(report.printed),))
    example = report.counterexample
    if example is None or not example.code:
        return (*sections[:-1], doc.reproduced(sections[-1], report.command))
    return (
        *sections,
        (doc.Code("smallest input that breaks it:", example.code),),
        (doc.Code("a test that fails until it is mended:", example.test),),
        doc.reproduced((), report.command),
    )


def facts(report: CheckReport) -> list[str]:
    """Say what was checked, and against what."""
    laws = counted(len({law.law for law in report.laws}), "law")
    return [f"checked as {report.operation} on {report.backend} arrays, with {laws}. {contract_words(report.contract)}"]


def contract_words(contract: Contract) -> str:
    """Say what counts as a failure."""
    allowed = f"; allowed: {', '.join(contract.allow)}" if contract.allow else ""
    return f"{limit_of(contract.max_ulp)}{allowed}"


def _excerpt(text: str) -> doc.Excerpt:
    """Show the beginning of what somebody's code printed; its escape sequences must not reach a terminal."""
    lines = text.splitlines()
    first = ("".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in lines[:_PRINTED_LINES])
    more = f"and {counted(len(lines) - _PRINTED_LINES, 'more line')}" if len(lines) > _PRINTED_LINES else ""
    return doc.Excerpt("it printed:", tuple(first), more)


def _law(broken: list[LawVerdict]) -> doc.Line:
    """Tell of one law in all formats; the example is that of the widest that breaks it."""
    failed = any(law.failed for law in broken)
    word = "law broken" if failed else "law broken, which is allowed"
    formats = listed([law.format for law in broken])
    text = f" {word}: {broken[0].law} in {formats}: {broken[-1].detail}"
    return (doc.Span(text, "red" if failed else "dim", Outcome.NAN if failed else Outcome.OK),)


def _hazards(report: CheckReport, *, details: bool) -> list[doc.Section]:
    """Show hazards x formats: the failing ones, or all of them."""
    names = list(dict.fromkeys(h.hazard for h in report.hazards))
    failing = {h.hazard for h in report.hazards if h.failed}
    chosen = names if details else [n for n in names if n in failing]
    if not chosen or not report.formats:
        return []
    shown = [h for h in report.hazards if h.hazard in chosen and h.worst is not None]
    legend = list(doc.outcome_legend({h.worst for h in shown}))
    if any(_is_tiny(h, report.contract) for h in shown):
        legend.append(doc.Span(f"{_TINY}: the result is below the smallest normal number, and may be flushed to 0"))
    blocks: list[doc.Block] = [_matrix(report, chosen)]
    if legend:
        blocks.append(doc.Legend(tuple(legend)))
    passed = len({h.hazard for h in report.hazards if not h.skipped} - failing)
    if not details and passed:
        blocks.append(doc.aside(f"and {counted(passed, 'hazard')} on which it keeps its contract: --details"))
    return [tuple(blocks)]


def _is_tiny(verdict: HazardVerdict, contract: Contract) -> bool:
    """Tell a failure that does not count because the exact result is subnormal."""
    worst = verdict.worst
    return worst is not None and worst.is_failure and not verdict.failed and worst not in contract.allow


def _matrix(report: CheckReport, hazards: list[str]) -> doc.Matrix:
    by_place = {(h.hazard, h.format): h for h in report.hazards}
    longest = max(map(len, report.formats))
    return doc.Matrix(
        "hazard",
        tuple(map(doc.Column, report.formats)),
        tuple(map(doc.Span, hazards)),
        tuple(tuple(_cell(by_place.get((name, f)), report.contract) for f in report.formats) for name in hazards),
        wide_width=max(_WIDE, longest),
        narrow_width=max(_NARROW, longest),
    )


def _cell(verdict: HazardVerdict | None, contract: Contract) -> doc.Cell:
    if verdict is None or verdict.skipped:
        return doc.Cell(doc.Span("not run", "dim"))
    outcome, wide, narrow = _words(verdict)
    style = below = ""
    if outcome.is_failure and not verdict.failed:
        style = "dim"
        below = "\n(allowed)" if outcome in contract.allow else f"\n({_TINY})"
    return doc.Cell(doc.Span(f" {wide}{below}", style, outcome), doc.Span(f" {narrow}{below}", style, outcome))


def _words(verdict: HazardVerdict) -> tuple[Outcome, str, str]:
    """Say what came out: the outcome, and words for a wide and a narrow cell."""
    if verdict.trouble:
        beginning = next((b for b in _TROUBLES if verdict.trouble.startswith(b)), "")
        word = _TROUBLES.get(beginning, "none")
        return (Outcome.NAN if verdict.failed else Outcome.UNDEFINED), word, word
    worst = verdict.worst or Outcome.OK
    words = OUTCOMES[worst]
    if worst in (Outcome.OK, Outcome.INACCURATE):
        figure = figures.short_error(verdict.error_ulp)
        return worst, f"{words.word} {figure}".rstrip(), _shorter(figure) or words.short
    return worst, words.word, words.short


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


def checks(report: CheckReport, _: frozenset[Outcome]) -> Checks:
    """Give a check for the verdict, each hazard and each law; what is a failure the contract has said."""
    group = f"stablemax.check.{report.target}"
    standing = report.standing.value
    whole = Check(group, "verdict", outcome=standing)
    if not report.passed:
        failure, file, line = report.finding, report.blame_file, report.blame_line
        whole = replace(whole, failure=failure, kind=standing, details=_evidence(report), file=file, line=line)
    hazards = (_check(h, group) for h in report.hazards)
    laws = (
        Check(
            group,
            f"law {law.law}",
            law.format,
            outcome=law.detail or "holds",
            failure=f"{law.law} does not hold in {law.format}: {law.detail}" if law.failed else "",
            kind="law" if law.failed else "",
        )
        for law in report.laws
    )
    return Checks(f"stablemax check {report.target}", report.finding, (whole, *hazards, *laws))


def _check(verdict: HazardVerdict, group: str) -> Check:
    if verdict.skipped:
        return Check(group, verdict.hazard, verdict.format, skipped=verdict.skipped)
    outcome = verdict.trouble
    if not outcome and verdict.worst is not None:
        outcome = outcome_words(verdict.worst, verdict.error_ulp)
    if not verdict.failed:
        return Check(group, verdict.hazard, verdict.format, outcome)
    kind = "no-output" if verdict.trouble or verdict.worst is None else verdict.worst.value
    failure = f"{verdict.hazard} in {verdict.format}: {outcome}"
    details = place_words(verdict.first_bad, verdict.format)
    return Check(group, verdict.hazard, verdict.format, outcome, failure, kind, details=details)


def _evidence(report: CheckReport) -> str:
    """Return the smallest input as code, and what the target printed."""
    parts = []
    if report.counterexample is not None and report.counterexample.code:
        parts.append(f"smallest input that breaks it:\n\n{report.counterexample.code.rstrip()}")
    if report.printed:
        parts.append(f"it printed:\n{report.printed.rstrip()}")
    return "\n\n".join(parts)


CHECK = ResultKind(
    "a check",
    "check",
    document=document,
    records=records,
    rows=lambda report: Rows(HAZARD_COLUMNS, records(report)),
    checks=checks,
)
