"""``stablemax explain``."""

from __future__ import annotations

from typing import Annotated

import typer

from stablemax.cli import outputs
from stablemax.cli.options import PrintOptions, one_of
from stablemax.vocabulary import OutputFormat

WRITTEN_AS = (OutputFormat.TABLE, OutputFormat.PLAIN, OutputFormat.JSON, OutputFormat.MARKDOWN)


def explain(
    printing: PrintOptions,
    variant: Annotated[
        str, typer.Argument(metavar="VARIANT", help="Id of a variant, or of a peer: softmax/shifted, torch/softmax.")
    ],
    output_format: Annotated[
        OutputFormat | None,
        typer.Option(
            metavar=one_of(WRITTEN_AS),
            help="table and plain: text. By the ending of -o; else table.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Explain a variant: formula, why it holds, where it breaks, what cures it, sources, a live example."""
    from stablemax.explanation import explanation_of
    from stablemax.peers import find
    from stablemax.render.explanations import render

    how = outputs.written_as(output_format, printing, "an explanation", WRITTEN_AS)
    outputs.check_output(printing)
    text = render(explanation_of(find(variant)), how, color=printing.color, to_file=printing.output is not None)
    outputs.emit(text, printing)
    return 0
