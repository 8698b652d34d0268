"""Arrays as files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from stablemax.inputs.stored import StoredArray
from stablemax.numerics.formats import Array
from stablemax.render.array_text import delimited, plain
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.files import whole_file, writing


class _Writable(NamedTuple):
    """A file that NumPy writes to by `write`; into a plain file it writes itself, and hides why a full disk failed."""

    write: Callable[[bytes], object]


def _npy(stored: StoredArray, file: IO[bytes]) -> None:
    np.save(_Writable(file.write), plain(stored.array), allow_pickle=False)


def _text(delimiter: str) -> Callable[[StoredArray, IO[bytes]], None]:
    def write_text(stored: StoredArray, file: IO[bytes]) -> None:
        for line in delimited(stored, delimiter):
            file.write(line.encode("ascii"))

    return write_text


FILES: dict[str, Callable[[StoredArray, IO[bytes]], None]] = {".npy": _npy, ".csv": _text(","), ".tsv": _text("\t")}
"""How an array is written to a file, by its ending."""


def check_target(path: str | None, output_format: str | None, *, force: bool, option: str = "-o") -> None:
    """Refuse a file before anything is computed: a wrong ending, a file that is there, a format for standard output."""
    if path is None:
        return
    if output_format is not None:
        raise StablemaxError(
            f"--output-format {output_format} is for standard output, and -o {shown(path)} is given",
            "leave out one of the two",
        )
    if Path(path).suffix.lower() not in FILES:
        *others, last = FILES
        raise StablemaxError(
            f"{shown(path)}: arrays are written as {', '.join(others)} or {last}", f"give {option} one of these endings"
        )
    if Path(path).exists() and not force:
        raise StablemaxError(f"{shown(path)}: exists", "add --force to replace it")


def write_file(stored: StoredArray, path: str, *, force: bool) -> None:
    """Write an array to a file, whole or not at all; formats that NumPy lacks as float32, which holds their numbers."""
    with whole_file(path, force=force) as file:
        FILES[Path(path).suffix.lower()](stored, file)


def write_files(arrays: Sequence[tuple[Array, str, str]], *, force: bool) -> None:
    """Write arrays, each with its file and the option that names it: all of them or none."""
    with ExitStack() as stack:
        files = [stack.enter_context(whole_file(path, force=force, option=option)) for _, path, option in arrays]
        for (array, path, option), file in zip(arrays, files, strict=True):
            # All files are open here: without this an error would name the last of them.
            with writing(path, option):
                FILES[Path(path).suffix.lower()](StoredArray.of(array), file)
                file.flush()
