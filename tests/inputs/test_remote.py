from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from stablemax.compute.loss import loss_of
from stablemax.compute.streaming import Resources
from stablemax.inputs.logits import as_stream
from stablemax.inputs.open import open_array
from stablemax.inputs.remote import AHEAD, open_address
from stablemax.inputs.spec import expand
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.stored_rows import Part, Rows
from stablemax.inputs.workspace import Workspace

from ..records import CROSS_ENTROPY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Refusal

ARRAY = np.random.default_rng(0).standard_normal((5, 3))


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's files in memory, and none of them left afterwards."""
    fsspec = pytest.importorskip("fsspec", reason="needs fsspec")
    system = fsspec.filesystem("memory")
    yield system
    for path in system.find("/dumps"):
        system.rm(path)


def contents() -> dict[str, bytes]:
    """One array in each format, by file name."""
    made: dict[str, bytes] = {}
    for name, save in (("x.npy", np.save), ("x.npz", np.savez), ("small.npz", np.savez_compressed)):
        buffer = io.BytesIO()
        save(buffer, ARRAY)
        made[name] = buffer.getvalue()
    made["x.csv"] = "".join(",".join(map(repr, row)) + "\n" for row in ARRAY.tolist()).encode()
    header = json.dumps({"x": {"dtype": "F64", "shape": ARRAY.shape, "data_offsets": [0, ARRAY.nbytes]}}).encode()
    made["x.safetensors"] = len(header).to_bytes(8, "little") + header + ARRAY.tobytes()
    return made


@pytest.mark.parametrize("name", list(contents()))
def test_every_format_behind_an_address_gives_the_very_same_numbers(name: str, memory: Any, tmp_path: Path) -> None:
    memory.pipe(f"/dumps/{name}", contents()[name])
    (tmp_path / name).write_bytes(contents()[name])
    address = f"memory://dumps/{name}"
    stored = open_array(address)
    in_place = name in {"x.npy", "x.npz", "x.safetensors"}
    assert (stored.memory is None) == in_place
    assert not in_place or stored.path == address
    assert stored.name == address
    for spec in (address, (tmp_path / name).as_uri(), str(tmp_path / name)):
        read = open_array(spec)
        assert read.array.tobytes() == ARRAY.tobytes()
        assert read.array.shape == ARRAY.shape
        assert not read.array.flags.writeable


def test_parquet_behind_an_address_gives_the_very_same_numbers(memory: Any) -> None:
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(arrow.table({str(n): ARRAY[:, n] for n in range(3)}), buffer)
    memory.pipe("/dumps/x.parquet", buffer.getvalue())
    assert open_array("memory://dumps/x.parquet").array.tobytes() == ARRAY.tobytes()


def test_members_behind_addresses_are_picked_by_name(memory: Any) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, logits=ARRAY, labels=np.arange(5))
    memory.pipe("/dumps/x.npz", buffer.getvalue())
    assert open_array("memory://dumps/x.npz:labels").array.tolist() == [0, 1, 2, 3, 4]
    assert open_array("memory://dumps/x.npz:labels").name == "memory://dumps/x.npz:labels"


def test_only_the_header_is_fetched(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(2**21))
    memory.pipe("/dumps/x.npy", buffer.getvalue())
    fetched = []
    fetch = memory.cat_file

    def counted(path: str, start: int, end: int) -> bytes:
        fetched.append(end - start)
        return fetch(path, start=start, end=end)

    monkeypatch.setattr(memory, "cat_file", counted)
    assert open_array("memory://dumps/x.npy").size_bytes > 2 * AHEAD
    assert 0 < sum(fetched) <= AHEAD


def test_files_that_are_open_at_once_have_positions_of_their_own(memory: Any) -> None:
    content = bytes(range(256)) * 2**13
    memory.pipe("/dumps/x", content)
    wrong = []

    def check(start: int) -> None:
        with open_address("memory://dumps/x") as stream:
            for at in range(start, len(content) - 300_000, 77_777):
                stream.seek(at)
                buffer = bytearray(300_000)
                if stream.readinto(buffer) != len(buffer) or buffer != content[at : at + len(buffer)]:  # type: ignore[attr-defined]
                    wrong.append(at)

    threads = [threading.Thread(target=check, args=(start,)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_patterns_of_addresses_name_the_files_that_fit_sorted(memory: Any, refusal: Refusal) -> None:
    for name in ("b.npz", "a.npz", "c.npy"):
        memory.pipe(f"/dumps/{name}", b"")
    assert expand(["memory://dumps/*.npz:logits"]) == ["memory:///dumps/a.npz:logits", "memory:///dumps/b.npz:logits"]
    assert "no file has such a name" in refusal(expand, ["memory://dumps/*.csv"]).message


def test_what_is_not_there_is_refused_in_words(memory: Any, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.pipe("/dumps/x.npy", b"abc")
    assert refusal(open_array, "memory://dumps/y.npy").message == "memory://dumps/y.npy: no such file"
    assert "is a directory" in refusal(open_array, "memory://dumps").message
    assert "cannot be read" in refusal(open_array, "nosuch://dumps/x.npy").message
    assert "another host" in refusal(open_array, "file://host/x.npy").message
    assert refusal(open_array, "file:///no-such-file.npy").message.endswith("no-such-file.npy: no such file")

    for raised, says in (
        (PermissionError(13, "Forbidden"), "permission denied"),
        (RuntimeError("\x1b[31mtimed\nout"), r"cannot be read (\x1b[31mtimed out)"),
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
    ):

        def fail(*args: object, problem: Exception = raised, **options: object) -> bytes:
            raise problem

        with monkeypatch.context() as patch:
            patch.setattr(memory, "cat_file", fail)
            assert says in refusal(open_array, "memory://dumps/x.npy").message


def test_a_server_that_gives_the_whole_file_for_a_part_is_refused(
    memory: Any, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(2**20))
    memory.pipe("/dumps/x.npy", buffer.getvalue())
    monkeypatch.setattr(memory, "cat_file", lambda path, start, end: buffer.getvalue())
    assert "the server gives no parts" in refusal(open_array, "memory://dumps/x.npy").hint


def test_a_file_that_became_shorter_is_refused(memory: Any, refusal: Refusal) -> None:
    memory.pipe("/dumps/x.npy", contents()["x.npy"])
    stored = open_array("memory://dumps/x.npy")
    memory.pipe("/dumps/x.npy", contents()["x.npy"][:-8])
    assert "was changed while it was read" in refusal(lambda: stored.array).message


def test_without_fsspec_the_way_to_install_it_is_given(monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    error = refusal(open_array, "s3://bucket/x.npy")
    assert error.message == "s3://bucket/x.npy: addresses need the package fsspec"
    assert error.hint == 'pip install "stablemax[remote]"'


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file, in parts where they are asked for and `parts` says so."""

    content = b""
    parts = True
    asked: ClassVar[list[str | None]]
    """The parts that were asked for; None for the whole."""
    held_from: int | None = None
    """Parts from here on are not sent before `released` is set."""
    held: threading.Event
    """Whether such a part was asked for."""
    released: threading.Event

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.asked.append(asked)
        if self.held_from is not None and asked and int(asked.removeprefix("bytes=").split("-")[0]) >= self.held_from:
            self.held.set()
            self.released.wait(60)
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.path != "/x.npy":
            self.send_error(403 if self.path == "/secret.npy" else 404)
            return
        content, asked = self.content, self.headers.get("Range")
        if asked and self.parts:
            start, _, end = asked.removeprefix("bytes=").partition("-")
            content = content[int(start) : int(end) + 1 if end else None]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{int(start) + len(content) - 1}/{len(self.content)}")
        else:
            self.send_response(200)
        if self.parts:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            with contextlib.suppress(OSError):  # nobody may be there any more
                self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    pytest.importorskip("fsspec", reason="needs fsspec")
    pytest.importorskip("aiohttp", reason="needs aiohttp")

    class Own(Handler):
        asked: ClassVar[list[str | None]] = []
        held, released = threading.Event(), threading.Event()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Own) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}", Own
        Own.released.set()
        running.shutdown()
        thread.join()


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.slow
def test_files_on_a_web_server_are_read_in_parts(server: tuple[str, type[Handler]], refusal: Refusal) -> None:
    address, handler = server
    buffer = io.BytesIO()
    array = np.arange(2.0**20)
    np.save(buffer, array)
    handler.content = buffer.getvalue()
    assert open_array(f"{address}/x.npy").array.tobytes() == array.tobytes()
    assert refusal(open_array, f"{address}/y.npy").message == f"{address}/y.npy: no such file"
    assert refusal(open_array, f"{address}/secret.npy").message == f"{address}/secret.npy: permission denied"
    handler.parts = False
    assert "download it first" in refusal(open_array, f"{address}/x.npy").hint


def test_a_web_server_that_is_not_there_is_refused_in_words(refusal: Refusal) -> None:
    pytest.importorskip("fsspec", reason="needs fsspec")
    pytest.importorskip("aiohttp", reason="needs aiohttp")
    assert "http://127.0.0.1:9/x.npy: cannot be read (" in refusal(open_array, "http://127.0.0.1:9/x.npy").message


def test_a_web_server_without_parts_is_refused_before_a_large_file_comes(
    server: tuple[str, type[Handler]], refusal: Refusal
) -> None:
    address, handler = server
    handler.content, handler.parts = saved(np.zeros(2**20)), False
    error = refusal(open_array, f"{address}/x.npy")
    assert error.message == f"{address}/x.npy: holds 8,388,736 bytes, and the server gives no parts of files"
    assert handler.asked == ["bytes=1-1"]


def test_a_small_file_is_read_from_a_web_server_without_parts(server: tuple[str, type[Handler]]) -> None:
    address, handler = server
    handler.content, handler.parts = saved(ARRAY), False
    stored = open_array(f"{address}/x.npy")
    with Workspace() as workspace:
        assert Rows((Part(stored, 1),)).read(1, 5, workspace).tolist() == ARRAY[1:].tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "axis", "order"), [((300, 4000), 1, "F"), ((4000, 300), 0, "C"), ((40, 30, 50), 1, "F")]
)
def test_rows_that_lie_interleaved_behind_an_address_are_fetched_once_and_in_few_requests(
    shape: tuple[int, ...], axis: int, order: Any, server: tuple[str, type[Handler]], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    address, handler = server
    array = np.asarray(np.random.default_rng(0).standard_normal(shape), order=order)
    handler.content = saved(array)
    stored = open_array(f"{address}/x.npy")
    assert stored.fortran_order == (order == "F")
    handler.asked.clear()
    rows = Rows((Part(stored, axis),)).in_row_order()
    expected = np.moveaxis(array, axis, -1).reshape(-1, shape[axis])
    with Workspace() as workspace:
        for start in range(0, rows.rows, 37):
            stop = min(start + 37, rows.rows)
            assert rows.read(start, stop, workspace).tolist() == expected[start:stop].tolist()
    assert len(handler.asked) <= 2 + len(handler.content) // AHEAD + 1
    assert rows.parts[0].stored.name == stored.name
    assert len(list(tmp_path.iterdir())) == 1
    del rows, workspace
    assert list(tmp_path.iterdir()) == []


def test_the_loss_of_interleaved_rows_behind_an_address_takes_few_requests(server: tuple[str, type[Handler]]) -> None:
    address, handler = server
    array, labels = np.asfortranarray(np.random.default_rng(0).standard_normal((3000, 500))), np.arange(3000) % 500
    handler.content = saved(array)
    stream = as_stream(open_array(f"{address}/x.npy"), StoredArray.of(labels))
    resources = Resources(threads=2, memory=32 * 10**6)
    expected = loss_of(CROSS_ENTROPY, as_stream(StoredArray.of(array), StoredArray.of(labels)), resources=resources)
    assert loss_of(CROSS_ENTROPY, stream, resources=resources).value == expected.value
    assert len(handler.asked) <= 10


def test_rows_that_lie_one_after_the_other_stay_where_they_are(memory: Any) -> None:
    memory.pipe("/dumps/x.npy", saved(ARRAY))
    rows = Rows((Part(open_array("memory://dumps/x.npy"), 1),))
    assert rows.in_row_order().parts == rows.parts


def test_interleaved_rows_behind_an_address_that_fit_on_no_disk_are_refused(
    memory: Any, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe("/dumps/x.npy", saved(np.zeros((3, 3_000_000), order="F")))
    rows = Rows((Part(open_array("memory://dumps/x.npy"), 1),))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    error = refusal(rows.in_row_order)
    assert error.message.startswith("memory://dumps/x.npy: 72,000,000 bytes do not fit into ")
    assert "TMPDIR" in error.hint


def test_a_file_that_became_shorter_leaves_no_temporary_file(
    memory: Any, refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    content = saved(np.zeros((3, 1_000_000), order="F"))
    memory.pipe("/dumps/x.npy", content)
    rows = Rows((Part(open_array("memory://dumps/x.npy"), 1),))
    fetch = memory.cat_file
    spooled: list[Path] = []

    def cut_short(path: str, start: int, end: int) -> bytes:
        spooled.extend(tmp_path.iterdir())
        return fetch(path, start=start, end=end)[: max(0, 2**23 - start)]

    monkeypatch.setattr(memory, "cat_file", cut_short)
    assert "were asked for, and" in refusal(rows.in_row_order).message
    assert spooled
    assert list(tmp_path.iterdir()) == []


def test_passwords_in_addresses_are_not_told(
    server: tuple[str, type[Handler]], memory: Any, refusal: Refusal, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server[0].replace("://", "://user:secret@")
    for name in ("y.npy", "secret.npy"):
        assert refusal(open_address, f"{address}/{name}").message.startswith(
            f"{address.replace('secret', '***')}/{name}"
        )
    server[1].content = saved(ARRAY)
    assert open_array(f"{address}/x.npy").name == f"{address.replace('secret', '***')}/x.npy"
    assert "user:***@" in refusal(open_address, "nosuch://user:secret@host/x.npy").message
    assert "user:***@" in refusal(open_address, "file://user:secret@host/x.npy").message

    def fail(*args: object, **options: object) -> bytes:
        raise RuntimeError("cannot connect to ftp://user:secret@host/x.npy")

    memory.pipe("/dumps/x.npy", b"abc")
    monkeypatch.setattr(memory, "info", fail)
    assert "ftp://user:***@host" in refusal(open_address, "memory://dumps/x.npy").message


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_signal_ends_the_program_while_a_server_does_not_answer(
    sent: str, code: int, threads: str, server: tuple[str, type[Handler]], tmp_path: Path
) -> None:
    address, handler = server
    handler.content = saved(np.zeros((2000, 1000)))
    handler.held_from = 2 * AHEAD
    command = ("softmax", f"{address}/x.npy", "-o", str(tmp_path / "p.npy"), "--threads", threads)
    with subprocess.Popen(
        [sys.executable, "-m", "stablemax", *command],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as child:
        try:
            assert handler.held.wait(30)
            child.send_signal(getattr(signal, sent))
            output = child.communicate(timeout=300)
        finally:
            child.kill()
    assert not handler.released.is_set()
    assert (child.returncode, *output) == (code, b"", b"")
    assert list(tmp_path.iterdir()) == []
