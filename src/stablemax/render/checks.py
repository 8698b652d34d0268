"""What `check` and `judge` found, in each output format."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from rich.text import Text

from stablemax.render import console, data, figures
from stablemax.render.comparisons import quoted
from stablemax.render.figures import LOOKS, glyph
from stablemax.render.tables import detail_lines, legend_of, table_like
from stablemax.results import Outcome, Standing
from stablemax.vocabulary import OutputFormat
from stablemax.wording import counted, listed

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stablemax.render.console import Surface
    from stablemax.results import CheckReport, HazardVerdict, JudgeReport, LawVerdict

_STANDING_STYLE = {
    Standing.GOOD: "bold green",
    Standing.UNSTABLE: "bold yellow",
    Standing.WRONG: "bold red",
    Standing.BROKEN: "bold red",
}
_PRINTED_LINES = 5
HAZARD_COLUMNS = ("hazard", "format", "worst", "failed", "error_ulp", "trouble", "skipped")


def render(report: CheckReport, how: OutputFormat, *, color: str, details: bool, to_file: bool) -> str:
    """Write a check's report.

    Parameters
    ----------
    report : CheckReport
        What to write.
    how : OutputFormat
        Table, JSON, NDJSON, CSV, plain or Markdown.
    color : str
        "auto", "always" or "never", for tables.
    details : bool
        List the hazards that hold, too.
    to_file : bool
        The text goes to a file.
    """
    if how is OutputFormat.JSON:
        return data.document("check", report)
    if how is OutputFormat.NDJSON:
        return data.lines([{"kind": "hazard", "target": report.target, **_record(h)} for h in report.hazards])
    if how is OutputFormat.TABLE:
        on = console.surface(color, to_file=to_file)
        return console.printed(_table(report, on, details=details), on) + _code(report) + _reproduce(report.command)
    rows = [[data.cell(_record(h)[c]) for c in HAZARD_COLUMNS] for h in report.hazards]
    if how is OutputFormat.MARKDOWN:
        return _markdown(report, ascii_only=console.surface(color, to_file=to_file).ascii_only)
    write = data.table_csv if how is OutputFormat.CSV else data.table_plain
    return write(list(HAZARD_COLUMNS), rows)


def plain(report: CheckReport) -> str:
    """Write the report as an assertion's message: no colours, 100 columns."""
    on = console.Surface(100, color=False, ascii_only=False)
    return console.printed(_table(report, on, details=False), on) + _code(report)


def _record(verdict: HazardVerdict) -> dict[str, object]:
    return {c: getattr(verdict, c) for c in HAZARD_COLUMNS}


def _reproduce(command: tuple[str, ...]) -> str:
    # A command is one line, however long: a copy of it must run.
    return f"reproduce: {quoted(command)}\n" if command else ""


def _code(report: CheckReport) -> str:
    """Return the counterexample as code: it must survive a copy, so no line of it is wrapped."""
    found = report.counterexample
    if found is None or not found.code:
        return ""
    return (
        f"\nsmallest input that breaks it:\n\n{_indented(found.code)}"
        f"\na test that fails until it is mended:\n\n{_indented(found.test)}\n"
    )


def _indented(code: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in code.rstrip("\n").split("\n"))


def _table(report: CheckReport, on: Surface, *, details: bool) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(report.finding, style=_STANDING_STYLE[report.standing]), Text("")]
    parts += [Text(line, style="dim") for line in facts(report)]
    parts += _hazards(report, on, details=details)
    broken = [law for law in report.laws if law.detail]
    if broken:
        parts.append(Text(""))
        parts += [_law([law for law in broken if law.law == name], on) for name in dict.fromkeys(b.law for b in broken)]
    if report.printed:
        parts += [Text(""), Text("it printed:", style="dim"), *_printed(report.printed, on)]
    return parts


def _printed(text: str, on: Surface) -> list[RenderableType]:
    """Show the beginning of what somebody's code printed; its escape sequences must not reach a terminal."""
    lines = text.splitlines()
    shown = ["".join(c if c.isprintable() else repr(c)[1:-1] for c in line) for line in lines[:_PRINTED_LINES]]
    cut = [line if len(line) <= on.width - 2 else f"{line[: on.width - 5]}..." for line in shown]
    more = [f"and {counted(len(lines) - _PRINTED_LINES, 'more line')}"] if len(lines) > _PRINTED_LINES else []
    return [Text(f"  {line}", style="dim") for line in (*cut, *more)]


def _law(broken: list[LawVerdict], on: Surface) -> Text:
    """Tell of one law in all formats; the example is that of the widest that breaks it."""
    failed = any(law.failed for law in broken)
    sign = glyph(Outcome.NAN if failed else Outcome.OK, ascii_only=on.ascii_only)
    word = "law broken" if failed else "law broken, which is allowed"
    where = listed([law.format for law in broken])
    return Text(f"{sign} {word}: {broken[0].law} in {where}: {broken[-1].detail}", style="red" if failed else "dim")


def facts(report: CheckReport) -> list[str]:
    """Say what was checked, and against what."""
    limit = "half of the format's bits" if report.contract.max_ulp is None else f"{report.contract.max_ulp:g} ulp"
    allowed = f"; allowed: {', '.join(report.contract.allow)}" if report.contract.allow else ""
    held = len({law.law for law in report.laws})
    return [
        f"checked as {report.operation} on {report.backend} arrays, with {counted(held, 'law')}. "
        f"Inaccurate: off by more than {limit}{allowed}"
    ]


def _hazards(report: CheckReport, on: Surface, *, details: bool) -> list[RenderableType]:
    """Lay out hazards x formats: the failing ones, or all of them."""
    names = list(dict.fromkeys(h.hazard for h in report.hazards))
    failing = {h.hazard for h in report.hazards if h.failed}
    chosen = names if details else [n for n in names if n in failing]
    if not chosen or not report.formats:
        return []
    by_place = {(h.hazard, h.format): h for h in report.hazards}
    first = max(len(n) for n in [*chosen, "hazard"]) + _GAP
    room = on.width - first + _GAP  # the last column needs no space behind it
    longest = max(len(name) for name in report.formats) + _GAP
    words = room >= max(_WORDY, longest) * len(report.formats)
    width = max(_WORDY if words else _SHORT, longest)
    each = max(1, room // width)
    parts: list[RenderableType] = []
    for start in range(0, len(report.formats), each):
        formats = report.formats[start : start + each]
        table = table_like(on)
        table.add_column("hazard", no_wrap=True, min_width=first - _GAP)
        for name in formats:
            table.add_column(name, no_wrap=True, min_width=width - _GAP)
        for hazard in chosen:
            table.add_row(Text(hazard), *(_cell(by_place.get((hazard, f)), report, on, words=words) for f in formats))
        parts += [Text(""), table]
    ran = {h.hazard for h in report.hazards if not h.skipped}
    passed = len(ran - failing)
    shown = {h.worst for h in report.hazards if h.hazard in chosen and h.worst is not None}
    subnormal = [
        h for h in report.hazards
        if h.hazard in chosen and h.worst is not None and h.worst.is_failure
        and not (h.failed or h.worst in report.contract.allow)
    ]  # fmt: skip
    explained = f"{_TINY}: the result is below the smallest normal number, and may be flushed to 0"
    legend = "; ".join(text for text in (legend_of(shown, on), explained if subnormal else "") if text)
    if legend:
        parts.append(Text(legend, style="dim"))
    if not details and passed:
        parts.append(Text(f"and {counted(passed, 'hazard')} on which it keeps its contract: --details", style="dim"))
    return parts


_TINY = "tiny"
_GAP = 2
_WORDY = 25  # "≈ inaccurate 1.6e15 ulp" and two spaces
_SHORT = 12  # "▲ overflow", "≈ 1920 ulp" and two spaces


def _cell(verdict: HazardVerdict | None, report: CheckReport, on: Surface, *, words: bool) -> Text:
    if verdict is None or verdict.skipped:
        return Text("not run", style="dim")
    worst = verdict.worst or Outcome.OK
    if verdict.trouble:
        worst = Outcome.NAN if verdict.failed else Outcome.UNDEFINED
        beginning = next((b for b in _TROUBLES if verdict.trouble.startswith(b)), "")
        text = _TROUBLES.get(beginning, "none")
    elif worst in (Outcome.OK, Outcome.INACCURATE):
        figure = figures.short_error(verdict.error_ulp)
        if words:
            text = f"{LOOKS[worst].word} {figure}".rstrip()
        else:
            text = _shorter(figure) or _SHORT_WORDS.get(worst, LOOKS[worst].word)
    else:
        text = LOOKS[worst].word if words else _SHORT_WORDS.get(worst, LOOKS[worst].word)
    if worst.is_failure and not verdict.failed:
        why = "allowed" if worst in report.contract.allow else _TINY
        return Text(f"{glyph(worst, ascii_only=on.ascii_only)} {text}\n({why})", style="dim")
    return Text(f"{glyph(worst, ascii_only=on.ascii_only)} {text}", style=LOOKS[worst].style)


_SHORT_WORDS = {Outcome.INACCURATE: "wrong", Outcome.UNDEFINED: "no value", Outcome.INPUT_OVERFLOW: "beyond"}


def _shorter(figure: str) -> str:
    """Write an error so that it fits a short cell: fewer digits, then without its unit."""
    if len(figure) <= _SHORT - _GAP - 2:
        return figure
    number = figure.removesuffix(" ulp")
    if not number.startswith(">"):
        mantissa, _, exponent = f"{float(number):.0e}".partition("e")
        number = f"{mantissa}e{int(exponent)}"
    return f"{number} ulp" if len(number) <= _SHORT - _GAP - 6 else number


# What happened instead of an output, by how it is told.
_TROUBLES = {"raised": "raised", "returned": "junk", "ended": "crashed", "gave no answer": "hung"}


def _markdown(report: CheckReport, *, ascii_only: bool) -> str:
    failing = dict.fromkeys(h.hazard for h in report.hazards if h.failed)
    by_place = {(h.hazard, h.format): h for h in report.hazards}
    on = console.Surface(1000, color=False, ascii_only=ascii_only)
    rows = [
        [n, *(_cell(by_place.get((n, f)), report, on, words=True).plain.replace("\n", " ") for f in report.formats)]
        for n in failing
    ]
    parts = [f"**{report.standing.value}**: {report.finding}\n", *(f"- {line}" for line in facts(report)), ""]
    if rows:
        parts.append(data.table_markdown(["hazard", *report.formats], rows))
    parts += [f"- law broken: {law.law} in {law.format}: {law.detail}" for law in report.laws if law.failed]
    if report.counterexample is not None and report.counterexample.code:
        parts += ["", "```python", report.counterexample.code.rstrip(), "```"]
    if report.command:
        parts += ["", f"Reproduce: `{quoted(report.command)}`"]
    return "\n".join(parts) + "\n"


def render_judged(report: JudgeReport, how: OutputFormat, *, color: str, to_file: bool) -> str:
    """Write what `judge` found.

    Parameters
    ----------
    report : JudgeReport
        What to write.
    how, color, to_file
        As for `render`.
    """
    if how is OutputFormat.JSON:
        return data.document("judge", report)
    if how is OutputFormat.NDJSON:
        return data.lines([{"kind": "judge", "operation": report.operation, **dataclasses.asdict(report.verdict)}])
    if how is OutputFormat.TABLE:
        on = console.surface(color, to_file=to_file)
        return console.printed(_judged(report, on), on) + _reproduce(report.command)
    if how is OutputFormat.MARKDOWN:
        lines = [report.finding, "", *(f"- {line}" for line in judged_facts(report))]
        lines += [f"- {line}" for line in detail_lines(report.verdict, f"the bound of {report.bound_of}")]
        return "\n".join([*lines, "", f"Reproduce: `{quoted(report.command)}`"]) + "\n"
    write = data.table_csv if how is OutputFormat.CSV else data.table_plain
    return write(list(data.VERDICT_COLUMNS), [data.verdict_row(report.operation, report.verdict)])


def judged_plain(report: JudgeReport) -> str:
    """Write the report as an assertion's message: no colours, 100 columns."""
    on = console.Surface(100, color=False, ascii_only=False)
    return console.printed(_judged(report, on), on)


def judged_facts(report: JudgeReport) -> list[str]:
    """Say what was judged, and against what."""
    given = report.input
    limit = "half of the format's bits" if report.contract.max_ulp is None else f"{report.contract.max_ulp:g} ulp"
    allowed = f"; allowed: {', '.join(report.contract.allow)}" if report.contract.allow else ""
    labels = f"; labels: {given.labels}" if given.labels else ""
    rows = counted(given.rows, "row")
    if given.judged_rows != given.rows:
        rows += f" (errors judged on {given.judged_rows:,})"
    return [
        f"input: {given.source}; {rows} x {counted(given.classes, 'class', 'classes')}, {given.dtype}, "
        f"from {given.smallest:g} to {given.largest:g}{labels}",
        f"judged as {report.operation} in {report.verdict.format}. Inaccurate: off by more than {limit}{allowed}",
    ]


def _judged(report: JudgeReport, on: Surface) -> list[RenderableType]:
    style = "bold green" if report.passed else "bold red"
    parts: list[RenderableType] = [Text(report.finding, style=style), Text("")]
    parts += [Text(line, style="dim") for line in judged_facts(report)]
    table = table_like(on)
    for name in ("outcome", "share of the cells"):
        table.add_column(name, no_wrap=True)
    for outcome, part in report.verdict.shares.items():
        look = LOOKS[outcome]
        text = f"{glyph(outcome, ascii_only=on.ascii_only)} {look.word}"
        table.add_row(Text(text, style=look.style), Text(figures.share(part)))
    parts += [Text(""), table, Text("")]
    return parts + [Text(line) for line in detail_lines(report.verdict, f"the bound of {report.bound_of}")]
