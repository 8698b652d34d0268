"""``stablemax trace``."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stablemax.cli import io, session
from stablemax.cli.options import (
    GeneratedOptions,
    ImplementationOptions,
    InputOptions,
    LabelOptions,
    LabelsArgument,
    OptionalLogits,
    PrintOptions,
    TargetArgument,
    format_option,
)
from stablemax.cli.reproducing import changed, files, option
from stablemax.errors import StablemaxError, shown
from stablemax.limits import check_max_ulp, check_timeout
from stablemax.render.traces import TRACE
from stablemax.results import Outcome
from stablemax.vocabulary import Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.check.target.messages import Call, LoadedTarget, Target
    from stablemax.formats import Format
    from stablemax.inputs.logits import Problem
    from stablemax.operations.operation import Operation
    from stablemax.results import Trace


_HazardOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="A hazard as the input: stablemax list hazards.", show_default=False)
]
_FormatOption = Annotated[
    str | None,
    typer.Option("--format", metavar="FORMAT", help="Number format. The file's; else float32.", show_default=False),
]
_UpstreamOption = Annotated[
    Upstream, typer.Option(help="Upstream gradient of softmax_vjp: N(0, 1), or that of the mean.")
]
_MaxUlpOption = Annotated[
    float | None, typer.Option(help="Errors above are inaccurate. Half of the format's bits.", show_default=False)
]


def trace(
    inputs: InputOptions,
    judged: LabelOptions,
    generated: GeneratedOptions,
    how: ImplementationOptions,
    printing: PrintOptions,
    target: TargetArgument,
    logits: OptionalLogits = None,
    labels: LabelsArgument = None,
    hazard: _HazardOption = None,
    number_format: _FormatOption = None,
    upstream: _UpstreamOption = Upstream.NORMAL,
    max_ulp: _MaxUlpOption = None,
    timeout: Annotated[float, typer.Option(metavar="S", help="Seconds that the trace may take.")] = 60.0,
    details: Annotated[bool, typer.Option("--details", help="All the figures of every operation.")] = False,
    output_format: Annotated[str | None, format_option(TRACE)] = None,
) -> int:
    """Show code line by line with what its numbers do, and the line that loses the result.

    TARGET is path/to/file.py:function, package.module:function, or a variant's id, and runs unchanged.
    Without LOGITS and options for them the hazards are tried in turn, and the first that TARGET fails on
    is shown. Exit code 1 if there is a line to blame or the formula is wrong.
    """
    from stablemax.check.target.messages import TraceOptions

    output = io.output_of(TRACE, output_format, printing, target, io.module_file(target), logits, labels)
    check_max_ulp(max_ulp)
    check_timeout(timeout)
    _refuse_mixed(logits, inputs, generated, hazard)
    with session.progress(printing, f"tracing {target}"), _loaded(how.target(target), timeout) as loaded:
        given = _Inputs(loaded, number_format, max_ulp, upstream)
        chosen = given.chosen(logits, labels, hazard, inputs, judged, generated)
        # It may take a row at a time: the first call finds that out.
        loaded.call(chosen.call)
        command = (
            *("stablemax", "trace", target, *chosen.options),
            *changed(how),
            *option("--format", number_format),
            *option("--upstream", None if upstream is Upstream.NORMAL else upstream),
            *option("--max-ulp", max_ulp),
            *option("--timeout", None if timeout == 60.0 else timeout),
        )
        options = TraceOptions(chosen.source, max_ulp, command, chosen.notes, chosen.row_numbers)
        result = loaded.trace(chosen.call, options)
    session.say(result.notes, printing)
    output.write(result, details=details)
    return _verdict(result)


@contextlib.contextmanager
def _loaded(target: Target, timeout_s: float) -> Iterator[LoadedTarget]:
    """Load a target: code in a process of its own, for it may hang; a variant in this one."""
    from stablemax.check.target.load import is_code
    from stablemax.check.target.local import load_local
    from stablemax.check.target.messages import NoAnswerError
    from stablemax.check.target.subprocess_target import SubprocessTarget

    if not is_code(target.name):
        yield load_local(target)
        return
    with SubprocessTarget(target, timeout_s) as loaded:
        try:
            yield loaded
        except NoAnswerError as error:
            hint = "give it more time: --timeout 300" if error.hung else "stablemax check tells on which input"
            raise StablemaxError(f"{target.name} {error}", hint) from None


def _verdict(result: Trace) -> int:
    if result.blame is not None:
        session.warn(f"failed: {result.blame.file}, {result.blame.sentence}")
        return 1
    if result.formula_is_wrong:
        session.warn(f"failed: {result.target} is not {result.operation}: the formula is wrong")
        return 1
    if result.outcome.is_failure:
        session.warn(f"failed: {result.target} is {Outcome(result.outcome).value}")
        return 1
    return 0


def _refuse_mixed(logits: str | None, inputs: InputOptions, generated: GeneratedOptions, hazard: str | None) -> None:
    """Refuse options that are about another input than the one that is asked for."""
    if hazard is not None and logits is not None:
        raise StablemaxError("--hazard is the input, and a file is given", "leave out one of the two")
    if logits is not None:
        _refuse(generated, "is for generated logits, and a file is given")
        return
    _refuse(inputs, "is for files, and none is given")
    if hazard is not None:
        _refuse(generated, "does not go with --hazard")
    elif generated.preset is not None:
        _refuse(generated, f"does not go with --preset {shown(generated.preset)}", allowed=("preset",))


def _refuse(group: Any, reason: str, allowed: tuple[str, ...] = ()) -> None:
    for field in dataclasses.fields(group):
        if field.name not in allowed and getattr(group, field.name) != field.default:
            raise StablemaxError(f"--{field.name.replace('_', '-')} {reason}", "leave out one of the two")


@dataclasses.dataclass(frozen=True)
class _Chosen:
    """The input of a trace: what the target is asked, and what is said of it."""

    call: Call
    source: str
    notes: tuple[str, ...]
    #: The part of the command that names this input.
    options: tuple[str, ...]
    #: Numbers of the rows in the user's input, where they are some of many.
    row_numbers: Any = None


@dataclasses.dataclass(frozen=True)
class _Inputs:
    """The inputs that a trace may have, as the target gets them."""

    target: LoadedTarget
    number_format: str | None
    max_ulp: float | None
    upstream: Upstream

    @property
    def operation(self) -> Operation:
        return self.target.info.operation

    def chosen(
        self,
        logits: str | None,
        labels: str | None,
        hazard: str | None,
        inputs: InputOptions,
        judged: LabelOptions,
        generated: GeneratedOptions,
    ) -> _Chosen:
        """Take the input that the options name; without any, the first hazard that the target fails on."""
        if logits is not None:
            return self._of_files(logits, labels, inputs, judged)
        if hazard is not None:
            return self._of_hazard(hazard)
        if generated != GeneratedOptions():
            return self._of_generated(generated)
        return self._first_failing(generated)

    def _of_files(self, logits: str, labels: str | None, inputs: InputOptions, judged: LabelOptions) -> _Chosen:
        """Read a problem from files."""
        problem = session.read_problem(logits, labels, inputs, judged.ignore_index)
        options = (*files(logits, labels), *changed(inputs), *changed(judged))
        return self._of_problem(problem, options, judged.ignore_index)

    def _of_generated(self, options: GeneratedOptions) -> _Chosen:
        """Draw a problem, in float32 unless a preset or the command line has a format."""
        problem = session.generated_problem(options)
        return self._of_problem(problem, changed(options), None, is_drawn=options.preset is None)

    def _of_hazard(self, name: str) -> _Chosen:
        """Take a hazard of the catalogue."""
        from stablemax.formats import FLOAT32, get_format
        from stablemax.league import hazard_named

        hazard, operation = hazard_named(name), self.operation
        if operation not in hazard.operations:
            raise StablemaxError(
                f"--hazard {name} is not about {operation}", f"it is about {', '.join(map(str, hazard.operations))}"
            )
        if hazard.needs and operation.needs_targets:
            raise StablemaxError(
                f"--hazard {name} needs {' and '.join(hazard.needs)}, which a trace does not pass on",
                "stablemax check tries it",
            )
        fmt = get_format(self.number_format) if self.number_format is not None else FLOAT32
        case = hazard.case(fmt)
        if not case.logits.size:
            raise StablemaxError(f"--hazard {name} has no logits to trace", "stablemax check tries it")
        call = _call(case.logits, case.second(operation), fmt)
        return _Chosen(call, f"hazard {name}: {hazard.reason}", (), ("--hazard", name))

    def _first_failing(self, options: GeneratedOptions) -> _Chosen:
        """Take the first hazard that the target fails on; the generated input where it fails on none."""
        from stablemax.formats import FLOAT32
        from stablemax.inputs.hazards import HAZARDS
        from stablemax.trace import MAX_CELLS, fails

        operation = self.operation
        count = 0
        for name, hazard in HAZARDS.items():
            if operation not in hazard.operations or (hazard.needs and operation.needs_targets):
                continue
            if not 0 < hazard.case(FLOAT32).logits.size <= MAX_CELLS:
                continue
            chosen = self._of_hazard(name)
            call = chosen.call
            output = self.target.call(call).output
            if output is None:
                # It raises: the trace will say where.
                return chosen
            count += 1
            if fails(output, call.logits, call.second_argument, operation, _format(call), max_ulp=self.max_ulp):
                return chosen
        chosen = self._of_problem(session.generated_problem(options), changed(options), None, is_drawn=True)
        fmt = _format(chosen.call).name
        note = f"{count} hazards tried in {fmt}, none breaks it: generated logits are shown"
        return dataclasses.replace(chosen, notes=(*chosen.notes, note))

    def _of_problem(
        self, problem: Problem, options: tuple[str, ...], ignore_index: int | None, *, is_drawn: bool = False
    ) -> _Chosen:
        """Take the rows of a problem that count, at most as many as a trace can hold."""
        import numpy as np

        from stablemax.formats import FLOAT32, format_of, get_format
        from stablemax.operations.targets import kept_rows
        from stablemax.sampling import judged_rows
        from stablemax.trace import MAX_CELLS

        operation, labels = self.operation, problem.labels
        rows, classes = problem.logits.shape
        if rows == 0 or classes == 0:
            raise StablemaxError("there are no logits to trace", "give at least one row and one class")
        traced = judged_rows(problem.logits, max(1, MAX_CELLS // classes))
        second = None
        if operation.needs_targets:
            if labels is None:
                raise StablemaxError(
                    f"{operation} needs labels", "give a file of labels, or name a column with --label-column"
                )
            traced = traced[kept_rows(labels, ignore_index)[traced]]
            if not traced.size:
                raise StablemaxError("every traced row is ignored", "give other labels, or another --ignore-index")
            second = labels[traced]
        elif operation.needs_upstream:
            second = _upstream(self.upstream, rows, classes)[traced]
        if self.number_format is not None:
            fmt = get_format(self.number_format)
        else:
            fmt = FLOAT32 if is_drawn else format_of(problem.logits.dtype.newbyteorder("="))
        is_part = traced.size < rows
        notes = [*problem.notes, *([f"traced on {traced.size:,} of {rows:,} rows"] if is_part else [])]
        call = _call(np.ascontiguousarray(problem.logits[traced]), second, fmt)
        return _Chosen(call, problem.sources[0].name, tuple(notes), options, traced if is_part else None)


def _call(x: Any, second: Any, fmt: Format) -> Call:
    import numpy as np

    from stablemax.check.target.messages import Call

    is_real = second is not None and np.asarray(second).dtype.kind == "f"
    return Call(fmt.cast(x), fmt.cast(second) if is_real else second)


def _format(call: Call) -> Format:
    from stablemax.formats import format_of_array

    return format_of_array(call.logits)


def _upstream(kind: Upstream, rows: int, classes: int) -> Any:
    import numpy as np

    if kind is Upstream.MEAN:
        return np.full((rows, classes), 1.0 / classes)
    return np.random.default_rng(0).standard_normal((rows, classes))
