"""``stablemax check``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import io, session
from stablemax.cli.options import ImplementationOptions, PrintOptions, TargetArgument, format_option, formats_named
from stablemax.cli.reproducing import changed, option
from stablemax.render.checks import CHECK


def check(
    printing: PrintOptions,
    how: ImplementationOptions,
    target: TargetArgument,
    number_format: Annotated[
        list[str] | None,
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
    output_format: Annotated[str | None, format_option(CHECK)] = None,
) -> int:
    """Judge anybody's softmax, loss or gradient: wrong, unstable or good, on which input, in which line.

    TARGET is path/to/file.py:function, package.module:function, or a variant's or a peer's id. It is
    called as f(x), f(x, axis=-1) or f(logits, labels). Exit code 1 if it breaks its contract.
    """
    from stablemax.check import CheckOptions
    from stablemax.check import check as run

    output = io.output_of(CHECK, output_format, printing, target, io.module_file(target))
    formats = formats_named(number_format or ())
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
    output.write(report, details=details)
    if not report.passed:
        session.warn(f"failed: {report.target} is {report.standing}")
    return 0 if report.passed else 1
