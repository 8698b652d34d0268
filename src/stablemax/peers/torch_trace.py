"""Follow a PyTorch function, forward and backward, and name the line at which the result was lost."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stablemax.errors import StablemaxError
from stablemax.measure import CODES, largest
from stablemax.peers.torch_trace_lines import BACKWARD, Spot
from stablemax.peers.torch_trace_run import Run, Task, decided_run, followed_run, plain_run, run_with
from stablemax.peers.torch_trace_shadows import NOWHERE
from stablemax.peers.torch_trace_truth import Question, Reading
from stablemax.peers.torch_trace_watch import Placed
from stablemax.results import Blame, Outcome, Trace, TracedLine, TracedOperation
from stablemax.shadow.blame import culprit
from stablemax.shadow.cells import nearest
from stablemax.shadow.observe import Kind
from stablemax.shadow.source import display_name, listing
from stablemax.shadow.wording import Input, cell_words, event_words, sentence
from stablemax.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from stablemax.formats import Array, Format
    from stablemax.operations.operation import Operation
    from stablemax.peers.torch_trace_watch import Ran, Watch
    from stablemax.shadow.observe import Event
    from stablemax.shadow.tape import Record

_FORMATS = ("float16", "bfloat16", "float32", "float64")
_MAX_ROWS_TRIED = 64
_SCRIPTED = (torch.jit.ScriptFunction, torch.jit.ScriptModule, torch._C.ScriptMethod)
_WORDS = {
    Outcome.NAN: "NaN",
    Outcome.OVERFLOW: "infinite",
    Outcome.LOST: "0 where it should not be",
    Outcome.INACCURATE: "inaccurate",
}


def trace_torch(
    function: Callable[..., Any],
    logits: Array,
    second: Array | None,
    operation: Operation,
    fmt: Format,
    *,
    target: str = "",
    source: str = "",
    device: str = "cpu",
    backward: bool = False,
    max_ulp: float | None = None,
    command: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    code: Callable[..., Any] | None = None,
) -> Trace:
    """Trace PyTorch code, operator by operator, and judge its result.

    Every dispatched operator runs on the tensors as it does without us, and once more exactly, in balls;
    one for which there are no balls is run in float64. Views and writes in place are followed by the
    storage that they share.

    Parameters
    ----------
    function : callable
        ``f(x)``, ``f(x, labels)`` or ``f(x, upstream)`` on tensors.
    logits : ndarray (N, K)
        Rounded to the format first.
    second : ndarray or None
        Labels (N,) of the cross-entropies, -100 for a row that does not count; upstream gradient (N, K).
    operation : Operation
        What the code is meant to compute.
    fmt : Format
        Of the tensor of logits: float16, bfloat16, float32 or float64.
    target, source : str
        What is traced, and where the input came from.
    device : str
        As PyTorch names it.
    backward : bool
        Trace also the backward pass, where `function` is the forward one and `operation` its gradient.
        A loss given as `cross_entropy_grad` is known by its shape, and needs no word.
    max_ulp : float, optional
        Errors above are inaccurate; half of the format's bits when not given.
    command, notes : tuple of str
        For the result.
    code : callable, optional
        The function whose file counts as the traced code, where `function` only wraps it.

    Returns
    -------
    Trace
        Operations are called ``aten.exp``; those of the backward pass stand on the line whose forward
        operator made their autograd node, or on their own line in an autograd Function.

    Raises
    ------
    StablemaxError
        If the code raises or is TorchScript, its output does not fit the operation, or PyTorch does not
        compute in the format or on the device.

    Examples
    --------
    >>> from stablemax.formats import FLOAT32
    >>> from stablemax.operations import get_operation
    >>> trace = trace_torch(lambda x: torch.exp(x) / torch.exp(x).sum(1, keepdim=True),
    ...     np.array([[1.0, 2.0], [1000.0, 1.0]]), None, get_operation("softmax"), FLOAT32)
    >>> trace.outcome.value, trace.blame.sentence.partition(": ")[2]
    ('nan',
     'exp overflows for 1 of 4 cells (first: row 1, class 0, logit 1000.0); it overflows above 88.723 in float32')
    """
    if fmt.name not in _FORMATS:
        raise StablemaxError(f"PyTorch does not compute in {fmt.name}", f"--format {', '.join(_FORMATS)}")
    _check_device(device)
    if any(isinstance(f, _SCRIPTED) for f in (function, code)):
        raise StablemaxError(
            f"{target or 'the traced function'} is TorchScript, which is not traced: it has no lines of Python",
            "trace the function as it is before torch.jit; stablemax check judges TorchScript too",
        )
    other = second if second is None or second.dtype.kind in "iu" else fmt.cast(second)
    other = other.astype(np.int64) if other is not None and other.dtype.kind in "iu" else other
    upstream = backward and operation.needs_upstream
    task = Task(function, fmt.cast(logits), other, fmt, code or function, device, backward, upstream)
    if operation.of_losses and not backward:
        task = replace(task, backward=plain_run(task).values.shape != logits.shape)
    return _Case(task, operation, max_ulp, target).traced(source, command, notes)


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise StablemaxError(
            f"PyTorch has no device {device!r} here: {str(error).partition(chr(10))[0]}", "--device cpu"
        ) from None


@dataclass(frozen=True)
class _Given(Input):
    """The logits, to name the one that an event comes from."""

    def place(self, record: Record, event: Event, otherwise: int) -> str:
        """Name a logit: ``row 0, class 1, logit 1001.0``."""
        at = record.places.get(event.kind, NOWHERE) if isinstance(record, Placed) else NOWHERE
        if at == NOWHERE:
            return f"row {otherwise}"
        row, column = divmod(at, self.x.shape[1] + 1)
        if column == self.x.shape[1]:
            return f"row {row}"
        return f"row {row}, class {column}, logit {float(self.x[row, column])!r}"


@dataclass(frozen=True)
class _Bad:
    """A bad cell of a result, and the smallest input that has it."""

    case: _Case
    row: int
    cell: int


@dataclass(frozen=True)
class _Case:
    """What is traced, and what it is to compute."""

    task: Task
    operation: Operation
    max_ulp: float | None
    target: str

    @property
    def name(self) -> str:
        return self.target or "the traced function"

    @functools.cached_property
    def question(self) -> Question:
        second = None if self.task.second is None else self.task.second
        if second is not None and not self.operation.needs_targets:
            second = second.astype(np.float64)
        return Question(self.operation, self.task.logits.astype(np.float64), second, self.task.format, self.max_ulp)

    def reading(self, run: Run) -> Reading:
        """Read a result as what it most likely is: its shadow, or the loss itself, tells a mean from a sum."""
        readings = self.question.readings(run.values.shape, run.forward)

        def failures(reading: Reading) -> tuple[int, int]:
            wrong = 0 if run.exact is None else int(reading.wrong_exactly(run.exact).sum())
            return wrong, int(reading.failing(run.values).sum())

        return min(readings, key=failures)

    def traced(self, source: str, command: tuple[str, ...], notes: tuple[str, ...]) -> Trace:
        """Run, judge and blame."""
        run, watch, _ = decided_run(self.task)
        reading = self.reading(run)
        judged = reading.judged(run.values)
        worst = CODES[int(judged.codes.max())] if judged.codes.size else Outcome.OK
        wrong = None if run.exact is None else reading.wrong_exactly(run.exact)
        formula = None if wrong is None else bool(wrong.any())
        if formula and watch.not_followed:
            # What went past the shadow may be what made it wrong.
            formula = None
        blame: Blame | None = None
        if formula and wrong is not None and run.exact is not None:
            finding = self._wrong_formula(run.exact, watch, reading, wrong)
        elif worst.is_failure:
            finding, blame = self._unstable(run, watch, reading, worst)
        else:
            finding = self._good(watch, reading, worst, largest(judged.error_ulp))
        return Trace(
            target=self.target,
            operation=self.operation.name,
            backend="torch",
            format=self.task.format.name,
            source=source,
            rows=self.task.logits.shape[0],
            classes=self.task.logits.shape[1],
            lines=self._lines(watch, blame),
            outcome=worst,
            error_ulp=largest(judged.error_ulp),
            formula_is_wrong=formula,
            blame=None if blame is None else replace(blame, file=self._file(blame.file)),
            finding=finding,
            not_followed=self._not_followed(watch),
            command=command,
            notes=(*notes, *_remarks(run, watch, reading)),
        )

    def _not_followed(self, watch: Watch) -> tuple[str, ...]:
        compiled = watch.locator.compiled or hasattr(self.task.code, "_torchdynamo_orig_callable")
        words = ("torch.compile (the code was run uncompiled)",) if compiled else ()
        return (*words, *watch.not_followed.values())

    def _wrong_formula(self, exact: Array, watch: Watch, reading: Reading, wrong: Array) -> str:
        row, column = (int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
        gives = float(nearest(exact).reshape(wrong.shape)[row, column])
        right = float(reading.exact.truth.nearest[row, column])
        last = watch.steps[-1].site.line if watch.steps else 0
        where = f" Its last operation is on line {last}." if last else ""
        return (
            f"{self.name} is not {self.operation}: in exact arithmetic it gives {gives:.6g} where {right:.6g} is "
            f"right ({self._cell(reading, row, column)}). The formula itself is wrong.{where}"
        )

    def _good(self, watch: Watch, reading: Reading, worst: Outcome, error: float | None) -> str:
        if reading.exact.undefined.all():
            return f"{self.operation} has no value on this input: every row holds NaN, +inf or nothing but -inf."
        left = " Rows in which the formula has no value are left out." if worst is Outcome.UNDEFINED else ""
        if error is None:
            return f"{self.name} holds.{left}"
        made = [r for r in watch.records.values() if r.seen.error_ulp]
        if not made or not error:
            return f"{self.name} holds: the largest error is {error:.3g} ulp.{left}"
        most = max(made, key=lambda r: r.seen.error_ulp or 0.0)
        where = f" on line {most.site.line}" if most.site.line else ""
        return (
            f"{self.name} holds: the largest error is {error:.3g} ulp. Its least accurate operation is "
            f"{most.name}{where} ({most.seen.error_ulp:.3g} ulp).{left}"
        )

    def _cell(self, reading: Reading, row: int, column: int) -> str:
        rows, columns = reading.exact.truth.nearest.shape
        if rows != len(self.task.logits):
            return reading.meaning
        if columns == 1 and self.task.second is not None and self.task.second.ndim == 1:
            column = int(self.task.second[row])
            return f"row {row}, label {column}, logit {float(self.task.logits[row, column])!r}"
        if columns == 1 and self.operation.per_row:
            return f"row {row}"
        return f"row {row}, class {column}, logit {float(self.task.logits[row, column])!r}"

    def _unstable(self, run: Run, watch: Watch, reading: Reading, worst: Outcome) -> tuple[str, Blame | None]:
        failing = reading.failing(run.values)
        codes = reading.judged(run.values).codes
        at = tuple(int(i) for i in np.unravel_index(int(np.argmax(codes == CODES.index(worst))), codes.shape))
        gives = float(run.values.reshape(codes.shape)[at])
        right = float(reading.exact.truth.rounded[at])
        reduced = len(codes) != len(self.task.logits)
        share = "" if reduced else f" for {int(failing.sum()):,} of {counted(failing.size, 'cell')}"
        where = "" if reduced else f" ({self._cell(reading, *at)})"
        result = (
            f"{self.name} is {_WORDS[worst]}{share} in {self.task.format.name}: it gives {gives:.6g} where "
            f"{right:.6g} is right{where}."
        )
        bad = self._bad_cell(at, int(np.argmax(codes == CODES.index(worst))), reduced=reduced)
        guilty = bad.case.culprit(bad.cell)
        if guilty is None:
            return f"{result} No operation could be blamed.", None
        step, root = guilty
        record = _record(watch, step)
        told = sentence(record, step, _Given(self.task.logits.astype(np.float64)), bad.row, root)
        words = _with_phase(told, step.spot)
        return f"{words[0].upper()}{words[1:]}. {result}", Blame(step.site.file, step.site.line, record.index, words)

    def _bad_cell(self, at: tuple[int, ...], cell: int, *, reduced: bool) -> _Bad:
        """Try to show a bad cell on its row alone: what other rows do is beside the point."""
        rows = range(min(len(self.task.logits), _MAX_ROWS_TRIED)) if reduced else (at[0],)
        column = 0 if reduced else at[1]
        for row in rows if len(self.task.logits) > 1 else ():
            alone = replace(self, task=self.task.row(row))
            if alone.fails(column):
                return _Bad(alone, row, column)
        return _Bad(self, 0 if reduced else at[0], cell)

    def fails(self, cell: int) -> bool:
        """Tell whether a cell of the result is bad."""
        try:
            run = plain_run(self.task)
            return bool(self.reading(run).failing(run.values).ravel()[cell])
        except StablemaxError:
            # The function may not take a single row; then all rows are looked at together.
            return False

    def culprit(self, cell: int) -> tuple[Ran, Ran | None] | None:
        """Repeat the run with some operators put right, and see which of them a cell depends on.

        Returns
        -------
        (Ran, Ran or None) or None
            The step to blame, and the one that lost what it would have needed, where that is another.
        """
        base, watch, bits = decided_run(self.task)
        reading = self.reading(base)
        steps = watch.steps

        def lost(run: Run) -> bool:
            exact = run.exact
            right = run.values if exact is None else nearest(exact)
            wrong = reading.failing(right) if exact is None else reading.wrong_exactly(exact)
            return bool(wrong.ravel()[cell] or np.isnan(right.ravel()[cell]))

        def good_if_rounded(k: int) -> bool:
            found = run_with(self.task, [s.fix for s in steps[:k]])
            return not bool(reading.failing(found.values).ravel()[cell])

        def bad_if_forgotten(k: int) -> bool:
            found, _ = followed_run(self.task, forgotten_to=steps[k - 1].fix.dispatch + 1, bits=bits)
            return lost(found)

        # Where exact arithmetic gives no good result from the start, no operation is the one that lost it.
        whole = base.exact is None or not lost(base)
        found = culprit(list(steps), good_if_rounded, bad_if_forgotten if whole else None)
        if found is None:
            return None
        step, root = _on_the_way_back(steps, steps[found.at]), steps[found.root]
        return step, None if root is step else root

    def _file(self, file: str) -> str:
        return display_name(file) if file else self.name

    def _lines(self, watch: Watch, blame: Blame | None) -> tuple[TracedLine, ...]:
        by_line: dict[tuple[str, int], list[TracedOperation]] = {}
        ran: dict[str, set[int]] = {}
        for record in watch.records.values():
            site = record.site
            by_line.setdefault((site.file, site.line), []).append(self._operation(record))
            ran.setdefault(site.file, set()).add(site.line)
        texts = {(s.file, s.line): s.text for s in listing(watch.locator.functions, ran)}
        # Code without source, an operator of C or a line typed in, has its operations all the same.
        texts.update({key: self.name for key in by_line if key not in texts})
        return tuple(
            TracedLine(
                file=self._file(file),
                line=line,
                text=text,
                operations=tuple(sorted(by_line.get((file, line), ()), key=lambda o: o.index)),
                blamed=blame is not None and (file, line) == (blame.file, blame.line),
            )
            for (file, line), text in texts.items()
        )

    def _operation(self, record: Placed) -> TracedOperation:
        seen = record.seen
        return TracedOperation(
            index=record.index,
            name=f"aten.{record.aten}" if "::" not in record.aten else record.aten.replace("::", "."),
            phase=record.spot.phase,
            file=self._file(record.site.file),
            line=record.site.line,
            dtype=record.dtype,
            shape=seen.shape,
            smallest=seen.smallest,
            largest=seen.largest,
            cells=seen.cells,
            inf=seen.inf,
            nan=seen.nan,
            lost=seen.lost,
            error_ulp=seen.error_ulp,
            local_error_ulp=seen.local_error_ulp,
            origin=seen.origin,
            note=self._note(record),
            times=record.times,
        )

    def _note(self, record: Placed) -> str:
        """Say the first thing that happened in an operation, in words."""
        order = (Kind.OVERFLOW, Kind.POLE, Kind.INVALID, Kind.ZERO)
        for event in sorted(record.seen.events, key=lambda e: order.index(e.kind)):
            place = _Given(self.task.logits.astype(np.float64)).place(record, event, 0)
            return event_words(record.name, record.dtype, event, record.seen.cells, place)
        if record.seen.origin.value in ("cancellation", "absorption"):
            return cell_words(record.name, record.seen.origin, record.seen.worst)
        return ""


def _on_the_way_back(steps: list[Ran], step: Ran) -> Ran:
    """Blame the backward pass of an operator that met a pole, where both passes did: a gradient comes by that."""

    def is_pole(ran: Ran) -> bool:
        return any(e.kind is Kind.POLE for e in ran.seen.events)

    if step.spot.phase == BACKWARD or not is_pole(step):
        return step
    return next((s for s in steps if s.spot.phase == BACKWARD and is_pole(s)), step)


def _record(watch: Watch, step: Ran) -> Placed:
    """Return the record of the whole run that a step of one row belongs to."""
    key = (step.fix.aten, step.fix.output, step.dtype, step.spot)
    return watch.records.get(key) or Placed(0, step.name, step.site, step.dtype, step.seen)


def _with_phase(words: str, spot: Spot) -> str:
    """Say that a line is blamed for its backward pass; leave the line out where there is none."""
    place, _, deed = words.partition(": ")
    if spot.phase == BACKWARD:
        node = spot.node.rstrip("0123456789").removesuffix("Backward")
        place += f", backward of {node}" if node else ", backward"
    return f"{place}: {deed}" if spot.file else deed


def _remarks(run: Run, watch: Watch, reading: Reading) -> tuple[str, ...]:
    remarks = []
    if reading.meaning:
        remarks.append(f"the output is read as {reading.meaning}")
    if watch.in_float64:
        names = ", ".join(watch.in_float64)
        remarks.append(f"compared with float64, not with exact arithmetic: {names}")
    if run.exact is None:
        remarks.append("the shadow did not reach the result: whether the formula is right is not known")
    return tuple(remarks)
