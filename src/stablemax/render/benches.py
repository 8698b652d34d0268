"""A benchmark: its document, records and rows."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from stablemax.bench.bench_words import OURS, means, times
from stablemax.render import document as doc
from stablemax.render import figures
from stablemax.render.data import versions
from stablemax.render.forms import ResultKind, Rows
from stablemax.text.words import counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.results import Benchmark, TimedCase, Timing

CASE_COLUMNS = ("operation", "dtype", "threads", "rows", "classes")
TIMING_COLUMNS = (
    *("implementation", "formula", "calls", "median_s", "lower_quartile_s", "upper_quartile_s"),
    *("fastest_s", "slowest_s", "ratio", "logits_per_s", "peak_bytes"),
)
LIMIT_COLUMNS = ("bound", "limit_s", "limit_share")
LEGEND = (
    "median time; its spread: half the distance between the quartiles, in percent; times our median: below 1x it "
    "is faster than ours; peak memory of a call beyond its input",
    "limit: the share of what the machine allows that ours reaches: the longer of copying as many bytes as the "
    "logits have, and taking as many exponentials of float64 as there are logits, at the rates above",
)
"""What a cell says."""


def document(result: Benchmark, *, chart: bool = False) -> doc.Document:
    """Give the finding, means as bars, and a table for each operation, dtype and number of threads."""
    facts_of = doc.Facts(tuple(facts(result)))
    sections: list[doc.Section] = [(doc.Finding(result.finding),), (facts_of,), (_mean_bars(result),)]
    blocks: dict[str, list[TimedCase]] = {}
    for c in result.cases:
        blocks.setdefault(f"{c.operation}, {c.dtype}, {counted(c.threads, 'thread')}", []).append(c)
    for title, cases in blocks.items():
        matrix = _matrix(title, cases)
        sections.append((matrix, _case_bars(cases)) if chart else (matrix,))
    end: doc.Section = (doc.Facts(LEGEND),)
    return (*sections, doc.reproduced(end, result.command))


def facts(result: Benchmark) -> list[str]:
    """Say where it ran, and what the machine can do."""
    here = result.machine
    used = [f"{name} {version}" for name, version in result.libraries.items()]
    free = "" if here.available_bytes is None else f", {size(here.available_bytes)} of memory free"
    lines = [f"{here.processor}, {counted(here.cores, 'core')}{free}; {here.system}"]
    lines += [
        f"{counted(r.threads, 'thread')}: copies {r.copy_bytes_per_s / 1e9:.3g} GB/s, "
        f"{r.exp_per_s / 1e9:.3g} billion exponentials of float64 a second"
        for r in result.rates
    ]
    beside = f", beside {listed(used)}" if used else ""
    ours = versions()
    return [*lines, f"stablemax {ours['stablemax']} on numpy {ours['numpy']}{beside}"]


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
    if count < 0.9995 * (1 << 30):
        return f"{_three_digits(count / (1 << 20))} MiB"
    return f"{_three_digits(count / (1 << 30))} GiB"


def _three_digits(value: float) -> str:
    digits = 3 if value < 0.9995 else 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}"


def _shape(case: TimedCase) -> str:
    return f"{case.rows}x{case.classes}"


def _matrix(title: str, cases: list[TimedCase]) -> doc.Matrix:
    names = list(dict.fromkeys(t.implementation for c in cases for t in c.timings))
    rows = []
    for case in cases:
        by_name = {t.implementation: t for t in case.timings}
        limit = doc.Cell(doc.Span(figures.share(case.limit_share)))
        rows.append((*(_cell(by_name.get(name)) for name in names), limit))
    return doc.Matrix(
        title,
        (*map(doc.Column, names), doc.Column("limit", is_pinned=True)),
        tuple(doc.Span(_shape(case)) for case in cases),
        tuple(rows),
        title_above=True,
    )


def _cell(timing: Timing | None) -> doc.Cell:
    """Write time, spread, ratio and memory on one line, or on three."""
    if timing is None:
        return doc.Cell(doc.Span("-", "dim"))
    is_ours = timing.implementation == OURS
    style = "" if is_ours else "red" if timing.ratio < 1 else "green"
    time, memory = duration(timing.median_s), size(timing.peak_bytes)
    spread = f"±{figures.share(timing.spread)}" if timing.calls > 1 else ""
    ratio = "" if is_ours else f"{times(timing.ratio)}x"
    wide = " ".join(text for text in (time, spread, ratio, memory) if text)
    return doc.Cell(doc.Span(wide, style), doc.Span(f"{time}\n{f'{ratio} {spread}'.strip()}\n{memory}", style))


def _mean_bars(result: Benchmark) -> doc.Bars:
    """Draw a bar for every mean, all on one scale."""
    shapes = len({(c.rows, c.classes) for c in result.cases})
    dtypes = list(dict.fromkeys(c.dtype for c in result.cases))
    threads = list(dict.fromkeys(c.threads for c in result.cases))
    counts = counted(threads[0], "thread") if len(threads) == 1 else f"{listed([str(t) for t in threads])} threads"
    bars = tuple(
        doc.Bar(operation, name, ratio, f"{times(ratio)}x", name == OURS)
        for operation, by_name in means(result.cases).items()
        for name, ratio in by_name.items()
    )
    title = f"time over ours, geometric mean over {counted(shapes, 'shape')}, {listed(dtypes)}, {counts}"
    return doc.Bars(title, "operation", (bars,))


def _case_bars(cases: list[TimedCase]) -> doc.Bars:
    """Draw a bar for every time; each shape has a scale of its own."""
    groups = (
        tuple(
            doc.Bar(_shape(c), t.implementation, t.median_s, duration(t.median_s), t.implementation == OURS)
            for t in c.timings
        )
        for c in cases
    )
    return doc.Bars("", "shape", tuple(groups))


def records(result: Benchmark) -> Iterator[dict[str, Any]]:
    """Give a record for each timing, with what it is of and the limit of its case."""
    for case in result.cases:
        of_case, limit = ({name: getattr(case, name) for name in c} for c in (CASE_COLUMNS, LIMIT_COLUMNS))
        for timing in case.timings:
            yield {"kind": "timing", **of_case, **dataclasses.asdict(timing), **limit}


_COLUMNS = (*CASE_COLUMNS, *TIMING_COLUMNS, *LIMIT_COLUMNS)
BENCHMARK = ResultKind(
    "a benchmark", "benchmark", document=document, records=records, rows=lambda result: Rows(_COLUMNS, records(result))
)
