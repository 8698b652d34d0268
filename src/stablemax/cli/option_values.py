"""What is typed for an option, read: amounts of memory, numbers of rows, names of formats and failures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    from stablemax.numerics.formats import Format


def bytes_of(text: str | None) -> int | None:
    """Read an amount of memory: a number with or without a unit.

    >>> bytes_of("512MB"), bytes_of("1.5 GiB"), bytes_of("4096"), bytes_of("8.2MB")
    (512000000, 1610612736, 4096, 8200000)
    """
    if text is None:
        return None
    amount = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(i?)[bB]?", text.strip(), re.ASCII)
    if amount is None or (amount[3] and not amount[2]):
        raise StablemaxError(f"--memory {shown(text)} is not an amount of memory", "such as 512MB, 2GiB or 1000000")
    power = " kmgt".index(amount[2].lower() or " ")
    # A fraction, as 8.2 * 10**6 is a little less than 8,200,000 in float64.
    return int(Fraction(amount[1]) * (1024 if amount[3] else 1000) ** power)


def row_count(text: str | None) -> int | None:
    """Read the N of --judge; None for all rows."""
    if text is None or text == "all":
        return None
    if not text.removeprefix("-").isdecimal():
        raise StablemaxError(
            f"--judge {shown(text)} is neither 'all' nor a number of rows", "--judge all, or --judge 500"
        )
    return int(text)


def failures_named(texts: Iterable[str], known: tuple[str, ...], lack: str) -> tuple[str, ...]:
    """Read --fail-on: names, each alone or with commas between them; `lack` begins what refuses another one."""
    names = tuple(dict.fromkeys(name.strip().lower() for text in texts for name in text.split(",")))
    for name in names:
        if name not in known:
            raise StablemaxError(f"--fail-on: there is {lack} {shown(name)!r}", f"one or more of: {', '.join(known)}")
    return names


def formats_named(names: Iterable[str]) -> tuple[Format, ...]:
    """Look up the number formats that --format names, each once."""
    from stablemax.numerics.formats import get_format

    return tuple(dict.fromkeys(get_format(name) for name in names))


def number_format_named(name: str | None) -> Format | None:
    """Look up the number format of --format, where one is given."""
    return None if name is None else formats_named([name])[0]
