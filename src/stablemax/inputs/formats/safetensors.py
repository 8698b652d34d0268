"""The safetensors format: a JSON table of contents, then numbers without gaps; read by a parser of our own."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from typing import Any, BinaryIO, cast

import numpy as np

from stablemax.inputs.file_format import FileFormat, OpenedFile
from stablemax.inputs.foreign_text import brief, size_of
from stablemax.inputs.formats.npy import literal, shape_in_header
from stablemax.inputs.regular_file import length_of, read_exactly, version_of
from stablemax.inputs.stored import StoredArray
from stablemax.text.errors import StablemaxError

HEADER_LIMIT = 8 * 2**20
"""Longest table of contents, in bytes: some 70,000 tensors; bounds what parsing it costs."""
_RESAVE = "copy it again, or save it again with safetensors"
_SIZES = {"I": (1, 2, 4, 8), "U": (1, 2, 4, 8), "F": (2, 4, 8)}
_NUMPY = {"BOOL": "?"} | {f"{kind}{8 * n}": f"<{kind.lower()}{n}" for kind, sizes in _SIZES.items() for n in sizes}
_ML_DTYPES = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}


def open_safetensors(file: OpenedFile) -> StoredArray:
    """Find one tensor of a safetensors file: the named one, or the only one; none of its numbers is read yet.

    bfloat16 and the 8-bit formats are the dtypes of ml_dtypes.

    >>> import io
    >>> from stablemax.inputs.file_format import OpenedFile
    >>> header = b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    >>> content = len(header).to_bytes(8, "little") + header + bytes(8)
    >>> stored = open_safetensors(OpenedFile(io.BytesIO(content), "x.safetensors", "x.safetensors"))
    >>> stored.shape, stored.dtype.name, stored.offset
    ((2,), 'float32', 62)
    """
    stream, name = cast("BinaryIO", file.stream), file.name
    size = length_of(stream)
    begin, declared = _contents(stream, size, name)
    spans = {tensor: _span(entry, tensor, name) for tensor, entry in declared.items()}
    _check_spans(spans, size - begin, name)
    if not declared:
        raise StablemaxError(f"{name}: holds no tensors", _RESAVE)
    tensor = list(declared)[file.pick(list(declared), FORMAT)]
    long_name, entry = f"{name}:{brief(tensor, 120)}", declared[tensor]
    dtype = _dtype(entry["dtype"], long_name)
    shape = shape_in_header(entry["shape"], dtype.itemsize, f"{long_name}: the shape", _RESAVE, list)
    start, end = spans[tensor]
    expected = math.prod(shape) * dtype.itemsize
    if expected != end - start:
        raise StablemaxError(
            f"{long_name}: {literal(entry['shape'])} of {dtype.name} make {size_of(expected)}, "
            f"but the file keeps {size_of(end - start)} for it",
            _RESAVE,
        )
    called = name if file.member is None else long_name
    return StoredArray(
        shape, dtype, called, "safetensors", path=file.path, version=version_of(stream), offset=begin + start
    )


def _contents(stream: BinaryIO, size: int, name: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Read the table of contents: where the numbers begin, and the declarations of the tensors."""
    if not size:
        raise StablemaxError(f"{name}: is empty", _RESAVE)
    field = read_exactly(stream, 8)
    length = int.from_bytes(field, "little")
    if len(field) < 8:
        raise StablemaxError(f"{name}: is not a safetensors file: it has {size_of(size)}", "is it text? rename it")
    if length > size - 8:
        raise StablemaxError(
            f"{name}: the table of contents claims {size_of(length)}, but {size_of(size - 8)} follow",
            "it is no safetensors file, or it is truncated: copy it again",
        )
    if length > HEADER_LIMIT:
        raise StablemaxError(
            f"{name}: the table of contents claims {size_of(length)}; at most {HEADER_LIMIT:,} are read", _RESAVE
        )
    raw = read_exactly(stream, length)
    if len(raw) < length:
        raise StablemaxError(f"{name}: ends in its table of contents", "the file is truncated: copy it again")
    try:
        # Some writers fill up with blanks. A name that stands twice would hide a tensor.
        declared: object = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError) as error:
        raise StablemaxError(f"{name}: the table of contents is damaged ({brief(error, 160)})", _RESAVE) from None
    if not isinstance(declared, dict):
        raise StablemaxError(f"{name}: the table of contents is no JSON object", _RESAVE)
    declared.pop("__metadata__", None)
    return 8 + length, declared


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    declared = dict(pairs)
    if len(declared) < len(pairs):
        raise ValueError("a name stands twice")
    return declared


def _span(entry: object, tensor: str, name: str) -> tuple[int, int]:
    """Check that an entry declares a dtype, a shape and a span of bytes; return the span."""
    called = f"{name}:{brief(tensor, 120)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise StablemaxError(f"{called}: must declare dtype, shape and data_offsets", _RESAVE)
    span = entry["data_offsets"]
    if not isinstance(span, list) or len(span) != 2 or not all(type(n) is int and n >= 0 for n in span):
        raise StablemaxError(f"{called}: data_offsets are {literal(span)}, not two positions", _RESAVE)
    if span[0] > span[1]:
        raise StablemaxError(f"{called}: data_offsets {literal(span)} run backwards", _RESAVE)
    return span[0], span[1]


def _check_spans(spans: dict[str, tuple[int, int]], size: int, name: str) -> None:
    """Refuse tensors that overlap or lie outside the file, and bytes that belong to no tensor."""
    ordered = sorted(spans.items(), key=lambda item: item[1])
    for (before, first), (after, second) in pairwise(ordered):
        if second[0] < first[1]:
            raise StablemaxError(f"{name}: {brief(before, 120)} and {brief(after, 120)} overlap", _RESAVE)
    end = max((end for _, end in spans.values()), default=0)
    if end > size:
        raise StablemaxError(
            f"{name}: its tensors need {size_of(end)}, but {size_of(size)} follow the table of contents",
            "the file is truncated: copy it again",
        )
    if sum(end - start for start, end in spans.values()) != size:
        raise StablemaxError(f"{name}: holds bytes that belong to no tensor", _RESAVE)


def _dtype(declared: object, name: str) -> np.dtype[Any]:
    if isinstance(declared, str) and declared in _NUMPY:
        return np.dtype(_NUMPY[declared])
    if isinstance(declared, str) and declared in _ML_DTYPES:
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, _ML_DTYPES[declared]))
    raise StablemaxError(
        f"{name}: holds numbers of type {literal(declared)}, which are not read",
        f"types are {', '.join([*_NUMPY, *_ML_DTYPES])}",
    )


FORMAT = FileFormat(
    "safetensors",
    "tensors as Hugging Face saves them",
    (".safetensors",),
    open_safetensors,
    # A length below 2**32 has NUL bytes, which no text has.
    begins=re.compile(rb".{4}\0{4}\{", re.DOTALL),
    members="tensor",
)
