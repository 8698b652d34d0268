"""The .npz format: a zip archive of .npy files, read under bounds of our own."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO

from stablemax.errors import StablemaxError
from stablemax.inputs.files import length_of, reading
from stablemax.inputs.npy import CHUNK, check_size, read_header
from stablemax.inputs.npy_array import spool_npy
from stablemax.inputs.spool import IN_MEMORY
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.wording import brief, listed, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_LIMIT = 4 * 2**20
"""Most bytes that one read of the archive may ask for; bounds the central directory above all."""
CHECKED = 256 * 2**20
"""Largest member of a local archive whose checksum is compared."""
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


def open_npz(stream: BinaryIO, path: str, member: str | None, name: str, *, in_memory: int = IN_MEMORY) -> StoredArray:
    """Find one array of an open .npz archive.

    Parameters
    ----------
    stream : BinaryIO
        The archive; it can seek.
    path : str
        Its path or address.
    member : str or None
        The array's name, as it was given to `numpy.savez`. May be left out where there is only one.
    name : str
        What to call the archive in messages, already fit for one.
    in_memory : int
        Most bytes to keep in memory.

    Returns
    -------
    StoredArray
        A member stored without compression is left where it lies; another is decompressed into
        memory, or into a temporary file where it is large.

    Raises
    ------
    StablemaxError
        When the archive is damaged or the member is missing or ambiguous.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryFile() as stream:
    ...     np.savez(stream, logits=np.ones(2), labels=np.arange(2))
    ...     open_npz(stream, "dump.npz", "labels", "dump.npz").shape
    ...     open_npz(stream, "dump.npz", None, "dump.npz")
    Traceback (most recent call last):
    stablemax.errors.StablemaxError: dump.npz: holds 2 arrays: logits, labels
    """
    with reading(name):
        size = length_of(stream)
    if size == 0:
        raise StablemaxError(f"{name}: is empty", _RESAVE)
    with _zip_errors(name), zipfile.ZipFile(_Bounded(stream, name)) as archive:
        info = _chosen(archive, member, name)
        called = f"{name}:{brief(_plain(info.filename), 120)}"
        if info.flag_bits & 1:
            raise StablemaxError(f"{called}: is encrypted", _RESAVE)
        if info.compress_type == zipfile.ZIP_STORED:
            found = _stored(stream, archive, info, path, called)
        # The other methods take as much memory as the archive asks for; NumPy writes only this one.
        elif info.compress_type != zipfile.ZIP_DEFLATED:
            raise StablemaxError(f"{called}: compression method {info.compress_type} is not read", _RESAVE)
        else:
            with archive.open(info) as data:
                found = spool_npy(data, called, size=info.file_size, kind="npz", in_memory=in_memory)
    # A single array is called by the archive's name alone, unless the user named it.
    return found if member is not None else dataclasses.replace(found, name=name)


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


def _stored(stream: BinaryIO, archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str, name: str) -> StoredArray:
    if info.file_size != info.compress_size:
        raise StablemaxError(f"{name}: is stored, yet declares two sizes", "copy it again, or " + _RESAVE)
    if info.file_size <= CHECKED and "://" not in path:
        # Reading to the end makes zipfile compare the checksum. A larger member would take
        # longer than opening a file should, and is read on the strength of its sizes alone.
        with archive.open(info) as data:
            while data.read(CHUNK):
                pass
    with archive.open(info) as data:
        header = read_header(data, name)
    check_size(header, info.file_size, name)
    stream.seek(info.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    start = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    if signature != b"PK\x03\x04" or start + info.file_size > length_of(stream):
        raise StablemaxError(f"{name}: the archive ends before the array does", "copy it again, or " + _RESAVE)
    return StoredArray(
        header.shape,
        header.dtype,
        name,
        "npz",
        path=path,
        offset=start + header.offset,
        fortran_order=header.fortran_order,
    )
