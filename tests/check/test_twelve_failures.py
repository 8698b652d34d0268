"""Of each of twelve failures one screen alone answers five questions, whoever reads it.

Which formula is it, from which logit or number on does it fail, at which line, why, and what is to be written instead?
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from stablemax.hazards import shapes
from stablemax.hazards.shapes import SHAPES

from ..cli.running import run
from ..in_this_process import start_no_process
from . import twelve_failures

CODE = Path(twelve_failures.__file__)


class Screen(NamedTuple):
    """A failure, and what its screen must say."""

    function: str
    #: From where on it fails: a logit, a sum, a number of terms.
    limit: str
    why: str
    #: A piece of the code to paste.
    instead: str
    options: tuple[str, ...] = ("--format", "float32")
    grade: str = "unstable"
    input: str = "x = np.array("
    #: Of the only shapes that are tried, where the first few show nothing.
    classes: int = 0


SCREENS = (
    Screen(
        "overflow_softmax", "it overflows above 88.723 in float32", "exp overflows", "x.max(axis=-1, keepdims=True)"
    ),
    Screen(
        "underflow_cross_entropy",
        "underflows (below -103.97 in float32)",
        "log of 0 is infinite for 1 of 1 cell (first: row 0); the 0 comes from exp",
        "np.log(np.exp(z).sum(",
    ),
    Screen(
        "cancelling_log_softmax",
        "3e+07 + 0.693147 gives 3e+07, off by 0.693, where the numbers of float32 are 2 apart",
        "subtract cancels",
        "z - np.log(np.exp(z).sum(",
    ),
    Screen(
        "collapsing_cross_entropy",
        "exp of less than -16.6 is lost beside 1",
        "log magnifies what was rounded before",
        "np.log1p(e.sum(",
        ("--format", "float32", "--require", "accurate"),
        "stable",
    ),
    Screen(
        "wrong_axis_softmax",
        "(the smallest: 1 row x 7 classes",
        "its sum runs over axis 0, the rows, instead of the classes",
        "e.sum(axis=-1, keepdims=True)",
        grade="wrong",
    ),
    Screen(
        "half_sum_logsumexp",
        "its first 65,520 of 65,535 terms add up to 65520, above 65504, the largest number of float16",
        "sum overflows",
        "x.astype(np.float32)",
        ("--format", "float16"),
        input="x = np.full((1, 65535)",
        classes=65_535,
    ),
    Screen(
        "stagnating_logsumexp",
        "where the numbers of bfloat16 are 0.00781 apart: exp of less than -5.55 is lost beside 1",
        "add absorbs",
        "x.astype(np.float32)",
        ("--format", "bfloat16"),
        input="x = np.repeat(np.array([0.0, -6.25]",
    ),
    Screen(
        "epsilon_cross_entropy",
        "x = np.array([[0.0, 20.0]]",
        "it adds 1e-07 to the probabilities before the logarithm",
        "np.log(np.exp(z).sum(",
        grade="wrong",
    ),
    Screen(
        "zero_times_infinity_entropy",
        "underflows (below -103.97 in float32)",
        "a probability of 0 counts for nothing: 0 times -inf is NaN",
        "np.where(p == 0, 0, p * logp)",
    ),
    Screen(
        "subtracting_cross_entropy_grad",
        "exp of less than -16.6 is lost beside 1",
        "subtract cancels: 1 - 1 gives 0, exactly -2.06115e-09",
        "e[rows, labels] = -e.sum(axis=-1)",
        ("--format", "float32", "--require", "accurate"),
        "stable",
    ),
    Screen(
        "half_mean_cross_entropy",
        "its first 3,276 of 4,096 terms add up to 65520, above 65504, the largest number of float16",
        "sum overflows",
        "return losses.mean()",
        ("--format", "float16"),
        input="x = np.tile(np.array([0.0, 20.0], dtype=np.float16), (4096, 1))",
    ),
)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    start_no_process(monkeypatch)


def words(text: str) -> str:
    return " ".join(text.split())


def marked_line(function: str) -> int:
    lines = CODE.read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"def {function}("))
    return next(i for i in range(start, len(lines)) if "# to blame" in lines[i]) + 1


def pasted(text: str, function: str) -> Any:
    """Run the code that the screen says to write, and return its function."""
    block = text.partition("write this instead:\n")[2].partition("\nsmallest input")[0].partition("\nreproduce:")[0]
    names: dict[str, Any] = {}
    exec("\n".join(line.removeprefix("    ") for line in block.splitlines()), names)
    return names[function]


@pytest.mark.slow
@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.function)
def test_a_screen_answers_which_formula_from_where_on_at_which_line_why_and_what_instead(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    if screen.classes:
        monkeypatch.setattr(shapes, "SHAPES", [shape for shape in SHAPES if shape.classes == screen.classes])
    done = run("check", f"{CODE}:{screen.function}", *screen.options)
    said = words(done.out)
    assert done.code == 1
    assert f":{screen.function} is {screen.grade}" in said
    assert screen.limit in said
    assert re.search(rf"[Ll]ine {marked_line(screen.function)}: ", said), said
    assert screen.why in said
    assert screen.input in said
    assert screen.instead in done.out.partition("write this instead:")[2]
    assert callable(pasted(done.out, screen.function))


@pytest.mark.slow
def test_a_trace_says_what_becomes_of_a_row_of_nothing_but_minus_infinity(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1.0, 2.0, 3.0], [-np.inf] * 3], dtype=np.float32))
    done = run("trace", f"{CODE}:masked_row_softmax", str(tmp_path / "x.npy"))
    said = words(done.out)
    assert (
        "1 of 2 rows holds nothing but -inf, where softmax has no value: subtract on line "
        f"{marked_line('masked_row_softmax')} makes NaN of it." in said
    )
    assert "why: a row of nothing but -inf gets zeros. Run on this input, it gives no NaN" in said
    p = pasted(done.out, "masked_row_softmax")(np.load(tmp_path / "x.npy"))
    np.testing.assert_array_equal(p[1], 0.0)
    assert abs(p[0].sum() - 1.0) <= 2.0**-23
