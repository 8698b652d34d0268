"""Where a result goes and how it is written, as the options say; and notes on standard error."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stablemax.cli import printable, to_stderr
from stablemax.render.forms import Page, ResultKind
from stablemax.render.writers import Writer, chosen
from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stablemax.cli.options import PrintOptions
    from stablemax.text.outcomes import Outcome

# Lines about what failed that are shown.
_SHOWN = 10


@dataclass(frozen=True)
class Output:
    """A writer, and where it writes to."""

    kind: ResultKind
    writer: Writer
    printing: PrintOptions

    def write(self, result: Any, failures: frozenset[Outcome] = frozenset(), **options: Any) -> None:
        """Write a result; the options are those of its document, the failures what its checks fail on."""
        to_file = self.printing.output is not None
        page = Page(self.printing.color, to_file, options, failures)
        emit(self.writer.write(self.kind, result, page), self.printing)

    def finish(
        self,
        result: Any,
        notes: Iterable[str],
        failed: Sequence[str] = (),
        fails_on: frozenset[Outcome] = frozenset(),
        **options: Any,
    ) -> int:
        """Print notes, the result and lines about what failed; return the exit code, 1 where there are any."""
        say(notes, self.printing)
        self.write(result, fails_on, **options)
        for line in failed:
            warn(line)
        return 1 if failed else 0


def output_of(
    kind: ResultKind, requested: str | None, printing: PrintOptions, *read: str | None, default: str = "table"
) -> Output:
    """Return how and where a result is written; refuse what cannot be, before anything is computed."""
    check_output(printing, *read)
    return Output(kind, chosen(kind, requested, printing.output, default), printing)


def emit(pieces: Iterable[str], options: PrintOptions) -> None:
    """Write text to standard output as it comes, or whole to the file of -o."""
    from stablemax.text.files import whole_file, write_out

    if options.output is None:
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
        for piece in pieces:
            write_out(piece.encode(encoding, "backslashreplace").decode(encoding))
        return
    with whole_file(options.output) as stream:
        stream.writelines(piece.encode("utf-8") for piece in pieces)


def check_output(options: PrintOptions, *read: str | None) -> None:
    """Refuse an output that cannot be written, or would replace what is read, before anything is computed.

    What is read is named as it was typed: paths, addresses, members and patterns.
    """
    from stablemax.inputs.same_file import is_read
    from stablemax.text.files import check_place

    path = options.output
    if path is None:
        return
    if path == "-":
        raise StablemaxError("-o - names no file", "leave -o out to write to standard output")
    refuse_address(path)
    check_place(path)
    if is_read(path, read):
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

    >>> module_file("losses.focal:loss")
    'losses/focal.py'
    """
    return f"{target.rpartition(':')[0].replace('.', '/')}.py"


def say(notes: Iterable[str], options: PrintOptions) -> None:
    """Print notes on standard error."""
    if not options.quiet:
        for note in notes:
            warn(f"note: {note}")


def warn(line: str) -> None:
    """Print a line on standard error."""
    to_stderr(printable(line) + "\n")


def failed(finding: str, lines: Sequence[str]) -> list[str]:
    """Word what failed, with the first ten lines about it."""
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [f"failed: {finding}", *(f"  {line}" for line in (*lines[:_SHOWN], *more))]
