"""Plain decimal numbers to float64, a block at a time: correctly rounded, as `float` does it, without its loop.

A cell ``-12.345678e-01`` is the integer 12345678 over a power of ten. The digits of all cells are gathered
eight at a time from 64-bit words. An integer below 2**53 over a power of ten up to 10**22 is one rounded
division of two exact numbers (Clinger 1990); for longer ones the quotient is carried to twice the
precision, and the few whose rounding that leaves in doubt are read one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stablemax.inputs.cells import COLUMN_LIMIT, is_number

if TYPE_CHECKING:
    from stablemax.formats import Array

MOST_DIGITS = 19
"""Digits of which every integer fits into 64 bits."""
EXACT_DIGITS = 15
"""Digits of which every integer fits into the 53 bits of a float64."""
EXACT_POWER = 22
"""Largest power of ten that is a float64."""
ODD_SHARE = 8
"""Where more than one cell in so many has to be read by itself, NumPy's parser is faster."""
_WORD = 8
_FRONT = b"0" * 3 * _WORD
_ZEROS = np.uint64(0x3030303030303030)
_POWERS = np.array([float(10**n) for n in range(EXACT_POWER + 1)])
# Nothing but zeros stands before a fraction of more digits.
_WHOLE_POWERS = np.array([10**n if n <= MOST_DIGITS else 0 for n in range(3 * _WORD + 1)], np.uint64)


def parse_decimals(data: bytes, delimiter: str, width: int) -> Array | None:
    r"""Parse lines of plain decimal numbers, or decline.

    Parameters
    ----------
    data : bytes
        Whole lines, without the last line feed.
    delimiter : str
        One ASCII character that is no part of a number; a space stands for any run of blanks.
    width : int
        Cells in each line.

    Returns
    -------
    numpy.ndarray or None
        float64 of shape (lines, width), each number the float64 nearest to what is written; None
        where only the other parsers can tell what is right.

    Examples
    --------
    >>> parse_decimals(b"1.5,-2\n0.1,1.25e-02", ",", 2)
    array([[ 1.5   , -2.    ],
           [ 0.1   ,  0.0125]])
    >>> parse_decimals(b"1,2\n3", ",", 2) is None
    True
    >>> parse_decimals(b"1,two", ",", 2) is None
    True
    """
    # What a line of millions of delimiters takes is bounded by leaving it to the parser that refuses it.
    sign = delimiter.encode()
    if len(data) > COLUMN_LIMIT and data.count(sign) + data.count(b"\n") >= COLUMN_LIMIT:
        return None
    if delimiter != " ":
        # Blanks after a delimiter are regular; any others make their cells odd.
        return _parsed(data.replace(sign + b" ", sign) if b" " in data else data, delimiter, width)
    values = _parsed(data, delimiter, width)
    if values is None:
        single = b"\n".join(b" ".join(line.split()) for line in data.split(b"\n"))
        values = None if single == data else _parsed(single, delimiter, width)
    return values


def _parsed(data: bytes, delimiter: str, width: int) -> Array | None:
    """Parse cells between single delimiters, or decline."""
    # The digits before the first cell make room for the words that end in it.
    padded = _FRONT + data + b"\n"
    found = _found(np.frombuffer(padded, np.uint8), ord(delimiter), width)
    if found is None:
        return None
    starts, ends, negative, point, mantissa_ends, exponents, plain = found
    words = np.ndarray(len(padded) - _WORD + 1, "<u8", padded, strides=(1,))
    whole = point - starts - negative
    fraction = np.maximum(mantissa_ends - point - 1, 0)
    digits = whole + fraction
    scale = fraction - exponents
    plain &= (digits > 0) & (scale >= 0) & (scale <= 2 * EXACT_POWER)
    long = np.flatnonzero(plain & (digits > MOST_DIGITS))
    plain[long] = _leading_zeros(words, point[long], whole[long], mantissa_ends[long], fraction[long])
    odd = np.flatnonzero(~plain)
    if len(odd):
        whole, fraction, scale = whole * plain, fraction * plain, scale * plain
    odd, named, named_values = _named(words, odd, ends[odd], ends[odd] - starts[odd] - negative[odd])
    if len(odd) > len(ends) // ODD_SHARE + 1:
        return None
    integers = _integers(words, point, whole) * _WHOLE_POWERS[fraction] + _integers(words, mantissa_ends, fraction)
    if int((digits * plain).max()) <= EXACT_DIGITS and int(scale.max()) <= EXACT_POWER:
        values = integers.astype(np.float64) / _POWERS[scale]
    else:
        values, doubtful = _quotients(integers, scale)
        odd = np.concatenate((odd, doubtful))
    values[named] = named_values
    np.negative(values, out=values, where=negative)
    for cell in odd.tolist():
        written = padded[starts[cell] : ends[cell]].decode("ascii", "replace").strip(" ")
        value = float(written) if is_number(written) else None
        if value is None or (np.isinf(value) and "n" not in written.lower()):  # 1e400, not inf
            return None
        values[cell] = value
    return values.reshape(-1, width)


class _Cells(NamedTuple):
    """Where the parts of all cells are; positions are those in the text."""

    starts: Array
    ends: Array
    negative: Array
    point: Array
    """The decimal point, or the end of an integer."""
    mantissa_ends: Array
    exponents: Array
    plain: Array
    """Whether the cell has no other characters than a decimal number may have, each in its place."""


def _found(text: Array, delimiter: int, width: int) -> _Cells | None:
    """Find the cells from the characters that are no digits; None where lines are not of `width` cells."""
    at = np.flatnonzero(text - np.uint8(ord("0")) > 9)
    sign = text[at]
    last = np.flatnonzero((sign == delimiter) | (sign == ord("\n")))
    ends = at[last]
    if len(last) % width:
        return None
    line_ends = sign[last].reshape(-1, width) == ord("\n")
    if not line_ends[:, -1].all() or np.count_nonzero(line_ends) != len(line_ends):
        return None
    starts = np.concatenate(([len(_FRONT)], ends[:-1] + 1))
    first = np.concatenate(([0], last[:-1] + 1))
    negative = (sign[first] == ord("-")) & (at[first] == starts)
    first = first + negative
    point = at[first]
    has_point = sign[first] == ord(".")
    signs = last - first
    plain = signs == has_point
    mantissa_ends, exponents = ends, np.zeros(len(ends), np.int64)
    scientific = np.flatnonzero((signs == 3) & has_point)
    if len(scientific):
        kept, power = _exponents(text, at, sign, first[scientific] + 1, ends[scientific])
        scientific = scientific[kept]
        mantissa_ends = ends.copy()
        mantissa_ends[scientific] = at[first[scientific] + 1]
        exponents[scientific] = power[kept]
        plain[scientific] = True
    return _Cells(starts, ends, negative, point, mantissa_ends, exponents, plain)


def _exponents(text: Array, at: Array, sign: Array, token: Array, ends: Array) -> tuple[Array, Array]:
    """Read exponents of two digits, as `%e` and `repr` write them; tell which cells have one."""
    marker, direction = sign[token], sign[token + 1]
    kept = (marker | 0x20) == ord("e")
    kept &= (direction == ord("-")) | (direction == ord("+"))
    kept &= (at[token + 1] == at[token] + 1) & (ends - at[token] == 4)
    size = text[ends - 2].astype(np.int64) * 10 + text[ends - 1] - 11 * ord("0")
    return kept, np.where(direction == ord("-"), -size, size)


def _leading_zeros(words: Array, point: Array, whole: Array, ends: Array, fraction: Array) -> Array:
    """Tell which of these numbers of too many digits begin with so many zeros that 64 bits hold them."""
    result = (whole <= _WORD) & (fraction > 2 * _WORD) & (fraction <= 3 * _WORD)
    at = np.flatnonzero(result)
    if len(at):
        first = _integers(words, ends[at] - 2 * _WORD, fraction[at] - 2 * _WORD)
        result[at] = (first < 1000) & (_integers(words, point[at], whole[at]) == 0)
    return result


def _named(words: Array, cells: Array, ends: Array, lengths: Array) -> tuple[Array, Array, Array]:
    """Find inf and nan among cells; return the other cells, and these with their values."""
    # The last three of the eight bytes before the end, in lower case.
    word = (words[ends - _WORD] >> np.uint64(40)) | np.uint64(0x202020)
    infinite, unknown = (word == np.uint64(int.from_bytes(name, "little")) for name in (b"inf", b"nan"))
    found = (lengths == 3) & (infinite | unknown)
    return cells[~found], cells[found], np.where(infinite[found], np.inf, np.nan)


def _integers(words: Array, ends: Array, lengths: Array) -> Array:
    """Read the given number of digits before each end, as uint64."""
    result = np.zeros(len(ends), np.uint64)
    for done in range(0, int(lengths.max()), _WORD):
        missing = (_WORD - np.clip(lengths - done, 0, _WORD)).astype(np.uint64) * np.uint64(8)
        word = words[ends - (done + _WORD)] ^ _ZEROS
        # What stands before the digits becomes leading zeros; a shift by all 64 bits gives 0.
        word >>= missing
        word <<= missing
        # Eight digits to a number in three multiplications: pairs, fours, eight (Lemire 2018).
        word = word * np.uint64(10) + (word >> np.uint64(8))
        low = word & np.uint64(0x000000FF000000FF)
        high = (word >> np.uint64(16)) & np.uint64(0x000000FF000000FF)
        word = (low * np.uint64(0x000F424000000064) + high * np.uint64(0x0000271000000001)) >> np.uint64(32)
        result += word * _WHOLE_POWERS[done]
    return result


def _quotients(integers: Array, scale: Array) -> tuple[Array, Array]:
    """Divide by powers of ten; return what is correctly rounded, and where that is in doubt."""
    high = integers.astype(np.float64)
    # The difference of unsigned numbers wraps round, and is right as a signed one.
    low = (integers - high.astype(np.uint64)).view(np.int64).astype(np.float64)
    high, low = _divided(high, low, _POWERS[np.minimum(scale, EXACT_POWER)])
    if int(scale.max()) > EXACT_POWER:
        high, low = _divided(high, low, _POWERS[np.maximum(scale - EXACT_POWER, 0)])
    # high + low is off by less than 2**-100 of itself: where both ends of a wider interval round
    # to the same number, so does the truth.
    margin = high * 2.0**-90
    values = high + (low + margin)
    return values, np.flatnonzero(values != high + (low - margin))


def _divided(high: Array, low: Array, divisor: Array) -> tuple[Array, Array]:
    """(high + low) / divisor as an unevaluated sum; the remainder of the first quotient is exact."""
    quotient = high / divisor
    product = quotient * divisor
    remainder = (high - product) - _product_error(quotient, divisor, product) + low
    return quotient, remainder / divisor


def _product_error(a: Array, b: Array, product: Array) -> Array:
    """Error of a product, a * b - product, exactly (Dekker 1971)."""
    a_high, a_low = _halves(a)
    b_high, b_low = _halves(b)
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Array) -> tuple[Array, Array]:
    spread = a * 134217729.0  # 2**27 + 1
    high = spread - (spread - a)
    return high, a - high
