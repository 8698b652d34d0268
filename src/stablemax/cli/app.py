"""The commands, gathered."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Annotated

import typer

from stablemax.cli.help_pages import HelpCommand, HelpGroup
from stablemax.cli.option_groups import expanded
from stablemax.cli.panels import help_entry_of
from stablemax.text.errors import StablemaxError

# Name, module of its own, function there, and a line for the list of commands.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "compare": ("compare", "compare", "Compare formulas in every format against the truth."),
    "check": ("check", "check", "Judge anybody's implementation: wrong, unstable or good."),
    "inspect": ("inspect", "inspect", "Look through logits, and say which number format is safe."),
    "judge": ("judge", "judge", "Judge an output file that any program computed."),
    "sweep": ("sweep", "sweep", "Show along one quantity where formulas break, to the last digit."),
    "tolerance": ("tolerance", "tolerance", "Prove which tolerance a test needs, or judge one."),
    "trace": ("trace", "trace", "Show code line by line, and the line that loses the result."),
    "watch": ("watch", "watch", "Run a PyTorch program, and find its first inf or NaN."),
    "loss": ("loss", "loss", "Print the cross-entropy, a single number."),
    "softmax": ("arrays", "softmax", "Compute probabilities."),
    "log-softmax": ("arrays", "log_softmax", "Compute log-probabilities."),
    "logsumexp": ("arrays", "logsumexp", "Compute the log-sum-exp of every row."),
    "grad": ("arrays", "grad", "Compute the gradient of the cross-entropy."),
    "sigmoid": ("arrays", "sigmoid", "Compute the probability of each logit."),
    "log-sigmoid": ("arrays", "log_sigmoid", "Compute the log-probability of each logit."),
    "softplus": ("arrays", "softplus", "Compute log(1 + exp(x)) of each logit."),
    "bce": ("loss", "bce", "Print the binary cross-entropy, a single number."),
    "bce-grad": ("arrays", "bce_grad", "Compute the gradient of the binary cross-entropy."),
    "entropy": ("arrays", "entropy", "Compute the entropy of every row."),
    "kl-divergence": ("arrays", "kl_divergence", "Compute the divergence of two rows of logits."),
    "generate": ("generate", "generate", "Write generated logits to a file."),
    "explain": ("explain", "explain", "Explain a term, a formula, an input or a format, with figures."),
    "report": ("report", "report", "Write all results into one page for a browser."),
    "lesson": ("lesson", "lesson", "Teach the subject in short lessons that compute."),
    "bench": ("bench", "bench", "Time our functions beside other libraries."),
    "list": ("listing", "list_", "List variants, formats, presets, hazards or terms."),
    "help": ("help_command", "help_", "Show the help of a command."),
}


def build(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Build the application with some of its commands.

    Typer takes several milliseconds for each command's options, so that a run of one command declares that one
    only; help, suggestions and completion need them all.
    """
    app = typer.Typer(
        name="stablemax",
        cls=HelpGroup,
        # Typer would load Rich, and its help would depend on the terminal it is read in.
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Shows where softmax, cross-entropy and their gradients overflow, turn NaN or go quietly wrong, "
        "and proves every error against exact arithmetic.",
        epilog="Start with: stablemax compare --scale 1e5\n\nMore about a command: stablemax help compare\n\n"
        "Exit codes: 0 done, 1 the check failed, 2 your mistake, 3 ours.",
    )
    app.callback()(_common)
    for name in names:
        module, function, short = COMMANDS[name]
        command = getattr(importlib.import_module(f"stablemax.cli.{module}"), function)
        entry = help_entry_of(command)
        declare = app.command(
            name,
            cls=HelpCommand,
            short_help=short,
            epilog="\n".join(f"# {example.purpose}\n{example.line}" for example in entry.examples),
            rich_help_panel=entry.panel,
        )
        declare(expanded(command, name))
    return app


def _common(
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version.")] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="With --version: those of Python and the libraries too.")
    ] = False,
) -> None:
    # Alone, as is meant, `main` has answered them: building the commands takes longer than all that a version needs.
    if version or verbose:
        raise StablemaxError("--version and --verbose go with no command", "stablemax --version --verbose")
