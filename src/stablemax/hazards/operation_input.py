"""An input for one operation: logits, with whatever the operation takes beside them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from stablemax.hazards.cases import HazardCase
from stablemax.hazards.hazard import Hazard
from stablemax.inputs.logits import Problem, Stream, as_stream
from stablemax.inputs.second_array import second_array
from stablemax.inputs.stored import StoredArray
from stablemax.numerics.formats import Array, Format
from stablemax.operations.operation import Operation
from stablemax.operations.targets import TargetOptions
from stablemax.text.errors import StablemaxError
from stablemax.text.vocabulary import IGNORED


@dataclass(frozen=True, eq=False)
class OperationInput:
    """A stream whose labels are the second argument of an operation, whatever that is."""

    stream: Stream
    #: Weights of the classes, smoothing, ignored label.
    targets: TargetOptions = field(default_factory=TargetOptions)

    def problem(self, operation: Operation) -> tuple[Problem, Array | None]:
        """Load the logits with their labels, and apart from them an upstream gradient or other logits."""
        if operation.takes_labels or self.stream.labels is None:
            return self.stream.load(self.targets.ignore_index, operation.second), None
        return replace(self.stream, labels=None).load(), self.stream.labels.whole()


def stream_of_problem(problem: Problem, operation: Operation | None = None) -> Stream:
    """Take generated logits as a stream, with the second argument of an operation, or without one with the labels."""
    second = problem.labels if operation is None else second_array(operation, problem.logits, problem.labels)
    names = [source.name for source in problem.sources]
    stored = () if second is None else StoredArray.of(second, names[-1])
    return as_stream(StoredArray.of(problem.logits, names[0]), stored, axis=problem.axis)


def case_of_hazard(hazard: Hazard, operation: Operation, fmt: Format) -> HazardCase:
    """Return the arrays of a hazard that is about an operation; refuse another, by name."""
    if operation not in hazard.operations:
        raise StablemaxError(
            f"--hazard {hazard.name} is not about {operation}", f"it is about {', '.join(map(str, hazard.operations))}"
        )
    case = hazard.case(fmt)
    if not case.logits.size:
        raise StablemaxError(f"--hazard {hazard.name} has no logits", "stablemax check tries it")
    return case


def refuse_needs(hazard: Hazard, passed_on: tuple[str, ...], reader: str) -> None:
    """Refuse a hazard that needs what its reader does not pass on; both from `NEEDS`."""
    missing = [need for need in hazard.needs if need not in passed_on]
    if missing:
        raise StablemaxError(
            f"--hazard {hazard.name} needs {' and '.join(missing)}, which {reader} does not pass on",
            "stablemax check tries it",
        )


def labelled_hazard(hazard: Hazard, fmt: Format) -> Stream:
    """Take the logits and labels of a hazard, whatever operations it is about."""
    case = case_of_hazard(hazard, hazard.operations[0], fmt)
    return _stream(hazard, case, case.labels, fmt)


def input_of_hazard(hazard: Hazard, operation: Operation, fmt: Format) -> OperationInput:
    """Take a hazard in a number format, with the labels, targets, weights, gradient or logits that it comes with."""
    case = case_of_hazard(hazard, operation, fmt)
    second = case.second(operation)
    stream = _stream(hazard, case, second, fmt)
    return OperationInput(stream, TargetOptions(case.weight, case.label_smoothing, IGNORED, "the hazard's weights"))


def _stream(hazard: Hazard, case: HazardCase, second: Array | None, fmt: Format) -> Stream:
    name = f"hazard {hazard.name}: {hazard.reason}"
    stored = () if second is None else StoredArray.of(_in_format(second, fmt), "the hazard's")
    return as_stream(StoredArray.of(_in_format(case.logits, fmt), name), stored, axis=1)


def _in_format(array: Array, fmt: Format) -> Array:
    """Round real numbers to a format, in its dtype where it has one; labels stay."""
    if array.dtype.kind in "iu":
        return array
    return fmt.round(array) if fmt.is_emulated else np.ascontiguousarray(fmt.cast(array))
