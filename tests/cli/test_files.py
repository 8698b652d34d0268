"""Files that commands write: whole or not at all, and never over another one unasked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .running import assert_refused, run

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

    monkeypatch.setattr("stablemax.arrays.compute", too_late)
    assert_refused(run("softmax", "x.npy", "-o", "x.npy"), "exists")
    assert_refused(run("softmax", "x.npy", "-o", "p.xlsx"), ".npy, .csv or .tsv")
    assert_refused(run("softmax", "x.npy", "--output-format", "table"), "table")


@pytest.mark.parametrize("existing", [True, False])
def test_a_write_that_fails_leaves_nothing_and_keeps_the_old(
    existing: bool, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if existing:
        Path("p.npy").write_bytes(b"precious")
    before = files(desk)

    def full(_: Any, stream: Any, *__: Any) -> None:
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stablemax.sinks.FileSink._write", full)
    assert_refused(run("softmax", "x.npy", "-o", "p.npy", "--force"), "p.npy: cannot be written", "No space left")
    assert files(desk) == before
    if existing:
        assert Path("p.npy").read_bytes() == b"precious"


@FULL
@pytest.mark.parametrize("device", ["/dev/full", "/dev/null"])
def test_a_device_is_no_place_for_a_report(device: str, desk: Path) -> None:
    assert_refused(run("loss", "x.npy", "y.npy", "-o", device), f"{device}: is not a regular file")
    assert Path(device).is_char_device()


HOSTILE = ["[red]x[/red]", "esc\x1b[31mape", "new\nline", "smörgås✓", "-dash", "a b'c\"d", "$(touch pwned)"]


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


@pytest.mark.parametrize("suffix", ["npy", "csv"])
def test_generated_files_compare_as_the_generated_input_does(suffix: str, desk: Path) -> None:
    assert run("generate", "--seed", "3", "--scale", "1e3", "-o", f"g.{suffix}", "--labels", "l.npy", "-q").code == 0
    read = run("compare", f"g.{suffix}", "l.npy", "-q", "--output-format", "csv").out
    assert read == run("compare", "--seed", "3", "--scale", "1e3", "-q", "--output-format", "csv").out


def test_generate_does_not_write_logits_and_labels_into_one_file(desk: Path) -> None:
    assert_refused(run("generate", "-o", "same.npy", "--labels", "same.npy"), "same.npy")
    assert "same.npy" not in files(desk)


def test_a_csv_file_is_not_written_where_json_was_asked_for(desk: Path) -> None:
    assert_refused(run("softmax", "x.npy", "-o", "p.csv", "--output-format", "json"), "--output-format")
