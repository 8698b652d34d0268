"""Long output on a terminal goes through a pager, as git's does."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from stablemax.cli import to_stderr
from stablemax.text.files import write_out

if TYPE_CHECKING:
    import subprocess

# Every run prints, and few are paged: what only a pager needs is loaded then.

_DEFAULT = "less"
# Quit where all fits after all, let colours through, and leave what was read on the screen.
_LESS = "FRX"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def write_paged(pieces: Iterable[str], *, wanted: bool = True) -> None:
    """Write text to standard output as it comes, through the pager where it is longer than the window.

    Nothing is paged that is piped or redirected.
    """
    command = pager_command(os.environ) if wanted and sys.stdout.isatty() else []
    if not command:
        _write(pieces)
        return
    rest = iter(pieces)
    held, is_long = _screenful(rest)
    every = itertools.chain(held, rest)
    if not is_long:
        _write(every)
        return
    try:
        pager = _started(command)
    except OSError as error:
        _write(every)
        if command != [_DEFAULT]:
            to_stderr(f"note: the pager {' '.join(command)} cannot be started ({error.strerror}); set PAGER\n")
        return
    _feed(pager, every)


def pager_command(environment: Mapping[str, str]) -> list[str]:
    """Return the words that start the pager: of STABLEMAX_PAGER, else PAGER, else less; none where it is off.

    >>> pager_command({}), pager_command({"PAGER": "more -d", "STABLEMAX_PAGER": "cat"})
    (['less'], [])
    """
    import shlex

    named = (environment[name] for name in ("STABLEMAX_PAGER", "PAGER") if name in environment)
    words = shlex.split(next(named, _DEFAULT), posix=os.name != "nt")
    is_off = words in ([], ["cat"]) or environment.get("TERM") == "dumb"
    return [] if is_off else words


def _write(pieces: Iterable[str]) -> None:
    for piece in pieces:
        write_out(piece)


def _screenful(pieces: Iterator[str]) -> tuple[list[str], bool]:
    """Take pieces until they are longer than the window, with the line of the prompt; say whether they are."""
    import shutil

    columns, rows = shutil.get_terminal_size()
    held: list[str] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += sum(max(1, -(-len(_ANSI.sub("", line)) // columns)) for line in piece.splitlines())
        if count >= rows:
            return held, True
    return held, False


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    import subprocess

    sys.stdout.flush()
    environment = {"LESS": _LESS, **os.environ}
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)  # noqa: S603 - the user names it


def _feed(pager: subprocess.Popen[bytes], pieces: Iterable[str]) -> None:
    """Hand text to the pager until it ends or is left, and wait for it."""
    assert pager.stdin is not None
    encoding = sys.stdout.encoding
    try:
        # Who has read enough leaves: that is no error.
        with contextlib.suppress(BrokenPipeError), pager.stdin as stream:
            for piece in pieces:
                stream.write(piece.encode(encoding, "backslashreplace"))
    finally:
        _wait(pager)


def _wait(pager: subprocess.Popen[bytes]) -> None:
    """Wait until the pager ends: an interrupt is a key of the pager's."""
    while True:
        try:
            pager.wait()
        except KeyboardInterrupt:
            continue
        return
