"""The commands, gathered."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import arrays, compare, explain, generate, grad, listing, loss
from stablemax.cli.expand import expanded
from stablemax.cli.main import version_line

app = typer.Typer(
    name="stablemax",
    # Typer would load Rich, and its help would depend on the terminal it is read in.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Shows where softmax, cross-entropy and their gradients overflow, turn NaN or go quietly wrong, "
    "and proves every error against exact arithmetic.",
    epilog="Exit codes: 0 done, 1 the check failed, 2 your mistake, 3 ours. "
    "Start with: stablemax compare --scale 1e5",
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


app.command("compare", short_help="Compare formulas in every format against the truth.")(
    expanded(compare.compare)
)
app.command("loss", short_help="Print the cross-entropy, a single number.")(expanded(loss.loss))
app.command("softmax", short_help="Compute probabilities.")(expanded(arrays.softmax))
app.command("log-softmax", short_help="Compute log-probabilities.")(expanded(arrays.log_softmax))
app.command("logsumexp", short_help="Compute the log-sum-exp of every row.")(expanded(arrays.logsumexp))
app.command("grad", short_help="Compute the gradient of the cross-entropy.")(expanded(grad.grad))
app.command("generate", short_help="Write generated logits to a file.")(expanded(generate.generate))
app.command("explain", short_help="Explain a variant and show it at work.")(expanded(explain.explain))
app.command("list", short_help="List variants, formats or presets.")(expanded(listing.list_))
