"""Files that are whole or not there: written beside, then renamed."""

from __future__ import annotations

import contextlib
import secrets
from pathlib import Path
from typing import IO, TYPE_CHECKING

from stablemax.errors import StablemaxError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def whole_file(path: str, *, force: bool = True) -> Iterator[IO[bytes]]:
    """Open a file that takes its name only when the block ends well.

    Parameters
    ----------
    path : str
        Where it goes.
    force : bool
        Replace a file that is there.

    Raises
    ------
    StablemaxError
        If the file is there and `force` is false, or it cannot be written.
    """
    # A link keeps pointing where it points: what it points to is replaced.
    target = Path(path).resolve()
    name = shown(path)
    if target.is_dir():
        raise StablemaxError(f"{name}: is a folder", "name a file in it")
    if target.exists() and not target.is_file():
        raise StablemaxError(f"{name}: is not a regular file", "leave -o out to write to standard output")
    if target.exists() and not force:
        raise StablemaxError(f"{name}: exists", "add --force to replace it")
    # The name is chosen before the file is there: an interrupt between the two leaves nothing behind.
    beside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as stream:
            yield stream
        if target.exists():
            beside.chmod(target.stat().st_mode & 0o777)
        beside.replace(target)
    except OSError as error:
        raise StablemaxError(f"{name}: cannot be written ({error.strerror})", "choose another place with -o") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
