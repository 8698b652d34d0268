"""``stablemax compare``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stablemax.cli import session
from stablemax.cli.options import (
    GeneratedOptions,
    InputOptions,
    LabelOptions,
    LabelsArgument,
    OptionalLogits,
    OutputFormatOption,
    PrintOptions,
)
from stablemax.errors import StablemaxError, shown
from stablemax.results import Outcome
from stablemax.vocabulary import Accumulation, FormatName, Operation, OutputFormat, Reduction, Upstream
from stablemax.wording import counted

if TYPE_CHECKING:
    from stablemax.results import Comparison

FAILURES = tuple(o.value for o in reversed(list(Outcome)) if o is not Outcome.OK)


def compare(
    inputs: InputOptions,
    judged: LabelOptions,
    generated: GeneratedOptions,
    printing: PrintOptions,
    logits: OptionalLogits = None,
    labels: LabelsArgument = None,
    operation: Annotated[
        list[Operation] | None,
        typer.Option(help="Operation to compare; repeatable. All.", show_default=False),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Variants by name or id; repeatable. All.", show_default=False),
    ] = None,
    number_format: Annotated[
        list[FormatName] | None,
        typer.Option(
            "--format",
            help="Number format; repeatable. float16, bfloat16, float32, float64.",
            show_default=False,
            metavar="FORMAT",
        ),
    ] = None,
    accumulate: Annotated[
        Accumulation | None,
        typer.Option(help="How sums are added. What an ordinary kernel of each format does.", show_default=False),
    ] = None,
    max_ulp: Annotated[
        float | None,
        typer.Option(
            help="Errors above are inaccurate. Half of the format's bits: 4096 in float32.",
            show_default=False,
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(metavar="all|N", help="Rows to judge. As many as 2**18 cells hold.", show_default=False),
    ] = None,
    reduction: Annotated[
        Reduction, typer.Option(help="What the gradient is the gradient of: the losses' mean or sum.")
    ] = Reduction.MEAN,
    upstream: Annotated[
        Upstream, typer.Option(help="Upstream gradient of softmax_vjp: N(0, 1), or that of the mean.")
    ] = Upstream.NORMAL,
    details: Annotated[bool, typer.Option("--details", help="All the figures of every variant.")] = False,
    show_values: Annotated[int, typer.Option(metavar="N", help="Print the first N rows of every output.")] = 0,
    fail_on: Annotated[
        str | None,
        typer.Option(metavar="OUTCOMES", help=f"Exit 1 on any of: {','.join(FAILURES)}.", show_default=False),
    ] = None,
    output_format: OutputFormatOption = OutputFormat.TABLE,
) -> int:
    """Compare naive and stable formulas in every number format, each cell judged against the truth.

    Without LOGITS they are generated. Exit code 0 even when the naive formulas fail, for they are
    meant to; --fail-on makes a check of it.
    """
    from stablemax.comparison import DEFAULT_FORMATS, CompareOptions, compare_problem
    from stablemax.formats import get_format
    from stablemax.render.comparisons import render

    failures = _failures(fail_on)
    options = CompareOptions(
        formats=tuple(dict.fromkeys(get_format(f) for f in number_format)) if number_format else DEFAULT_FORMATS,
        operations=tuple(dict.fromkeys(operation or ())),
        patterns=tuple(variant or ()),
        accumulation=accumulate,
        max_ulp=max_ulp,
        judge=_judged(judge),
        reduction=reduction,
        upstream=upstream,
        show_values=show_values,
        ignore_index=judged.ignore_index,
    )
    if logits is not None:
        _refuse(generated, "is for generated logits, and a file is given")
    else:
        _refuse(inputs, "is for files, and the logits are generated")
        if generated.preset is not None:
            _refuse(generated, f"does not go with --preset {shown(generated.preset)}", allowed=("preset",))
    command = (
        *("stablemax", "compare"),
        *_input_command(logits, labels, inputs, generated),
        *_changed(judged),
        *_option("--operation", operation),
        *_option("--variant", variant),
        *_option("--format", number_format),
        *_option("--accumulate", accumulate),
        *_option("--max-ulp", max_ulp),
        *_option("--judge", judge),
        *_option("--reduction", None if reduction is Reduction.MEAN else reduction),
        *_option("--upstream", None if upstream is Upstream.NORMAL else upstream),
    )
    with session.progress(printing, "generating" if logits is None else f"reading {logits}") as progress:
        if logits is None:
            problem = session.generated_problem(generated)
        else:
            problem = session.read_problem(logits, labels, inputs, judged.ignore_index)
        result = compare_problem(problem, options, command=command, progress=progress)
    session.say(result.notes, printing)
    text = render(
        result,
        output_format,
        color=printing.color,
        details=details,
        show_values=show_values > 0,
        to_file=printing.output is not None,
    )
    session.emit(text, printing)
    return _verdict(result, failures)


def _verdict(result: Comparison, failures: frozenset[Outcome]) -> int:
    if not failures:
        return 0
    hits = [v for v in result.verdicts if failures & v.shares.keys()]
    if not hits:
        return 0
    session.warn(
        f"failed: {len(hits)} of {counted(len(result.verdicts), 'result')} "
        f"{'has' if len(hits) == 1 else 'have'} cells that are {_either(failures)}"
    )
    for v in hits[:10]:
        what = next(o for o in reversed(list(Outcome)) if o in failures and o in v.shares)
        cause = f": {v.cause}" if v.worst is what else ""
        session.warn(f"  {v.variant} in {v.format}: {what.value} in {100 * v.shares[what]:.3g}% of the cells{cause}")
    if len(hits) > 10:
        session.warn(f"  and {len(hits) - 10} more")
    return 1


def _either(outcomes: frozenset[Outcome]) -> str:
    return " or ".join(o.value for o in Outcome if o in outcomes)


def _failures(text: str | None) -> frozenset[Outcome]:
    if text is None:
        return frozenset()
    names = [part.strip().lower() for part in text.split(",")]
    for name in names:
        if name not in FAILURES:
            raise StablemaxError(
                f"--fail-on: there is no outcome {shown(name)!r}", f"one or more of: {', '.join(FAILURES)}"
            )
    return frozenset(Outcome(name) for name in names)


def _judged(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "all":
        return 2**62
    if not text.removeprefix("-").isdecimal():
        raise StablemaxError(
            f"--judge {shown(text)} is neither 'all' nor a number of rows", "--judge all, or --judge 500"
        )
    return int(text)


def _refuse(group: Any, reason: str, allowed: tuple[str, ...] = ()) -> None:
    """Refuse the options of a group that were set."""
    for field in dataclasses.fields(group):
        if field.name not in allowed and getattr(group, field.name) != field.default:
            raise StablemaxError(f"--{field.name.replace('_', '-')} {reason}", "leave out one of the two")


def _input_command(
    logits: str | None, labels: str | None, inputs: InputOptions, generated: GeneratedOptions
) -> tuple[str, ...]:
    if logits is not None:
        named = tuple(a for a in (logits, labels) if a is not None)
        return (*named, *_changed(inputs))
    if generated.preset is not None:
        return ("--preset", generated.preset)
    fields = (f for f in dataclasses.fields(generated) if f.name != "preset")
    return tuple(a for f in fields for a in _option(f"--{f.name}", getattr(generated, f.name)))


def _changed(group: Any) -> tuple[str, ...]:
    found: list[str] = []
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        name = field.name.replace("_", "-")
        if value == field.default:
            continue
        found += [f"--{name}" if value else f"--no-{name}"] if isinstance(value, bool) else _option(f"--{name}", value)
    return tuple(found)


def _option(name: str, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list):
        return tuple(a for v in value for a in _option(name, v))
    text = f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
    # A value that begins with a minus needs the equals sign.
    return (f"{name}={text}",) if text.startswith("-") else (name, text)
