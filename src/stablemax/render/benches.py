"""A benchmark: its document, records and rows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from stablemax.bench.bench_words import OURS, error_words, means, times
from stablemax.render import document as doc
from stablemax.render import judged_words
from stablemax.render.data import versions
from stablemax.render.forms import ResultKind, in_columns
from stablemax.results import Benchmark, Machine, TimedCase, Timing
from stablemax.text.words import counted, listed, percentage

CASE_COLUMNS = ("operation", "dtype", "threads", "rows", "classes", "loops", "judged_rows")
TIMING_COLUMNS = tuple(field.name for field in dataclasses.fields(Timing))
LIMIT_COLUMNS = ("bound", "limit_s", "limit_share")
LEGEND = (
    "time: the median; its spread is half the distance between the quartiles, in percent",
    "ratio: times our median, below 1x it is faster than ours; memory: the peak of a call beyond its input",
    "error, ulp: the largest against exact values, in some rows of the result; an ulp is the gap between a number of "
    "the result's format and the next, and 0.50 the best that rounding allows",
    "right: the share of these results that are correctly rounded; of a loss, those of the rows, not their mean",
    "limit: the share of what the machine allows that is reached: reading the logits once or, where as much is "
    "written, copying them, at the rates above; what lies in a cache is read faster",
)
"""What the columns say."""
HEADERS = ("time", "ratio", "memory", "error, ulp", "right", "limit")


def document(result: Benchmark, *, chart: bool = False) -> doc.Document:
    """Give the finding, means as bars, and a table for each operation, dtype and number of threads."""
    blocks: dict[str, list[TimedCase]] = {}
    for c in result.cases:
        blocks.setdefault(f"{c.operation}, {c.dtype}, {counted(c.threads, 'thread')}", []).append(c)
    sections: list[doc.Section] = [[_mean_bars(result)]]
    for title, cases in blocks.items():
        matrix = _matrix(title, cases)
        sections.append([matrix, _case_bars(cases)] if chart else [matrix])
    sections.append([doc.Facts(LEGEND)])
    return doc.report(doc.Finding(result.finding), _facts(result), sections, result.command)


def _facts(result: Benchmark) -> list[str]:
    """Say where it ran, and what the machine can do."""
    here, ours = result.machine, versions()
    free = "" if here.available_bytes is None else f", {size(here.available_bytes)} of memory free"
    rates = [
        f"{counted(r.threads, 'thread')}: reads {r.read_bytes_per_s / 1e9:.3g} GB/s, "
        f"copies {r.copy_bytes_per_s / 1e9:.3g} GB/s"
        for r in result.rates
    ]
    beside = f", beside {judged_words.library_words(result.libraries)}" if result.libraries else ""
    return [
        f"{here.processor}, {counted(here.cores, 'core')}{free}; {here.system}",
        _vectors(here),
        _loops(result),
        *rates,
        f"stablemax {ours['stablemax']} on numpy {ours['numpy']}{beside}",
    ]


def _vectors(here: Machine) -> str:
    """Say which vector extensions there are, and which of them NumPy's loops use."""
    known = ", ".join(here.vector_extensions) or "not told"
    used = ", ".join(f"{name} by {extension}" for name, extension in here.numpy_loops.items())
    return f"vector extensions: {known}" + (f"; NumPy runs {used}" if used else "")


def _loops(result: Benchmark) -> str:
    """Say what ran our loops, and where."""
    if result.numba is None:
        return "our loops: NumPy's"
    numba = f"our loops: Numba {result.numba.version}, compiled for {result.numba.processor}"
    small = sorted({c.rows * c.classes for c in result.cases if c.loops != "Numba"})
    return f"{numba}; NumPy's up to {small[-1]:,} logits" if small else numba


def duration(seconds: float) -> str:
    """Write a time to three digits.

    >>> duration(2.5e-7), duration(0.0009996), duration(0.06712), duration(123.4)
    ('0.250 µs', '1.00 ms', '67.1 ms', '123 s')
    """
    for unit, factor in (("µs", 1e-6), ("ms", 1e-3)):
        if seconds < 0.9995e3 * factor:
            return f"{_three_digits(seconds / factor)} {unit}"
    return f"{_three_digits(seconds)} s"


def size(count: int | None) -> str:
    """Write a number of bytes to three digits.

    >>> size(0), size(300 << 10), size(1 << 20), size(2147483648), size(None)
    ('<1 MiB', '<1 MiB', '1.00 MiB', '2.00 GiB', '-')
    """
    if count is None:
        return "-"
    if count < 1 << 20:
        return "<1 MiB"
    is_large = count >= 0.9995 * (1 << 30)
    return f"{_three_digits(count / (1 << 30))} GiB" if is_large else f"{_three_digits(count / (1 << 20))} MiB"


def _three_digits(value: float) -> str:
    digits = 3 if value < 0.9995 else 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}"


def _shape(case: TimedCase) -> str:
    return f"{case.rows}x{case.classes}"


def _matrix(title: str, cases: list[TimedCase]) -> doc.Matrix:
    """Give a row for each shape and implementation; the shape stands before the first."""
    width = max(len(_shape(case)) for case in cases)
    timed = [(case, timing) for case in cases for timing in case.timings]
    labels = [f"{'' if t is not c.timings[0] else _shape(c):<{width}} {t.implementation}" for c, t in timed]
    rows = [[doc.Cell(span) for span in _spans(case, timing)] for case, timing in timed]
    columns = [doc.Column(header) for header in HEADERS]
    return doc.Matrix(title, columns, [doc.Span(label) for label in labels], rows, title_above=True)


def _spans(case: TimedCase, timing: Timing) -> list[doc.Span]:
    """Write what is known of a call, in the order of `HEADERS`."""
    style = "" if timing.implementation == OURS else "red" if timing.ratio < 1 else "green"
    spread = f" ±{percentage(timing.spread)}" if timing.calls > 1 else ""
    right = timing.correctly_rounded_share
    return [
        doc.Span(f"{duration(timing.median_s)}{spread}"),
        doc.Span(f"{times(timing.ratio)}x", style),
        doc.Span(size(timing.peak_bytes)),
        doc.Span(error_words(timing.error_ulp), "red" if timing.error_ulp == math.inf else ""),
        doc.Span("-" if right is None else percentage(right)),
        doc.Span(percentage(case.limit_s / timing.median_s)),
    ]


def _mean_bars(result: Benchmark) -> doc.Bars:
    """Draw a bar for every mean, all on one scale."""
    shapes = len({(c.rows, c.classes) for c in result.cases})
    dtypes = list(dict.fromkeys(c.dtype for c in result.cases))
    threads = list(dict.fromkeys(str(c.threads) for c in result.cases))
    counts = f"{listed(threads)} {'thread' if threads == ['1'] else 'threads'}"
    bars = [
        doc.Bar(operation, name, ratio, f"{times(ratio)}x", name == OURS)
        for operation, by_name in means(result.cases).items()
        for name, ratio in by_name.items()
    ]
    title = f"time over ours, geometric mean over {counted(shapes, 'shape')}, {listed(dtypes)}, {counts}"
    return doc.Bars(title, "operation", [bars])


def _case_bars(cases: list[TimedCase]) -> doc.Bars:
    """Draw a bar for every time; each shape has a scale of its own."""
    groups = [
        [
            doc.Bar(_shape(c), t.implementation, t.median_s, duration(t.median_s), t.implementation == OURS)
            for t in c.timings
        ]
        for c in cases
    ]
    return doc.Bars("", "shape", groups)


def records(result: Benchmark) -> Iterator[dict[str, Any]]:
    """Give a record for each timing, with what it is of and the limit of its case."""
    for case in result.cases:
        of_case, limit = ({name: getattr(case, name) for name in c} for c in (CASE_COLUMNS, LIMIT_COLUMNS))
        for timing in case.timings:
            yield {"kind": "timing", **of_case, **dataclasses.asdict(timing), **limit}


_COLUMNS = (*CASE_COLUMNS, *TIMING_COLUMNS, *LIMIT_COLUMNS)
BENCHMARK = ResultKind(
    "a benchmark", "benchmark", document=document, records=records, rows=in_columns(_COLUMNS, records)
)
