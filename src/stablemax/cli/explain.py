"""``stablemax explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import session
from stablemax.cli.options import PrintOptions, one_of
from stablemax.errors import StablemaxError
from stablemax.vocabulary import OutputFormat

WRITTEN_AS = (OutputFormat.TABLE, OutputFormat.PLAIN, OutputFormat.JSON, OutputFormat.MARKDOWN)


def explain(
    printing: PrintOptions,
    variant: Annotated[
        str, typer.Argument(metavar="VARIANT", help="Id of a variant, or of a peer: softmax/shifted, torch/softmax.")
    ],
    output_format: Annotated[
        OutputFormat, typer.Option(metavar=one_of(WRITTEN_AS), help="table and plain: text.")
    ] = OutputFormat.TABLE,
) -> int:
    """Explain a variant: formula, why it holds, where it breaks, what cures it, sources, a live example."""
    from stablemax.explanation import explanation_of
    from stablemax.peers import find
    from stablemax.render.explanations import render

    session.check_written_as(output_format, "an explanation")
    if output_format not in WRITTEN_AS:
        raise StablemaxError(f"an explanation is not written as {output_format}", "use table, plain, markdown or json")
    text = render(
        explanation_of(find(variant)), output_format, color=printing.color, to_file=printing.output is not None
    )
    session.emit(text, printing)
    return 0
