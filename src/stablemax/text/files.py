"""Files that are whole or not there: written beside, then renamed; and standard output."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from stablemax.text.errors import StablemaxError, shown

# Where Linux and others keep the open files of a process.
_DESCRIPTORS = re.compile(r"/dev/fd|/proc/[^/]+(?:/task/[^/]+)?/fd")
_MOST_LINKS = 40


@contextlib.contextmanager
def whole_file(path: str, *, force: bool = True, option: str = "-o") -> Iterator[IO[bytes]]:
    """Open a file that takes its name only when the block ends well; the option is what the user names it with."""
    # Loaded here, as printing needs nothing random.
    import secrets

    with writing(path, option):
        check_place(path, option)
        # A link keeps pointing where it points: what it points to is replaced.
        target = Path(os.path.realpath(path))
        if target.exists() and not force:
            raise StablemaxError(f"{shown(path)}: exists", "add --force to replace it")
        # The name is chosen before the file is there: an interrupt between the two leaves nothing behind.
        beside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
        try:
            with beside.open("xb") as stream:
                yield stream
            if target.exists():
                beside.chmod(target.stat().st_mode & 0o777)
            beside.replace(target)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()


@contextlib.contextmanager
def writing(path: str, option: str = "-o") -> Iterator[None]:
    """Turn what the operating system reports while a file is written into a StablemaxError.

    >>> with writing("labels.npy", "--labels"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: labels.npy: cannot be written (No space left on device)
    """
    try:
        yield
    except OSError as error:
        # A file may not close well after an interrupt; what the user has to see is the interrupt.
        if isinstance(error.__context__, (KeyboardInterrupt, SystemExit)):
            raise error.__context__ from None
        raise _unwritten(f"{shown(path)}:", error, f"choose another place with {option}") from None


def check_place(path: str, option: str = "-o") -> None:
    """Refuse what cannot be replaced by a file: a folder, a device, an open file of this process."""
    target = Path(path)
    with writing(path, option):
        if target.is_dir():
            raise StablemaxError(f"{shown(path)}: is a folder", "name a file in it")
        Path(os.path.realpath(target)).parent.stat()  # a missing folder is an error before the work, not after it
        # An open file has a name as well, such as that of the log to which standard output is redirected: a new file
        # of that name would replace the log.
        if not _is_descriptor(target) and (target.is_file() or not target.exists()):
            return
    hint = "leave -o out to write to standard output" if option == "-o" else f"choose another place with {option}"
    raise StablemaxError(f"{shown(path)}: is not a regular file", hint)


def _is_descriptor(path: Path) -> bool:
    """Whether a path leads, link by link, to an open file of a process: /dev/stdout, /dev/fd/1."""
    for _ in range(_MOST_LINKS):
        folder = Path(os.path.realpath(path.parent))  # unlike `resolve`, `realpath` accepts links that go in circles
        if _DESCRIPTORS.fullmatch(folder.as_posix()):
            return True
        path = folder / path.name
        if not path.is_symlink():
            return False
        path = folder / path.readlink()
    return False


def write_out(text: str, *, flush: bool = False) -> None:
    """Write to standard output."""
    try:
        sys.stdout.write(text)
        if flush:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritten_output(error) from None


def unwritten_output(error: Exception) -> StablemaxError:
    """Word an error of standard output."""
    return _unwritten("standard output", error, "make room, or write elsewhere")


def _unwritten(name: str, error: Exception, hint: str) -> StablemaxError:
    return StablemaxError(f"{name} cannot be written ({getattr(error, 'strerror', None) or error})", hint)
