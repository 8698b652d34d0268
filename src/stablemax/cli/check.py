"""``stablemax check``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import outputs, session
from stablemax.cli.options import CheckFormatOption, ImplementationOptions, PrintOptions, TargetArgument
from stablemax.cli.reproducing import changed, option
from stablemax.vocabulary import FormatName


def check(
    printing: PrintOptions,
    how: ImplementationOptions,
    target: TargetArgument,
    number_format: Annotated[
        list[FormatName] | None,
        typer.Option(
            "--format",
            help="Number format; repeatable. float16, float32, float64, and bfloat16 unless NumPy code.",
            show_default=False,
            metavar="FORMAT",
        ),
    ] = None,
    max_ulp: Annotated[
        float | None,
        typer.Option(help="Errors above are inaccurate. Half of the format's bits.", show_default=False),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An outcome or a law that does not count; repeatable.", show_default=False),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Hazards by name; repeatable. All.", show_default=False),
    ] = None,
    takes: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="NAME",
            help="What it takes too: soft-targets, ignore-index, weights; repeatable.",
            show_default=False,
        ),
    ] = None,
    search: Annotated[
        bool, typer.Option("--search/--no-search", help="Look for the smallest input that breaks it.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed of that search.")] = 0,
    timeout: Annotated[float, typer.Option(metavar="S", help="Seconds that one call may take.")] = 10.0,
    details: Annotated[bool, typer.Option("--details", help="List the hazards that hold, too.")] = False,
    output_format: CheckFormatOption = None,
) -> int:
    """Judge anybody's softmax, loss or gradient: wrong, unstable or good, on which input, in which line.

    TARGET is path/to/file.py:function, package.module:function, or a variant's or a peer's id. It is
    called as f(x), f(x, axis=-1) or f(logits, labels). Exit code 1 if it breaks its contract.
    """
    from stablemax.check import CheckOptions
    from stablemax.check import check as run
    from stablemax.formats import get_format
    from stablemax.render.checks import render

    as_what = outputs.written_as(output_format, printing, "a check")
    outputs.check_output(printing, target, outputs.module_file(target))
    formats = tuple(dict.fromkeys(get_format(f) for f in number_format or ()))
    options = CheckOptions(
        formats,
        max_ulp,
        tuple(dict.fromkeys(allow or ())),
        tuple(dict.fromkeys(only or ())),
        tuple(dict.fromkeys(takes or ())),
        search=search,
        seed=seed,
    )
    command = (
        *("stablemax", "check", target),
        *changed(how),
        *option("--format", number_format),
        *option("--max-ulp", max_ulp),
        *option("--allow", allow),
        *option("--only", only),
        *option("--with", takes),
        *(() if search else ("--no-search",)),
        *option("--seed", seed or None),
        *option("--timeout", None if timeout == 10.0 else timeout),
    )
    with session.progress(printing, f"loading {target}") as progress:
        report = run(how.target(target), options, timeout_s=timeout, command=command, progress=progress)
    session.say(report.notes, printing)
    if as_what.is_for_ci:
        outputs.emit_for_ci(report, as_what, printing)
    else:
        to_file = printing.output is not None
        outputs.emit(render(report, as_what, color=printing.color, details=details, to_file=to_file), printing)
    if not report.passed:
        session.warn(f"failed: {report.target} is {report.standing}")
    return 0 if report.passed else 1
