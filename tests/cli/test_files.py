"""Files that commands write: whole or not at all, and never over another one unasked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .running import assert_refused, run, strict_json

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def files(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


@pytest.mark.parametrize(
    "command",
    [
        ("loss", "x.npy", "y.npy"),
        ("compare", "x.npy", "--operation", "logsumexp", "--format", "float32"),
        ("explain", "softmax/naive"),
        ("list", "formats"),
        ("loss", "x.npy", "y.npy", "--output-format", "json"),
    ],
    ids=" ".join,
)
def test_o_writes_a_report_to_a_file_and_nothing_to_standard_output(command: tuple[str, ...], desk: Path) -> None:
    printed = run(*command)
    done = run(*command, "-o", "report.txt")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (desk / "report.txt").read_bytes().decode("utf-8") == printed.out


def test_a_file_is_in_utf_8_without_colour_whatever_the_terminal(desk: Path) -> None:
    done = run("compare", "--preset", "notebook-c", "--operation", "softmax", "-o", "r.txt", encoding="ascii")
    assert done.code == 0
    text = (desk / "r.txt").read_bytes().decode("utf-8")
    assert "✗ NaN" in text
    assert "\x1b" not in text


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".npy", ".csv", ".tsv", ".NPY"])
@pytest.mark.parametrize("command", ["softmax", "log-softmax", "logsumexp", "grad"])
def test_arrays_are_written_and_read_back(command: str, suffix: str, desk: Path) -> None:
    labels = ["y.npy"] if command == "grad" else []
    assert run(command, "x.npy", *labels, "-o", f"a{suffix}").code == 0
    assert run(command, "x.npy", *labels, "-o", "b.npy").code == 0
    expected = np.load("b.npy")
    if suffix.lower() == ".npy":
        found = np.load(f"a{suffix}")
    else:
        found = np.loadtxt(f"a{suffix}", delimiter="," if suffix == ".csv" else "\t")
    assert (found == expected).all()
    # What one command writes the next one reads.
    assert run("softmax", f"a{suffix}").code == 0


def test_a_file_that_is_there_is_kept_and_force_replaces_it(desk: Path) -> None:
    Path("p.npy").write_bytes(b"precious")
    assert_refused(run("softmax", "x.npy", "-o", "p.npy"), "p.npy: exists", "--force")
    assert Path("p.npy").read_bytes() == b"precious"
    assert run("softmax", "x.npy", "-o", "p.npy", "--force").code == 0
    assert np.load("p.npy").shape == (3, 4)


def test_a_refusal_comes_before_the_work(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_late(*_: Any, **__: Any) -> None:
        pytest.fail("the work was begun")

    monkeypatch.setattr("stablemax.compute.arrays.compute", too_late)
    Path("p.npy").touch()
    assert_refused(run("softmax", "x.npy", "-o", "p.npy"), "exists")
    assert_refused(run("softmax", "x.npy", "-o", "p.xlsx"), ".npy, .csv or .tsv")
    assert_refused(run("softmax", "x.npy", "--output-format", "table"), "table")


@pytest.mark.parametrize("existing", [True, False])
def test_a_write_that_fails_leaves_nothing_and_keeps_the_old(
    existing: bool, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if existing:
        Path("p.npy").write_bytes(b"precious")
    before = files(desk)

    def full(place: Any, *_: Any, **__: Any) -> None:
        place.stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stablemax.compute.sinks.move", full)
    assert_refused(run("softmax", "x.npy", "-o", "p.npy", "--force"), "p.npy: cannot be written", "No space left")
    assert files(desk) == before
    if existing:
        assert Path("p.npy").read_bytes() == b"precious"


@FULL
@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
def test_a_device_is_no_place_for_a_report(device: str, desk: Path) -> None:
    assert_refused(run("loss", "x.npy", "y.npy", "-o", device), f"{device}: is not a regular file")
    assert Path(device).is_char_device()


CODE = "import numpy as np\ndef softmax(x):\n    e = np.exp(x)\n    return e / e.sum(-1, keepdims=True)\n"


@pytest.fixture
def inputs(desk: Path) -> Path:
    """Put a file of every kind on the desk."""
    np.save("w.npy", np.ones(4))
    np.savez("both.npz", x=np.load("x.npy"))
    Path("x.csv").write_text("a,b,label\n1,2,0\n3,4,1\n")
    Path("code.py").write_text(CODE)
    Path("link.npy").symlink_to("x.npy")
    Path("hard.npy").hardlink_to("x.npy")
    return desk


@pytest.mark.skipif(sys.platform == "win32", reason="links")
@pytest.mark.parametrize(
    ("command", "output"),
    [
        (("loss", "x.npy", "y.npy"), "x.npy"),
        (("loss", "x.npy", "y.npy"), "./y.npy"),
        (("loss", "x.npy", "y.npy"), "link.npy"),
        (("loss", "x.npy", "y.npy"), "hard.npy"),
        (("loss", "link.npy", "y.npy"), "x.npy"),
        (("loss", "x.npy", "y.npy", "--weight", "w.npy"), "w.npy"),
        (("loss", "x.npy", "--labels", "y.npy"), "y.npy"),
        (("loss", "x.csv", "--label-column", "label"), "x.csv"),
        (("loss", "both.npz:x", "y.npy"), "both.npz"),
        (("inspect", "[wxy].npy"), "x.npy"),
        (("compare", "x.npy", "y.npy"), "y.npy"),
        (("compare", "x.npy", "y.npy", "--output-format", "junit"), "y.npy"),
        (("judge", "--operation", "softmax", "x.npy", "hard.npy"), "hard.npy"),
        (("judge", "--operation", "cross_entropy", "x.npy", "y.npy", "y.npy", "--weight", "w.npy"), "w.npy"),
        (("judge", "--operation", "softmax_vjp", "x.npy", "x.npy", "--upstream", "w.npy"), "w.npy"),
        (("check", "code.py:softmax"), "code.py"),
        (("check", "code:softmax"), "code.py"),
        (("trace", "code.py:softmax", "x.npy"), "code.py"),
        (("trace", "code.py:softmax", "x.npy", "y.npy"), "y.npy"),
        (("softmax", "x.npy", "--force"), "x.npy"),
        (("softmax", "x.npy"), "link.npy"),
        (("logsumexp", "x.csv", "--force"), "x.csv"),
        (("grad", "x.npy", "y.npy", "--force"), "y.npy"),
        (("grad", "x.npy", "y.npy", "--weight", "w.npy", "--force"), "w.npy"),
    ],
    ids=str,
)
def test_an_output_never_replaces_what_is_read(command: tuple[str, ...], output: str, inputs: Path) -> None:
    before = {p: p.read_bytes() for p in inputs.iterdir()}
    assert_refused(run(*command, "-o", output), f"error: {output}: is an input, too\nhint: give -o another name\n")
    assert {p: p.read_bytes() for p in inputs.iterdir()} == before


def test_an_input_with_an_address_of_this_machine_is_not_replaced_either(desk: Path) -> None:
    address = (desk / "x.npy").as_uri()
    assert_refused(run("loss", address, "y.npy", "-o", "x.npy"), "x.npy: is an input, too")


def test_an_older_report_is_replaced(desk: Path) -> None:
    Path("report.txt").write_text("old")
    assert run("loss", "x.npy", "y.npy", "-o", "report.txt").code == 0
    assert Path("report.txt").read_text() == run("loss", "x.npy", "y.npy").out


@pytest.mark.parametrize(
    "command", [("loss", "x.npy", "y.npy"), ("softmax", "x.npy"), ("list", "formats"), ("compare", "x.npy")], ids=str
)
def test_a_dash_and_an_address_are_no_files_to_write(command: tuple[str, ...], desk: Path) -> None:
    before = files(desk)
    assert_refused(run(*command, "-o", "-"), "-o -", "leave -o out to write to standard output")
    for address in ("memory://out.npy", "s3://bucket/y.npy"):
        assert_refused(run(*command, "-o", address), f"{address}: addresses are read, not written", "with -o")
    assert files(desk) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "how"),
    [
        *(("json", "json"), ("JSON", "json"), ("ndjson", "ndjson"), ("jsonl", "ndjson"), ("csv", "csv")),
        *(("md", "markdown"), ("txt", "table"), ("tsv", "plain")),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("loss", "x.npy", "y.npy"),
        ("inspect", "x.npy", "--format", "float32"),
        ("compare", "x.npy", "--operation", "logsumexp", "--format", "float32"),
        ("judge", "--operation", "softmax", "x.npy", "p.npy"),
        ("trace", "softmax/naive", "x.npy"),
        ("list", "formats"),
    ],
    ids=lambda command: command[0],
)
def test_the_ending_of_o_says_how_a_report_is_written(
    command: tuple[str, ...], ending: str, how: str, desk: Path
) -> None:
    assert run("softmax", "x.npy", "-o", "p.npy").code == 0
    expected = run(*command, "--output-format", how, "-o", "expected.txt")
    done = run(*command, "-o", f"report.{ending}")
    assert (done.code, done.out) == (expected.code, "")
    assert Path(f"report.{ending}").read_bytes() == Path("expected.txt").read_bytes()


@pytest.mark.slow
def test_the_ending_of_o_says_so_for_checks_and_explanations_too(desk: Path) -> None:
    assert run("check", "softmax/wide", "--format", "float32", "--no-search", "-o", "check.json").code == 0
    assert strict_json(Path("check.json").read_text("utf-8"))
    assert run("explain", "softmax/wide", "-o", "e.md").code == 0
    assert Path("e.md").read_text("utf-8") == run("explain", "softmax/wide", "--output-format", "markdown").out
    assert_refused(run("explain", "softmax/wide", "-o", "e.csv"), "csv", "--output-format table")
    assert run("explain", "softmax/wide", "-o", "e.csv", "--output-format", "table").code == 0


@pytest.mark.parametrize("ending", [".xml", ".npy", ".gif", ".2024"])
@pytest.mark.parametrize(
    "command", [("loss", "x.npy", "y.npy"), ("compare", "x.npy"), ("list", "formats"), ("explain", "softmax/naive")],
    ids=lambda command: command[0],
)  # fmt: skip
def test_an_ending_that_nobody_writes_is_refused_with_those_that_are_written(
    command: tuple[str, ...], ending: str, desk: Path
) -> None:
    before = files(desk)
    done = run(*command, "-o", f"report{ending}")
    assert_refused(done, f"report{ending}: ", f"the ending {ending}\n", ".txt", ".json", ".md", "--output-format table")
    assert (".csv" in done.err) is (command[0] != "explain")
    assert files(desk) == before


def test_any_ending_will_do_for_a_format_that_is_asked_for_by_name(desk: Path) -> None:
    command = ("compare", "x.npy", "--operation", "softmax", "--format", "float32")
    assert run(*command, "--output-format", "junit", "-o", "report.xml").code == 0
    assert Path("report.xml").read_text("utf-8").startswith("<?xml ")
    assert run(*command, "--output-format", "markdown", "-o", "report.html").code == 0
    assert run(*command, "-o", "report").code == 0
    assert Path("report").read_text("utf-8") == run(*command, "--output-format", "table").out


def test_output_format_comes_before_the_ending_of_o(desk: Path) -> None:
    assert run("loss", "x.npy", "y.npy", "-o", "report.csv", "--output-format", "json").code == 0
    assert "loss" in strict_json(Path("report.csv").read_text("utf-8"))


def test_one_field_of_a_structured_array_is_named_as_the_file_has_it(desk: Path) -> None:
    np.save("s.npy", np.zeros(3, dtype=[("a", "<f4"), ("b", "<f4")]))
    assert_refused(run("softmax", "s.npy"), "s.npy: holds a structured array", "x['a']")


HOSTILE = ["[red]x[/red]", "esc\x1b[31mape", "new\nline", "smörgås✓", "-dash", "a b'c\"d", "$(touch pwned)"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("name", [n for n in HOSTILE if "/" not in n] + ["[red]x"], ids=ascii)
@pytest.mark.parametrize("how", ["table", "markdown", "json", "csv", "plain", "ndjson"])
def test_a_file_name_is_never_markup_nor_an_escape_sequence(name: str, how: str, desk: Path) -> None:
    Path(f"{name}.npy").write_bytes(Path("x.npy").read_bytes())
    for encoding in ("utf-8", "ascii", "cp1252"):
        done = run(
            *("compare", "--operation", "logsumexp", "--format", "float32", "--output-format", how),
            *("--", f"{name}.npy"),
            encoding=encoding,
        )
        assert (done.code, done.err) == (0, "")
        assert "\x1b" not in done.out
        if how in ("table", "markdown") and name.startswith("[red]"):
            assert f"input: {name}.npy;" in done.out
        if how == "json":
            assert any(part.endswith(f"{name}.npy") for part in done.json["command"])
    assert not Path("pwned").exists()


def test_generate_writes_logits_and_labels_that_the_other_commands_read(desk: Path) -> None:
    done = run("generate", "--preset", "notebook-c-loss", "-o", "g.npy", "--labels", "l.csv")
    assert (done.code, done.out) == (0, "")
    assert done.err == "note: g.npy: 2 x 3, preset notebook-c-loss\n"
    assert np.load("g.npy").tolist() == np.array([[2.0, 1.0, 0.1], [0.5, 2.5, 0.3]], dtype=np.float32).tolist()
    loss = run("loss", "g.npy", "l.csv")
    assert (loss.code, loss.err) == (0, "")
    assert abs(float(loss.out) - 1.4185397624969482) < 2**-22
    assert_refused(run("generate", "-o", "g.npy"), "exists", "--force")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["npy", "csv"])
def test_generated_files_compare_as_the_generated_input_does(suffix: str, desk: Path) -> None:
    assert run("generate", "--seed", "3", "--scale", "1e3", "-o", f"g.{suffix}", "--labels", "l.npy", "-q").code == 0
    read = run("compare", f"g.{suffix}", "l.npy", "-q", "--output-format", "csv").out
    assert read == run("compare", "--seed", "3", "--scale", "1e3", "-q", "--output-format", "csv").out


def test_generate_does_not_write_logits_and_labels_into_one_file(desk: Path) -> None:
    assert_refused(run("generate", "-o", "same.npy", "--labels", "same.npy"), "same.npy")
    assert "same.npy" not in files(desk)


def test_generate_leaves_no_logits_where_the_labels_cannot_be_written(desk: Path) -> None:
    before = files(desk)
    done = run("generate", "-o", "g.npy", "--labels", "none/l.npy")
    assert_refused(done, "none/l.npy: cannot be written (No such file", "choose another place with --labels")
    assert_refused(run("generate", "-o", "g.npy", "--labels", "l.xlsx"), "give --labels one of these endings")
    assert_refused(run("generate", "-o", "g.npy", "--labels", "s3://b/l.npy"), "not written", "with --labels")
    assert_refused(run("generate", "-o", "none/g.npy", "--labels", "l.npy"), "none/g.npy: cannot", "with -o")
    assert files(desk) == before


def test_a_csv_file_is_not_written_where_json_was_asked_for(desk: Path) -> None:
    assert_refused(run("softmax", "x.npy", "-o", "p.csv", "--output-format", "json"), "--output-format")


@pytest.mark.parametrize(
    "command",
    [
        ("loss", "p.npy", "y.npy"),
        ("inspect", "p.npy"),
        ("compare", "p.npy"),
        ("grad", "p.npy", "y.npy"),
        ("softmax", "p.npy"),
        ("compare", "p.npy", "--operation", "logsumexp"),
    ],
    ids=" ".join,
)
def test_probabilities_in_place_of_logits_are_noted(command: tuple[str, ...], desk: Path) -> None:
    assert run("softmax", "x.npy", "-o", "p.npy").code == 0
    note = "note: p.npy: every row sums to 1: are these probabilities? log(p) gives logits of the same softmax\n"
    assert note in run(*command).err
    assert note not in run(*command[:1], "x.npy", *command[2:]).err
    # Of cells, each by itself, rows that sum to 1 say nothing.
    assert note not in run("sigmoid", "p.npy").err
