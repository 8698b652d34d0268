"""One of our variants, or a library's built-in, as a target."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stablemax.check.target.load import TARGET_HINT
from stablemax.check.target.messages import OURS, LoadedTarget, Result, TargetInfo
from stablemax.check.target.traced_call import traceable_format, without_ignored
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import FLOAT64, Array, format_of_array
from stablemax.operations.targets import TargetOptions, in_arithmetic, second_of
from stablemax.operations.variant import evaluate
from stablemax.results import Trace
from stablemax.text.errors import StablemaxError, shown
from stablemax.truth.balls import Balls, truth
from stablemax.truth.case import Case

if TYPE_CHECKING:
    from stablemax.check.target.messages import Call, Target, TraceOptions
    from stablemax.trace.line_values import LineValues


class VariantTarget(LoadedTarget):
    """A variant or a built-in, which takes NumPy arrays of each format that it supports."""

    def __init__(self, target: Target) -> None:
        from stablemax.libraries import find

        if "/" not in target.name:
            raise StablemaxError(f"{shown(target.name)!r} is no target", TARGET_HINT)
        self._variant = variant = find(target.name)
        if target.operation not in (None, variant.operation):
            raise StablemaxError(
                f"{variant.id} does not compute {target.operation}", f"it computes {variant.operation}"
            )
        if target.backward:
            raise StablemaxError(f"--backward: autograd does not differentiate {variant.id}", "leave it out")
        self.info = TargetInfo(
            variant.id,
            variant.operation,
            variant.library or "numpy",
            frozenset(variant.takes) if variant.library else frozenset({"soft-targets", "weights"}),
            tuple(variant.supports or ()),
            OURS,
            f'implementation("{variant.id}")',
        )

    def call(self, call: Call) -> Result:
        """Run the variant; an input that it refuses becomes the result's trouble."""
        if call.logits.dtype.kind in "iu":
            call = replace(call, logits=FLOAT64.cast(call.logits))
        # A formula takes the rows that count.
        call, _ = without_ignored(call)
        xp = Arithmetic(format_of_array(call.logits))
        if self._variant.library and xp.format.is_emulated:
            return Result(None, f"takes no {xp.format.name}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Result(evaluate(self._variant, call.logits, xp, self._second_argument(call, xp)))
        except StablemaxError as error:
            return Result(None, error.message)

    def run_exactly(self, call: Call) -> Array | None:
        """Run a variant in balls, which know no infinities; None for a built-in, or where balls do not shrink."""
        variant = self._variant
        if variant.library or not np.isfinite(call.logits.astype(np.float64)).all():
            return None
        second_argument = self._second_argument(call, Arithmetic(format_of_array(call.logits)))

        def compute(xp: Balls) -> Array:
            logits = xp.array(call.logits.astype(np.float64))
            return evaluate(variant, logits, xp, in_arithmetic(second_argument, xp))

        try:
            return truth(compute, FLOAT64).nearest
        except ArithmeticError:
            return None

    def values_of(self, call: Call) -> list[LineValues]:  # noqa: ARG002 - as for code
        """Return nothing: the mistake of a variant stands in its declaration."""
        return []

    def call_instead(self, code: str, name: str, calls: Sequence[Call]) -> list[Result]:  # noqa: ARG002 - as for code
        """Call no other code: another variant is what to use."""
        return [Result(None, "is a variant") for _ in calls]

    def trace(self, call: Call, options: TraceOptions) -> Trace:
        """Trace a variant, operation by operation."""
        if self._variant.library:
            raise StablemaxError(
                f"{self._variant.id} is one call into {self._variant.library}: it has no lines", "stablemax check"
            )
        from stablemax.trace import trace_variant

        rows, words = len(call.logits), dict(vars(options))
        call, kept = without_ignored(call)
        if kept is not None:
            numbers = kept if options.numbers is None else options.numbers[kept]
            words |= {"numbers": numbers, "notes": (*options.notes, f"traced on {kept.size:,} of {rows:,} rows")}
        weight = call.options.get("weight")
        targets = TargetOptions(
            None if weight is None else weight.astype(np.float64), call.options.get("label_smoothing", 0.0)
        )
        return trace_variant(
            *(self._variant, call.logits, call.second_argument, traceable_format(call)), targets=targets, **words
        )

    def _second_argument(self, call: Call, xp: Arithmetic) -> Any:
        """Return the variant's second argument, as its operation takes it."""
        operation, (rows, classes) = self._variant.operation, call.logits.shape
        if not operation.needs_targets:
            divisor = float(operation.loss_count(rows, classes)) if operation.of_losses else 1.0
            return second_of(operation, call.second_argument, xp, divisor)
        assert call.second_argument is not None
        options = TargetOptions(call.options.get("weight"), call.options.get("label_smoothing", 0.0))
        case = Case(operation, np.arange(rows), call.logits, labels=call.second_argument, targets=options)
        return (replace(case, divisor=case.mean_divisor) if operation.of_losses else case).second(xp)
