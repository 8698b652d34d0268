"""The folder of a process for temporary files; what a killed process left goes when another one makes its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

from stablemax.text.files import lock, remove_unless_held

_PREFIX = "stablemax-"
_NAME = re.compile(re.escape(_PREFIX) + "[a-z0-9_]{8}")
_HELD = "held"

# One for all files of a process, as each takes a descriptor: an input may have thousands of shards. It lives as long as
# somebody needs it, and is nobody's in a forked process.
_IN_USE: weakref.WeakValueDictionary[tuple[int, str], TemporaryFolder] = weakref.WeakValueDictionary()


class TemporaryFolder:
    """A folder that is removed when nobody needs it, and held until then by a lock, which a killed process loses.

    >>> folder = temporary_folder()
    >>> folder is temporary_folder()
    True
    """

    def __init__(self, parent: str) -> None:
        _remove_left_behind(parent)
        path, held = _made(parent)
        self.path = str(path)
        weakref.finalize(self, _remove, path, held, os.getpid())


def temporary_folder() -> TemporaryFolder:
    """Return the folder of this process, in that of TMPDIR."""
    parent = tempfile.gettempdir()
    folder = _IN_USE.get((os.getpid(), parent))
    if folder is None:
        folder = _IN_USE[os.getpid(), parent] = TemporaryFolder(parent)
    return folder


@contextlib.contextmanager
def new_folder() -> Iterator[str]:
    """Make a folder in that of this process, for as long as the block runs."""
    folder = temporary_folder()
    try:
        with tempfile.TemporaryDirectory(dir=folder.path, ignore_cleanup_errors=True) as name:
            yield name
    finally:
        del folder  # the traceback of an error would keep it


def _made(parent: str) -> tuple[Path, int]:
    """Make a folder with a file that is locked; return both."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Another process may take the folder for one that was left behind, before the file is locked.
        with contextlib.suppress(FileNotFoundError):
            held = os.open(path / _HELD, os.O_CREAT | os.O_RDWR, 0o600)
            with contextlib.suppress(OSError):  # some network drives have no locks
                lock(held)
            if (path / _HELD).exists():
                return path, held
            os.close(held)


def _remove(path: Path, held: int, owner: int) -> None:
    # A forked process has a copy of all this, and does not own the folder.
    if os.getpid() == owner:
        os.close(held)
        shutil.rmtree(path, ignore_errors=True)


def _remove_left_behind(parent: str) -> None:
    """Remove the folders of this user that no living process holds."""
    with contextlib.suppress(OSError):
        for entry in [entry for entry in os.scandir(parent) if _NAME.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False) and (os.name == "nt" or entry.stat().st_uid == os.getuid()):
                    _remove_unheld(Path(entry.path))


def _remove_unheld(path: Path) -> None:
    if (path / _HELD).exists():
        remove_unless_held(path / _HELD)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.rmdir()  # only where it is empty: its process was killed before it made the file
