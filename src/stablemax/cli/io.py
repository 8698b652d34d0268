"""What a command prints: its result, as the options say; notes, failures and progress on standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stablemax.cli import printable, to_stderr
from stablemax.render.forms import Page, ResultKind
from stablemax.render.writers import Writer, chosen
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.outcomes import Grade, Outcome

if TYPE_CHECKING:
    from stablemax.cli.options import PrintOptions

# Lines about what failed that are shown.
_SHOWN = 10
DELAY_S = 1.0
"""Time after which a job shows its progress."""


@dataclass(frozen=True)
class Output:
    """A writer, and where it writes to."""

    kind: ResultKind
    writer: Writer
    printing: PrintOptions

    def write(self, result: Any, failures: frozenset[Outcome | Grade] = frozenset(), **options: Any) -> None:
        """Write a result; the options are those of its document, the failures what its checks fail on."""
        to_file = self.printing.output is not None
        page = Page(self.printing.color, to_file, options, failures)
        pieces, broken = self.writer.write(self.kind, result, page), self.writer.broken
        if broken is not None and not to_file:
            # No writer of bytes writes to standard output.
            pieces = (broken(str(piece)) for piece in pieces)
        emit(pieces, self.printing)

    def finish(
        self,
        result: Any,
        notes: Iterable[str],
        failed: Sequence[str] = (),
        fails_on: frozenset[Outcome | Grade] = frozenset(),
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


def emit(pieces: Iterable[str | bytes], options: PrintOptions) -> None:
    """Write text to standard output as it comes, or whole to the file of -o."""
    from stablemax.cli.pager import write_paged
    from stablemax.text.files import whole_file

    if options.output is None:
        encoding = getattr(sys.stdout, "encoding", None) or "ascii"
        write_paged((_readable(piece, encoding) for piece in pieces), wanted=options.pager)
        return
    with whole_file(options.output) as stream:
        stream.writelines(piece.encode("utf-8") if isinstance(piece, str) else piece for piece in pieces)


def _readable(piece: str | bytes, encoding: str) -> str:
    assert isinstance(piece, str), "a writer of bytes goes to a file"
    return piece.encode(encoding, "backslashreplace").decode(encoding)


def check_output(options: PrintOptions, *read: str | None) -> None:
    """Refuse an output that cannot be written, or would replace what is read, before anything is computed.

    What is read is named as it was typed: paths, addresses, members and patterns.
    """
    from stablemax.inputs.spec import is_read
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


@contextlib.contextmanager
def progress(options: PrintOptions, text: str, *, unit: str = "") -> Iterator[Callable[[int, int, str], None]]:
    """Show a job once it takes longer than a second.

    Yields what is called with (steps done, steps in all, what runs now); a job that cannot tell need not call it.
    With the unit "B" the steps are bytes, and their rate is shown. Nothing is shown where standard error is no
    terminal.
    """
    last = [(0, 0, text)]

    def step(done: int, total: int, now: str) -> None:
        last[0] = (done, total, now)

    if options.quiet or sys.stderr is None or not sys.stderr.isatty():
        yield step
        return
    finished = threading.Event()
    watcher = threading.Thread(target=_watch, args=(last, finished, unit), daemon=True)
    watcher.start()
    try:
        yield step
    finally:
        finished.set()
        watcher.join()


def _watch(last: list[tuple[int, int, str]], finished: threading.Event, unit: str) -> None:
    """Keep a line of the terminal up to date until the job is finished, and wipe it in the end."""
    began = time.monotonic()
    if finished.wait(DELAY_S):
        return
    # Loading Rich takes as long as many a job.
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    what = (rich.TaskProgressColumn(), rich.TextColumn("{task.description}", markup=False))
    time_spent = (*what, rich.TimeElapsedColumn())
    in_bytes = (
        *(*what, rich.DownloadColumn(), rich.TransferSpeedColumn()),
        *(rich.TimeRemainingColumn(), rich.TextColumn("left")),
    )
    # Standard output and error go where they went: the one is the result.
    bar = rich.Progress(console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    task = bar.add_task("", total=None)
    bar.tasks[0].start_time = began
    while True:
        done, total, now = last[0]
        bar.columns = in_bytes if unit and total else time_spent
        # The numbers beside the text are never cut.
        bar.update(task, description=now[: max(10, console.width - 48)], completed=done, total=total or None)
        bar.start()
        if finished.wait(0.1):
            break
    bar.stop()
