"""The file formats that arrays are read from: a record in each file of this folder."""

from __future__ import annotations

from stablemax.inputs.file_format import FileFormat
from stablemax.inputs.foreign_text import brief
from stablemax.inputs.formats import jsonl, npy, npz, parquet, safetensors, table
from stablemax.text.errors import StablemaxError
from stablemax.text.registry import Registry

FORMATS: Registry[FileFormat] = Registry(
    FileFormat, (npy.FORMAT, npz.FORMAT, *table.FORMATS, safetensors.FORMAT, parquet.FORMAT, jsonl.FORMAT)
)
"""Every format by its name."""


def format_named(name: str) -> FileFormat:
    """Return the format that --input-format names.

    >>> format_named("xlsx")
    Traceback (most recent call last):
    stablemax.text.errors.StablemaxError: --input-format: 'xlsx' is unknown
    """
    if name not in FORMATS:
        known = ", ".join(f"{kind.name} ({kind.help})" for kind in FORMATS.values())
        raise StablemaxError(f"--input-format: '{brief(name, 60)}' is unknown", f"formats are: {known}")
    return FORMATS[name]


def format_of_ending(ending: str) -> FileFormat | None:
    """Return the format whose files have such an ending; None where no format claims it.

    >>> [one.name for one in map(format_of_ending, (".tab", ".pq")) if one], format_of_ending(".txt")
    (['tsv', 'parquet'], None)
    """
    return next((kind for kind in FORMATS.values() if ending in kind.endings), None)


def format_of_content(start: bytes) -> FileFormat | None:
    """Return the format of a file that begins so; None where the beginning does not tell."""
    return next((kind for kind in FORMATS.values() if kind.begins and kind.begins.match(start)), None)


def format_of_text(start: bytes) -> FileFormat:
    """Return the format that text is taken for by its beginning: a table, unless another format claims it.

    >>> format_of_text(b"1.5,2.5").name, format_of_text(b'{"logits": [').name
    ('csv', 'jsonl')
    """
    return next((kind for kind in FORMATS.values() if kind.guess and kind.guess.match(start)), FORMATS["csv"])


def endings_of_text() -> tuple[str, ...]:
    """Return the endings of files whose numbers are printed."""
    return tuple(ending for kind in FORMATS.values() if kind.cells for ending in kind.endings)


def endings_with_members() -> list[str]:
    """Return the endings of files of which ``FILE:NAME`` names a member."""
    return [ending for kind in FORMATS.values() if kind.members for ending in kind.endings]
