"""The watch of a program that was started to be watched: it begins with PyTorch, and reports to a folder."""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import sys
from dataclasses import replace
from pathlib import Path

from stablemax import __version__
from stablemax.results.watched import Watched
from stablemax.text.files import whole_file
from stablemax.watching.torch.watcher import Watcher
from stablemax.watching.watch_options import run_from_text

BEGUN, RESULT, MISSING = "begun", "result", "missing"


def begin(text: str) -> None:
    """Watch this process to its end; what is found is reported at once, and how much was watched at the end."""
    run = run_from_text(text)
    rank = os.environ.get("RANK", "0")
    if run.options.repro and rank not in ("", "0"):
        # Each process of several has its own.
        run = replace(run, options=replace(run.options, repro=f"{run.options.repro}-rank{rank}"))
    process = os.getpid()
    Path(run.folder, f"{BEGUN}-{process}").touch()
    watcher = Watcher(run.options, lambda result: _tell(result, run.folder, watcher.found_ns))
    stack = contextlib.ExitStack()
    stack.enter_context(watcher.watching())

    def finish() -> None:
        if os.getpid() == process:
            stack.close()
            _report(watcher.result, run.folder, watcher.found_ns)

    atexit.register(finish)


def _tell(result: Watched, folder: str, found_ns: int) -> None:
    _report(result, folder, found_ns)
    # Standard output is the program's.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"stablemax: {result.finding}\n")
        sys.stderr.flush()


def _report(result: Watched, folder: str, found_ns: int) -> None:
    with contextlib.suppress(FileNotFoundError), whole_file(str(Path(folder, f"{RESULT}-{os.getpid()}"))) as stream:
        pickle.dump((__version__, found_ns, result), stream)
