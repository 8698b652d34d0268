"""The output formats: one record each, and nowhere else a word of them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import stablemax
from stablemax.cli.app import build
from stablemax.render.array_text import ARRAY
from stablemax.render.benches import BENCHMARK
from stablemax.render.checks import CHECK
from stablemax.render.comparisons import COMPARISON
from stablemax.render.explanations import EXPLANATION
from stablemax.render.forms import Form, Page, ResultKind
from stablemax.render.function_checks import FUNCTION_CHECK
from stablemax.render.in_turn import in_turn
from stablemax.render.inspections import INSPECTION
from stablemax.render.judgements import JUDGEMENT
from stablemax.render.leagues import LEAGUE
from stablemax.render.lessons import EXERCISE, LESSON, LESSONS
from stablemax.render.listings import listing_kind
from stablemax.render.losses import LOSS
from stablemax.render.sweeps import SWEEP
from stablemax.render.tolerance_tables import TOLERANCE
from stablemax.render.traces import TRACE
from stablemax.render.watches import WATCH
from stablemax.render.writers import WRITERS, Writer, chosen, formats_of
from stablemax.text.errors import StablemaxError

from ..cli.running import assert_refused, run
from ..plugging import plug_in

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(stablemax.__file__).parent
KINDS = (
    *(COMPARISON, LEAGUE, CHECK, JUDGEMENT, TRACE, INSPECTION, BENCHMARK, EXPLANATION, LOSS, ARRAY, SWEEP, TOLERANCE),
    WATCH,
    *(listing_kind("variants"), LESSON, LESSONS, EXERCISE, FUNCTION_CHECK),
    *(in_turn(kind) for kind in (CHECK, FUNCTION_CHECK, TRACE)),
)
# Each command that writes a result, as it is run on small inputs; not `watch`, whose standard output is the program's.
COMMANDS = (
    ("compare", "--preset", "notebook-c", "--operation", "logsumexp", "--format", "float32"),
    ("compare", "--hazards", "--operation", "logsumexp", "--variant", "wide", "--format", "float32"),
    ("check", "softmax/wide", "--format", "float32", "--only", "gentle", "--no-search"),
    ("judge", "--operation", "softmax", "x.npy", "p.npy"),
    ("trace", "softmax/shifted", "x.npy"),
    ("inspect", "x.npy", "--format", "float32"),
    ("bench", "--shape", "3x5", "--peer", "numpy", "--threads", "1", "--repeat", "1", "--operation", "softmax"),
    ("sweep", "--variant", "softmax/shifted", "--format", "float16", "--steps", "2"),
    ("tolerance", "softmax", "--classes", "4"),
    ("explain", "softmax/naive"),
    *(("list", what) for what in ("variants", "formats", "presets", "hazards")),
    ("lesson",),
    ("lesson", "jacobian"),
    ("loss", "x.npy", "y.npy"),
    ("softmax", "x.npy"),
    ("log-softmax", "x.npy"),
    ("logsumexp", "x.npy"),
    ("grad", "x.npy", "y.npy"),
)
EACH = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    build()  # what each command's help says is settled when it is first imported
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((2, 4), np.float32))
    np.save("p.npy", np.full((2, 4), 0.25, np.float32))
    np.save("y.npy", np.array([0, 3]))
    return tmp_path


def _latex(kind: ResultKind, result: Any, page: Page) -> Iterator[str]:
    yield f"\\kind{{{kind.kind}}}\n"


def _document_words(kind: ResultKind, result: Any, page: Page) -> Iterator[str]:
    yield f"\\blocks{{{sum(map(len, kind.document(result, **page.options)))}}}\n"


# --- what is declared ----------------------------------------------------------------------------


def test_the_formats_are_those_of_the_readme_in_their_order() -> None:
    names = [
        "table",
        "plain",
        "json",
        "ndjson",
        "csv",
        "markdown",
        "junit",
        "github",
        "svg",
        "html",
        "png",
        "pdf",
        "notebook",
    ]
    assert list(WRITERS) == names
    assert all(name == writer.name for name, writer in WRITERS.items())


def test_no_two_writers_have_the_same_ending() -> None:
    endings = [ending for writer in WRITERS.values() for ending in writer.endings]
    assert len(endings) == len(set(endings))
    assert all(ending.startswith(".") and ending == ending.lower() for ending in endings)


def test_the_names_are_known_without_numpy_and_without_rich() -> None:
    heavy = {"numpy", "rich", "typer", "flint", "ml_dtypes", "json", "csv"}
    code = f"import sys; from stablemax.render.writers import WRITERS; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stderr, done.stdout.strip()) == ("", "[]")


KIND_MODULES = (
    *("comparisons", "leagues", "checks", "judgements", "traces", "inspections", "benches"),
    *("explanations", "lessons", "listings", "losses", "array_text", "tolerance_tables", "watches"),
)


@pytest.mark.slow
@pytest.mark.parametrize("module", KIND_MODULES)
def test_what_a_result_is_written_in_is_known_without_numpy_and_without_rich(module: str) -> None:
    code = f"import sys, stablemax.render.{module}; print(sorted({{'numpy', 'rich', 'flint'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert (done.stderr, done.stdout.strip()) == ("", "[]")


def test_every_kind_of_result_has_json_and_one_form_for_each_format_it_is_written_in() -> None:
    for kind in KINDS:
        assert "json" in formats_of(kind)
        for name in formats_of(kind):
            assert any(kind.has(form) for form in WRITERS[name].forms)
        for name in set(WRITERS) - set(formats_of(kind)):
            assert not any(kind.has(form) for form in WRITERS[name].forms)


# --- nothing is replaced -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_format_that_a_result_has_no_form_for_is_refused_by_name(kind: ResultKind) -> None:
    for name in set(WRITERS) - set(formats_of(kind)):
        with pytest.raises(StablemaxError, match=f"{kind.name} is not written as {name}") as caught:
            chosen(kind, name, None, "json")
        assert caught.value.hint == f"--output-format {', '.join(formats_of(kind))}"


@pytest.mark.slow
@EACH
def test_a_new_format_is_written_by_every_command(
    command: tuple[str, ...], desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, Writer("latex", (Form.CONTENT,), _latex, (".tex",)))
    done = run(*command, "--output-format", "latex", "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("\\kind{")
    if command[0] not in ("softmax", "log-softmax", "logsumexp", "grad"):  # whose files are .npy, .csv or .tsv
        assert run(*command, "-o", "result.tex", "-q").code == 0
        assert (desk / "result.tex").read_text() == done.out


@pytest.mark.slow
@EACH
def test_a_new_format_of_documents_is_written_or_refused_by_name(
    command: tuple[str, ...], desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in(monkeypatch, Writer("latex", (Form.DOCUMENT,), _document_words))
    done = run(*command, "--output-format", "latex", "-q")
    if command[0] in ("softmax", "log-softmax", "logsumexp", "grad"):
        assert_refused(done, "an array is not written as latex", "--output-format plain, json, ndjson, csv")
    else:
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith("\\blocks{")


@EACH
def test_a_format_that_there_is_not_is_refused_with_the_nearest(command: tuple[str, ...], desk: Path) -> None:
    assert_refused(
        run(*command, "--output-format", "jsn"),
        "no format 'jsn'",
        "did you mean json?",
        "markdown" if command[0] == "explain" or command[:2] == ("lesson", "jacobian") else "ndjson",
    )
    assert_refused(run(*command, "--output-format", "latex"), "no format 'latex'", "one of: ")


# --- and nobody asks which format it is ----------------------------------------------------------


def compared_formats(tree: ast.Module) -> list[int]:
    """Lines that ask for an output format: `== "json"`, `is OutputFormat.JSON`, `in ("csv", ...)`."""

    def names(node: ast.AST) -> Iterator[str]:
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                yield part.attr.lower() if part.value.id == "OutputFormat" else ""

    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, (ast.Compare, ast.MatchValue)) and set(names(node)) & set(WRITERS)
    ]


MODULES = sorted(path for room in ("render", "cli") for path in (PACKAGE / room).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_module_asks_which_output_format_it_is(path: Path) -> None:
    assert compared_formats(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("text", ['f == "json"', "f is OutputFormat.CSV", 'f in ("plain", "table")', "f != 'github'"])
def test_the_question_would_be_seen(text: str) -> None:
    assert compared_formats(ast.parse(text)) == [1]
    assert compared_formats(ast.parse("match f:\n    case 'csv': pass")) == [2]
    assert compared_formats(ast.parse('f = WRITERS["json"]; f == g')) == []
