"""A watched run: its finding, what went into the fault, its cause, the steps before, and the last operations again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from stablemax.render import document as doc
from stablemax.render import traces
from stablemax.render.forms import Check, Checks, ResultKind, Rows
from stablemax.results import FaultCause, Watched, WatchedFault, WatchedTensor
from stablemax.text.errors import escaped
from stablemax.text.outcomes import Grade, Outcome
from stablemax.text.words import counted

COLUMNS = ("kind", "name", "dtype", "shape", "smallest", "largest", "inf", "nan", "zeros", "is_overwritten")
_STEPS_ARE = (
    "step: counted by optimizers, without one by backward passes, from 1; largest |weight|: over all of their "
    "parameters, without one over those of the modules; gradient: the norm over all of them, unscaled"
)
_REPRO = "Files that show it: inputs.npz; show.py, to run; test_repro.py, a test that fails until show.py gives numbers"


def document(result: Watched) -> doc.Document:
    """Give the finding, where it was, what went in, the cause, the steps before, and the last operations."""
    style = "bold" if result.verdict is None else "bold red"
    sections: list[doc.Section] = []
    if result.fault is not None:
        sections.append([doc.Heading("What went in, and what came out"), _tensors(result.fault)])
    if result.cause is not None:
        sections.append([doc.Heading("Cause"), doc.Items(_cause(result.cause))])
    if result.history:
        sections.append([doc.Heading("The steps before"), _steps(result), doc.aside(_STEPS_ARE)])
    if result.retrace is not None:
        listing = traces.document(dataclasses.replace(result.retrace, command=()))
        part = result.retrace.source.partition(": ")[2]
        of_part = [doc.words(f"a part that shows the fault: {part}")] if part else []
        sections += [[doc.Heading("The last operations, beside exact arithmetic"), *of_part], *listing[2:]]
    if result.instead:
        sections.append([doc.words(f"why: {result.instead_why}"), doc.Code("write this instead:", result.instead)])
    if result.repro:
        sections.append([doc.words(f"{_REPRO}: {result.repro}")])
    return doc.report(doc.Finding(result.finding, style), _facts(result), sections or [[]], result.command)


def _facts(result: Watched) -> list[str]:
    watched = f"watched: {counted(result.operations, 'operation')}, {counted(result.steps, 'step')} done"
    if result.exit_code is not None:
        watched += f"; the program ended with {result.exit_code}"
    lines = [watched]
    if result.scaled_overflows or result.skipped_steps:
        lines.append(
            f"GradScaler: scaled gradients overflowed in {counted(result.scaled_overflows, 'step')}, as it expects; "
            f"it skipped {counted(result.skipped_steps, 'step')}"
        )
    fault = result.fault
    if fault is not None:
        lines.append(f"step: {fault.step}, {fault.phase} pass")
        lines += [f"module: {fault.module}"] if fault.module else []
        lines += [f"line: {fault.file}:{fault.line}: {escaped(fault.text)}"] if fault.file else []
        lines.append(f"operation: {fault.operation}")
    return lines


def _tensors(fault: WatchedFault) -> doc.Table:
    rows = [_row(t) for t in (*fault.inputs, fault.output)]
    return doc.Table(["tensor", "dtype", "shape", "smallest", "largest", "inf", "NaN", "0"], rows)


def _row(tensor: WatchedTensor) -> list[str]:
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    if tensor.is_overwritten:
        return [tensor.name, tensor.dtype, shape, "overwritten", "", "", "", ""]
    low, high = (("none finite" if v is None else f"{v:.6g}") for v in (tensor.smallest, tensor.largest))
    return [tensor.name, tensor.dtype, shape, low, high, *(f"{n:,}" for n in (tensor.inf, tensor.nan, tensor.zeros))]


def _cause(cause: FaultCause) -> list[str]:
    where = f"{cause.file}:{cause.line}" if cause.file else "an operation without a line"
    module = f" in {cause.module}" if cause.module else ""
    lines = [f"{where}{module}: {cause.sentence}"]
    lines += [escaped(cause.text)] if cause.text else []
    return [*lines, f"judged by {cause.truth} on the same operations"]


def _steps(result: Watched) -> doc.Table:
    rows = [
        [str(s.step), *("-" if v is None else f"{v:.4g}" for v in (s.loss, s.largest_weight, s.gradient_norm))]
        for s in result.history
    ]
    return doc.Table(["step", "loss", "largest |weight|", "gradient"], rows)


def _records(result: Watched) -> Iterator[dict[str, Any]]:
    if result.fault is None:
        return
    for kind, tensors in (("input", result.fault.inputs), ("output", (result.fault.output,))):
        for t in tensors:
            yield {"kind": kind, **dataclasses.asdict(t), "shape": "x".join(map(str, t.shape)) or "scalar"}


def rows(result: Watched) -> Rows:
    """Give a row for each tensor of the faulty operation."""
    return Rows(COLUMNS, ({name: record.get(name) for name in COLUMNS} for record in _records(result)))


def checks(result: Watched, _: frozenset[Outcome | Grade]) -> Checks:
    """Give the one check of a run, with the line to blame."""
    at = result.cause or result.fault
    failure = "" if result.verdict is None else result.finding
    check = Check(
        "watched run",
        "the first inf or NaN",
        outcome=result.finding,
        failure=failure,
        kind="" if result.verdict is None else str(result.verdict),
        file="" if at is None or not failure else at.file,
        line=0 if at is None or not failure else at.line,
    )
    return Checks("watched run", result.finding, (check,))


WATCH = ResultKind("a watched run", "watch", document=document, records=_records, rows=rows, checks=checks)
