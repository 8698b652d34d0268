"""Where a result goes and how it is written, as the options say."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from stablemax.errors import StablemaxError, shown
from stablemax.vocabulary import OutputFormat

if TYPE_CHECKING:
    from collections.abc import Collection

    from stablemax.cli.options import PrintOptions
    from stablemax.render.ci import Result
    from stablemax.results import Outcome

_BY_ENDING = {
    ".json": OutputFormat.JSON,
    ".ndjson": OutputFormat.NDJSON,
    ".jsonl": OutputFormat.NDJSON,
    ".csv": OutputFormat.CSV,
    ".md": OutputFormat.MARKDOWN,
}


def check_output(options: PrintOptions, *read: str | None) -> None:
    """Refuse an output that cannot be written, or would replace what is read, before anything is computed.

    Parameters
    ----------
    options : PrintOptions
        -o.
    *read : str or None
        Everything that is read, as it was typed: paths, addresses, members and patterns.

    Raises
    ------
    StablemaxError
        With the fix as hint.
    """
    from stablemax.output import check_place

    path = options.output
    if path is None:
        return
    if path == "-":
        raise StablemaxError("-o - names no file", "leave -o out to write to standard output")
    refuse_address(path)
    check_place(path)
    for spec in read:
        if spec is not None and any(_is_same(one, path) for one in _files_of(spec)):
            raise StablemaxError(f"{shown(path)}: is an input, too", "give -o another name")


def refuse_address(path: str, option: str = "-o") -> None:
    """Refuse to write to an address."""
    from stablemax.inputs.foreign_text import file_name
    from stablemax.inputs.spec import is_address

    if is_address(path):
        raise StablemaxError(
            f"{file_name(path)}: addresses are read, not written",
            f"write to a file of this machine with {option}, and copy it there",
        )


def module_file(target: str) -> str:
    """Return where code named as package.module:function lies, seen from the current folder.

    Examples
    --------
    >>> module_file("losses.focal:loss")
    'losses/focal.py'
    """
    return f"{target.rpartition(':')[0].replace('.', '/')}.py"


def _files_of(spec: str) -> list[str | int]:
    """Return the files of this machine that a user names, standard input as its descriptor."""
    from stablemax.inputs.spec import expand, is_address, split_spec

    path = split_spec(spec)[0]
    if path == "-":
        # None where it was closed; in tests it is no file.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            return [sys.stdin.fileno()]
        return []
    if is_address(path):
        from stablemax.inputs.remote import local_path

        local = local_path(path)
        if local is None:
            return []
        path = local
    return list(expand([path]))


def _is_same(one: str | int, other: str) -> bool:
    try:
        return os.path.samestat(os.stat(one), os.stat(other))  # noqa: PTH116 - `one` may be a descriptor
    except (OSError, ValueError):
        return False


def written_as(
    given: OutputFormat | None,
    options: PrintOptions,
    what: str,
    formats: Collection[OutputFormat] = tuple(OutputFormat),
    default: OutputFormat = OutputFormat.TABLE,
) -> OutputFormat:
    """Return how a result is written: as was asked for, else as the ending of -o says.

    Parameters
    ----------
    given : OutputFormat or None
        --output-format.
    options : PrintOptions
        -o.
    what : str
        The result, in words.
    formats : collection of OutputFormat
        Those that it is written in.
    default : OutputFormat
        Where nothing says otherwise.

    Raises
    ------
    StablemaxError
        If it is not written so.
    """
    how = given or _BY_ENDING.get(Path(options.output or "").suffix.lower(), default)
    if how not in formats:
        hint = "junit and github are for compare, check and judge"
        raise StablemaxError(
            f"{what} is not written as {how}", hint if how.is_for_ci else f"--output-format {', '.join(formats)}"
        )
    return how


def emit_for_ci(result: Result, how: OutputFormat, options: PrintOptions, failures: Collection[Outcome] = ()) -> None:
    """Write a result for a CI system; GitHub's summary goes to the file that it names."""
    from stablemax.render.ci import write

    # Empty where no runner set it.
    summary, root = (os.environ.get(name) or None for name in ("GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"))
    emit(write(result, how, failures=failures, summary_path=summary, root=root), options)


def emit(text: str, options: PrintOptions) -> None:
    """Write a finished text to standard output, or whole to the file of -o."""
    from stablemax.output import whole_file, write_out

    if options.output is None:
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
        write_out(text.encode(encoding, "backslashreplace").decode(encoding))
        return
    with whole_file(options.output) as stream:
        stream.write(text.encode("utf-8"))
