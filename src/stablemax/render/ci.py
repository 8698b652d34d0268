"""Checks for CI systems: JUnit XML, and annotations with a summary on GitHub."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from stablemax.render.document import Document
from stablemax.render.forms import Check, Checks
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.log_commands import broken_in_text
from stablemax.text.words import listed

MAX_ANNOTATIONS = 10
"""GitHub shows ten errors of a step and drops the others without a word."""
_MESSAGE_LIMIT = 2000
# XML 1.0 has no way to write these, and a log should not obey them.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(checks: Sequence[Check], title: str) -> str:
    """Write checks as JUnit XML, of the elements and attributes that GitLab's and Jenkins' readers share.

    It is ASCII: what is not is a character reference, whatever the encoding of standard output.

    >>> from stablemax.render.forms import Check
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


def _counts(checks: Sequence[Check]) -> dict[str, str]:
    failed = sum(bool(check.failure) for check in checks)
    return {"tests": str(len(checks)), "failures": str(failed), "errors": "0"}


def for_github(checks: Checks, document: Document, environment: Mapping[str, str] = os.environ) -> str:
    """Write annotations, and append the document to the job's summary, as the runner's environment says."""
    # Empty where no runner set it.
    summary, root = (environment.get(name) or "" for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"))
    if summary:
        from stablemax.render.console import Surface
        from stablemax.render.markdown import written

        _append(summary, f"## {checks.title}\n\n{written(document, Surface())}\n")
    return github(checks.checks, checks.finding, root=Path(root or "."), has_summary=bool(summary))


def github(checks: Sequence[Check], finding: str, *, root: Path, has_summary: bool) -> str:
    r"""Write the failures as GitHub's annotations, then the finding as a line of the log.

    What fails in several formats is one annotation.

    A file is named from the root; one outside is named in the message only.

    >>> from stablemax.render.forms import Check
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
    lines.append(broken_in_text(f"stablemax: {shown(finding, _MESSAGE_LIMIT)}"))
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
    settings = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in properties.items())
    return f"::{name} {settings}::{_escaped(message)}"


def _escaped(text: str, also: str = "") -> str:
    # The percent sign first, or the others would be escaped twice.
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return "".join(c if c == "\t" else _legal(c) for c in text)


def _legal(text: str) -> str:
    r"""Write what XML 1.0 cannot hold as Python escapes.

    >>> print(_legal("red \x1b[31m \x00"))
    red \x1b[31m \x00
    """
    return _FORBIDDEN.sub(lambda m: m[0].encode("unicode_escape").decode("ascii"), text)


def _append(path: str, text: str) -> None:
    try:
        with Path(path).open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    except OSError as error:
        raise StablemaxError(
            f"{shown(path)}: the summary cannot be written ({error.strerror})",
            "GITHUB_STEP_SUMMARY names that file: unset it to go without",
        ) from None
