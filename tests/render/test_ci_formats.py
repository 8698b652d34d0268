"""JUnit XML and GitHub's annotations: what a CI system reads is what was found, and nothing in it is obeyed."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.comparing.comparison import CompareOptions, compare_problem
from stablemax.inputs.logits import as_problem
from stablemax.numerics.formats import BFLOAT16, FLOAT32
from stablemax.render.checks import CHECK
from stablemax.render.ci import MAX_ANNOTATIONS, for_github, github, junit
from stablemax.render.comparisons import COMPARISON
from stablemax.render.forms import Check, Page
from stablemax.render.judgements import JUDGEMENT
from stablemax.render.leagues import LEAGUE
from stablemax.render.writers import WRITERS
from stablemax.results import (
    CheckReport,
    Comparison,
    Contract,
    Counterexample,
    Grade,
    HazardVerdict,
    JudgeReport,
    LawVerdict,
    League,
    Outcome,
    Place,
    Standout,
)
from stablemax.text.errors import StablemaxError

from ..cli.running import assert_refused, run
from ..records import CROSS_ENTROPY, SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Iterable


@pytest.fixture(autouse=True)
def _no_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)


# What the readers of GitLab and Jenkins (xunit-plugin, junit-10.xsd) both know.
ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped"},
    "testcase": {"name", "classname"},
    "failure": {"message", "type"},
    "skipped": {"message"},
    "system-out": set(),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "skipped", "system-out"},
    "failure": set(),
    "skipped": set(),
    "system-out": set(),
}
HOSTILE = "red \x1b[31m \x00 ]]> & < > \" ' \ud800 \ufffe \x85 \r\n::error::owned\n##[add-path]x,y:z %0A \u202e"
NAN = math.nan
CONTRACT = Contract(None, (), (), ("bfloat16", "float32"))


@functools.cache
def comparison() -> Comparison:
    problem = as_problem(np.array([[1000.0, 1001.0, 1002.0], [0.0, -40.0, 1.0]]), np.array([0, 1]))
    options = CompareOptions(
        formats=(BFLOAT16, FLOAT32), operations=(SOFTMAX, CROSS_ENTROPY), patterns=("naive", "wide")
    )
    return compare_problem(problem, options)


def league() -> League:
    naive = Standout(
        "softmax", "softmax/naive", "float32", Outcome.NAN, "large-logits", 3.0, "gentle", ("large-logits", "tie"),
        {Outcome.NAN: ("large-logits", "tie"), Outcome.LOST: ("collapse",), Outcome.OK: ("gentle",)}, 4,
    )  # fmt: skip
    good = Standout("softmax", "softmax/wide", "float32", Outcome.OK, "", 0.5, "gentle", (), {Outcome.OK: ("gentle",)})
    absent = Standout("softmax", "scipy/softmax", "float32", None, skipped="takes no float32")
    return League(("float32",), ("gentle",), None, (naive, good, absent), {}, "one fails", ("stablemax", "compare"))


def check_report(**changes: Any) -> CheckReport:
    hazards = (
        HazardVerdict("gentle", "float32", Outcome.OK, 0.5),
        HazardVerdict("large-logits", "bfloat16", Outcome.NAN, None, Place(0, 1, 1000.0, NAN, 0.25), failed=True),
        HazardVerdict("large-logits", "float32", Outcome.NAN, None, Place(0, 1, 1000.0, NAN, 0.25), failed=True),
        HazardVerdict("collapse", "float32", Outcome.LOST, 7.0),
        HazardVerdict("no-rows", "float32", None, failed=True, trouble="raised IndexError: no rows"),
        HazardVerdict("weights-far-apart", "float32", None, skipped="takes no weights"),
    )
    laws = (
        LawVerdict("shift-invariance", "float32", failed=True, detail="8 added: 0.5 becomes 0"),
        LawVerdict("dtype-kept", "float32", failed=False),
    )
    found = Counterexample(
        "float32", ((89.0,),), (), (), Outcome.NAN, ((NAN,),), ((1.0,),), "x = [[89.0]]\nnaive(x)", "def test(): ..."
    )
    report = CheckReport(
        "model.py:naive", "softmax", "numpy", Grade.UNSTABLE, "model.py:naive is unstable", ("bfloat16", "float32"),
        hazards, laws, found, "exp overflows", "model.py", 7, "softmax/shifted", "exp(x - m)", CONTRACT, "hello\n",
    )  # fmt: skip
    return dataclasses.replace(report, **changes)


def judge_report(*, passed: bool) -> JudgeReport:
    verdict = next(v for v in comparison().verdicts if (v.worst is Outcome.OK) is passed)
    return JudgeReport(
        "softmax", "out.npy", comparison().input, verdict, passed, "out.npy is wrong in one cell", CONTRACT
    )


KINDS = {Comparison: COMPARISON, League: LEAGUE, CheckReport: CHECK, JudgeReport: JUDGEMENT}


def write(result: Any, name: str, failures: Iterable[Outcome] = ()) -> str:
    """What a format's writer gives."""
    page = Page(failures=frozenset(failures))
    return "".join(map(str, WRITERS[name].write(KINDS[type(result)], result, page)))


def parsed(text: str) -> ET.Element:
    """The XML, every element and attribute of it known to the readers, every number the right one."""
    root = ET.fromstring(text)

    def look(element: ET.Element) -> None:
        assert set(element.attrib) == ATTRIBUTES[element.tag], element.tag
        assert {child.tag for child in element} <= CHILDREN[element.tag], element.tag
        for child in element:
            look(child)

    assert root.tag == "testsuites"
    look(root)
    for level in (root, *root):
        cases = list(level.iter("testcase"))
        assert level.get("tests") == str(len(cases))
        assert level.get("failures") == str(sum(c.find("failure") is not None for c in cases))
    names = [(c.get("classname"), c.get("name")) for c in root.iter("testcase")]
    assert len(names) == len(set(names)), "a reader keeps only one of two with the same name"
    for suite in root:
        assert suite.get("skipped") == str(len(list(suite.iter("skipped"))))
        assert {c.get("classname") for c in suite} == {suite.get("name")}
    return root


def failed(root: ET.Element) -> dict[str, tuple[str, str]]:
    """Name, kind and message of every test that failed."""
    return {
        str(case.get("name")): (str(node.get("type")), str(node.get("message")))
        for case in root.iter("testcase")
        for node in case.iter("failure")
    }


# --- JUnit ---------------------------------------------------------------------------------------


def test_a_comparison_that_nothing_was_asked_of_passes_with_its_outcomes_in_the_text() -> None:
    root = parsed(write(comparison(), "junit"))
    assert failed(root) == {}
    assert [s.get("name") for s in root] == ["stablemax.compare.softmax", "stablemax.compare.cross_entropy"]
    told = {str(c.get("name")): c.findtext("system-out") for c in root.iter("testcase")}
    assert len(told) == len(comparison().verdicts) == 8
    assert told["softmax/naive in float32"] == "unstable, NaN"
    assert str(told["softmax/wide in float32"]).startswith("ok, largest error 0.")


@pytest.mark.parametrize("failures", [{Outcome.NAN}, {Outcome.OVERFLOW, Outcome.LOST}, set(Outcome) - {Outcome.OK}])
def test_a_test_fails_where_an_outcome_occurs_that_fail_on_names(failures: set[Outcome]) -> None:
    root = parsed(write(comparison(), "junit", failures=failures))
    expected = {
        f"{v.variant} in {v.format}": max(failures & v.shares.keys(), key=lambda o: o.severity).value
        for v in comparison().verdicts
        if failures & v.shares.keys()
    }
    assert expected
    assert {name: kind for name, (kind, _) in failed(root).items()} == expected


def test_the_cause_is_told_of_the_worst_outcome_only() -> None:
    worst = failed(parsed(write(comparison(), "junit", failures={Outcome.NAN})))
    assert "exp overflows" in worst["softmax/naive in float32"][1]
    (hit,) = (
        c
        for c in COMPARISON.checks(comparison(), frozenset({Outcome.OK})).checks
        if c.name == "softmax/naive in float32"
    )
    assert hit.failure == "softmax/naive in float32: ok in 50% of the cells"
    assert hit.details == ""


def test_a_league_fails_where_fail_on_occurs_under_any_hazard() -> None:
    assert failed(parsed(write(league(), "junit"))) == {}
    root = parsed(write(league(), "junit", failures={Outcome.LOST}))
    message = "softmax/naive in float32: lost under 1 hazard, first collapse"
    assert failed(root) == {"softmax/naive in float32": ("lost", message)}
    (skipped,) = root.iter("skipped")
    assert skipped.get("message") == "takes no float32"


def test_a_check_has_a_test_for_the_verdict_every_hazard_and_every_law() -> None:
    root = parsed(write(check_report(), "junit"))
    assert failed(root) == {
        "verdict": ("unstable", "model.py:naive is unstable"),
        "large-logits in bfloat16": ("nan", "large-logits in bfloat16: NaN"),
        "large-logits in float32": ("nan", "large-logits in float32: NaN"),
        "no-rows in float32": ("no-output", "no-rows in float32: raised IndexError: no rows"),
        "law shift-invariance in float32": (
            "law",
            "shift-invariance does not hold in float32: 8 added: 0.5 becomes 0",
        ),
    }
    text = str(next(root.iter("failure")).text)
    for part in ("model.py:7", "x = [[89.0]]\nnaive(x)", "hello"):
        assert part in text
    assert len(list(root.iter("testcase"))) == 1 + 6 + 2


def test_a_check_that_fails_has_a_failure_even_if_every_hazard_and_law_holds() -> None:
    report = check_report(hazards=(), laws=())
    assert list(failed(parsed(write(report, "junit")))) == ["verdict"]
    good = check_report(hazards=(), laws=(), grade=Grade.ACCURATE, blame_file="", blame_line=0)
    assert failed(parsed(write(good, "junit"))) == {}


@pytest.mark.parametrize("passed", [True, False])
def test_a_judged_output_is_one_test(*, passed: bool) -> None:
    root = parsed(write(judge_report(passed=passed), "junit"))
    assert len(list(root.iter("testcase"))) == 1
    assert [message for _, message in failed(root).values()] == ([] if passed else ["out.npy is wrong in one cell"])


def test_xml_is_ascii_and_holds_nothing_that_xml_forbids() -> None:
    text = junit([Check(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, details=HOSTILE, file=HOSTILE)], HOSTILE)
    assert text.isascii()
    assert text.startswith("<?xml version='1.0' encoding='us-ascii'?>\n")
    (case,) = parsed(text).iter("testcase")
    assert r"red \x1b[31m \x00 ]]> & < >" in str(case.get("name"))
    assert r"\ud800 \ufffe \x85" in str(case.get("name"))


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_well_formed_xml_and_readable_text_comes_back(text: str) -> None:
    (case,) = ET.fromstring(junit([Check("g", text, outcome=text or "x")], "t")).iter("testcase")
    if text.isprintable():
        assert case.get("name") == text
        assert (case.findtext("system-out") or "") == (text or "x")


# --- GitHub --------------------------------------------------------------------------------------


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """The workflow commands in a log, as a runner reads them: one a line, percent signs decoded."""

    def decoded(value: str) -> str:
        for character in ",:\n\r%":
            value = value.replace(f"%{ord(character):02X}", character)
        return value

    found = []
    for line in text.splitlines():
        match = re.match(r"::(\S+) (.*?)::(.*)$", line)
        if match is None:
            assert line.startswith("stablemax: "), line
            continue
        pairs = (pair.partition("=") for pair in match[2].split(","))
        found.append((match[1], {key: decoded(value) for key, _, value in pairs}, decoded(match[3])))
    return found


def annotated(checks: Iterable[Check], root: Path = Path()) -> list[tuple[str, dict[str, str], str]]:
    return commands(github(list(checks), "finding", root=root, has_summary=False))


def test_a_check_is_annotated_at_the_line_to_blame_first() -> None:
    found = commands(write(check_report(), "github"))
    assert [(name, properties) for name, properties, _ in found] == [
        ("error", {"file": "model.py", "line": "7", "title": "stablemax: verdict"}),
        ("error", {"title": "stablemax: large-logits"}),
        ("error", {"title": "stablemax: no-rows"}),
        ("error", {"title": "stablemax: law shift-invariance"}),
    ]
    assert "x = [[89.0]]\nnaive(x)" in found[0][2]
    assert found[1][2] == (
        "large-logits in bfloat16: NaN\nalso in float32\n"
        "first at row 0, class 1, logit 1000.0: gives nan where 0.25 is right"
    )


def test_what_passes_is_not_annotated_and_the_finding_is_the_last_line() -> None:
    assert write(comparison(), "github") == f"stablemax: {comparison().finding}\n"
    assert write(check_report(), "github").splitlines()[-1] == "stablemax: model.py:naive is unstable"


@pytest.mark.parametrize("count", [1, MAX_ANNOTATIONS, MAX_ANNOTATIONS + 1, 1234])
def test_at_most_ten_errors_are_annotated_and_a_notice_counts_the_others(count: int) -> None:
    found = annotated(Check("g", f"check {i}", failure="fails") for i in range(count))
    errors = [properties["title"] for name, properties, _ in found if name == "error"]
    assert errors == [f"stablemax: check {i}" for i in range(min(count, 10))]
    notices = [message for name, _, message in found if name == "notice"]
    assert notices == ([] if count <= 10 else [f"{count - 10:,} more failed: see --output-format json or junit"])


def test_a_hostile_text_stays_in_its_annotation() -> None:
    check = Check("g", HOSTILE, failure=HOSTILE, details=HOSTILE, file="a,b:c%.py", line=3)
    text = github([check], HOSTILE, root=Path(), has_summary=False)
    assert len(text.splitlines()) == 2
    ((name, properties, message),) = commands(text)
    assert (name, properties["file"], properties["line"]) == ("error", "a,b:c%.py", "3")
    assert "::error::owned" in message
    assert "\x1b" not in text
    assert "\u202e" not in text.splitlines()[-1]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\n\r\t")))
def test_what_a_runner_reads_is_what_was_written(text: str) -> None:
    ((_, properties, message),) = annotated([Check("g", text, failure=f"x{text}")])
    assert properties["title"] == f"stablemax: {text}"
    assert message == f"x{text}"


def test_files_are_named_from_the_root_and_those_outside_in_the_message_only(tmp_path: Path) -> None:
    inside, outside = tmp_path / "repo" / "src" / "model.py", tmp_path / "other.py"
    for file, named in ((inside, "src/model.py"), (outside, None)):
        check = Check("g", "n", failure="fails", file=str(file), line=9)
        ((_, properties, message),) = annotated([check], tmp_path / "repo")
        assert properties.get("file") == named
        assert properties.get("line") == (None if named is None else "9")
        assert (f"{file}:9" in message) is (named is None)


# --- the summary ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "heading"),
    [
        (comparison, "## stablemax compare\n"),
        (league, "## stablemax compare --hazards\n"),
        (check_report, "## stablemax check model.py:naive\n"),
        (lambda: judge_report(passed=False), "## stablemax judge out.npy\n"),
    ],
    ids=["comparison", "league", "check", "judge"],
)
def test_the_summary_is_appended_as_markdown(
    result: Any, heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "summary.md"
    path.write_text("earlier\n", encoding="utf-8")
    found = result()
    without_summary = write(found, "github")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    assert write(found, "github") == without_summary
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"earlier\n{heading}")
    assert found.finding in text


def test_junit_writes_no_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    write(comparison(), "junit")
    assert list(tmp_path.iterdir()) == []


def test_a_summary_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    checks = COMPARISON.checks(comparison(), frozenset())
    with pytest.raises(StablemaxError, match="the summary cannot be written") as caught:
        for_github(checks, COMPARISON.document(comparison()), {"GITHUB_STEP_SUMMARY": str(tmp_path)})
    assert "GITHUB_STEP_SUMMARY" in caught.value.hint


# --- the commands --------------------------------------------------------------------------------


def test_compare_writes_both_formats_and_fails_by_fail_on_alone() -> None:
    command = ("compare", "--preset", "notebook-c", "--operation", "softmax", "--format", "float32")
    done = run(*command, "--output-format", "junit")
    assert done.code == 0
    assert failed(parsed(done.out)) == {}
    done = run(*command, "--output-format", "junit", "--fail-on", "nan")
    assert done.code == 1
    assert "softmax/naive in float32" in failed(parsed(done.out))
    done = run(*command, "--output-format", "github", "--fail-on", "nan")
    assert done.code == 1
    assert ("error", {"title": "stablemax: softmax/naive"}) in [c[:2] for c in commands(done.out)]


@pytest.mark.slow
def test_check_and_judge_write_both_formats(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    check = ("check", "softmax/naive", "--format", "float32", "--only", "large-logits", "--no-search")
    assert "large-logits in float32" in failed(parsed(run(*check, "--output-format", "junit").out))
    done = run(*check, "--output-format", "github", GITHUB_STEP_SUMMARY=str(summary))
    assert done.code == 1
    assert [c[0] for c in commands(done.out)].count("error") >= 2
    assert summary.read_text(encoding="utf-8").startswith("## stablemax check softmax/naive\n")
    np.save(tmp_path / "x.npy", np.zeros((1, 2), np.float32))
    np.save(tmp_path / "p.npy", np.array([[0.5, 0.0]], np.float32))
    judge = ("judge", "--operation", "softmax", str(tmp_path / "x.npy"), str(tmp_path / "p.npy"))
    done = run(*judge, "--output-format", "junit")
    assert done.code == 1
    assert [kind for kind, _ in failed(parsed(done.out)).values()] == ["lost"]


@pytest.mark.parametrize("how", ["junit", "github"])
@pytest.mark.parametrize(
    "command",
    [
        ("list", "variants"),
        ("list", "hazards"),
        ("explain", "softmax/naive"),
        ("loss", "x.npy", "y.npy"),
        ("softmax", "x.npy"),
        ("grad", "x.npy", "y.npy"),
    ],
    ids=" ".join,
)
def test_what_checks_nothing_is_not_written_for_a_ci_system(command: tuple[str, ...], how: str) -> None:
    assert_refused(run(*command, "--output-format", how), f"is not written as {how}")
