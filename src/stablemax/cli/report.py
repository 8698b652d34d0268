"""``stablemax report``."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from stablemax.cli import io, option_values, options
from stablemax.cli.completion import targets
from stablemax.cli.option_groups import CommandLine, in_panel, option
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.cli.source import HAZARDS_OWN, LabelledSourceOptions, Source, source_of
from stablemax.inputs.spec import is_address
from stablemax.render.reports import REPORT
from stablemax.sweeping import NAMES
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED
from stablemax.text.words import either

if TYPE_CHECKING:
    from stablemax.results import CheckReport, Comparison, Trace
    from stablemax.sweeping.sweep_options import SweepOptions

_OF_TARGET = ("implementation", "--timeout", "--memory")


@in_panel(Panel.COMMON)
@dataclass(frozen=True)
class ReportedOptions:
    """What stands on the page."""

    target: str | None = option(
        "Code to check, and to trace on this input: path/to/file.py:function, package.module:function, or a "
        "variant's id.",
        metavar="TARGET",
        autocompletion=targets,
    )
    number_format: list[str] | None = options.number_format_option(
        "Number format; repeatable.", unset="float16, bfloat16, float32, float64"
    )
    # Names, not an enumeration: a quantity of a plugin is one more name.
    over: str = option(
        f"What the main formulas are swept over: {either(NAMES)}.",
        default="scale",
        metavar="QUANTITY",
        autocompletion=lambda: list(NAMES),
    )
    ignore_index: options.IgnoreIndexOption = IGNORED
    timeout: float = option(
        "Seconds that one call of TARGET may take, or a server of LOGITS be silent.",
        default=60.0,
        metavar="SECONDS",
        panel=Panel.RUNNING,
    )
    memory: options.TargetMemoryOption = "2GB"


@help_entry(
    CommandPanel.JUDGE,
    Example("All of it on logits of your own, as one page", "stablemax report logits.npy labels.npy -o report.html"),
    Example("With the check and the trace of a function", "stablemax report --target my.py:softmax -o report.html"),
)
def report(
    line: CommandLine,
    source: LabelledSourceOptions,
    reported: ReportedOptions,
    implementation: options.ImplementationOptions,
    printing: options.PrintOptions,
    output_format: Annotated[str | None, options.format_option(REPORT, unset="html")] = None,
) -> int:
    """Write one page for a browser: every formula on the input, where each breaks, and what becomes of your code.

    The page needs no network and no other file. The exit code is 0 also where formulas or TARGET fail: check is for
    that.
    """
    named = () if reported.target is None else (reported.target, io.module_file(reported.target))
    logits = source_of(line, source, own=HAZARDS_OWN, optional=True, timeout_s=reported.timeout)
    output = io.output_of(REPORT, output_format, printing, *named, *logits.logits, *logits.labels, default="html")
    # The server of an address is waited for, too.
    waits = any(map(is_address, source.read))
    given = line.given(*(name for name in _OF_TARGET if not (waits and name == "--timeout")))
    if reported.target is None and given:
        raise StablemaxError(f"{given[0]} is for the code of --target, and none is named", "add --target my.py:softmax")
    if printing.output is None and sys.stdout.isatty():
        raise StablemaxError("a report is too long for a terminal", "write it to a file: -o report.html")
    request = _sweep_options(reported)
    check = trace = None
    if reported.target is not None:
        check = _check(line, reported.target, reported, implementation, printing)
        trace = _trace(reported.target, logits, reported, implementation, printing)
    comparison = _comparison(logits, reported, printing)
    from stablemax.reporting.report_parts import report_of

    with io.progress(printing, f"sweeping {reported.over}") as step:
        result = report_of(
            comparison,
            request,
            check=check,
            trace=trace,
            command=_with_option(logits.words(), "-o", "report.html"),
            sweep_command=(*_line_of(line, "sweep", ("--over", "--format")).words(), "--steps", f"{request.steps}"),
            progress=step,
        )
    return output.finish(result, result.notes)


def _sweep_options(reported: ReportedOptions) -> SweepOptions:
    from stablemax.reporting.report_parts import STEPS
    from stablemax.sweeping.quantities import quantity_named
    from stablemax.sweeping.sweep_options import SweepOptions

    steps = min(STEPS, quantity_named(reported.over).steps)
    return SweepOptions(
        over=reported.over, steps=steps, formats=option_values.formats_named(reported.number_format or ())
    )


def _line_of(line: CommandLine, command: str, groups: tuple[str, ...], arguments: tuple[str, ...] = ()) -> CommandLine:
    """Return the line of the command that gives one part, with the options that it knows."""
    chosen = tuple(o for o in line.options if o.is_of(groups))
    return dataclasses.replace(line, command=command, arguments=arguments, options=chosen)


def _with_option(words: tuple[str, ...], *given: str) -> tuple[str, ...]:
    """Put an option behind the command: what follows -- is none."""
    return (*words[:2], *given, *words[2:])


def _comparison(source: Source, reported: ReportedOptions, printing: options.PrintOptions) -> Comparison:
    from stablemax.comparing.comparison import DEFAULT_FORMATS, CompareOptions, compare_hazard, compare_problem

    formats = option_values.formats_named(reported.number_format or ()) or DEFAULT_FORMATS
    request = CompareOptions(formats=formats, ignore_index=reported.ignore_index)
    groups = ("source", "reading", "generated", "--ignore-index", "--format")
    line = _line_of(source.line, "compare", groups, source.line.arguments)
    words = _with_option(dataclasses.replace(source, line=line).words(), "--all")
    with io.progress(printing, source.reading) as step:
        if source.hazard is not None:
            return compare_hazard(source.hazard, request, command=words, progress=step)
        return compare_problem(source.problem(reported.ignore_index), request, command=words, progress=step)


def _check(
    line: CommandLine,
    target: str,
    reported: ReportedOptions,
    implementation: options.ImplementationOptions,
    printing: options.PrintOptions,
) -> CheckReport:
    from stablemax.check import CheckOptions, check

    with io.progress(printing, f"loading {target}") as step:
        return check(
            implementation.target(target, reported.timeout),
            CheckOptions(option_values.formats_named(reported.number_format or ())),
            timeout_s=reported.timeout,
            memory_bytes=option_values.bytes_of(reported.memory),
            command=_line_of(line, "check", ("--format", *_OF_TARGET), (target,)).words(),
            progress=step,
        )


def _trace(
    target: str,
    source: Source,
    reported: ReportedOptions,
    implementation: options.ImplementationOptions,
    printing: options.PrintOptions,
) -> Trace:
    """Trace the code on the input, in its format or in the one that was asked for; without an input on a hazard."""
    from stablemax.cli.trace import TracedOptions, trace_of

    formats = reported.number_format or ()
    groups = ("source", "reading", "generated", "--ignore-index", *_OF_TARGET)
    line = _line_of(
        source.line,
        "trace",
        (*groups, "--format") if len(formats) == 1 else groups,
        (target, *source.line.arguments),
    )
    traced = TracedOptions(
        number_format=formats[0] if len(formats) == 1 else None, timeout=reported.timeout, memory=reported.memory
    )
    losses = options.LossOptions(ignore_index=reported.ignore_index)
    of_trace = dataclasses.replace(source, line=line)
    return trace_of(target, of_trace, implementation, losses, traced, printing)
