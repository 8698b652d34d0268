"""Whether a file is one of those that are read, under whatever name."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from stablemax.inputs.spec import expand, is_address, split_spec

if TYPE_CHECKING:
    from collections.abc import Iterable


def is_read(path: str, specs: Iterable[str | None]) -> bool:
    """Tell whether a path is a file of those that are named as a user types them: by patterns, members, addresses."""
    return any(_is_same(one, path) for spec in specs if spec is not None for one in _files_of(spec))


def _files_of(spec: str) -> list[str | int]:
    """Return the files of this machine that a user names, standard input as its descriptor."""
    path = split_spec(spec)[0]
    if path == "-":
        # None where it was closed; in tests it is no file.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            return [sys.stdin.fileno()]
        return []
    if is_address(path):
        from stablemax.inputs.remote import local_path

        local = local_path(path)
        if local is None:
            return []
        path = local
    return list(expand([path]))


def _is_same(one: str | int, other: str) -> bool:
    try:
        return os.path.samestat(os.stat(one), os.stat(other))  # noqa: PTH116 - `one` may be a descriptor
    except (OSError, ValueError):
        return False
