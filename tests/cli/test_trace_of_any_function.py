"""``stablemax trace`` of any function: --operation none, and arguments by --arg alone."""

from __future__ import annotations

import shlex
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stablemax.cli.argument_ranges import FORMS

from .running import assert_refused, process, run

CODE = """
    import numpy as np


    def norm(x):
        squares = x * x
        return x / np.sqrt(squares.sum(axis=-1, keepdims=True))


    def shifted(x, by=0.0):
        return x - by


    def shifted_mean(x, by):
        return x.mean() - by


    def picky(x, index):
        return np.log(x[index])


    def pair(x):
        return x, x.sum()


    def softmax(x):
        return np.exp(x) / np.exp(x).sum()


    def softmax_of_parts(x, parts=None):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)


    LOGS = np.array([1.0, 200.0, 3.0], dtype=np.float32)


    def of_a_global(x):
        return np.log(x * np.exp(LOGS))


    class Kept:
        def __init__(self):
            self.logs = np.array([1.0, 200.0, 3.0], dtype=np.float32)

        def __call__(self, x):
            return np.log(x * np.exp(self.logs))

        def again(self, x):
            return self(x)


    class Outer:
        def __init__(self):
            self.parts = [Kept()]

        def __call__(self, x):
            return self.parts[0](x)


    kept, outer, made = Kept(), Outer(), Kept


    def quotient(a, b, /):
        return a / b


    def any_quotient(*numbers):
        return numbers[0] / numbers[1]


    def nothing(x):
        pass


    def noisy(x):
        return x * np.random.standard_normal(x.shape)
"""


@pytest.fixture(autouse=True)
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with code and inputs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(textwrap.dedent(CODE), encoding="utf-8")
    np.save("x.npy", np.array([[1e20, 1.0], [3.0, 4.0]], dtype=np.float32))
    np.save("half.npy", np.array([1.0, 2.0], dtype=np.float16))
    np.save("index.npy", np.array([0, 2]))
    (tmp_path / "y.csv").write_text("1,2\n3,4\n", encoding="utf-8")
    return tmp_path


def found(*command: str) -> dict[str, Any]:
    """Trace, and return the document."""
    document: dict[str, Any] = run("trace", *command, "--output-format", "json").json
    return document


# --- what is traced -----------------------------------------------------------------------------------


def test_a_function_whose_name_says_no_operation_is_traced_on_its_own_arguments() -> None:
    done = run("trace", "my.py:norm", "--arg", "x=x.npy")
    assert done.code == 1
    assert "note: its name says no operation" in done.err
    assert "failed: my.py, line 6: multiply overflows for 1 of 4 cells (first: x[0, 0] = 1e+20)" in done.err
    assert "input: x float32 (2, 2)\n" in done.out
    assert "judged by exact arithmetic on the same code" in " ".join(done.out.split())
    assert done.out.splitlines()[-1] == "reproduce: stablemax trace my.py:norm --arg x=x.npy"


def test_the_cure_is_shown_with_its_pattern_and_is_in_the_document() -> None:
    shown = run("trace", "my.py:norm", "--arg", "x=x.npy").out
    line = "    return x / np.hypot.reduce(x, axis=-1, keepdims=True)"
    assert "\npattern: norm-by-squares\n" in shown
    assert f"\n    {line}\n" in shown
    trace = found("my.py:norm", "--arg", "x=x.npy")
    assert (trace["pattern"], trace["instead"].splitlines()[-1]) == ("norm-by-squares", line)


def test_the_patterns_are_listed() -> None:
    listed = run("list", "patterns", "--output-format", "json").json["patterns"]
    of_sigmoid = next(one for one in listed if one["id"] == "log-of-sigmoid")
    assert (of_sigmoid["formula"], of_sigmoid["torch"]) == ("log(sigmoid(x))", ["F.logsigmoid({x})"])


def test_gradient_points_and_forms_of_logarithms_are_listed_with_a_word_for_their_kind() -> None:
    listed = run("list", "patterns", "--output-format", "json").json["patterns"]
    kinds = [(one["id"], one["kind"]) for one in listed]
    assert len(set(kinds)) == len(kinds)
    for known in (
        ("log-of-sigmoid", "formula"), ("log-of-sigmoid", "gradient"), ("log-of-gamma", "logarithm"),
        ("in-a-wider-format", "format"), ("norm-at-zero", "gradient"), ("untaken-branch", "gradient"),
    ):  # fmt: skip
        assert known in kinds
    assert all(len(line) <= 80 for line in run("list", "patterns").out.splitlines())
    names = run("list", "patterns", "--output-format", "json").json["patterns"][0].keys()
    assert all(one.keys() == names for one in listed)


def test_operation_none_outweighs_a_name_that_says_one() -> None:
    done = run("trace", "my.py:softmax", "--operation", "none", "--arg", "x=linspace(0, 100, 3)")
    assert done.code == 1
    assert "note:" not in done.err
    assert "exp overflows for 2 of 6 cells (first: x[2] = 100.0)" in done.err


def test_a_function_with_the_name_of_an_operation_is_any_function_where_all_that_it_takes_is_given_by_name() -> None:
    done = run("trace", "my.py:softmax", "--arg", "x=linspace(0, 100, 3)")
    assert done.code == 1
    assert "note: all that it takes is given by --arg" in done.err
    assert "exp overflows for 2 of 6 cells (first: x[2] = 100.0)" in done.err


def test_arguments_beside_the_logits_leave_the_operation_as_it_is() -> None:
    done = run("trace", "my.py:softmax_of_parts", "x.npy", "--arg", "parts=x.npy")
    assert "judged as softmax" in " ".join(done.out.split())


def test_arrays_that_the_code_keeps_are_followed_and_named() -> None:
    """What is computed of them alone is no exact number."""
    for target, name in (
        ("of_a_global", "LOGS[1] = 200.0"),
        ("Kept", "its logs[1] = 200.0"),
        ("kept.again", "its logs[1]"),
        ("Kept().again", "its logs[1]"),
        ("made().again", "its logs[1]"),
        ("outer", "its parts[0].logs[1] = 200.0"),
    ):
        done = run("trace", f"my.py:{target}", "--operation", "none", "--arg", "x=uniform(1, 2, 3)")
        assert done.code == 1, target
        assert f"exp overflows for 1 of 3 cells (first: {name}" in done.err, target
        assert "where 200" in " ".join(done.out.split()), target


def test_a_name_that_an_object_lacks_is_told_with_one_that_it_has() -> None:
    assert_refused(
        run("trace", "my.py:kept.agan", "--arg", "x=x.npy"), "no function 'kept.agan'", "did you mean again?"
    )


def test_what_holds_ends_with_0() -> None:
    done = run("trace", "my.py:norm", "--arg", "x=uniform(1, 2, 2x3)")
    assert (done.code, "my.py:norm holds" in done.out) == (0, True)


def test_constants_and_integers_are_handed_on() -> None:
    assert found("my.py:shifted", "--arg", "x=uniform(0, 1, 3)", "--arg", "by=0.5")["source"] == (
        "x float32 (3,), by = 0.5"
    )
    document = found("my.py:picky", "--arg", "index=index.npy", "--arg", "x=uniform(1, 2, 3)")
    assert (document["outcome"], document["rows"], document["classes"]) == ("ok", 2, 1)


@pytest.mark.parametrize("command", ["trace", "check"])
def test_a_list_is_one_and_the_hint_that_makes_an_array_of_it_works(command: str) -> None:
    done = run(command, "my.py:norm", "--operation", "none", "--arg", "x=[[3.0, 4.5]]")
    hint = "--arg 'x=array([[3.0, 4.5]])'"
    assert_refused(done, "no argument is an array of floats", f"x is a list, as Python has it; as an array: {hint}")
    assert run("trace", "my.py:norm", *shlex.split(hint)).code == 0
    assert found("my.py:norm", *shlex.split(hint))["source"] == "x float32 (1, 2)"


def test_code_that_asks_a_list_for_what_arrays_have_is_told_so() -> None:
    done = run("trace", "my.py:shifted_mean", "--operation", "none", "--arg", "x=[1.0]", "--arg", "by=x.npy")
    assert_refused(done, "'list' object has no attribute 'mean'", "--arg 'x=array([1.0])'")


def test_numbers_of_a_typed_array_are_whole_where_none_has_a_point() -> None:
    assert found("my.py:picky", "--arg", "index=array([1, 0])", "--arg", "x=uniform(1, 2, 3)")["rows"] == 2
    assert_refused(
        run("trace", "my.py:norm", "--arg", "x=array([1, [2]])"),
        "--arg x=array([1, [2]]) is no array",
        "such as --arg 'x=array([[0, 3.5], [1, -2]])'",
    )


def test_a_table_is_an_argument_too() -> None:
    assert found("my.py:norm", "--arg", "x=y.csv")["source"] == "x float64 (2, 2)"


def test_the_item_that_is_picked_is_judged() -> None:
    assert found("my.py:pair", "--arg", "x=x.npy", "--pick", "1")["rows"] == 1
    assert_refused(run("trace", "my.py:pair", "--arg", "x=x.npy"), "returned a tuple", "--pick 0 or 1")


def test_random_numbers_of_the_code_begin_with_the_seed() -> None:
    first, again, other = (found("my.py:noisy", "--arg", "x=half.npy", "--seed", s)["lines"] for s in ("1", "1", "2"))
    assert first == again != other


@pytest.mark.slow
@pytest.mark.own_process
def test_a_process_of_its_own_gives_the_same() -> None:
    done = process("trace", "my.py:norm", "--arg", "x=x.npy")
    assert done.code == 1
    assert "line 6: multiply overflows" in done.err


# --- ranges -------------------------------------------------------------------------------------------


def test_a_range_is_drawn_in_the_format_that_is_asked_for() -> None:
    for name in ("float16", "bfloat16", "float32", "float64"):
        document = found("my.py:shifted", "--arg", "x=edge", "--format", name)
        assert (document["format"], document["source"]) == (name, f"x {name} (19,)")


def test_a_range_is_drawn_in_the_format_of_the_first_file() -> None:
    document = found("my.py:shifted", "--arg", "x=half.npy", "--arg", "by=normal(0, 1, 2)")
    assert document["source"] == "x float16 (2,), by float16 (2,)"


def test_files_are_rounded_to_the_format_that_is_asked_for() -> None:
    assert found("my.py:shifted", "--arg", "x=half.npy", "--format", "float32")["source"] == "x float32 (2,)"


def test_a_number_that_the_format_cannot_hold_is_named_as_the_inputs() -> None:
    document = found("my.py:norm", "--arg", "x=x.npy", "--format", "float16")
    assert (document["outcome"], document["blame"]) == ("undefined", None)
    assert "the input has x[0, 0] = inf" in document["finding"]


def test_the_seed_draws_other_numbers_and_the_same_seed_the_same() -> None:
    command = ("my.py:shifted", "--arg", "x=normal(0, 1, 4)", "--arg", "by=normal(0, 1, 4)")
    first, again, other = (found(*command, "--seed", seed)["lines"] for seed in ("1", "1", "2"))
    assert first == again != other
    (operation,) = first[-1]["operations"]
    assert operation["largest"] != 0, "two arguments of one range are not the same numbers"


@pytest.mark.parametrize(
    "text",
    [
        "normal(0, 1)",
        "normal(0, 1, 4x)",
        "uniform(a, 1, 4)",
        "uniform(0, nan, 4)",
        "linspace(0, 1, 2, 3)",
        "edge(4, 3)",
        "edge()",
    ],
)
def test_what_only_looks_like_a_range_is_refused_with_the_forms(text: str) -> None:
    assert_refused(run("trace", "my.py:norm", "--arg", f"x={text}"), f"--arg x={text} is not a range", FORMS)


def test_a_range_without_numbers_is_refused() -> None:
    assert_refused(run("trace", "my.py:norm", "--arg", "x=normal(0, 1, 0x3)"), "a range has 1 to")
    misspelled = run("trace", "my.py:norm", "--arg", "x=norml(0, 1, 3)")
    assert_refused(misspelled, "--arg x=norml(0, 1, 3): there is no range 'norml'", "did you mean normal?")


# --- mistakes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("trace", "my.py:softmax", "--arg", "x=0.5"), ("none is left for the logits", "--operation none")),
        (("trace", "my.py:softmax", "x.npy", "--arg", "x=x.npy"), ("none is left for the logits", "--operation none")),
        (("trace", "my.py:norm", "--arg", "y=x.npy"), ("no such parameter", "x")),
        (("trace", "my.py:picky", "--arg", "x=x.npy"), ("takes index, too", "--arg index=VALUE")),
        (("trace", "my.py:norm", "--arg", "x=0.5"), ("no argument is an array of floats", "uniform")),
        (("trace", "my.py:norm", "x.npy", "--operation", "none"), ("x.npy", "by --arg alone")),
        (("trace", "my.py:norm", "--operation", "none", "--hazard", "gentle"), ("--hazard", "by --arg alone")),
        (("trace", "my.py:norm", "--operation", "none", "--arg", "x=x.npy", "--rows", "3"), ("--rows",)),
        (("trace", "my.py:norm", "--operation", "none", "--arg", "x=x.npy", "--weight", "x.npy"), ("--weight",)),
        (("trace", "my.py:norm", "--operation", "none", "--arg", "x=x.npy", "--backward"), ("autograd",)),
        (("trace", "my.py:norm", "--operation", "none"), ("takes x, too",)),
        (("trace", "softmax/naive", "--operation", "none"), ("is a variant",)),
        (("trace", "my.py:nothing", "--arg", "x=x.npy"), ("returns NoneType, not an array of real numbers",)),
        (("trace", "my.py:norm", "--arg", "x=uniform(0, 1, 200x200)"), ("40,000 numbers", "16,384")),
        (("trace", "my.py:norm", "--arg", "x=x.npy", "--format", "tf32"), ("not traced in tf32",)),
        (
            ("report", "x.npy", "--target", "my.py:norm", "--operation", "none"),
            ("only stablemax trace and stablemax check take any function",),
        ),
        (("trace", "my.py:norm", "--operation", "non"), ("there is no operation 'non'", "did you mean none?")),
        (("trace", "my.py:norm", "--operation", "nine"), ("nine",)),
    ],
    ids=lambda one: " ".join(one[1:]) if isinstance(one, tuple) else "",
)
def test_a_mistake_is_told_in_two_lines(command: tuple[str, ...], words: tuple[str, ...]) -> None:
    assert_refused(run(*command), *words)


def test_arguments_without_a_name_are_passed_in_their_order() -> None:
    for function in ("quotient", "any_quotient"):
        done = run("trace", f"my.py:{function}", "--arg", "a=linspace(1, 2, 2)", "--arg", "b=linspace(0, 1, 2)")
        assert done.code == 1
        assert "divide 1 / 0 is infinite" in done.err
