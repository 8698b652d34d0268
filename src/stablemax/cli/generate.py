"""``stablemax generate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stablemax.cli import io, session
from stablemax.cli.arrays import ForceOption
from stablemax.cli.options import GeneratedOptions, PrintOptions
from stablemax.errors import StablemaxError, shown


def generate(
    generated: GeneratedOptions,
    printing: PrintOptions,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the labels too.", show_default=False)
    ] = None,
    force: ForceOption = False,
) -> int:
    """Write generated logits, or a notebook's, to -o FILE.npy or FILE.csv."""
    from stablemax.render.array_files import check_target, write_files

    if printing.output is None:
        raise StablemaxError("generate writes a file, and none is named", "stablemax generate -o logits.npy")
    if labels is not None and Path(labels).resolve() == Path(printing.output).resolve():
        raise StablemaxError(f"{shown(labels)}: is named for the logits and for the labels", "name two files")
    for path, option in ((printing.output, "-o"), (labels, "--labels")):
        if path is not None:
            io.refuse_address(path, option)
            check_target(path, None, force=force, option=option)
    problem = session.generated_problem(generated)
    arrays = [(problem.logits, printing.output, "-o")]
    if labels is not None and problem.labels is not None:
        arrays.append((problem.labels, labels, "--labels"))
    write_files(arrays, force=force)
    rows, classes = problem.logits.shape
    session.say([f"{printing.output}: {rows:,} x {classes:,}, {problem.sources[0].name}"], printing)
    return 0
