"""The .npz format: a zip archive of .npy files, read under bounds of our own."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO

from stablemax.errors import StablemaxError
from stablemax.inputs.files import open_regular, reading
from stablemax.inputs.npy import (
    CHUNK,
    MAP_HINT,
    MEMORY_LIMIT,
    check_size,
    mapped,
    read_header,
    read_npy_stream,
)
from stablemax.inputs.wording import brief, file_name, listed, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

READ_LIMIT = 4 * 2**20
"""Most bytes that one read of the archive may ask for; bounds the central directory above all."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_RESAVE = "save it again with numpy.savez, or the array alone with numpy.save"


class _Bounded:
    """A file that refuses large reads.

    zipfile reads the whole central directory at once, of whatever size the archive claims. Bounding
    the read itself holds for every way in which an archive can claim a size.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name

    def read(self, size: int = -1, /) -> bytes:
        if size > READ_LIMIT:
            raise StablemaxError(
                f"{self._name}: the table of contents claims {size_of(size)}; at most {READ_LIMIT:,} are read",
                _RESAVE,
            )
        return self._stream.read(READ_LIMIT if size < 0 else size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        """Leave the file open: its owner closes it."""


@contextlib.contextmanager
def _zip_errors(name: str) -> Iterator[None]:
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        OverflowError,
        OSError,
    ) as error:
        raise StablemaxError(
            f"{name}: the archive is damaged ({brief(error, 160)})", "copy it again, or " + _RESAVE
        ) from None


def read_npz(path: str, member: str | None = None, *, name: str | None = None) -> np.ndarray:
    """Read one array of a .npz archive.

    Parameters
    ----------
    path : str
        The archive.
    member : str, optional
        The array's name, as it was given to `numpy.savez`. May be left out where there is only one.
    name : str, optional
        What to call the archive in messages.

    Returns
    -------
    numpy.ndarray
        Read-only; memory-mapped where the member is stored without compression.

    Raises
    ------
    StablemaxError
        When the archive is damaged or the member is missing, ambiguous, or too large.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/dump.npz", logits=np.ones(2), labels=np.arange(2))
    ...     read_npz(f"{folder}/dump.npz", "labels").copy()
    ...     read_npz(f"{folder}/dump.npz", name="dump.npz")
    Traceback (most recent call last):
    stablemax.errors.StablemaxError: dump.npz: holds 2 arrays: logits, labels
    """
    called = file_name(path) if name is None else name
    with open_regular(path) as stream:
        return read_npz_file(stream, member, called)


def read_npz_file(stream: BinaryIO, member: str | None, name: str) -> np.ndarray:
    """Read one array of an open archive; see `read_npz`.

    Parameters
    ----------
    stream : BinaryIO
        A regular file.
    member : str or None
        The array's name.
    name : str
        For messages, already fit for one.

    Returns
    -------
    numpy.ndarray
    """
    with reading(name):
        size = os.fstat(stream.fileno()).st_size
    if size == 0:
        raise StablemaxError(f"{name}: is empty", _RESAVE)
    with _zip_errors(name), zipfile.ZipFile(_Bounded(stream, name)) as archive:
        info = _chosen(archive, member, name)
        called = f"{name}:{brief(_plain(info.filename), 120)}"
        if info.flag_bits & 1:
            raise StablemaxError(f"{called}: is encrypted", _RESAVE)
        if info.compress_type == zipfile.ZIP_STORED:
            return _stored(stream, archive, info, called)
        # The other methods take as much memory as the archive asks for; NumPy writes only this one.
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise StablemaxError(f"{called}: compression method {info.compress_type} is not read", _RESAVE)
        if info.file_size > MEMORY_LIMIT:
            raise StablemaxError(
                f"{called}: {size_of(info.file_size)} when decompressed; at most {MEMORY_LIMIT:,} are held in memory",
                MAP_HINT,
            )
        with archive.open(info) as data:
            return read_npy_stream(data, called, size=info.file_size)


def _plain(filename: str) -> str:
    return filename.removesuffix(".npy")


def _chosen(archive: zipfile.ZipFile, member: str | None, name: str) -> zipfile.ZipInfo:
    arrays = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    names = [_plain(info.filename) for info in arrays]
    if member is None:
        if len(arrays) == 1:
            return arrays[0]
        if not arrays:
            raise StablemaxError(
                f"{name}: holds no .npy arrays",
                "if PyTorch saved it: numpy.save('logits.npy', x.float().numpy())",
            )
        raise StablemaxError(f"{name}: holds {len(arrays):,} arrays: {listed(names)}", "say which: FILE.npz:NAME")
    found = [info for info in arrays if info.filename == member] or [
        info for info, plain in zip(arrays, names, strict=True) if plain == member
    ]
    if len(found) == 1:
        return found[0]
    asked = brief(member, 120)
    if found:
        raise StablemaxError(f"{name}: holds {asked} {len(found)} times", _RESAVE)
    raise StablemaxError(f"{name}: holds no array named {asked}", f"it holds: {listed(names) or 'nothing'}")


def _stored(stream: BinaryIO, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    if info.file_size != info.compress_size:
        raise StablemaxError(f"{name}: is stored, yet declares two sizes", "copy it again, or " + _RESAVE)
    if info.file_size <= MEMORY_LIMIT:
        # Reading to the end makes zipfile compare the checksum. A larger member would take
        # longer than opening a file should, and is mapped on the strength of its sizes alone.
        with archive.open(info) as data:
            while data.read(CHUNK):
                pass
    with archive.open(info) as data:
        header = read_header(data, name)
    check_size(header, info.file_size, name)
    stream.seek(info.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    start = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    if signature != b"PK\x03\x04" or start + info.file_size > os.fstat(stream.fileno()).st_size:
        raise StablemaxError(f"{name}: the archive ends before the array does", "copy it again, or " + _RESAVE)
    return mapped(stream, header, start)
