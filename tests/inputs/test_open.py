from __future__ import annotations

import gzip
import io
import os
import pickle
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
import pytest

from stablemax.inputs.file_format import IN_MEMORY, TableOptions
from stablemax.inputs.open import open_array
from stablemax.inputs.spec import split_spec

if TYPE_CHECKING:
    from .conftest import Refusal

ARRAY = np.array([[1.5, 2.5], [3.5, 4.5]])


class Pipe(io.RawIOBase):
    """A stream that cannot seek and gives a few bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def read(self, size: int = -1, /) -> bytes:
        count = min(7, len(self._rest) if size < 0 else size)
        piece, self._rest = self._rest[:count], self._rest[count:]
        return piece


def pipe(content: bytes) -> BinaryIO:
    return cast("BinaryIO", Pipe(content))


def content(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, ARRAY)
    elif kind == "npz":
        np.savez(buffer, logits=ARRAY)
    else:
        np.savetxt(buffer, ARRAY, delimiter="," if kind == "csv" else "\t")
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "tsv"])
def test_each_format_is_read_by_extension_by_option_and_from_a_pipe(kind: str) -> None:
    for name in (f"x.{kind}", f"X.{kind.upper()}", "x.dat"):
        Path(name).write_bytes(content(kind))
    read = [
        open_array(f"x.{kind}"),
        open_array(f"X.{kind.upper()}"),
        open_array("x.dat", input_format=kind),
        open_array("-", input_format=kind, stdin=pipe(content(kind))),
    ]
    for file in read:
        assert file.array.tolist() == ARRAY.tolist()
        assert file.format == kind
        assert file.notes == ()
        assert file.labels is None
        assert file.size_bytes == 32
    assert [file.name for file in read] == [f"x.{kind}", f"X.{kind.upper()}", "x.dat", "standard input"]


@pytest.mark.parametrize(("kind", "found"), [("npy", "npy"), ("npz", "npz"), ("csv", "csv"), ("tsv", "csv")])
def test_an_unknown_extension_is_decided_by_content(kind: str, found: str) -> None:
    Path("x.dat").write_bytes(content(kind))
    assert open_array("x.dat").format == found
    assert open_array("x.dat").array.tolist() == ARRAY.tolist()


@pytest.mark.parametrize(("name", "kind"), [("x.csv", "npy"), ("x.tsv", "npz"), ("x.npy", "npz"), ("x.npz", "npy")])
def test_an_extension_that_contradicts_the_content_is_refused(name: str, kind: str, refusal: Refusal) -> None:
    Path(name).write_bytes(content(kind))
    error = refusal(open_array, name)
    assert error.message == f"{name}: holds {kind} data, but its name ends in {name[1:]}"
    assert error.hint == f"--input-format {kind}"
    assert open_array(name, input_format=kind).array.tolist() == ARRAY.tolist()


def test_text_named_npy_is_refused(refusal: Refusal) -> None:
    Path("x.npy").write_bytes(content("csv"))
    assert "is not a .npy file" in refusal(open_array, "x.npy").message


@pytest.mark.parametrize(
    ("start", "what"),
    [
        # Without a time of its own: a name that holds the second differs between two runners, which xdist refuses.
        (gzip.compress(b"1,2", mtime=0), "gzip"),
        (pickle.dumps([1]), "pickle"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"ARROW1\0\0", "Arrow"),
        (b"\x28\xb5\x2f\xfdaaaa", "Zstandard"),
        (b"MATLAB 5.0", "MATLAB"),
    ],
)
def test_formats_of_others_are_named(start: bytes, what: str, refusal: Refusal) -> None:
    for name in ("x.dat", "x.csv"):
        Path(name).write_bytes(start)
        assert what in refusal(open_array, name).message


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "tsv"])
def test_standard_input_is_recognised_by_its_content(kind: str) -> None:
    piped = open_array("-", stdin=pipe(content(kind)))
    assert piped.array.tolist() == ARRAY.tolist()
    said = [note for note in piped.notes if note.startswith("standard input: taken for csv by its content")]
    assert len(said) == (kind in ("csv", "tsv")), "a guess is said, and what the first bytes prove is not"


@pytest.mark.parametrize("start", ["", "\ufeff", "\n  "])
def test_what_begins_as_an_object_is_json(start: str) -> None:
    text = f'{start}{{"logits": [1.5, 2.5]}}\n{{"logits": [0, 1]}}\n'.encode()
    Path("x.dat").write_bytes(text)
    for one in (open_array("-", stdin=pipe(text)), open_array("x.dat")):
        assert (one.format, one.array.tolist()) == ("jsonl", [[1.5, 2.5], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("text", "taken_for"), [(b"1,2\n3\n", "csv"), (b"hello world\n", "csv"), (b"\0\1", "csv"), (b'{"a"', "jsonl")]
)
def test_a_guess_that_fails_says_what_was_tried_and_how_to_name_the_format(
    text: bytes, taken_for: str, refusal: Refusal
) -> None:
    error = refusal(open_array, "-", stdin=pipe(text))
    assert error.message.endswith(f"(taken for {taken_for} by its content)")
    assert "or name another format: --input-format npy, npz, " in error.hint
    assert f", {taken_for}" not in error.hint.partition("--input-format")[2]
    assert "by its content" not in refusal(open_array, "-", input_format="csv", stdin=pipe(text)).message


def test_standard_input_that_is_empty_or_of_another_format_is_refused(refusal: Refusal) -> None:
    assert "is empty" in refusal(open_array, "-", stdin=pipe(b"")).message
    assert "holds npy data" in refusal(open_array, "-", input_format="csv", stdin=pipe(content("npy"))).message


def test_a_terminal_is_refused(refusal: Refusal) -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    assert "is a terminal" in refusal(open_array, "-", input_format="csv", stdin=Terminal()).message


def test_a_closed_standard_input_is_refused(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "is closed" in refusal(open_array, "-", input_format="csv").message
    gone = io.BytesIO()
    gone.close()
    assert "is closed" in refusal(open_array, "-", input_format="csv", stdin=gone).message


def test_members_are_picked_by_name(refusal: Refusal) -> None:
    np.savez("x.npz", logits=ARRAY, labels=np.arange(2))
    Path("dump.bin").write_bytes(Path("x.npz").read_bytes())
    file = open_array("x.npz:labels")
    assert file.array.tolist() == [0, 1]
    assert file.name == "x.npz:labels"
    assert open_array("dump.bin:labels").array.tolist() == [0, 1]
    piped = open_array("-:labels", input_format="npz", stdin=pipe(Path("x.npz").read_bytes()))
    assert piped.array.tolist() == [0, 1]
    assert "holds 2 arrays" in refusal(open_array, "x.npz").message
    Path("x.csv").write_bytes(b"1,2")
    assert "no member 'a'" in refusal(open_array, "x.csv:a").message
    assert refusal(open_array, "none.npz:a").message == "none.npz: no such file"


@pytest.mark.skipif(os.name != "posix", reason="colons in names")
def test_a_file_whose_name_has_a_colon_is_read() -> None:
    for name in ("run:1.csv", "a.npz:logits"):
        Path(name).write_bytes(b"1,2")
    assert open_array("run:1.csv").array.tolist() == [[1, 2]]
    assert open_array("a.npz:logits").array.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    "spec", [r"C:\x\logits.npy", "C:logits.npy", "a:b", ":", "::", "x.npz:", "\0:a", "x" * 300 + ":"]
)
def test_colons_that_name_no_member_stay_in_the_path(spec: str) -> None:
    assert split_spec(spec) == (spec, None)


def test_a_drive_and_a_member_are_told_apart() -> None:
    assert split_spec(r"C:\x\logits.NPZ:a:b") == (r"C:\x\logits.NPZ", "a:b")


def test_an_unknown_format_is_refused(refusal: Refusal) -> None:
    assert "'xlsx' is unknown" in refusal(open_array, "x", input_format="xlsx").message


def test_options_and_notes_of_a_table_are_passed_on() -> None:
    Path("x.csv").write_text("a,y\n5,1\n")
    file = open_array("x.csv", table=TableOptions(label_column="y"))
    assert file.array.tolist() == [[5]]
    assert file.labels is not None
    assert file.labels.array.tolist() == [1]
    assert file.notes == ("x.csv: line 1 taken as a header (a, y)",)


def test_what_is_left_where_it_lies_is_known_by_its_place_alone() -> None:
    for kind, name in (("npy", "x.npy"), ("npz", "x.npz"), ("npz", "x.npz:logits")):
        Path(f"x.{kind}").write_bytes(content(kind))
        stored = open_array(name)
        assert (stored.memory, stored.path, stored.name) == (None, f"x.{kind}", name)
        assert Path(stored.path).read_bytes()[stored.offset : stored.offset + 32] == ARRAY.tobytes()
        assert (stored.shape, stored.dtype, stored.format) == ((2, 2), ARRAY.dtype, kind)


@pytest.mark.slow
def test_a_large_array_from_a_pipe_is_kept_in_a_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(Path("temporary").resolve()))
    array = np.asfortranarray(np.arange(IN_MEMORY // 8 + 6.0).reshape(2, -1))
    np.save("x.npy", array)
    with Path("x.npy").open("rb") as stream:
        stored = open_array("-", stdin=stream)
    assert stored.memory is None
    assert stored.path in [str(path.resolve()) for path in Path("temporary").rglob("*")]
    assert stored.array.tobytes() == array.tobytes()
    del stored
    assert list(Path("temporary").iterdir()) == []


def test_no_temporary_file_is_left_by_an_error_that_is_kept(monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    Path("temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(Path("temporary").resolve()))
    error = refusal(open_array, "-", input_format="npz", stdin=pipe(content("npz")[:-30]))
    assert error.__traceback__ is not None
    assert list(Path("temporary").iterdir()) == []
