"""The commands, gathered."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import arrays, compare, explain, generate, grad, listing, loss, version_line
from stablemax.cli.expand import expanded
from stablemax.vocabulary import Operation

app = typer.Typer(
    name="stablemax",
    # Typer would load Rich, and its help would depend on the terminal it is read in.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Shows where softmax, cross-entropy and their gradients overflow, turn NaN or go quietly wrong, "
    "and proves every error against exact arithmetic.",
    epilog="Exit codes: 0 done, 1 the check failed, 2 your mistake, 3 ours. Start with: stablemax compare --scale 1e5",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version_line())
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


_COMMANDS = (
    ("compare", "Compare formulas in every format against the truth.", compare.compare),
    ("loss", "Print the cross-entropy, a single number.", loss.loss),
    ("softmax", "Compute probabilities.", arrays.command(Operation.SOFTMAX)),
    ("log-softmax", "Compute log-probabilities.", arrays.command(Operation.LOG_SOFTMAX)),
    ("logsumexp", "Compute the log-sum-exp of every row.", arrays.command(Operation.LOGSUMEXP)),
    ("grad", "Compute the gradient of the cross-entropy.", grad.grad),
    ("generate", "Write generated logits to a file.", generate.generate),
    ("explain", "Explain a variant and show it at work.", explain.explain),
    ("list", "List variants, formats or presets.", listing.list_),
)
for _name, _short, _function in _COMMANDS:
    app.command(_name, short_help=_short)(expanded(_function))
