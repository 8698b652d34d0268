"""The command line: parse, run, render; each command in a file of its own."""

from __future__ import annotations

import contextlib
import sys

from stablemax import __version__
from stablemax.text.log_commands import broken_in_text


def version_line() -> str:
    """Return what --version prints."""
    return f"stablemax {__version__}"


class ReaderGoneError(Exception):
    """Nobody reads standard output any more.

    Not an OSError: Typer catches those of a broken pipe itself, and exits with 1.
    """


def printable(text: str) -> str:
    """Escape what a terminal would act on, and what standard error has no way to encode."""
    encoding = getattr(sys.stderr, "encoding", None) or "ascii"
    escaped = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


def to_stderr(text: str) -> None:
    """Write to standard error, unless it is closed, after what standard output was given."""
    if sys.stderr is None:  # closed: 2>&-
        return
    # Into a pipe (2>&1, a log of CI) standard output would otherwise come last: only the end flushes it. What
    # cannot be written is told there.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(broken_in_text(text))
