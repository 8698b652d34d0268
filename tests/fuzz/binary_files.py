"""Files of .npy, .npz and safetensors, built part by part: each part is now and then another than it should be."""

from __future__ import annotations

import io
import json
import math
import random
import struct
import zlib
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from stablemax.numerics.formats import Array

from .mutations import as_field, damaged, near, often

_DESCRS = ("<f4", ">f8", "|b1", "<i8", "|u1", "<f2", ">i2", "<u8", "<i4", ">u4", "|i1", "<f8")
_ODD_DESCRS = (
    *("'<f16'", "'|O'", "'<c8'", "'|V2'", "'<U3'", "'<M8[ns]'", "'=f8'", "'f8'", "'>f4 '", "'<f04'", "'<f4,<f4'"),
    *("'float64'", "'d'", "'?'", "'>b1'", "'<b2'", "'<i3'", "'b'", "'<f'", "''", "'<f4\\n'", "'\\x3cf4'", "'(2,)<f4'"),
    *("('<f4', (2,))", "[('a', '<f4')]", "[]", "None", "{}", "1", "'<f4' '<f4'", "'<f' + '4'", "f'<f4'", "b'<f4'"),
    *("'<f99999999999'", "'\\ud800'", "'<\N{FULLWIDTH LATIN SMALL LETTER F}4'", "'<f\N{ARABIC-INDIC DIGIT FOUR}'"),
    *('"<f4"', "'''<f4'''", "'<T16'", "'|S4'", "('|V4', '<f4')", "'m8'", "'\\d'", "('<f4',)"),
)
_SHAPES = ((2, 3), (6,), (), (0, 3), (3, 0), (1, 2, 3), (3, 2), (4, 1), (2, 2, 2), (1,), (0,), (5, 4))
_ODD_SHAPES = (
    *("2", "(2)", "(-1,)", "(2.0,)", "(True,)", "(2, 3L)", "(2L,)", "[2, 3]", "((2,), 3)", "None", "(2**3,)", "'23'"),
    *("(9223372036854775807,)", "(9223372036854775808, 0)", "(0, 9223372036854775807, 3)", "(4294967296, 4294967296)"),
    *(f"({'1, ' * 65})", f"({'1, ' * 64})", f"({'0, ' * 64})", f"({'9' * 5_000},)", "(0x2, 3)", "(2_0,)", "(2,,)"),
    *("(1j,)", "(*(2, 3),)", "(-0, 3)", "(+2, 3)", "(...)", "(1e999,)", "(" * 300 + ")" * 300, "(2,)*3", "(NaN,)"),
)
_ODD_FLAGS = ("1", "0", "None", "'False'", "true", "not True", "()", "-1", "[]")
_VERSIONS = ((1, 0), (2, 0), (3, 0))
_ODD_VERSIONS = ((0, 0), (1, 1), (4, 0), (255, 255), (0, 1), (2, 1))


def numbers(rng: random.Random, dtype: np.dtype[np.generic], count: int) -> bytes:
    """Return the bytes of some numbers: plain ones, or any bits at all."""
    if rng.random() < 0.3 or dtype.kind == "b":
        return rng.randbytes(count * dtype.itemsize)
    return np.array([rng.randrange(100) for _ in range(count)]).astype(dtype).tobytes()


def _npy_header(rng: random.Random, descr: str, shape: str) -> str:
    order = often(rng, rng.choice(("False", "True")), _ODD_FLAGS, 0.05)
    fields = [f"'descr': {descr}", f"'fortran_order': {order}", f"'shape': {shape}"]
    if rng.random() < 0.1:
        extra = (
            "'x': 1",
            "'shape': (1,)",
            "'descr': '<i1'",
            "'descr' : '|O'",
            "'\\d': 1",
            "shape: (2,)",
            "**{}",
            "# x",
        )
        fields.insert(rng.randrange(4), rng.choice(extra))
    if rng.random() < 0.05:
        del fields[rng.randrange(len(fields))]
    if rng.random() < 0.2:
        rng.shuffle(fields)
    text = "{" + ", ".join(fields) + rng.choice((", }", "}", ",}"))
    if rng.random() < 0.1:
        text = rng.choice(
            (f"({text})", f" {text}", f"{text};", f"{text} # x", f"{text}\0", "\f" + text, text * 2, f"{text}+0")
        )
    return text.replace("'", '"') if rng.random() < 0.05 else text


def npy(rng: random.Random) -> bytes:
    """Build a .npy file."""
    dtype, size = np.dtype(rng.choice(_DESCRS)), rng.choice(_SHAPES)
    text = _npy_header(rng, often(rng, repr(dtype.str), _ODD_DESCRS), often(rng, repr(size), _ODD_SHAPES))
    header = text.encode("utf-8" if rng.random() < 0.5 else "latin-1", "replace")
    version = often(rng, rng.choice(_VERSIONS), _ODD_VERSIONS, 0.04)
    width = 2 if version == (1, 0) else 4
    if rng.random() < 0.9:
        header += b" " * (-(len(header) + 9 + width) % rng.choice((16, 64)))
    header += often(rng, b"\n", (b"", b"\r", b"\r\n", b" ", b"\n\n", b"\0"), 0.06)
    length = near(rng, len(header)) if rng.random() < 0.05 else len(header)
    data = numbers(rng, dtype, math.prod(size))
    if rng.random() < 0.06:
        data = rng.choice((data[:-1], data + b"\0", data * 2, b""))
    magic = often(rng, b"\x93NUMPY", (b"\x93NUMPX", b"\x92NUMPY", b"NUMPY\x93", b"", b"?NUMPY"), 0.02)
    return magic + bytes(version) + as_field(length, width) + header + data


@dataclass
class _Member:
    name: bytes
    data: bytes
    method: int
    flags: int = 0
    extra: bytes = b""

    def stored(self, rng: random.Random) -> bytes:
        """What the archive holds of the member."""
        if self.method != 8:
            return self.data
        packer = zlib.compressobj(rng.choice((0, 1, 6)), zlib.DEFLATED, rng.choice((-15, -15, -15, -9, 15)))
        packed = packer.compress(self.data) + packer.flush()
        return damaged(rng, packed, self.data) if rng.random() < 0.06 else packed


_MEMBER_NAMES = (b"logits.npy", b"labels.npy", b"arr_0.npy")
_ODD_NAMES = (
    *(b"logits", b".npy", b"", b"a/../b.npy", b"\xff\xfe.npy", "\u00e9\u202e.npy".encode(), b"x" * 300 + b".npy"),
    *(b"logits.npy.npy", b"a\0b.npy", b"a:b.npy", b"\x1b[31m.npy", b"LOGITS.NPY", b"dir/", b"logits.npy\n"),
)
_ODD_EXTRAS = (
    *(b"\x01\0\0\0", b"\x01\0\x10\0" + bytes(16), b"\x01\0\x18\0" + b"\xff" * 24, b"\x01\0\xff\xff", b"x"),
    *(b"\x75\x70\x05\0\x01\0\0\0\0", b"\x01\x99\x07\0\x02\0AE\x03\0\0", bytes(9)),
)


def _saved(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _member(rng: random.Random) -> _Member:
    name = often(rng, rng.choice(_MEMBER_NAMES), _ODD_NAMES, 0.08)
    method = often(rng, rng.choice((0, 0, 8)), (1, 6, 9, 12, 14, 93, 99, 65535), 0.03)
    # Most of what is wrong should be wrong with the archive.
    data = npy(rng) if rng.random() < 0.25 else _saved(np.arange(6.0).reshape(2, 3))
    member = _Member(name, data, method, often(rng, 0, (1, 8, 0x800, 0x20, 0x40, 0x2000, 0xFFFF), 0.06))
    if rng.random() < 0.06:
        member.extra = rng.choice(_ODD_EXTRAS)
        if rng.random() < 0.3:  # the name once more, as some archivers write it; an empty one is pointed out
            other = rng.choice((b"", b"logits.npy", b"\xff"))
            field = b"\x01" + as_field(zlib.crc32(name), 4) + other
            member.extra = b"\x75\x70" + as_field(len(field), 2) + field
    return member


_FIELD_WIDTHS = {
    "local": {
        "signature": 4,
        "version": 2,
        "flags": 2,
        "method": 2,
        "time": 2,
        "date": 2,
        "crc": 4,
        "packed": 4,
        "size": 4,
        "name": 2,
        "extra": 2,
    },
    "central": {
        "signature": 4,
        "by": 2,
        "version": 2,
        "flags": 2,
        "method": 2,
        "time": 2,
        "date": 2,
        "crc": 4,
        "packed": 4,
        "size": 4,
        "name": 2,
        "extra": 2,
        "comment": 2,
        "disk": 2,
        "inner": 2,
        "outer": 4,
        "offset": 4,
    },
    "end": {
        "signature": 4,
        "disk": 2,
        "start_disk": 2,
        "here": 2,
        "entries": 2,
        "size": 4,
        "offset": 4,
        "comment": 2,
    },
}


def _record(rng: random.Random, kind: str, values: dict[str, int], share: float) -> bytes:
    widths = _FIELD_WIDTHS[kind]
    known = {name: values.get(name, 0) for name in widths}
    if rng.random() < share:
        name = rng.choice(list(widths))
        known[name] = near(rng, known[name])
    return b"".join(as_field(known[name], width) for name, width in widths.items())


def npz(rng: random.Random) -> bytes:
    """Build an archive of .npy files, field by field."""
    content, directory = b"" if rng.random() < 0.97 else rng.randbytes(9), b""
    members = [_member(rng) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
    for member in members:
        packed = member.stored(rng)
        known = {
            "version": 20,
            "flags": member.flags,
            "method": member.method,
            "date": 0x21,
            "crc": zlib.crc32(member.data),
            "packed": len(packed),
            "size": len(member.data),
            "name": len(member.name),
            "extra": len(member.extra),
        }
        offset = len(content)
        if rng.random() < 0.05:  # both places tell the same lie
            lie = rng.choice(("crc", "packed", "size"))
            known[lie] = near(rng, known[lie])
        content += _record(rng, "local", known | {"signature": 0x04034B50}, 0.06) + member.name + member.extra + packed
        directory += _record(rng, "central", known | {"signature": 0x02014B50, "offset": offset}, 0.06)
        directory += member.name + member.extra
    comment = often(rng, b"", (b"comment", b"PK\x05\x06" + bytes(18), b"x" * 65_535), 0.03)
    counts = dict.fromkeys(("here", "entries"), len(members)) | {"size": len(directory), "offset": len(content)}
    end = _record(rng, "end", counts | {"signature": 0x06054B50, "comment": len(comment)}, 0.06)
    if rng.random() < 0.04:
        place = len(content) + len(directory)
        sizes = [near(rng, n) if rng.random() < 0.1 else n for n in (len(members), len(directory), len(content), place)]
        many, size, start, at = (n % 2**64 for n in sizes)
        directory += struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, many, many, size, start)
        directory += struct.pack("<4sIQI", b"PK\x06\x07", 0, at, 1)
    return content + directory + end + comment


_TENSOR_DTYPES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
}
_ODD_DTYPES: tuple[Any, ...] = (
    "F33",
    "f32",
    "",
    "C64",
    "F4",
    "F8_E8M0",
    "F6_E2M3",
    None,
    1,
    ["F32"],
    {},
    "F32\0",
    "\ud800",
    "BOOLEAN",
)
_ODD_SIZES: tuple[Any, ...] = (
    *(-1, 2.0, True, None, "2", [], 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 1e3, float("nan"), -0.0),
)
_ODD_ENTRIES: tuple[Any, ...] = (
    *(None, [], {}, 1, "x", {"dtype": "F32"}, {"dtype": "F32", "shape": [], "data_offsets": []}),
    {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]},
    {"dtype": "U8", "shape": [0], "data_offsets": [0, 0], "more": 1},
)
_METADATA: tuple[Any, ...] = (
    {"format": "pt"},
    {},
    {"a": 1},
    None,
    [],
    "x",
    {"a": None},
    {"a": {"b": "c"}},
    {"\ud800": "x"},
)


def _tensor(rng: random.Random, dtype: str, shape: list[object], span: list[object]) -> object:
    entry = {"dtype": often(rng, dtype, _ODD_DTYPES, 0.06), "shape": shape, "data_offsets": span}
    for sizes in (shape, span):
        if rng.random() < 0.06 and sizes:
            at = rng.randrange(len(sizes))
            value = sizes[at]
            odd = near(rng, value) if isinstance(value, int) and rng.random() < 0.5 else rng.choice(_ODD_SIZES)
            sizes[at] = odd
        if rng.random() < 0.02:
            sizes.append(rng.choice((0, 1, 2, -1)))
    if rng.random() < 0.03:
        del entry[rng.choice(list(entry))]
    if rng.random() < 0.02:
        entry["more"] = 0
    return often(rng, entry, _ODD_ENTRIES, 0.02)


def safetensors(rng: random.Random) -> bytes:
    """Build a safetensors file."""
    chosen = [(rng.choice(list(_TENSOR_DTYPES)), rng.choice(_SHAPES)) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
    sizes = [_TENSOR_DTYPES[dtype] * math.prod(shape) for dtype, shape in chosen]
    ends = list(accumulate(sizes, initial=0))
    names = [
        often(rng, f"logits{n or ''}", ("", "__metadata__", "logits", "\ud800", "a:b", "\x1b[2J"), 0.05)
        for n in range(3)
    ]
    pairs = [
        (json.dumps(names[n]), json.dumps(_tensor(rng, dtype, list(shape), [ends[n], ends[n + 1]])))
        for n, (dtype, shape) in enumerate(chosen)
    ]
    if rng.random() < 0.2:
        pairs.insert(
            rng.randrange(len(pairs) + 1), ('"__metadata__"', json.dumps(often(rng, _METADATA[0], _METADATA, 0.5)))
        )
    if rng.random() < 0.03:
        pairs.append(pairs[0])
    text = "{" + ",".join(f"{name}:{entry}" for name, entry in pairs) + "}"
    if rng.random() < 0.08:
        text = rng.choice(
            (
                f" {text}",
                f"{text} ",
                f"{text}\n",
                f"\ufeff{text}",
                f"[{text}]",
                text[:-1],
                f"{text}x",
                "{}",
                "[]",
                text * 2,
            )
        )
    if rng.random() < 0.03:
        text = text.replace(
            rng.choice('0123456789"[{}],:'), rng.choice(("", "0", "01", "1.0", "1e1", "-0", "\\u0031", "{" * 2_000)), 1
        )
    header = text.encode("utf-8", "surrogatepass")
    if rng.random() < 0.5:
        header += b" " * (-len(header) % 8)
    length = near(rng, len(header)) if rng.random() < 0.06 else len(header)
    data = rng.randbytes(ends[-1])
    if rng.random() < 0.06:
        data = rng.choice((data[:-1], data + b"\0", data * 2, b""))
    return as_field(length, 8) + header + data
