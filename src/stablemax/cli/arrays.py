"""The commands whose result is an array: ``stablemax softmax``, ``sigmoid``, ``entropy``, ``grad`` and the like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from stablemax.cli import io, options
from stablemax.cli.option_groups import CommandLine, in_panel, option
from stablemax.cli.panels import CommandPanel, Example, Panel, help_entry
from stablemax.cli.source import LabelledSourceOptions, NetworkOptions, SourceOptions, TwoSourceOptions, source_of
from stablemax.operations import get_operation
from stablemax.render.array_text import ARRAY, ArrayOfInput
from stablemax.render.writers import chosen
from stablemax.text.vocabulary import Reduction
from stablemax.text.words import either

if TYPE_CHECKING:
    from stablemax.compute.sinks import Sink


@in_panel(Panel.FORMULAS)
@dataclass(frozen=True)
class GradientOptions(options.LossOptions):
    """The loss of rows that a gradient is taken of."""

    reduction: Reduction = option(
        f"What it is the gradient of: {either(list(Reduction))}. With none each row is that of its own loss.",
        metavar="REDUCTION",
        default=Reduction.MEAN,
    )


@in_panel(Panel.FORMULAS)
@dataclass(frozen=True)
class CellGradientOptions(options.CellLossOptions):
    """The loss of cells that a gradient is taken of."""

    reduction: Reduction = option(
        f"What it is the gradient of: {either(list(Reduction))}. With none each cell is that of its own loss.",
        metavar="REDUCTION",
        default=Reduction.MEAN,
    )


def command(
    name: str,
    text: str,
    *examples: Example,
    source: type[SourceOptions] = SourceOptions,
    losses: type[options.NoTargetOptions | GradientOptions | CellGradientOptions] = options.NoTargetOptions,
) -> Callable[..., int]:
    """Return the command that computes an operation to where it goes; `text` and examples are its help."""

    def run(
        line: CommandLine,
        source: Any,
        losses: Any,
        arithmetic: options.ArithmeticOptions,
        network: NetworkOptions,
        streaming: options.StreamOptions,
        printing: options.PrintOptions,
        output_format: Annotated[str | None, options.format_option(ARRAY, "On standard output.", unset="csv")] = None,
    ) -> int:
        from stablemax.compute.arrays import compute, result_in_npy, result_of
        from stablemax.kernels.passes import note_on_speed
        from stablemax.render.array_files import check_target, write_file

        io.check_output(printing, *source.read, *losses.read)
        path, force = printing.output, source.reading.force
        # A file is written by its ending, which other results do not have.
        output = io.Output(ARRAY, chosen(ARRAY, output_format, None, "csv"), printing)
        check_target(path, output_format, force=force)
        operation, logits = get_operation(name), source_of(line, source, timeout_s=network.timeout)
        method, resources, targets = (
            arithmetic.method(operation),
            streaming.resources(),
            losses.targets(network.timeout),
        )
        with io.progress(printing, logits.reading, unit="B") as step:
            given = logits.input_for(operation, method.format, targets, resources)
            stream = given.stream

            def fill(sink: Sink) -> tuple[str, ...]:
                return compute(
                    operation, stream, sink, method,
                    reduction=losses.reduction, options=given.targets, resources=resources, progress=step,
                )  # fmt: skip

            # Block by block into a .npy file, or whole and then as text.
            if path is not None and path.lower().endswith(".npy"):
                notes = result_in_npy(operation, stream, method, fill, path, force=force)
            else:
                with result_of(operation, stream, method, fill, resources) as (result, notes):
                    if path is None:
                        output.write(ArrayOfInput(result, stream))
                    else:
                        write_file(result, path, force=force)
        io.say([*stream.notes, *notes, *note_on_speed(stream.rows * stream.classes)], printing)
        return 0

    run.__annotations__ |= {"source": source, "losses": losses}
    run.__doc__ = text
    return help_entry(CommandPanel.COMPUTE, *examples)(run)


_TO_A_FILE = "to -o FILE.npy or .csv, or to standard output."

softmax = command(
    "softmax",
    f"Compute probabilities, {_TO_A_FILE}",
    Example("Probabilities of a file of logits", "stablemax softmax logits.npy -o probabilities.npy"),
    Example("What the naive formula gives in float16", "stablemax softmax --scale 20 --variant naive --format float16"),
)
log_softmax = command(
    "log_softmax",
    f"Compute log-probabilities, {_TO_A_FILE}",
    Example("Log-probabilities of a file of logits", "stablemax log-softmax logits.npy -o logp.npy"),
    Example("Those of a table that a program prints", "cat logits.csv | stablemax log-softmax -"),
)
logsumexp = command(
    "logsumexp",
    f"Compute the log-sum-exp of every row, {_TO_A_FILE}",
    Example("One number for each row of a file", "stablemax logsumexp logits.npy"),
    Example("What becomes of two rows of a notebook", "stablemax logsumexp --preset notebook-c"),
)
sigmoid = command(
    "sigmoid",
    f"Compute the sigmoid of every logit, {_TO_A_FILE}",
    Example("Probabilities of independent classes", "stablemax sigmoid logits.npy -o probabilities.npy"),
    Example("What float16 makes of large logits", "stablemax sigmoid --scale 20 --rows 2 --classes 4 --format float16"),
)
log_sigmoid = command(
    "log_sigmoid",
    f"Compute the log-sigmoid of every logit, {_TO_A_FILE}",
    Example("Log-probabilities of independent classes", "stablemax log-sigmoid logits.npy -o logp.npy"),
    Example("What the naive formula gives", "stablemax log-sigmoid --scale 200 --classes 4 --variant naive"),
)
softplus = command(
    "softplus",
    f"Compute log(1 + exp(x)) of every logit, {_TO_A_FILE}",
    Example("Softplus of a file of numbers", "stablemax softplus logits.npy -o softplus.npy"),
    Example("What the naive formula gives", "stablemax softplus --scale 2000 --classes 4 --variant naive"),
)
entropy = command(
    "entropy",
    f"Compute the entropy of the softmax of every row, in nats, {_TO_A_FILE}",
    Example("How sure a model is, row by row", "stablemax entropy logits.npy"),
    Example("The same of logits from a table", "stablemax entropy logits.csv -o entropy.csv"),
)
kl_divergence = command(
    "kl_divergence",
    f"Compute the Kullback-Leibler divergence of every row from the other's, {_TO_A_FILE}",
    Example("How far two models are apart, row by row", "stablemax kl-divergence logits.npy other.npy"),
    Example("The same in float32", "stablemax kl-divergence logits.npy other.npy --format float32"),
    source=TwoSourceOptions,
)
grad = command(
    "cross_entropy_grad",
    """Compute the gradient of the cross-entropy with respect to the logits.

    Rows that are ignored have gradient 0.
    """,
    Example("Gradient of the mean loss", "stablemax grad logits.npy labels.npy -o gradient.npy"),
    Example("Gradient of each row's own loss", "stablemax grad logits.npy labels.npy --reduction none"),
    source=LabelledSourceOptions,
    losses=GradientOptions,
)
bce_grad = command(
    "binary_cross_entropy_grad",
    "Compute the gradient of the binary cross-entropy: sigmoid(x) - t, times the weights, over the number of cells.",
    Example("Gradient of the mean loss", "stablemax bce-grad logits.npy targets.npy -o gradient.npy"),
    Example("Gradient of the sum", "stablemax bce-grad logits.npy targets.npy --reduction sum"),
    source=LabelledSourceOptions,
    losses=CellGradientOptions,
)
