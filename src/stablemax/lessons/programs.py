"""Python that computes what a step computes, for a notebook: with NumPy and stablemax, on its own."""

from __future__ import annotations

from collections.abc import Sequence

from stablemax.lessons.lesson import Code, Lesson, Live, Run, Step
from stablemax.lessons.live import Computed, label_of, library_of, second_arrays
from stablemax.lessons.shown_source import shown_source
from stablemax.numerics.formats import Array, get_format
from stablemax.operations import get_operation
from stablemax.operations.operation import Second
from stablemax.operations.variant import default_id
from stablemax.truth.case import Setting

_SECOND = {Second.NONE: "", Second.LABELS: "y", Second.CELL_TARGETS: "t", Second.UPSTREAM: "g", Second.LOGITS: "z"}
_IMPORTED = {"torch": "import torch"}
_TAKEN_IN = {"": "{}", "torch": "torch.from_numpy({})"}
"""How Python hands a NumPy array to a library."""


def imports_of(lesson: Lesson) -> str:
    """Return what the programs of a lesson import; each needs no more."""
    lines = ["import numpy as np"]
    if any(not get_format(step.live.format).is_native for step in lesson.steps):
        lines.append("import ml_dtypes  # bfloat16, as a dtype of NumPy's")
    lines += ["", "from stablemax.testing import implementation"]
    if any(step.live.given.code for step in lesson.steps):
        lines.append("from stablemax.hazards.generated import preset")
    return "\n".join(lines)


def program_of(step: Step, computed: Computed) -> str:
    """Write a step's input, its functions and what prints their results."""
    live, setting = step.live, computed.setting
    runs = [run for run in live.runs if label_of(run) not in computed.missing]
    shown = [run for run in step.code if isinstance(run, Code) and library_of(run) not in computed.missing]
    accurate = default_id(get_operation(live.operation), get_format(live.format))
    imported = [_IMPORTED[name] for name in dict.fromkeys(map(library_of, runs)) if name in _IMPORTED]
    functions = [shown_source(run.function) for run in dict.fromkeys((*shown, *_codes(runs)))]
    prints = [_print(run, live, setting) for run in (*runs, accurate)]
    pieces = [
        *(["\n".join(imported)] if imported else []),
        _input(live, setting),
        *functions,
        "\n".join(["with np.errstate(all='ignore'):", *(f"    {line}" for line in prints)]),
    ]
    return "\n\n".join(pieces)


def _codes(runs: Sequence[Run]) -> list[Code]:
    return [run for run in runs if isinstance(run, Code)]


def _input(live: Live, setting: Setting) -> str:
    dtype = f'"{live.format}"'
    second = _SECOND[setting.case.operation.second]
    if live.given.code is not None:
        lines = [live.given.code, f"x = x.astype({dtype})"]
        # A preset has labels; another second argument is written out.
        if second and second != "y":
            lines += [f"{second} = {_array(array, dtype)}" for array in second_arrays(setting)]
        return "\n".join(lines)
    lines = [f"x = {_array(setting.x, dtype)}"]
    for array in second_arrays(setting):
        lines.append(
            f"{second} = np.array({array.tolist()})" if second == "y" else f"{second} = {_array(array, dtype)}"
        )
    return "\n".join(lines)


def _array(array: Array, dtype: str) -> str:
    text = repr(array.tolist()).replace("-inf", "-np.inf").replace("nan", "np.nan")
    return f"np.array({text}, dtype={dtype})"


def _print(run: Run, live: Live, setting: Setting) -> str:
    """Write the line that prints what a run gives; the mean where that is what is judged."""
    library = library_of(run) if isinstance(run, Code) else ""
    names = ["x", *filter(None, [_SECOND[setting.case.operation.second]])]
    arguments = ", ".join(_TAKEN_IN[library].format(name) for name in names)
    if isinstance(run, Code):
        return f'print("{run.label}:", {run.function.__name__}({arguments}))'
    called = f'implementation("{run}")({arguments})'
    if setting.case.reduced:
        called = f"{called}.mean()"
    elif len(setting.x) > live.rows:
        called = f"{called}[:{live.rows}]"
    return f'print("{run}:", {called})'
