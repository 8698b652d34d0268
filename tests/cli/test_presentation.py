"""Colours, widths and encodings: what a user sees is whole, whatever the terminal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from stablemax.render.writers import WRITERS

from .running import process, run

if TYPE_CHECKING:
    from pathlib import Path

    from syrupy.assertion import SnapshotAssertion

ANSI = re.compile(r"\x1b\[[0-9;]*m")
ULP = re.compile(r"(?<![\w.])[\d.]+(e\d+)?(?= ulp)")
BROKEN = (
    "compare",
    "--preset",
    "notebook-b",
    "--operation",
    "softmax",
    "--variant",
    "naive",
    "--variant",
    "shifted",
)
WIDE = ("compare", "--scale", "1e5", "--operation", "cross_entropy", "--operation", "cross_entropy_grad")
LISTS = [
    ("list", "variants"),
    ("list", "formats"),
    ("list", "presets"),
    ("explain", "softmax/shifted"),
    ("explain", "cross_entropy/clipped"),
]


def masked(text: str) -> str:
    """Hide the ulps, which differ with the CPU's exp and log; a 0 stays."""
    return ULP.sub(lambda m: "#" * len(m[0]) if float(m[0]) else m[0], text)


# --- how it looks -------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("options", [(), ("--details",), ("--show-values", "2")], ids=["table", "details", "values"])
def test_a_comparison_looks_like_this(columns: int, options: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    done = run(*BROKEN, *options, COLUMNS=str(columns))
    assert (done.code, done.err) == (0, "")
    assert masked(done.out) == snapshot


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_a_list_or_an_explanation_looks_like_this(
    command: tuple[str, ...], columns: int, snapshot: SnapshotAssertion
) -> None:
    done = run(*command, COLUMNS=str(columns))
    assert (done.code, done.err) == (0, "")
    # The digits that an example gives are those of this CPU; the exact ones beside them are not.
    assert re.sub(r"(?m)^  gives .*$", "  gives ...", done.out) == snapshot


@pytest.mark.parametrize("command", ["", "compare", "loss", "softmax", "grad", "generate", "explain", "list"])
def test_the_help_names_every_option_and_has_no_double_brackets(command: str) -> None:
    done = run(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: stablemax {command}".rstrip())
    assert "[[" not in done.out
    if command:
        assert "--output-format" in done.out or command == "generate"


@pytest.mark.parametrize(
    "command",
    [
        "loss x.npy y.npy", "softmax x.npy", "logsumexp x.npy", "grad x.npy y.npy", "explain softmax/naive",
        "list formats", "inspect x.npy", "compare --preset notebook-c --operation softmax --format float32",
    ],
)  # fmt: skip
def test_the_help_lists_the_output_formats_that_are_taken_and_no_others(command: str, here: Path) -> None:
    page = " ".join(run(command.split(maxsplit=1)[0], "--help").out.split())
    listed = re.search(r"--output-format FORMAT .*? Formats: ([a-z, ]+)\.", page)
    assert listed is not None
    done = {how: run(*command.split(), "--output-format", how, "-q") for how in WRITERS}
    taken = {how for how in done if done[how].code != 2 or f"{how} is for files" in done[how].err}
    assert set(listed[1].split(", ")) == taken


# --- widths -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 80, 120, 200])
@pytest.mark.parametrize("command", [WIDE, (*BROKEN, "--details", "--show-values", "3"), *LISTS], ids=" ".join)
def test_nothing_is_cut_at_any_width(command: tuple[str, ...], columns: int) -> None:
    narrow, broad = (run(*command, COLUMNS=str(c)).out for c in (columns, 1000))
    assert "…" not in narrow
    assert "..." not in narrow
    if command[0] == "explain":
        assert "".join(narrow.split()) == "".join(broad.split())
    # Headers may turn into titles or be repeated, but every number stays in one piece; a narrow cell has no share
    # where that is all, and none of rows.
    shares = {figure for figure in figures(broad) if figure.endswith("%")} if command[0] == "compare" else set()
    assert not set(figures(broad)) - shares - set(figures(narrow))
    if columns >= 40:
        # A line to copy is never wrapped: a command, or code.
        copied = ("reproduce:", "        ", "    stablemax ")
        long = [line for line in narrow.splitlines() if len(line) > columns and not line.startswith(copied)]
        assert not [line for line in long if not any(len(w) + 2 > columns for w in line.split())]


def figures(text: str) -> list[str]:
    return [w.strip("(),.;:") for w in text.split() if any(c.isdigit() for c in w) and "://" not in w]


def test_a_line_to_copy_is_one_line_at_any_width() -> None:
    lines = run(*WIDE, COLUMNS="40").out.splitlines()
    (line,) = [t for t in lines if t.startswith("reproduce: ")]
    assert line.endswith("--operation cross_entropy_grad")


def test_without_a_terminal_the_width_is_80(here: Path) -> None:
    assert run(*WIDE).out == run(*WIDE, COLUMNS="80").out
    assert run(*WIDE, COLUMNS="nonsense").out == run(*WIDE, COLUMNS="80").out


# --- colours ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "environment", "colored"),
    [
        ("auto", {}, False),
        ("auto", {"FORCE_COLOR": "1"}, True),
        ("auto", {"FORCE_COLOR": "0"}, False),
        ("auto", {"FORCE_COLOR": ""}, False),
        ("auto", {"CLICOLOR_FORCE": "1"}, True),
        ("auto", {"CLICOLOR": "1"}, False),
        ("auto", {"CLICOLOR_FORCE": "1", "CLICOLOR": "0"}, True),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": ""}, True),
        ("auto", {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        ("auto", {"GITHUB_ACTIONS": "true"}, False),
        ("always", {}, True),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
    ],
    ids=str,
)
def test_the_option_then_the_environment_then_the_terminal_decides_on_colour(
    option: str, environment: dict[str, Any], colored: bool
) -> None:
    for command in (BROKEN, ("explain", "softmax/naive")):
        assert bool(ANSI.search(run(*command, "--color", option, **environment).out)) is colored


def test_colour_changes_nothing_but_the_colour() -> None:
    colored = run(*BROKEN, "--color", "always").out
    plain = [line.rstrip() for line in ANSI.sub("", colored).splitlines()]
    assert plain == run(*BROKEN, "--color", "never").out.splitlines()
    assert re.search(r"\x1b\[1;31m✗ NaN", colored), "NaN is not in bold red"


@pytest.mark.slow
def test_github_actions_puts_no_colour_into_piped_help_or_errors() -> None:
    for command in (("--help",), ("compare", "--help"), ("compare", "--nope"), BROKEN):
        done = process(*command, env={"GITHUB_ACTIONS": "true"})
        assert not ANSI.search(done.out + done.err)


# --- encodings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437"])
@pytest.mark.parametrize("how", ["table", "plain", "json", "ndjson", "csv", "markdown"])
def test_an_encoding_without_check_marks_gets_ascii(encoding: str, how: str) -> None:
    done = run(*BROKEN, "--output-format", how, encoding=encoding)
    assert (done.code, done.err) == (0, "")
    assert done.out.isascii()
    if how == "table":
        assert "x NaN" in done.out
        assert "+ right" in done.out
        assert "?" not in done.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
def test_a_real_process_without_utf_8_gets_ascii(environment: dict[str, str]) -> None:
    for command in (BROKEN, ("list", "variants"), ("explain", "softmax/online"), ("compare", "--help")):
        done = process(*command, env=environment)
        assert (done.code, done.err) == (0, "")
        assert done.out.isascii()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_error_about_a_name_that_the_encoding_lacks_is_told(encoding: str) -> None:
    done = run("loss", "日本✓.npy", "y.npy", encoding=encoding)
    assert done.code == 2
    assert "\\u65e5\\u672c\\u2713.npy: no such file" in done.err
