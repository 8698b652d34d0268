"""A benchmark in each output format."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from stablemax.benchmarking.findings import means, times
from stablemax.benchmarking.words import OURS
from stablemax.render import data, figures
from stablemax.render.comparisons import quoted
from stablemax.vocabulary import OutputFormat
from stablemax.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from stablemax.render.console import Surface
    from stablemax.results import Benchmark, TimedCase, Timing

CASE_COLUMNS = ("operation", "dtype", "threads", "rows", "classes")
TIMING_COLUMNS = (
    "implementation",
    "formula",
    "calls",
    "median_s",
    "lower_quartile_s",
    "upper_quartile_s",
    "fastest_s",
    "slowest_s",
    "ratio",
    "logits_per_s",
    "peak_bytes",
)
LIMIT_COLUMNS = ("bound", "limit_s", "limit_share")
LEGEND = (
    "median time; its spread: half the distance between the quartiles, in percent; times our median: below 1x it "
    "is faster than ours; peak memory of a call beyond its input",
    "limit: the share of what the machine allows that ours reaches: the longer of copying as many bytes as the "
    "logits have, and taking as many exponentials of float64 as there are logits, at the rates above",
)
"""What a cell says."""

_GAP = 2  # a space and the table's own
_LONGEST_BAR = 40
_EIGHTHS = "▏▎▍▌▋▊▉"


def render(result: Benchmark, how: OutputFormat, *, color: str, chart: bool, to_file: bool) -> str:
    """Write a benchmark.

    Parameters
    ----------
    result : Benchmark
        What to write.
    how : OutputFormat
        The output format.
    color : str
        "auto", "always" or "never", for tables.
    chart : bool
        Add a bar for every time to tables.
    to_file : bool
        The text goes to a file.
    """
    if how is OutputFormat.JSON:
        return data.document("benchmark", result)
    if how is OutputFormat.NDJSON:
        return data.lines([{"kind": "timing", **_record(c, t)} for c in result.cases for t in c.timings])
    if how in (OutputFormat.CSV, OutputFormat.PLAIN):
        write = data.table_csv if how is OutputFormat.CSV else data.table_plain
        records = [_record(c, t) for c in result.cases for t in c.timings]
        columns = [*CASE_COLUMNS, *TIMING_COLUMNS, *LIMIT_COLUMNS]
        return write(columns, [[data.cell(r[column]) for column in columns] for r in records])
    if how is OutputFormat.MARKDOWN:
        return _markdown(result)
    from stablemax.render.console import printed, surface

    on = surface(color, to_file=to_file)
    text = printed(_table(result, on, chart=chart), on)
    return f"{text}reproduce: {quoted(result.command)}\n" if result.command else text


def _record(case: TimedCase, timing: Timing) -> dict[str, Any]:
    """One timing with what it is of and the limit of its case."""
    return {
        **{name: getattr(case, name) for name in CASE_COLUMNS},
        **dataclasses.asdict(timing),
        **{name: getattr(case, name) for name in LIMIT_COLUMNS},
    }


def duration(seconds: float, *, ascii_only: bool = False) -> str:
    """Write a time to three digits.

    Examples
    --------
    >>> duration(2.5e-7), duration(0.0009996), duration(0.06712), duration(123.4)
    ('0.250 µs', '1.00 ms', '67.1 ms', '123 s')
    """
    for unit, size in (("µs", 1e-6), ("ms", 1e-3)):
        if seconds < 0.9995e3 * size:
            return f"{_three_digits(seconds / size)} {'us' if ascii_only and unit == 'µs' else unit}"
    return f"{_three_digits(seconds)} s"


def size(count: int | None) -> str:
    """Write a number of bytes to three digits.

    Examples
    --------
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


def bar(value: float, largest: float, width: int, *, ascii_only: bool) -> str:
    """Draw a bar whose length is to the width as the value is to the largest.

    Examples
    --------
    >>> bar(1.0, 4.0, 10, ascii_only=False), bar(1.0, 4.0, 10, ascii_only=True), bar(4.0, 4.0, 3, ascii_only=True)
    ('██▌', '##', '###')
    """
    if ascii_only:
        return "#" * max(1, int(width * value / largest))
    full, eighths = divmod(max(1, round(8 * width * value / largest)), 8)
    return "█" * full + _EIGHTHS[eighths - 1 : eighths]


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
    versions = data.versions()
    lines.append(f"stablemax {versions['stablemax']} on numpy {versions['numpy']}")
    if used:
        lines[-1] += f", beside {listed(used)}"
    return lines


def _names(cases: Iterable[TimedCase]) -> list[str]:
    """Implementations in the order in which they were timed."""
    return list(dict.fromkeys(t.implementation for c in cases for t in c.timings))


def _blocks(result: Benchmark) -> dict[str, list[TimedCase]]:
    """Cases that make a table, by its title."""
    found: dict[str, list[TimedCase]] = {}
    for c in result.cases:
        found.setdefault(f"{c.operation}, {c.dtype}, {counted(c.threads, 'thread')}", []).append(c)
    return found


def _shape(case: TimedCase) -> str:
    return f"{case.rows}x{case.classes}"


def _figures(timing: Timing, *, ascii_only: bool) -> tuple[str, str, str, str]:
    """What a cell says: time, spread, ratio, memory."""
    mark = "+-" if ascii_only else "±"
    spread = figures.share(timing.spread) if timing.calls > 1 else ""
    return (
        duration(timing.median_s, ascii_only=ascii_only),
        f"{mark}{spread}" if spread else "",
        "" if timing.implementation == OURS else f"{times(timing.ratio)}x",
        size(timing.peak_bytes),
    )


def _cells(case: TimedCase, names: Sequence[str], on: Surface, *, one_line: bool) -> list[str]:
    """Write a case's row: on one line, or each cell on three."""
    by_name = {t.implementation: t for t in case.timings}
    cells = []
    for name in names:
        if name not in by_name:
            cells.append("-")
            continue
        time, spread, ratio, memory = _figures(by_name[name], ascii_only=on.ascii_only)
        lines = [[time, spread, ratio, memory]] if one_line else [[time], [ratio, spread], [memory]]
        cells.append("\n".join(" ".join(part for part in line if part) for line in lines))
    return cells


def _style(case: TimedCase, name: str) -> str:
    ratio = next((t.ratio for t in case.timings if t.implementation == name), None)
    if ratio is None:
        return "dim"
    return "" if name == OURS else "red" if ratio < 1 else "green"


def _table(result: Benchmark, on: Surface, *, chart: bool) -> list[RenderableType]:
    """Lay a benchmark out: the finding, means as bars, a table for each operation, dtype and number of threads."""
    from rich.text import Text

    parts: list[RenderableType] = [Text(result.finding, style="bold"), Text("")]
    parts += [Text(line, style="dim") for line in facts(result)]
    parts += [Text(""), Text(_means_title(result), style="bold")]
    parts += _mean_bars(result, on)
    for title, cases in _blocks(result).items():
        parts += [Text(""), Text(title, style="bold"), *_block(cases, on)]
        if chart:
            parts += _case_bars(cases, on)
    return [*parts, Text(""), *(Text(line, style="dim") for line in LEGEND)]


def _block(cases: list[TimedCase], on: Surface) -> list[RenderableType]:
    from rich.text import Text

    from stablemax.render.tables import table_like

    names = _names(cases)
    first = max(len(_shape(c)) for c in cases)
    limits = [figures.share(c.limit_share) for c in cases]
    last = max(len("limit"), *map(len, limits))
    room = on.width - first - last - _GAP
    rows = [_cells(c, names, on, one_line=True) for c in cases]
    if sum(_widths(names, rows)) + _GAP * len(names) > room:
        rows = [_cells(c, names, on, one_line=False) for c in cases]
    widths = dict(zip(names, _widths(names, rows), strict=True))
    parts: list[RenderableType] = []
    for index, chosen in enumerate(_fitting(widths, room)):
        table = table_like(on)
        table.add_column("", no_wrap=True, min_width=first)
        for name in chosen:
            table.add_column(name, no_wrap=True, min_width=widths[name])
        if index == 0:
            table.add_column("limit", no_wrap=True, min_width=last)
        for case, cells, limit in zip(cases, rows, limits, strict=True):
            by_name = dict(zip(names, cells, strict=True))
            texts = [Text(by_name[name], style=_style(case, name)) for name in chosen]
            table.add_row(Text(_shape(case)), *texts, *([Text(limit)] if index == 0 else []))
        parts.append(table)
    return parts


def _widths(names: list[str], rows: list[list[str]]) -> list[int]:
    """How wide each column is, header and lines."""
    return [max(len(name), *(len(line) for row in rows for line in row[i].split("\n"))) for i, name in enumerate(names)]


def _fitting(widths: dict[str, int], room: int) -> list[list[str]]:
    """Break columns into tables that fit into the room, one column at least in each.

    Examples
    --------
    >>> _fitting({"stablemax": 9, "torch": 12, "jax": 12}, 30)
    [['stablemax', 'torch'], ['jax']]
    """
    tables: list[list[str]] = [[]]
    for name, width in widths.items():
        if tables[-1] and sum(widths[n] + _GAP for n in tables[-1]) + width + _GAP > room:
            tables.append([])
        tables[-1].append(name)
    return tables


def _means_title(result: Benchmark) -> str:
    shapes = len({(c.rows, c.classes) for c in result.cases})
    dtypes = list(dict.fromkeys(c.dtype for c in result.cases))
    threads = list(dict.fromkeys(c.threads for c in result.cases))
    counts = counted(threads[0], "thread") if len(threads) == 1 else f"{listed([str(t) for t in threads])} threads"
    return f"time over ours, geometric mean over {counted(shapes, 'shape')}, {listed(dtypes)}, {counts}"


def _mean_bars(result: Benchmark, on: Surface) -> list[RenderableType]:
    """A bar for every mean, all on one scale."""
    rows = [(o, n, r, f"{times(r)}x") for o, by_name in means(result.cases).items() for n, r in by_name.items()]
    return _bars([rows], on)


def _case_bars(cases: list[TimedCase], on: Surface) -> list[RenderableType]:
    """A bar for every time; each shape has a scale of its own."""
    groups = [
        [(_shape(c), t.implementation, t.median_s, duration(t.median_s, ascii_only=on.ascii_only)) for t in c.timings]
        for c in cases
    ]
    return _bars(groups, on)


def _bars(groups: list[list[tuple[str, str, float, str]]], on: Surface) -> list[RenderableType]:
    """Bars beside their titles and names, with their figures; each group has its own scale, ours another colour."""
    from rich.text import Text

    every = [row for rows in groups for row in rows]
    first, second, last = (max(map(len, texts)) for texts in zip(*((t, n, f) for t, n, _, f in every), strict=True))
    room = max(1, min(_LONGEST_BAR, on.width - first - second - last - 3))
    lines: list[RenderableType] = []
    before = ""
    for rows in groups:
        largest = max(value for _, _, value, _ in rows)
        for title, name, value, text in rows:
            line = Text(f"{'' if title == before else title:<{first}} {name:<{second}} ")
            drawn = bar(value, largest, room, ascii_only=on.ascii_only)
            line.append(drawn, style="bold cyan" if name == OURS else "cyan")
            lines.append(line.append(f" {text}"))
            before = title
    return lines


def _markdown(result: Benchmark) -> str:
    from stablemax.render.console import Surface

    on = Surface(80, color=False, ascii_only=False)
    parts = [f"{result.finding}\n", *(f"- {line}" for line in facts(result)), ""]
    found = means(result.cases)
    names = _names(result.cases)
    rows = [[o, *(f"{times(by[n])}x" if n in by else "-" for n in names)] for o, by in found.items()]
    parts += [f"{_means_title(result)[0].upper()}{_means_title(result)[1:]}:\n"]
    parts.append(data.table_markdown(["operation", *names], rows))
    for title, cases in _blocks(result).items():
        here = _names(cases)
        body = [[_shape(c), *_cells(c, here, on, one_line=True), figures.share(c.limit_share)] for c in cases]
        parts.append(data.table_markdown([title, *here, "limit"], body))
    parts += [*(f"- {line}" for line in LEGEND), ""]
    if result.command:
        parts.append(f"Reproduce: `{quoted(result.command)}`")
    return "\n".join(parts) + "\n"
