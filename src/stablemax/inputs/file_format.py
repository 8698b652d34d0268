"""The record of a file format, and the names that the command line knows without NumPy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stablemax.inputs.foreign_text import brief, listed
from stablemax.inputs.regular_file import Readable
from stablemax.inputs.server_limits import TIMEOUT_S
from stablemax.text.errors import StablemaxError

if TYPE_CHECKING:
    from stablemax.inputs.stored import StoredArray

NAMES = ("npy", "npz", "csv", "tsv", "safetensors", "parquet", "jsonl")
"""The formats of `inputs/formats`, as --input-format has them; each is the first ending of its files, too."""
IN_MEMORY = 64 * 2**20
"""Most bytes of an array that stay in memory where the array has to be read."""


@dataclass(frozen=True)
class ReadingLimits:
    """What it may take to read a file."""

    #: Most bytes that stay in memory where the array has to be read.
    in_memory: int = IN_MEMORY
    #: Whether a file is read that declares more than a thousand times its size; None: no, and no option says so.
    force: bool | None = None
    #: How long the server of an address may be silent.
    timeout_s: float = TIMEOUT_S


USUAL_LIMITS = ReadingLimits()


@dataclass(frozen=True)
class TableOptions:
    """How to read a table; None means: find out, and say so."""

    #: One character, or a word: comma, semicolon, tab, pipe, space (any run of blanks).
    delimiter: str | None = None
    #: Whether the first line names the columns.
    header: bool | None = None
    #: Whether the first column numbers or names the rows, and is left out.
    index_column: bool | None = None
    #: Lines that begin with this text are comments and left out; no line is a comment where it is empty.
    comment: str = "#"
    #: The column to take out as labels: its name, or its number counted from 0 over all the columns of the file.
    label_column: str | None = None
    #: In a table of labels, the names that the logits' header gives the classes, if any; None in a table of logits.
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class OpenedFile:
    """An open file, and the options that the user gave for it."""

    #: At its beginning. The stream can seek, except the one that `FileFormat.open_pipe` gets.
    stream: Readable
    #: The name that messages show.
    name: str
    #: A path or an address; empty for a stream that cannot seek.
    path: str = ""
    table: TableOptions = field(default_factory=TableOptions)
    limits: ReadingLimits = USUAL_LIMITS
    #: The array that the user named, in a format with members.
    member: str | None = None

    def pick(self, names: Sequence[str], kind: FileFormat) -> int:
        """Return the index of the named member among those of the file, or of the only one."""
        if self.member is None:
            if len(names) == 1:
                return 0
            raise StablemaxError(
                f"{self.name}: holds {len(names):,} {kind.members}s: {listed(names)}",
                f"say which: FILE{kind.endings[0]}:NAME",
            )
        member, count = brief(self.member, 120), names.count(self.member)
        if not count:
            raise StablemaxError(f"{self.name}: holds no {kind.members} named {member}", f"it holds: {listed(names)}")
        if count > 1:
            raise StablemaxError(f"{self.name}: holds {member} {count} times", "save it again")
        return names.index(self.member)


@dataclass(frozen=True)
class FileFormat:
    """A format that arrays are read from. A new one is one file in `inputs/formats`, and its name in `NAMES`.

    Parameters
    ----------
    name : str
        As in --input-format.
    help : str
        What it is, in a few words.
    endings : tuple of str
        Of file names: in lower case, with the dot.
    open : callable
        Finds the array in an `OpenedFile`, and reads its numbers only where it must.
    begins : re.Pattern of bytes, optional
        Matches the first 16 bytes of every such file, and of no other; none for text.
    open_pipe : callable, optional
        The same for a stream that cannot seek. Without it such a stream is copied to a temporary file first.
    members : str
        What a file may hold several of, each with a name (``FILE:NAME``); empty where it holds one array.
    is_table : bool
        Whether it always has two dimensions, so that a single column stands for one number a row.
    guess : re.Pattern of bytes, optional
        Matches the beginning of text that is taken for this format where nothing names one; other text is a table.
    cells : callable, optional
        Calls a visitor with the cells of each row of the array as they are printed, in a format of text.
    """

    name: str
    help: str
    endings: tuple[str, ...]
    open: Callable[[OpenedFile], StoredArray]
    begins: re.Pattern[bytes] | None = None
    open_pipe: Callable[[OpenedFile], StoredArray] | None = None
    members: str = ""
    is_table: bool = False
    guess: re.Pattern[bytes] | None = None
    cells: Callable[[OpenedFile, Callable[[list[str]], None]], None] | None = None
