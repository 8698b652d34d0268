"""The listing: the lines of the functions that took part."""

from __future__ import annotations

import functools
from types import CodeType
from typing import TYPE_CHECKING, Any

import pytest

from stablemax.trace.traced_code import display_name, listing, scalar_conversions

if TYPE_CHECKING:
    from pathlib import Path


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


def conversions(folder: Path, *lines: str, before: str = "") -> tuple[str, ...]:
    """The calls that are found in a function of some lines, and in which line; a method has the same."""
    found = []
    for indent, opening in (("", ""), ("    ", "class Layer:\n")):
        body = [before, "def f(x, a=0):", *(f"    {line}" for line in lines)]
        text = opening + "".join(f"{indent}{line}\n" for line in body if line)
        path = folder / f"code{len(list(folder.iterdir()))}.py"
        path.write_text(text, encoding="utf-8")
        (code,) = (c for c in codes_within(compile(text, str(path), "exec")) if c.co_name == "f")
        first = text[: text.index("def f")].count("\n") + 1
        calls = [call.split(f" at {path.name}:") for call in scalar_conversions([code])]
        found.append(tuple(f"{call} in {int(line) - first}" for call, line in calls))
    assert found[0] == found[1]
    return found[0]


def codes_within(code: CodeType) -> list[CodeType]:
    inner = [c for c in code.co_consts if isinstance(c, CodeType)]
    return [*inner, *(c for one in inner for c in codes_within(one))]


@pytest.mark.parametrize(
    "name",
    ["np.float16", "np.float32", "numpy.float64", "np.half", "np.single", "np.double", "float32", "x.dtype.type"],
)
def test_a_number_that_leaves_by_any_scalar_type_is_found(name: str, tmp_path: Path) -> None:
    assert conversions(tmp_path, "y = x.sum()", f"return x / ({name}(y) + 1)") == (f"{name}(y) in 2",)


@pytest.mark.parametrize(
    "line",
    [
        "return x * np.float32(0.5)",
        "return np.float32()",
        "return np.float32(x, a)",
        "return x.astype(np.float32)",
        "return np.asarray(x, dtype='float32')",
        "return x.mean()  # np.float32(x)",
        "return float64_of(x)",
        "return types(x)",
    ],
)
def test_what_takes_no_number_out_is_not_found(line: str, tmp_path: Path) -> None:
    assert conversions(tmp_path, line) == ()


def test_only_the_lines_of_the_function_itself_count_and_each_call_once(tmp_path: Path) -> None:
    assert conversions(tmp_path, '"""np.float32(x)"""', "return x") == ()
    assert conversions(tmp_path, "return x", before="@np.float32(x)") == ()
    lines = ["y = np.float32(x) + np.float32(x)", "# a sum", "return np.float64(np.half(y))"]
    calls = ["np.float32(x) in 1", "np.float64(np.half(y)) in 3", "np.half(y) in 3"]
    assert sorted(conversions(tmp_path, *lines)) == calls


def test_those_of_several_functions_are_told_one_function_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "code.py"
    text = "def f(x):\n    return np.float32(x)\n\n\ndef g(x):\n    return np.half(x)\n"
    path.write_text(text, encoding="utf-8")
    f, g = codes_within(compile(text, str(path), "exec"))
    told = ("np.float32(x) at code.py:2", "np.half(x) at code.py:6")
    assert scalar_conversions([f, g]) == told
    assert scalar_conversions([g, f]) == told[::-1]
    assert scalar_conversions([]) == ()
