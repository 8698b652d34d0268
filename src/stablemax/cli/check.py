"""``stablemax check``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from stablemax.cli import io, session
from stablemax.cli.option_groups import CommandLine
from stablemax.cli.options import (
    ImplementationOptions,
    MaxUlpOption,
    PrintOptions,
    TargetArgument,
    format_option,
    formats_named,
    number_format_option,
    worded,
)
from stablemax.cli.progress import progress
from stablemax.render.checks import CHECK


@dataclass(frozen=True)
class ContractOptions:
    """What TARGET is held to, and how hard it is tried."""

    number_format: Annotated[
        list[str] | None,
        number_format_option("Number format; repeatable. float16, float32, float64, and bfloat16 unless NumPy code."),
    ] = None
    max_ulp: MaxUlpOption = None
    allow: Annotated[
        list[str] | None, worded("An outcome or a law that does not count; repeatable.", metavar="NAME")
    ] = None
    only: Annotated[list[str] | None, worded("Hazards by name; repeatable. All.", metavar="GLOB")] = None
    takes: Annotated[
        list[str] | None,
        worded("What it takes too: soft-targets, ignore-index, weights; repeatable.", "--with", metavar="NAME"),
    ] = None
    search: Annotated[
        bool, typer.Option("--search/--no-search", help="Look for the smallest input that breaks it.")
    ] = True
    seed: Annotated[int, typer.Option(help="Seed of that search.")] = 0


def check(
    line: CommandLine,
    printing: PrintOptions,
    how: ImplementationOptions,
    target: TargetArgument,
    contract: ContractOptions,
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
    options = CheckOptions(
        formats_named(contract.number_format or ()),
        contract.max_ulp,
        tuple(dict.fromkeys(contract.allow or ())),
        tuple(dict.fromkeys(contract.only or ())),
        tuple(dict.fromkeys(contract.takes or ())),
        search=contract.search,
        seed=contract.seed,
    )
    with progress(printing, f"loading {target}") as step:
        report = run(how.target(target), options, timeout_s=timeout, command=line.words(), progress=step)
    session.say(report.notes, printing)
    output.write(report, details=details)
    if not report.passed:
        session.warn(f"failed: {report.target} is {report.standing}")
    return 0 if report.passed else 1
