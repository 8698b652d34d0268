"""The .npz format: a zip archive of .npy files, read under bounds of our own."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

from stablemax.inputs.file_format import FileFormat, OpenedFile
from stablemax.inputs.foreign_text import brief, size_of
from stablemax.inputs.formats.npy import check_size, read_header, spool_npy
from stablemax.inputs.regular_file import length_of, open_file, pieces_of, reading, version_of
from stablemax.inputs.spooled import check_expanded
from stablemax.inputs.stored import StoredArray
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    # Loading it takes longer than reading a .npy file, which needs this module only to know of it.
    import zipfile

READ_LIMIT = 4 * 2**20
"""Most bytes that one read of the archive may ask for; bounds the central directory above all."""
CHECKED = 256 * 2**20
"""Largest member of a local archive whose checksum is compared."""
_LOCAL_HEADER = 30
"""Bytes of the header before a member; its last four are the lengths of the two fields that follow it."""
_RESAVE = "save it again with numpy.savez, or the array alone with numpy.save"


class _Bounded:
    """A file that refuses large reads.

    zipfile reads the whole central directory at once, of whatever size the archive claims. Bounding the read itself
    holds for every way in which an archive can claim a size.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name

    def read(self, size: int = -1, /) -> bytes:
        if size > READ_LIMIT:
            raise StablemaxError(
                f"{self._name}: the table of contents claims {size_of(size)}; at most {READ_LIMIT:,} are read", _RESAVE
            )
        return self._stream.read(READ_LIMIT if size < 0 else size)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def seekable(self) -> bool:
        return True


@contextlib.contextmanager
def _zip_errors(name: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that are empty, in fields that few archivers write
            yield
    except (StablemaxError, MemoryError):
        raise
    except Exception as error:  # zipfile, zlib and struct raise a dozen of their own at a damaged archive
        raise StablemaxError(
            f"{name}: the archive is damaged ({brief(error, 160)})", "copy it again, or " + _RESAVE
        ) from None


def open_npz(file: OpenedFile) -> StoredArray:
    """Find one array of an .npz archive: the named one, or the only one.

    A member stored without compression is left where it lies; another is yet to be decompressed, into memory, or into a
    temporary file where it is large.

    >>> import io, numpy as np
    >>> from stablemax.inputs.file_format import OpenedFile
    >>> stream = io.BytesIO()
    >>> np.savez(stream, logits=np.ones(2), labels=np.arange(2))
    >>> open_npz(OpenedFile(stream, "dump.npz", "dump.npz", member="labels")).shape
    (2,)
    >>> open_npz(OpenedFile(stream, "dump.npz", "dump.npz"))
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: dump.npz: holds 2 arrays: logits, labels
    """
    import zipfile

    name, stream = file.name, cast("BinaryIO", file.stream)
    if length_of(stream) == 0:
        raise StablemaxError(f"{name}: is empty", _RESAVE)
    with _member(file) as (archive, info, called):
        if info.compress_type == zipfile.ZIP_STORED:
            stored = _stored(stream, archive, info, file.path, called)
        else:
            with archive.open(info) as data:
                header = read_header(data, called, "npz")
            check_size(header, info.file_size)
            unzip = f"unzip it first: python -m zipfile -e {name} FOLDER"
            check_expanded(info.file_size, info.compress_size, called, unzip, force=file.limits.force)
            stored = replace(header, unread=partial(_decompressed, replace(file, stream=io.BytesIO()), header))
    # A single array is called by the archive's name alone, unless the user named it.
    return stored if file.member is not None else replace(stored, name=name)


@contextlib.contextmanager
def _member(file: OpenedFile) -> Iterator[tuple[zipfile.ZipFile, zipfile.ZipInfo, str]]:
    """Give the archive, the entry of the array that was named, and what that is called in messages."""
    import zipfile

    bounded = _Bounded(cast("BinaryIO", file.stream), file.name)
    with _zip_errors(file.name), zipfile.ZipFile(bounded) as archive:
        info = _chosen(archive, file)
        called = f"{file.name}:{brief(info.filename.removesuffix('.npy'), 120)}"
        if info.flag_bits & 1:
            raise StablemaxError(f"{called}: is encrypted", _RESAVE)
        # The other methods take as much memory as the archive asks for; NumPy writes only these.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise StablemaxError(f"{called}: compression method {info.compress_type} is not read", _RESAVE)
        yield archive, info, called


def _decompressed(file: OpenedFile, declared: StoredArray) -> StoredArray:
    """Read a compressed member of a file that was closed meanwhile."""
    with (
        open_file(file.path, file.limits.timeout_s) as stream,
        reading(file.name),
        _member(replace(file, stream=stream)) as found,
    ):
        archive, info, called = found
        with archive.open(info) as data:
            stored = spool_npy(replace(file, stream=data, path="", name=called), size=info.file_size, kind="npz")
    if (stored.shape, stored.dtype) != (declared.shape, declared.dtype):
        raise StablemaxError(f"{called}: was replaced while it was read", "is it still being written? try again")
    return stored if file.member is not None else replace(stored, name=file.name)


def _chosen(archive: zipfile.ZipFile, file: OpenedFile) -> zipfile.ZipInfo:
    arrays = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    if not arrays:
        raise StablemaxError(
            f"{file.name}: holds no .npy arrays", "if PyTorch saved it: numpy.save('logits.npy', x.float().numpy())"
        )
    names = [info.filename for info in arrays]
    return arrays[file.pick(names if file.member in names else [name.removesuffix(".npy") for name in names], FORMAT)]


def _stored(stream: BinaryIO, archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str, name: str) -> StoredArray:
    if info.file_size != info.compress_size:
        raise StablemaxError(f"{name}: is stored, yet declares two sizes", "copy it again, or " + _RESAVE)
    if info.file_size <= CHECKED and "://" not in path:
        # Reading to the end makes zipfile compare the checksum. A larger member would take
        # longer than opening a file should, and is read on the strength of its sizes alone.
        with archive.open(info) as data:
            for _ in pieces_of(data):
                pass
    with archive.open(info) as data:
        header = read_header(data, name, "npz")
    check_size(header, info.file_size)
    stream.seek(info.header_offset)
    local = stream.read(_LOCAL_HEADER)
    start = info.header_offset + _LOCAL_HEADER + sum(int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
    if not local.startswith(b"PK\x03\x04") or start + info.file_size > length_of(stream):
        raise StablemaxError(f"{name}: the archive ends before the array does", "copy it again, or " + _RESAVE)
    return replace(header, path=path, version=version_of(stream), offset=start + header.offset)


FORMAT = FileFormat(
    "npz",
    "an archive of numpy.savez",
    (".npz",),
    open_npz,
    begins=re.compile(rb"PK\x03\x04|PK\x05\x06"),
    members="array",
)
