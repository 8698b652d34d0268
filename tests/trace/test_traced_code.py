"""The listing: the lines of the functions that took part."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from stablemax.trace.traced_code import display_name, listing, scalar_conversions

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*arguments: Any) -> Any:
        return function(*arguments)

    return wrapper


@decorated
def documented(x: Any) -> Any:
    """Say something.

    At length.
    """
    total = x + 1  # a sum

    return -total


def lines_of(function: Any) -> list[str]:
    return [text.strip() for text in listing([function.__code__], {}).values()]


def test_decorators_docstrings_and_empty_lines_are_left_out() -> None:
    assert lines_of(documented.__wrapped__) == [
        "def documented(x: Any) -> Any:",
        "total = x + 1  # a sum",
        "return -total",
    ]


def test_code_without_a_source_has_only_the_lines_that_ran() -> None:
    space: dict[str, Any] = {}
    exec("def made(x):\n    return x + 1\n", space)
    assert lines_of(space["made"]) == []


def test_lines_that_ran_outside_of_functions_are_listed() -> None:
    function = lambda x: x + 1  # noqa: E731 - a lambda is what is listed
    ran = {function.__code__.co_filename: {function.__code__.co_firstlineno}}
    (text,) = listing([function.__code__], ran).values()
    assert text.strip().startswith("function = lambda x: x + 1")


def test_a_file_is_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert display_name(str(tmp_path / "code.py")) == "code.py"
    assert display_name(str(tmp_path / "folder" / "code.py")) == "folder/code.py"
    assert display_name("<string>") == "<string>"


def takes_numbers_out(x: Any) -> Any:
    import numpy as np

    half = np.float32(0.5)
    return x * half / np.float32(x.sum())


def test_a_scalar_type_that_takes_a_number_out_is_found_and_a_constant_is_not() -> None:
    (found,) = scalar_conversions([takes_numbers_out.__code__])
    line = takes_numbers_out.__code__.co_firstlineno + 4
    assert found == f"np.float32(x.sum()) at test_traced_code.py:{line}"


class Layer:
    def of_a_method(self, x: Any) -> Any:
        """Say something
        that is not indented as the code is.
        """
        import numpy as np

        return np.float64(x.sum())


def test_a_method_is_cut_out_of_its_class_whatever_its_strings_hold() -> None:
    code = Layer.of_a_method.__code__
    assert lines_of(Layer.of_a_method) == [
        "def of_a_method(self, x: Any) -> Any:", "import numpy as np", "return np.float64(x.sum())"
    ]  # fmt: skip
    assert scalar_conversions([code]) == (f"np.float64(x.sum()) at test_traced_code.py:{code.co_firstlineno + 6}",)
