from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stablemax.inputs.formats.table_cells import by_arrow, by_numpy, is_number, parse_block, quoted, split

try:
    import pyarrow.csv  # noqa: F401

    ENGINES = [by_numpy, by_arrow]
except ImportError:
    ENGINES = [by_numpy]


def parse(text: str | bytes, width: int, delimiter: str = ",") -> np.ndarray | None:
    """What every engine makes of a block: the same bits, or each of them declines."""
    data = text.encode() if isinstance(text, str) else text
    every = [parse_block(data, delimiter, width, skip_first=False, convert=engine) for engine in ENGINES]
    first = every[0]
    for other in every[1:]:
        # Which NaN stands for nan is nobody's business.
        assert (other is None) == (first is None)
        assert first is None or other is None or bits(np.nan_to_num(other)) == bits(np.nan_to_num(first))
    return first


FINITE = st.floats(allow_nan=False, allow_infinity=False)
LOGITS = st.floats(-1e3, 1e3)
DIGITS = st.text("0123456789", max_size=12)
WRITTEN = st.one_of(
    FINITE.map(repr),
    LOGITS.map(repr),
    st.tuples(LOGITS, st.integers(0, 20)).map(lambda pair: f"{pair[0]:.{pair[1]}e}"),
    st.tuples(LOGITS, st.integers(0, 20)).map(lambda pair: f"{pair[0]:.{pair[1]}f}"),
    st.floats(1e-25, 1).map(repr),
    st.tuples(st.sampled_from(["", "-", "+", "--", " "]), DIGITS, st.sampled_from([".", "", "..", "-"]), DIGITS).map(
        "".join
    ),
    st.sampled_from(["inf", "-inf", "nan", "Infinity", "INF", "1e5", "1e400", "x", "", "0x1", "1_0", "9" * 30, "."]),
)


def bits(values: object) -> list[int]:
    return np.asarray(values, float).view(np.int64).ravel().tolist()


@pytest.mark.slow
@settings(deadline=None, max_examples=500)
@given(st.lists(WRITTEN, min_size=1, max_size=40))
def test_every_number_is_the_one_that_float_reads_or_the_block_is_declined(cells: list[str]) -> None:
    found = parse(",".join(cells), len(cells))
    if found is not None:
        expected = [float(cell) for cell in cells]
        known = ~np.isnan(expected)
        assert found.shape == (1, len(cells))
        assert bits(found[0, known]) == bits(np.asarray(expected)[known])
        assert np.isnan(found[0, ~known]).all()


@settings(deadline=None)
@given(st.lists(LOGITS.map(repr), min_size=1, max_size=40))
def test_logits_as_python_and_numpy_write_them_are_never_declined(cells: list[str]) -> None:
    rewritten = [form % float(cell) for cell in cells for form in ("%.18e", "%.6f", "%r")]
    found = parse("\n".join(rewritten), 1)
    assert found is not None
    assert bits(found) == bits([float(cell) for cell in rewritten])


@settings(deadline=None)
@given(st.integers(2**52, 2**53 - 1), st.integers(-70, 10), st.integers(-2, 2))
def test_what_lies_next_to_the_middle_of_two_numbers_is_rounded_to_the_right_one(
    significand: int, exponent: int, change: int
) -> None:
    middle = Fraction(2 * significand + 1, 2) * Fraction(2) ** exponent
    places = 0
    while middle * 10 ** (places + 1) < 10**19 and places < 23:
        places += 1
    digits = str(int(middle * 10**places) + change).zfill(places + 1)
    cell = digits[: len(digits) - places] + ("." + digits[len(digits) - places :] if places else "")
    found = parse(cell, 1)
    assert found is not None
    assert bits(found) == bits([float(cell)])


@pytest.mark.parametrize("whole", [2**53 + 1, 2**54 + 2, 2**60 + 2**7, 9_999_999_999_999_999_999, 2**63 + 1024])
def test_integers_half_way_between_two_numbers_are_rounded_to_even(whole: int) -> None:
    assert bits(parse(str(whole), 1)) == bits([float(whole)])


@pytest.mark.parametrize(
    "text",
    [
        "1,2\n3",
        "1\n2,3",
        "1\n2\n3,4",
        "1,1.5e1-2",
        "1,1.5e1+9",
        "1,1.5e-2-",
        "1,9inf",
        "1,2nan",
        "1,-xinf",
        "1,2,3\n4",
        "1,2\n3,4,5\n6",
        "1,2\n\n3,4",
        "1,2\n3,",
        "1,two",
        "1,1_0",
        '"1"2,3',
        '"1,5",2',
        "1,1e400",
        "1,nan(1)",
        "1,0x1p3",
        "1,\x0b1",
        "\ufeff1,2",
    ],
)
def test_ragged_lines_and_what_is_no_number_are_declined(text: str) -> None:
    assert parse(text, 2) is None


@pytest.mark.parametrize("digits", [18, 19, 20, 21, 22, 23, 24, 25, 30, 40])
def test_numbers_of_any_number_of_digits_are_read_right(digits: int) -> None:
    cells = [
        form + "1357924680" * 4
        for form in ("0.", "0.0", "0.00", "0.0000", "0.000000", "0.99", "-0.", ".", "00.", "3.", "-7.0000", "12345678.")
    ]
    cells = [cell[: cell.index(".") + 1 + digits] for cell in cells]
    plain = ["1.5"] * 200
    found = parse(",".join(cells + plain), len(cells) + 200)
    assert found is not None
    assert bits(found[0, : len(cells)]) == bits([float(cell) for cell in cells])


def test_signs_of_zero_and_of_infinity_are_kept() -> None:
    found = parse("-0,0,-0.0,-inf,INF,0.0,1,2", 8)
    assert bits(found) == bits([-0.0, 0.0, -0.0, -np.inf, np.inf, 0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [("1, 2.5\n-3, 4", ","), ("1 2.5\n-3 4", " "), ("  1   2.5\n-3\t4 ", " "), ("1\t2.5\n-3\t4", "\t")],
)
def test_blanks_after_delimiters_and_runs_of_blanks_are_read(text: str, delimiter: str) -> None:
    found = parse(text, 2, delimiter)
    assert found is not None
    assert found.tolist() == [[1, 2.5], [-3, 4]]


def test_bytes_that_are_no_ascii_are_declined() -> None:
    assert parse("1,\u0661", 2) is None
    assert parse("\xa01,2".encode(), 2) is None


@pytest.mark.parametrize("text", ['"1.5","2"\n"-3", "4"', '1.5,"2"\n-3,4', ' "1.5" ,2\n-3,4'])
def test_quotes_around_whole_cells_come_off(text: str) -> None:
    found = parse(text, 2)
    assert found is not None
    assert found.tolist() == [[1.5, 2], [-3, 4]]


def test_a_delimiter_of_several_bytes_separates_cells() -> None:
    found = parse("1§2\n3§4", 2, "§")
    assert found is not None
    assert found.tolist() == [[1, 2], [3, 4]]


def test_a_first_column_that_is_skipped_may_hold_anything() -> None:
    for engine in ENGINES:
        found = parse_block(b"a b,1\n,2", ",", 2, skip_first=True, convert=engine)
        assert found is not None
        assert found.tolist() == [[1], [2]]
        assert parse_block(b"a,1\nb", ",", 2, skip_first=True, convert=engine) is None


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t", " "])
def test_a_line_is_split_into_what_stands_in_its_cells_quoted_or_not(delimiter: str) -> None:
    cells = ["1.5", "a b", "-2", "x"]
    for in_quotes in ((), (0,), (1, 3), (0, 1, 2, 3)):
        line = [
            f'"{cell}"' if n in in_quotes or (" " in cell and delimiter == " ") else cell
            for n, cell in enumerate(cells)
        ]
        assert split(delimiter.join(line), delimiter, "x.csv: line 1") == cells
        assert split(delimiter.join(line[:1]), delimiter, "x.csv: line 1") == cells[:1]


@pytest.mark.parametrize("text", ['1 "" 2', '"" 1 2', '1 2 ""', '1 "2""3"', '"1""2"', '"1"2'])
def test_among_blanks_no_quoted_cell_is_lost_or_split(text: str) -> None:
    """An empty cell is one, and two cells in quotes have a blank between them."""
    assert parse(text, 2, " ") is None
    cells = split(text, " ", "x.txt: line 1")
    assert not all(map(is_number, cells))


@pytest.mark.parametrize(
    ("delimiter", "cells"),
    [
        *((sign, ("1.5", "", "a b", "a,b;c\td", 'say "so"', '"', '""1""', "[1, 2]")) for sign in ",;\t"),
        (" ", ("1.5", "", "a b", "a,b;c\td", "[1, 2]")),  # no quotes can stand within a cell
    ],
)
def test_a_cell_that_is_quoted_is_split_off_as_it_was(delimiter: str, cells: tuple[str, ...]) -> None:
    for cell in cells:
        _is_split_off(cell, delimiter)


def _is_split_off(cell: str, delimiter: str) -> None:
    line = delimiter.join(["1", quoted(cell, delimiter), "2"])
    assert split(line, delimiter, "x.csv: line 1") == ["1", cell, "2"]


@pytest.mark.parametrize("cell", ["1" * 10**5 + "x", "." + "1" * 10**5 + "x", "1" * 10**5 + "e" + "1" * 10**5 + "x"])
def test_a_cell_of_many_digits_that_is_no_number_is_told_in_linear_time(cell: str) -> None:
    begin = time.process_time()
    assert not is_number(cell)
    assert time.process_time() - begin < 5
