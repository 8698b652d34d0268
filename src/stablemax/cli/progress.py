"""What runs, how far it is and how long it will take, on a terminal's standard error."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stablemax.cli.options import PrintOptions

DELAY_S = 1.0


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
