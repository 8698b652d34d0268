"""``stablemax trace``."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from stablemax.cli import io, option_values, options
from stablemax.cli.any_function import ALL_BY_NAME, NO_OPERATION_NAMED, are_any, refuse_variants, told_of
from stablemax.cli.in_turn import finish, line_of, output_in_turn, targets_in_turn
from stablemax.cli.option_groups import CommandLine, in_panel, option
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.cli.source import HAZARDS_OWN, LabelledSourceOptions, Source, source_of
from stablemax.render.traces import TRACE
from stablemax.results import Outcome, Trace
from stablemax.text.errors import StablemaxError, shown
from stablemax.text.ranges import check_max_ulp
from stablemax.text.vocabulary import NO_OPERATION, Upstream

if TYPE_CHECKING:
    from stablemax.check.target.messages import Call, LoadedTarget, Target
    from stablemax.numerics.formats import Array
    from stablemax.trace.trace_input import TraceInput


@in_panel(Panel.RUNNING)
@dataclass(frozen=True)
class TracedOptions:
    """What a trace computes in, and how it is judged and shown."""

    number_format: str | None = options.number_format_option("Number format.", unset="the file's, else float32")
    upstream: options.UpstreamOption = Upstream.NORMAL
    max_ulp: options.MaxUlpOption = None
    timeout: float = option(
        "Seconds that the trace may take, or a server of LOGITS be silent.", default=60.0, metavar="SECONDS"
    )
    memory: options.TargetMemoryOption = "2GB"
    details: bool = option("All the figures of every operation.", "--details", default=False, panel=Panel.COMMON)


@help_entry(
    CommandPanel.JUDGE,
    Example("Which line of a function loses the result?", "stablemax trace my.py:softmax"),
    Example("The same on logits of your own", "stablemax trace my.py:softmax logits.npy --format float16"),
)
def trace(
    line: CommandLine,
    target: options.TargetArgument,
    source: LabelledSourceOptions,
    implementation: options.ImplementationOptions,
    losses: options.LossOptions,
    traced: TracedOptions,
    printing: options.PrintOptions,
    output_format: Annotated[str | None, options.format_option(TRACE)] = None,
) -> int:
    """Show code line by line with what its numbers do, and the line that loses the result.

    TARGET is path/to/file.py:function (.ipynb too), package.module:function, or a variant's id, and runs unchanged: it
    gets the arrays as they lie in the files, in their dtype and shape, ignored rows among them.
    Without LOGITS and options for them the hazards are tried in turn, and the first that TARGET fails on
    is shown. Exit code 1 if there is a line to blame or the formula is wrong.
    With --operation none, or where all that it takes is given by --arg, TARGET is any function: what exact arithmetic
    gives for its own code is right. It may be a method, too: my.py:Model().encode, with the arguments of both by --arg.
    Several functions are traced in turn: my.py:softmax,log_softmax.
    """
    targets = targets_in_turn(target)
    sources = [source_of(line_of(line, t), source, optional=True, timeout_s=traced.timeout) for t in targets]
    first, implied = sources[0], NO_OPERATION_NAMED
    files = (*first.logits, *first.labels, losses.weight)
    if len(targets) > 1 and "-" in files:
        raise StablemaxError("standard input is read once, and several functions are traced", "put it into a file")
    output = output_in_turn(TRACE, output_format, printing, targets, *files)
    pairs = list(zip(targets, sources, strict=True))
    if not are_any(targets, implementation, gets_rows=first.is_named):
        from stablemax.check.target.call_style import LogitsByNameError

        try:
            traces = [trace_of(t, logits, implementation, losses, traced, printing) for t, logits in pairs]
            return finish(output, traces, _failed, details=traced.details)
        except LogitsByNameError:
            if first.is_named or set(line.given("generated")) - {"--seed"}:
                raise
            implied = ALL_BY_NAME
    traces = [any_trace_of(t, logits, implementation, traced, printing, implied) for t, logits in pairs]
    return finish(output, traces, _failed, details=traced.details)


def trace_of(
    target: str,
    logits: Source,
    implementation: options.ImplementationOptions,
    losses: options.LossOptions,
    traced: TracedOptions,
    printing: options.PrintOptions,
) -> Trace:
    """Trace code on what the options name; the line of the source is that of the trace."""
    from stablemax.check.target.messages import TraceOptions
    from stablemax.check.trace_advice import advised

    check_max_ulp(traced.max_ulp)
    named = implementation.target(target, traced.timeout, logits.options.generated.seed)
    memory = option_values.bytes_of(traced.memory)
    with io.progress(printing, f"tracing {target}"), _loaded(named, traced.timeout, memory) as loaded:
        info = loaded.prepare()
        if losses.weight is not None and "weights" not in info.takes:
            raise StablemaxError(f"--weight: {info.name} has no parameter 'weight'", "give it one, or leave it out")
        given = _input(loaded, logits, losses, traced)
        # It may take a row at a time: the first call finds that out.
        loaded.call(_call(given))
        notes = (*given.notes, *info.notes)
        request = TraceOptions(given.source, traced.max_ulp, _words(logits, given), notes, given.row_numbers)
        result = loaded.trace(_call(given), request)
        backward = named.backward
        return advised(result, loaded, _call(given), traced.max_ulp, backward=backward)


def any_trace_of(
    target: str,
    logits: Source,
    implementation: options.ImplementationOptions,
    traced: TracedOptions,
    printing: options.PrintOptions,
    implied: str = NO_OPERATION_NAMED,
) -> Trace:
    """Trace a function that is held to no operation, on its own arguments alone."""
    from stablemax.check.target.messages import TraceOptions
    from stablemax.check.target.subprocess_target import SubprocessTarget

    check_max_ulp(traced.max_ulp)
    _refuse_rows(target, logits)
    seed, fmt = logits.options.generated.seed, option_values.number_format_named(traced.number_format)
    named = implementation.any_target(target, traced.timeout, seed, fmt)
    memory = option_values.bytes_of(traced.memory)
    notes = () if implementation.operation is not None else (implied,)
    request = TraceOptions(max_ulp=traced.max_ulp, command=logits.line.words(), notes=notes)
    with (
        io.progress(printing, f"tracing {target}"),
        told_of(named),
        SubprocessTarget(named, traced.timeout, memory) as loaded,
    ):
        return loaded.trace_any(request)


def _refuse_rows(target: str, logits: Source) -> None:
    """Refuse what is about logits and their operations, where a function is held to none."""
    refuse_variants(target)
    if logits.logits or logits.hazard is not None:
        what = shown(logits.logits[0]) if logits.logits else "--hazard"
        raise StablemaxError(
            f"{what}: a function that is held to no operation gets its arguments by --arg alone",
            f"--arg NAME={shown(logits.logits[0]) if logits.logits else 'FILE.npy'}",
        )
    reason = f"is about logits, and --operation {NO_OPERATION} has none"
    logits.line.refuse(("generated",), reason, allowed=("--seed",))
    logits.line.refuse(("losses", "--upstream", "--shift"), reason)


def _input(loaded: LoadedTarget, source: Source, losses: options.LossOptions, traced: TracedOptions) -> TraceInput:
    """Take the input that the options name; without any, the first hazard that the target fails on."""
    from stablemax.numerics.formats import FLOAT32
    from stablemax.trace.trace_input import first_failing, of_hazard, of_problem, with_labels_of_int64

    def output_of(tried: TraceInput) -> Array | None:
        return loaded.call(_call(tried)).output

    operation, fmt = loaded.info.operation, option_values.number_format_named(traced.number_format)
    notes: tuple[str, ...] = ()
    takes = loaded.info.takes
    if source.hazard is not None:
        return of_hazard(source.hazard, operation, fmt, takes)
    if source.is_generated and not source.line.given("generated"):
        failing, count = first_failing(operation, output_of, fmt, max_ulp=traced.max_ulp, takes=takes)
        if failing is not None:
            return failing
        name = (fmt or FLOAT32).name
        notes = (f"{count} hazards tried in {name}, none breaks it: generated logits are shown",)
    problem = source.problem(losses.ignore_index, (operation,))
    fmt = fmt or (FLOAT32 if source.is_drawn else None)
    given = of_problem(problem, operation, fmt, targets=losses.targets(traced.timeout), upstream=traced.upstream)
    given = dataclasses.replace(given, notes=(*given.notes, *notes))
    return given if loaded.info.backend == "numpy" else with_labels_of_int64(given)


def _words(source: Source, given: TraceInput) -> tuple[str, ...]:
    """Return the command line that gives the same trace again, naming the hazard that was found."""
    if not given.hazard or source.options.hazard is not None:
        return source.words() if source.line.given("generated") else source.line.words()
    return source.line.with_value("--hazard", given.hazard).words(without=HAZARDS_OWN)


def _call(given: TraceInput) -> Call:
    from stablemax.check.target.messages import Call

    return Call(given.logits, given.second, given.options, arrangement=given.arrangement)


@contextlib.contextmanager
def _loaded(target: Target, timeout_s: float, memory_bytes: int | None) -> Iterator[LoadedTarget]:
    """Load a target: code in a process of its own, for it may hang; a variant in this one."""
    from stablemax.check.target.load import is_code
    from stablemax.check.target.local import load_local
    from stablemax.check.target.subprocess_target import SubprocessTarget

    if not is_code(target.name):
        yield load_local(target)
        return
    with told_of(target), SubprocessTarget(target, timeout_s, memory_bytes) as loaded:
        yield loaded


def _failed(result: Trace) -> list[str]:
    if result.blame is not None:
        return [f"failed: {result.blame.file}, {result.blame.sentence}"]
    if result.formula_is_wrong:
        return [f"failed: {result.target} is not {result.operation}: the formula is wrong"]
    return [f"failed: {result.target} is {Outcome(result.outcome).value}"] if result.outcome.is_failure else []
