"""A .npy file, or a stream of one, as a stored array."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from stablemax.errors import StablemaxError
from stablemax.inputs.files import length_of
from stablemax.inputs.npy import CHUNK, TEXT_MODE, check_size, read_header
from stablemax.inputs.spool import IN_MEMORY, Spool, check_room
from stablemax.inputs.stored import StoredArray
from stablemax.inputs.wording import size_of

if TYPE_CHECKING:
    from stablemax.inputs.npy import Readable


def open_npy(stream: BinaryIO, path: str, name: str) -> StoredArray:
    """Read the header of a .npy file and compare sizes.

    Parameters
    ----------
    stream : BinaryIO
        The open file, at its beginning.
    path : str
        Its path or address.
    name : str
        For messages, already fit for one.

    Returns
    -------
    StoredArray
        None of its numbers is read yet.

    Raises
    ------
    StablemaxError
        When it is not a whole .npy file of real numbers or booleans.
    """
    header = read_header(stream, name)
    check_size(header, length_of(stream), name)
    return StoredArray(
        header.shape,
        header.dtype,
        name,
        "npy",
        path=path,
        offset=header.offset,
        fortran_order=header.fortran_order,
    )


def spool_npy(
    stream: Readable, name: str, *, size: int | None = None, kind: str = "npy", in_memory: int = IN_MEMORY
) -> StoredArray:
    """Read a .npy array from a stream that cannot seek.

    Parameters
    ----------
    stream : Readable
        Standard input, or a member of an archive.
    name : str
        For messages, already fit for one.
    size : int, optional
        The size of the whole stream, where it is known beforehand.
    kind : str
        The format to note.
    in_memory : int
        Most bytes to keep in memory.

    Returns
    -------
    StoredArray
        In memory, or in a temporary file where it is large.

    Raises
    ------
    StablemaxError
        When there are fewer or more bytes than declared, or more than fit on the disk.

    Examples
    --------
    >>> import io
    >>> import numpy as np
    >>> buffer = io.BytesIO()
    >>> np.save(buffer, np.array([3, 1]))
    >>> spool_npy(io.BytesIO(buffer.getvalue()), "standard input").load().array
    array([3, 1])
    """
    header = read_header(stream, name)
    if size is not None:
        check_size(header, size, name)
    check_room(header.data_bytes, name)
    count = 0
    with Spool(name, in_memory) as spool:
        while count < header.data_bytes and (piece := stream.read(min(CHUNK, header.data_bytes - count))):
            spool.write(piece)
            count += len(piece)
        check_size(header, header.offset + count, name)
        if stream.read(1):
            raise StablemaxError(
                f"{name}: header and data make {size_of(header.offset + header.data_bytes)}, but more bytes follow",
                f"either bytes were appended, or {TEXT_MODE}",
            )
        return spool.stored(header.shape, header.dtype, format=kind, fortran_order=header.fortran_order)
