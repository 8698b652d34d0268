"""Runs of the command line in children that are forked from one process that has loaded everything: many in a minute.

`python -m tests.cli.forked_runs` reads runs from standard input, one JSON list of them, and prints what became of each.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from stablemax.cli import main as program

ROOT = Path(__file__).parents[2]
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HIDDEN = b"h"


@dataclass(frozen=True)
class Run:
    """A command, where and how it is run, and the signal that ends it."""

    arguments: tuple[str, ...]
    cwd: str
    #: What stands in place of the standard streams, by number: a path, or None for one that is closed.
    streams: dict[int, str | None] = field(default_factory=dict)
    #: Limits by name: what is there by now, and so much more.
    limits: dict[str, int] = field(default_factory=dict)
    #: The signal, and when it comes: as a share of the time that the last run without one took.
    signal: int = 0
    after: float = 0.0
    #: Whether that is counted from when a hidden file is opened beside the target.
    when_hidden: bool = False
    #: The file of -o, and what is in it before.
    target: str = ""
    old: str | None = None


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code, negative for a signal, and what it wrote."""

    code: int
    out: str
    err: str
    #: What is in the file of -o, as a checksum; empty where it is not there.
    content: str
    #: What is in its folder by now, and in that of temporary files.
    names: list[str]
    temporary: list[str]


def checksum(content: bytes) -> str:
    """Return what stands for a content."""
    return hashlib.sha256(content).hexdigest()


def ended(runs: list[Run], timeout_s: float = 600.0, **environment: str) -> list[Ended]:
    """Start a process that forks, and let it run these, one after the other."""
    given = json.dumps([asdict(run) for run in runs])
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.forked_runs"],
        input=given, capture_output=True, text=True, cwd=ROOT, timeout=timeout_s, check=False,
        env={**os.environ, "PYTHONUTF8": "1", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [Ended(**one) for one in json.loads(done.stdout)]


def main() -> None:
    """Load everything, then fork for each run."""
    from stablemax.cli.app import build

    build()
    runs = [Run(**{**one, "arguments": tuple(one["arguments"])}) for one in json.load(sys.stdin)]
    # What a first run loads; its output goes nowhere.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for arguments, folder in dict.fromkeys((run.arguments, run.cwd) for run in runs):
            sys.argv = ["stablemax", *arguments]
            os.chdir(folder)
            program._run()
    whole_s = 0.0
    results = []
    for run in runs:
        result, took_s = _ended(run, whole_s)
        if not run.signal:
            whole_s = took_s
        results.append(result)
    json.dump([asdict(one) for one in results], sys.stdout)


def _ended(run: Run, whole_s: float) -> tuple[Ended, float]:
    target = Path(run.cwd, run.target)
    if run.target:
        target.unlink(missing_ok=True)
    if run.old is not None:
        target.write_text(run.old)
    (out, its_out), (err, its_err), (told, its_told) = os.pipe(), os.pipe(), os.pipe()
    began = time.monotonic()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    child = os.fork()
    if child == 0:
        try:
            _child(run, its_out, its_err, its_told)
        finally:
            os._exit(99)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    for descriptor in (its_out, its_err, its_told):
        os.close(descriptor)
    if run.when_hidden:
        os.read(told, 1)
        began = time.monotonic()
    if run.signal:
        time.sleep(run.after * whole_s)
        os.kill(child, run.signal)
    texts = []
    for descriptor in (out, err):
        with os.fdopen(descriptor, "rb") as stream:
            texts.append(stream.read().decode("utf-8", "replace"))
    _, status = os.waitpid(child, 0)
    os.close(told)
    took_s = time.monotonic() - began
    content = checksum(target.read_bytes()) if run.target and target.exists() else ""
    names, temporary = (sorted(path.name for path in Path(folder).iterdir()) for folder in (run.cwd, gettempdir()))
    return Ended(os.waitstatus_to_exitcode(status), texts[0], texts[1], content, names, temporary), took_s


def _child(run: Run, out: int, err: int, told: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, out, err)):
        os.dup2(descriptor, number)
    os.chdir(run.cwd)
    for number, path in run.streams.items():
        if path is None:
            os.close(int(number))
        else:
            os.dup2(os.open(path, os.O_RDWR), int(number))
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        stream = None
        with contextlib.suppress(OSError):
            os.fstat(number)
            stream = os.fdopen(number, mode, 1 if number == 2 else -1, encoding="utf-8", closefd=False)
        setattr(sys, name, stream)
    if run.when_hidden:
        sys.addaudithook(lambda event, given: _tell(told, event, given))
    _confine(run)
    sys.argv = ["stablemax", *run.arguments]
    code: Any = 0
    # Signals wait until the program has its handlers, and from when it has said its last word.
    really = program._run

    def listening() -> int:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        return really()

    program._run = listening
    try:
        try:
            program.main()
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    except SystemExit as end:  # that of the program, or of a signal that came just behind it
        code = end.code
    atexit._run_exitfuncs()
    os._exit(code if isinstance(code, int) else 1)


def _confine(run: Run) -> None:
    import resource

    for name, more in run.limits.items():
        limit = getattr(resource, name)
        resource.setrlimit(limit, (_now(name) + more, resource.getrlimit(limit)[1]))


def _now(name: str) -> int:
    """Return how much of what is limited this process has."""
    if name == "RLIMIT_NOFILE":
        # The smallest number that is free: those above it may be in use, and stay open.
        return next(n for n in itertools.count() if not Path(f"/proc/self/fd/{n}").exists())
    if name == "RLIMIT_AS":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def _tell(told: int, event: str, given: tuple[Any, ...]) -> None:
    name = str(given[0]).rpartition("/")[2] if event == "open" else ""
    if name.startswith(".") and len(name.rpartition(".")[2]) == 8:
        os.write(told, _HIDDEN)


if __name__ == "__main__":
    main()
