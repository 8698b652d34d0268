"""`stablemax check` as it is typed: what it prints where, its exit codes, its mistakes."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from stablemax.text.outcomes import Grade

from .running import Done, assert_refused, process, run

ROOT = Path(__file__).parents[2]
SOFTMAX = str(ROOT / "samples" / "numpy_softmax.py")
LOSS = str(ROOT / "samples" / "numpy_loss.py")
MISBEHAVING = str(ROOT / "tests" / "check" / "misbehaving.py")
QUICK = ("--format", "float32", "--only", "gentle", "--only", "large-logits", "--no-search")


def check(*arguments: str, **changes: Any) -> Done:
    return run("check", *arguments, **changes)


def misbehaving(name: str, *arguments: str) -> Done:
    return check(f"{MISBEHAVING}:{name}", "--operation", "softmax", *QUICK, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "code", "grade"),
    [(f"{SOFTMAX}:good", 0, "accurate"), (f"{SOFTMAX}:unstable", 1, "unstable"), (f"{SOFTMAX}:wrong", 1, "wrong")],
    ids=["good", "unstable", "wrong"],
)
def test_the_exit_code_and_the_first_line_say_what_it_is(target: str, code: int, grade: str) -> None:
    done = check(target, "--format", "float32")
    assert done.code == code
    assert done.out.startswith(target) or grade in done.out.split(".")[1]
    assert f"is {grade}" in " ".join(done.out.split())
    assert done.err == ("" if code == 0 else f"failed: {target} is {grade}\n")


@pytest.mark.slow
def test_a_table_holds_the_hazards_that_fail_and_the_code_to_paste() -> None:
    done = check(f"{SOFTMAX}:unstable", "--format", "float32")
    assert re.search(r"^large-logits +✗ NaN$", done.out, flags=re.MULTILINE)
    assert "\n    x = np.array([[100.0]], dtype=np.float32)\n" in done.out
    assert "    def test_unstable_is_stable_at_100_in_float32() -> None:\n" in done.out
    assert "write this instead:\n\n    import numpy as np\n\n\n    def unstable(logits):\n" in done.out
    assert "gentle" not in done.out
    assert re.search(r"^gentle +✓ ok [0-9.]+ ulp$", check(f"{SOFTMAX}:unstable", *QUICK, "--details").out, re.MULTILINE)


ALL_FORMATS = (
    "--no-search",
    "--format",
    "float16",
    "--format",
    "bfloat16",
    "--format",
    "float32",
    "--format",
    "float64",
)


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "encoding"), [(60, "utf-8"), (80, "cp1252"), (200, "ascii")])
def test_no_number_is_cut_and_no_line_is_too_long(columns: int, encoding: str) -> None:
    target = f"{LOSS}:wrong_loss"
    done = check(target, *ALL_FORMATS, "--details", encoding=encoding, COLUMNS=str(columns))
    table, _, rest = done.out.partition("smallest input that breaks it")
    assert rest
    assert "…" not in done.out
    for line in table.splitlines():
        assert len(line) <= max(columns, len(target) + 40), line
    for number in re.findall(r"\d\S* \S*", table):
        assert not re.fullmatch(r"\S+ ul?", number), f"{number!r} is cut"


@pytest.mark.slow
def test_wide_formats_do_not_widen_the_table_beyond_the_terminal() -> None:
    done = check(
        f"{SOFTMAX}:unstable", "--no-search", *(f"--format={f}" for f in ("float8_e4m3fn", "float8_e5m2", "float64"))
    )
    assert max(map(len, done.out.partition("smallest")[0].splitlines())) <= max(80, len(SOFTMAX) + 40)
    assert "float8_e4m3fn" in done.out


@pytest.mark.slow
def test_nothing_is_coloured_unless_asked_for_and_then_no_word_is_lost() -> None:
    plain = check(f"{SOFTMAX}:unstable", *QUICK)
    coloured = check(f"{SOFTMAX}:unstable", *QUICK, "--color", "always")
    assert "\x1b" not in plain.out
    assert "\x1b[" in coloured.out
    without = re.sub(r"\x1b\[[0-9;]*m", "", coloured.out)
    assert [line.rstrip() for line in without.splitlines()] == plain.out.splitlines()


@pytest.mark.slow
def test_the_command_that_reproduces_it_does_so(tmp_path: Path) -> None:
    options = (
        "--format",
        "float32",
        "--max-ulp",
        "2",
        "--allow",
        "lost",
        "--only",
        "nearly-*",
        "--no-search",
        "--seed",
        "3",
    )
    done = check(f"{SOFTMAX}:good", *options, "--timeout", "5")
    (line,) = [text for text in done.out.splitlines() if text.startswith("reproduce: ")]
    command = line.removeprefix("reproduce: stablemax ").replace("'", "").split()
    assert run(*command).out == done.out


# --- JSON and the others ----------------------------------------------------------------------------

TEXT, NUMBER = {"type": "string"}, {"type": ["number", "null", "string"]}
TEXTS = {"type": "array", "items": TEXT}
ROWS = {"type": "array", "items": {"type": "array", "items": {"type": ["number", "string"]}}}
OUTCOME = {"enum": ["ok", "undefined", "input-overflow", "inaccurate", "lost", "overflow", "nan", None]}
GRADE = {"enum": [None, *(grade.value for grade in Grade)]}


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


SCHEMA = an_object(
    schema={"const": "stablemax/2"},
    kind={"const": "check"},
    versions={"type": "object", "additionalProperties": TEXT},
    target=TEXT,
    operation=TEXT,
    backend={"enum": ["numpy", "torch", "jax", "scipy", "optax"]},
    grade=GRADE,
    grades={"type": "object", "additionalProperties": GRADE},
    finding=TEXT,
    formats=TEXTS,
    hazards={
        "type": "array",
        "items": an_object(
            hazard=TEXT,
            format=TEXT,
            worst=OUTCOME,
            grade=GRADE,
            error_ulp=NUMBER,
            first_bad={
                "oneOf": [
                    {"type": "null"},
                    an_object(
                        row={"type": "integer"}, column={"type": "integer"}, logit=NUMBER, output=NUMBER, truth=NUMBER
                    ),
                ]
            },
            failed={"type": "boolean"},
            trouble=TEXT,
            skipped=TEXT,
        ),
    },
    shapes={
        "type": "array",
        "items": an_object(
            shape=TEXT,
            rows={"type": "integer"},
            classes={"type": "integer"},
            format=TEXT,
            worst=OUTCOME,
            grade=GRADE,
            error_ulp=NUMBER,
            failed={"type": "boolean"},
            trouble=TEXT,
        ),
    },
    laws={"type": "array", "items": an_object(law=TEXT, format=TEXT, failed={"type": "boolean"}, detail=TEXT)},
    counterexample={
        "oneOf": [
            {"type": "null"},
            an_object(
                format=TEXT,
                logits=ROWS,
                labels={"type": "array", "items": {"type": "integer"}},
                upstream=ROWS,
                outcome=OUTCOME,
                output=ROWS,
                truth=ROWS,
                code=TEXT,
                test=TEXT,
            ),
        ]
    },
    blame=TEXT,
    blame_file=TEXT,
    blame_line={"type": "integer"},
    mistake=TEXT,
    mistake_words=TEXT,
    cure=TEXT,
    cure_formula=TEXT,
    instead=TEXT,
    instead_why=TEXT,
    contract=an_object(max_ulp=NUMBER, allow=TEXTS, only=TEXTS, formats=TEXTS, require=GRADE),
    printed=TEXT,
    command=TEXTS,
    notes=TEXTS,
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        (f"{SOFTMAX}:good",),
        (f"{SOFTMAX}:unstable",),
        (f"{LOSS}:unstable_loss",),
        ("softmax_vjp/closed-form",),
        *(
            pytest.param((f"{MISBEHAVING}:{name}", "--operation", "softmax"), marks=pytest.mark.own_process)
            for name in ("prints", "raises", "raises_when_large")
        ),
    ],
    ids=lambda a: a[0].rpartition(":")[2],
)
def test_json_is_one_strict_document_of_the_schema_whatever_the_target_prints(arguments: tuple[str, ...]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    done = check(*arguments, *QUICK, "--output-format", "json")
    jsonschema.validate(done.json, SCHEMA)
    assert done.json["command"][:2] == ["stablemax", "check"]
    assert (done.json["grade"] in ("accurate", "stable")) is (done.code == 0)


@pytest.mark.slow
def test_the_other_output_formats_hold_a_line_for_each_hazard() -> None:
    targets = (f"{SOFTMAX}:unstable", *QUICK)
    lines = [check(*targets, "--output-format", how).out.splitlines() for how in ("ndjson", "csv", "plain")]
    assert [len(found) for found in lines] == [2, 3, 3]
    assert lines[1][0] == "hazard,format,grade,worst,failed,error_ulp,trouble,skipped"
    assert lines[1][2].startswith("large-logits,float32,unstable,nan,true,")
    markdown = check(*targets, "--output-format", "markdown").out
    assert markdown.startswith("**unstable**: ")
    assert "| large-logits | ✗ NaN |" in re.sub(r" +", " ", markdown)
    assert "```python\n" in markdown


@pytest.mark.slow
def test_the_formats_for_ci_tell_of_the_failure(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    github = check(f"{SOFTMAX}:unstable", *QUICK, "--output-format", "github", GITHUB_STEP_SUMMARY=str(summary))
    assert github.code == 1
    assert github.out.startswith("::error ")
    assert "unstable" in summary.read_text(encoding="utf-8")
    junit = check(f"{SOFTMAX}:unstable", *QUICK, "--output-format", "junit")
    assert junit.code == 1
    assert junit.out.startswith("<?xml ")
    assert "<failure" in junit.out
    assert "<failure" not in check(f"{SOFTMAX}:good", *QUICK, "--output-format", "junit").out


@pytest.mark.slow
def test_a_report_goes_whole_into_a_file(tmp_path: Path) -> None:
    done = check(f"{SOFTMAX}:unstable", *QUICK, "-o", str(tmp_path / "report.txt"))
    assert (done.code, done.out) == (1, "")
    assert "large-logits" in (tmp_path / "report.txt").read_text(encoding="utf-8")


# --- what the code does instead ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.own_process
def test_what_is_printed_is_shown_bounded_and_disarmed() -> None:
    done = misbehaving("prints")
    assert done.code == 0
    assert "it printed:\n  printed on import\n" in done.out
    assert "\x1b" not in done.out
    assert '{"not": "ours"} \\x1b[31mred' in done.out
    flood = misbehaving("prints_a_lot").out
    assert flood.count("  line\n") == 4
    assert re.search(r"^  and \d+ more lines$", flood, flags=re.MULTILINE)


@pytest.mark.slow
@pytest.mark.own_process
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("raises", "is broken: it raised ValueError: first line at misbehaving.py:"),
        ("exits", "is broken: it raised SystemExit: 3 at misbehaving.py:"),
        ("ends_the_process", "is broken: it ended its process (exit code 4)."),
        ("returns_none", "is broken: it returned None, not an array."),
        ("raises_wordless", "is broken: it raised Wordless at misbehaving.py:"),
        ("raises_when_large", "On large-logits in float32 it raised ValueError: too large at misbehaving.py:"),
        ("crashes_when_large", "On large-logits in float32 it ended its process (signal 11)."),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="processes end by signals")
def test_whatever_the_code_does_is_told_in_a_sentence_with_exit_code_1(name: str, words: str) -> None:
    done = misbehaving(name)
    assert done.code == 1
    assert words in " ".join(done.out.split())
    assert "Traceback" not in done.out + done.err


@pytest.mark.slow
@pytest.mark.own_process
def test_code_that_hangs_is_given_up_after_the_time_limit() -> None:
    done = misbehaving("hangs_when_large", "--timeout", "0.5")
    assert done.code == 1
    assert re.search(r"^large-logits +✗ hung$", done.out, flags=re.MULTILINE)
    assert "On large-logits in float32 it gave no answer within 0.5 s." in " ".join(done.out.split())


@pytest.mark.slow
@pytest.mark.own_process
@pytest.mark.skipif(os.name == "nt", reason="the code speaks to a Unix")
@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("writes_to_small_descriptors", 0),
        ("writes_to_every_descriptor", 1),
        ("closes_every_descriptor", 1),
        ("removes_one_builtin", 0),
        ("removes_all_builtins", 0),
        ("removes_what_pickling_needs", 0),
        ("empties_the_loaded_modules", 0),
        ("lowers_its_limits", 0),
    ],
)
def test_code_that_harms_its_process_is_judged_all_the_same(name: str, code: int) -> None:
    target = f"{ROOT / 'tests' / 'check' / 'hostile.py'}:{name}"
    done = check(target, "--operation", "softmax", "--format", "float32", "--only", "gentle", "--timeout", "60")
    assert done.code == code, done
    assert "Traceback" not in done.out + done.err
    assert "bug" not in done.err


@pytest.mark.slow
def test_an_interrupt_ends_it_without_a_word_and_leaves_no_process_behind() -> None:
    import signal
    import time

    from .running import start

    child = start("check", f"{MISBEHAVING}:hangs_when_large", "--operation", "softmax", *QUICK, "--timeout", "60")
    time.sleep(4)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=300)
    assert (child.returncode, out) == (130, b"")
    assert b"Traceback" not in err


# --- mistakes ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("missing argument 'TARGET'",)),
        (("absent.py:softmax",), ("absent.py: there is no such file",)),
        ((SOFTMAX,), ("which function?", f"{SOFTMAX}:good")),
        ((f"{SOFTMAX}:god",), ("has no function 'god'", "did you mean good?")),
        pytest.param(
            (f"{MISBEHAVING}:raises",),
            ("its name does not say what it computes", "--operation softmax"),
            marks=pytest.mark.own_process,
        ),
        (("softmax/naiv",), ("there is no variant", "did you mean softmax/naive?")),
        ((f"{SOFTMAX}:good", "--format", "float31"), ("float31", "did you mean float32?")),
        ((f"{SOFTMAX}:good", "--max-ulp", "-1"), ("--max-ulp -1.0 is out of range",)),
        ((f"{SOFTMAX}:good", "--max-ulp", "few"), ("few",)),
        ((f"{SOFTMAX}:good", "--allow", "all"), ("there is no outcome or law 'all'", "shift-invariance")),
        ((f"{SOFTMAX}:good", "--only", "nothing-*"), ("no hazard matches 'nothing-*'", "stablemax list hazards")),
        ((f"{SOFTMAX}:good", "--only", "weights-*"), ("no hazard of softmax matches weights-*",)),
        ((f"{LOSS}:good_loss", "--with", "more"), ("nothing is called 'more'", "soft-targets")),
        ((f"{LOSS}:good_loss", "--with", "weights"), ("has no parameter 'weight'",)),
        ((f"{SOFTMAX}:good", "--timeout", "0"), ("--timeout 0.0 is out of range",)),
        ((f"{SOFTMAX}:good", "--operation", "softmin"), ("softmin",)),
        ((f"{SOFTMAX}:good", "--backend", "tensorflow"), ("tensorflow",)),
        ((f"{SOFTMAX}:good", "--device", "cuda"), ("--device is for torch and jax",)),
        ((f"{SOFTMAX}:good", "--backward"), ("--backward needs a library with autograd",)),
        (("softmax/naive", "--operation", "logsumexp"), ("softmax/naive does not compute logsumexp",)),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_a_mistake_is_told_in_two_lines_with_exit_code_2(arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_refused(check(*arguments), *words)


def test_the_help_names_every_option_of_the_contract() -> None:
    done = check("--help")
    assert done.code == 0
    for option in (
        "--operation",
        "--backend",
        "--max-ulp",
        "--allow",
        "--only",
        "--format",
        "--with",
        "--timeout",
        "--memory",
    ):
        assert option in done.out


@pytest.mark.slow
def test_it_runs_from_any_folder_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "import numpy as np\n\ndef softmax(x):\n    return np.exp(x) / np.exp(x).sum()\n"
    )
    done = process("check", "model.py:softmax", *QUICK, cwd=tmp_path)
    assert (done.code, done.err) == (1, "failed: model.py:softmax is wrong\n")
    assert not list(tmp_path.glob("*.pyc"))
    assert sys.executable
