"""Web servers that send too much, too slowly, or nothing at all: none takes memory, and none holds a run."""

from __future__ import annotations

import contextlib
import gzip
import io
import math
import pickle
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stablemax.compute.loss import loss_of
from stablemax.compute.streaming import Resources
from stablemax.inputs.file_format import ReadingLimits
from stablemax.inputs.logits import as_stream
from stablemax.inputs.open import open_array
from stablemax.inputs.remote import AHEAD, glob_addresses
from stablemax.inputs.server_limits import TIMEOUT_S
from stablemax.inputs.stored import StoredArray

from ..cli.running import assert_refused, process, run, start
from ..records import CROSS_ENTROPY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .conftest import Peak, Refusal

pytest.importorskip("fsspec", reason="needs fsspec")
pytest.importorskip("aiohttp", reason="needs aiohttp")

ARRAY = np.arange(512.0).reshape(32, 16)
SOON_S = 0.2
"""A timeout, of which the default run has many."""
LIMIT_S = 5
"""No run with a timeout of a second may take longer."""
LIMIT_MIB = 512
"""Nor take more memory."""
LARGE = 10**10
"""What a file is said to hold."""
PIECE = b"a" * 2**20


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


CONTENT = saved(ARRAY)
# Packed to a thousandth.
PACKED = gzip.compress(bytes(2**26))


class Request:
    """One request, and what it is answered with."""

    def __init__(self, connection: socket.socket, head: str) -> None:
        self._connection = connection
        self.method, self.path = head.split()[:2]
        asked = head.lower().partition("range: bytes=")[2].partition("\r\n")[0]
        self.is_head = self.method == "HEAD"
        #: The first byte that was asked for, and the one after the last.
        self.start, self.stop = 0, len(CONTENT)
        self.asks_part = bool(asked)
        if asked:
            first, _, last = asked.partition("-")
            self.start, self.stop = int(first), int(last) + 1

    def head(self, status: str = "200 OK", **headers: object) -> None:
        """Send the head of an answer."""
        lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def part(self, size: int = len(CONTENT), **headers: object) -> None:
        """Send the head of the part that was asked for."""
        given = {"Content_Length": self.stop - self.start, **headers}
        self.head("206 Partial Content", Content_Range=f"bytes {self.start}-{self.stop - 1}/{size}", **given)

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def page(self, text: bytes) -> None:
        self.head(Content_Type="text/html", Content_Length=len(text))
        if not self.is_head:
            self.send(text)

    def forever(self, piece: bytes, pause_s: float = 0.0) -> None:
        while True:
            self.send(piece)
            time.sleep(pause_s)

    def chunks_forever(self, piece: bytes = PIECE, pause_s: float = 0.0) -> None:
        self.forever(b"%x\r\n%s\r\n" % (len(piece), piece), pause_s)

    def hang(self) -> None:
        threading.Event().wait(60)

    def is_settled(self, size: int = len(CONTENT), parts: str = "bytes") -> bool:
        """Answer honestly what is asked before the file is read: how long it is, and whether there are parts."""
        if self.is_head:
            self.head(Content_Length=size, Accept_Ranges=parts)
        elif self.asks_part and self.start == 1:
            self.part(size)
            self.send(CONTENT[1:2])
        else:
            return False
        return True


def never(request: Request) -> None:
    request.hang()


def headers_without_end(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\n")
    request.forever(b"X-Header: a line like any other\r\n" * 1000)


def a_header_line_without_end(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nX-Header: ")
    request.forever(PIECE)


def headers_byte_by_byte(request: Request) -> None:
    request.send(b"HTTP/1.1 200 OK\r\nX-Header: ")
    request.forever(b"a", 0.02)


def preliminary_answers_without_end(request: Request) -> None:
    request.forever(b"HTTP/1.1 100 Continue\r\n\r\n", 0.01)


def redirects_without_end(request: Request) -> None:
    request.head("302 Found", Location="/x.npy", Content_Length=0)


def slow_redirects(request: Request) -> None:
    time.sleep(SOON_S * 0.7)
    request.head("302 Found", Location="/x.npy", Content_Length=0)


def a_redirect_to_a_file(request: Request) -> None:
    request.head("302 Found", Location="file:///etc/passwd", Content_Length=0)


def a_part_that_stalls(request: Request) -> None:
    if not request.is_settled():
        request.part()
        request.send(CONTENT[:500])
        request.hang()


def a_part_that_never_begins(request: Request) -> None:
    if not request.is_settled():
        request.part()
        request.hang()


def a_part_byte_by_byte(request: Request) -> None:
    if not request.is_settled():
        request.part()
        request.forever(b"a", 0.02)


def more_than_the_part_without_end(request: Request) -> None:
    if not request.is_settled(LARGE):
        request.head("206 Partial Content", Transfer_Encoding="chunked")
        request.chunks_forever()


def the_whole_for_a_part(request: Request) -> None:
    if not request.is_settled(LARGE):
        request.head("206 Partial Content", Content_Length=LARGE)
        request.forever(PIECE)


def the_whole_without_end_for_a_part(request: Request) -> None:
    if not request.is_settled(LARGE):
        request.head(Transfer_Encoding="chunked")
        request.chunks_forever()


def another_part(request: Request) -> None:
    """Send as many bytes as were asked for, and other ones."""
    if not request.is_settled():
        request.start, request.stop = request.start + 1, request.stop + 1
        request.part()
        request.send(CONTENT[request.start : request.stop] + b"a")


def less_than_the_part(request: Request) -> None:
    if not request.is_settled():
        request.part(Content_Length=100)
        request.send(CONTENT[:100])


def gigabytes_for_a_kilobyte(request: Request) -> None:
    """Have no parts, and send more than was said."""
    if not request.is_settled(1000, parts="none"):
        request.head(Transfer_Encoding="chunked")
        request.chunks_forever()


def less_than_was_said(request: Request) -> None:
    if not request.is_settled(LARGE // 10**4, parts="none"):
        request.head(Content_Length=len(CONTENT))
        request.send(CONTENT)


def a_length_that_never_comes(request: Request) -> None:
    if not request.is_settled(LARGE // 10**4, parts="none"):
        request.head(Content_Length=LARGE // 10**4)
        request.send(CONTENT[:100])
        request.hang()


def a_bomb(request: Request) -> None:
    """Pack what was not to be packed."""
    if not request.is_settled(LARGE):
        request.part(Content_Encoding="gzip", Content_Length=len(PACKED))
        request.send(PACKED)


def a_bomb_without_parts(request: Request) -> None:
    if not request.is_settled(len(PACKED), parts="none"):
        request.head(Content_Encoding="gzip", Content_Length=len(PACKED))
        request.send(PACKED)


def a_chunk_length_without_end(request: Request) -> None:
    if not request.is_settled():
        request.head("206 Partial Content", Transfer_Encoding="chunked")
        request.forever(PIECE)


def an_error_without_end(request: Request) -> None:
    if not request.is_settled(LARGE):
        request.head("500 Oops", Transfer_Encoding="chunked")
        request.chunks_forever()


#: What a server does, and what is said of it; `{}` stands for the timeout.
BAD: dict[Callable[[Request], None], str] = {
    never: "the server gave no answer in {} s",
    headers_without_end: "cannot be read (400, message='Too many headers",
    a_header_line_without_end: "cannot be read (400, message=",
    headers_byte_by_byte: "the server gave no answer in {} s",
    preliminary_answers_without_end: "the server gave no answer in {} s",
    redirects_without_end: "the server redirects over and over",
    slow_redirects: "the server gave no answer in {} s",
    a_redirect_to_a_file: "the server redirects to what is no web address",
    a_part_that_stalls: "the server sent no more than ",
    a_part_that_never_begins: "the server sent nothing for {} s",
    a_part_byte_by_byte: "the server sent no more than ",
    more_than_the_part_without_end: "the server sent more than 4,194,304 bytes",
    the_whole_for_a_part: "the server sent more than 4,194,304 bytes",
    the_whole_without_end_for_a_part: "the server sent more than 4,194,304 bytes",
    another_part: "the server sent another part of the file than was asked for",
    less_than_the_part: "4,224 bytes were asked for, and 100 bytes came",
    gigabytes_for_a_kilobyte: "the server sent more than 16,777,216 bytes",
    less_than_was_said: "is to hold 1,000,000 bytes, and 4,224 bytes came",
    a_length_that_never_comes: "the server sent no more than 100 bytes in {} s",
    a_bomb: "the server sends it compressed (gzip)",
    a_bomb_without_parts: "the server sends it compressed (gzip)",
    a_chunk_length_without_end: "cannot be read (400, message=",
    an_error_without_end: "cannot be read (500, message='Oops'",
}
# Those that end by the clock.
TIMED = frozenset(one for one, says in BAD.items() if "{}" in says or "no more than" in says)


def named(converse: Callable[[Request], None]) -> str:
    return converse.__name__


@contextlib.contextmanager
def serving(converse: Callable[[Request], None]) -> Iterator[str]:
    """Serve a file, each connection in a thread; what is between two requests stays open."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            came = b""
            while piece := connection.recv(2**16):
                came += piece
                while b"\r\n\r\n" in came:
                    head, _, came = came.partition(b"\r\n\r\n")
                    converse(Request(connection, head.decode() + "\r\n"))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def said_of(converse: Callable[[Request], None], timeout_s: float) -> tuple[str, ...]:
    """Return how an error may begin; on a busy machine an earlier answer may be the one that comes too late."""
    late = (f"the server gave no answer in {timeout_s} s",) if converse in TIMED else ()
    return (BAD[converse].format(timeout_s), *late)


@pytest.mark.parametrize("converse", BAD, ids=named)
def test_a_bad_server_is_refused_in_words(converse: Callable[[Request], None], refusal: Refusal) -> None:
    timeout_s = SOON_S if converse in TIMED else 30.0
    with serving(converse) as address:
        error = refusal(open_array, f"{address}/x.npy", limits=ReadingLimits(timeout_s=timeout_s))
    assert error.message.removeprefix(f"{address}/x.npy: ").startswith(said_of(converse, timeout_s))
    assert ("--timeout 120 waits longer" in error.hint) == (converse in TIMED)


@pytest.mark.slow
@pytest.mark.parametrize("converse", BAD, ids=named)
def test_a_bad_server_takes_no_memory_and_little_time(converse: Callable[[Request], None], peak: Peak) -> None:
    with serving(converse) as address:
        before = time.monotonic()
        memory, said = peak(f"refused({address + '/x.npy'!r}, limits=ReadingLimits(timeout_s=1))")
        assert time.monotonic() - before < LIMIT_S
    assert said.removeprefix(f"{address}/x.npy: ").startswith(said_of(converse, 1))
    assert memory < LIMIT_MIB


@pytest.mark.slow
@pytest.mark.parametrize("converse", [never, a_part_that_stalls, the_whole_for_a_part], ids=named)
def test_a_bad_server_ends_the_program_with_two_lines(converse: Callable[[Request], None]) -> None:
    with serving(converse) as address:
        before = time.monotonic()
        done = process("softmax", f"{address}/x.npy", "--timeout", "1")
        assert time.monotonic() - before < LIMIT_S
    assert_refused(done)
    assert done.err.removeprefix(f"error: {address}/x.npy: ").startswith(said_of(converse, 1))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what they have no room for")
def test_a_server_that_takes_no_connection_is_refused(refusal: Refusal) -> None:
    with contextlib.ExitStack() as kept:
        listener = kept.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = kept.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/x.npy"
        assert refusal(open_array, address, limits=ReadingLimits(timeout_s=SOON_S)).message.endswith(
            "gave no answer in 0.2 s"
        )


@pytest.mark.slow
def test_a_name_that_is_looked_up_for_long_holds_no_program(peak: Peak) -> None:
    code = (
        "import socket, time\n"
        "socket.getaddrinfo = lambda *args, **options: time.sleep(60)\n"
        "refused('http://host.invalid/x.npy', limits=ReadingLimits(timeout_s=1))"
    )
    before = time.monotonic()
    assert peak(code)[1] == "http://host.invalid/x.npy: the server gave no answer in 1 s"
    assert time.monotonic() - before < LIMIT_S


def test_a_name_that_nobody_has_is_refused_in_words(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "cannot be read (Cannot connect to host host.invalid" in refusal(open_array, "http://host.invalid/").message


# --- What is bounded stays right ------------------------------------------------------------------


def the_part_and_more_without_end(request: Request) -> None:
    if not request.is_settled():
        request.part(Connection="close", Content_Length=LARGE)
        request.send(CONTENT[request.start : request.stop])
        request.forever(PIECE)


def the_part_in_slow_pieces(request: Request) -> None:
    """Take longer than the timeout, and never be silent for so long."""
    if not request.is_settled():
        request.part()
        for start in range(request.start, request.stop, 512):
            request.send(CONTENT[start : min(start + 512, request.stop)])
            time.sleep(0.2)


def the_part(request: Request) -> None:
    if not request.is_settled():
        request.part()
        request.send(CONTENT[request.start : request.stop])


def the_whole(request: Request) -> None:
    if not request.is_settled(parts="none"):
        request.head(Content_Length=len(CONTENT))
        request.send(CONTENT)


def the_whole_after_a_redirect(request: Request) -> None:
    if request.path == "/x.npy":
        request.head("302 Found", Location="/y.npy", Content_Length=0)
    else:
        the_part(request)


@pytest.mark.parametrize(
    ("converse", "timeout_s"),
    [
        (the_part_and_more_without_end, 30),
        (the_part, 30),
        (the_whole, 30),
        (the_whole_after_a_redirect, 30),
        pytest.param(the_part_in_slow_pieces, 1, marks=pytest.mark.slow),
    ],
)
def test_what_was_asked_for_is_read_and_no_more(converse: Callable[[Request], None], timeout_s: float) -> None:
    with serving(converse) as address:
        read = open_array(f"{address}/x.npy", limits=ReadingLimits(timeout_s=timeout_s)).array
    assert read.tobytes() == ARRAY.tobytes()


@pytest.mark.parametrize("timeout_s", [math.inf, 1e300])
def test_whoever_has_time_may_wait_for_ever(timeout_s: float) -> None:
    with serving(the_part) as address:
        assert (
            open_array(f"{address}/x.npy", limits=ReadingLimits(timeout_s=timeout_s)).array.tobytes() == ARRAY.tobytes()
        )


def test_a_file_within_an_archive_on_a_bad_server_is_refused(refusal: Refusal) -> None:
    with serving(never) as address:
        name = f"zip://x.npy::{address}/x.zip"
        assert (
            refusal(open_array, name, limits=ReadingLimits(timeout_s=SOON_S)).message
            == f"{name}: the server gave no answer in 0.2 s"
        )


def test_another_file_system_that_does_not_answer_is_refused(refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    released = threading.Event()
    monkeypatch.setattr(fsspec.filesystem("memory"), "info", lambda path: released.wait(60))
    error = refusal(open_array, "memory://x.npy", limits=ReadingLimits(timeout_s=SOON_S))
    released.set()
    assert error.message == "memory://x.npy: the server gave no answer in 0.2 s"


# --- Patterns --------------------------------------------------------------------------------------


def a_listing(request: Request) -> None:
    request.page(b'<a href="b.npy">b</a> <a href="a.npy">a</a> <a href="c.csv">c</a>')


def a_listing_without_end(request: Request) -> None:
    request.head(Content_Type="text/html", Transfer_Encoding="chunked")
    request.chunks_forever(b'<a href="a.npy">a</a>' * 2**14)


def a_listing_that_stalls(request: Request) -> None:
    request.head(Content_Type="text/html", Content_Length=LARGE)
    request.send(b'<a href="a.npy">a</a>')
    request.hang()


def folders_without_end(request: Request) -> None:
    """In each folder is another one."""
    time.sleep(0.01)
    request.page(b'<a href="a/">a</a>')


def test_a_pattern_lists_the_files_of_a_folder() -> None:
    with serving(a_listing) as address:
        assert glob_addresses(f"{address}/*.npy") == [f"{address}/a.npy", f"{address}/b.npy"]


@pytest.mark.parametrize(
    ("converse", "pattern", "says"),
    [
        (never, "*.npy", "gave no answer in 0.2 s"),
        (a_listing_that_stalls, "*.npy", " in 0.2 s"),
        (a_listing_without_end, "*.npy", "sent more than 16,777,216 bytes"),
        (folders_without_end, "**/*.npy", "gave no answer in 0.2 s"),
        (redirects_without_end, "*.npy", "redirects over and over"),
        (a_bomb_without_parts, "*.npy", "sends it compressed"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_bad_server_lists_no_files(
    converse: Callable[[Request], None], pattern: str, says: str, refusal: Refusal
) -> None:
    with serving(converse) as address:
        timeout_s = SOON_S if " 0.2 s" in says else 30
        error = refusal(glob_addresses, f"{address}/{pattern}", timeout_s=timeout_s)
    assert error.message.startswith(f"{address}/{pattern}: the server ")
    assert error.message.endswith(says) or says in error.message


# --- The timeout reaches whoever reads --------------------------------------------------------------


def stalls_in_the_middle(request: Request) -> None:
    """Give the beginning of a file of 12 MB, and nothing that comes later."""
    size, head = 12_000_128, saved(np.zeros((0, 1000)))[:128].replace(b"(0, 1000)", b"(1500, 1000)")
    head = head.replace(b"   \n", b"\n")
    assert len(head) == 128
    if request.is_settled(size):
        return
    if request.stop > 2 * AHEAD:
        request.hang()
    request.part(size)
    request.send((head + bytes(request.stop))[request.start : request.stop])


@pytest.mark.parametrize("threads", [1, 2])
def test_the_timeout_reaches_worker_threads(threads: int, refusal: Refusal) -> None:
    with serving(stalls_in_the_middle) as address:
        stored = replace(open_array(f"{address}/x.npy"), timeout_s=SOON_S)
        stream = as_stream(stored, StoredArray.of(np.zeros(1500, int)))
        resources = Resources(threads=threads, memory=64 * 10**6)
        error = refusal(loss_of, CROSS_ENTROPY, stream, resources=resources)
    assert error.message == f"{address}/x.npy: the server gave no answer in 0.2 s"


def test_the_timeout_reaches_other_processes(refusal: Refusal) -> None:
    with serving(stalls_in_the_middle) as address:
        opened = open_array(f"{address}/x.npy", limits=ReadingLimits(timeout_s=60))
        assert pickle.loads(pickle.dumps(opened)).timeout_s == 60
        stored = pickle.loads(pickle.dumps(replace(opened, timeout_s=SOON_S)))
        assert refusal(lambda: stored.array).message == f"{address}/x.npy: the server gave no answer in 0.2 s"
    assert StoredArray.of(ARRAY).timeout_s == TIMEOUT_S == 30


@pytest.mark.slow
def test_the_timeout_reaches_the_workers_of_a_cluster(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="needs dask")
    np.save(tmp_path / "labels.npy", np.zeros(1500, int))
    with serving(stalls_in_the_middle) as address:
        files = (f"{address}/x.npy", str(tmp_path / "labels.npy"))
        done = process("loss", *files, "--timeout", "1", "--engine", "dask", "--threads", "1")
    assert_refused(done, f"{address}/x.npy: the server gave no answer in 1 s", "--timeout 120")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("converse", [never, headers_byte_by_byte, a_part_byte_by_byte], ids=named)
def test_an_interrupt_ends_the_program_while_a_server_does_not_answer(converse: Callable[[Request], None]) -> None:
    asked = threading.Event()

    def told(request: Request) -> None:
        if not request.is_head or converse is not a_part_byte_by_byte:
            asked.set()
        converse(request)

    with serving(told) as address, start("softmax", f"{address}/x.npy", "--timeout", "60") as child:
        assert asked.wait(30)
        time.sleep(0.2)
        before = time.monotonic()
        child.send_signal(signal.SIGINT)
        output = child.communicate(timeout=60)
        assert time.monotonic() - before < LIMIT_S
    assert (child.returncode, *output) == (130, b"", b"")


# --- The option --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", ["0", "-1", "nan"])
@pytest.mark.parametrize("command", ["softmax", "compare", "trace my.py:softmax", "check my.py:f --arg a=x.npy"])
def test_a_timeout_is_more_than_no_seconds(command: str, seconds: str) -> None:
    assert_refused(run(*command.split(), f"--timeout={seconds}"), f"--timeout {seconds}", "seconds, more than 0")


@pytest.mark.parametrize(
    "command",
    [
        "softmax {}",
        "loss {}",
        "loss --rows 3 --weight {}",
        "inspect {}",
        "compare {}",
        "judge {} {} --operation softmax",
        "judge --scale 1 {} --operation softmax",
        "trace softmax/naive {}",
        "report {}",
        "check softmax/naive --arg a={}",
        "sweep softmax/naive --arg a={}",
    ],
)
def test_each_command_that_reads_waits_for_a_server_as_long_as_it_is_told(command: str) -> None:
    with serving(never) as address:
        words = command.format(*(f"{address}/{name}.npy" for name in "xy"))
        done = run(*words.split(), "--timeout", "0.2")
    assert_refused(done, "the server gave no answer in 0.2 s", "--timeout 120 waits longer")


def test_a_timeout_is_no_part_of_the_command_that_gives_the_same_result() -> None:
    done = run("inspect", "--rows", "3", "--timeout", "7", "--output-format", "json")
    assert "--rows 3" in " ".join(done.json["command"])
    assert "--timeout" not in " ".join(done.json["command"])
