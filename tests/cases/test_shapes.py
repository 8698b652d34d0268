"""Public cases about memory and about numbers as people have them, as a user runs them."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ..cli.running import Done, run

CASES = Path(__file__).parent
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems limit no memory")


def case(*arguments: str, folder: Path = CASES) -> Done:
    """Run a command where its files are; the code that a check is given runs in a process of its own."""
    with contextlib.chdir(folder):
        return run(*arguments)


def words(text: str) -> str:
    return " ".join(text.split())


# --- memory is no instability -----------------------------------------------------------------------


@pytest.mark.slow
@ON_LINUX
@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("c17_vjp.py:softmax_backward_jacobian", ("--operation", "softmax_vjp", "--no-search", "--format", "float32")),
        ("c04_onehot_eye.py:cross_entropy", ("--no-search", "--format", "float32")),
    ],
)
def test_code_that_needs_k_by_k_numbers_is_tried_at_the_sizes_that_it_can_do(
    target: str, options: tuple[str, ...]
) -> None:
    done = case("check", target, *options)
    # A hazard of 100,000 classes takes more than 2 GB, and so does a shape of some tens of thousands.
    assert "it needs more than 2 GB on 1 hazard, not run: one-finite-of-100000 (--memory)" in done.err
    assert re.search(r"shapes of [\d,]+ logits and more are not tried", done.err)
    assert "one-finite-of-100000" not in done.out
    assert "MemoryError" not in done.out + done.err
    assert " wrong" not in done.out.partition(".")[0]
    tried = re.search(r"with \d+ laws and (\d+) shapes", words(done.out))
    assert tried is not None
    assert int(tried[1]) > 60


# --- integers ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_check_tries_integers_and_says_what_an_array_like_them_does() -> None:
    done = case("check", "c01_int_zeros_like.py:softmax_rows", "--no-search", "--format", "float32")
    assert "integers-as-floats in int64 and int32: 0 where 0." in words(done.out)
    assert "since an array of integers holds it (--with integers makes it count)" in words(done.out)
    assert "wrong" not in done.out.partition(";")[0]
    held = case("check", "c01_int_zeros_like.py:softmax_rows", "--no-search", "--with", "integers")
    assert held.code == 1
    assert "is wrong: its formula does not compute softmax of integers" in words(held.out)


# --- numbers as people have them --------------------------------------------------------------------


@pytest.mark.slow
def test_decimals_that_were_printed_are_intervals() -> None:
    done = case("judge", "--operation", "softmax", "c24_x.csv", "c24_p6.csv")
    assert done.code == 0
    assert "c24_p6.csv agrees with softmax to every printed digit: 6 decimals." in words(done.out)


@pytest.mark.slow
def test_one_wrong_digit_among_printed_decimals_is_found(tmp_path: Path) -> None:
    text = (CASES / "c24_p6.csv").read_text()
    assert text.startswith("0.141154,")
    (tmp_path / "p.csv").write_text(text.replace("0.141154,", "0.141155,", 1))
    done = case("judge", "--operation", "softmax", str(CASES / "c24_x.csv"), "p.csv", folder=tmp_path)
    assert done.code == 1


@pytest.mark.slow
def test_rows_that_sum_to_1_are_noted_by_the_loss_which_is_computed_all_the_same() -> None:
    done = case("loss", "c34_probs.npy", "c34_y.npy")
    assert done.code == 0
    assert round(float(done.out), 3) == 1.777
    assert "every row sums to 1: are these probabilities?" in done.err


X = [[-0.5, 1.25, 3.0], [2.0, 0.5, -1.5]]


def softmax_of(rows: list[list[float]]) -> list[list[float]]:
    e = np.exp(np.array(rows))
    return (e / e.sum(axis=1, keepdims=True)).tolist()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "rows"),
    [
        ("f01_timm_repr.csv", X),
        ("f03_list_json.csv", X),
        ("f13.jsonl", [[1.0, 2.0, 3.0], [3.0, 1.0, 0.0]]),
    ],
)
def test_lists_in_cells_and_lines_of_json_are_read(file: str, rows: list[list[float]]) -> None:
    done = case("softmax", f"files/{file}")
    assert done.code == 0, done.err
    printed = [[float(cell) for cell in line.split(",")] for line in done.out.splitlines()]
    for line, right in zip(printed, softmax_of(rows), strict=True):
        assert [f"{p:.12f}" for p in line] == [f"{p:.12f}" for p in right]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sed") is None, reason="sed is not installed")
def test_the_hint_about_infinities_of_windows_is_a_command_that_mends_the_file(tmp_path: Path) -> None:
    done = case("softmax", "files/f09_windows_inf.csv")
    assert done.code == 2
    assert "line 1, column 3: '-1.#INF' is not a number" in done.err
    (hint,) = re.findall(r"write inf and nan: (sed .*FILE)", done.err)
    mended = subprocess.run(
        ["sh", "-c", hint.replace("FILE", str(CASES / "files" / "f09_windows_inf.csv"))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert mended.split() == ["1,2,-inf", "0.5,nan,3"]
    (tmp_path / "x.csv").write_text(mended)
    again = run("softmax", str(tmp_path / "x.csv"))
    assert again.code == 0, again
    assert again.out.splitlines()[0].endswith(",0.0")
