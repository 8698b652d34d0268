"""What a user can do wrong: each is told in two lines on standard error, with exit code 2."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np
import pytest

from .running import assert_refused, run

if TYPE_CHECKING:
    from pathlib import Path

# A command, and words that the two lines must contain.
MISTAKES = [
    ("loss missing.npy y.npy", "missing.npy", "no such file"),
    ("loss . y.npy", "is a directory"),
    ("loss x.npy", "needs labels", "--label-column"),
    ("grad x.npy", "needs labels"),
    ("loss x.npy out-of-range.npy", "out-of-range.npy: row 4: label 4 is out of range for 4 classes", "0 to 3"),
    ("loss y.npy x.npy", "swapped", "logits first"),
    ("loss x.npy three-weights.npy", "3 labels for 6 rows"),
    ("loss - -", "standard input"),
    ("softmax - --input-format npy", "standard input: is empty"),
    ("loss x.npy y.npy extra", "3 files are named: which of them hold labels?"),
    ("loss x.npy -1", "-1"),
    ("loss x.npy -- -1", "-1: no such file"),
    ("loss x.npy y.npy --label-column 0", "twice"),
    # variants
    ("loss x.npy y.npy --variant shfted", "'cross_entropy/shfted'", "did you mean cross_entropy/shifted?"),
    ("loss x.npy y.npy --variant softmax/naive", "softmax/naive does not compute cross_entropy"),
    ("softmax x.npy --variant log_softmax/naive", "does not compute softmax"),
    ("explain softmax/shiftd", "did you mean softmax/shifted?"),
    ("explain naiv", "'naiv'", "did you mean naive?"),
    ("compare --variant nope", "nope", "list variants"),
    ("compare --operation softmax --variant log_softmax/*", "log_softmax/*"),
    ("compare x.npy --operation cross_entropy", "cross_entropy needs labels"),
    ("compare x.npy ignored.npy --operation cross_entropy", "every judged row is ignored"),
    # words
    ("compare --fail-on bogus", "'bogus'", "nan, overflow, lost, inaccurate"),
    ("compare --fail-on nan,,lost", "''"),
    ("compare --fail-on=", "''"),
    ("compare --format float33", "float33", "bfloat16"),
    ("compare --operation softmx", "softmx", "log_softmax"),
    ("compare --accumulate fast", "fast", "pairwise"),
    ("compare --color pink", "pink", "never"),
    ("compare --output-format yaml", "yaml", "ndjson"),
    ("compare --preset nope", "'nope'", "notebook-a"),
    ("compare --reduction none", "mean or sum"),
    ("list things", "things", "variants"),
    ("nope", "nope"),
    ("compare --frmat float32", "--frmat", "--format"),
    ("compare --preset", "--preset"),
    # numbers
    *((f"compare --judge={n}", f"--judge {n}", "all") for n in ("0", "-1", "abc", "1.5", "1e3", "")),
    *((f"compare --max-ulp={n}", "--max-ulp", "0 or more") for n in ("nan", "-1")),
    *((f"compare --scale={n}", "--scale", "finite") for n in ("nan", "inf", "-1", "1e400", "-inf")),
    *((f"compare --offset={n}", "--offset", "finite") for n in ("nan", "inf", "-1e400")),
    *((f"compare --rows={n}", "--rows") for n in ("0", "-5", "1000000000000", "x", "1.5")),
    *((f"compare --classes={n}", "--classes") for n in ("0", "1000000000000")),
    ("compare --rows 100000 --classes 100000", "--rows times --classes", "at most"),
    ("compare --scale 1.7e308 --offset 1e308", "beyond float64"),
    ("compare --seed=-1", "--seed -1"),
    ("compare --show-values=-1", "--show-values -1"),
    *((f"loss x.npy y.npy --label-smoothing={n}", "--label-smoothing", "from 0 to 1") for n in ("2", "-0.1", "nan")),
    ("loss x.npy y.npy --max-loss nan", "--max-loss nan"),
    ("loss x.npy y.npy --axis 7", "--axis 7", "0 to 1"),
    ("loss x.npy y.npy --weight three-weights.npy", "does not fit 4 classes"),
    ("loss x.npy y.npy --weight negative-weights.npy", "-1.0 of class 3"),
    ("loss x.npy y.npy --weight x.npy", "x.npy", "not a vector of weights"),
    ("loss x.npy y.npy --weight missing.npy", "missing.npy: no such file"),
    # what does not go together
    ("compare x.npy --scale 3", "--scale", "file"),
    ("compare x.npy --preset notebook-a", "--preset", "file"),
    ("compare x.npy --seed 1", "--seed", "file"),
    ("compare --preset notebook-a --scale 3", "--scale", "--preset"),
    ("compare --preset notebook-a --axis 0", "--axis"),
    ("compare --label-column 2", "--label-column"),
    ("list formats softmax", "softmax"),
    # outputs
    ("softmax x.npy -o p.txt", ".npy, .csv or .tsv"),
    ("softmax x.npy -o missing/p.npy", "missing/p.npy: cannot be written"),
    ("softmax x.npy -o x.npy", "x.npy: is an input, too", "another name"),
    ("softmax x.npy --output-format markdown", "markdown"),
    ("explain softmax/naive --output-format csv", "csv"),
    ("generate", "-o logits.npy"),
    ("generate -o missing/g.npy", "cannot be written"),
    ("loss x.npy y.npy -o missing/l.txt", "cannot be written"),
    ("loss x.npy y.npy -o .", "is a folder"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("command", "words"), [(c, w) for c, *w in MISTAKES], ids=[c for c, *_ in MISTAKES])
def test_a_mistake_is_told_in_two_lines(command: str, words: list[str], here: Path) -> None:
    before = sorted(p.name for p in here.iterdir())
    assert_refused(run(*shlex.split(command)), *words)
    assert sorted(p.name for p in here.iterdir()) == before


@pytest.mark.parametrize(
    "command", ["compare --format float33", "compare --show-values x", "compare --scale abc", "list things"]
)
def test_no_word_of_the_libraries_underneath_reaches_a_user(command: str) -> None:
    text = run(*command.split()).err.lower()
    assert not [
        word for word in ("value error", "pydantic", "traceback", "typer", "click", "input should be") if word in text
    ]


def test_a_size_that_is_too_large_is_not_told_that_it_is_too_small() -> None:
    done = run("compare", "--rows", str(10**12))
    assert "at least 1" not in done.err
    assert "at most" in done.err


def test_weights_are_named_by_their_file(here: Path) -> None:
    assert "three-weights.npy" in run("loss", "x.npy", "y.npy", "--weight", "three-weights.npy").err


def test_without_arguments_the_help_is_shown_as_help() -> None:
    done = run()
    assert done.code == 2
    text = done.out + done.err
    assert text.startswith("Usage: stablemax")
    assert text.count("\n") > 10


@pytest.mark.parametrize(
    "name",
    ["[red]x[/red].npy", "esc\x1b[31m.npy", "new\nline.npy", "bell\x07.npy", "\u202eright.npy", "x" * 3000],
)
def test_a_missing_file_with_a_hostile_name_is_told_in_two_printable_lines(name: str, desk: Path) -> None:
    done = run("loss", name, "y.npy")
    assert_refused(done)
    assert all(c.isprintable() for c in done.err.replace("\n", ""))
    if name.startswith("["):
        assert "[red]x[/red].npy: no file has such a name" in done.err


@pytest.mark.parametrize("what", ["truncated", "garbage", "empty"])
def test_a_damaged_file_is_refused(what: str, desk: Path) -> None:
    whole = (desk / "x.npy").read_bytes()
    (desk / "bad.npy").write_bytes({"truncated": whole[:-8], "garbage": b"\x00\xffgarbage", "empty": b""}[what])
    assert_refused(run("softmax", "bad.npy"), "bad.npy")


@pytest.mark.parametrize(("text", "words"), [
    ("1,2\n3\n", ["row"]), ("1,2\nx,3\n4,5\n", ["x"]), ("a,b\n", ["no rows"]), ("1,\n2,3\n", ["column"]),
])  # fmt: skip
def test_a_broken_table_is_refused_with_its_place(text: str, words: list[str], desk: Path) -> None:
    (desk / "t.csv").write_text(text)
    assert_refused(run("softmax", "t.csv"), "t.csv", *words)


def test_object_arrays_are_refused_without_a_word_about_unpickling(desk: Path) -> None:
    np.save("o.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    done = run("softmax", "o.npy")
    assert_refused(done, "o.npy")
    assert "allow_pickle" not in done.err
