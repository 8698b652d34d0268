"""Mutations that know nothing of a format: of bytes, of the integers in them, and of text."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

_T = TypeVar("_T")

INTERESTING = (
    *(0, 1, 2, 7, 8, 15, 16, 63, 64, 65, 127, 128, 255, 256, 1_023, 32_767, 32_768, 65_535, 65_536, 10_001),
    *(2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64),
    *(-1, -2, -100, -(2**31), -(2**63), -(2**64)),
)
"""Sizes of types and their neighbours, where sums and products wrap around."""
CHUNK = 64
"""Bytes of a chunk that is repeated, moved or cut out; now and then it is far longer."""


def often(rng: random.Random, usual: _T, others: Sequence[_T], share: float = 0.12) -> _T:
    """Take what is usual, and now and then one of the others."""
    return rng.choice(others) if rng.random() < share else usual


def near(rng: random.Random, value: int) -> int:
    """Return an integer in the place of another: a neighbour of it, or one that is interesting."""
    if rng.random() < 0.4:
        return value + rng.choice((-8, -2, -1, 1, 2, 8, value))
    return rng.choice(INTERESTING)


def as_field(value: int, width: int) -> bytes:
    """Return an integer of any size as a little-endian field of some bytes."""
    return (value % 2 ** (8 * width)).to_bytes(width, "little")


def _flip(rng: random.Random, content: bytes, other: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _set_byte(rng: random.Random, content: bytes, other: bytes) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([rng.choice((0, 0xFF, 0x7F, 0x80, 10, 13, 32, 34, 39, 91, 123))]) + content[at + 1 :]


def _set_integer(rng: random.Random, content: bytes, other: bytes) -> bytes:
    width = rng.choice((1, 2, 4, 8))
    at = rng.randrange(max(1, len(content) - width))
    field = as_field(near(rng, int.from_bytes(content[at : at + width], "little")), width)
    return content[:at] + (field if rng.random() < 0.8 else field[::-1]) + content[at + width :]


def _truncate(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: rng.randrange(len(content))] if rng.random() < 0.7 else content[-rng.randrange(len(content)) :]


def _insert(rng: random.Random, content: bytes, other: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.randbytes(rng.choice((1, 1, 2, 4, 16))) + content[at:]


def _chunk(rng: random.Random, content: bytes) -> tuple[int, int]:
    start = rng.randrange(len(content))
    return start, min(len(content), start + rng.randrange(1, CHUNK))


def _repeat(rng: random.Random, content: bytes, other: bytes) -> bytes:
    start, end = _chunk(rng, content)
    times = rng.choice((2, 2, 3, 10, 200)) if rng.random() < 0.98 else 20_000
    return content[:end] + content[start:end] * (times - 1) + content[end:]


def _run(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Insert a long run: what is read in the square of its length takes minutes."""
    at = rng.randrange(len(content) + 1)
    unit = rng.choice(
        (
            b" ",
            b"\t",
            b"\n",
            b"\r",
            b"1",
            b".",
            b",",
            b'"',
            b"[",
            b"]",
            b"(",
            b"[1]",
            b",a=b",
            b"1,",
            b"1 ",
            b"x",
            b"{",
            b"\0",
        )
    )
    times = rng.choice((100, 2_000)) if rng.random() < 0.9 else 40_000
    return content[:at] + unit * times + content[at:]


def _erase(rng: random.Random, content: bytes, other: bytes) -> bytes:
    start, end = _chunk(rng, content)
    return content[:start] + (bytes(end - start) if rng.random() < 0.5 else b"") + content[end:]


def _move(rng: random.Random, content: bytes, other: bytes) -> bytes:
    start, end = _chunk(rng, content)
    rest = content[:start] + content[end:]
    at = rng.randrange(len(rest) + 1)
    return rest[:at] + content[start:end] + rest[at:]


def _splice(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


def _append(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content + other if rng.random() < 0.5 else other + content


def _text_mode(rng: random.Random, content: bytes, other: bytes) -> bytes:
    return content.replace(b"\n", b"\r\n") if rng.random() < 0.5 else content.replace(b"\r\n", b"\n")


_DAMAGE: tuple[Callable[[random.Random, bytes, bytes], bytes], ...] = (
    *(_flip, _flip, _set_byte, _set_integer, _set_integer, _truncate, _insert, _repeat),
    *(_erase, _move, _splice, _append, _text_mode, _run),
)


def damaged(rng: random.Random, content: bytes, other: bytes) -> bytes:
    """Damage bytes once or a few times, some of them with bytes of another file.

    >>> damaged(random.Random(1), b"a content", b"another") == damaged(random.Random(1), b"a content", b"another")
    True
    """
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if content:
            content = rng.choice(_DAMAGE)(rng, content, other)
    return content
