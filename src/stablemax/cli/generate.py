"""``stablemax generate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from stablemax.cli import io
from stablemax.cli.option_groups import CommandLine, worded
from stablemax.cli.options import ForceOption, PrintOptions
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.cli.source import GeneratedOptions, HazardOption, refuse_generated
from stablemax.text.errors import StablemaxError, shown

if TYPE_CHECKING:
    from stablemax.inputs.logits import Problem


@help_entry(
    CommandPanel.OTHER,
    Example(
        "Logits and labels to try a program on", "stablemax generate --scale 50 -o wide.npy --labels wide-labels.npy"
    ),
    Example("The input of a hazard, to debug with", "stablemax generate --hazard collapse -o collapse.csv"),
)
def generate(
    line: CommandLine,
    generated: GeneratedOptions,
    printing: PrintOptions,
    hazard: HazardOption = None,
    labels: Annotated[str | None, worded("Write the labels too.", metavar="FILE", panel=Panel.OUTPUT)] = None,
    force: ForceOption = False,
) -> int:
    """Write generated logits, a notebook's, or a hazard's in float32, to -o FILE.npy or FILE.csv."""
    from stablemax.render.array_files import check_target, write_files

    if printing.output is None:
        raise StablemaxError("generate writes a file, and none is named", "stablemax generate -o logits.npy")
    if labels is not None and Path(labels).resolve() == Path(printing.output).resolve():
        raise StablemaxError(f"{shown(labels)}: is named for the logits and for the labels", "name two files")
    refuse_generated(line, hazard, generated.preset)
    for path, option in ((printing.output, "-o"), (labels, "--labels")):
        if path is not None:
            io.refuse_address(path, option)
            check_target(path, None, force=force, option=option)
    problem = generated.problem() if hazard is None else _of_hazard(hazard, with_labels=labels is not None)
    arrays = [(problem.logits, printing.output, "-o")]
    if labels is not None and problem.labels is not None:
        arrays.append((problem.labels, labels, "--labels"))
    write_files(arrays, force=force)
    rows, classes = problem.logits.shape
    io.say([f"{printing.output}: {rows:,} x {classes:,}, {problem.sources[0].name}"], printing)
    return 0


def _of_hazard(name: str, *, with_labels: bool) -> Problem:
    """Take a hazard whose labels, where they are written, are all that belongs to its logits."""
    from stablemax.hazards.catalogue import NEEDS, hazard_named
    from stablemax.hazards.operation_input import labelled_hazard, refuse_needs
    from stablemax.numerics.formats import FLOAT32

    hazard = hazard_named(name)
    refuse_needs(hazard, ("ignore-index", "soft-targets") if with_labels else NEEDS, "a file of labels")
    return labelled_hazard(hazard, FLOAT32).load()
