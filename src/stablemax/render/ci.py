"""Results for CI systems: JUnit XML, and annotations with a summary on GitHub, from one list of checks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stablemax.errors import StablemaxError, shown
from stablemax.render import figures
from stablemax.render.figures import LOOKS
from stablemax.results import CheckReport, Comparison, JudgeReport, League, Outcome
from stablemax.vocabulary import OutputFormat
from stablemax.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Collection

    from stablemax.results import HazardVerdict, Place, Standout, Verdict

Result = Comparison | League | CheckReport | JudgeReport

MAX_ANNOTATIONS = 10
"""GitHub shows ten errors of a step and drops the others without a word."""
_MESSAGE_LIMIT = 2000
# XML 1.0 has no way to write these, and a log should not obey them.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Check:
    """One thing that passed, failed or was not run.

    Parameters
    ----------
    group : str
        What it belongs to; with the name it is unique.
    subject : str
        What was checked.
    format : str
        The number format; empty for a check of all.
    outcome : str
        What came out, in a few words.
    failure : str
        Why it failed, in a line; empty when it did not.
    kind : str
        The kind of failure, a word.
    skipped : str
        Why it was not run; empty when it was.
    details : str
        More about a failure, in lines.
    file : str
        The file to blame; empty where it is not known.
    line : int
        The line to blame; 0 where it is not known.
    """

    group: str
    subject: str
    format: str = ""
    outcome: str = ""
    failure: str = ""
    kind: str = ""
    skipped: str = ""
    details: str = ""
    file: str = ""
    line: int = 0

    @property
    def name(self) -> str:
        """The subject, and the format where it has one."""
        return f"{self.subject} in {self.format}" if self.format else self.subject


def write(
    result: Result,
    how: OutputFormat,
    *,
    failures: Collection[Outcome] = (),
    summary_path: str | None = None,
    root: str | None = None,
) -> str:
    """Write a result for a CI system.

    Parameters
    ----------
    result : Comparison, League, CheckReport or JudgeReport
        What to write.
    how : OutputFormat
        JUNIT or GITHUB.
    failures : collection of Outcome
        What counts as a failure of a comparison or a league: --fail-on. Reports of `check` and
        `judge` have a contract of their own.
    summary_path : str, optional
        With GITHUB, the file that the result is appended to as Markdown: GITHUB_STEP_SUMMARY.
    root : str, optional
        The folder that annotations name files from: GITHUB_WORKSPACE. The current one.

    Raises
    ------
    StablemaxError
        If the summary cannot be written.
    """
    checks = checks_of(result, frozenset(failures))
    if how is OutputFormat.JUNIT:
        return junit(checks, _title(result))
    if summary_path:
        _append(summary_path, f"## {_title(result)}\n\n{_markdown(result)}\n")
    return github(checks, result.finding, root=Path(root or "."), has_summary=bool(summary_path))


# --- results to checks ----------------------------------------------------------------------------


def checks_of(result: Result, failures: frozenset[Outcome]) -> list[Check]:
    """Turn a result into the list that both formats are written from."""
    if isinstance(result, Comparison):
        group = "stablemax.compare"
        return [_of_verdict(v, f"{group}.{r.operation}", failures) for r in result.reports for v in r.verdicts]
    if isinstance(result, League):
        return [_of_standout(s, failures) for s in result.standouts]
    if isinstance(result, JudgeReport):
        return [_of_judge(result)]
    return _of_check(result)


def _of_verdict(verdict: Verdict, group: str, failures: frozenset[Outcome]) -> Check:
    check = Check(group, verdict.variant, verdict.format)
    if verdict.worst is None:
        return replace(check, skipped=verdict.skipped or "not run")
    check = replace(check, outcome=_outcome(verdict.worst, verdict.error_ulp))
    found = failures & verdict.shares.keys()
    if not found:
        return check
    kind = max(found, key=lambda o: o.severity)
    failure = f"{check.name}: {LOOKS[kind].word} in {figures.share(verdict.shares[kind])} of the cells"
    if kind is not verdict.worst:
        # The cause and the place are those of the worst outcome, which nobody asked about.
        return replace(check, failure=failure, kind=kind.value)
    failure = f"{failure}: {verdict.cause}" if verdict.cause else failure
    return replace(check, failure=failure, kind=kind.value, details=_gives(verdict.first_bad, verdict.format))


def _of_standout(standout: Standout, failures: frozenset[Outcome]) -> Check:
    check = Check(f"stablemax.league.{standout.operation}", standout.implementation, standout.format)
    if standout.worst is None:
        return replace(check, skipped=standout.skipped or "not run")
    check = replace(check, outcome=_outcome(standout.worst, standout.error_ulp))
    found = failures & standout.outcomes.keys()
    if not found:
        return check
    kind = max(found, key=lambda o: o.severity)
    names = standout.outcomes[kind]
    failure = f"{check.name}: {LOOKS[kind].word} under {counted(len(names), 'hazard')}, first {names[0]}"
    return replace(check, failure=failure, kind=kind.value, details=f"hazards: {listed(names)}")


def _of_judge(report: JudgeReport) -> Check:
    verdict = report.verdict
    check = Check("stablemax.judge", f"{report.output} as {report.operation}", verdict.format)
    if verdict.worst is None:
        return replace(check, skipped=verdict.skipped or "not run")
    check = replace(check, outcome=_outcome(verdict.worst, verdict.error_ulp))
    if report.passed:
        return check
    details = _place(verdict.first_bad, verdict.format)
    return replace(check, failure=report.finding, kind=verdict.worst.value, details=details)


def _of_check(report: CheckReport) -> list[Check]:
    group = f"stablemax.check.{report.target}"
    whole = Check(group, "verdict", outcome=report.standing.value)
    if not report.passed:
        whole = replace(
            whole,
            failure=report.finding,
            kind=report.standing.value,
            details=_evidence(report),
            file=report.blame_file,
            line=report.blame_line,
        )
    laws = [
        Check(
            group,
            f"law {law.law}",
            law.format,
            outcome=law.detail or "holds",
            failure=f"{law.law} does not hold in {law.format}: {law.detail}" if law.failed else "",
            kind="law" if law.failed else "",
        )
        for law in report.laws
    ]
    return [whole, *(_of_hazard(h, group) for h in report.hazards), *laws]


def _of_hazard(verdict: HazardVerdict, group: str) -> Check:
    check = Check(group, verdict.hazard, verdict.format)
    if verdict.skipped:
        return replace(check, skipped=verdict.skipped)
    outcome = verdict.trouble
    if not outcome and verdict.worst is not None:
        outcome = _outcome(verdict.worst, verdict.error_ulp)
    check = replace(check, outcome=outcome)
    if not verdict.failed:
        return check
    kind = "no-output" if verdict.trouble or verdict.worst is None else verdict.worst.value
    place = _place(verdict.first_bad, verdict.format)
    return replace(check, failure=f"{check.name}: {outcome}", kind=kind, details=place)


def _outcome(worst: Outcome, error_ulp: float | None) -> str:
    word = LOOKS[worst].word
    told = worst in (Outcome.OK, Outcome.INACCURATE) and error_ulp is not None
    return f"{word}, largest error {figures.error(error_ulp)}" if told else word


def _place(place: Place | None, fmt: str) -> str:
    if place is None:
        return ""
    where = f"first at row {place.row}, class {place.column}, logit {figures.exact(place.logit)}"
    return f"{where}: {_gives(place, fmt)}"


def _gives(place: Place | None, fmt: str) -> str:
    if place is None:
        return ""
    return f"gives {figures.number(place.output, fmt)} where {figures.number(place.truth, fmt)} is right"


def _evidence(report: CheckReport) -> str:
    """Return the smallest input as code, and what the target printed."""
    parts = []
    if report.counterexample is not None and report.counterexample.code:
        parts.append(f"smallest input that breaks it:\n\n{report.counterexample.code.rstrip()}")
    if report.printed:
        parts.append(f"it printed:\n{report.printed.rstrip()}")
    return "\n\n".join(parts)


def _title(result: Result) -> str:
    if isinstance(result, CheckReport):
        return f"stablemax check {result.target}"
    if isinstance(result, JudgeReport):
        return f"stablemax judge {result.output}"
    return "stablemax compare --hazards" if isinstance(result, League) else "stablemax compare"


# --- checks to text -------------------------------------------------------------------------------


def junit(checks: list[Check], title: str) -> str:
    """Write checks as JUnit XML, of the elements and attributes that GitLab's and Jenkins' readers share.

    It is ASCII: what is not is a character reference, whatever the encoding of standard output.

    Examples
    --------
    >>> print(junit([Check("g", "n", failure="too large", kind="overflow")], "t").splitlines()[2].strip())
    <testsuite name="g" tests="1" failures="1" errors="0" skipped="0">
    """
    # An optional writer of one format: its parser is not needed to write any other.
    from xml.etree import ElementTree as ET

    top = ET.Element("testsuites", {"name": _legal(title), **_counts(checks)})
    for group in dict.fromkeys(check.group for check in checks):
        members = [check for check in checks if check.group == group]
        skipped = str(sum(bool(check.skipped) for check in members))
        suite = ET.SubElement(top, "testsuite", {"name": _legal(group), **_counts(members), "skipped": skipped})
        for check in members:
            case = ET.SubElement(suite, "testcase", name=_legal(check.name), classname=_legal(group))
            if check.skipped:
                ET.SubElement(case, "skipped", message=_legal(check.skipped))
            elif check.failure:
                where = f"{check.file}:{check.line}" if check.file else ""
                failure = ET.SubElement(case, "failure", message=_legal(check.failure), type=_legal(check.kind))
                failure.text = _legal("\n".join(part for part in (check.failure, where, check.details) if part))
            if check.outcome:
                ET.SubElement(case, "system-out").text = _legal(check.outcome)
    ET.indent(top)
    return ET.tostring(top, encoding="us-ascii", xml_declaration=True).decode("ascii") + "\n"


def _counts(checks: list[Check]) -> dict[str, str]:
    failed = sum(bool(check.failure) for check in checks)
    return {"tests": str(len(checks)), "failures": str(failed), "errors": "0"}


def github(checks: list[Check], finding: str, *, root: Path, has_summary: bool) -> str:
    r"""Write the failures as GitHub's annotations, then the finding as a line of the log.

    What fails in several formats is one annotation.

    Parameters
    ----------
    checks : list of Check
        What was checked.
    finding : str
        The result in a sentence.
    root : Path
        The folder that files are named from; one outside is named in the message only.
    has_summary : bool
        The other failures can be read in the job's summary.

    Examples
    --------
    >>> failed = Check("g", "50% of it", "", failure="two\nlines", file="a,b.py", line=3)
    >>> print(github([failed], "one fails", root=Path(), has_summary=False), end="")
    ::error file=a%2Cb.py,line=3,title=stablemax%3A 50%25 of it::two%0Alines
    stablemax: one fails
    """
    failed: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        if check.failure:
            failed.setdefault((check.group, check.subject), []).append(check)
    lines = [_annotation(same, root) for same in list(failed.values())[:MAX_ANNOTATIONS]]
    more = len(failed) - MAX_ANNOTATIONS
    if more > 0:
        place = "the job's summary" if has_summary else "--output-format json or junit"
        lines.append(_command("notice", {"title": "stablemax"}, f"{more:,} more failed: see {place}"))
    # A line of the log that began with "::" or "##[" would be obeyed, so it begins with our name.
    lines.append(f"stablemax: {shown(finding, _MESSAGE_LIMIT)}")
    return "".join(f"{line}\n" for line in lines)


def _annotation(same: list[Check], root: Path) -> str:
    check = same[0]
    file = _relative(check.file, root)
    properties = {"title": f"stablemax: {check.subject}"}
    if file:
        line = {"line": str(check.line)} if check.line else {}
        properties = {"file": file, **line, **properties}
    where = f"{check.file}:{check.line}" if check.file and not file else ""
    others = f"also in {listed([c.format for c in same[1:]])}" if len(same) > 1 else ""
    message = "\n".join(part for part in (check.failure, others, where, check.details) if part)
    if len(message) > _MESSAGE_LIMIT:
        message = f"{message[:_MESSAGE_LIMIT]}..."
    return _command("error", properties, message)


def _relative(file: str, root: Path) -> str:
    if not file:
        return ""
    try:
        return Path(file).resolve().relative_to(root.resolve()).as_posix()
    except (ValueError, OSError):
        return ""


def _command(name: str, properties: dict[str, str], message: str) -> str:
    """Write a workflow command; what would end it or a property of it is percent-encoded."""
    told = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in properties.items())
    return f"::{name} {told}::{_escaped(message)}"


def _escaped(text: str, also: str = "") -> str:
    # The percent sign first, or the others would be escaped twice.
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return "".join(c if c == "\t" else _legal(c) for c in text)


def _legal(text: str) -> str:
    r"""Write what XML 1.0 cannot hold as Python escapes.

    Examples
    --------
    >>> print(_legal("red \x1b[31m \x00"))
    red \x1b[31m \x00
    """
    return _FORBIDDEN.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


def _markdown(result: Result) -> str:
    """Write the result as it is written for --output-format markdown, UTF-8."""
    from stablemax.render import checks, comparisons, leagues

    how = OutputFormat.MARKDOWN
    if isinstance(result, CheckReport):
        return checks.render(result, how, color="never", details=False, to_file=True)
    if isinstance(result, JudgeReport):
        return checks.render_judged(result, how, color="never", to_file=True)
    if isinstance(result, League):
        return leagues.render(result, how, color="never", details=False, to_file=True)
    return comparisons.render(result, how, color="never", details=False, show_values=False, to_file=True)


def _append(path: str, text: str) -> None:
    try:
        with Path(path).open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    except OSError as error:
        raise StablemaxError(
            f"{shown(path)}: the summary cannot be written ({error.strerror})",
            "GITHUB_STEP_SUMMARY names that file: unset it to go without",
        ) from None
