"""The benchmarks run and say what they are read for; how long things take is nobody's test."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from stablemax.operations import default_operations
from stablemax.text.processor import available_threads

HERE = Path(__file__).parent
FIGURE = r"(broken|\d+\.\d\d|\d\.\de\+\d\d)"


def output_of(script: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_accuracy_benchmark_prints_three_errors_and_two_ratios_for_every_operation() -> None:
    lines = output_of("accuracy.py", "--rows", "3", "--classes", "8", "--timed-rows", "4", "--runs", "1")
    for operation in default_operations():
        for fmt in ("float32", "float64"):
            start = rf"{fmt}  {operation}/\S+"
            rows = [line for line in lines if re.fullmatch(rf"{start}( +{FIGURE}){{4}}  (ok|over|no limit)", line)]
            assert len(rows) == 3, f"{operation} in {fmt}"
            assert "/wide" in rows[2]
        pattern = rf"{operation}/\S+ +\d+\.\d\d x \S+ +(ok|over|no limit) +\d+\.\d\d x textbook NumPy"
        assert len([line for line in lines if re.fullmatch(pattern, line)]) == 1, operation


@pytest.mark.slow
def test_the_wide_variants_are_within_their_limit_in_the_accuracy_benchmark() -> None:
    lines = output_of("accuracy.py", "--rows", "3", "--classes", "8", "--timed-rows", "4", "--runs", "1")
    verdicts = {line.split()[1]: line.split()[-1] for line in lines if line.startswith("float32") and "/wide" in line}
    assert verdicts == {f"{operation}/wide": "ok" for operation in default_operations()}


@pytest.mark.slow
def test_the_startup_benchmark_prints_a_ratio_and_a_verdict_for_every_command() -> None:
    lines = output_of("startup.py", "--runs", "1")
    rows = [
        re.fullmatch(r"(stablemax .+?) +\d+ ms +(\d+\.\d\d) x python -c '(.+)'  limit (\S+): (ok|over)", line)
        for line in lines[1:]
    ]
    assert all(rows), lines
    found = [(row[1], row[3], row[4]) for row in rows if row]
    libraries = "import numpy, typer, rich.table, flint"
    assert found == [
        ("stablemax --version", "import typer", "1.5"),
        ("stablemax compare --scale 1e5", libraries, "3"),
        ("stablemax loss, 16 x 64 .npy", libraries, "2"),
    ]
    for row in rows:
        assert row is not None
        # The printed ratio is rounded: on the limit itself both words are possible.
        ratio, limit = float(row[2]), float(row[4])
        assert ratio == limit or (row[5] == "ok") == (ratio < limit), row[0]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None, reason="operations of PyTorch are watched")
def test_the_benchmark_of_watching_prints_a_ratio_and_a_verdict_for_a_watched_step_and_another() -> None:
    lines = output_of("watching.py", "--runs", "1")
    assert re.fullmatch(r"a training step of \d+\.\d ms, [\d,]+ operations, medians of 1 in turns", lines[0])
    rows = [re.fullmatch(r"(.+?) +(\d+\.\d\d) x the step  limit 3: (ok|over)", line) for line in lines[1:]]
    assert [row[1] for row in rows if row] == ["every step", "a step that --from-step leaves out"]


@pytest.mark.slow
def test_the_table_benchmark_prints_a_ratio_and_the_same_bits_for_every_kind_of_number() -> None:
    lines = output_of("tables.py", "--runs", "1", "--megabytes", "0.3")
    pattern = r".+? +\d+\.\d\d s +\d+\.\d\d x numpy\.loadtxt  limit 1: (ok|over)  same bits"
    assert len(lines) == 6
    assert all(re.fullmatch(pattern, line) for line in lines[1:]), lines


@pytest.mark.slow
def test_the_benchmark_of_shapes_prints_what_each_kind_finds_in_a_second() -> None:
    lines = output_of("shapes.py", "--kernels", "3", "--classes", "300")
    assert re.fullmatch(r"3 seeded bugs, \d+ shapes, float32", lines[0])
    rows = [
        re.fullmatch(r"(.+?) +(\d+) +(\d+\.\d{3}) +(\d+) +(\d+) +(\d+)", line)
        for line in lines[3:]
        if line[:4] != "kind"
    ]
    found = [row for row in rows if row]
    kinds = {row[1]: int(row[4]) for row in found}
    # The padded tail, the dropped tile and the short sum: all three show at some small tile.
    assert kinds["up to 1,100 classes"] == 3
    # A bug is new once in each of the two tables.
    assert sum(int(row[5]) for row in found) == 6


@pytest.mark.slow
def test_the_benchmark_of_what_is_fast_prints_two_times_a_ratio_and_a_verdict_for_every_pair() -> None:
    lines = output_of("fast.py", "--runs", "1", "--logits", "200000")
    pattern = r"(.+?) +(\d+\.\d\d) / +(\d+\.\d\d) ms +(\d+\.\d\d)  at (least|most) (\S+): (ok|missed)"
    rows = [row for row in (re.fullmatch(pattern, line) for line in lines) if row]
    names = ["stablemax loss, 16 x 64: numba there / hidden"]
    if available_threads() > 1:
        names.append("softmax: two threads / one")
    ways = ["NumPy", "Numba"] if find_spec("numba") else ["NumPy"]
    names += [f"{k} by {way}: a logit in rows of 100,000 / 1,000" for way in ways for k in ("losses", "softmax")]
    if "Numba" in ways:
        names += [f"{kernel}: NumPy / Numba" for kernel in ("losses", "softmax")]
    else:
        assert lines.pop() == "numba is not installed: nothing is compared with its loops"
    assert [row[1] for row in rows] == names
    assert len(lines) == 1 + len(rows)
    for row in rows:
        ratio, limit = float(row[4]), float(row[6])
        # The printed ratio is rounded: on the limit itself both words are possible.
        assert ratio == limit or (row[7] == "ok") == ((ratio > limit) == (row[5] == "least")), row[0]


@pytest.mark.slow
def test_the_benchmark_of_small_calls_prints_a_time_a_ratio_and_a_verdict_for_every_function_and_input() -> None:
    lines = output_of("small.py", "--runs", "1")
    pattern = r" *(\d+ x \d+) +(\w+) +(\w+) +(\d+\.\d) us +(\d+\.\d\d) x NumPy  (ok|over)"
    rows = [row for row in (re.fullmatch(pattern, line) for line in lines) if row]
    tables = 2 if find_spec("numba") else 1
    assert len(rows) == tables * 4 * 3 * 5
    assert len(lines) == tables + len(rows)
    assert {row[3] for row in rows} == {"softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_grad"}
    for row in rows:
        within = float(row[5]) <= 1 or (row[1] == "1 x 10" and float(row[4]) <= 30)
        # A ratio of 1.00 and a time of 30.0 are rounded: on the limit itself both words are possible.
        assert float(row[5]) == 1 or float(row[4]) == 30 or (row[6] == "ok") == within, row[0]
