from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stablemax.inputs.foreign_text import brief, file_name, listed, shape_of, size_of


@given(st.text(st.characters(exclude_categories=())), st.integers(60, 400))
def test_shown_values_are_printable_and_bounded_in_bytes(text: str, size: int) -> None:
    result = brief(text, size)
    assert result.isprintable()
    assert len(result.encode()) <= size


def test_characters_that_escape_to_ten_bytes_are_bounded_too() -> None:
    assert len(brief("\U000e0001" * 500, 100)) <= 100


def test_an_integer_of_more_digits_than_python_prints_is_described() -> None:
    assert brief(10**5000) == "a number of thousands of digits"


def test_short_text_stays_as_it_is() -> None:
    assert brief("[bold]α[/bold]") == "[bold]α[/bold]"
    assert file_name("[bold].npy") == "[bold].npy"


@pytest.mark.slow
@given(st.lists(st.text(max_size=200), max_size=50))
def test_lists_are_bounded_in_bytes(names: list[str]) -> None:
    assert len(listed(names, 300).encode()) <= 300


def test_claims_of_any_size_can_be_said() -> None:
    assert size_of(1) == "1 byte"
    assert len(size_of(2**60000)) < 40


def test_long_shapes_are_cut() -> None:
    assert shape_of((1,) * 9) == "(1, 1, 1, 1, 1, 1, 1, 1, ...: 9 dimensions)"
