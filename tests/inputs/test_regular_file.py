from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stablemax.inputs.regular_file import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Refusal

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX file kinds")


def test_a_regular_file_opens(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"ab\r\n\x1a")
    with open_regular(str(tmp_path / "x")) as stream:
        assert stream.read() == b"ab\r\n\x1a"


def test_a_directory_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    assert "is a directory" in refusal(open_regular, str(tmp_path)).message


def test_a_missing_file_is_refused(tmp_path: Path, refusal: Refusal) -> None:
    assert "no such file" in refusal(open_regular, str(tmp_path / "none")).message


@posix
def test_a_fifo_without_a_writer_is_refused_and_does_not_hang(tmp_path: Path, refusal: Refusal) -> None:
    os.mkfifo(tmp_path / "pipe")
    errors = []
    thread = threading.Thread(target=lambda: errors.append(refusal(open_regular, str(tmp_path / "pipe"))), daemon=True)
    thread.start()
    thread.join(timeout=300)
    assert [error.message.endswith("is a pipe (FIFO), not a file") for error in errors] == [True]


@posix
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_refused(device: str, refusal: Refusal) -> None:
    assert "is a device" in refusal(open_regular, device).message


@posix
def test_a_socket_is_refused(tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        assert "is a socket" in refusal(open_regular, "socket").message


@posix
def test_an_unreadable_file_is_refused(refusal: Refusal) -> None:
    # Not tmp_path, whose parents only its owner may enter: the file itself must be what is refused.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "x")
        path.write_bytes(b"")
        path.chmod(0)
        with as_nobody():
            assert "permission denied" in refusal(open_regular, str(path)).message


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so that it has to be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@posix
def test_what_became_a_fifo_between_the_check_and_the_opening_is_refused(
    tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    regular = (tmp_path / "x").stat()
    monkeypatch.setattr(os, "stat", lambda *_: regular)
    error = refusal(open_regular, str(tmp_path / "pipe"))
    assert "FIFO" in error.message


@pytest.mark.parametrize("path", ["a\0b", "\udcff\ud800", "x" * 5000, "a\x1b[31m/b", ""])
def test_impossible_names_are_refused_in_words(path: str, refusal: Refusal) -> None:
    refusal(open_regular, path)


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_escape_sequences_in_names_do_not_reach_the_terminal(
    tmp_path: Path, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "\x1b[31m[red]\u202e").mkdir()
    message = refusal(open_regular, "\x1b[31m[red]\u202e").message
    assert message == r"\x1b[31m[red]\u202e: is a directory, not a file"
