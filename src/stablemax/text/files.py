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
from stablemax.text.machine_limits import hint_of

# Where Linux and others keep the open files of a process.
_DESCRIPTORS = re.compile(r"/dev/fd|/proc/[^/]+(?:/task/[^/]+)?/fd")
_MOST_LINKS = 40


@contextlib.contextmanager
def whole_file(path: str, *, force: bool = True, option: str = "-o") -> Iterator[IO[bytes]]:
    """Open a file that takes its name only when the block ends well; the option is what the user names it with."""
    with writing(path, option):
        check_place(path, option)
        # A link keeps pointing where it points: what it points to is replaced.
        target = Path(os.path.realpath(path))
        if target.exists() and not force:
            raise _exists(path)
        _remove_left_behind(target)
        with _beside(target) as (beside, stream):
            with stream:
                yield stream
            if force:
                if target.exists():
                    beside.chmod(target.stat().st_mode & 0o777)
                beside.replace(target)
            elif not _named(beside, target):
                # Another run has written it meanwhile.
                raise _exists(path)


def _exists(path: str) -> StablemaxError:
    return StablemaxError(f"{shown(path)}: exists", "add --force to replace it")


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """Open a hidden file beside the target, which is held until the block ends, and then removed if it is there."""
    # Loaded here, as printing needs nothing random.
    import secrets

    held = -1
    # The name is chosen before the file is there: an interrupt between the two leaves nothing behind.
    beside = target.with_name(f"{_prefix(target)}{secrets.token_hex(4)}")
    try:
        while held < 0:
            stream = beside.open("xb")
            # Another descriptor of the same open file: the lock outlives the stream, until the file has its name.
            held = os.dup(stream.fileno())
            # Some network drives have no locks.
            with contextlib.suppress(OSError):
                lock(held)
            if not beside.exists():
                # Another run took it for one that was left behind, before it was locked.
                stream.close()
                os.close(held)
                held = -1
        yield beside, stream
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
        if held >= 0:
            os.close(held)


def _prefix(target: Path) -> str:
    return f".{target.name[:100]}."


def _remove_left_behind(target: Path) -> None:
    """Remove what runs that were killed left beside the target: hidden files that no living process holds."""
    hidden = re.compile(re.escape(_prefix(target)) + "[0-9a-f]{8}")
    with contextlib.suppress(OSError):
        for path in [path for path in target.parent.iterdir() if hidden.fullmatch(path.name)]:
            # What another user left, or Windows holds for a process, stays.
            with contextlib.suppress(OSError):
                remove_unless_held(path)


def remove_unless_held(path: Path) -> None:
    """Remove a file; raise OSError where a process has locked it, or has it open on Windows."""
    if os.name == "nt":
        path.unlink()
        return
    with path.open("rb") as stream:
        lock(stream.fileno(), waits=False)
        path.unlink()


def lock(descriptor: int, *, waits: bool = True) -> None:
    """Lock an open file for this process, where there are locks; raise BlockingIOError where another one holds it."""
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))


def _named(beside: Path, target: Path) -> bool:
    """Give a file a name that nothing has; False where something has it by now."""
    try:
        if os.name == "nt":
            beside.rename(target)
        else:
            os.link(beside, target)
    except FileExistsError:
        return False
    except OSError:
        # A file system without links: the look at the name and the renaming are two steps there.
        if target.exists():
            return False
        beside.replace(target)
    return True


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
    reason = getattr(error, "strerror", None) or error
    return StablemaxError(f"{name} cannot be written ({reason})", hint_of(error, hint))
