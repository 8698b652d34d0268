"""What a step computes: its runs, judged cell by cell, beside what is right."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stablemax.lessons.lesson import Code, Live, Run
from stablemax.lessons.number_text import number_text
from stablemax.libraries import LIBRARIES, find, is_installed
from stablemax.numerics.formats import Array, get_format
from stablemax.operations import get_operation, is_built_in
from stablemax.operations.operation import Second
from stablemax.operations.variant import Variant
from stablemax.results import TaughtCell, TaughtColumn, TaughtTable
from stablemax.truth.case import Setting, Shared, case_of, setting_of
from stablemax.truth.measure import CODES, GRADES_OF_CELLS, Judgement, largest
from stablemax.truth.verdicts import computed

# A row of logits of at most so many characters stands before the losses of its table.
_ROW_ROOM = 26


@dataclass(frozen=True)
class Judged:
    """What a run gave, (N, C) in float64, and what became of each cell."""

    name: str
    output: Array
    judgement: Judgement
    setting: Setting

    @property
    def error_ulp(self) -> float | None:
        """Largest error of a finite cell; None without one."""
        return largest(self.judgement.error_ulp)


@dataclass(frozen=True)
class Computed:
    """The table of a step, and what its sentences speak of."""

    table: TaughtTable
    setting: Setting
    runs: tuple[Judged, ...]
    #: Values on the way, by name
    on_the_way: dict[str, Array]
    #: Shown cells, as indices of rows and of columns
    places: tuple[tuple[int, int], ...]
    #: Names of runs that need what is not installed
    missing: tuple[str, ...]


def label_of(run: Run) -> str:
    """Name a run in its table; a built-in keeps its library.

    >>> label_of("softmax/naive"), label_of("torch/softmax")
    ('naive', 'torch/softmax')
    """
    if isinstance(run, Code):
        return run.label
    return run if is_built_in(run) else run.partition("/")[2]


def library_of(run: Run) -> str:
    """Name the library that a run needs; empty for NumPy."""
    if isinstance(run, Code):
        return run.library
    return run.partition("/")[0] if is_built_in(run) else ""


class Settings:
    """The inputs of a lesson with the truth about each, which is proved once however many steps it has."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Setting] = {}

    def of(self, live: Live) -> Setting:
        """Return the input of a step, in its format, and the truth about it."""
        key = (live.operation, live.given, live.format, live.reduced, live.accumulation)
        if key not in self._known:
            fmt = get_format(live.format)
            case = case_of(live.given.make(fmt), get_operation(live.operation))
            setting = setting_of(replace(case, reduced=live.reduced), Shared(fmt), live.accumulation)
            self._known[key] = setting
        return self._known[key]


def compute(live: Live, settings: Settings | None = None, *, explains_ulp: bool = False) -> Computed:
    """Run what a step runs, and judge it."""
    setting = (settings or Settings()).of(live)
    fmt, operation = setting.xp.format, setting.case.operation
    here = [run for run in live.runs if not library_of(run) or is_installed(library_of(run))]
    missing = tuple(run for run in live.runs if run not in here)
    runs = tuple(_judged(run, setting) for run in here)
    places = _places(live, setting)
    with np.errstate(all="ignore"):
        on_the_way = {name: np.asarray(make(setting.x, setting.xp)) for name, make in live.on_the_way.items()}
    has_logits = not (operation.per_row or live.hides_logits)
    columns = [
        *([_plain("logit", setting.x, places)] if has_logits else []),
        *(_plain(name, values, places) for name, values in on_the_way.items()),
        *(_column(run, live, places) for run in runs),
        TaughtColumn(
            "exact",
            tuple(TaughtCell(float(setting.exact.truth.rounded[i, j])) for i, j in places),
            tuple(summary.of_truth(setting) for summary in live.summaries),
        ),
    ]
    table = TaughtTable(
        operation.name,
        fmt.name,
        tuple(_labels(places, setting)),
        tuple(columns),
        tuple(summary.name for summary in live.summaries),
        (*_left_out(setting, places), *([f"not run: {', '.join(map(label_of, missing))}"] if missing else [])),
        tuple(_install_lines(missing)),
        explains_ulp and bool(runs),
    )
    return Computed(table, setting, runs, on_the_way, places, tuple(map(label_of, missing)))


def _judged(run: Run, setting: Setting) -> Judged:
    """Run it, and judge what it gives."""
    with np.errstate(all="ignore"):
        output = _of_code(run, setting) if isinstance(run, Code) else _of_variant(find(run), setting)
    values = np.asarray(output, dtype=np.float64).reshape(setting.exact.truth.nearest.shape)
    return Judged(label_of(run), values, setting.judge(values), setting)


def _of_variant(variant: Variant, setting: Setting) -> Any:
    output, mean = computed(variant, setting)
    return mean if setting.case.reduced else output


def _of_code(code: Code, setting: Setting) -> Array:
    """Call a function of the lesson's file on plain arrays, of its library."""
    arguments = [setting.x, *second_arrays(setting)]
    if not code.library:
        return np.asarray(code.function(*arguments))
    arrays = importlib.import_module(LIBRARIES[code.library].module).ARRAYS
    with arrays.running():
        output: Array = arrays.back(code.function(*(arrays.put(a, None) for a in arguments)))
    return output


def second_arrays(setting: Setting) -> list[Array]:
    """Return what an operation takes beside the logits as a plain array, in the format; none for none."""
    second = setting.second
    arrays: dict[Second, Callable[[], list[Array]]] = {
        Second.NONE: list,
        Second.LABELS: lambda: [np.asarray(setting.case.labels)],
        Second.CELL_TARGETS: lambda: [second.values],
        Second.UPSTREAM: lambda: [second],
        Second.LOGITS: lambda: [second],
    }
    return arrays[setting.case.operation.second]()


def _places(live: Live, setting: Setting) -> tuple[tuple[int, int], ...]:
    rows, columns = setting.exact.truth.nearest.shape
    return tuple((i, j) for i in range(min(rows, live.rows)) for j in range(min(columns, live.classes)))


def _plain(name: str, values: Array, places: Sequence[tuple[int, int]]) -> TaughtColumn:
    # What is one number a row, such as a sum, stands beside each cell of the row.
    return TaughtColumn(name, tuple(TaughtCell(float(values[i, min(j, values.shape[1] - 1)])) for i, j in places))


def _column(run: Judged, live: Live, places: Sequence[tuple[int, int]]) -> TaughtColumn:
    codes, grades = run.judgement.codes, run.judgement.grades
    cells = (TaughtCell(float(run.output[p]), CODES[codes[p]], GRADES_OF_CELLS[grades[p]]) for p in places)
    return TaughtColumn(run.name, tuple(cells), tuple(summary.of_run(run) for summary in live.summaries))


def _labels(places: Sequence[tuple[int, int]], setting: Setting) -> list[str]:
    """Say what each line of the table is about."""
    if setting.case.reduced:
        return [f"mean of {len(setting.x):,} rows"]
    if setting.case.operation.per_row:
        return [_row_label(setting, i) for i, _ in places]
    is_one_row = all(i == 0 for i, _ in places)
    return [f"class {j}" if is_one_row else f"row {i}, class {j}" for i, j in places]


def _row_label(setting: Setting, row: int) -> str:
    # A row of more classes has no room anyhow.
    logits = ", ".join(number_text(float(v), setting.xp.format) for v in setting.x[row, :_ROW_ROOM])
    label = f" label {setting.case.labels[row]}" if setting.case.operation.needs_targets else ""  # type: ignore[index]
    return f"[{logits}]{label}" if len(logits) <= _ROW_ROOM else f"row {row}{label}"


def _left_out(setting: Setting, places: Sequence[tuple[int, int]]) -> list[str]:
    """Say how much of the output is not shown."""
    rows, columns = setting.exact.truth.nearest.shape
    shown_rows, shown_columns = (1 + max(indices) for indices in zip(*places, strict=True))
    of_rows = "the first row" if shown_rows == 1 else f"{shown_rows} rows"
    pieces = [
        *([f"{of_rows} of {rows:,}"] if shown_rows < rows else []),
        *([f"{shown_columns} of {columns:,} classes"] if shown_columns < columns else []),
    ]
    return [f"shown: {', '.join(pieces)}"] if pieces else []


def _install_lines(missing: Sequence[Run]) -> list[str]:
    """Say what is not installed, and what to type for it."""
    return [f"{name} is not installed: {LIBRARIES[name].install}" for name in dict.fromkeys(map(library_of, missing))]
