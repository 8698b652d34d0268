"""Files behind addresses (``scheme://``), read in place by offset through fsspec; the only module that knows it."""

from __future__ import annotations

import contextlib
import functools
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from stablemax.inputs.foreign_text import brief, file_name, masked, size_of
from stablemax.inputs.server_limits import LEAST_RATE, TIMEOUT_S, ServerError, no_answer
from stablemax.inputs.spec import is_address
from stablemax.text.errors import StablemaxError
from stablemax.text.machine_limits import limit_reached

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Answer = TypeVar("Answer")

AHEAD = 2**22
"""Fewest bytes of a request: headers are read in many small pieces, and rows in blocks of the cache's size."""

STOP: ContextVar[threading.Event | None] = ContextVar("STOP", default=None)
"""The event that tells a worker thread to make no more requests, and to wait for no answer."""
LOOK_S = 0.05
"""Time after which who waits for an answer looks at `STOP` and at the clock again."""
# The errors of aiohttp that say nothing, by their names: it need not be installed.
_REDIRECTS = {
    "TooManyRedirects": "the server redirects over and over",
    "NonHttpUrlRedirectClientError": "the server redirects to what is no web address",
}
# What file systems know of the state of a file, besides its length.
_STATES = ("ETag", "etag", "md5Hash", "Last-Modified", "LastModified", "mtime", "created")
_DOWNLOAD = "the server gives no parts of files, or the file changed; download it first"


class _Ranges(io.RawIOBase):
    """A file behind an address; every read requests its range of bytes.

    It holds nothing but its position, so that any number of them can be open at once; the files that fsspec opens share
    a position in some file systems.
    """

    def __init__(self, system: Any, path: str, known: dict[str, Any], name: str, timeout_s: float) -> None:
        self._system = system
        self._path = path
        self._size: int = known["size"]
        #: As `regular_file.version_of` has it.
        self.version = self._size, next((str(known[key]) for key in _STATES if known.get(key)), None)
        self._name = name
        self._timeout_s = timeout_s
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(22, "Invalid argument")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        count = min(len(target), max(self._size - self._at, 0))
        if not count:
            return 0
        start, end = self._at, self._at + count
        with _errors(self._name, self._timeout_s):
            data = _answer(lambda: self._system.cat_file(self._path, start=start, end=end), self._timeout_s, count)
            if len(data) != count:
                raise ServerError(f"{size_of(count)} were asked for, and {size_of(len(data))} came", _DOWNLOAD)
        target[:count] = data
        self._at += count
        return count


def open_address(address: str, timeout_s: float = TIMEOUT_S) -> BinaryIO:
    """Open a file behind an address for reading bytes.

    >>> open_address("memory://no-such-file.npy")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: memory://no-such-file.npy: no such file
    """
    name = file_name(address)
    with _errors(name, timeout_s):
        system, path = _file_system(address, timeout_s)
        known = _answer(lambda: system.info(path), timeout_s)
        size = known.get("size")
        if known.get("type") == "directory":
            raise ServerError("is a directory, not a file", "name a file inside it, or a pattern: /*.npy")
        if not isinstance(size, int):
            raise ServerError("the server does not say how long it is", "download it first")
        is_web = address.lower().startswith(("http://", "https://"))
        if is_web and not _answer(lambda: _gives_parts(system, path, known), timeout_s):
            if size > AHEAD:
                raise ServerError(
                    f"holds {size_of(size)}, and the server gives no parts of files",
                    "download it first, and name the file: no range requests are answered there",
                )
            data = _answer(lambda: system.cat_file(path), timeout_s, size)
            if len(data) != size:
                raise ServerError(f"is to hold {size_of(size)}, and {size_of(len(data))} came", _DOWNLOAD)
            return io.BytesIO(data)
    return cast("BinaryIO", io.BufferedReader(_Ranges(system, path, known, name, timeout_s), AHEAD))


def _gives_parts(system: Any, path: str, known: dict[str, Any]) -> bool:
    """Whether a web server answers a request for a part of a file with that part.

    One that does not sends the whole file, and `cat_file` would take all of it into memory. The files that fsspec opens
    look at the head of an answer first; they need not ask for the first byte, which they would take from any answer.
    """
    if known.get("partial") is False:
        return False
    if known["size"] < 2:
        return True
    try:
        with system.open(path, block_size=1, cache_type="none", size=known["size"]) as file:
            file.seek(1)
            return len(file.read(1)) == 1
    except ValueError:
        return False


def _answer(request: Callable[[], Answer], timeout_s: float, size: int = 0) -> Answer:
    """Wait for an answer of `size` bytes until `STOP` is set, and no longer than it may take.

    A signal interrupts the main thread alone: a worker would wait for as long as the server likes. So requests are made
    by threads that nobody waits for, at the end of the process neither; what one of them still gets is thrown away.
    """
    from concurrent.futures import Future, wait

    future: Future[Answer] = Future()

    def ask() -> None:
        try:
            future.set_result(request())
        except BaseException as error:
            future.set_exception(error)

    stop, most_s = STOP.get(), timeout_s + size / LEAST_RATE
    end = time.monotonic() + most_s
    if stop is None or not stop.is_set():
        threading.Thread(target=ask, name="stablemax request", daemon=True).start()
    while stop is None or not stop.is_set():
        wait([future], LOOK_S)
        if future.done():
            return future.result()
        if time.monotonic() > end:
            raise no_answer(most_s)
    raise InterruptedError("nobody waits for it any more")


def glob_addresses(pattern: str, timeout_s: float = TIMEOUT_S) -> list[str]:
    """Addresses of the files that fit a pattern, sorted.

    >>> glob_addresses("memory://no-such-*.npy")
    []
    """
    with _errors(file_name(pattern), timeout_s):
        system, path = _file_system(pattern, timeout_s)
        paths = _answer(lambda: system.glob(path), timeout_s)
        addresses = [str(system.unstrip_protocol(one)) for one in sorted(paths)]
    scheme = pattern.partition("://")[0]
    # unstrip_protocol gives the first name of a file system that has several.
    return [f"{scheme}://{one.partition('://')[2]}" if is_address(one) else one for one in addresses]


def _file_system(address: str, timeout_s: float) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise limit_reached(error) or StablemaxError(
            f"{file_name(address)}: addresses need the package fsspec", 'pip install "stablemax[remote]"'
        ) from None
    system, path = url_to_fs(address, **_bounds(address, timeout_s))
    return system, str(path)


def _bounds(address: str, timeout_s: float) -> dict[str, Any]:
    """Bound what web servers answer, also where another file system reads from one: zip://x.npy::https://host/x.zip.

    Other libraries bound what they read themselves; of them all only the time is known here.
    """
    schemes = {part.partition("://")[0] for part in address.split("::")} & {"http", "https"}
    if not schemes:
        return {}
    from stablemax.inputs.web_answers import bounded_client

    # fsspec knows a file system by what it was made with: with the same timeout it is the same one.
    return {scheme: {"get_client": functools.partial(bounded_client, timeout_s=timeout_s)} for scheme in schemes}


@contextlib.contextmanager
def _errors(name: str, timeout_s: float) -> Iterator[None]:
    """Turn what a file system raises into a StablemaxError: each file system has errors of its own."""
    try:
        yield
    except StablemaxError:
        raise
    except Exception as error:
        raise limit_reached(error) or _worded(error, name, timeout_s) from None


def _worded(error: Exception, name: str, timeout_s: float) -> StablemaxError:
    # fsspec reports every failure over HTTP as a missing file; the real one is the cause of the error.
    cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
    failure = cause or error
    if isinstance(failure, TimeoutError) and failure.errno is None:
        failure = no_answer(timeout_s)
    redirects = _REDIRECTS.get(type(failure).__name__)
    if redirects is not None:
        failure = ServerError(redirects, "check the address; or download it first")
    if isinstance(failure, ServerError):
        return StablemaxError(f"{name}: {failure.message}", failure.hint)
    status = getattr(cause, "status", None)
    if isinstance(error, PermissionError) or status in {401, 403}:
        return StablemaxError(f"{name}: permission denied", "check the credentials of the address")
    if isinstance(error, FileNotFoundError) and (cause is None or status == 404):
        return StablemaxError(f"{name}: no such file", "check the address")
    if isinstance(error, ImportError):
        package = brief(masked(str(error)), 200)
        return StablemaxError(
            f"{name}: the address needs another package ({package})", "pip install what is named there"
        )
    reason = brief(masked(" ".join(str(failure).split())) or type(failure).__name__, 200)
    hint = "check the address and the network"
    if "Protocol not known" in reason:
        hint = "known are s3://, gs://, https:// and whatever else fsspec opens"
    return StablemaxError(f"{name}: cannot be read ({reason})", hint)
