"""``stablemax inspect``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from stablemax.cli import io, option_values, options
from stablemax.cli.option_groups import CommandLine, in_panel, option
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.cli.source import LabelledSourceOptions, NetworkOptions, source_of
from stablemax.numerics.format_names import ORDINARY
from stablemax.render.inspections import INSPECTION
from stablemax.results import Inspection
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED
from stablemax.text.words import counted

# What --fail-on takes: the names of sightings, and of a verdict.
_SEEN = {
    "nan": "with a NaN",
    "inf": "with a +inf",
    "masked-row": "of nothing but -inf",
    "constant-row": "with all logits equal",
    "label-masked": "whose label is at -inf",
}
FAILURES = (*_SEEN, "unsafe")


@in_panel(Panel.JUDGING)
@dataclass(frozen=True)
class InspectOptions:
    """What is looked for."""

    number_format: list[str] | None = options.number_format_option(
        "Number format to judge; repeatable.", unset="all that processors have"
    )
    fail_on: list[str] | None = option(
        f"Exit 1 on any of: {', '.join(FAILURES)} (each --format has to be safe); repeatable.",
        metavar="NAME",
        panel=Panel.COMMON,
        autocompletion=lambda: list(FAILURES),
    )
    ignore_index: options.IgnoreIndexOption = IGNORED


@help_entry(
    CommandPanel.JUDGE,
    Example("Which format is safe for the logits of a model?", "stablemax inspect logits.npy"),
    Example("Stop a job whose logits hold a NaN", "stablemax inspect logits.npy labels.npy --fail-on nan"),
)
def inspect(
    line: CommandLine,
    source: LabelledSourceOptions,
    asked: InspectOptions,
    network: NetworkOptions,
    streaming: options.StreamOptions,
    printing: options.PrintOptions,
    output_format: Annotated[str | None, options.format_option(INSPECTION)] = None,
) -> int:
    """Look at every logit once, and say what they are and which number format is safe for them.

    Range, quantiles, NaN and masks; and for each format the share of rows on which a naive and a shifted
    softmax, loss and gradient would overflow, turn NaN or lose something to 0. Without LABELS the loss is
    that of each row's most likely class. Takes inputs of any size in bounded memory.
    """
    logits = source_of(line, source, timeout_s=network.timeout)
    output = io.output_of(INSPECTION, output_format, printing, *logits.logits, *logits.labels)
    failures = option_values.failures_named(asked.fail_on or (), FAILURES, "nothing called")
    if "unsafe" in failures and not asked.number_format:
        raise StablemaxError("--fail-on unsafe asks about formats, and none is named", "add --format bfloat16")

    from stablemax.inspect.inspection import inspect_stream

    resources = streaming.resources()
    formats = sorted(option_values.formats_named(asked.number_format or ORDINARY), key=lambda f: f.bits)
    with io.progress(printing, logits.reading, unit="B") as step:
        result = inspect_stream(
            logits.labelled_stream(formats[0] if asked.number_format and len(formats) == 1 else None, resources),
            formats=[f.name for f in formats],
            ignore_index=asked.ignore_index,
            resources=resources,
            command=logits.words(),
            progress=step,
        )
    return output.finish(result, result.notes, _failed(result, failures))


def _failed(result: Inspection, failures: tuple[str, ...]) -> list[str]:
    """Word what of --fail-on there is."""
    lines = []
    for name in failures:
        if name == "unsafe":
            lines += [f"failed: {f.format} is not safe for these logits" for f in result.formats if not f.safe]
        elif (sighting := result.sighting(name)).rows:
            first = f"the first is row {sighting.first_row:,} of {sighting.first_file}"
            lines.append(f"failed: {counted(sighting.rows, 'row')} {_SEEN[name]}; {first}")
    return lines
