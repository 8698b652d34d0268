"""A program that is started and watched: its environment, its exit code, and what its processes report."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stablemax.results.watched import Watched
from stablemax.text.errors import StablemaxError, shown
from stablemax.watching.repro_place import check_folder
from stablemax.watching.watch_options import ENVIRONMENT, WatchedRun, WatchOptions

INJECTED = Path(__file__).parent / "injected"
_BY_SIGNAL = 128
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class ProgramRun:
    """A watched program that has ended."""

    result: Watched
    exit_code: int


def run_watched(program: Sequence[str], options: WatchOptions) -> ProgramRun:
    """Start a program with its own standard streams, watch the Python processes in it, and wait for its end.

    Raises `StablemaxError` where it cannot be started, or ended well without having been watched.
    """
    if options.repro:
        check_folder(options.repro)
        options = replace(options, repro=str(Path(options.repro).absolute()))
    with tempfile.TemporaryDirectory(prefix="stablemax-watch-") as folder:
        code = _waited_for(program, _environment(WatchedRun(options, folder)))
        return ProgramRun(_result(Path(folder), program, code), code)


def _environment(run: WatchedRun) -> dict[str, str]:
    paths = [str(INJECTED), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), ENVIRONMENT: run.as_text()}


def _waited_for(program: Sequence[str], environment: dict[str, str]) -> int:
    """Run a program to its end; return its exit code, of a signal as shells give it."""
    try:
        child = subprocess.Popen(program, env=environment)  # noqa: S603 - it is what the user names
    except OSError as error:
        raise StablemaxError(
            f"{shown(program[0])} cannot be started ({error.strerror})",
            "name a program after --, as in: stablemax watch -- python train.py",
        ) from None
    try:
        return _code_of(_end_of(child))
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _end_of(child: subprocess.Popen[bytes]) -> int:
    try:
        return child.wait()
    except KeyboardInterrupt:
        # A terminal interrupts the program, too, which may have something to save; a second one ends it.
        return child.wait()


def _code_of(status: int) -> int:
    return _BY_SIGNAL - status if status < 0 else status


def _result(folder: Path, program: Sequence[str], code: int) -> Watched:
    """Take the result of the process that found something first; else of that which was watched longest."""
    for path in sorted(folder.glob("missing-*")):
        python, _, reason = path.read_text(encoding="utf-8").partition("\n")
        raise StablemaxError(
            f"{shown(python)} cannot import stablemax: {shown(reason.strip(), 200)}",
            f"install it there: {shown(python)} -m pip install stablemax",
        )
    reported = sorted((_read(path) for path in folder.glob("result-*")), key=lambda one: one[0])
    results = [result for _, result in reported]
    count = len(list(folder.glob("begun-*")))
    if not count and code == 0:
        raise StablemaxError(
            f"{shown(program[0])} has not imported PyTorch: nothing was watched",
            "a Python that is started with -I, -E or -S is not watched; there, use `with stablemax.watch():`",
        )
    best = next((r for r in results if r.verdict is not None), None)
    best = best or max(results, key=lambda r: r.operations, default=None)
    if best is None:
        best = Watched(_unwatched(code, was_begun=bool(count)), None)
    elif best.verdict is None and not (best.operations or best.error) and code:
        best = replace(best, finding=f"Nothing was watched: {_failed(code)} before it computed with PyTorch.")
    notes = (*best.notes, f"{count} processes were watched") if count > 1 else best.notes
    return replace(best, exit_code=code, repro=_relative(best.repro), notes=notes)


def _unwatched(code: int, *, was_begun: bool) -> str:
    """Say why nothing was reported, or nothing was there to be watched."""
    if was_begun:
        return f"Nothing found before the program ended (exit code {code}); it did not report how much was watched."
    return f"Nothing was watched: {_failed(code)} before it imported PyTorch."


def _failed(code: int) -> str:
    return f"the program {'was killed' if code > _BY_SIGNAL else 'failed by itself'} (exit code {code})"


def _relative(path: str) -> str:
    return os.path.relpath(path) if path and Path(path).is_relative_to(Path.cwd()) else path


def _read(path: Path) -> tuple[int, Watched]:
    """Return what a process reports, and when it has found that."""
    from stablemax import __version__

    # Written by the processes of this run into a folder that is theirs and ours alone.
    version, found_ns, result = pickle.loads(path.read_bytes())  # noqa: S301
    if version != __version__:
        raise StablemaxError(
            f"the Python of the program has stablemax {shown(version)}, and this one {__version__}",
            "install the same version in both",
        )
    assert isinstance(result, Watched), "a process reports its result"
    return found_ns, result
