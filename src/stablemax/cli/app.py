"""The commands, gathered."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import arrays, compare, explain, generate, grad, listing, loss
from stablemax.cli.expand import expanded

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


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - the shape of a Typer callback
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - only here

        typer.echo(f"stablemax {version('stablemax')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[  # noqa: ARG001 - the callback has printed it
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


app.command("compare")(expanded(compare.compare))
app.command("loss")(expanded(loss.loss))
app.command("softmax")(expanded(arrays.softmax))
app.command("log-softmax")(expanded(arrays.log_softmax))
app.command("logsumexp")(expanded(arrays.logsumexp))
app.command("grad")(expanded(grad.grad))
app.command("generate")(expanded(generate.generate))
app.command("explain")(expanded(explain.explain))
app.command("list")(expanded(listing.list_))
