"""``stablemax check``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from stablemax.cli import io, option_values, options
from stablemax.cli.any_function import ALL_BY_NAME, NO_OPERATION_NAMED, are_any, refuse_variants, told_of
from stablemax.cli.completion import hazards
from stablemax.cli.in_turn import finish, line_of, output_in_turn, targets_in_turn
from stablemax.cli.option_groups import CommandLine, in_panel, option
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.render.checks import CHECK
from stablemax.render.function_checks import FUNCTION_CHECK
from stablemax.results import CheckReport, FunctionCheck
from stablemax.text.outcomes import Grade, required_grade
from stablemax.text.vocabulary import NO_OPERATION

_THOROUGH = 8.0
"""By how much more inputs of any function are tried with --thorough."""


@in_panel(Panel.JUDGING)
@dataclass(frozen=True)
class ContractOptions:
    """What TARGET is held to, and how hard it is tried."""

    number_format: list[str] | None = options.number_format_option(
        "Number format; repeatable.", unset="float16, float32, float64, and bfloat16 unless NumPy code"
    )
    require: options.RequireOption = Grade.STABLE.value
    max_ulp: options.MaxUlpOption = None
    allow: list[str] | None = option(
        "An outcome or a law that does not count, or unstable-in=FORMAT; repeatable.", metavar="NAME"
    )
    only: list[str] | None = option(
        "Hazards to try, by name or pattern; repeatable.", metavar="NAME", unset="all", autocompletion=hazards
    )
    takes: list[str] | None = option(
        "What it takes too: soft-targets, ignore-index, weights, integers, dimensions, last-axis; repeatable.",
        "--with",
        metavar="NAME",
        panel=Panel.TARGET,
    )
    search: bool = option("Look for the smallest input that breaks it.", "--search/--no-search", default=True)
    thorough: bool = option(
        "Try every shape, or eight times the inputs, however long it takes.", "--thorough", default=False
    )
    seed: int = option("Seed of the search, and of the random numbers that TARGET draws.", metavar="N", default=0)
    timeout: float = option(
        "Seconds that one call may take, or the server of a file of --arg be silent.",
        default=10.0,
        metavar="SECONDS",
        panel=Panel.RUNNING,
    )
    memory: options.TargetMemoryOption = "2GB"
    details: bool = option("List the hazards that hold, too.", "--details", default=False, panel=Panel.COMMON)


@help_entry(
    CommandPanel.JUDGE,
    Example("Is the function sound, and if not, why?", "stablemax check my.py:softmax"),
    Example("Gate a PyTorch loss in CI", "stablemax check losses.py:loss --require accurate --format float32"),
)
def check(
    line: CommandLine,
    target: options.TargetArgument,
    implementation: options.ImplementationOptions,
    contract: ContractOptions,
    printing: options.PrintOptions,
    output_format: Annotated[str | None, options.format_option(CHECK)] = None,
) -> int:
    """Judge anybody's softmax, loss or gradient: wrong, unstable, stable or accurate, on which input, in which line.

    TARGET is path/to/file.py:function (.ipynb too), package.module:function, or a variant's or a peer's id. It is
    called as f(x), f(x, axis=-1), f(logits, labels) or f(y_true, y_pred), as its parameters are named, with class
    numbers or one-hot rows. Exit code 1 if it breaks its contract.
    With --operation none, or where all that it takes is given by --arg, TARGET is any function: the ranges of --arg are
    searched for the smallest input that breaks it, and what exact arithmetic gives for its own code is right.
    Several functions are checked in turn: my.py:softmax,log_softmax.
    """
    targets = targets_in_turn(target)
    implied = NO_OPERATION_NAMED
    if not are_any(targets, implementation):
        from stablemax.check.target.call_style import LogitsByNameError

        output = output_in_turn(CHECK, output_format, printing, targets)
        try:
            checks = [_check_operation(line_of(line, t), t, implementation, contract, printing) for t in targets]
            return finish(output, checks, _failed, details=contract.details)
        except LogitsByNameError:
            implied = ALL_BY_NAME
    output = output_in_turn(FUNCTION_CHECK, output_format, printing, targets)
    of_any = [_check_any(line_of(line, t), t, implementation, contract, printing, implied) for t in targets]
    return finish(output, of_any, _failed, details=contract.details)


def _failed(report: CheckReport | FunctionCheck) -> list[str]:
    return [] if report.passed else [f"failed: {report.target} is {report.grade}"]


def _check_operation(
    line: CommandLine,
    target: str,
    implementation: options.ImplementationOptions,
    contract: ContractOptions,
    printing: options.PrintOptions,
) -> CheckReport:
    """Try a target as an operation on the hazards."""
    from stablemax.check import CheckOptions
    from stablemax.check import check as run

    request = CheckOptions(
        option_values.formats_named(contract.number_format or ()),
        contract.max_ulp,
        tuple(dict.fromkeys(contract.allow or ())),
        tuple(dict.fromkeys(contract.only or ())),
        tuple(dict.fromkeys(contract.takes or ())),
        search=contract.search,
        thorough=contract.thorough,
        seed=contract.seed,
        require=required_grade(contract.require),
    )
    with io.progress(printing, f"loading {target}") as step:
        return run(
            implementation.target(target, contract.timeout, contract.seed),
            request,
            timeout_s=contract.timeout,
            memory_bytes=option_values.bytes_of(contract.memory),
            command=line.words(),
            progress=step,
        )


def _check_any(
    line: CommandLine,
    target: str,
    implementation: options.ImplementationOptions,
    contract: ContractOptions,
    printing: options.PrintOptions,
    implied: str,
) -> FunctionCheck:
    """Search the ranges of a function that is held to no operation."""
    from stablemax.check.any_function.checking import check_any
    from stablemax.check.any_function.function_search import FunctionOptions, formats_to_try

    refuse_variants(target)
    reason = f"is about operations, and --operation {NO_OPERATION} has none"
    line.refuse(("--only", "--with", "--shift"), reason)
    named = implementation.any_target(target, contract.timeout, contract.seed)
    ranges, asked = implementation.ranges(), option_values.formats_named(contract.number_format or ())
    request = FunctionOptions(
        ranges,
        asked or formats_to_try(named, ranges),
        contract.max_ulp,
        tuple(dict.fromkeys(contract.allow or ())),
        search=contract.search,
        seed=contract.seed,
        require=required_grade(contract.require),
        effort=_THOROUGH if contract.thorough else 1.0,
    )
    with io.progress(printing, f"loading {target}") as step, told_of(named):
        return check_any(
            named,
            request,
            timeout_s=contract.timeout,
            memory_bytes=option_values.bytes_of(contract.memory),
            command=line.words(),
            notes=() if implementation.operation is not None else (implied,),
            progress=step,
        )
