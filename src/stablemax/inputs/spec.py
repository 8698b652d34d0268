"""What a user types to name arrays: paths, addresses, members, and patterns of them."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
from collections.abc import Iterable, Sequence

from stablemax.inputs.foreign_text import file_name
from stablemax.inputs.server_limits import TIMEOUT_S
from stablemax.text.errors import StablemaxError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_PATTERN = re.compile(r"[*?[]")


def is_address(path: str) -> bool:
    r"""Whether a path is an address (``scheme://``); a drive's letter is no scheme.

    >>> is_address("s3://bucket/logits.npy"), is_address(r"C:\runs\logits.npy")
    (True, False)
    """
    return _ADDRESS.match(path) is not None


def local_path(path: str) -> str | None:
    """Return the path of a file of this machine, also of a ``file://`` address; None for another address.

    >>> local_path("file:///runs/logits%201.npy"), local_path("s3://bucket/logits.npy")
    ('/runs/logits 1.npy', None)
    """
    if not is_address(path):
        return path
    if not path.lower().startswith("file://"):
        return None
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    parts = urlsplit(path)
    if parts.netloc not in {"", "localhost"}:
        raise StablemaxError(f"{file_name(path)}: names a file of another host", "file:///path, with three slashes")
    return url2pathname(parts.path)


def split_spec(spec: str) -> tuple[str, str | None]:
    r"""Split `file.npz:logits` into a path and a member.

    A colon may also stand in a file's name or after a drive's letter, so an existing file of the whole name comes
    first, then an existing file before a colon.

    >>> split_spec("dump.npz:logits")
    ('dump.npz', 'logits')
    >>> split_spec("s3://bucket/model.safetensors:lm_head.weight")
    ('s3://bucket/model.safetensors', 'lm_head.weight')
    >>> split_spec(r"C:\runs\logits.npy")
    ('C:\\runs\\logits.npy', None)
    >>> split_spec("-:labels")
    ('-', 'labels')
    """
    if ":" not in spec or _exists(spec):
        return spec, None
    if not is_address(spec):
        for match in reversed(list(re.finditer(":", spec))[:64]):
            path, member = spec[: match.start()], spec[match.end() :]
            # A single letter is a drive, except where such a file exists and is no drive.
            if member and (path == "-" or (path and _exists(path) and not os.path.isdir(path))):  # noqa: PTH112
                return path, member
    return _split_by_ending(spec)


def _split_by_ending(spec: str) -> tuple[str, str | None]:
    # Imported here, because the modules of the formats import this one.
    from stablemax.inputs.formats import endings_with_members

    match = re.search(f"(?:{'|'.join(map(re.escape, endings_with_members()))}):(?=.)", spec, re.IGNORECASE)
    return (spec[: match.end() - 1], spec[match.end() :]) if match else (spec, None)


def _exists(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def expand(specs: Sequence[str], timeout_s: float = TIMEOUT_S) -> list[str]:
    """Name every array that a user means, in order.

    What exists is itself, whatever its name. Else `*`, `?` and `[...]` stand for any files of such names, sorted by
    name, numbers in the names as numbers; `**` stands for folders of any depth.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("b.npz", "a.npz"):
    ...         open(os.path.join(folder, name), "w").close()
    ...     names = expand([os.path.join(folder, "*.npz:logits"), "c.npy"])
    >>> [os.path.basename(name) for name in names]
    ['a.npz:logits', 'b.npz:logits', 'c.npy']
    >>> expand(["no-such-*.npy"])
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: no-such-*.npy: no file has such a name
    """
    names = [name for spec in specs for name in _expanded(spec, timeout_s)]
    standard = [name for name in names if name == "-" or name.startswith("-:")]
    if standard and len(names) > 1:
        raise StablemaxError("standard input cannot be one of several files", "save it to a file, or name nothing else")
    return names


def _expanded(spec: str, timeout_s: float) -> list[str]:
    path, member = split_spec(spec)
    if not _PATTERN.search(_before_query(path)) or (not is_address(path) and _exists(path)):
        return [spec]
    if is_address(path):
        from stablemax.inputs.remote import glob_addresses

        paths, hint = glob_addresses(path, timeout_s), "check the pattern and the address"
    else:
        import glob

        paths = glob.glob(path, recursive=True)  # noqa: PTH207 - a path stays text
        hint = "check the pattern; it is taken from the current directory"
    if not paths:
        raise StablemaxError(f"{file_name(path)}: no file has such a name", hint)
    paths = sorted(paths, key=in_order)
    return paths if member is None else [f"{file}:{member}" for file in paths]


def in_order(name: str) -> tuple[list[object], str]:
    """Return the key by which names are sorted: their numbers as numbers, and the rest as text.

    >>> sorted(["s-10.npy", "s-2.npy", "s-02.npy", "t-1.npy"], key=in_order)
    ['s-02.npy', 's-2.npy', 's-10.npy', 't-1.npy']
    """
    # Without leading zeros the longer of two numbers is the larger one.
    pieces = re.split("([0-9]+)", name)
    digits = [(len(number), number) for number in (part.lstrip("0") for part in pieces[1::2])]
    return [part for pair in zip(pieces[::2], [*digits, ()], strict=True) for part in pair], name


def out_of_order(names: Sequence[str]) -> tuple[str, str] | None:
    """Find two neighbours that differ in their numbers alone, the larger first: as a shell sorts them.

    >>> out_of_order(["s-1.npy", "s-10.npy", "s-2.npy"])
    ('s-10.npy', 's-2.npy')
    >>> out_of_order(["s-1.npy", "s-2.npy", "a-1.npy"]) is None
    True
    """
    for name, following in itertools.pairwise(names):
        if re.sub("[0-9]+", "0", name) == re.sub("[0-9]+", "0", following) and in_order(name) > in_order(following):
            return name, following
    return None


def _before_query(path: str) -> str:
    """Leave the query out of a web address, where a question mark begins it."""
    return path.partition("?")[0] if path.lower().startswith(("http://", "https://")) else path


def extension_of(path: str) -> str:
    """Return the extension of a path or address, in lower case, with its dot.

    >>> extension_of("https://host/logits.NPY?signature=a.b/c.d")
    '.npy'
    """
    return os.path.splitext(_before_query(path))[1].lower()  # noqa: PTH122 - a path stays text


def is_read(path: str, specs: Iterable[str | None]) -> bool:
    """Tell whether a path is one of the files that a user names: by patterns, members or addresses."""
    return any(_is_same(file, path) for spec in specs if spec is not None for file in _local_files(spec))


def _local_files(spec: str) -> list[str | int]:
    """Return the files of this machine that a user names, standard input as its descriptor."""
    path = split_spec(spec)[0]
    if path == "-":
        # Standard input is None where it was closed, and no file in tests.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            return [sys.stdin.fileno()]
        return []
    local = local_path(path)
    return [] if local is None else list(expand([local]))


def _is_same(file: str | int, path: str) -> bool:
    try:
        return os.path.samestat(os.stat(file), os.stat(path))  # noqa: PTH116 - `file` may be a descriptor
    except (OSError, ValueError):
        return False
