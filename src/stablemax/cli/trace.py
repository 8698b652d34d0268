"""``stablemax trace``."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stablemax.cli import outputs, session
from stablemax.cli.options import (
    FOR_DATA,
    GeneratedOptions,
    ImplementationOptions,
    InputOptions,
    LabelOptions,
    LabelsArgument,
    OptionalLogits,
    OutputFormatOption,
    PrintOptions,
    TargetArgument,
)
from stablemax.cli.reproducing import changed, files, option
from stablemax.errors import StablemaxError, shown
from stablemax.limits import check_max_ulp, check_timeout
from stablemax.results import Outcome
from stablemax.vocabulary import FormatName, Upstream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stablemax.check.target.messages import Call, LoadedTarget, Target
    from stablemax.formats import Format
    from stablemax.results import Trace


def trace(
    inputs: InputOptions,
    judged: LabelOptions,
    generated: GeneratedOptions,
    how: ImplementationOptions,
    printing: PrintOptions,
    target: TargetArgument,
    logits: OptionalLogits = None,
    labels: LabelsArgument = None,
    hazard: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A hazard as the input: stablemax list hazards.", show_default=False),
    ] = None,
    number_format: Annotated[
        FormatName | None,
        typer.Option("--format", metavar="FORMAT", help="Number format. The file's; else float32.", show_default=False),
    ] = None,
    upstream: Annotated[
        Upstream, typer.Option(help="Upstream gradient of softmax_vjp: N(0, 1), or that of the mean.")
    ] = Upstream.NORMAL,
    max_ulp: Annotated[
        float | None,
        typer.Option(help="Errors above are inaccurate. Half of the format's bits.", show_default=False),
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="S", help="Seconds that the trace may take.")] = 60.0,
    details: Annotated[bool, typer.Option("--details", help="All the figures of every operation.")] = False,
    output_format: OutputFormatOption = None,
) -> int:
    """Show code line by line with what its numbers do, and the line that loses the result.

    TARGET is path/to/file.py:function, package.module:function, or a variant's id, and runs unchanged.
    Without LOGITS and options for them the hazards are tried in turn, and the first that TARGET fails on
    is shown. Exit code 1 if there is a line to blame or the formula is wrong.
    """
    from stablemax.check.target.messages import TraceOptions
    from stablemax.render.traces import render

    as_what = outputs.written_as(output_format, printing, "a trace", FOR_DATA)
    outputs.check_output(printing, target, outputs.module_file(target), logits, labels)
    check_max_ulp(max_ulp)
    check_timeout(timeout)
    _refuse_mixed(logits, inputs, generated, hazard)
    named: tuple[str, ...] = ()
    if hazard is not None:
        named = ("--hazard", hazard)
    elif logits is not None:
        named = (*files(logits, labels), *changed(inputs), *changed(judged))
    else:
        named = changed(generated)
    with session.progress(printing, f"tracing {target}"), _loaded(how.target(target), timeout) as loaded:
        tried = _Tried(loaded, number_format, max_ulp)
        if logits is not None:
            problem = session.read_problem(logits, labels, inputs, judged.ignore_index)
            question, source, notes = tried.of_problem(problem, upstream, judged.ignore_index)
        elif hazard is not None:
            question, source, notes = tried.of_hazard(hazard)
        elif generated != GeneratedOptions():
            question, source, notes = tried.of_problem(
                session.generated_problem(generated), upstream, None, drawn=generated.preset is None
            )
        else:
            question, source, notes, named = tried.first_failing(upstream, generated)
        # It may take a row at a time: the first call finds that out.
        loaded.call(question)
        command = (
            *("stablemax", "trace", target, *named),
            *changed(how),
            *option("--format", number_format),
            *option("--upstream", None if upstream is Upstream.NORMAL else upstream),
            *option("--max-ulp", max_ulp),
            *option("--timeout", None if timeout == 60.0 else timeout),
        )
        row_numbers = tried.numbers
        if row_numbers is not None and loaded.info.backend != "numpy":
            notes, row_numbers = (*notes, "rows are counted among those that are traced"), None
        result = loaded.trace(question, TraceOptions(source, max_ulp, command, notes, row_numbers))
    session.say(result.notes, printing)
    text = render(result, as_what, color=printing.color, details=details, to_file=printing.output is not None)
    outputs.emit(text, printing)
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


@dataclasses.dataclass
class _Tried:
    """Inputs as the target gets them, and what their rows are called where they are some of many."""

    target: LoadedTarget
    number_format: FormatName | None
    max_ulp: float | None
    numbers: Any = None

    def of_problem(
        self, problem: Any, upstream: Upstream, ignore_index: int | None, *, drawn: bool = False
    ) -> tuple[Call, str, tuple[str, ...]]:
        """Take a problem: its counted rows, at most as many as a trace can hold."""
        import numpy as np

        from stablemax.formats import FLOAT32, format_of, get_format
        from stablemax.operations.targets import kept_rows
        from stablemax.sampling import judged_rows
        from stablemax.trace import MAX_CELLS

        operation = self.target.info.operation
        notes = list(problem.notes)
        rows, classes = problem.logits.shape
        if rows == 0 or classes == 0:
            raise StablemaxError("there are no logits to trace", "give at least one row and one class")
        if operation.needs_targets and problem.labels is None:
            raise StablemaxError(
                f"{operation} needs labels", "give a file of labels, or name a column with --label-column"
            )
        chosen = judged_rows(problem.logits, max(1, MAX_CELLS // classes))
        if operation.needs_targets:
            chosen = chosen[kept_rows(problem.labels, ignore_index)[chosen]]
            if not chosen.size:
                raise StablemaxError("every traced row is ignored", "give other labels, or another --ignore-index")
        if chosen.size < rows:
            notes.append(f"traced on {chosen.size:,} of {rows:,} rows")
            self.numbers = chosen
        if self.number_format is not None:
            fmt = get_format(self.number_format)
        else:
            fmt = FLOAT32 if drawn else format_of(problem.logits.dtype.newbyteorder("="))
        second = None
        if operation.needs_targets:
            second = problem.labels[chosen]
        elif operation.needs_upstream:
            second = _upstream(upstream, rows, classes)[chosen]
        question = self._question(np.ascontiguousarray(problem.logits[chosen]), second, fmt)
        return question, problem.sources[0].name, tuple(notes)

    def of_hazard(self, name: str) -> tuple[Call, str, tuple[str, ...]]:
        """Take a hazard of the catalogue."""
        from stablemax.formats import FLOAT32, get_format
        from stablemax.league import hazard_named

        found = hazard_named(name)
        operation = self.target.info.operation
        if operation not in found.operations:
            raise StablemaxError(
                f"--hazard {name} is not about {operation}", f"it is about {', '.join(map(str, found.operations))}"
            )
        if found.needs and operation.needs_targets:
            raise StablemaxError(
                f"--hazard {name} needs {' and '.join(found.needs)}, which a trace does not pass on",
                "stablemax check tries it",
            )
        fmt = get_format(self.number_format) if self.number_format is not None else FLOAT32
        case = found.case(fmt)
        if not case.logits.size:
            raise StablemaxError(f"--hazard {name} has no logits to trace", "stablemax check tries it")
        labels = case.labels if operation.needs_targets else case.upstream if operation.needs_upstream else None
        return self._question(case.logits, labels, fmt), f"hazard {name}: {found.reason}", ()

    def first_failing(
        self, upstream: Upstream, generated: GeneratedOptions
    ) -> tuple[Call, str, tuple[str, ...], tuple[str, ...]]:
        """Take the first hazard that the target fails on; the generated input where it fails on none."""
        from stablemax.formats import FLOAT32
        from stablemax.inputs.hazards import HAZARDS
        from stablemax.trace import MAX_CELLS, fails

        operation = self.target.info.operation
        count = 0
        for name, hazard in HAZARDS.items():
            if operation not in hazard.operations or (hazard.needs and operation.needs_targets):
                continue
            if not 0 < hazard.case(FLOAT32).logits.size <= MAX_CELLS:
                continue
            question, source, notes = self.of_hazard(name)
            answer = self.target.call(question)
            if answer.output is None:
                # It raises: the trace will say where.
                return question, source, notes, ("--hazard", name)
            count += 1
            fmt = _format(question)
            if fails(answer.output, question.logits, question.second_argument, operation, fmt, max_ulp=self.max_ulp):
                return question, source, notes, ("--hazard", name)
        problem = session.generated_problem(generated)
        question, source, notes = self.of_problem(problem, upstream, None, drawn=True)
        note = f"{count} hazards tried in {_format(question).name}, none breaks it: generated logits are shown"
        return question, source, (*notes, note), changed(generated)

    def _question(self, x: Any, second: Any, fmt: Format) -> Call:
        import numpy as np

        from stablemax.check.target.messages import Call

        if second is not None and np.asarray(second).dtype.kind == "f":
            second = fmt.cast(second)
        return Call(fmt.cast(x), second)


def _format(question: Call) -> Format:
    from stablemax.formats import get_format

    return get_format(question.logits.dtype.name)


def _upstream(kind: Upstream, rows: int, classes: int) -> Any:
    import numpy as np

    if kind is Upstream.MEAN:
        return np.full((rows, classes), 1.0 / classes)
    return np.random.default_rng(0).standard_normal((rows, classes))
